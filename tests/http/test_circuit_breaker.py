"""An outage costs a few calls, not all that wait: one request at a time probes, the others wait."""

import itertools
import math

import anyio
import anyio.lowlevel
import httpx
import pytest

from tests.fake_platform import Asked, FakePlatform, client_of
from up42_async import Client, _clock
from up42_async._config import Limits, RetryPolicy
from up42_async._errors import (
    APIError,
    ConnectionFailedError,
    ConnectionLostError,
    NotFoundError,
    RateLimitError,
    ServerError,
    StatusError,
)
from up42_async._http.requests import ApiRequest
from up42_async._http.throttling import FAILURES_IN_A_ROW, CircuitBreaker

pytestmark = pytest.mark.virtual_time

JOB = ApiRequest(method="GET", path="/v2/processing/jobs/a")
COST = ApiRequest(method="POST", path="/v2/processing/processes/x/cost")
EXECUTION = ApiRequest(method="POST", path="/v2/processing/processes/x/execution", idempotent=False)
SEARCH = ApiRequest(method="POST", path="/v2/assets/stac/search")
USERINFO = ApiRequest(method="GET", path="/userinfo", host="auth")
DOWN = ServerError("status 503", status=503)


def opened(policy: RetryPolicy | None = None, error: APIError = DOWN) -> CircuitBreaker:
    """Return a breaker of an outage that just began."""
    breaker = CircuitBreaker(policy or RetryPolicy())
    for _ in range(FAILURES_IN_A_ROW):
        assert not breaker.is_open(JOB)
        assert breaker.allows(JOB)
        breaker.record(JOB, error)
    assert breaker.is_open(JOB)
    return breaker


async def test_an_outage_of_one_service_does_not_delay_the_others() -> None:
    breaker = opened()
    assert not breaker.allows(COST)
    assert breaker.allows(SEARCH)
    assert breaker.allows(USERINFO)


@pytest.mark.parametrize(
    "outcome",
    [{}, None, NotFoundError("404", status=404), StatusError("400", status=400), RateLimitError("429")],
    ids=repr,
)
async def test_any_response_of_the_platform_ends_an_outage(outcome: object) -> None:
    breaker = opened()
    breaker.record(COST, outcome)
    assert not breaker.is_open(JOB)
    assert all(breaker.allows(JOB) for _ in range(10))


async def test_only_consecutive_failures_are_an_outage() -> None:
    """One job that always fails must not hold up the others."""
    breaker = CircuitBreaker(RetryPolicy())
    for _ in range(100):
        breaker.record(JOB, DOWN)
        breaker.record(JOB, ConnectionLostError("reset"))
        breaker.record(COST, {})
    assert not breaker.is_open(JOB)


async def test_probes_are_sent_one_at_a_time_with_growing_delays() -> None:
    breaker, times = opened(RetryPolicy(wait_initial=1, wait_max=8)), []
    started = _clock.now()
    while _clock.now() < started + 60:
        if breaker.allows(JOB):  # a probe that hangs or is cancelled keeps nobody from the next
            times.append(_clock.now() - started)
        await anyio.sleep(0.01)
    gaps = [later - earlier for earlier, later in itertools.pairwise([0.0, *times])]
    for gap, bound in zip(gaps, [1, 2, 4, *[8] * 20], strict=False):
        assert bound / 2 <= gap <= bound + 0.02
    assert 8 <= len(times) <= 16


async def test_an_execution_is_no_probe_while_a_read_waits() -> None:
    """An execution that meets the outage is a lost answer, which has to be looked for."""
    platform, executed = FakePlatform(latency=0.01), list[Asked]()
    started = _clock.now()

    def api(asked: Asked) -> httpx.Response:
        is_up = asked.at - started >= 20
        executed.extend([asked] if asked.url.endswith("/execution") else [])
        return httpx.Response(200 if is_up else 503, json={})

    platform.api = api
    async with client_of(platform) as client, anyio.create_task_group() as tasks:
        ends: list[object] = []
        for _ in range(FAILURES_IN_A_ROW):
            tasks.start_soon(ask, client, ends)
        await anyio.sleep(0.1)
        for number in range(20):
            tasks.start_soon(ask, client, ends, JOB if number % 2 else EXECUTION)
    assert ends.count({}) >= 15
    assert [one for one in executed if one.at - started < 20] == []
    assert len(executed) == 10


async def test_an_execution_is_the_probe_when_nothing_else_waits() -> None:
    breaker = opened(RetryPolicy(wait_initial=1, wait_max=8))
    started = _clock.now()
    assert await breaker.wait(EXECUTION, math.inf)
    assert 1.5 <= _clock.now() - started <= 2
    assert breaker.allows(EXECUTION)
    assert not breaker.allows(JOB)


async def test_waiting_calls_are_woken_when_the_outage_ends() -> None:
    breaker, woken = opened(RetryPolicy(wait_initial=100, wait_max=100)), []

    async def wait() -> None:
        assert await breaker.wait(JOB, math.inf)
        woken.append(_clock.now())

    started = _clock.now()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(wait)
        await anyio.sleep(1)
        breaker.record(JOB, {})
    assert woken == [pytest.approx(started + 1)] * 50
    assert await breaker.wait(JOB, math.inf)


async def test_a_waiting_call_ends_at_its_deadline_with_an_error_that_names_the_outage() -> None:
    breaker = opened(RetryPolicy(wait_initial=100, wait_max=100))
    started = _clock.now()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(breaker.wait, JOB, math.inf)  # the first in line watches the clock, the second only waits
        await anyio.lowlevel.checkpoint()
        assert not await breaker.wait(JOB, started + 7)
        assert _clock.now() - started == pytest.approx(7)
        assert not await breaker.wait(JOB, started)
        tasks.cancel_scope.cancel()
    error = breaker.outage_error(JOB)
    assert type(error) is ConnectionFailedError
    assert error.transient
    assert str(error) == (
        "GET /v2/processing/jobs/a: not sent: /v2/processing has been failing for 7 s, last with: status 503"
    )
    assert str(breaker.outage_error(SEARCH)) == "POST /v2/assets/stac/search: not sent: /v2/assets has been failing"


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (3600.0, 60.0), (0.0, 0.25)])
async def test_the_first_probe_is_not_sent_before_the_retry_after_of_the_server(asked: float, waited: float) -> None:
    breaker = opened(error=ServerError("status 503", status=503, retry_after=asked))
    started = _clock.now()
    assert await breaker.wait(JOB, math.inf)
    assert waited <= _clock.now() - started <= waited + 0.5


async def test_closing_the_client_wakes_all_calls_that_wait_for_the_end_of_an_outage() -> None:
    breaker = opened(RetryPolicy(wait_initial=100, wait_max=100))
    started = _clock.now()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(breaker.wait, JOB, math.inf)
        await anyio.sleep(1)
        breaker.close()
    assert _clock.now() - started == pytest.approx(1)


async def ask(client: Client, ends: list[object], request: ApiRequest = JOB) -> None:
    try:
        ends.append(await client._session.call(request))
    except APIError as error:
        ends.append(error)


@pytest.mark.parametrize("failure", [503, 502, 404, httpx.ConnectError("refused"), httpx.ReadError("reset")], ids=repr)
async def test_a_short_outage_does_not_fail_the_calls_that_wait_for_a_slot(failure: int | Exception) -> None:
    platform, ends = FakePlatform(latency=0.01), list[object]()
    started = _clock.now()

    def api(asked: Asked) -> httpx.Response:
        if asked.at - started >= 0.4:
            return httpx.Response(200, json={})
        if isinstance(failure, Exception):
            raise failure
        return httpx.Response(failure, html="<html>no backend</html>")

    platform.api = api
    async with client_of(platform) as client, anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(ask, client, ends)
    assert ends == [{}] * 500
    assert len(platform.calls) <= 500 + 20 + 5
    assert _clock.now() - started < 5


async def test_a_long_outage_fails_all_calls_in_time_with_few_requests() -> None:
    platform, ends = FakePlatform(latency=0.01), list[object]()
    platform.api = lambda _: httpx.Response(503)
    started = _clock.now()
    async with client_of(platform) as client, anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(ask, client, ends)
    assert {type(end) for end in ends} <= {ServerError, ConnectionFailedError}
    assert len(ends) == 500
    assert len(platform.calls) <= 40
    assert 120 <= _clock.now() - started <= 160


async def test_waiting_for_the_end_of_an_outage_costs_no_attempts_and_no_retry_budget() -> None:
    platform = FakePlatform(latency=0.01)
    started = _clock.now()
    platform.api = lambda asked: httpx.Response(503 if asked.at - started < 20 else 200, json={})
    async with client_of(platform, retry=RetryPolicy(budget=3, budget_share=0, attempts=3)) as client:
        ends: list[object] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask, client, ends)
        assert sum(end == {} for end in ends) >= 45
        assert client._session._budget.try_withdraw()


async def test_a_call_that_waited_long_for_a_slot_has_all_its_attempts() -> None:
    platform = FakePlatform(latency=50)
    platform.api = lambda asked: httpx.Response(503 if asked.number == 5 else 200, json={})
    ends: list[object] = []
    async with client_of(platform, limits=Limits(max_concurrency=1)) as client, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask, client, ends)
    assert ends == [{}] * 5


async def test_a_client_that_is_closed_in_an_outage_ends_at_once() -> None:
    platform = FakePlatform(latency=0.01)
    platform.api = lambda _: httpx.Response(503, headers={"Retry-After": "50"})
    ends: list[str] = []

    async def ask_closed(client: Client) -> None:
        with pytest.raises(RuntimeError, match="closed"):
            await client._session.call(JOB)
        ends.append("closed")

    started = _clock.now()
    async with client_of(platform) as client, anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(ask_closed, client)
        await anyio.sleep(5)
        await client.aclose()
    assert len(ends) == 40
    assert _clock.now() - started < 6
