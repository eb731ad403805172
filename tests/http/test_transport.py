"""One exchange, over real sockets: its response, its errors, and the connections that are kept."""

import contextlib
import gzip
import pickle
import re
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import anyio
import attrs
import httpx
import pytest

from tests import raw_server
from tests.raw_server import RawServer, answer, gzipped, packed, raw, response, serve, wait_until
from tests.wire import Message, idle, on_transport, wire
from up42_async._errors import (
    ConnectionFailedError,
    ConnectionLostError,
    RequestTimeoutError,
    UnexpectedResponseError,
)
from up42_async._http import transport
from up42_async._http.exchange import SendState

GZIP_BOMB = 64 * 2**20


def get(server: RawServer | str, state: SendState | None = None) -> Message:
    url = server if isinstance(server, str) else f"{server.url}/v2/jobs"
    return Message(url=url, headers={"Authorization": "Bearer x"}, state=state)


def post(server: RawServer, state: SendState | None = None, body: bytes = b"{}") -> Message:
    return Message(label="POST /x", method="POST", url=f"{server.url}/x", body=body, state=state)


async def test_a_response_has_status_headers_and_body() -> None:
    async with serve(answer({"id": 1}, status=201, X_Some="Thing")) as server, wire() as one:
        reply = await one.send(get(server))
    assert (reply.status, reply.headers["x-some"], reply.body) == (201, "Thing", b'{"id": 1}')
    assert server.requests[0].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/jobs;a?ids=1,2", "/v2/jobs;a?ids=1,2"),
        ("/v2/a%2Fb%3F?x=%20a%2Cb", "/v2/a%2Fb%3F?x=%20a%2Cb"),
        ("", "/"),
        ("/caf\u00e9", "/caf%C3%A9"),
    ],
)
async def test_a_url_is_sent_unchanged(path: str, target: str) -> None:
    async with serve(answer()) as server, wire() as one:
        await one.send(get(f"{server.url}{path}"))
    assert server.requests[0].target == target
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("sent", ["caf\u00e9".encode(), "caf\u00e9".encode("latin-1")])
async def test_a_header_is_read_whatever_its_encoding(sent: bytes) -> None:
    act = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Name: " + sent + b"\r\nX-Name: b\r\n\r\n")
    async with serve(act) as server, wire() as one:
        assert (await one.send(get(server))).headers["x-name"] == "caf\u00e9, b"


async def test_a_body_is_sent_with_its_length() -> None:
    async with serve(answer()) as server, wire() as one:
        await one.send(post(server, body=b'{"a": 1}'))
    assert (server.requests[0].method, server.requests[0].body) == ("POST", b'{"a": 1}')


async def test_a_post_without_a_body_has_content_length_0() -> None:
    async with serve(answer()) as server, wire() as one:
        await one.send(attrs.evolve(post(server), body=b""))
        await one.send(get(server))
    assert [seen.headers.get("content-length") for seen in server.requests] == ["0", None]


async def test_connections_are_kept_for_the_next_request() -> None:
    async with serve(answer()) as server, wire() as one:
        for _ in range(5):
            await one.send(get(server))
    assert (server.accepted, len(server.requests)) == (1, 5)


async def test_cookies_are_not_kept() -> None:
    async with serve(answer(Set_Cookie="a=b; Path=/")) as server, wire() as one:
        await one.send(get(server))
        await one.send(get(server))
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with (
        serve(answer()) as other,
        serve(answer(status=status, Location=f"{other.url}/x")) as server,
        wire() as one,
    ):
        reply = await one.send(post(server))
    assert (reply.status, len(server.requests), other.accepted) == (status, 1, 0)


async def test_a_location_that_cannot_be_read_is_a_broken_response() -> None:
    async with serve(answer(status=302, Location="http://a:b/")) as server, wire() as one:
        with pytest.raises(ConnectionLostError, match="Invalid URL in location header"):
            await one.send(get(server))


async def test_a_closed_sender_sends_nothing() -> None:
    async with serve(answer()) as server, wire() as one:
        await one.aclose()
        with pytest.raises(RuntimeError, match="the client was closed"):
            await one.send(get(server))
    assert server.accepted == 0


# Bodies


async def test_gzip_is_decompressed() -> None:
    async with serve(gzipped({"id": "x" * 10_000})) as server, wire() as one:
        assert len((await one.send(get(server))).body) == 10_010


async def test_a_body_as_large_as_the_limit_is_read() -> None:
    async with serve(answer("x" * 98), gzipped("x" * 98)) as server, wire(body=100) as one:
        assert len((await one.send(get(server))).body) == 100
        assert len((await one.send(get(server))).body) == 100


async def test_a_gzip_body_of_several_pieces_is_read_whole() -> None:
    async with serve(gzipped("x" * 3_000_000)) as server, wire(body=4_000_000) as one:
        assert len((await one.send(get(server))).body) == 3_000_002


@pytest.mark.parametrize("act", [answer("x" * 99), gzipped("x" * 99)], ids=["plain", "gzip"])
async def test_a_body_beyond_the_limit_is_refused(act: raw_server.Act) -> None:
    async with serve(act) as server, wire(body=100) as one:
        with pytest.raises(
            UnexpectedResponseError, match="GET /v2/jobs: status 200 with a body of more than 100 bytes"
        ) as caught:
            await one.send(get(server))
    assert not caught.value.transient


async def test_a_gzip_bomb_costs_no_memory() -> None:
    bomb = b"".join(_deflate_zeros(GZIP_BOMB))
    async with serve(packed(bomb)) as server, wire(body=4 * 2**20) as one:
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
async def test_an_endless_body_is_refused_at_the_limit(head: bytes, piece: bytes) -> None:
    async with serve(raw_server.endless(head, piece), answer()) as server, wire(body=2**20) as one:
        with pytest.raises(UnexpectedResponseError):
            await one.send(get(server))
        assert (await one.send(get(server))).status == 200
    assert server.accepted == 2


async def test_data_after_a_gzip_body_is_an_error_at_once() -> None:
    whole = gzip.compress(b"{}")
    head = ENDLESS_HEAD + b"Content-Encoding: gzip\r\n\r\n" + f"{len(whole):x}\r\n".encode() + whole + b"\r\n"
    async with serve(raw_server.endless(head, b"8000\r\n" + bytes(0x8000) + b"\r\n")) as server, wire() as one:
        with anyio.fail_after(5), pytest.raises(UnexpectedResponseError, match="a broken gzip body") as caught:
            await one.send(get(server))
    assert caught.value.transient


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "compress"])
async def test_an_encoding_that_was_not_requested_is_refused_unread(encoding: str) -> None:
    async with serve(packed(b"\x00" * 1000, encoding)) as server, wire() as one:
        with pytest.raises(UnexpectedResponseError, match=re.escape(f"that was not asked for ({encoding!r})")):
            await one.send(get(server))


async def test_two_encoding_headers_are_refused() -> None:
    twice = response(b"", headers=[("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")])
    async with serve(raw(twice)) as server, wire() as one:
        with pytest.raises(UnexpectedResponseError, match="gzip, gzip"):
            await one.send(get(server))


@pytest.mark.parametrize("body", [b"no gzip at all", b"\x1f\x8b\x08\x00"], ids=["other", "cut"])
async def test_a_broken_gzip_body_is_a_transient_error(body: bytes) -> None:
    async with serve(packed(body)) as server, wire() as one:
        with pytest.raises(UnexpectedResponseError, match="status 200 with a broken gzip body") as caught:
            await one.send(get(server))
    assert caught.value.transient


# Time


async def test_a_slow_response_ends_by_the_total_timeout_and_its_connection_is_closed() -> None:
    drip = raw_server.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"x", pause=0.02)
    async with serve(drip, answer()) as server, wire(total=0.2, read=5) as one:
        began = anyio.current_time()
        with pytest.raises(RequestTimeoutError, match=r"GET /v2/jobs: no complete answer within 0.2 s"):
            await one.send(get(server))
        assert 0.2 <= anyio.current_time() - began < 5
        assert idle(one.stack) == []
        assert (await one.send(get(server))).status == 200
    assert server.accepted == 2


async def test_a_silent_server_fails_after_the_read_timeout() -> None:
    async with serve(raw_server.hang) as server, wire(read=0.05) as one:
        with pytest.raises(RequestTimeoutError, match=r"no answer in time: no data for 0\.05 s"):
            await one.send(get(server))


# Errors


async def test_an_error_carries_its_cause_and_no_secret() -> None:
    async with serve(raw_server.close_after_request) as server, wire() as one:
        with pytest.raises(ConnectionLostError) as caught:
            await one.send(get(server))
    assert isinstance(caught.value.__cause__, httpx.RemoteProtocolError)
    assert str(caught.value) == "GET /v2/jobs: the connection broke: Server disconnected without sending a response."
    assert "Bearer" not in repr(pickle.loads(pickle.dumps(caught.value)).__dict__)  # noqa: S301


async def test_our_own_error_is_not_its_own_cause() -> None:
    async with serve(packed(b"?")) as server, wire() as one:
        with pytest.raises(UnexpectedResponseError) as caught:
            await one.send(get(server))
    assert caught.value.__cause__ is None


async def test_a_header_that_cannot_be_sent_is_not_repeated_in_the_error() -> None:
    async with serve(answer()) as server, wire() as one:
        message = Message(label="GET /x", url=server.url, headers={"Authorization": "Bearer SECRET\n"})
        with pytest.raises(ConnectionFailedError, match=r"GET /x: not sent to .+: LocalProtocolError") as caught:
            await one.send(message)
    assert caught.value.permanent
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_a_url_that_httpx_refuses_is_not_retried() -> None:
    async with wire() as one:
        with pytest.raises(ConnectionFailedError, match=r"httpx cannot build the request \(InvalidURL\)") as caught:
            await one.send(get("http://a:SECRET/"))
    assert caught.value.permanent
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_an_invalid_port_is_an_error_with_a_message() -> None:
    async with wire() as one:
        with pytest.raises(
            ConnectionFailedError, match=r"not sent to 127.+: (connect\(\): port must be 0-65535|all attempts)"
        ):
            await one.send(get("http://127.0.0.1:99999/"))


async def test_an_untrusted_certificate_is_not_retried() -> None:
    async with serve(answer(), tls=True) as server, wire() as one:
        with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
            await one.send(get(server))
    assert caught.value.permanent


async def test_an_error_without_a_message_gets_that_of_its_cause() -> None:
    class Mute(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("", request=request) from OSError("the cable is cut")

    async with contextlib.aclosing(on_transport(Mute())) as one:
        with pytest.raises(ConnectionLostError, match="the connection broke: the cable is cut"):
            await one.send(get("http://127.0.0.1"))


async def test_an_error_while_closing_does_not_lose_the_response() -> None:
    class Sticky(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{}"

        async def aclose(self) -> None:
            raise OSError

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Sticky()))
    async with contextlib.aclosing(on_transport(transport)) as one:
        assert (await one.send(get("http://127.0.0.1"))).body == b"{}"


# What is known of a request that must not be sent twice


async def test_the_send_state_has_the_response_of_a_request_that_left() -> None:
    state = SendState()
    async with serve(answer({"id": 1})) as server, wire() as one:
        reply = await one.send(post(server, state))
    assert state.sent
    assert state.response == reply


@pytest.mark.parametrize("act", [raw_server.close_after_request, raw_server.reset_after_request, raw_server.hang])
async def test_the_send_state_shows_that_a_request_left_though_no_response_came(act: raw_server.Act) -> None:
    state = SendState()
    async with serve(act) as server, wire(read=0.05) as one:
        with pytest.raises((ConnectionLostError, RequestTimeoutError)):
            await one.send(post(server, state))
    assert (state.sent, state.response) == (True, None)


async def test_the_send_state_shows_that_a_request_never_left() -> None:
    state = SendState()
    async with serve(raw_server.ignore) as server, wire(connect=0.05) as one:
        server.scheme = "https"  # nobody answers the TLS handshake
        with pytest.raises(ConnectionFailedError):
            await one.send(post(server, state))
    assert (state.sent, state.response, server.requests) == (False, None, [])


async def test_the_send_state_describes_the_last_attempt() -> None:
    state = SendState()
    async with serve(answer(status=429)) as server, wire() as one:
        await one.send(post(server, state))
        assert state.response is not None
    async with wire() as one:
        with pytest.raises(ConnectionFailedError):
            await one.send(post(server, state))
    assert (state.sent, state.response) == (False, None)


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_without_trace_events_a_lost_response_stays_uncertain(kind: type[httpx.TransportError]) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise kind("", request=None)

    state = SendState()
    async with contextlib.aclosing(on_transport(httpx.MockTransport(refuse))) as one:
        for message in (post(RawServer([]), state), get(RawServer([]))):
            with pytest.raises((ConnectionLostError, RequestTimeoutError)) as caught:
                await one.send(message)
            assert caught.value.may_have_arrived
    assert state.sent


# Which connection is used


async def test_connections_idle_for_long_are_closed_when_another_one_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_EXPIRY", 0.01)
    async with serve(answer()) as first, serve(answer()) as second, wire() as one:
        await one.send(get(f"{first.url}/x"))
        await anyio.sleep(0.02)
        await one.send(get(f"{second.url}/x"))
        await wait_until(lambda: (first.open, second.open) == (0, 1))


async def test_an_idle_connection_to_another_host_is_left_alone() -> None:
    async with serve(answer()) as first, serve(answer()) as second, wire() as one:
        await one.send(get(f"{first.url}/x"))
        await one.send(get(f"{second.url}/x"))
        await one.send(get(f"{first.url}/x"))
        assert (first.accepted, second.accepted) == (1, 1)


async def test_the_connection_used_last_is_used_next() -> None:
    async with serve(answer(delay=0.01)) as server, wire() as one:
        async with anyio.create_task_group() as group:
            group.start_soon(one.send, get(server))
            group.start_soon(one.send, get(server))
        kept = idle(one.stack)
        await one.send(get(server))
        assert idle(one.stack) == kept


async def test_a_new_connection_is_opened_for_a_request_that_asks_for_one() -> None:
    async with serve(answer()) as server, wire() as one:
        await one.send(get(server))
        await one.send(attrs.evolve(get(server), fresh=True))
    assert server.accepted == 2


async def test_a_new_connection_replaces_an_idle_one() -> None:
    async with serve(answer(delay=0.01)) as server, wire() as one:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one.send, get(server))
        kept = idle(one.stack)
        for _ in range(5):
            await one.send(attrs.evolve(get(server), fresh=True))
        await wait_until(lambda: server.open == 3)
        assert len(idle(one.stack)) == 3
        assert not set(kept) & set(idle(one.stack))
    assert server.accepted == 8


async def test_a_response_that_is_closed_twice_gives_its_connection_back_once() -> None:
    async with serve(answer()) as server:
        stack = transport.ConnectionStack()
        given = await stack.handle_async_request(httpx.Request("GET", f"{server.url}/v2"))
        body = given.stream
        assert isinstance(body, httpx.AsyncByteStream)
        assert b"".join([chunk async for chunk in body]) == b"null"
        await body.aclose()
        await body.aclose()
        assert (stack._lent, len(stack._idle)) == (0, 1)
        await stack.aclose()
        assert not stack.is_open
