"""Leaving any iteration early, in every way, affects no other task and leaves no task, request or connection.

These tests use real sockets and each AsyncClient; each kind of iterator has tests of its own on a virtual clock.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import up42_async as up42
from tests.chaos import leaks
from up42_async import Client, Job, JobStatus, processing_templates
from up42_async.sandbox import Sandbox

POLLERS = 20
SOON = 0.05
"""Seconds until a deadline or a cancellation: in the middle of most requests."""

Make = Callable[[], Any]
Leave = Callable[[Make], Coroutine[Any, Any, None]]


class OwnError(Exception):
    """An error raised by the caller's code."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=3600, page_size_max=5, latency=0.01) as sandbox:
        yield sandbox


@contextlib.asynccontextmanager
async def opened(iterable: Any) -> AsyncGenerator[Any]:
    """Enter an iterable that is a context manager too; yield any other unchanged."""
    if not hasattr(iterable, "__aenter__"):
        yield iterable
        return
    async with iterable as entered:
        yield entered


async def by_break(make: Make) -> None:
    async with opened(make()) as iterable:
        async for _ in iterable:
            break


async def by_return(make: Make) -> None:
    async with opened(make()) as iterable:
        async for _ in iterable:
            return


async def by_an_error(make: Make) -> None:
    with pytest.raises(OwnError):
        await fail_inside(make)


async def fail_inside(make: Make) -> None:
    async with opened(make()) as iterable:
        async for _ in iterable:
            raise OwnError


async def by_a_deadline(make: Make) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(SOON):
        await go_on(make)


async def by_cancelling(make: Make) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(go_on, make)
        await anyio.sleep(SOON)
        group.cancel_scope.cancel()


async def by_cancelling_the_asyncio_way(make: Make) -> None:
    task = asyncio.create_task(go_on(make))
    await asyncio.sleep(SOON)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def go_on(make: Make) -> None:
    """Iterate to the end, then wait until cancelled."""
    async with opened(make()) as iterable:
        async for _ in iterable:
            pass
        await anyio.sleep_forever()


WAYS = [by_break, by_return, by_an_error, by_a_deadline, by_cancelling]


def iterables(sandbox: Sandbox, directory: Path) -> dict[str, Make]:
    """Return a function that makes each kind of iterable; all still have work to do after their first result."""
    finished, running = sandbox.seed_jobs(8, status="captured"), sandbox.seed_jobs(8, status="running")
    item = f"{sandbox.endpoints.api}/v2/assets/stac/collections/c/items/"

    def templates(what: str) -> list[Any]:
        kind = processing_templates.DetectionTreesSpacept
        return [kind(title=f"{what} {number}", item=f"{item}{what}-{number}") for number in range(8)]

    mixed = [*finished[:2], *running]
    return {
        "Job.all": lambda: Job.all(page_size=5),
        "track": lambda: up42.track(mixed, wait=SOON),
        "updates": lambda: up42.track(mixed, wait=SOON).updates(),
        "search_items": lambda: up42.search_items(limit=2),
        "Asset.all": up42.Asset.all,
        "Process.all": up42.Process.all,
        "evaluate": lambda: up42.evaluate(templates("evaluate")),
        "execute": lambda: up42.execute(templates("execute")),
        "download": lambda: up42.download(finished, directory / "downloads"),
        "pipeline": lambda: up42.pipeline(templates("pipeline"), directory / "pipeline"),
    }


async def leave_all(leave: Leave, makers: dict[str, Make]) -> None:
    async with anyio.create_task_group() as group:
        for make in makers.values():
            group.start_soon(leave, make)


async def watch_others(leave: Leave, sandbox: Sandbox, http_client: httpx.AsyncClient | None, directory: Path) -> None:
    """Leave every iterable while other tasks track jobs; check those tasks, and that nothing is in use or requested."""
    waiting = sandbox.seed_jobs(POLLERS, status="running")
    makers = iterables(sandbox, directory)
    async with Client(**sandbox.settings, http_client=http_client) as client:
        jobs = [await Job.get(id_) for id_ in waiting]
        async with anyio.create_task_group() as group:
            async with anyio.create_task_group() as leaving:
                leaving.start_soon(leave_all, leave, makers)
                await anyio.lowlevel.checkpoint()
                for job in jobs:  # started after the iterations that are left, one of which leads the polling at first
                    group.start_soon(partial(job.track, wait=SOON))
            gc.collect()  # objects that were dropped without being closed warn now
            for id_ in waiting:
                sandbox.set_status(id_, "captured")
            group.cancel_scope.deadline = anyio.current_time() + 30  # time for all to see the last status
        assert {job.status for job in jobs} == {JobStatus.CAPTURED}
        assert leaks.in_use(client) == 0
        asked = sandbox.count()
        await anyio.sleep(2 * SOON)
        assert sandbox.count() == asked


@pytest.mark.slow
@pytest.mark.parametrize("leave", WAYS)
async def test_leaving_an_iteration_affects_no_other_tracker_and_leaves_no_task(
    leave: Leave,
    sandbox: Sandbox,
    http_client: httpx.AsyncClient | None,
    tmp_path: Path,
) -> None:
    before = leaks.tasks()
    await watch_others(leave, sandbox, http_client, tmp_path)
    assert leaks.tasks() == before


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_cancelling_an_asyncio_task_affects_no_other_tracker_and_leaves_no_task(
    sandbox: Sandbox, http_client: httpx.AsyncClient | None, tmp_path: Path
) -> None:
    before = leaks.tasks()
    await watch_others(by_cancelling_the_asyncio_way, sandbox, http_client, tmp_path)
    assert leaks.tasks() == before
