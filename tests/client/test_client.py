"""One call, from its slot to its decoded answer; the current client; and the statistics of a client."""

import datetime as dt
import time
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import httpx
import pytest

from tests import raw_server
from tests.raw_server import answer, platform, raw, response, wait_until
from up42_async import ConnectionLostError, Endpoints, _clock
from up42_async._client import Client, Statistics, current_client
from up42_async._client.client import _current
from up42_async._client.services import Service
from up42_async._config import VERSION, Limits, RetryPolicy
from up42_async._errors import AuthenticationError, InvalidCredentialsError, RateLimitError, UnexpectedResponseError
from up42_async._http import environment
from up42_async._http.requests import ApiRequest

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs")
CHECK = ApiRequest(method="POST", path="/v2/check", json={"title": "Bäume"})
EXECUTION = ApiRequest(method="POST", path="/v2/execution", json={"title": "x"}, idempotent=False)
USERINFO = ApiRequest(method="GET", path="/userinfo", host="auth")


async def test_a_response_is_decoded() -> None:
    async with platform(answer({"id": 1, "items": [None]})) as up:
        assert await up.client._session.call(JOBS) == {"id": 1, "items": [None]}


async def test_a_response_without_a_body_is_none_where_it_is_documented() -> None:
    async with platform(raw(response(b"", status=204))) as up:
        assert await up.client._session.call(attrs.evolve(JOBS, empty_ok=True)) is None


async def test_a_request_has_the_token_the_user_agent_and_the_accept_header() -> None:
    async with platform(answer(), login=raw_server.token("abc")) as up:
        await up.client._session.call(attrs.evolve(JOBS, query="limit=1&status=RUNNING"))
    seen = up.api.requests[0]
    assert (seen.method, seen.target) == ("GET", "/v2/processing/jobs?limit=1&status=RUNNING")
    assert seen.headers == {
        "host": f"127.0.0.1:{up.api.port}",
        "authorization": "Bearer abc",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": f"up42-async/{VERSION}",
    }


async def test_a_body_is_sent_as_json() -> None:
    async with platform(answer()) as up:
        await up.client._session.call(CHECK)
    seen = up.api.requests[0]
    assert (seen.body, seen.headers["content-type"]) == (b'{"title": "B\\u00e4ume"}', "application/json")


async def test_at_most_max_concurrency_calls_are_in_flight() -> None:
    busiest = 0

    async def act(connection: raw_server.Connection) -> None:
        nonlocal busiest
        await connection.read()
        busiest = max(busiest, up.api.busy)
        await anyio.sleep(0.005)
        await connection.send(response(b"{}"))

    limits = Limits(max_concurrency=3, requests_per_second=1e6, burst=10**6)
    async with platform(act, limits=limits) as up, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(up.client._session.call, JOBS)
    assert busiest == 3


# Time, on a clock that jumps


class Scripted(httpx.AsyncBaseTransport):
    """Answer with one response after the other, the last one for ever, and note when each was asked for."""

    def __init__(self, *responses: httpx.Response) -> None:
        self.responses = list(responses)
        self.asked: list[tuple[str, float]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "token", "expires_in": 86_400})
        self.asked.append((request.url.path, anyio.current_time()))
        answer_ = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        return httpx.Response(answer_.status_code, headers=answer_.headers, content=answer_.content)


def scripted_client(transport: Scripted, **settings: Any) -> Client:
    return Client("a", "b", http_client=httpx.AsyncClient(transport=transport), **settings)


@pytest.mark.virtual_time
async def test_a_slot_is_released_between_two_attempts() -> None:
    transport = Scripted(httpx.Response(503, headers={"Retry-After": "60"}), httpx.Response(200, json=1))
    client = scripted_client(transport, limits=Limits(max_concurrency=1))
    async with client, anyio.create_task_group() as group:
        group.start_soon(client._session.call, JOBS)
        await anyio.sleep(1)
        assert await client._session.call(CHECK) == 1
        assert anyio.current_time() < 2
    assert [path for path, _ in transport.asked] == [JOBS.path, CHECK.path, JOBS.path]
    assert transport.asked[-1][1] >= 60


@pytest.mark.virtual_time
async def test_a_429_delays_all_calls() -> None:
    transport = Scripted(httpx.Response(429, headers={"Retry-After": "30"}), httpx.Response(200, json=1))
    client = scripted_client(transport)
    async with client, anyio.create_task_group() as group:
        group.start_soon(client._session.call, JOBS)
        await anyio.sleep(1)
        group.start_soon(client._session.call, CHECK)
    assert [at >= 30 for _, at in transport.asked] == [False, True, True]


@pytest.mark.virtual_time
async def test_a_retry_after_beyond_the_retry_timeout_is_raised_at_once() -> None:
    transport = Scripted(httpx.Response(429, headers={"Retry-After": "3600"}))
    async with scripted_client(transport, retry=RetryPolicy(timeout=60)) as client:
        with pytest.raises(RateLimitError) as caught:
            await client._session.call(JOBS)
        assert anyio.current_time() < 1
    assert caught.value.retry_after == 3600


@pytest.mark.virtual_time
async def test_a_retry_after_of_hours_pauses_the_client_for_a_minute() -> None:
    transport = Scripted(httpx.Response(429, headers={"Retry-After": "36000"}), httpx.Response(200, json=1))
    async with scripted_client(transport) as client:
        with pytest.raises(RateLimitError):
            await client._session.call(JOBS)
        await client._session.call(JOBS)
        assert 60 <= anyio.current_time() < 61


# The token


async def test_a_token_that_is_refused_is_renewed_once_and_the_request_sent_once_more() -> None:
    async with platform(answer({}, status=401), answer({"id": 1})) as up:
        assert await up.client._session.call(JOBS) == {"id": 1}
        assert up.client.statistics() == Statistics(requests=2, retried=1, in_flight=0, logins=2)


@pytest.mark.parametrize("request_", [JOBS, EXECUTION], ids=str)
async def test_a_second_refusal_of_the_token_is_an_error(request_: ApiRequest) -> None:
    async with platform(answer({"detail": "no"}, status=401)) as up:
        with pytest.raises(AuthenticationError, match="401"):
            await up.client._session.call(request_)
    assert (len(up.api.requests), len(up.auth.requests)) == (2, 2)


async def test_wrong_credentials_are_posted_once_and_refused() -> None:
    login = answer({"error": "invalid_grant"}, status=401)
    async with platform(answer(), login=login) as up:
        for _ in range(3):
            with pytest.raises(InvalidCredentialsError):
                await up.client._session.call(JOBS)
    assert (len(up.auth.requests), up.api.accepted) == (1, 0)


# The workspace


async def test_a_given_workspace_is_not_requested() -> None:
    async with platform(answer(), workspace_id="mine") as up:
        assert await up.client.workspace_id() == "mine"
    assert (up.api.accepted, up.auth.accepted) == (0, 0)


async def test_the_workspace_of_the_user_is_requested_once_for_all_calls() -> None:
    found: list[str] = []

    async def ask() -> None:
        found.append(await up.client.workspace_id())

    async with platform(answer(), login=answer({"access_token": "t", "sub": "user-1"})) as up:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        await ask()
    assert found == ["user-1"] * 21
    assert [seen.target for seen in up.auth.requests] == ["/token", "/userinfo"]
    assert up.auth.requests[1].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("answered", [{}, {"sub": ""}, {"sub": 1}, [], "sub"])
async def test_a_user_without_an_id_is_an_error_that_asks_for_workspace_id(answered: object) -> None:
    transport = Scripted(httpx.Response(200, json=answered))
    async with scripted_client(transport) as client:
        with pytest.raises(UnexpectedResponseError, match=r"GET /userinfo: .*give workspace_id to the Client"):
            await client.workspace_id()


# What a client tells of itself


async def test_statistics_count_requests_retries_and_logins() -> None:
    policy = RetryPolicy(wait_initial=0.001)
    async with platform(answer({}, status=500), answer({}, status=500), answer(), retry=policy) as up:
        assert up.client.statistics() == Statistics(requests=0, retried=0, in_flight=0, logins=0)
        await up.client._session.call(JOBS)
        await up.client._session.call(JOBS)
        assert up.client.statistics() == Statistics(requests=4, retried=2, in_flight=0, logins=1)


async def test_statistics_show_calls_in_flight() -> None:
    async with platform(raw_server.hang) as up, anyio.create_task_group() as group:
        group.start_soon(up.client._session.call, JOBS)
        group.start_soon(up.client._session.call, JOBS)
        await wait_until(lambda: up.api.busy == 2)
        assert up.client.statistics().in_flight == 2
        assert up.client.statistics().waiting == 0
        group.cancel_scope.cancel()
    assert up.client.statistics().in_flight == 0


async def test_statistics_show_waiting_calls_and_the_end_of_a_pause() -> None:
    limits = Limits(max_concurrency=1)
    slow_down = raw(response(b"{}", status=429, headers=[("retry-after", "30")]))
    async with platform(slow_down, limits=limits) as up, anyio.create_task_group() as group:
        assert up.client.statistics().paused_until is None
        before = dt.datetime.now(dt.UTC)
        group.start_soon(up.client._session.call, JOBS)
        await wait_until(lambda: up.client.statistics().paused_until is not None)
        group.start_soon(up.client._session.call, JOBS)
        group.start_soon(up.client._session.call, JOBS)
        await wait_until(lambda: up.client.statistics().waiting == 2)  # the third holds the slot and waits for the pace
        statistics = up.client.statistics()
        assert statistics.paused_until is not None
        assert 29 < (statistics.paused_until - before).total_seconds() < 40
        assert statistics.in_flight == 1
        group.cancel_scope.cancel()
    assert up.client.statistics().waiting == 0


def test_statistics_can_be_read_outside_an_event_loop() -> None:
    assert Client("a", "b").statistics() == Statistics(requests=0, retried=0, in_flight=0, logins=0)


async def test_the_time_on_the_servers_clock_is_read_from_its_responses() -> None:
    async with platform(answer(Date="Sun, 06 Nov 1994 08:49:37 GMT")) as up:
        await up.client._session.call(JOBS)
        now = up.client._session.server_time()
    assert dt.timedelta() <= now - dt.datetime(1994, 11, 6, 8, 49, 37, tzinfo=dt.UTC) < dt.timedelta(seconds=5)


@pytest.mark.parametrize("act", [answer(), answer(Date="soon")], ids=["none", "unreadable"])
async def test_without_a_date_header_the_local_clock_is_used(act: raw_server.Act) -> None:
    async with platform(act) as up:
        await up.client._session.call(JOBS)
        assert abs(up.client._session.server_time().timestamp() - _clock.wall()) < 5


async def test_the_time_on_the_servers_clock_never_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    async with platform(answer(Date="Sun, 06 Nov 1994 08:49:37 GMT")) as up:
        await up.client._session.call(JOBS)
        wall = _clock.wall()
        monkeypatch.setattr(_clock, "wall", lambda: wall - 3600)
        assert up.client._session.server_time() == dt.datetime(1994, 11, 6, 8, 49, 37, tzinfo=dt.UTC)


def test_the_password_is_not_shown() -> None:
    client = Client("person@example.com", "CANARY")
    assert repr(client) == "<up42_async.Client of https://api.up42.com>"
    assert "CANARY" not in repr(client) + str(client) + repr(vars(client))


@pytest.mark.parametrize(("region", "host"), [("eu", "https://api.up42.com"), ("sa", "https://api.sa.up42.com")])
def test_each_region_has_its_own_host(region: str, host: str) -> None:
    assert Client("a", "b", region=region)._session.api == host


def test_an_unknown_region_is_refused_also_beside_endpoints() -> None:
    endpoints = Endpoints(api="http://127.0.0.1:1", auth="http://127.0.0.1:1")
    with pytest.raises(ValueError, match="^region 'mars' is not one of 'eu', 'sa'$"):
        Client("a", "b", region="mars", endpoints=endpoints)


def test_any_object_with_two_hosts_is_accepted_as_endpoints() -> None:
    class Own:
        api = "http://127.0.0.1:1/"
        auth = "http://127.0.0.1:2"

    assert Client("a", "b", endpoints=Own())._session.api == "http://127.0.0.1:1"


# What layers above keep for a client


class CountingService(Service):
    """A service with two counts, which records how often it was closed."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def counts(self) -> Mapping[str, int]:
        return {"tracked": 2, "spent": 3}


async def test_services_add_their_counts_to_the_statistics() -> None:
    client = Client("a", "b")
    client._service(CountingService)
    assert (client.statistics().tracked, client.statistics().spent) == (2, 3)


async def test_a_service_is_made_once_for_each_client_and_closed_with_it() -> None:
    one, other = Client("a", "b"), Client("a", "b")
    service = one._service(CountingService)
    assert service is one._service(CountingService)
    assert service is not other._service(CountingService)
    await one.aclose()
    await one.aclose()
    assert (service.client, service.closed, other._service(CountingService).closed) == (one, 1, 0)


# The current client


async def test_the_client_of_the_block_is_current_and_none_after_it() -> None:
    async with Client("a", "b") as client:
        assert current_client() is client
    with pytest.raises(RuntimeError):
        current_client()


async def test_the_innermost_block_wins_and_the_outer_one_comes_back() -> None:
    async with Client("a", "b") as outer:
        async with Client("a", "b") as inner:
            assert current_client() is inner
        assert current_client() is outer


async def test_a_given_client_takes_precedence_over_the_current_one() -> None:
    given = Client("a", "b")
    assert current_client(given) is given
    async with Client("a", "b"):
        assert current_client(given) is given


async def test_tasks_started_inside_have_the_client_and_those_outside_do_not() -> None:
    async def look(into: list[Client | None]) -> None:
        into.append(_current.get())

    inside: list[Client | None] = []
    outside: list[Client | None] = []
    async with anyio.create_task_group() as around:
        around.start_soon(look, outside)
        async with Client("a", "b") as client, anyio.create_task_group() as within:
            within.start_soon(look, inside)
            within.start_soon(look, inside)
    assert (inside, outside) == ([client, client], [None])


async def test_two_clients_side_by_side_do_not_affect_each_other() -> None:
    async def work(name: str, found: set[Client]) -> None:
        async with Client(name, "b") as client:
            for _ in range(10):
                assert current_client() is client
                await anyio.lowlevel.checkpoint()
                async with Client(name, "c") as nested:
                    await anyio.lowlevel.checkpoint()
                    assert current_client() is nested
            found.add(client)

    found: set[Client] = set()
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(work, str(number), found)
    assert len(found) == 5


async def test_two_accounts_side_by_side_use_their_own_tokens() -> None:
    async with (
        platform(answer({"of": "one"}), login=raw_server.token("one")) as one,
        platform(answer({"of": "two"}), login=raw_server.token("two")) as two,
    ):
        assert await one.client._session.call(JOBS) == {"of": "one"}
        assert await current_client()._session.call(JOBS) == {"of": "two"}
    assert {seen.headers["authorization"] for seen in one.api.requests} == {"Bearer one"}
    assert {seen.headers["authorization"] for seen in two.api.requests} == {"Bearer two"}


async def test_blocks_that_end_in_another_order_leave_the_newer_client_current() -> None:
    one, other = Client("a", "b"), Client("a", "b")
    await one.__aenter__()
    await other.__aenter__()
    await one.__aexit__(None, None, None)
    assert current_client() is other
    await other.__aexit__(None, None, None)


async def test_a_block_can_end_in_another_context_than_it_began_in() -> None:
    client = Client("a", "b")

    async def leave() -> None:
        await client.__aexit__(None, None, None)

    await client.__aenter__()
    async with anyio.create_task_group() as group:
        group.start_soon(leave)
    with pytest.raises(RuntimeError, match="closed"):
        await client._session.call(JOBS)


# What it costs


def test_making_a_client_is_cheap_and_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    environment._contexts.clear()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        Client("a", "b")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.005
    assert environment._contexts == {}


# The raw door


async def test_client_request_sends_the_token_and_decodes_the_response() -> None:
    async with platform(answer({"content": []}), raw_server.raw(raw_server.response(b"", status=204))) as up:
        assert await up.client.request("get", "/v2/budgets", params={"ids": ["a", "b"], "all": True, "x": None}) == {
            "content": []
        }
        assert await up.client.request("PUT", "/v2/things/a%2Fb", json={"name": "x"}) is None
    first, second = up.api.requests
    assert (first.method, first.target) == ("GET", "/v2/budgets?ids=a%2Cb&all=true")
    assert (second.method, second.target, second.body) == ("PUT", "/v2/things/a%2Fb", b'{"name": "x"}')
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer token"


@pytest.mark.parametrize(("method", "requests"), [("GET", 3), ("HEAD", 3), ("POST", 1), ("DELETE", 1), ("PATCH", 1)])
async def test_client_request_retries_only_reads(method: str, requests: int) -> None:
    retry = RetryPolicy(attempts=3, wait_initial=0.001)
    async with platform(raw_server.close_after_request, retry=retry) as up:
        with pytest.raises(ConnectionLostError):
            await up.client.request(method, "/v2/x")
    assert len(up.api.requests) == requests


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v2/x",
        "//evil.test/x",
        "https://evil.test/x",
        "@evil.test/x",
        "/v2/../x",
        "/v2/%2E%2e/x",
        "/v2/./x",
        "/v2/x?y=1",
        "/v2/x#y",
        "/v2/x y",
        "/v2\\x",
        "/v2/caf\u00e9",
        "/v2/%zz",
        "/v2/\n",
    ],
)
async def test_client_request_sends_to_paths_of_the_api_only(path: str) -> None:
    async with platform(answer()) as up:
        with pytest.raises(ValueError, match=r"^path .* cannot be right: expected '/v2/...'"):
            await up.client.request("GET", path)
    assert (up.api.accepted, up.auth.accepted) == (0, 0)


@pytest.mark.parametrize(
    ("method", "path", "error"), [("CONNECT", "/v2/x", ValueError), (5, "/x", TypeError), ("GET", None, TypeError)]
)
async def test_client_request_refuses_a_wrong_method_or_path(method: Any, path: Any, error: type[Exception]) -> None:
    async with platform(answer()) as up:
        with pytest.raises(error, match="method"):
            await up.client.request(method, path)
    assert up.api.accepted == 0


# One shared AsyncClient


async def test_the_own_http_client_exists_from_the_start_and_is_closed_with_the_client() -> None:
    async with platform(answer({"id": 1})) as up:
        http_client = up.client.http_client
        await up.client._session.call(JOBS)
        assert up.client.http_client is http_client
        assert not http_client.is_closed
    assert http_client.is_closed


async def test_an_async_client_of_the_user_is_not_changed_and_left_open() -> None:
    async with httpx.AsyncClient() as http_client:
        async with platform(answer({"id": 1}), http_client=http_client) as up:
            assert up.client.http_client is http_client
            assert await up.client._session.call(JOBS) == {"id": 1}
        assert not http_client.is_closed


async def test_an_async_client_of_the_user_that_was_closed_is_an_error_that_names_it() -> None:
    http_client = httpx.AsyncClient()
    await http_client.aclose()
    async with platform(answer(), http_client=http_client) as up:
        with pytest.raises(RuntimeError, match="the AsyncClient given as http_client is closed"):
            await up.client._session.call(JOBS)


async def test_request_settings_of_the_users_client_are_not_used() -> None:
    http_client = httpx.AsyncClient(
        auth=("person", "password"),
        headers={"X-Mine": "1", "User-Agent": "mine"},
        params={"q": "1"},
        cookies={"c": "1"},
        base_url="https://elsewhere.example",
        follow_redirects=True,
        timeout=0.000001,
    )
    moved = raw_server.raw(raw_server.response(b"", status=302, headers=[("Location", "/elsewhere")]))
    async with http_client, platform(answer({}), moved, http_client=http_client) as up:
        await up.client._session.call(JOBS)
        with pytest.raises(UnexpectedResponseError, match="redirect"):
            await up.client._session.call(JOBS)
    seen = up.api.requests[0]
    assert (seen.target, seen.headers["authorization"]) == (JOBS.path, "Bearer token")
    assert seen.headers["user-agent"].startswith("up42-async/")
    assert not {"x-mine", "cookie"} & seen.headers.keys()
    assert [request.target for request in up.api.requests] == [JOBS.path, JOBS.path]


async def test_every_request_and_login_has_the_user_agent() -> None:
    async with platform(answer({})) as up:
        await up.client._session.call(JOBS)
    assert up.auth.requests[0].headers["user-agent"] == up.api.requests[0].headers["user-agent"]
