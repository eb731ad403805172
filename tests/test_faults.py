"""After a network fault a call succeeds at a later attempt, or raises one error that names the fault."""

import gzip
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import attrs
import httpx
import pytest

from tests import raw_server
from tests.raw_server import Act, Connection, answer, packed, platform, raw, raw_and_close, response, serve
from up42_async._client import DEFAULT_TIMEOUTS
from up42_async._config import Endpoints, Limits, RetryPolicy, Timeouts
from up42_async._errors import (
    APIError,
    ConnectionFailedError,
    ConnectionLostError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs", query="limit=1")
EXECUTION = ApiRequest(method="POST", path="/v2/execution", json={"title": "x"}, idempotent=False)
SOON = RetryPolicy(attempts=3, wait_initial=0.001)
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@attrs.frozen
class Fault:
    """A fault, and the error that a call then raises."""

    name: str
    act: Act
    error: tuple[type[APIError], ...]
    words: str
    timeouts: Timeouts = DEFAULT_TIMEOUTS

    def __str__(self) -> str:
        return self.name


BROKEN = (ConnectionLostError,)
FAULTS = [
    Fault(
        "RST at once",
        raw_server.reset_at_once,
        (ConnectionLostError, ConnectionFailedError),
        "connection broke|not sent",
    ),
    Fault("FIN at once", raw_server.close_at_once, BROKEN, "connection broke"),
    Fault("FIN after the request", raw_server.close_after_request, BROKEN, "Server disconnected without sending"),
    Fault("RST after the request", raw_server.reset_after_request, BROKEN, "connection broke"),
    Fault("silence", raw_server.hang, (RequestTimeoutError,), "no data for 0.3 s", Timeouts(read=0.3)),
    Fault("part of the headers", raw_and_close(b"HTTP/1.1 200 OK\r\nContent-Le"), BROKEN, "connection broke"),
    Fault("no status line", raw_and_close(b"%&?!\r\n\r\n"), BROKEN, "illegal status line"),
    Fault("200 kB of headers", raw_and_close(response(b"", headers=[("X", "x" * 200_000)])), BROKEN, "broke"),
    Fault(
        "body cut short", raw_and_close(response(b'{"id"', length=99)), BROKEN, "without sending complete message body"
    ),
    Fault("chunks cut short", raw_and_close(CHUNKED + b'5\r\n{"id"\r\n'), BROKEN, "incomplete chunked read"),
    Fault("chunks without sizes", raw_and_close(CHUNKED + b"{}\r\n\r\n"), BROKEN, "illegal chunk header"),
    Fault("broken gzip", packed(b"{}"), (UnexpectedResponseError,), "a broken gzip body"),
    Fault("gzip cut short", packed(b"\x1f\x8b\x08\x00"), (UnexpectedResponseError,), "a broken gzip body"),
    Fault(
        "HTML",
        raw(response(b"<html>", headers=[("Content-Type", "text/html; x")])),
        (UnexpectedResponseError,),
        "not JSON",
    ),
    Fault("JSON cut short", raw(response(b'{"id": ')), (UnexpectedResponseError,), "not JSON"),
    Fault("bytes that are no text", raw(response(b"\xff\xfe{}")), (UnexpectedResponseError,), "not JSON"),
    Fault("deep nesting", raw(response(b"[" * 100_000)), (UnexpectedResponseError,), "not JSON"),
    Fault("very long number", raw(response(b"1" * 5000)), (UnexpectedResponseError,), "not JSON"),
    *(
        Fault(f"status {status}", answer({"detail": "sorry"}, status=status), (StatusError,), f"{status}.*sorry")
        for status in (408, 429, 500, 502, 503, 504, 524, 542, 599)
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_call_succeeds_at_the_third_attempt(fault: Fault) -> None:
    async with platform(fault.act, fault.act, answer({"id": 1}), retry=SOON, timeouts=fault.timeouts) as up:
        assert await up.client._session.call(JOBS) == {"id": 1}
        statistics = up.client.statistics()
    assert (statistics.requests, statistics.retried, statistics.in_flight) == (3, 2, 0)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_when_all_attempts_fail_one_error_names_the_fault(fault: Fault) -> None:
    async with platform(fault.act, retry=SOON, timeouts=fault.timeouts) as up:
        with pytest.raises(fault.error, match=fault.words) as caught:
            await up.client._session.call(JOBS)
    error = caught.value
    assert (error.request, error.tries) == ("GET /v2/processing/jobs", 3)
    assert 0 < error.elapsed < 10
    assert str(error).startswith("GET /v2/processing/jobs: ")
    assert str(error).endswith(f" (3 tries in {error.elapsed:.1f} s)")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    assert type(error.__cause__).__module__ in {"builtins", "httpx"}


@pytest.fixture
def refusing_port() -> Iterator[int]:
    with raw_server.refusing_port() as port:
        yield port


async def test_a_refused_connection_is_retried_until_the_server_listens(refusing_port: int) -> None:
    async with platform(answer(), retry=RetryPolicy(attempts=50, budget=50, wait_initial=0.02, wait_max=0.02)) as up:
        up.client._session._endpoints = Endpoints(api=f"http://127.0.0.1:{refusing_port}", auth=up.auth.url)

        async def listen() -> None:
            await raw_server.wait_until(lambda: up.client.statistics().requests >= 3)
            async with serve(answer({"id": 1}), port=refusing_port):
                await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            assert await up.client._session.call(JOBS) == {"id": 1}
            group.cancel_scope.cancel()


@pytest.mark.parametrize(
    "host",
    ["http://127.0.0.1:1", "https://up42.invalid", "https://" + "x" * 70 + ".invalid"],
    ids=["refused", "DNS", "name"],
)
async def test_a_host_that_cannot_be_reached_is_an_error_that_says_why(host: str) -> None:
    async with platform(answer(), retry=SOON) as up:
        up.client._session._endpoints = Endpoints(api=host, auth=up.auth.url)
        with pytest.raises(ConnectionFailedError, match=r"GET /v2/processing/jobs: not sent to .+: .+") as caught:
            await up.client._session.call(JOBS)
    assert caught.value.may_have_arrived is False


async def test_a_port_that_does_not_answer_fails_after_the_connect_timeout() -> None:
    with raw_server.deaf_port() as port:
        async with platform(answer(), retry=SOON, timeouts=Timeouts(connect=0.1)) as up:
            up.client._session._endpoints = Endpoints(api=f"http://127.0.0.1:{port}", auth=up.auth.url)
            with pytest.raises(ConnectionFailedError, match=r"within 0\.1 s \(Timeouts.connect\) \(3 tries"):
                await up.client._session.call(JOBS)


async def test_a_hanging_tls_handshake_fails_after_the_connect_timeout() -> None:
    async with platform(raw_server.ignore, retry=SOON, timeouts=Timeouts(connect=0.1)) as up:
        up.client._session._endpoints = Endpoints(api=up.api.url.replace("http", "https"), auth=up.auth.url)
        with pytest.raises(ConnectionFailedError, match=r"no connection within 0\.1 s"):
            await up.client._session.call(JOBS)


async def test_an_untrusted_certificate_is_not_retried() -> None:
    async with serve(answer(), tls=True) as untrusted, platform(answer(), retry=SOON) as up:
        up.client._session._endpoints = Endpoints(api=untrusted.url, auth=up.auth.url)
        with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
            await up.client._session.call(JOBS)
    assert caught.value.tries == 1
    assert untrusted.requests == []


LARGE = ApiRequest(method="POST", path="/v2/check", json="x" * 16_000_000)


async def test_a_server_that_reads_nothing_fails_after_the_write_timeout() -> None:
    async with platform(raw_server.ignore, retry=SOON, timeouts=Timeouts(write=0.1)) as up:
        with pytest.raises(
            RequestTimeoutError, match=r"read nothing of the request for 0\.1 s \(Timeouts.write\) \(3 tries"
        ):
            await up.client._session.call(LARGE)


async def test_a_refusal_during_an_upload_is_a_status_error_or_a_lost_connection() -> None:
    async def refuse(connection: Connection) -> None:
        await connection.stream.receive(1000)
        await connection.send(response(b"{}", status=413, headers=[("Connection", "close")]))
        await connection.reset()

    async with platform(refuse, retry=RetryPolicy(attempts=1)) as up:
        with pytest.raises((StatusError, ConnectionLostError)) as caught:
            await up.client._session.call(LARGE)
    assert isinstance(caught.value, ConnectionLostError) or caught.value.status == 413  # type: ignore[attr-defined]


async def test_a_slow_response_fails_after_the_total_timeout() -> None:
    drip = raw_server.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"x", pause=0.01)
    async with platform(drip, answer({"id": 1}), timeouts=Timeouts(total=0.8), retry=RetryPolicy(attempts=1)) as up:
        with pytest.raises(RequestTimeoutError, match=r"no complete answer within 0\.8 s"):
            await up.client._session.call(JOBS)
        assert await up.client._session.call(JOBS) == {"id": 1}
    assert up.api.accepted == 2


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (answer({"detail": "no"}, status=403), PermissionDeniedError),
        (answer({"detail": "no"}, status=404), NotFoundError),
        (answer({"detail": "no"}, status=400), StatusError),
        (answer({"detail": "no"}, status=409), StatusError),
        (answer({"detail": "no"}, status=422), StatusError),
        (answer(status=307, Location="https://evil.invalid/x"), UnexpectedResponseError),
        (packed(b"", "br"), UnexpectedResponseError),
    ],
    ids=["403", "404", "400", "409", "422", "redirect", "brotli"],
)
async def test_permanent_failures_are_not_retried(act: Act, error: type[APIError]) -> None:
    async with platform(act, retry=SOON) as up:
        with pytest.raises(error) as caught:
            await up.client._session.call(JOBS)
    assert (caught.value.tries, len(up.api.requests)) == (1, 1)
    assert "tries" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [JOBS, EXECUTION], ids=str)
async def test_a_redirect_is_an_error_that_names_the_host_only(status: int, request_: ApiRequest) -> None:
    async with serve(answer()) as other:
        location = f"{other.url}/secret?signature=1"
        async with platform(answer(status=status, Location=location), retry=SOON) as up:
            with pytest.raises(
                UnexpectedResponseError, match=rf"status {status} .* a redirect to 127\.0\.0\.1.*not followed$"
            ):
                await up.client._session.call(request_)
        assert len(up.api.requests) == 1
        assert other.accepted == 0


@pytest.mark.parametrize("status", [302, 307])
async def test_a_login_is_not_redirected(status: int) -> None:
    async with (
        serve(answer()) as other,
        platform(answer(), login=answer(status=status, Location=f"{other.url}/token")) as up,
    ):
        with pytest.raises(UnexpectedResponseError, match=rf"POST /token: status {status}.* a redirect"):
            await up.client._session.call(JOBS)
    assert (other.accepted, len(up.auth.requests), up.api.accepted) == (0, 1, 0)


# A request that must not be sent twice


SENT_AND_LOST = [fault for fault in FAULTS if "429" not in fault.name and "at once" not in fault.name]


@pytest.mark.parametrize("fault", SENT_AND_LOST, ids=str)
async def test_an_execution_that_may_have_arrived_is_not_sent_again(
    fault: Fault, http_client: httpx.AsyncClient | None
) -> None:
    state = SendState()
    settings: dict[str, Any] = {"retry": SOON, "timeouts": fault.timeouts}
    async with platform(fault.act, answer({"id": 1}), http_client=http_client, **settings) as up:
        with pytest.raises(fault.error) as caught:
            await up.client._session.call(EXECUTION, state=state)
    assert (len(up.api.requests), up.api.accepted, caught.value.tries) == (1, 1, 1)
    assert state.sent


@pytest.mark.parametrize("location", ["http://[", "//", "\\\\evil"])
async def test_an_execution_redirected_to_an_invalid_url_is_not_sent_again(
    location: str, http_client: httpx.AsyncClient | None
) -> None:
    async with platform(answer(status=307, Location=location), http_client=http_client, retry=SOON) as up:
        with pytest.raises(UnexpectedResponseError):
            await up.client._session.call(EXECUTION)
    assert len(up.api.requests) == 1


@pytest.mark.parametrize("tls", [True, False], ids=["handshake", "connection"])
async def test_an_execution_that_found_no_connection_is_sent_again(
    tls: bool, http_client: httpx.AsyncClient | None
) -> None:
    state = SendState()
    settings: dict[str, Any] = {"retry": SOON, "timeouts": Timeouts(connect=0.1)}
    with raw_server.deaf_port() as port:
        async with platform(raw_server.ignore, http_client=http_client, **settings) as up:
            url = up.api.url.replace("http", "https") if tls else f"http://127.0.0.1:{port}"
            up.client._session._endpoints = Endpoints(api=url, auth=up.auth.url)
            with pytest.raises(ConnectionFailedError) as caught:
                await up.client._session.call(EXECUTION, state=state)
    assert (caught.value.tries, state.sent, up.api.requests) == (3, False, [])


async def test_an_execution_reaches_a_server_that_was_down_exactly_once(
    http_client: httpx.AsyncClient | None, refusing_port: int
) -> None:
    policy = RetryPolicy(attempts=50, budget=50, wait_initial=0.02, wait_max=0.02)
    async with (
        platform(answer(), http_client=http_client, retry=policy) as up,
        anyio.create_task_group() as group,
    ):
        up.client._session._endpoints = Endpoints(api=f"http://127.0.0.1:{refusing_port}", auth=up.auth.url)

        async def listen() -> None:
            await raw_server.wait_until(lambda: up.client.statistics().requests >= 3)
            async with serve(answer({"id": 1}), port=refusing_port) as server:
                await done.wait()
                assert server.count("POST", "/v2/execution") == 1

        done = anyio.Event()
        group.start_soon(listen)
        assert await up.client._session.call(EXECUTION) == {"id": 1}
        done.set()


@pytest.mark.parametrize("status", [401, 429])
async def test_an_execution_that_was_refused_unprocessed_is_sent_again(
    status: int, http_client: httpx.AsyncClient | None
) -> None:
    state, refusal = SendState(), answer({}, status=status, Retry_After="0")
    async with platform(refusal, answer({"id": 1}), http_client=http_client, retry=SOON) as up:
        assert await up.client._session.call(EXECUTION, state=state) == {"id": 1}
    assert len(up.api.requests) == 2
    assert state.response is not None
    assert state.response.status == 200


async def test_each_execution_uses_a_new_connection() -> None:
    async with platform(answer({"id": 1})) as up:
        for _ in range(3):
            await up.client._session.call(EXECUTION)
    assert up.api.accepted == 3


class Untraced(httpx.AsyncHTTPTransport):
    """A user's transport that reports no trace events, and raises ConnectTimeout when a connection is lost."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions.pop("trace", None)
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            raise httpx.ConnectTimeout("") from error


@pytest.mark.parametrize("act", [raw_server.close_after_request, raw_server.reset_after_request, raw_server.hang])
async def test_an_execution_that_a_transport_wrongly_reports_as_unsent_is_not_sent_again(act: Act) -> None:
    """As httpx-aiohttp does: the server has read the whole request, and the transport raises ConnectTimeout."""
    state, pool = SendState(), httpx.Limits(max_connections=20)
    async with (
        httpx.AsyncClient(transport=Untraced(limits=pool)) as http_client,
        platform(act, answer({"id": 1}), http_client=http_client, retry=SOON, timeouts=Timeouts(read=0.1)) as up,
    ):
        with pytest.raises(APIError) as caught:
            await up.client._session.call(EXECUTION, state=state)
    assert [len(up.api.requests), caught.value.tries] == [1, 1]
    assert not isinstance(caught.value, ConnectionFailedError)
    assert state.sent


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_an_execution_is_not_sent_again_by_a_transport_without_trace_events(
    kind: type[httpx.TransportError],
) -> None:
    posts = []

    def lose(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "token", "expires_in": 300})
        posts.append(request)
        raise kind("the server closed the connection after reading all of it")

    async with platform(answer(), retry=SOON, http_client=httpx.AsyncClient(transport=httpx.MockTransport(lose))) as up:
        with pytest.raises(APIError) as caught:
            await up.client._session.call(EXECUTION)
    assert len(posts) == 1
    assert not isinstance(caught.value, ConnectionFailedError)


# Number of retries and size of responses


async def test_the_number_of_retries_is_bounded_by_the_budget() -> None:
    """Each of 30 services fails twice, so that the client sees no outage, in which it would pace its retries."""
    policy = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.001, budget=10, budget_share=0)
    async with platform(answer(status=503), retry=policy) as up:

        async def ask(service: int) -> None:
            with pytest.raises(ServerError):
                await up.client._session.call(ApiRequest(method="GET", path=f"/v2/service-{service}/x"))

        async with anyio.create_task_group() as group:
            for service in range(30):
                group.start_soon(ask, service)
    assert up.client.statistics().requests == 30 + 10


async def test_each_successful_response_earns_a_share_of_a_retry() -> None:
    policy = RetryPolicy(attempts=2, wait_initial=0.001, budget=0, budget_share=0.5)
    acts = [answer(), answer(), answer(status=503), answer({"id": 1}), answer(status=503)]
    async with platform(*acts, retry=policy) as up:
        for _ in range(2):
            await up.client._session.call(JOBS)
        assert await up.client._session.call(JOBS) == {"id": 1}
        await _fail(up.client._session.call, ServerError)
    assert up.client.statistics().requests == 5


async def test_status_429_costs_no_retry_budget() -> None:
    policy = RetryPolicy(attempts=3, wait_initial=0.001, budget=0, budget_share=0)
    async with platform(answer(status=429), retry=policy) as up:
        await _fail(up.client._session.call, RateLimitError)
    assert up.client.statistics().requests == 3


async def _fail(call: Callable[[ApiRequest], Any], error: type[APIError]) -> None:
    with pytest.raises(error):
        await call(JOBS)


@pytest.mark.parametrize("more", [0, 1])
async def test_a_response_may_have_at_most_16_mebibytes(more: int) -> None:
    body = b'"' + b"x" * (2**24 - 2 + more) + b'"'
    async with platform(packed(gzip.compress(body, 1)), retry=SOON) as up:
        if not more:
            assert len(await up.client._session.call(JOBS)) == 2**24 - 2
            return
        with pytest.raises(UnexpectedResponseError, match=f"more than {2**24} bytes"):
            await up.client._session.call(JOBS)


async def test_a_response_above_the_limit_is_refused_and_not_retried() -> None:
    limits = Limits(requests_per_second=1e6, burst=10**6, max_response_bytes=1000)
    async with platform(answer("x" * 1000), limits=limits, retry=SOON) as up:
        with pytest.raises(UnexpectedResponseError, match="more than 1000 bytes") as caught:
            await up.client._session.call(JOBS)
    assert caught.value.tries == 1
