"""A job: fetching, refreshing, deciding whether it is finished, copying and pickling."""

import contextvars
import copy
import datetime as dt
import inspect
import pickle
import uuid
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest

from tests.fake_platform import FakePlatform, client_of
from tests.job_answers import JOBS, answering, connected, metadata
from up42_async import (
    Client,
    Job,
    JobFailedError,
    JobStatus,
    NotFoundError,
    Polling,
    UnexpectedResponseError,
    UnfinishedJob,
    Up42Error,
    ValidationError,
)
from up42_async._config import RetryPolicy
from up42_async._jobs.job import read_job
from up42_async._jobs.polling_state import AT_ONCE, Phase
from up42_async.sandbox import Sandbox, faults

ENDED = ("captured", "released", "invalid", "rejected", "unlicensed")
UNDER_WAY = ("created", "licensed", "valid", "accepted", "running", "a word of tomorrow")


def made(client: Client | None = None, **changes: Any) -> Job:
    return read_job(client, metadata(**changes), None)


# Fetching a job


async def test_get_costs_one_request_and_gives_the_job() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="captured")
        job = await Job.get(job_id)
        assert (job.id, job.status) == (job_id, JobStatus.CAPTURED)
        assert [record.path for record in sandbox.requests] == [f"{JOBS}/{job_id}"]


async def test_get_takes_the_id_by_either_name() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="captured")
        assert await Job.get(id=job_id) == await Job.get(job_id=job_id) == await Job.get(job_id)


async def test_get_requires_exactly_one_id() -> None:
    with pytest.raises(TypeError, match=r"takes the ID of one job: Job\.get\(job_id\)"):
        await Job.get()
    with pytest.raises(TypeError, match="takes the ID of one job"):
        await Job.get("a", id="b")


async def test_a_job_that_does_not_exist_is_not_found() -> None:
    async with connected():
        with pytest.raises(NotFoundError, match=f"GET {JOBS}/nobody: status 404"):
            await Job.get("nobody")


@pytest.mark.parametrize(
    ("job_id", "path"),
    [("../../users/me", "..%2F..%2Fusers%2Fme"), ("a/b", "a%2Fb"), ("x?y", "x%3Fy"), ("x#y", "x%23y")],
)
async def test_an_id_is_one_segment_of_the_path_whatever_it_holds(job_id: str, path: str) -> None:
    async with connected() as sandbox:
        with pytest.raises(Up42Error):
            await Job.get(job_id)
        assert [record.path for record in sandbox.requests] == [f"{JOBS}/{path}"]


@pytest.mark.parametrize("job_id", ["", ".", "..", "\r\n", pytest.param("x" * 10_000, id="10 kB"), 5])
async def test_an_invalid_id_costs_no_request(job_id: Any) -> None:
    async with connected() as sandbox:
        with pytest.raises(ValueError if isinstance(job_id, str) else TypeError, match="job id"):
            await Job.get(job_id)
        assert not sandbox.requests


async def test_without_a_client_the_error_names_both_ways_to_give_one() -> None:
    with pytest.raises(RuntimeError, match="open one with `async with .*or give one with `client=`"):
        await Job.get("job-1")
    with pytest.raises(RuntimeError, match="no UP42 client"):
        await made().refresh()
    with pytest.raises(RuntimeError, match="no UP42 client"):
        Job.all(ids=[])


async def test_a_job_remembers_the_client_it_came_from() -> None:
    first, second = FakePlatform(), FakePlatform()
    first.api = second.api = answering(metadata(status="running"))
    async with client_of(first) as one, client_of(second):
        job = await Job.get("job-1", client=one)
        await job.refresh()
        assert job.client is one
    assert (len(first.calls), len(second.calls)) == (2, 0)


async def test_a_job_without_client_uses_the_current_one() -> None:
    platform = FakePlatform()
    platform.api = answering(metadata(status="captured"))
    async with client_of(platform):
        job = await made(status="running").refresh()
    assert job.status is JobStatus.CAPTURED


@pytest.mark.virtual_time
@pytest.mark.parametrize("body", [b"<html>502</html>", b'{"jobID": "job-1", "sta'])
async def test_a_response_that_is_not_json_is_requested_again(body: bytes) -> None:
    platform = FakePlatform()
    platform.api = answering(body, body, metadata())
    async with client_of(platform):
        assert (await Job.get("job-1")).id == "job-1"
    assert len(platform.calls) == 3


@pytest.mark.virtual_time
@pytest.mark.parametrize("body", [b"<html>502</html>", b'{"jobID": "job-1", "sta'])
async def test_a_response_that_is_never_json_is_an_unexpected_response_error(body: bytes) -> None:
    platform = FakePlatform()
    platform.api = answering(body)
    async with client_of(platform, retry=RetryPolicy(attempts=3)):
        with pytest.raises(UnexpectedResponseError, match=r"status 200 with a body that is not JSON .*3 tries"):
            await Job.get("job-1")
    assert len(platform.calls) == 3


async def test_a_response_that_is_not_a_job_is_not_requested_again() -> None:
    platform = FakePlatform()
    platform.api = answering(metadata(status=...))
    async with client_of(platform):
        with pytest.raises(UnexpectedResponseError, match="status: None is no string"):
            await Job.get("job-1")
    assert len(platform.calls) == 1


@pytest.mark.virtual_time
async def test_an_empty_response_is_requested_again() -> None:
    platform = FakePlatform()
    platform.api = lambda asked: httpx.Response(204) if asked.number < 3 else httpx.Response(200, json=metadata())
    async with client_of(platform):
        assert (await Job.get("job-1")).id == "job-1"
    platform.api = lambda _: httpx.Response(200)
    async with client_of(platform):
        with pytest.raises(UnexpectedResponseError, match="status 200 with an empty body .*5 tries"):
            await Job.get("job-1")


# What a status means


@pytest.mark.parametrize("word", ENDED)
def test_a_terminal_status_is_finished(word: str) -> None:
    assert made(status=word).is_finished
    assert made(status=word)._phase is Phase.FINISHED


@pytest.mark.parametrize("word", ["successful", "failed"])
def test_successful_and_failed_are_not_finished_at_first_where_credits_are_due(word: str) -> None:
    assert made(status=word, creditConsumption=None).is_finished
    assert not made(status=word).is_finished
    assert made(status=word)._phase is Phase.SETTLING


@pytest.mark.parametrize("word", UNDER_WAY)
def test_any_other_status_is_under_way(word: str) -> None:
    assert not made(status=word).is_finished
    assert made(status=word)._phase is Phase.UNDER_WAY


def test_only_successful_and_captured_jobs_are_successful() -> None:
    words = (*ENDED, *UNDER_WAY, "successful", "failed")
    assert {word for word in words if made(status=word).is_successful} == {"successful", "captured"}


@pytest.mark.parametrize("word", ["successful", "captured"])
def test_a_successful_job_raises_nothing_and_is_returned(word: str) -> None:
    job = made(status=word)
    assert job.raise_for_status() is job


@pytest.mark.parametrize("word", ["failed", "released", "invalid", "rejected", "unlicensed"])
def test_a_job_that_failed_raises_job_failed_with_the_job_and_its_errors(word: str) -> None:
    errors = [{"name": "InvalidTitle", "message": "too long"}, {"name": "Other", "message": "bad"}]
    job = made(status=word, results={"errors": errors})
    with pytest.raises(JobFailedError) as caught:
        job.raise_for_status()
    assert caught.value.job is job
    assert str(caught.value) == f"job job-1 (detection-trees-spacept) is {word}; InvalidTitle: too long; Other: bad"


@pytest.mark.parametrize("word", UNDER_WAY)
def test_a_job_under_way_raises_unfinished_job_and_says_how_to_wait(word: str) -> None:
    job = made(status=word)
    with pytest.raises(UnfinishedJob, match=rf"job job-1 .* is {word}; `await job\.track\(\)` waits") as caught:
        job.raise_for_status()
    assert (caught.value.job, caught.value.unfinished, caught.value.finished) == (job, [job], [])
    assert caught.value.reasons == {"job-1": word}


# Refreshing


async def test_refresh_updates_every_field_of_the_same_object() -> None:
    platform = FakePlatform()
    newer = metadata(
        status="invalid", results={"errors": [{"name": "n", "message": "m"}]}, creditConsumption=None, finished=None
    )
    platform.api = answering(newer)
    async with client_of(platform) as client:
        job = made(client, status="running", results=None, started=None, finished=None)
        assert await job.refresh() is job
    assert job == read_job(None, newer, None)
    assert job.errors == [ValidationError("m", "n")]
    assert len(platform.calls) == 1


async def test_a_refresh_that_fails_changes_nothing() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="running")
        job = await Job.get(job_id)
        before = copy.copy(job)
        sandbox.forget(job_id)
        with pytest.raises(NotFoundError):
            await job.refresh()
        assert job == before


@pytest.mark.virtual_time
@pytest.mark.parametrize("word", ["successful", "failed"])
async def test_refresh_finds_successful_and_failed_finished_when_they_stay(word: str) -> None:
    platform = FakePlatform()
    platform.api = answering(metadata(status=word))
    async with client_of(platform):
        job = await Job.get("job-1")
        await anyio.sleep(Polling().settle - 0.5)
        assert not (await job.refresh()).is_finished
        await anyio.sleep(0.5)
        assert (await job.refresh()).is_finished
        assert (await job.refresh()).is_finished


@pytest.mark.virtual_time
@pytest.mark.parametrize("word", ["successful", "failed"])
async def test_credits_seen_earlier_are_due_though_the_last_status_shows_none(word: str) -> None:
    platform = FakePlatform()
    none: dict[str, Any] = {"creditConsumption": None}
    answers = [metadata(status="running"), metadata(status=word, **none), metadata(status=word, **none)]
    platform.api = lambda asked: httpx.Response(200, json=answers[asked.number - 1])
    async with client_of(platform):
        job = await Job.get("job-1")
        assert not (await job.refresh()).is_finished
        copied = pickle.loads(pickle.dumps(job))  # noqa: S301 - our own
        assert (copied.is_finished, copy.copy(job).is_finished) == (False, False)
        await anyio.sleep(Polling().settle)
        assert (await job.refresh()).is_finished


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("word", "date", "is_finished"),
    [
        ("failed", "Thu, 01 Jan 2026 00:00:01 GMT", False),
        ("failed", "Thu, 01 Jan 2026 00:00:02 GMT", True),
        ("successful", "Thu, 01 Jan 2026 00:00:01 GMT", True),
        ("failed", None, True),
    ],
)
async def test_a_job_that_has_just_failed_may_still_be_released(word: str, date: str | None, is_finished: bool) -> None:
    """FAILED shows no credits, and RELEASED follows within two seconds, on UP42's clock, if some are due."""
    platform, record = FakePlatform(), metadata(status=word, creditConsumption=None, updated="2026-01-01T00:00:00Z")
    dates = [date, "Thu, 01 Jan 2026 00:00:02 GMT"]
    platform.api = lambda asked: httpx.Response(
        200, json=record, headers={"Date": now} if (now := dates[asked.number - 1]) else {}
    )
    async with client_of(platform):
        job = await Job.get("job-1")
        assert job.is_finished is is_finished
        assert (await job.refresh()).is_finished


@pytest.mark.virtual_time
async def test_a_failed_job_with_an_odd_time_is_finished() -> None:
    platform = FakePlatform()
    record = metadata(status="failed", creditConsumption=None, updated="yesterday")
    platform.api = lambda _: httpx.Response(200, json=record, headers={"Date": "Thu, 01 Jan 2026 00:00:01 GMT"})
    async with client_of(platform):
        assert (await Job.get("job-1")).is_finished


@pytest.mark.virtual_time
async def test_a_changed_status_starts_to_settle_again() -> None:
    platform = FakePlatform()
    words = ["successful", "running", "successful", "successful", "failed"]
    platform.api = lambda asked: httpx.Response(200, json=metadata(status=words[asked.number - 1]))
    async with client_of(platform):
        job, finished = await Job.get("job-1"), list[bool]()
        for _ in words[1:]:
            await anyio.sleep(Polling().settle)
            finished.append((await job.refresh()).is_finished)
    assert finished == [False, False, True, False]


@pytest.mark.virtual_time
async def test_a_job_that_track_found_finished_stays_so_when_it_is_refreshed() -> None:
    platform = FakePlatform()
    platform.api = answering(metadata(status="successful"))
    async with client_of(platform):
        job = await (await Job.get("job-1")).track(wait=60)
        assert job.is_finished
        assert (await job.refresh()).is_finished
        copied = pickle.loads(pickle.dumps(job))  # noqa: S301 - it was made here
        assert (await copied.refresh()).is_finished


async def test_tracking_that_uses_up_its_retries_names_the_job_and_how_to_continue() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="running")
        job = await Job.get(job_id)
        with pytest.raises(
            UnfinishedJob, match=f"job {job_id}: .*`await job.track\\(\\)` waits for it again"
        ) as caught:
            await job.track(wait=0, retries=2)
        assert (caught.value.job, caught.value.unfinished) == (job, [job])
        assert list(caught.value.reasons) == [job_id]


# Copies, pickles, equality and what is shown


def test_a_copy_is_a_job_of_its_own_with_the_same_client() -> None:
    client = Client("someone@example.com", "a secret")
    job = made(client, status="successful", created="yesterday")
    job._settling_since = AT_ONCE
    for copied in (copy.copy(job), copy.deepcopy(job)):
        assert (copied, copied.client, copied.is_finished, copied._unreadable) == (job, client, True, job._unreadable)
        copied._update(made(status="failed"), 0, 5)
        assert (job.status, job.is_finished, copied.is_finished) == (JobStatus.SUCCESSFUL, True, False)


def test_a_deep_copy_has_a_definition_of_its_own() -> None:
    job = made()
    copy.deepcopy(job).definition["inputs"]["title"] = "Other"
    assert job.definition["inputs"]["title"] == "Trees"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_holds_everything_but_the_client(protocol: int) -> None:
    client = Client("someone@example.com", "a-canary-password")
    word = f"paused-{uuid.uuid4()}"
    job = made(client, status=word, results={"errors": [{"name": "n", "message": "m"}]})
    data = pickle.dumps(job, protocol)
    assert b"a-canary-password" not in data
    copied = pickle.loads(data)  # noqa: S301 - it was made here
    assert (copied, copied.client, copied.status) == (job, None, JobStatus(word))


def test_a_pickle_remembers_that_the_job_is_finished() -> None:
    job = made(status="successful")
    job._settling_since = AT_ONCE
    assert pickle.loads(pickle.dumps(job)).is_finished  # noqa: S301 - it was made here


def test_errors_survive_pickling_with_their_jobs() -> None:
    job = made(status="failed")
    failed = pickle.loads(pickle.dumps(JobFailedError("it failed", job=job)))  # noqa: S301 - it was made here
    assert (str(failed), failed.job) == ("it failed", job)
    left = UnfinishedJob("not yet", finished=[job], unfinished=["a"], reasons={"a": "why"}, job=job)
    again = pickle.loads(pickle.dumps(left))  # noqa: S301 - it was made here
    assert (str(again), again.finished, again.unfinished, again.reasons, again.job) == (
        "not yet",
        [job],
        ["a"],
        {"a": "why"},
        job,
    )


def test_jobs_are_equal_when_their_states_are_whatever_client_they_came_from() -> None:
    assert made(Client("someone@example.com", "a secret")) == made()
    assert made(status="running") != made()


def test_the_repr_is_one_short_line_and_shows_neither_client_nor_inputs() -> None:
    job = made(Client("someone@example.com", "a-canary-password"))
    assert repr(job) == (
        "Job(id='job-1', process_id='detection-trees-spacept', status='captured', updated='2024-05-01 10:03:00 UTC',"
        " credits=63)"
    )
    odd = made(jobID="j\n" * 500, processID="p" * 500, status="s" * 100, creditConsumption={"credits": 10**14})
    assert len(repr(odd)) <= 200
    assert "\n" not in repr(odd)
    assert "a-canary-password" not in repr(job) + job._repr_html_()


def test_a_notebook_shows_a_table() -> None:
    job = made(jobID="<b>", status="invalid", results={"errors": [{"name": "Odd", "message": "a & b"}]})
    shown = job._repr_html_()
    assert shown.startswith("<table>")
    assert shown.endswith("</table>")
    assert "&lt;b&gt;" in shown
    assert "Odd: a &amp; b" in shown
    assert "collection_url" not in shown


def test_a_job_is_hashed_by_its_id_and_compared_by_its_fields() -> None:
    running, captured = made(status="running"), made()
    assert hash(running) == hash(captured)
    assert {running: 1, captured: 2, made(): 3} == {running: 1, captured: 3}


def test_a_dictionary_of_a_job_holds_its_public_fields() -> None:
    job = made(Client("someone@example.com", "a secret"), colour="red")
    names = [*inspect.signature(Job).parameters]
    assert list(attrs.asdict(job)) == names
    assert attrs.asdict(job)["extra"] == {"colour": "red"}
    assert not any(name.startswith("_") for name in names)


def test_a_job_shows_only_its_public_names() -> None:
    public = {name for name in dir(made()) if not name.startswith("_")}
    assert public == {
        *(field.name for field in attrs.fields(Job)),
        *"age all client collection download from_metadata get is_finished is_successful items".split(),
        *"raise_for_status refresh to_metadata track".split(),
    }


def test_the_age_of_a_job_ends_with_it() -> None:
    hour = dt.timedelta(hours=1)
    created = "2024-05-01T10:00:00Z"
    done = made(created=created, finished="2024-05-01T11:00:00Z")
    assert (done.age, made(created=created, finished=None, updated="2024-05-01T11:00:00Z").age) == (hour, hour)
    restarted = made(status="running", created=created, finished="2024-05-01T11:00:00Z")
    assert restarted.age > 365 * 24 * hour
    assert made(status="running", created="2999-01-01T00:00:00Z").age == dt.timedelta(0)


async def test_the_age_of_a_job_is_measured_by_the_clock_of_up42() -> None:
    platform = FakePlatform()
    answer = httpx.Response(200, json=metadata(status="running"), headers={"Date": "Wed, 01 May 2024 11:00:00 GMT"})
    platform.api = lambda _: answer
    async with client_of(platform):
        job = await Job.get("job-1")
        assert job.age.total_seconds() == pytest.approx(3600, abs=2)


@pytest.mark.parametrize("word", ["running", "released"])
async def test_the_status_says_whether_there_are_results(word: str, tmp_path: Path) -> None:
    """A restarted or released job may have a collection, which has no results."""
    platform = FakePlatform()
    async with client_of(platform):
        job = made(status=word)
        assert job.collection_url is not None
        assert await job.collection() is None
        assert [item async for item in job.items()] == []
        with pytest.raises((JobFailedError, UnfinishedJob), match=f"is {word}"):
            await job.download(tmp_path)
    assert platform.calls == []


async def test_jobs_of_two_sandboxes_never_notice_each_other() -> None:
    async with Sandbox() as one, Sandbox(seed=1) as other:
        (first,), (second,) = one.seed_jobs(1), other.seed_jobs(1)
        async with (
            Client(**one.credentials, endpoints=one.endpoints) as outer,
            Client(**other.credentials, endpoints=other.endpoints),
        ):
            assert [job.id async for job in Job.all()] == [second]
            assert [job.id async for job in Job.all(client=outer)] == [first]
            assert (await Job.get(first, client=outer)).id == first


async def test_the_current_client_is_that_of_the_task_and_the_tasks_it_starts() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1)
        found: list[str] = []

        async def ask() -> None:
            found.append((await Job.get(job_id)).id)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
        assert found == [job_id]
        with pytest.raises(RuntimeError, match="no UP42 client"):
            contextvars.Context().run(Job.all)


async def test_an_unknown_status_of_the_server_does_not_stop_anything() -> None:
    word = f"paused-{uuid.uuid4()}"
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="running")
        sandbox.faults.add(faults.UnknownStatus(word))
        job = await Job.get(job_id)
        assert (job.status.value, job.is_finished) == (word, False)


@pytest.mark.parametrize(("status", "error"), [("released", JobFailedError), ("running", UnfinishedJob)])
async def test_a_job_without_results_has_nothing_to_download(
    status: str, error: type[Up42Error], tmp_path: Path
) -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status=status)
        job = await Job.get(job_id)
        with pytest.raises(error, match=job_id):
            await job.download(tmp_path)
        assert await job.collection() is None
        assert [item async for item in job.items()] == []
    assert sandbox.count() == 1
