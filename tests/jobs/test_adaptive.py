"""Adaptive polling: how many queries it costs, and how soon an end is noticed."""

import itertools
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.polling import SCHEDULES, Life, Replay, crowd, each_alone, replay
from tests.job_platform import JobPlatform, metadata
from tests.jobs.test_poller import PolledItem, StatusServer, finish
from up42_async import Job, Polling, UnfinishedJob, track
from up42_async._errors import ServerError
from up42_async._jobs.adaptive import interval

pytestmark = pytest.mark.virtual_time


@given(st.floats(0, 1e8))
def test_an_interval_is_five_seconds_doubled_and_a_small_share_of_the_age(age: float) -> None:
    assert interval(age) in {5, 10, 20, 40, 80, 160, 320, 640}
    assert interval(age) <= max(60, 0.05 * age)
    assert interval(age) >= min(640, 0.02 * age)


@pytest.mark.parametrize(("age", "seconds"), [(0, 5), (99, 5), (100, 10), (1599, 40), (1600, 80), (10**7, 640)])
def test_an_interval_grows_with_the_age(age: float, seconds: float) -> None:
    assert interval(age) == seconds


async def both(work: Any, *arguments: Any) -> tuple[Replay, Replay]:
    fixed, adaptive = [await work(*arguments, wait) for wait in SCHEDULES]
    return fixed, adaptive


@pytest.mark.slow
async def test_recorded_jobs_are_noticed_six_times_sooner_with_half_the_requests() -> None:
    fixed, adaptive = await both(each_alone)
    assert adaptive.median <= fixed.median / 6
    assert adaptive.requests <= fixed.requests / 2
    assert adaptive.beyond <= 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 8])
async def test_500_recorded_jobs_at_once_are_noticed_four_times_sooner_with_half_the_requests(seed: int) -> None:
    """Jobs that never end are tracked for a day."""
    fixed, adaptive = await both(replay, crowd(500, seed))
    assert adaptive.median <= fixed.median / 4
    assert adaptive.requests <= fixed.requests / 2
    assert adaptive.beyond <= 0


@pytest.mark.slow
async def test_trackers_that_started_at_different_times_poll_together() -> None:
    found = await replay([Life(11 * n, 86_400, hangs=True) for n in range(100)], "adaptive")
    alone = await replay([Life(0, 86_400, hangs=True)], "adaptive")
    assert found.requests < 3 * alone.requests


async def test_the_age_counts_from_the_first_query_while_nothing_else_is_known() -> None:
    server = StatusServer(0, None, a=[(0, ServerError("down", transient=True)), (110, "running"), (400, "done")])
    await finish(server.watch(wait="adaptive"))
    asked = server.times
    assert asked[:4] == [0, 5, 10, 15]
    assert {later - earlier for earlier, later in itertools.pairwise(asked) if earlier > 200} == {20}


async def test_an_old_job_is_queried_rarely() -> None:
    server = StatusServer(a=[(0, "running"), (2000, "done")])
    give = server.answer

    def old(id_: str, now: float) -> Any:
        item = give(id_, now)
        assert isinstance(item, PolledItem)
        item._known_age = 86_400 + now
        return item

    server.answer = old  # type: ignore[method-assign]
    await finish(server.watch(wait="adaptive"))
    assert server.times == pytest.approx([0, 640, 1280, 1920, 2560], abs=0.1)


@pytest.mark.parametrize(("header", "times"), [(None, [0, 5, 10]), ("Fri, 02 Jan 2026 00:00:00 GMT", [0, 640, 1280])])
async def test_the_age_of_a_job_is_measured_by_the_clock_of_up42(header: str | None, times: list[float]) -> None:
    """Where UP42's clock is not known, the age counts from the first query."""
    platform = JobPlatform()
    platform.live("job", [(0, "running")])
    date = {} if header is None else {"Date": header}
    platform.trouble = lambda _: httpx.Response(200, text=metadata("job", "running", 7), headers=date)
    async with platform.client(polling=Polling(wait="adaptive", retries=3)):
        start = anyio.current_time()
        with pytest.raises(UnfinishedJob):
            await track(["job"])
        assert [at - start for at, _ in platform.asked] == pytest.approx(times, abs=0.1)
        job: Job = platform.job("job")
        with pytest.raises(UnfinishedJob):
            await job.track("adaptive", 1)


@pytest.mark.parametrize(("wait", "words"), [("often", '"adaptive" or a callable, not .often.'), ("", "not ..")])
async def test_an_unknown_schedule_is_refused(wait: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Polling(wait=wait)
