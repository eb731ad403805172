"""What holds with the default client holds with an AsyncClient of the user's, whose pool is httpcore's own."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests import raw_server
from tests.raw_server import Platform, answer, platform, serve, wait_until
from tests.test_cancellation import (
    EXECUTION,
    JOBS,
    call_often,
    cancel_twice,
    cancel_when_connected,
    cancelled_when,
    keep_cancelling,
    limits,
)
from tests.test_faults import SENT_AND_LOST, Fault
from up42_async import APIError, ConnectionFailedError, Endpoints, RetryPolicy, Timeouts
from up42_async._http.messages import SendState


@contextlib.asynccontextmanager
async def pooled(*acts: raw_server.Act, connections: int = 20, **settings: Any) -> AsyncGenerator[Platform]:
    """Run a platform with a client on a pool of the user's, which may not wait long for a connection."""
    pool = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    settings = {"timeouts": Timeouts(pool=1), **settings}
    async with (
        httpx.AsyncClient(limits=pool) as http_client,
        platform(*acts, http_client=http_client, **settings) as up,
    ):
        yield up


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_thousands_of_cancellations_cost_the_pool_no_connection() -> None:
    async with pooled(answer(delay=0.001), connections=10, limits=limits(10)) as up:
        await up.client._session.call(JOBS)
        async with anyio.create_task_group() as group:
            for seed in range(40):
                group.start_soon(keep_cancelling, up.client, 1.5, random.Random(seed))  # noqa: S311
        with anyio.fail_after(1):
            await call_often(up.client, 10)
        assert up.client.statistics().in_flight == 0


async def test_cancelling_at_the_end_of_connecting_costs_the_pool_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pooled(answer({"id": 1}), connections=3, limits=limits(3), retry=RetryPolicy(attempts=1)) as up:
        await cancel_when_connected(up.client, monkeypatch, 6)
        with anyio.fail_after(1):
            await call_often(up.client, 3)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.usefixtures("anyio_backend")
@pytest.mark.parametrize("turns", range(4))
async def test_tasks_cancelled_twice_the_asyncio_way_cost_the_pool_no_connection(turns: int) -> None:
    async with pooled(answer(delay=0.2), connections=3, limits=limits(3)) as up:
        for _ in range(10):
            tasks = [asyncio.create_task(up.client._session.call(JOBS)) for _ in range(5)]
            await asyncio.sleep(random.random() / 100)  # noqa: S311
            await cancel_twice(tasks, turns)
        with anyio.fail_after(3):
            await call_often(up.client, 3)


@pytest.mark.parametrize("fault", SENT_AND_LOST, ids=str)
async def test_an_execution_that_may_have_arrived_is_sent_once(fault: Fault) -> None:
    state = SendState()
    timeouts = Timeouts(read=fault.timeouts.read)
    async with pooled(fault.act, timeouts=timeouts, retry=RetryPolicy(wait_initial=0.001)) as up:
        with pytest.raises(APIError):
            await up.client._session.call(EXECUTION, state=state)
    assert len(up.api.requests) <= 1
    assert state.sent


async def test_refused_connections_are_proof_that_nothing_was_sent() -> None:
    state = SendState()
    async with pooled(answer(), retry=RetryPolicy(attempts=2, wait_initial=0.001)) as up:
        up.client._session._endpoints = Endpoints(api="http://127.0.0.1:1", auth=up.auth.url)
        with pytest.raises(ConnectionFailedError) as caught:
            await up.client._session.call(EXECUTION, state=state)
    assert (caught.value.tries, state.sent) == (2, False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: httpx.AsyncClient(limits=httpx.Limits(max_connections=20)),
        lambda: httpx.AsyncClient(transport=httpx.AsyncHTTPTransport()),
    ],
    ids=["default", "client of the user's", "transport of the user's"],
)
async def test_an_execution_outlives_a_third_of_a_second_of_refused_connections(make: Any) -> None:
    """The job comes within five seconds, and it is executed once."""
    http_client = make()
    async with contextlib.AsyncExitStack() as stack:
        if http_client is not None:
            await stack.enter_async_context(http_client)
        retry = RetryPolicy(attempts=50, budget=50, wait_initial=0.05, wait_max=0.1)
        up = await stack.enter_async_context(platform(answer(), http_client=http_client, retry=retry))
        async with serve(answer()) as placeholder:
            port = placeholder.port
        up.client._session._endpoints = Endpoints(api=f"http://127.0.0.1:{port}", auth=up.auth.url)
        counted: list[int] = []

        async def listen() -> None:
            await anyio.sleep(0.3)
            async with serve(answer({"id": 1}), port=port) as server:
                await done.wait()
                counted.append(server.count("POST", "/v2/execution"))

        done = anyio.Event()
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(listen)
        with anyio.fail_after(5):
            assert await up.client._session.call(EXECUTION) == {"id": 1}
        done.set()
        await wait_until(lambda: counted == [1])


async def test_an_execution_cancelled_after_it_left_keeps_its_response() -> None:
    state = SendState()
    async with pooled(answer({"id": 1}, delay=0.1)) as up:
        await cancelled_when(lambda: up.api.requests != [], up.client, state)
    assert state.sent
    assert state.response is not None


async def test_a_wait_for_a_place_in_the_pool_proves_nothing() -> None:
    """Somebody else fills the pool: nothing tells whether the request left, so it is not sent again."""
    async with pooled(raw_server.hang, answer(), connections=1, timeouts=Timeouts(pool=0.05)) as up:
        await up.client._session.tokens.token()
        async with anyio.create_task_group() as group:
            group.start_soon(up.client.http_client.get, f"{up.api.url}/slow")
            await wait_until(lambda: up.api.busy == 1)
            state = SendState()
            with pytest.raises(APIError, match="no free connection within 0.05 s"):
                await up.client._session.call(EXECUTION, state=state)
            group.cancel_scope.cancel()
        assert state.sent
    assert up.api.count("POST", "/v2/execution") == 0


async def test_files_take_their_places_in_the_pool_as_calls_do() -> None:
    async with pooled(answer(), connections=1, limits=limits(1)) as up:
        session = up.client._session
        async with session._place_in_pool:
            assert up.client.statistics().in_flight == 1


async def test_a_client_that_is_closed_with_calls_under_way_leaves_the_pool_whole() -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=5)) as http_client:
        async with anyio.create_task_group() as group, platform(raw_server.hang, http_client=http_client) as up:

            async def ends() -> None:
                with pytest.raises(RuntimeError, match="closed"):
                    await up.client._session.call(JOBS)

            for _ in range(5):
                group.start_soon(ends)
            await wait_until(lambda: up.api.busy == 5)
        async with serve(answer({"id": 1})) as server:
            with anyio.fail_after(1):
                for _ in range(6):
                    assert (await http_client.get(server.url)).json() == {"id": 1}


async def test_cancelled_tls_handshakes_leave_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(raw_server.UNTRUSTED))
    dice = random.Random(1)  # noqa: S311
    async with serve(answer({}), tls=True) as server, pooled(answer()) as up:
        await up.client._session.tokens.token()
        up.client._session._endpoints = Endpoints(api=server.url, auth=up.auth.url)
        await up.client._session.call(JOBS)
        gc.collect()
        before = descriptors()
        for _ in range(50):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(up.client._session.call, JOBS)
                await anyio.sleep(dice.uniform(0, 0.004))
                group.cancel_scope.cancel()
        await anyio.sleep(0.01)
        assert descriptors() <= before + 6
