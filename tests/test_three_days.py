"""Three days of waiting for 300 jobs, on a clock that jumps: all come to their end, and it costs next to nothing."""

import gc
import logging
import random
import sys
from collections.abc import Iterable

import anyio
import httpx
import pytest

from tests.job_platform import JobPlatform
from up42_async import JobStatus, track

pytestmark = pytest.mark.virtual_time

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
IDS = [f"job-{number}" for number in range(300)]
LONG = 20
"""How many of the jobs take until the last hours of the third day."""


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
        end = 3 * DAY - source.uniform(5 * MINUTE, 3 * HOUR) if number < LONG else source.uniform(MINUTE, 12 * HOUR)
        start = source.uniform(0, end)
        platform.live(id_, [(0, "created"), (start, "running"), (end, "successful"), (end + 3, "captured")])
    platform.trouble = trouble
    return platform


async def test_300_jobs_all_come_to_their_end_through_two_outages(
    platform: JobPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes a request for each 100 jobs, a line in the log for each end of an outage, and no memory day by day."""
    blocks: list[int] = []

    async def count_blocks_at(moment: float) -> None:
        await anyio.sleep_until(moment)
        assert platform.most_requests_beyond_need() == 0
        platform.asked.clear()
        gc.collect()
        blocks.append(sys.getallocatedblocks())

    with caplog.at_level(logging.DEBUG, "up42_async"):
        async with platform.client(), anyio.create_task_group() as group:
            for moment in (DAY - HOUR, 3 * DAY - 4 * HOUR):
                group.start_soon(count_blocks_at, moment)
            jobs = await track(IDS)
    assert [(job.id, job.status) for job in jobs] == [(id_, JobStatus.CAPTURED) for id_ in IDS]
    assert platform.requests < 30_000
    assert len(caplog.records) == 4
    assert blocks[1] - blocks[0] < 2000
