"""Days of tracking hundreds of jobs in virtual time: every wait ends, with few requests and little memory."""

import asyncio
import gc
import logging
import random
import sys
import tracemalloc
from collections.abc import Iterable
from functools import partial

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio

from tests.job_platform import JobPlatform
from up42_async import Job, JobStatus, track

pytestmark = [pytest.mark.slow, pytest.mark.virtual_time]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
IDS = [f"job-{number}" for number in range(300)]
LONG = 8
"""Number of the jobs that end in the last hours of the third day."""


def trouble(_: Iterable[str]) -> httpx.Response | Exception | None:
    """An hour of 503 on the second day, and ten minutes of refused connections on the third."""
    now = anyio.current_time()
    if DAY <= now < DAY + HOUR:
        return httpx.Response(503)
    return httpx.ConnectError("refused") if 2 * DAY <= now < 2 * DAY + 10 * MINUTE else None


@pytest.fixture
def platform() -> JobPlatform:
    platform, source = JobPlatform(), random.Random(8)  # noqa: S311 - repeatable on purpose, no secret
    for number, id_ in enumerate(IDS):
        end = 3 * DAY - source.uniform(5 * MINUTE, 3 * HOUR) if number < LONG else source.uniform(MINUTE, 6 * HOUR)
        start = source.uniform(0, end)
        platform.live(id_, [(0, "created"), (start, "running"), (end, "successful"), (end + 3, "captured")])
    platform.trouble = trouble
    return platform


async def test_300_jobs_are_all_tracked_to_their_end_through_two_outages(
    platform: JobPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    """Costs a request for each 100 jobs and two log lines for each outage; memory does not grow from day to day."""
    blocks: list[int] = []

    async def count_blocks_at(moment: float) -> None:
        await anyio.sleep_until(moment)
        assert platform.most_requests_beyond_need() == 0
        platform.asked.clear()
        gc.collect()
        blocks.append(sys.getallocatedblocks())

    with caplog.at_level(logging.INFO, "up42_async"):
        async with platform.client(), anyio.create_task_group() as group:
            for moment in (DAY - HOUR, 3 * DAY - 4 * HOUR):
                group.start_soon(count_blocks_at, moment)
            jobs = await track(IDS)
    assert [(job.id, job.status) for job in jobs] == [(id_, JobStatus.CAPTURED) for id_ in IDS]
    assert platform.requests < 30_000
    assert len(caplog.records) == 4
    assert blocks[1] - blocks[0] < 2000


def freeze(seconds: float) -> None:
    """Advance the clock as a machine that was suspended does: all deadlines in that time are due at once."""
    try:
        asyncio.get_running_loop()._jumping.now += seconds  # type: ignore[attr-defined]
    except RuntimeError:
        trio.lowlevel.current_clock().jump(seconds)  # type: ignore[attr-defined]


@pytest.mark.parametrize("waits", [(60,), (7, 20, 45, 60, 61, 90)])
async def test_300_trackers_resumed_after_a_freeze_need_few_requests(waits: tuple[float, ...]) -> None:
    platform = JobPlatform(latency=0.5)
    ids = platform.live_all(300, [(0, "running"), (8.1 * HOUR, "captured")])
    async with platform.client(), anyio.create_task_group() as group:
        jobs = [platform.job(id_) for id_ in ids]
        for number, job in enumerate(jobs):
            group.start_soon(partial(job.track, wait=waits[number % len(waits)]))
            await anyio.sleep(0.1 * (number % 3))
        await anyio.sleep(3 * MINUTE)
        platform.asked.clear()
        platform.peak_in_flight = 0
        freeze(8 * HOUR)
        await anyio.sleep(1)
        assert len(platform.asked) <= 6
        assert sum(number for _, number in platform.asked) >= 300
    assert platform.peak_in_flight <= 20
    starts = [at for at, _ in platform.asked]
    assert max(sum(at <= other < at + 1 for other in starts) for at in starts) <= 30
    assert {job.status for job in jobs} == {JobStatus.CAPTURED}


async def test_a_wait_for_100_000_jobs_takes_little_memory() -> None:
    """A job that is known by its id only takes less than 400 bytes."""
    ids = [f"68567134-27ad-7bd7-4b65-{number:012}" for number in range(100_000)]
    async with JobPlatform().client():
        tracemalloc.start()
        try:
            tracking = track(ids)
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size / len(ids) < 400
    del tracking


async def test_a_job_is_released_when_its_last_tracker_is_gone() -> None:
    platform = JobPlatform()
    async with platform.client():
        for number in range(50):
            await track([platform.live(f"forgotten-{number}", [(0, "captured")])])
        await anyio.lowlevel.checkpoint()
        gc.collect()
        assert [one for one in gc.get_objects() if isinstance(one, Job) and one.id.startswith("forgotten-")] == []
