"""However calls end, no connection, descriptor or task is left, and connections never exceed the limit."""

import contextlib
import gc
import random
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests import raw_server
from tests.chaos import leaks
from tests.http_clients import Maker
from tests.raw_server import Act, Connection, answer, connections, platform, wait_until
from up42_async._client import Client
from up42_async._config import Endpoints, Limits, RetryPolicy, Timeouts
from up42_async._errors import APIError
from up42_async._http import transport
from up42_async._http.requests import ApiRequest
from up42_async._jobs.job import Job

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs")
EXECUTION = ApiRequest(method="POST", path="/v2/execution", json={"title": "x"}, idempotent=False)
DESCRIPTORS = Path("/proc/self/fd")
JOB = {"processID": "p", "jobID": "0b6b1d0d-5f4a-4b0e-8f0b-6d2f8c1f0a11", "status": "running"}
UNLIMITED = Limits(requests_per_second=1e6, burst=10**6)


def open_descriptors() -> int:
    return len(list(DESCRIPTORS.iterdir()))


async def call_often(client: Client, times: int, request: ApiRequest = JOBS) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(client._session.call, request)


@pytest.mark.slow
@pytest.mark.parametrize("request_", [JOBS, EXECUTION], ids=str)
async def test_hundreds_of_calls_at_once_never_open_more_connections_than_the_limit(
    request_: ApiRequest, http_client: httpx.AsyncClient | None
) -> None:
    limits = Limits(max_concurrency=7, requests_per_second=1e6, burst=10**6)
    settings: dict[str, Any] = {"limits": limits, "retry": RetryPolicy(attempts=1)}
    async with platform(answer(delay=0.002), http_client=http_client, **settings) as up:
        await call_often(up.client, 150, request_)
        assert up.client.statistics().requests == 150
    assert up.api.most_open <= 7
    assert len(up.api.requests) == 150


@pytest.mark.slow
async def test_waiting_for_a_slot_does_not_count_towards_the_pool_timeout(
    http_client: httpx.AsyncClient | None,
) -> None:
    """200 requests, 20 at a time, to a server that takes 50 ms: half a second, five times the pool timeout."""
    settings: dict[str, Any] = {"limits": UNLIMITED, "retry": RetryPolicy(attempts=1), "timeouts": Timeouts(pool=0.1)}
    async with platform(answer(JOB, delay=0.05), http_client=http_client, **settings) as up:
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(partial(Job.get, JOB["jobID"], client=up.client))
        statistics = up.client.statistics()
        assert leaks.in_use(up.client) == 0
    assert (statistics.requests, statistics.retried, len(up.api.requests)) == (200, 0, 200)
    assert up.api.most_open <= UNLIMITED.max_concurrency


async def fail(client: Client) -> None:
    with pytest.raises(APIError):
        await client._session.call(JOBS)


@pytest.mark.slow
@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counting descriptors needs /proc")
@pytest.mark.parametrize(
    "act",
    [
        answer(),
        answer(status=500),
        raw_server.close_after_request,
        raw_server.reset_after_request,
        raw_server.hang,
        raw_server.raw_and_close(raw_server.response(b"{", length=9)),
        raw_server.packed(b"?"),
        raw_server.endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(10_000)),
    ],
    ids=["answered", "500", "FIN", "RST", "silence", "cut", "gzip", "endless"],
)
async def test_no_descriptor_is_left_after_closing(act: Act) -> None:
    gc.collect()
    before = open_descriptors()
    limits = Limits(requests_per_second=1e6, burst=10**6, max_response_bytes=50_000)
    policy = RetryPolicy(attempts=2, wait_initial=0.001)
    async with platform(act, limits=limits, retry=policy, timeouts=Timeouts(read=0.1)) as up:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(_call_anyhow, up.client)
        await wait_until(lambda: up.api.open <= len(connections(up)))
        assert up.client._session._stack._lent == 0
    assert open_descriptors() <= before


async def _call_anyhow(client: Client) -> None:
    with anyio.move_on_after(5):
        with contextlib.suppress(APIError):
            await client._session.call(JOBS)


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counting descriptors needs /proc")
async def test_no_descriptor_is_left_after_calls_were_cancelled_at_any_moment(new_http_client: Maker) -> None:
    dice = random.Random(1)  # noqa: S311
    gc.collect()
    before = open_descriptors()
    limits = Limits(max_concurrency=5, requests_per_second=1e6, burst=10**6)
    async with contextlib.AsyncExitStack() as stack:
        if (http_client := new_http_client()) is not None:
            await stack.enter_async_context(http_client)
        up = await stack.enter_async_context(platform(answer(delay=0.002), http_client=http_client, limits=limits))

        async def call() -> None:
            for request in [JOBS, EXECUTION] * 10:
                with anyio.move_on_after(dice.uniform(0, 0.01)):
                    await up.client._session.call(request)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(call)
        assert leaks.in_use(up.client) == 0
    assert open_descriptors() <= before


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counting descriptors needs /proc")
async def test_no_descriptor_is_left_after_tls_handshakes_were_cancelled() -> None:
    async with platform(raw_server.ignore) as up:
        await up.client._session.tokens.token()
        up.client._session._endpoints = Endpoints(api=up.api.url.replace("http", "https"), auth=up.auth.url)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(up.client._session.call, JOBS)
            await wait_until(lambda: up.api.open == 10)
            before = open_descriptors()
            group.cancel_scope.cancel()
        await anyio.sleep(0.01)
        assert open_descriptors() == before - 10


async def test_no_task_is_left_after_a_call(http_client: httpx.AsyncClient | None) -> None:
    async with platform(answer(), http_client=http_client) as up:
        await up.client._session.call(JOBS)
        before = leaks.tasks()
        await call_often(up.client, 50)
        await up.client._session.call(EXECUTION)
        await wait_until(lambda: up.api.open == len(connections(up)))
        # each connection that is still open has one task, the server's
        assert leaks.tasks() - before <= up.api.open
    await anyio.lowlevel.checkpoint()


# Connections that the server closes


async def test_connections_closed_by_the_server_between_calls_cause_no_error() -> None:
    async def answer_then_close_soon(connection: Connection) -> None:
        await connection.read()
        await connection.send(raw_server.response(b"{}"))
        with anyio.move_on_after(0.02):
            await connection.has_more()
            return
        await connection.stream.aclose()

    policy = RetryPolicy(attempts=2, wait_initial=0.001, budget=1000)
    async with (
        platform(answer_then_close_soon, retry=policy, limits=UNLIMITED) as up,
        anyio.create_task_group() as group,
    ):

        async def call(seed: int) -> None:
            dice = random.Random(seed)  # noqa: S311
            for _ in range(15):
                await up.client._session.call(JOBS)
                await anyio.sleep(dice.uniform(0.019, 0.0215))

        for seed in range(10):
            group.start_soon(call, seed)
    assert len(up.api.requests) >= 150


async def test_connections_that_expire_while_the_event_loop_is_blocked_cause_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_EXPIRY", 0.02)
    policy = RetryPolicy(attempts=5, wait_initial=0.001, budget=1000)
    async with platform(answer(), retry=policy, limits=UNLIMITED) as up, anyio.create_task_group() as group:

        async def stall() -> None:
            for _ in range(6):
                await anyio.sleep(0.03)
                time.sleep(0.03)  # noqa: ASYNC251 - block the event loop, as a program that computes does

        group.start_soon(stall)
        for _ in range(6):
            await call_often(up.client, 40)


# Large responses


@pytest.mark.parametrize(
    "act",
    [
        raw_server.endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(100_000)),
        raw_server.packed(b"\x1f\x8b\x08\x00" + bytes(10**6)),
        raw_server.raw(raw_server.response(b"[" * 10**6)),
        raw_server.raw_and_close(raw_server.response(b"", headers=[("X", "x" * 10**6)])),
    ],
    ids=["endless", "gzip", "nested", "headers"],
)
async def test_the_client_works_after_a_response_that_is_too_large(act: Act) -> None:
    limits = Limits(requests_per_second=1e6, burst=10**6, max_response_bytes=2 * 10**6)
    async with platform(act, answer({"id": 1}), limits=limits, retry=RetryPolicy(attempts=1)) as up:
        await fail(up.client)
        assert await up.client._session.call(JOBS) == {"id": 1}
        assert up.client._session._stack._lent == 0


# A client that is not closed


def test_a_client_that_was_used_and_not_closed_gives_resource_warnings_only(
    anyio_backend_name: str,
) -> None:
    async def use() -> None:
        async with raw_server.serve(answer()) as api, raw_server.serve(raw_server.token()) as auth:
            endpoints = Endpoints(api=api.url, auth=auth.url)
            client = Client("a", "b", endpoints=endpoints)
            assert await client._session.call(JOBS) is None

    seen: set[tuple[type[Warning], bool]] = set()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        anyio.run(use, backend=anyio_backend_name)
        for _ in range(3):  # a warning keeps its source alive, so connections are collected after the client's warning
            gc.collect()
            seen |= {(one.category, "up42_async.Client" in str(one.message)) for one in caught}
            caught.clear()
    assert (ResourceWarning, True) in seen
    assert {category for category, _ in seen} == {ResourceWarning}
