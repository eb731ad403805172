"""Tracking all jobs, each as it finishes, or every change: its requests, results and errors."""

import itertools
import pickle
import random
from collections.abc import AsyncIterable, Mapping
from functools import partial
from typing import Any

import anyio
import backoff
import httpx
import pytest

from tests.chaos import leaks
from tests.job_platform import JobPlatform, Life, outage
from tests.virtual_time import virtual_backend
from up42_async import Client, Job, JobStatus, Polling, RetryPolicy, UnfinishedJob, track
from up42_async._http.requests import Secret
from up42_async.sandbox import Sandbox, faults

virtual = pytest.mark.virtual_time

WORDS = ["created", "licensed", "valid", "accepted", "running", "paused"]
PASSING = [*WORDS, "successful", "failed"]
ENDS = ["captured", "released", "invalid", "rejected", "unlicensed", "successful", "failed"]


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret


def random_life(source: random.Random, seconds: float = 30) -> Life:
    """Return random statuses that end; a status that may be the last lasts less than 4 seconds if another follows."""
    moments = [0, *sorted(source.uniform(0, seconds) for _ in range(source.randint(1, 12))), seconds]
    spans = enumerate(itertools.pairwise(moments))
    words = [
        source.choice(PASSING if n % 2 and until - at < 4 and until < seconds else WORDS) for n, (at, until) in spans
    ]
    return list(zip(moments, [*words, source.choice(ENDS)], strict=True))


# Many jobs, and the cost in requests


@pytest.mark.slow
@virtual
async def test_500_jobs_with_random_statuses_are_tracked_to_their_ends_by_pages() -> None:
    source, platform = dice(1), JobPlatform(latency=0.05)
    ids = [platform.live(f"job-{n}", random_life(source, seconds=20)) for n in range(500)]
    source.shuffle(ids)
    async with platform.client():
        jobs = await track(ids, wait=0.2)
    assert [job.id for job in jobs] == ids
    assert all(job.is_finished for job in jobs)
    assert [job.status.value for job in jobs] == [platform.final(id_) for id_ in ids]
    assert platform.most_requests_beyond_need() <= 1


@pytest.mark.slow
@virtual
async def test_200_tasks_that_track_a_job_each_cost_what_one_track_of_200_jobs_costs() -> None:
    requests = []
    for apart in (False, True):
        source, platform = dice(3), JobPlatform(latency=0.05)
        start = anyio.current_time()
        ids = [
            platform.live(f"job-{n}", [(start + at, word) for at, word in random_life(source, seconds=10)])
            for n in range(200)
        ]
        async with platform.client(), anyio.create_task_group() as group:
            jobs = [platform.job(id_) for id_ in ids]
            if apart:
                for job in jobs:
                    group.start_soon(partial(job.track, wait=0.2))
            else:
                group.start_soon(partial(wait_for_all, jobs, wait=0.2))
        assert all(job.is_finished for job in jobs)
        assert platform.most_requests_beyond_need() <= 1
        requests.append(platform.requests)
    assert requests[1] == pytest.approx(requests[0], abs=2)


async def wait_for_all(jobs: list[Job], wait: float | None, retries: int | None = None) -> None:
    assert await track(jobs, wait=wait, retries=retries) == jobs


@virtual
async def test_a_server_that_caps_its_pages_is_followed_through_its_links() -> None:
    platform = JobPlatform(page_cap=20)
    ids = platform.live_all(250, [(0, "running"), (100, "captured")])
    async with platform.client():
        jobs = await track(ids)
    assert [job.status for job in jobs] == [JobStatus.CAPTURED] * 250
    assert platform.requests == 3 * (5 + 5 + 3)


@virtual
@pytest.mark.parametrize("ids_max", [50, 30, 1])
async def test_a_server_that_refuses_long_lists_is_asked_by_shorter_ones_from_then_on(ids_max: int) -> None:
    platform = JobPlatform(ids_max=ids_max)
    ids = platform.live_all(100, [(0, "running"), (1000, "captured")])
    async with platform.client():
        jobs = await track(ids)
    assert all(job.is_finished for job in jobs)
    took = {50: 50, 30: 25, 1: 1}[ids_max]
    assert len([1 for at, _ in platform.asked if at > 1000]) == 100 // took


@virtual
async def test_an_outage_in_the_middle_ends_nothing() -> None:
    platform = JobPlatform()
    ids = platform.live_all(300, [(0, "running"), (1000, "captured")])
    platform.trouble = outage((100, 3000))
    async with platform.client(RetryPolicy()):
        jobs = await track(ids)
    assert {job.status for job in jobs} == {JobStatus.CAPTURED}
    assert 3000 < anyio.current_time() < 3070


@virtual
@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(200, text="<html>Back soon</html>"),
        httpx.Response(200, json={"jobs": "none"}),
        httpx.Response(200, text='{"jobs": [{"jobID"'),
        httpx.Response(429, headers={"Retry-After": "5"}),
        httpx.Response(542),
        httpx.ReadTimeout("silence"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut off"),
    ],
    ids=repr,
)
async def test_unreadable_answers_are_an_outage(trouble: httpx.Response | Exception) -> None:
    platform = JobPlatform()
    ids = platform.live_all(3, [(0, "running"), (400, "captured")])
    platform.trouble = lambda _: trouble if 100 < anyio.current_time() < 300 else None
    async with platform.client():
        assert all(job.is_finished for job in await track(ids))


@virtual
@pytest.mark.slow
async def test_the_first_query_goes_out_at_once_and_three_days_are_the_default() -> None:
    platform = JobPlatform()
    ids = platform.live_all(1, [(0, "running")])
    async with platform.client():
        with pytest.raises(UnfinishedJob, match="4,320 queries"):
            await track(ids)
    assert platform.asked[0][0] < 0.1
    assert anyio.current_time() == pytest.approx(3 * 24 * 3600 - 60, abs=1)


@virtual
async def test_the_clients_schedule_holds_where_none_is_given() -> None:
    platform = JobPlatform()
    job = platform.job(platform.live("job", [(0, "running")]))
    async with platform.client(polling=Polling(wait=7, retries=3)):
        for wait, retries, expected in ((None, None, [0, 7, 14]), (5, None, [0, 5, 10]), (None, 2, [0, 7])):
            for call in (partial(wait_for_all, [job]), job.track):
                platform.asked.clear()
                start = anyio.current_time()
                with pytest.raises(UnfinishedJob):
                    await call(wait=wait, retries=retries)
                assert [round(at - start) for at, _ in platform.asked] == expected


@virtual
async def test_waits_may_come_from_a_generator() -> None:
    platform = JobPlatform()
    ids = platform.live_all(150, [(0, "running"), (200, "captured")])
    async with platform.client():
        await track(ids, wait=partial(backoff.expo, max_value=60))
    assert sorted({round(at) for at, _ in platform.asked}) == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert platform.most_requests_beyond_need() == 0


@virtual
async def test_jobs_that_are_finished_cost_nothing() -> None:
    platform = JobPlatform()
    jobs = [platform.job(platform.live(status, [(0, status)])) for status in ENDS[:5]]
    async with platform.client():
        assert await track(jobs) == jobs
        for job in jobs:
            assert await job.track() is job
        assert [job async for job in track(jobs)] == jobs
        assert await track([]) == []
    assert platform.requests == 0


class Sink:
    """Discards a downloaded file."""

    async def take(self, status: int, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> None:
        assert (status, bool(headers)) == (200, True)
        async for _ in body:
            pass


@virtual
async def test_long_downloads_do_not_delay_tracking() -> None:
    platform = JobPlatform(latency=1)
    ids = platform.live_all(3, [(0, "running"), (100, "captured")])
    url = Secret("https://files.example.com/endless")

    async def download(client: Client) -> None:
        async with client._session.file_slots:
            await client._session.fetch(url, {}, Sink(), label="a file")

    async with platform.client() as client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(download, client)
        await anyio.sleep(1)
        await track(ids)
        assert anyio.current_time() == pytest.approx(122, abs=1)
        assert platform.downloads == 4
        group.cancel_scope.cancel()


# What is yielded, and when


@virtual
async def test_each_job_comes_as_it_finishes_and_no_request_is_in_flight_between_two() -> None:
    platform = JobPlatform(latency=2)
    ids = [platform.live(f"job-{n}", [(0, "running"), (60 * n + 30, "captured")]) for n in range(20)]
    tasks, seen = leaks.tasks(), []
    async with platform.client() as client:
        async for job in track(reversed(ids)):
            seen.append((job.id, job.status, round(anyio.current_time() / 60)))
            assert (platform.in_flight, client.statistics().in_flight, leaks.tasks()) == (0, 0, tasks)
            requests = platform.requests
            await anyio.sleep(20)
            assert platform.requests == requests
    assert seen == [(id_, JobStatus.CAPTURED, n + 1) for n, id_ in enumerate(ids)]


@virtual
async def test_a_slow_consumer_gets_every_job() -> None:
    source, platform = dice(4), JobPlatform(latency=0.1)
    ids = [platform.live(f"job-{n}", random_life(source, seconds=1000)) for n in range(30)]
    async with platform.client():
        seen = []
        async for job in track(ids, retries=30):
            seen.append(job.id)
            await anyio.sleep(source.choice([0, 1, 200]))
    assert sorted(seen) == sorted(ids)
    assert max(platform.queries.values()) <= 30


@virtual
async def test_updates_are_the_first_status_and_every_change() -> None:
    platform = JobPlatform()
    known = platform.job(platform.live("known", [(0, "running"), (100, "captured")]))
    platform.live("unknown", [(0, "accepted"), (30, "running"), (178, "successful"), (182, "captured")])
    platform.live("constant", [(0, "running")])
    async with platform.client():
        seen: list[tuple[str, str]] = []

        async def follow() -> None:
            async for job in track([known, "unknown", "constant"], retries=5).updates():
                seen.append((job.id, job.status.value))  # noqa: PERF401 - it ends with an error

        with pytest.raises(UnfinishedJob, match="job constant: not finished after 5 queries"):
            await follow()
    assert seen == [
        ("unknown", "accepted"),
        ("constant", "running"),
        ("unknown", "running"),
        ("known", "captured"),
        ("unknown", "successful"),
        ("unknown", "captured"),
    ]


@virtual
async def test_updates_end_when_all_jobs_are_finished() -> None:
    platform = JobPlatform()
    job = platform.job(platform.live("job", [(0, "running"), (100, "captured")]))
    async with platform.client():
        assert [one async for one in track([job]).updates()] == [job]


@virtual
async def test_one_tracker_may_be_used_in_every_way_one_after_another() -> None:
    platform = JobPlatform()
    ids = [platform.live(f"job-{n}", [(0, "running"), (60 * n + 30, "captured")]) for n in range(6)]
    async with platform.client():
        tracking = track(ids)
        seen = []
        async for job in tracking:
            seen.append(job.id)
            if len(seen) == 2:
                break
        assert [(await anext(tracking.updates())).id for _ in ids] == ids
        jobs = await tracking
        assert await tracking == jobs
        assert [job async for job in tracking] == []
    assert (seen, [job.id for job in jobs]) == (ids[:2], ids)


@virtual
async def test_a_job_on_todays_platform_may_end_as_successful() -> None:
    platform = JobPlatform()
    ids = [platform.live(word, [(0, "running"), (30, word)]) for word in ("successful", "failed")]
    async with platform.client():
        jobs = await track(ids)
    assert [(job.status.value, job.is_finished) for job in jobs] == [("successful", True), ("failed", True)]
    assert anyio.current_time() == pytest.approx(65, abs=0.1)
    assert platform.requests == 4


@virtual
async def test_where_no_credits_are_due_successful_and_failed_are_the_end_at_once() -> None:
    platform = JobPlatform(price=None)
    ids = [platform.live(word, [(0, "running"), (30, word)]) for word in ("successful", "failed")]
    async with platform.client():
        jobs = await track(ids)
        assert await track(jobs) == jobs
    assert [(job.status.value, job.is_finished) for job in jobs] == [("successful", True), ("failed", True)]
    assert anyio.current_time() == pytest.approx(60, abs=0.1)
    assert platform.requests == 2


@virtual
async def test_a_job_that_ends_without_a_new_status_is_no_change_and_the_changes_of_the_others_come() -> None:
    platform = JobPlatform()
    ids = [platform.live("stays", [(0, "successful")]), platform.live("goes on", [(0, "running"), (90, "captured")])]
    async with platform.client():
        seen = [(job.id, job.status.value) async for job in track(ids).updates()]
    assert seen == [("stays", "successful"), ("goes on", "running"), ("goes on", "captured")]
    assert anyio.current_time() == pytest.approx(120, abs=0.1)


@virtual
async def test_a_job_that_failed_is_a_result() -> None:
    platform = JobPlatform()
    async with platform.client():
        (job,) = await track([platform.live("job", [(0, "released")])])
    assert (job.is_finished, job.is_successful) == (True, False)


# Job objects


@virtual
async def test_jobs_are_updated_in_place_and_returned_themselves() -> None:
    platform = JobPlatform()
    jobs = [platform.job(id_) for id_ in platform.live_all(3, [(0, "running"), (30, "captured")])]
    async with platform.client():
        tracked = await track(jobs)
        assert all(one is other for one, other in zip(tracked, jobs, strict=True))
        assert {job.status for job in jobs} == {JobStatus.CAPTURED}


@virtual
@pytest.mark.parametrize("word", ["captured", "successful"])
async def test_duplicates_cost_one_query_and_are_all_updated(word: str) -> None:
    platform = JobPlatform()
    platform.live("job", [(0, "running"), (30, word)])
    async with platform.client():
        one, other = platform.job("job"), platform.job("job")
        jobs = await track(["job", one, "job", other, one])
    assert [job is expected for job, expected in zip(jobs, [one, one, one, other, one], strict=True)] == [True] * 5
    assert (one.status.value, other.status.value) == (word, word)
    assert (one.is_finished, other.is_finished) == (True, True)
    assert {number for _, number in platform.asked} == {1}


@virtual
async def test_duplicates_come_once_in_an_iteration_and_are_all_updated() -> None:
    platform = JobPlatform()
    platform.live("job", [(0, "running"), (30, "accepted"), (90, "captured")])
    async with platform.client():
        one, other = platform.job("job"), platform.job("job")
        tracking = track([one, "job", other])
        assert await anext(tracking.updates()) is one
        assert other.status is JobStatus.ACCEPTED
        assert [job async for job in tracking] == [one]
    assert other.status is JobStatus.CAPTURED


@virtual
async def test_tasks_that_track_the_same_object_all_return() -> None:
    platform = JobPlatform()
    platform.live("job", [(0, "running"), (30, "successful")])
    async with platform.client():
        job = platform.job("job")
        with anyio.fail_after(100):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(job.track)
    assert (job.is_finished, platform.requests) == (True, 4)


@virtual
async def test_tracking_ends_for_a_job_that_is_refreshed_meanwhile() -> None:
    platform = JobPlatform()
    platform.live("job", [(0, "successful")])
    async with platform.client(), anyio.create_task_group() as group:
        job = platform.job("job")
        await job.refresh()
        group.start_soon(partial(job.track, wait=7, retries=3))
        await anyio.sleep(6)
        await job.refresh()
    assert job.is_finished


@virtual
async def test_tracking_by_id_gives_each_caller_its_own_job_object() -> None:
    platform = JobPlatform()
    platform.live("job", [(0, "running"), (30, "captured")])
    found: list[Job] = []

    async def find() -> None:
        found.extend(await track(["job"]))

    async with platform.client(), anyio.create_task_group() as group:
        group.start_soon(find)
        group.start_soon(find)
    assert found[0] == found[1]
    assert found[0] is not found[1]


@virtual
async def test_the_jobs_know_the_client_they_came_from() -> None:
    first, second = JobPlatform(), JobPlatform()
    first.live("job", [(0, "running"), (30, "captured")])
    async with first.client() as client, second.client():
        (job,) = await track(["job"], client=client)
        assert job.client is client
        first.live("job", [(0, "running"), (300, "successful"), (302, "captured")])
        await job.refresh()
        await track([job])
    assert (job.status, second.requests) == (JobStatus.CAPTURED, 0)


# Unfinished jobs and errors


@virtual
async def test_an_unfinished_job_says_which_are_finished_which_are_not_and_why() -> None:
    platform = JobPlatform()
    platform.live("done", [(0, "captured")])
    platform.live("slow", [(0, "running"), (250, "captured")])
    async with platform.client():
        slow = platform.job("slow")
        with pytest.raises(UnfinishedJob) as caught:
            await track([slow, "done", "missing"], retries=3)
        error = caught.value
        assert [job.id for job in error.finished] == ["done"]
        assert error.unfinished == [slow, "missing"]
        assert error.unfinished[0] is slow
        assert set(error.reasons) == {"slow", "missing"}
        assert error.reasons["slow"] == "not finished after 3 queries"
        assert "404" in error.reasons["missing"]
        assert error.job is None
        assert str(error).startswith("job slow: not finished after 3 queries, and 1 more; the jobs go on at UP42, and")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own
        platform.live("missing", [(0, "captured")])
        jobs = await track(error.unfinished)
    assert [job.status for job in jobs] == [JobStatus.CAPTURED] * 2
    assert jobs[0] is slow


@virtual
async def test_the_wait_for_a_single_job_says_which() -> None:
    platform = JobPlatform()
    job = platform.job(platform.live("job", [(0, "running")]))
    async with platform.client():
        with pytest.raises(UnfinishedJob, match="await job.track") as caught:
            await job.track(wait=1, retries=2)
        assert (caught.value.job, caught.value.unfinished) == (job, [job])
        assert caught.value.reasons == {"job": "not finished after 2 queries"}
        with pytest.raises(UnfinishedJob) as again:
            await track(["job"], wait=1, retries=2)
        assert again.value.job is not None
        assert again.value.job.id == "job"


@virtual
async def test_an_iteration_yields_all_that_finish_before_it_says_which_do_not() -> None:
    platform = JobPlatform()
    platform.live("late", [(0, "running"), (500, "captured")])
    async with platform.client():
        tracking = track(["missing", "late"])
        assert (await anext(tracking)).id == "late"
        with pytest.raises(UnfinishedJob, match="job missing: .*404") as caught:
            await anext(tracking)
        with pytest.raises(UnfinishedJob):
            await tracking
    assert [job.id for job in caught.value.finished] == ["late"]


def spoil(status: int, *, alone: int | None = None) -> Any:
    """Answer every list that contains the bad id with `status`, and a request for it alone with `alone` if given."""

    def trouble(ids: list[str]) -> httpx.Response | None:
        if "bad" not in ids:
            return None
        return httpx.Response(status if alone is None or len(ids) > 1 else alone, json={})

    return trouble


@pytest.mark.slow
@virtual
@pytest.mark.parametrize(
    "trouble", [spoil(400), spoil(404), spoil(403), spoil(422), spoil(400, alone=404), spoil(403, alone=403)]
)
async def test_one_bad_id_does_not_end_the_waits_for_the_others(trouble: Any) -> None:
    platform = JobPlatform()
    ids = platform.live_all(199, [(0, "running"), (1000, "captured")])
    platform.trouble = trouble
    async with platform.client():
        with pytest.raises(UnfinishedJob) as caught:
            await track([*ids[:50], "bad", *ids[50:]])
    assert list(caught.value.reasons) == ["bad"]
    assert len(caught.value.finished) == 199
    assert {number for at, number in platform.asked if at > 100} == {100, 99}
    assert platform.requests < 100


@virtual
async def test_a_job_that_cannot_be_read_does_not_end_the_waits_for_the_others() -> None:
    platform = JobPlatform()
    platform.live("good", [(0, "captured")])
    platform.live("odd", [(0, "running")])
    nonsense = {"jobs": [{"jobID": "odd", "status": 7}, {"jobID": "good"}, None], "links": None}
    platform.trouble = lambda ids: httpx.Response(200, json=nonsense) if len(ids) > 1 else None
    async with platform.client():
        with pytest.raises(UnfinishedJob) as caught:
            await track(["good", "odd"], retries=2)
    assert "cannot be read" in caught.value.reasons["odd"]


@virtual
async def test_a_job_that_is_missing_from_a_list_is_requested_by_id() -> None:
    platform = JobPlatform()
    ids = platform.live_all(3, [(0, "running"), (100, "captured")])
    left_out = httpx.Response(200, text='{"jobs": [], "links": []}')
    platform.trouble = lambda ids: left_out if len(ids) > 1 else None
    async with platform.client():
        jobs = await track(ids)
    assert all(job.is_finished for job in jobs)
    assert platform.requests == 3 * 4


@virtual
async def test_a_wrong_password_ends_the_wait_at_once() -> None:
    platform = JobPlatform()
    platform.login = lambda: httpx.Response(401, json={"error": "invalid_grant"})
    async with platform.client():
        with pytest.raises(UnfinishedJob, match="refused the username or password") as caught:
            await track(["one", "other"])
    assert len(caught.value.reasons) == 2
    assert anyio.current_time() < 1


# Wrong arguments


@pytest.mark.parametrize("jobs", ["job", None, 5, [5], [None], [""], [".."], ["a\nb"], ["a", 5]], ids=repr)
async def test_an_argument_that_is_no_list_of_jobs_is_refused_without_a_request(jobs: Any) -> None:
    platform = JobPlatform()
    async with platform.client():
        with pytest.raises((TypeError, ValueError), match="job"):
            track(jobs)
        with pytest.raises(TypeError, match="single one"):
            track(platform.job(platform.live("job", [(0, "running")])))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="collect the jobs first"):
            track(Job.all())  # type: ignore[arg-type]
    assert platform.requests == 0


@pytest.mark.parametrize("schedule", [{"wait": -1}, {"wait": "60"}, {"retries": 0}, {"retries": 1.5}], ids=repr)
async def test_an_invalid_schedule_is_refused_without_a_request(schedule: Any) -> None:
    platform = JobPlatform()
    async with platform.client():
        with pytest.raises((TypeError, ValueError), match="wait|retries"):
            track(["job"], **schedule)
        with pytest.raises((TypeError, ValueError), match="wait|retries"):
            await platform.job(platform.live("job", [(0, "running")])).track(**schedule)
    assert platform.requests == 0


async def test_jobs_of_two_clients_are_refused() -> None:
    platform = JobPlatform()
    platform.live("job", [(0, "captured")])
    async with platform.client() as one, platform.client() as other:
        jobs = [await Job.get("job", client=client) for client in (one, other)]
        with pytest.raises(ValueError, match="different clients"):
            track(jobs)
        assert await track(jobs, client=one) == jobs


async def test_without_a_client_the_error_names_both_ways_out() -> None:
    with pytest.raises(RuntimeError, match="async with.*client="):
        track(["job"])


async def test_any_iterable_of_jobs_is_accepted() -> None:
    platform = JobPlatform()
    ids = platform.live_all(3, [(0, "captured")])
    async with platform.client():
        for given in (tuple(ids), dict.fromkeys(ids), (id_ for id_ in ids)):
            assert [job.id for job in await track(given)] == ids


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_tracker_made_outside_of_an_event_loop_works_inside_one(loop: str) -> None:
    platform = JobPlatform()
    client = platform.client()
    tracking = track(platform.live_all(3, [(0, "running"), (100, "captured")]), client=client)

    async def wait() -> list[Job]:
        async with client:
            return await tracking

    backend, options = virtual_backend(loop)
    jobs = anyio.run(wait, backend=backend, backend_options=options)
    assert {job.status for job in jobs} == {JobStatus.CAPTURED}


# Over real sockets


async def test_300_jobs_of_a_sandbox_are_tracked_through_faults_by_page() -> None:
    async with Sandbox(ids_max=50, ids_page_size_max=20, speed=100) as sandbox:
        life = [(0, "created"), (20, "running"), (60, "captured")]
        ids = [sandbox.seed_jobs(1, timeline=[(at + n / 10, word) for at, word in life])[0] for n in range(300)]
        down = sandbox.faults.add(faults.Status(503), path="/v2", after=20, times=20)
        sandbox.faults.add(faults.DropConnection(), path="/v2", probability=0.05)
        async with sandbox_client(sandbox):
            jobs = await track(ids, wait=0.2)
        assert down.hits == 20
        assert [job.id for job in jobs] == ids
        assert {job.status for job in jobs} == {JobStatus.CAPTURED}
        assert sandbox.count("GET", "/v2/processing/jobs") < 300


async def test_a_server_that_is_down_for_a_while_ends_no_wait() -> None:
    async with Sandbox(speed=100) as sandbox:
        ids = sandbox.seed_jobs(20, timeline=[(0, "running"), (80, "captured")])
        async with sandbox_client(sandbox), anyio.create_task_group() as group:
            found: list[Job] = []

            async def wait() -> None:
                found.extend(await track(ids, wait=0.1))

            group.start_soon(wait)
            await anyio.sleep(0.3)
            sandbox.stop_listening()
            await anyio.sleep(0.6)
            sandbox.start_listening()
        assert {job.status for job in found} == {JobStatus.CAPTURED}
        assert [job.id for job in found] == ids


def sandbox_client(sandbox: Sandbox) -> Client:
    retry = RetryPolicy(attempts=1, wait_initial=0.02, wait_max=0.05)  # an outage is probed as often as this
    return Client(**sandbox.credentials, endpoints=sandbox.endpoints, retry=retry)
