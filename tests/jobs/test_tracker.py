"""The state of a tracker while it waits, what else ends a wait, and its use as a coroutine."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from tests.job_platform import JobPlatform, Life
from up42_async import Client, Job, JobStatus, JobTracker, UnfinishedJob, track

pytestmark = pytest.mark.virtual_time

LIVES: dict[str, Life] = {
    "soon": [(0, "running"), (30, "captured")],
    "later": [(0, "accepted"), (100, "running"), (500, "released")],
    "never": [(0, "running")],
}


@pytest.fixture
def platform() -> JobPlatform:
    platform = JobPlatform()
    for id_, life in LIVES.items():
        platform.live(id_, life)
    return platform


async def test_a_tracker_shows_its_state_at_any_moment(platform: JobPlatform) -> None:
    async with platform.client():
        never = platform.job("never")
        tracker = track([never, "soon", "later"])
        assert (tracker.finished, tracker.unfinished) == ([], [never, "soon", "later"])
        assert tracker.counts == {"running": 1, "unknown": 2}
        with anyio.move_on_after(70):
            await tracker
        assert [job.id for job in tracker.finished] == ["soon"]
        assert tracker.unfinished[0] is never
        assert [job.id for job in tracker.unfinished if isinstance(job, Job)] == ["never", "later"]
        assert tracker.counts == {"running": 1, "captured": 1, "accepted": 1}
        assert repr(tracker) == "JobTracker(jobs=3, finished=1, running=1, captured=1, accepted=1)"
        assert ">finished</th><td style='text-align: left'>1</td>" in tracker._repr_html_()
        with pytest.raises(UnfinishedJob) as caught:
            await track(tracker.unfinished, retries=12)
    assert caught.value.unfinished == [never]
    assert [job.id for job in caught.value.finished] == ["later"]


async def test_a_wait_may_end_at_a_status(platform: JobPlatform) -> None:
    async with platform.client():
        later, never = platform.job("later"), platform.job("never")
        jobs = await track([later, "soon", never], until=[JobStatus.RUNNING])
        assert [job.status for job in jobs] == ["running", "running", "running"]
        assert platform.queries["never"] == 0
        assert await later.track(until=[JobStatus.FAILED, JobStatus.SUCCESSFUL]) is later
        assert later.status == "released"


async def test_a_status_that_was_passed_between_two_queries_ends_the_wait_too(platform: JobPlatform) -> None:
    platform.live("quick", [(0, "created"), (10, "running"), (12, "successful"), (500, "captured")])
    platform.live("refused", [(0, "created"), (10, "invalid")])
    async with platform.client():
        jobs = await track(["quick", "refused"], until=[JobStatus.ACCEPTED])
        assert [job.status for job in jobs] == ["successful", "invalid"]
        assert [job.is_finished for job in jobs] == [False, True]
        tracker = track(jobs, until=[JobStatus.RUNNING])
        assert tracker.finished == jobs


@pytest.mark.parametrize("until", [JobStatus.RUNNING, "running", ["running"], 5, [None]], ids=repr)
async def test_an_argument_that_is_no_list_of_statuses_is_refused(platform: JobPlatform, until: Any) -> None:
    async with platform.client():
        with pytest.raises(TypeError, match=r"until must be a list of JobStatus, such as \[JobStatus.RUNNING\], not"):
            track(["soon"], until=until)
        with pytest.raises(TypeError, match="until must be"):
            await platform.job("soon").track(until=until)
    assert platform.requests == 0


async def test_a_job_that_stalls_ends_its_own_wait_with_a_reason(platform: JobPlatform) -> None:
    async with platform.client():
        with pytest.raises(UnfinishedJob) as caught:
            await track(["never", "later"], stalled_after=450)
        assert caught.value.reasons == {"never": "no new status or update for 480 s"}
        assert [job.id for job in caught.value.finished] == ["later"]
        with pytest.raises(UnfinishedJob, match="job never: no new status or update for 60 s; the job goes on at UP42"):
            await platform.job("never").track(stalled_after=1)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)])
async def test_an_invalid_stalled_after_is_refused(platform: JobPlatform, value: Any, error: type[Exception]) -> None:
    async with platform.client():
        with pytest.raises(error, match="stalled_after must be a number of seconds above 0, not"):
            track(["soon"], stalled_after=value)


async def test_a_tracker_is_started_as_a_task(platform: JobPlatform) -> None:
    found: list[JobTracker] = []

    def tracking() -> JobTracker:
        found.append(track(["soon", "later"]))
        return found[-1]

    async with platform.client(), anyio.create_task_group() as group:
        group.start_soon(tracking)
        group.start_soon(track, ["soon"])
        group.start_soon(platform.job("later").track)
    assert [job.status for job in found[0].finished] == ["captured", "released"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_create_task_and_gather_accept_a_tracker(platform: JobPlatform) -> None:
    async with platform.client():
        task = asyncio.create_task(track(["soon"]))
        async with asyncio.TaskGroup() as group:
            other = group.create_task(track(["soon", "later"]))
        assert [job.id for job in await task] == ["soon"]
        assert [job.id for job in other.result()] == ["soon", "later"]
        cancelled = asyncio.create_task(track(["never"]))
        await asyncio.sleep(10)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_jobs_whose_client_is_another_objects_are_followed_by_their_duplicates(platform: JobPlatform) -> None:
    platform.live("stays", [(0, "running"), (30, "successful")])
    async with platform.client() as client:
        one, other = platform.job("stays"), platform.job("stays")
        await track([one, other])
        assert (one.is_finished, other.is_finished, other.client) == (True, True, client)


Wait = Callable[[Client], Awaitable[object]]


@pytest.mark.parametrize("wait", [lambda client: track(["never"], client=client), partial(Job.get, "never")])
async def test_tracking_with_a_closed_client_is_an_error(platform: JobPlatform, wait: Any) -> None:
    client = platform.client()
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await wait(client=client)
