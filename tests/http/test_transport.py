"""One exchange at a time, over real sockets: what comes back, what an error says, and what is left behind."""

import base64
import contextlib
import gzip
import pickle
import re
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import anyio
import attrs
import httpcore
import httpx
import pytest

from tests import raw_server
from tests.raw_server import RawServer, answer, gzipped, packed, raw, response, serve, wait_until
from up42_async._config import Limits, Timeouts
from up42_async._errors import (
    ConfigurationError,
    ConnectionFailedError,
    ConnectionLostError,
    RequestTimeoutError,
    UnexpectedResponseError,
)
from up42_async._http import bodies, transport
from up42_async._http.environment import shared_ssl_context
from up42_async._http.exchange import Lane
from up42_async._http.messages import Message, SendState
from up42_async._http.transport import Connections

PROXY_VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
GZIP_BOMB = 64 * 2**20


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@contextlib.asynccontextmanager
async def lane(
    *,
    body: int = 2**20,
    keep: bool = True,
    foreign: httpx.AsyncBaseTransport | None = None,
    **times: float,
) -> AsyncGenerator[Lane]:
    one = Lane(timeouts=Timeouts(**times), limits=Limits(max_response_bytes=body), foreign=foreign, keep=keep)
    try:
        yield one
    finally:
        await one.aclose()


def get(server: RawServer | str, state: SendState | None = None) -> Message:
    url = server if isinstance(server, str) else f"{server.url}/v2/jobs"
    return Message(label="GET /v2/jobs", method="GET", url=url, headers={"Authorization": "Bearer x"}, state=state)


def post(server: RawServer, state: SendState | None = None, body: bytes = b"{}") -> Message:
    return Message(label="POST /x", method="POST", url=f"{server.url}/x", headers={}, body=body, state=state)


async def test_brings_status_headers_and_body() -> None:
    async with serve(answer({"id": 1}, status=201, X_Some="Thing")) as server, lane() as one:
        reply = await one.send(get(server))
    assert (reply.status, reply.headers["x-some"], reply.body) == (201, "Thing", b'{"id": 1}')
    assert server.requests[0].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("https://api.up42.com/v2/jobs;a?ids=1,2", b"api.up42.com", b"/v2/jobs;a?ids=1,2"),
        ("https://api.up42.com:443", b"api.up42.com", b"/"),
        ("http://127.0.0.1:8080?a=b", b"127.0.0.1:8080", b"/?a=b"),
        ("http://[::1]:8080/x", b"[::1]:8080", b"/x"),
        ("https://api.up42.com:80/x#fragment", b"api.up42.com:80", b"/x"),
        ("https://api.up42.com/caf\u00e9?a=%20'\"{}", b"api.up42.com", b"/caf%C3%A9?a=%20'\"{}"),
    ],
)
async def test_a_url_is_sent_as_it_stands(url: str, host: bytes, target: bytes) -> None:
    request = await Connections(keep=True).prepare(get(url), {})
    assert (dict(request.headers)[b"Host"], request.url.target) == (host, target)


@pytest.mark.parametrize("sent", ["caf\u00e9".encode(), "caf\u00e9".encode("latin-1")])
async def test_a_header_is_read_whatever_its_encoding(sent: bytes) -> None:
    act = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Name: " + sent + b"\r\nX-Name: b\r\n\r\n")
    async with serve(act) as server, lane() as one:
        assert (await one.send(get(server))).headers["x-name"] == "caf\u00e9, b"


async def test_sends_the_body_with_its_length() -> None:
    async with serve(answer()) as server, lane() as one:
        await one.send(post(server, body=b'{"a": 1}'))
    assert (server.requests[0].method, server.requests[0].body) == ("POST", b'{"a": 1}')


async def test_a_post_without_a_body_says_that_it_has_none() -> None:
    async with serve(answer()) as server, lane() as one:
        await one.send(attrs.evolve(post(server), body=None))
        await one.send(get(server))
    assert [seen.headers.get("content-length") for seen in server.requests] == ["0", None]


async def test_connections_are_kept_for_the_next_request() -> None:
    async with serve(answer()) as server, lane() as one:
        for _ in range(5):
            await one.send(get(server))
    assert (server.accepted, len(server.requests)) == (1, 5)


async def test_a_lane_that_keeps_nothing_opens_a_connection_for_each_request() -> None:
    async with serve(answer()) as server, lane(keep=False) as one:
        for _ in range(3):
            await one.send(post(server, SendState()))
    assert server.accepted == 3


async def test_cookies_are_not_kept() -> None:
    async with serve(answer(Set_Cookie="a=b; Path=/")) as server, lane() as one:
        await one.send(get(server))
        await one.send(get(server))
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with (
        serve(answer()) as other,
        serve(answer(status=status, Location=f"{other.url}/x")) as server,
        lane() as one,
    ):
        reply = await one.send(post(server))
    assert (reply.status, len(server.requests), other.accepted) == (status, 1, 0)


async def test_a_location_that_cannot_be_read_is_an_answer_like_any_other() -> None:
    async with serve(answer(status=302, Location="http://[")) as server, lane() as one:
        assert (await one.send(get(server))).status == 302


async def test_a_lane_that_is_closed_sends_nothing() -> None:
    async with serve(answer()) as server, lane() as one:
        await one.aclose()
        with pytest.raises(RuntimeError, match="the client was closed"):
            await one.send(get(server))
    assert server.accepted == 0


# Bodies


async def test_gzip_is_inflated() -> None:
    async with serve(gzipped({"id": "x" * 10_000})) as server, lane() as one:
        assert len((await one.send(get(server))).body) == 10_010


async def test_a_body_as_large_as_the_limit_is_read() -> None:
    async with serve(answer("x" * 98), gzipped("x" * 98)) as server, lane(body=100) as one:
        assert len((await one.send(get(server))).body) == 100
        assert len((await one.send(get(server))).body) == 100


async def test_a_gzip_body_of_several_pieces_is_read_whole() -> None:
    size = 3 * bodies._PIECE
    async with serve(gzipped("x" * size)) as server, lane(body=4 * bodies._PIECE) as one:
        assert len((await one.send(get(server))).body) == size + 2


@pytest.mark.parametrize("act", [answer("x" * 99), gzipped("x" * 99)], ids=["plain", "gzip"])
async def test_a_body_beyond_the_limit_is_refused(act: raw_server.Act) -> None:
    async with serve(act) as server, lane(body=100) as one:
        with pytest.raises(
            UnexpectedResponseError, match="GET /v2/jobs: status 200 with a body of more than 100 bytes"
        ) as caught:
            await one.send(get(server))
    assert not caught.value.transient


async def test_a_gzip_bomb_costs_no_memory() -> None:
    bomb = b"".join(_deflate_zeros(GZIP_BOMB))
    async with serve(packed(bomb)) as server, lane(body=4 * 2**20) as one:
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedResponseError, match="more than 4194304 bytes"):
                await one.send(get(server))
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()


def _deflate_zeros(size: int) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return [*pieces, packer.flush()]


ENDLESS_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (ENDLESS_HEAD + b"\r\n", b"8000\r\n" + bytes(0x8000) + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", bytes(0x8000)),
        (ENDLESS_HEAD + b"Content-Encoding: gzip\r\n\r\n", b"8000\r\n" + bytes(0x8000) + b"\r\n"),
    ],
    ids=["chunked", "until close", "gzip"],
)
async def test_an_endless_body_is_given_up_at_the_limit(head: bytes, piece: bytes) -> None:
    async with serve(raw_server.endless(head, piece), answer()) as server, lane(body=2**20) as one:
        with pytest.raises(UnexpectedResponseError):
            await one.send(get(server))
        assert (await one.send(get(server))).status == 200
    assert server.accepted == 2


async def test_rubbish_after_a_gzip_body_is_given_up_at_once() -> None:
    whole = gzip.compress(b"{}")
    head = ENDLESS_HEAD + b"Content-Encoding: gzip\r\n\r\n" + f"{len(whole):x}\r\n".encode() + whole + b"\r\n"
    async with serve(raw_server.endless(head, b"8000\r\n" + bytes(0x8000) + b"\r\n")) as server, lane() as one:
        with anyio.fail_after(5), pytest.raises(UnexpectedResponseError, match="a broken gzip body") as caught:
            await one.send(get(server))
    assert caught.value.transient


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "compress"])
async def test_encodings_that_were_not_asked_for_are_refused_unread(encoding: str) -> None:
    async with serve(packed(b"\x00" * 1000, encoding)) as server, lane() as one:
        with pytest.raises(UnexpectedResponseError, match=re.escape(f"that was not asked for ({encoding!r})")):
            await one.send(get(server))


async def test_two_encoding_headers_are_refused() -> None:
    twice = response(b"", headers=[("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")])
    async with serve(raw(twice)) as server, lane() as one:
        with pytest.raises(UnexpectedResponseError, match="gzip, gzip"):
            await one.send(get(server))


@pytest.mark.parametrize("body", [b"no gzip at all", b"", b"\x1f\x8b\x08\x00"], ids=["other", "empty", "cut"])
async def test_a_broken_gzip_body_may_come_right_the_next_time(body: bytes) -> None:
    async with serve(packed(body)) as server, lane() as one:
        with pytest.raises(UnexpectedResponseError, match="status 200 with a broken gzip body") as caught:
            await one.send(get(server))
    assert caught.value.transient


# Time


async def test_a_trickling_answer_ends_with_the_attempt_and_its_connection_is_not_used_again() -> None:
    drip = raw_server.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"x", pause=0.02)
    async with serve(drip, answer()) as server, lane(total=0.2, read=5) as one:
        began = anyio.current_time()
        with pytest.raises(RequestTimeoutError, match=r"GET /v2/jobs: no whole answer within 0.2 s"):
            await one.send(get(server))
        assert 0.2 <= anyio.current_time() - began < 1
        assert (await one.send(get(server))).status == 200
    assert server.accepted == 2


async def test_a_silent_server_is_given_up_after_the_time_for_reading() -> None:
    async with serve(raw_server.hang) as server, lane(read=0.05) as one:
        with pytest.raises(RequestTimeoutError, match=r"no answer in time: silence for 0\.05 s"):
            await one.send(get(server))


# Errors


async def test_an_error_carries_its_cause_and_no_secret() -> None:
    async with serve(raw_server.close_after_request) as server, lane() as one:
        with pytest.raises(ConnectionLostError) as caught:
            await one.send(get(server))
    assert isinstance(caught.value.__cause__, httpcore.RemoteProtocolError)
    assert str(caught.value) == "GET /v2/jobs: the connection broke: Server disconnected without sending a response."
    assert "Bearer" not in repr(pickle.loads(pickle.dumps(caught.value)).__dict__)  # noqa: S301


async def test_our_own_error_is_not_its_own_cause() -> None:
    async with serve(packed(b"?")) as server, lane() as one:
        with pytest.raises(UnexpectedResponseError) as caught:
            await one.send(get(server))
    assert caught.value.__cause__ is None


async def test_a_header_that_cannot_be_sent_is_not_repeated_in_the_error() -> None:
    async with serve(answer()) as server, lane() as one:
        message = Message(label="GET /x", method="GET", url=server.url, headers={"Authorization": "Bearer SECRET\n"})
        with pytest.raises(ConnectionFailedError, match="GET /x: not sent: LocalProtocolError") as caught:
            await one.send(message)
    assert caught.value.permanent
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_a_url_that_cannot_be_used_is_not_tried_again() -> None:
    async with lane() as one:
        with pytest.raises(ConnectionFailedError, match="not sent: Port out of range") as caught:
            await one.send(get("http://127.0.0.1:99999/"))
    assert caught.value.permanent


async def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    async with serve(answer(), tls=True) as server, lane() as one:
        with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
            await one.send(get(server))
    assert caught.value.permanent


async def test_an_error_without_words_gets_those_of_its_cause() -> None:
    class Mute(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("", request=request) from OSError("the cable is cut")

    async with lane(foreign=Mute()) as one:
        with pytest.raises(ConnectionLostError, match="the connection broke: the cable is cut"):
            await one.send(get("http://127.0.0.1"))


class Wrong(httpx.AsyncBaseTransport):
    """Answer with a body that can only be read in a blocking way."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        class Blocking(httpx.SyncByteStream):
            pass

        return httpx.Response(200, stream=Blocking(), request=request)


async def test_a_transport_whose_answer_cannot_be_read_is_told_so() -> None:
    async with lane(foreign=Wrong()) as one:
        with pytest.raises(ConnectionLostError, match="answered with a Blocking, which cannot be read asynchronously"):
            await one.send(get("http://127.0.0.1"))


async def test_an_answer_is_not_lost_because_its_connection_cannot_be_closed() -> None:
    class Sticky(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{}"

        async def aclose(self) -> None:
            raise OSError

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Sticky()))
    async with lane(foreign=transport) as one:
        assert (await one.send(get("http://127.0.0.1"))).body == b"{}"


async def test_a_transport_of_the_users_is_left_open() -> None:
    class Foreign(httpx.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    transport = Foreign(lambda _: httpx.Response(200))
    async with lane(foreign=transport) as one:
        await one.send(get("http://127.0.0.1"))
    assert not transport.closed


# What is known of a request that must not be sent twice


async def test_a_receipt_shows_that_the_request_left_and_what_was_answered() -> None:
    state = SendState()
    async with serve(answer({"id": 1})) as server, lane(keep=False) as one:
        reply = await one.send(post(server, state))
    assert state.sent
    assert state.response == reply


@pytest.mark.parametrize("act", [raw_server.close_after_request, raw_server.reset_after_request, raw_server.hang])
async def test_a_receipt_shows_that_a_request_left_though_nothing_came_back(act: raw_server.Act) -> None:
    state = SendState()
    async with serve(act) as server, lane(read=0.05) as one:
        with pytest.raises((ConnectionLostError, RequestTimeoutError)):
            await one.send(post(server, state))
    assert (state.sent, state.response) == (True, None)


async def test_a_receipt_shows_that_a_request_never_left() -> None:
    state = SendState()
    async with serve(raw_server.ignore) as server, lane(connect=0.05) as one:
        server.scheme = "https"  # nobody answers the TLS handshake
        with pytest.raises(ConnectionFailedError):
            await one.send(post(server, state))
    assert (state.sent, state.response, server.requests) == (False, None, [])


async def test_a_receipt_is_of_the_last_try() -> None:
    state = SendState()
    async with serve(answer(status=429)) as server, lane(keep=False) as one:
        await one.send(post(server, state))
        assert state.response is not None
    async with lane() as one:
        with pytest.raises(ConnectionFailedError):
            await one.send(post(server, state))
    assert state == SendState()


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_what_a_transport_of_the_users_reports_proves_nothing(kind: type[httpx.TransportError]) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise kind("", request=None)

    state = SendState()
    async with lane(foreign=httpx.MockTransport(refuse)) as one:
        for message in (post(RawServer([]), state), get(RawServer([]))):
            with pytest.raises((ConnectionLostError, RequestTimeoutError)) as caught:
                await one.send(message)
            assert caught.value.may_have_arrived
    assert state.sent


# Proxies and certificates of the environment


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answer({"by": "proxy"})) as proxy, lane() as one:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        reply = await one.send(get("http://up42.invalid/x"))
    assert reply.body == b'{"by": "proxy"}'
    assert proxy.requests[0].target == "http://up42.invalid/x"


async def test_one_proxy_serves_all_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answer()) as proxy, lane() as one:
        monkeypatch.setenv("http_proxy", proxy.url)
        await one.send(get("http://a.invalid/x"))
        await one.send(get("http://b.invalid/x"))
    assert [request.target for request in proxy.requests] == ["http://a.invalid/x", "http://b.invalid/x"]


async def test_connections_that_were_idle_for_long_are_closed_when_another_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_EXPIRY", 0.01)
    async with serve(answer()) as first, serve(answer()) as second, lane() as one:
        await one.send(get(f"{first.url}/x"))
        await anyio.sleep(0.02)
        await one.send(get(f"{second.url}/x"))
        await wait_until(lambda: (first.open, second.open) == (0, 1))


async def test_an_idle_connection_to_another_host_is_left_alone() -> None:
    async with serve(answer()) as first, serve(answer()) as second, lane() as one:
        await one.send(get(f"{first.url}/x"))
        await one.send(get(f"{second.url}/x"))
        await one.send(get(f"{first.url}/x"))
        assert (first.accepted, second.accepted) == (1, 1)


async def test_the_connection_that_was_used_last_is_used_next_so_that_others_can_go() -> None:
    async with serve(answer(delay=0.01)) as server, lane() as one:
        async with anyio.create_task_group() as group:
            group.start_soon(one.send, get(server))
            group.start_soon(one.send, get(server))
        kept = raw_server.connections(one)
        await one.send(get(server))
        assert raw_server.connections(one) == kept


async def test_a_new_connection_is_opened_for_a_request_that_asks_for_one() -> None:
    async with serve(answer()) as server, lane() as one:
        await one.send(get(server))
        await one.send(attrs.evolve(get(server), fresh=True))
    assert server.accepted == 2


async def test_new_connections_take_the_place_of_idle_ones() -> None:
    async with serve(answer(delay=0.01)) as server, lane() as one:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one.send, get(server))
        kept = raw_server.connections(one)
        for _ in range(5):
            await one.send(attrs.evolve(get(server), fresh=True))
        await wait_until(lambda: server.open == 3)
        assert len(raw_server.connections(one)) == 3
        assert not set(kept) & set(raw_server.connections(one))
    assert server.accepted == 8


async def test_a_proxy_is_told_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answer()) as proxy, lane() as one:
        monkeypatch.setenv("http_proxy", f"http://us%40er:p%2Fw@127.0.0.1:{proxy.port}")
        await one.send(get("http://up42.invalid/x"))
    credentials = base64.b64encode(b"us@er:p/w").decode()
    assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {credentials}"


async def test_a_proxy_over_tls_is_trusted_as_any_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answer(status=503), tls=True) as proxy, lane() as one:
        monkeypatch.setenv("https_proxy", f"https://127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
            await one.send(get("https://up42.invalid/x"))
        monkeypatch.setenv("SSL_CERT_FILE", str(raw_server.UNTRUSTED))
        with pytest.raises(ConnectionFailedError, match="503"):
            await one.send(get("https://up42.invalid/x"))
    assert [seen.method for seen in proxy.requests] == ["CONNECT"]


async def test_a_proxy_for_the_other_scheme_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    async with serve(answer()) as server, lane() as one:
        assert (await one.send(get(server))).status == 200


async def test_hosts_that_need_no_proxy_are_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with serve(answer()) as server, lane() as one:
        assert (await one.send(get(server))).status == 200


async def test_a_proxy_that_opens_no_way_shows_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    state = SendState()
    async with serve(answer(status=503)) as proxy, lane() as one:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(ConnectionFailedError, match="503"):
            await one.send(get("https://up42.invalid/x"))
        with pytest.raises(ConnectionFailedError, match="503"):
            await one.send(get("https://up42.invalid/x", state))
    assert not state.sent
    assert [seen.method for seen in proxy.requests] == ["CONNECT", "CONNECT"]
    assert "authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize("value", ["ftp://user:SECRET@127.0.0.1", "http://SECRET:notaport", "socks5://SECRET:1"])
async def test_a_proxy_that_cannot_be_used_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    async with lane() as one:
        with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
            await one.send(get("https://up42.invalid/x"))
    assert "SECRET" not in str(caught.value)


async def test_certificates_of_the_environment_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(raw_server.UNTRUSTED))
    async with serve(answer(), tls=True) as server, lane() as one:
        assert (await one.send(get(server))).status == 200


async def test_certificates_that_cannot_be_read_are_named_without_their_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "SECRET"))
    async with lane() as one:
        with pytest.raises(ConfigurationError, match="the files named by SSL_CERT_FILE cannot be used") as caught:
            await one.send(get("https://up42.invalid/x"))
    assert "SECRET" not in str(caught.value)


async def test_all_lanes_share_one_ssl_context() -> None:
    shared_ssl_context.cache_clear()
    async with serve(answer(), tls=True) as server, lane() as one, lane() as other:
        for either in (one, other):
            with pytest.raises(ConnectionFailedError, match="certificate"):
                await either.send(get(server))
    assert shared_ssl_context.cache_info().misses == 1
