"""Cancelling a call loses no connection, and keeps the response to an execution, which may have been charged."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import httpx
import pytest

from tests import raw_server
from tests.chaos import leaks
from tests.http_clients import CONNECTIONS
from tests.raw_server import Connection, answer, connections, platform, wait_until
from tests.wire import Message, on_transport
from up42_async._client import Client
from up42_async._config import Endpoints, Limits, RetryPolicy, Timeouts
from up42_async._http import exchange
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs")
EXECUTION = ApiRequest(method="POST", path="/v2/execution", json={"title": "x"}, idempotent=False)
CHURN = 1.5
"""Seconds of cancelling; runs of six seconds found nothing more."""


def limits(in_flight: int) -> Limits:
    return Limits(max_concurrency=in_flight, requests_per_second=1e6, burst=10**6)


async def call_often(client: Client, times: int) -> None:
    """Make concurrent calls, all of which must succeed."""
    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(client._session.call, JOBS)


async def keep_cancelling(client: Client, seconds: float, dice: random.Random) -> None:
    until = anyio.current_time() + seconds
    while anyio.current_time() < until:
        with anyio.move_on_after(dice.uniform(0, dice.choice((0.03, 0.1)))):
            await client._session.call(JOBS)


async def test_thousands_of_cancellations_lose_no_connection(http_client: httpx.AsyncClient | None) -> None:
    settings: dict[str, Any] = {"limits": limits(10), "timeouts": Timeouts(pool=1)}
    async with platform(answer(delay=0.001), http_client=http_client, **settings) as up:
        await up.client._session.call(JOBS)
        async with anyio.create_task_group() as group:
            for seed in range(40):
                group.start_soon(keep_cancelling, up.client, CHURN, random.Random(seed))  # noqa: S311
        assert leaks.in_use(up.client) == 0
        await wait_until(lambda: up.api.open == len(connections(up)))
        with anyio.fail_after(10):
            await call_often(up.client, 10)


async def test_cancelled_waits_for_the_rate_limiter_use_no_permits() -> None:
    async with platform(answer(), limits=Limits(max_concurrency=20, requests_per_second=5, burst=1)) as up:
        await up.client._session.call(JOBS)
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(up.client._session.call, JOBS)
            group.cancel_scope.cancel()
        with anyio.fail_after(10):
            await up.client._session.call(JOBS)


# Cancelled while connecting


async def cancel_when_connected(client: Client, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Cancel each call right after it has connected, where httpcore's pool loses the connection."""
    plain = exchange.Exchange._trace
    await client._session.tokens.token()

    async def cancelling(self: exchange.Exchange, event: str, details: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            scope.cancel()
        await plain(self, event, details)

    with monkeypatch.context() as patch:
        patch.setattr(exchange.Exchange, "_trace", cancelling)
        for _ in range(times):
            with anyio.CancelScope() as scope:
                await client._session.call(JOBS)
            assert scope.cancelled_caught


async def test_calls_cancelled_as_they_connect_lose_no_connection(
    http_client: httpx.AsyncClient | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"timeouts": Timeouts(pool=1), "retry": RetryPolicy(attempts=1)}
    async with platform(answer({"id": 1}), http_client=http_client, **settings) as up:
        await cancel_when_connected(up.client, monkeypatch, CONNECTIONS + 1)
        assert leaks.in_use(up.client) == 0
        await wait_until(lambda: up.api.open == len(connections(up)))
        with anyio.fail_after(10):
            assert await up.client._session.call(JOBS) == {"id": 1}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_requests_in_flight_are_not_affected_by_cancelled_ones(
    http_client: httpx.AsyncClient | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[Any] = []

    async def call() -> None:
        results.append(await up.client._session.call(JOBS))

    async def slow(connection: Connection) -> None:
        await wait_until(lambda: len(results) == 2)
        await answer("slow")(connection)

    async with platform(slow, answer("quick"), http_client=http_client, limits=limits(3)) as up:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await wait_until(lambda: up.api.busy == 1)
            await cancel_when_connected(up.client, monkeypatch, 3)
            group.start_soon(call)
            group.start_soon(call)
        assert results == ["quick", "quick", "slow"]


async def test_an_execution_is_sent_after_other_calls_were_cancelled_as_they_connected(
    http_client: httpx.AsyncClient | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"limits": limits(2), "retry": RetryPolicy(attempts=1)}
    async with platform(answer({"id": 1}), http_client=http_client, **settings) as up:
        await cancel_when_connected(up.client, monkeypatch, 2)
        assert await up.client._session.call(EXECUTION) == {"id": 1}
    assert up.api.count("POST", "/v2/execution") == 1


# Cancelled by asyncio itself


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.usefixtures("anyio_backend")
async def test_tasks_cancelled_twice_by_asyncio_lose_no_connection(
    turns: int, http_client: httpx.AsyncClient | None
) -> None:
    before = asyncio.all_tasks()
    settings: dict[str, Any] = {"limits": limits(3), "timeouts": Timeouts(pool=1)}
    async with platform(answer(delay=0.05), http_client=http_client, **settings) as up:
        for number in range(12):
            tasks = [asyncio.create_task(up.client._session.call(JOBS)) for _ in range(5)]
            await wait_until(lambda: up.client.statistics().in_flight == 3)
            await asyncio.sleep(number / 1000)
            await cancel_twice(tasks, turns)
        assert leaks.in_use(up.client) == 0
        with anyio.fail_after(10):
            await call_often(up.client, 3)
    assert asyncio.all_tasks() == before


async def cancel_twice(tasks: list[asyncio.Task[Any]], turns: int) -> None:
    for task in tasks:
        task.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.usefixtures("anyio_backend")
async def test_asyncio_timeouts_work_and_lose_no_connection() -> None:
    async with platform(answer(delay=0.2), limits=limits(2), timeouts=Timeouts(pool=1)) as up:
        for _ in range(6):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await up.client._session.call(JOBS)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(up.client._session.call(JOBS), 0.01)
        with anyio.fail_after(10):
            await call_often(up.client, 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.usefixtures("anyio_backend")
async def test_the_response_to_an_execution_cancelled_twice_by_asyncio_is_kept() -> None:
    state = SendState()
    async with platform(answer({"id": 1}, delay=0.1)) as up:
        task = asyncio.create_task(up.client._session.call(EXECUTION, state=state))
        await wait_until(lambda: up.api.requests != [])
        await cancel_twice([task], 1)
    assert body(state) == b'{"id": 1}'


# Executions, which may have been charged


def body(state: SendState) -> bytes | None:
    return None if state.response is None else state.response.body


async def cancelled_when(condition: Callable[[], bool], client: Client, state: SendState | None) -> float:
    """Send an execution, cancel it when a condition is true, and return the seconds it took to end after that."""
    began = 0.0

    async def cancel() -> None:
        nonlocal began
        await wait_until(condition)
        began = anyio.current_time()
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with anyio.CancelScope() as scope:
            await client._session.call(EXECUTION, state=state)
        assert scope.cancelled_caught
    return anyio.current_time() - began


async def test_the_response_to_a_cancelled_execution_is_kept(
    http_client: httpx.AsyncClient | None,
) -> None:
    state = SendState()
    async with platform(answer({"id": 1}, delay=0.3), http_client=http_client) as up:
        assert await cancelled_when(lambda: up.api.requests != [], up.client, state) < 1.3
    assert (state.sent, body(state)) == (True, b'{"id": 1}')
    assert up.api.count("POST", "/v2/execution") == 1


async def test_a_cancelled_execution_waits_for_its_response_without_a_send_state() -> None:
    async with platform(answer({"id": 1}, delay=0.2)) as up:
        assert 0.1 < await cancelled_when(lambda: up.api.requests != [], up.client, None) < 1.2


async def test_the_wait_for_the_response_to_a_cancelled_execution_is_bounded(
    http_client: httpx.AsyncClient | None,
) -> None:
    state = SendState()
    async with platform(raw_server.hang, http_client=http_client, timeouts=Timeouts(cancel_grace=0.2)) as up:
        assert 0.15 < await cancelled_when(lambda: up.api.requests != [], up.client, state) < 1.2
    assert (state.sent, state.response) == (True, None)


async def test_the_response_to_an_execution_ended_by_a_deadline_is_kept() -> None:
    state = SendState()
    async with platform(answer({"id": 1}, delay=0.3)) as up:
        with pytest.raises(TimeoutError), anyio.fail_after(0.15):
            await up.client._session.call(EXECUTION, state=state)
    assert body(state) == b'{"id": 1}'


async def test_an_execution_cancelled_before_it_connects_ends_at_once_and_sends_nothing(
    http_client: httpx.AsyncClient | None,
) -> None:
    state = SendState()
    with raw_server.deaf_port() as port:
        async with platform(answer(), http_client=http_client) as up:
            await up.client._session.call(JOBS)
            up.client._session._endpoints = Endpoints(api=f"http://127.0.0.1:{port}", auth=up.auth.url)
            until = anyio.current_time() + 0.05
            assert await cancelled_when(lambda: anyio.current_time() > until, up.client, state) < 0.2
    assert not state.sent


async def test_an_execution_cancelled_while_it_waits_for_a_token_ends_at_once_and_sends_nothing() -> None:
    state = SendState()
    async with platform(answer(), login=raw_server.hang) as up:
        assert await cancelled_when(lambda: up.auth.requests != [], up.client, state) < 0.2
    assert (state.sent, up.api.accepted) == (False, 0)


async def test_an_execution_cancelled_while_it_waits_for_a_slot_ends_at_once_and_sends_nothing() -> None:
    state = SendState()
    async with platform(raw_server.hang, limits=limits(1)) as up, anyio.create_task_group() as group:
        group.start_soon(up.client._session.call, JOBS)
        await wait_until(lambda: up.api.busy == 1)
        assert await cancelled_when(lambda: True, up.client, state) < 0.2
        group.cancel_scope.cancel()
    assert (state.sent, up.api.count("POST", "/v2/execution")) == (False, 0)


async def test_nothing_is_sent_in_a_scope_that_is_already_cancelled() -> None:
    state = SendState()
    sent = []

    def note(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    one = on_transport(httpx.MockTransport(note))
    message = Message(method="POST", url="http://127.0.0.1/x", state=state)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await one.send(message)
    assert (state.sent, sent) == (False, [])


async def test_a_cancelled_attempt_does_not_keep_the_response_to_an_earlier_one() -> None:
    state = SendState()
    async with platform(
        answer(status=429, Retry_After="0"), raw_server.hang, timeouts=Timeouts(cancel_grace=0.1)
    ) as up:
        await cancelled_when(lambda: len(up.api.requests) == 2, up.client, state)
    assert (state.sent, state.response) == (True, None)
