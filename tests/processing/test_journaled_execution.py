"""Executing with a journal: the same line again pays for nothing twice, whatever ended the run before."""

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.paying_platform import ExecutionHandler, PayingPlatform, ReceivedExecution, lost, status, trees
from up42_async import (
    Client,
    CostLimitError,
    ExecutionResult,
    ExecutionUncertainError,
    Journal,
    JournalError,
    Polling,
    StatusError,
    Timeouts,
    execute,
)
from up42_async._client import DEFAULT_TIMEOUTS
from up42_async._config.settings import Limits
from up42_async._processing import execution, journal_file
from up42_async._processing.journal_run import JournalRun, Place
from up42_async.processing_templates import DetectionTreesSpacept

Results = list[ExecutionResult[DetectionTreesSpacept]]


class RealTime(PayingPlatform):
    """Worker threads do not go with a clock that jumps, so this platform goes by the real one."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def _list(self, query: dict[str, list[str]]) -> httpx.Response:
        if "ids" not in query or self.list_fails:
            return super()._list(query)
        ids = query["ids"][0].split(",")
        return self.answer(200, {"jobs": [job for job in self.jobs if job["jobID"] in ids], "links": []})


@pytest.fixture
def platform() -> PayingPlatform:
    return RealTime(latency=0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trees.db"


def open_client(
    platform: PayingPlatform,
    *,
    recover: float = 0.2,
    workspace_id: str | None = "w",
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
) -> Client:
    return Client(
        "user",
        "password",
        workspace_id=workspace_id,
        http_client=httpx.AsyncClient(transport=platform),
        timeouts=timeouts,
        limits=Limits(requests_per_second=1e6, burst=10**6),
        polling=Polling(recover=recover),
    )


async def run(platform: PayingPlatform, templates: Any, path: Path, *, recover: float = 3, **terms: Any) -> Results:
    """Start a program that executes templates, as it were: a client and objects of its own."""
    async with open_client(platform, recover=recover) as client:
        results: Results = await execute(templates, journal=path, client=client, **terms)
        return results


async def sent_and_killed(
    platform: PayingPlatform, path: Path, template: DetectionTreesSpacept, *, ago: float = 0
) -> None:
    """Leave the journal as a program does that is killed after its request has left."""
    async with open_client(platform) as client:
        journal = await JournalRun(path).open(client._session.api, await client._user_id())
        order = await template._order(client)
        sent_at = platform.now() - dt.timedelta(seconds=ago)
        await journal.place(order).intend(credits=10, sent_at=sent_at)
        await journal.aclose()
    if ago:
        with sqlite3.connect(path) as file:
            moment = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)).isoformat()
            file.execute("UPDATE executions SET sent_at_local = ?", (moment,))
        file.close()


def add_job(platform: PayingPlatform, template: DetectionTreesSpacept, status: str = "running") -> str:
    url = f"https://x.test/v2/processing/processes/{template.process_id}/execution?workspaceId=w"
    job = platform.make_job(httpx.Request("POST", url), inputs=template.inputs)
    job["status"] = status
    return str(job["jobID"])


def ids(results: Results) -> list[str | None]:
    return [None if result.job is None else result.job.id for result in results]


# The same line again


async def test_the_same_line_again_executes_nothing_twice(platform: PayingPlatform, path: Path) -> None:
    templates = [trees("one"), trees("two"), trees("one")]
    first = await run(platform, templates, path)
    assert platform.posts == 3
    asked = len(platform.asked)
    again = await run(platform, [trees("one"), trees("two"), trees("one")], path)
    assert ids(again) == ids(first)
    assert platform.posts == 3
    assert platform.asked[asked:] == ["POST token", "GET userinfo", "GET processing/jobs"]
    assert [result.recovered for result in again] == [False] * 3
    assert again[0].template.executions == (again[0],)
    assert again[0].template.workspace_id == "w"
    assert again[0].job is not None
    assert again[0].job.client is not None


async def test_a_list_that_names_more_executes_the_rest(platform: PayingPlatform, path: Path) -> None:
    first = await run(platform, [trees()], path)
    again = await run(platform, [trees(), trees(), trees("other")], path)
    assert platform.posts == 3
    assert again[0].job is not None
    assert ids(again)[0] == ids(first)[0]
    entries = Journal(path).entries()
    assert [(entry.ordinal, entry.fingerprint) for entry in entries] == [
        (1, trees().fingerprint),
        *sorted([(2, trees().fingerprint), (1, trees("other").fingerprint)], key=entries_order(entries)),
    ]


def entries_order(entries: Any) -> Any:
    order = [(entry.ordinal, entry.fingerprint) for entry in entries]
    return order.index


async def test_the_journal_tells_what_was_sent(platform: PayingPlatform, path: Path) -> None:
    before = platform.now() - dt.timedelta(seconds=2)
    await run(platform, [trees("one")], path)
    (entry,) = Journal(path).entries()
    assert entry.inputs == trees("one").inputs
    assert (entry.process_id, entry.workspace_id, entry.credits) == ("detection-trees-spacept", "w", 10)
    assert before <= entry.sent_at <= platform.now()
    assert (entry.job_id, entry.state) == ("job-1", "running")
    assert "password" not in (await anyio.Path(path).read_bytes()).decode("latin-1")


async def test_the_intent_is_on_disk_before_the_request_arrives(platform: PayingPlatform, path: Path) -> None:
    seen: list[dict[str, int]] = []

    async def look(execution: Any) -> httpx.Response:
        await execution.leave()
        seen.append(Journal(path).counts)
        response: httpx.Response = await execution.answer(201, execution.act())
        return response

    platform.handlers.append(look)
    await run(platform, [trees()], path)
    assert seen == [{"executing": 1}]


# What was under way


async def test_what_was_under_way_is_taken_when_it_is_the_only_one(
    platform: PayingPlatform, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await sent_and_killed(platform, path, trees())
    id_ = add_job(platform, trees())
    (result,) = await run(platform, [trees()], path)
    assert (result.job and result.job.id, result.recovered, platform.posts) == (id_, True, 0)
    assert "an earlier run executed detection-trees-spacept ('t') and received no response" in caplog.text
    (entry,) = Journal(path).entries()
    assert (entry.recovered, entry.state) == (True, "running")
    (again,) = await run(platform, [trees()], path)
    assert (again.job and again.job.id, again.recovered) == (id_, True)


async def test_that_there_is_none_counts_only_when_the_time_has_passed(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees())
    platform.listed_after = 0.3
    id_ = add_job(platform, trees())
    (result,) = await run(platform, [trees()], path, recover=1)
    assert (result.job and result.job.id, platform.posts) == (id_, 0)


async def test_what_cannot_be_found_is_uncertain_and_remembered(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees())
    for looks in (1, 0):
        before = platform.count("GET processing/jobs")
        (result,) = await run(platform, [trees()], path, recover=0.2)
        assert isinstance(result.error, ExecutionUncertainError)
        assert "no job that could be it was seen" in str(result.error)
        assert (platform.posts, platform.count("GET processing/jobs") > before) == (0, bool(looks))
        assert Journal(path).counts == {"uncertain": 1}
        assert Journal(path).spent == 10
    (result,) = await run(platform, [trees()], path, retry_uncertain=True, max_credits=10)
    assert (result.job and result.job.id, platform.posts) == ("job-1", 1)
    assert Journal(path).spent == 10


async def test_what_was_sent_long_ago_is_looked_for_once(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees(), ago=100)
    with anyio.fail_after(5):
        (result,) = await run(platform, [trees()], path, recover=60)
    assert isinstance(result.error, ExecutionUncertainError)
    assert platform.count("GET processing/jobs") == 1


async def test_a_list_that_fails_at_first_is_asked_again(platform: PayingPlatform, path: Path) -> None:
    """What was sent long ago has one look, unless that look is not answered; jobs of today are none of its moment."""
    await sent_and_killed(platform, path, trees(), ago=100)
    add_job(platform, trees("another"))
    platform.list_fails = 2
    (result,) = await run(platform, [trees()], path, recover=1)
    assert isinstance(result.error, ExecutionUncertainError)
    assert result.error.candidates == ()
    assert platform.count("GET processing/jobs") == 3


async def test_before_it_is_bought_again_its_job_is_looked_for_once_more(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees())
    await run(platform, [trees()], path, recover=0.2)
    id_ = add_job(platform, trees())
    (result,) = await run(platform, [trees()], path, retry_uncertain=True)
    assert (result.job and result.job.id, result.recovered, platform.posts) == (id_, True, 0)


async def test_without_the_list_nothing_uncertain_is_bought_again(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees())
    await run(platform, [trees()], path, recover=0.2)
    platform.list_fails = 1000
    (result,) = await run(platform, [trees()], path, retry_uncertain=True)
    assert isinstance(result.error, ExecutionUncertainError)
    assert platform.posts == 0


async def test_of_several_candidates_none_is_taken_and_all_are_named(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees())
    candidates = {add_job(platform, trees()), add_job(platform, trees())}
    for _ in range(2):
        (result,) = await run(platform, [trees()], path)
        assert isinstance(result.error, ExecutionUncertainError)
        assert set(result.error.candidates) == candidates
        assert Journal(path).entries()[0].candidates == result.error.candidates


async def test_an_equal_execution_is_sent_when_the_one_before_is_known(platform: PayingPlatform, path: Path) -> None:
    await sent_and_killed(platform, path, trees())
    id_ = add_job(platform, trees())
    results = await run(platform, [trees(), trees()], path)
    assert ids(results)[0] == id_
    assert ids(results)[1] != id_
    assert platform.posts == 1
    (entry, _) = Journal(path).entries()
    assert entry.recovered


async def test_a_job_of_another_entry_is_no_candidate(platform: PayingPlatform, path: Path) -> None:
    (first,) = await run(platform, [trees()], path)
    platform.handlers.append(lost(httpx.ReadError, acted=False))
    results = await run(platform, [trees(), trees()], path, recover=0.2)
    assert ids(results) == [first.job and first.job.id, None]
    assert isinstance(results[1].error, ExecutionUncertainError)
    assert results[1].error.candidates == ()


async def test_an_answer_that_is_lost_is_recovered_and_noted(platform: PayingPlatform, path: Path) -> None:
    platform.handlers.append(lost(httpx.ReadError, acted=True))
    (result,) = await run(platform, [trees()], path)
    assert result.recovered
    assert Journal(path).entries()[0].recovered


# What is executed again


async def test_what_was_refused_is_executed_again(platform: PayingPlatform, path: Path) -> None:
    platform.handlers.append(status(402))
    (result,) = await run(platform, [trees()], path)
    assert isinstance(result.error, StatusError)
    (entry,) = Journal(path).entries()
    assert (entry.state, Journal(path).spent) == ("refused", 0)
    assert entry.error is not None
    assert "status 402" in entry.error
    (result,) = await run(platform, [trees()], path)
    assert result.job is not None
    assert [entry.state for entry in Journal(path).entries()] == ["running"]


@pytest.mark.parametrize("word", ["failed", "released", "rejected", "invalid", "unlicensed"])
async def test_what_ended_without_a_result_is_executed_again_when_asked_for(
    platform: PayingPlatform, path: Path, word: str
) -> None:
    await run(platform, [trees()], path)
    platform.jobs[0]["status"] = word
    (result,) = await run(platform, [trees()], path)
    assert result.job is not None
    assert (result.job.id, result.job.status.value, platform.posts) == ("job-1", word, 1)
    assert (Journal(path).counts, Journal(path).spent) == ({"failed": 1}, 0)
    (result,) = await run(platform, [trees()], path, retry_failed=True, max_credits=10)
    assert (result.job and result.job.id, Journal(path).spent) == ("job-2", 10)
    (result,) = await run(platform, [trees()], path, retry_failed=True)
    assert (result.job and result.job.id, platform.posts) == ("job-2", 2)


async def test_a_limit_holds_over_all_starts(platform: PayingPlatform, path: Path) -> None:
    templates = ["one", "two", "three"]
    await run(platform, [trees(title) for title in templates[:2]], path, max_credits=20)
    results = await run(platform, [trees(title) for title in templates], path, max_credits=29)
    assert [type(result.error) for result in results] == [type(None), type(None), CostLimitError]
    platform.jobs[0]["status"] = "failed"  # its credits are given back
    async with open_client(platform) as client:
        batch = execute([trees(title) for title in templates], journal=Journal(path), max_credits=29, client=client)
        assert [result.error for result in await batch] == [None, None, None]
        assert batch.spent == 20
    assert platform.posts == 3


async def test_many_jobs_are_seen_again_in_few_requests(
    platform: PayingPlatform, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("up42_async._processing.journal_start._WRITTEN_AT_ONCE", 2)
    templates = [trees(f"{number}") for number in range(5)]
    await run(platform, templates, path)
    for job in platform.jobs:
        job["status"] = "captured"
    asked = platform.count("GET processing/jobs")
    await run(platform, templates, path)
    assert Journal(path).counts == {"done": 5}
    assert platform.count("GET processing/jobs") == asked + 1
    await run(platform, templates, path)
    assert platform.count("GET processing/jobs") == asked + 1


async def test_an_outage_at_the_start_leaves_the_last_states(
    platform: PayingPlatform, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await run(platform, [trees()], path)
    platform.list_fails = 1000
    (result,) = await run(platform, [trees()], path)
    assert result.job is not None
    assert "the jobs of the journal could not be asked for" in caplog.text


# Cut short, and what cannot be used


@pytest.mark.parametrize("answered", [True, False])
async def test_a_run_that_is_cancelled_leaves_the_journal_true(
    platform: PayingPlatform, path: Path, *, answered: bool
) -> None:
    arrived = anyio.Event()
    platform.handlers.append(slow_after(arrived, 0.3 if answered else 30))
    client = open_client(platform, timeouts=Timeouts(cancel_grace=0.6))
    async with client, anyio.create_task_group() as group:
        group.start_soon(execute_all, [trees()], path, client)
        await arrived.wait()
        group.cancel_scope.cancel()
    assert Journal(path).counts == ({"running": 1} if answered else {"executing": 1})
    (result,) = await run(platform, [trees()], path)
    assert (result.job and result.job.id, platform.posts) == ("job-1", 1)


def slow_after(arrived: anyio.Event, seconds: float) -> ExecutionHandler:
    """Say when the request has arrived, and answer late."""

    async def handler(execution: ReceivedExecution) -> httpx.Response:
        await execution.leave()
        job = execution.act()
        arrived.set()
        await anyio.sleep(seconds)
        return await execution.answer(201, job)

    return handler


async def execute_all(templates: list[DetectionTreesSpacept], path: Path, client: Client) -> None:
    await execute(templates, journal=path, client=client)


async def test_on_a_full_disk_nothing_is_sent(
    platform: PayingPlatform, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(platform, [trees("before")], path)
    opened = journal_file.open_to_write

    def on_full_disk(path: Path) -> sqlite3.Connection:
        file = opened(path)
        (pages,) = file.execute("PRAGMA page_count").fetchone()
        file.execute(f"PRAGMA max_page_count = {pages}")
        return file

    monkeypatch.setattr(journal_file, "open_to_write", on_full_disk)
    results = await run(platform, [trees("before"), *(trees("x" * 240 + f"{n}") for n in range(40))], path)
    failed = [result for result in results if result.error is not None]
    assert failed
    assert {type(result.error) for result in failed} == {JournalError}
    assert platform.posts == len(platform.jobs) == len(results) - len(failed)


async def test_equal_executions_are_priced_together(platform: PayingPlatform, path: Path) -> None:
    await run(platform, [trees()] * 3, path)
    asked = [one.rpartition("/")[2] for one in platform.asked if one.endswith(("/cost", "/execution"))]
    assert asked == ["cost", "cost", "cost", "execution", "execution", "execution"]


async def test_a_job_that_cannot_be_written_down_is_returned_and_found_later(
    platform: PayingPlatform, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Place, "made", full)
        (result,) = await run(platform, [trees()], path)
    assert (result.job and result.job.id, Journal(path).counts) == ("job-1", {"executing": 1})
    assert "the outcome of executing detection-trees-spacept ('t') was not written (the disk is full)" in caplog.text
    execution.TAKEN_JOBS._taken.clear()  # as in a new process
    (result,) = await run(platform, [trees()], path)
    assert (result.job and result.job.id, result.recovered) == ("job-1", True)


async def test_a_journal_is_one_run_at_a_time(platform: PayingPlatform, path: Path) -> None:
    arrived = anyio.Event()
    platform.handlers.append(slow_after(arrived, 1))
    async with anyio.create_task_group() as group:
        group.start_soon(run, platform, [trees()], path)
        await arrived.wait()
        assert Journal(path).counts == {"executing": 1}
        with pytest.raises(RuntimeError, match="a journal is one run"):
            await run(platform, [trees("other")], path)
        async with open_client(platform) as client:
            with pytest.raises(RuntimeError, match="a journal is one run"):
                await in_a_block([trees("other")], path, client)
    assert platform.posts == 1


async def in_a_block(templates: list[DetectionTreesSpacept], path: Path, client: Client) -> None:
    async with execute(templates, journal=path, client=client) as batch:
        async for _ in batch:
            raise AssertionError


async def test_a_journal_is_of_one_account(platform: PayingPlatform, path: Path) -> None:
    await run(platform, [trees()], path)
    other = RealTime(latency=0.001)
    other._free_of_charge = another_user(other)  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="belongs to user workspace-of-the-user"):
        await run(other, [trees()], path)
    async with open_client(platform) as one, open_client(other) as two:
        templates = [trees("a"), trees("b")]
        templates[0].client, templates[1].client = one, two
        with pytest.raises(JournalError, match="not to user another"):
            await execute(templates, journal=path)
    assert (platform.posts, other.posts) == (1, 0)


def another_user(platform: PayingPlatform) -> Any:
    free = platform._free_of_charge

    def answer(request: httpx.Request, path: str) -> httpx.Response:
        return platform.answer(200, {"sub": "another"}) if path.endswith("/userinfo") else free(request, path)

    return answer


async def test_a_damaged_journal_keeps_everything_from_being_sent(platform: PayingPlatform, path: Path) -> None:
    await anyio.Path(path).write_text("not a journal " * 100)
    with pytest.raises(JournalError, match="is not a journal"):
        await run(platform, [trees()], path)
    assert platform.posts == 0


@pytest.mark.parametrize("terms", [{"retry_uncertain": True}, {"retry_failed": True}])
def test_only_a_journal_knows_what_can_be_retried(terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need a journal"):
        execute([], **terms)


async def test_an_empty_list_needs_no_journal(platform: PayingPlatform, path: Path) -> None:
    assert await run(platform, [], path) == []
    assert not await anyio.Path(path).exists()


async def test_results_show_as_a_table(platform: PayingPlatform, path: Path) -> None:
    platform.handlers.append(status(402))
    async with open_client(platform) as client:
        batch = execute([trees("a"), trees("<b>")], journal=path, client=client)
        await batch
    text = batch._repr_html_()
    assert repr(batch) == "<ExecutionBatch: 2 of 2 executed, 10 credits>"
    assert "2 of 2 executed: 10 credits" in text
    assert "&lt;b&gt;" in text
    assert "StatusError" in text


async def test_other_workspaces_are_other_executions(platform: PayingPlatform, path: Path) -> None:
    await run(platform, [trees()], path)
    async with open_client(platform, workspace_id="v") as client:
        await execute([trees()], journal=path, client=client)
    assert platform.posts == 2
    assert [entry.workspace_id for entry in Journal(path).entries()] == ["w", "v"]


async def test_the_client_may_close_while_it_is_looked_for(platform: PayingPlatform, path: Path) -> None:
    """What is not known stays under way, and is looked for at the next start."""
    await sent_and_killed(platform, path, trees())
    client = open_client(platform, recover=30)
    async with anyio.create_task_group() as group:
        group.start_soon(close_when_looked_for, client, platform)
        (result,) = await execute([trees()], journal=path, client=client)
    assert "the client was closed while the job of detection-trees-spacept ('t'), executed by an earlier run," in str(
        result.error
    )
    assert Journal(path).counts == {"executing": 1}


async def close_when_looked_for(client: Client, platform: PayingPlatform) -> None:
    while not platform.count("GET processing/jobs"):  # noqa: ASYNC110 - the platform has no events
        await anyio.sleep(0.01)
    await client.aclose()
