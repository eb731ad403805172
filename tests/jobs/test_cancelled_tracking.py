"""Leaving a wait in every way: no task or request is left, and other callers are not affected."""

import asyncio
import gc
import itertools
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.chaos import leaks
from tests.job_platform import JobPlatform
from up42_async import Client, Job, JobStatus, UnfinishedJob, track

virtual = pytest.mark.virtual_time

POLLERS = 20
LATENCY = 2
MINUTE = 60

Leave = Callable[[list[str]], Coroutine[Any, Any, None]]


class OwnError(Exception):
    """An error raised by the caller's code."""


async def by_break(ids: list[str]) -> None:
    async for _ in track(ids):
        break


async def by_return(ids: list[str]) -> None:
    async for _ in track(ids):
        return


async def by_exception(ids: list[str]) -> None:
    with pytest.raises(OwnError):
        await raise_inside(ids)


async def raise_inside(ids: list[str]) -> None:
    async for _ in track(ids).updates():
        raise OwnError


async def by_timeout(ids: list[str]) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(61):
        await track(ids)


async def by_timeout_in_the_middle_of_a_question(ids: list[str]) -> None:
    with anyio.move_on_after(1):
        await track(ids)


async def by_cancelled_scope(ids: list[str]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for_all, ids)
        await anyio.sleep(30)
        group.cancel_scope.cancel()


async def by_forgetting(ids: list[str]) -> None:
    iterator = track(ids)
    await anext(iterator)


async def wait_for_all(ids: list[str]) -> None:
    await track(ids)


WAYS: list[Leave] = [
    by_break,
    by_return,
    by_exception,
    by_timeout,
    by_timeout_in_the_middle_of_a_question,
    by_cancelled_scope,
    by_forgetting,
]


async def watch_others(client: Client, platform: JobPlatform, leave: Leave) -> list[Job]:
    """Leave while others wait; returns their jobs."""
    ids = [platform.live(f"other-{n}", [(0, "running"), (MINUTE * n + 30, "captured")]) for n in range(POLLERS)]
    leaving = platform.live_all(3, [(0, "running"), (40, "captured")])
    platform.live("never", [(0, "running")])
    others = [await Job.get(id_, client=client) for id_ in ids]
    async with anyio.create_task_group() as group:
        group.start_soon(leave, [*leaving, "never"])
        await anyio.lowlevel.checkpoint()
        for job in others:
            group.start_soon(job.track)
    return others


@virtual
@pytest.mark.parametrize("leave", WAYS)
async def test_leaving_one_tracker_does_not_disturb_the_others(leave: Leave) -> None:
    platform, alive = JobPlatform(latency=LATENCY), leaks.tasks()
    async with platform.client() as client:
        others = await watch_others(client, platform, leave)
        assert {job.status for job in others} == {JobStatus.CAPTURED}
        assert (platform.in_flight, client.statistics().in_flight, leaks.tasks()) == (0, 0, alive)
    asked = sorted({at for at, number in platform.asked if number > 1})
    assert max(later - earlier for earlier, later in itertools.pairwise(asked)) < MINUTE + LATENCY + 1


@virtual
@pytest.mark.parametrize("leave", WAYS)
async def test_no_request_is_sent_after_leaving(leave: Leave) -> None:
    platform, alive = JobPlatform(latency=LATENCY), leaks.tasks()
    ids = platform.live_all(3, [(0, "running"), (40, "captured")])
    platform.live("never", [(0, "running")])
    async with platform.client() as client:
        with warnings.catch_warnings(record=True) as caught:
            await leave([*ids, "never"])
            gc.collect()
        assert (platform.in_flight, client.statistics().in_flight, leaks.tasks(), caught) == (0, 0, alive, [])
        requests = platform.requests
        await anyio.sleep(3600)
        assert platform.requests == requests


@virtual
async def test_an_error_in_the_callers_own_loop_is_raised_unchanged() -> None:
    platform = JobPlatform()
    async with platform.client():
        with pytest.raises(OwnError):
            await raise_inside(platform.live_all(3, [(0, "running")]))


@virtual
async def test_a_cancelled_wait_does_not_touch_the_job_and_a_new_wait_continues() -> None:
    platform = JobPlatform(latency=LATENCY)
    job = platform.job(platform.live("job", [(0, "running"), (200, "captured")]))
    async with platform.client():
        for seconds in (1, 30, 61, 63):
            with anyio.move_on_after(seconds):
                await job.track()
            assert job.status is JobStatus.RUNNING
        assert await job.track() is job
    assert job.status is JobStatus.CAPTURED


@virtual
@pytest.mark.parametrize("moment", [0.001, 1, 10, 61])
async def test_a_cancelled_wait_continues_with_the_same_object(moment: float) -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = platform.live_all(3, [(0, "running"), (100, "captured")])
    async with platform.client():
        tracking = track(ids, retries=3)
        with anyio.move_on_after(moment):
            await tracking
        jobs = await tracking
    assert [job.status for job in jobs] == [JobStatus.CAPTURED] * 3


@virtual
async def test_queries_that_were_cancelled_by_leaving_are_not_counted() -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = platform.live_all(1, [(0, "running")])
    async with platform.client():
        tracking = track(ids, retries=3)
        for _ in range(10):
            with anyio.move_on_after(1):
                await tracking
        with pytest.raises(UnfinishedJob, match="after 3 queries"):
            await tracking
    assert platform.requests == 13


@virtual
async def test_cancelling_the_leading_tracker_during_a_request_delays_no_other() -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = [platform.live(f"job-{n}", [(0, "running"), (90, "captured")]) for n in range(250)]
    scopes = [anyio.CancelScope() for _ in range(10)]
    found: list[Job] = []

    async def lead(scope: anyio.CancelScope) -> None:
        with scope:
            await track(ids[:5])

    async def follow() -> None:
        found.extend(await track(ids))

    async with platform.client(), anyio.create_task_group() as group:
        for scope in scopes:
            group.start_soon(lead, scope)
            await anyio.lowlevel.checkpoint()
        group.start_soon(follow)
        for scope in scopes:
            await anyio.sleep(1)
            scope.cancel()
    assert {job.status for job in found} == {JobStatus.CAPTURED}
    assert anyio.current_time() == pytest.approx(122, abs=0.5)


@virtual
async def test_a_second_task_on_the_same_iteration_is_refused() -> None:
    platform = JobPlatform()
    tracking_ids = platform.live_all(2, [(0, "running"), (100, "captured")])
    async with platform.client(), anyio.create_task_group() as group:
        tracking = track(tracking_ids)
        group.start_soon(partial(finish, tracking.__anext__))
        await anyio.sleep(1)
        with pytest.raises(RuntimeError, match="another task is waiting"):
            await tracking
        with pytest.raises(RuntimeError, match="another task is waiting"):
            await anext(tracking.updates())


async def finish(wait: Callable[[], Awaitable[object]]) -> None:
    await wait()


# Closing the client during a wait


async def follow_updates(ids: list[str]) -> None:
    async for job in track(ids).updates():
        assert job.status is JobStatus.RUNNING


async def expect_closed(wait: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(RuntimeError, match="closed while jobs were tracked"):
        await wait()


@virtual
@pytest.mark.parametrize("moment", [0.001, 1, 30, 61])
async def test_every_wait_ends_with_an_error_when_the_client_is_closed(moment: float) -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = platform.live_all(150, [(0, "running")])
    alive = leaks.tasks()
    client = platform.client()
    async with anyio.create_task_group() as group:
        async with client:
            for id_ in ids[:POLLERS]:
                group.start_soon(expect_closed, partial(wait_for_all, [id_]))
            group.start_soon(expect_closed, partial(wait_for_all, ids))
            group.start_soon(expect_closed, track(ids).__anext__)
            group.start_soon(expect_closed, partial(follow_updates, ids))
            await anyio.sleep(moment)
        closed = anyio.current_time()
    assert anyio.current_time() - closed < 1
    assert (platform.in_flight, leaks.tasks()) == (0, alive)


@virtual
async def test_a_closed_client_tracks_nothing_more() -> None:
    platform = JobPlatform()
    ids = platform.live_all(1, [(0, "running")])
    async with platform.client() as client:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await track(ids, client=client)
    assert platform.requests == 0


# Cancelled by asyncio or trio itself


async def native(ids: list[str]) -> list[Job]:
    return await track(ids)


@virtual
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("moment", [0, 0.001, 1, 2.01, 30, 61])
@pytest.mark.parametrize("times", [1, 2])
async def test_tasks_cancelled_by_asyncio_itself_end_and_the_others_go_on(moment: float, times: int) -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = platform.live_all(POLLERS, [(0, "running"), (90, "captured")])
    alive = leaks.tasks()
    async with platform.client():
        tasks = [asyncio.create_task(native([id_])) for id_ in ids]
        rest = asyncio.create_task(native(ids))
        await asyncio.sleep(moment)
        for _ in range(times):
            for task in tasks[:10]:
                task.cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True] * 10 + [False] * 10
        assert {job.status for job in await rest} == {JobStatus.CAPTURED}
        assert leaks.tasks() == alive
    assert anyio.current_time() < 125


@virtual
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_asyncios_timeouts_work() -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = platform.live_all(3, [(0, "running"), (90, "captured")])
    async with platform.client():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(native(ids), 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(61):
                await track(ids)
        first, second = await asyncio.gather(track(ids), track(ids))
    assert first == second


@virtual
@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_trios_own_cancellation_works() -> None:
    platform = JobPlatform(latency=LATENCY)
    ids = platform.live_all(3, [(0, "running"), (90, "captured")])
    async with platform.client(), trio.open_nursery() as nursery:
        for seconds in (1, 30, 61):
            with trio.move_on_after(seconds):
                await track(ids)
        nursery.start_soon(wait_for_all, ids)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert platform.in_flight == 0
