"""From templates to files: all stages at once, one result a template, and the same line again goes on."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from up42_async import (
    Client,
    CostLimitError,
    ExecutionUncertainError,
    JobFailedError,
    JobStatus,
    Journal,
    JournalError,
    PipelineResult,
    RetryPolicy,
    UnfinishedJob,
    evaluate,
    pipeline,
)
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import REFERENCE_ASSET, Sandbox, faults

ENDED = {JobStatus.SUCCESSFUL, JobStatus.CAPTURED}
STUCK = [(0.0, "running")]
QUICK = [(0.0, "running"), (60.0, "captured")]
Results = list[PipelineResult[DetectionTreesSpacept]]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=3000, failure_rate=0, balance=10**6) as sandbox:
        yield sandbox


def open_client(sandbox: Sandbox, **more: Any) -> Client:
    return Client(**sandbox.settings, retry=RetryPolicy(wait_initial=0.01), **more)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    async with open_client(sandbox) as client:
        yield client


def trees(sandbox: Sandbox, number: int, *, start: int = 0) -> list[DetectionTreesSpacept]:
    (item,) = sandbox.items_of(REFERENCE_ASSET)
    return [DetectionTreesSpacept(title=f"trees {n}", item=item) for n in range(start, start + number)]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - the sandbox has no events
            await anyio.sleep(0.01)


def paths(results: Results) -> list[Path]:
    return [file.path for result in results for file in result.files if file.path is not None]


# One way from templates to files


async def test_every_template_becomes_files_in_the_order_given(
    sandbox: Sandbox, client: Client, tmp_path: Path
) -> None:
    templates = trees(sandbox, 5)
    results = await pipeline(templates, tmp_path)
    assert [result.template for result in results] == templates
    assert all(one.template is other for one, other in zip(results, templates, strict=True))
    assert [result.error for result in results] == [None] * 5
    assert len(sandbox.executions) == 5
    for result in results:
        assert result.job is not None
        assert result.job.status in ENDED
        whole = {file.name: file.size for file in sandbox.results_of(result.job.id)}
        assert {path.name: path.stat().st_size for path in paths([result])} == whole
        assert all(path.parent == tmp_path / result.job.id for path in paths([result]))


async def test_a_block_gives_each_as_it_is_complete_and_keeps_what_is_unread(
    sandbox: Sandbox, client: Client, tmp_path: Path
) -> None:
    async with pipeline(trees(sandbox, 4), tmp_path) as batch:
        assert batch.counts["waiting"] + batch.counts["executing"] == 4
        seen = [await anext(batch), await anext(batch)]
        await until(lambda: batch.counts["done"] == 4)
        assert len(batch.results) == 2
        assert "<td>done</td><td>4</td>" in batch._repr_html_()
        assert repr(batch) == f"<PipelineBatch: 4 done; {batch.spent:,} credits spent>"
        seen += [result async for result in batch]
        assert batch.results == []
    assert len({id(result.template) for result in seen}) == 4
    assert batch.counts == {
        "waiting": 0,
        "executing": 0,
        "running": 0,
        "downloading": 0,
        "done": 4,
        "failed": 0,
        "uncertain": 0,
    }
    assert batch.spent == sum(execution.price for execution in sandbox.executions)


async def test_without_a_directory_nothing_is_downloaded(sandbox: Sandbox, client: Client) -> None:
    (result,) = await pipeline(trees(sandbox, 1))
    assert (result.files, result.error) == ((), None)
    assert sandbox.count(path=".*download-url") == 0


async def test_which_files_are_wanted_can_be_said(sandbox: Sandbox, client: Client, tmp_path: Path) -> None:
    (result,) = await pipeline(trees(sandbox, 1), tmp_path, keys=["no such key"])
    assert (result.files, result.error) == ((), None)


async def test_at_most_so_many_jobs_are_under_way(sandbox: Sandbox, client: Client) -> None:
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            open_jobs = [job for job in sandbox.jobs.values() if job.status not in {"captured", "successful"}]
            most = max(most, len(open_jobs))
            await anyio.sleep(0.005)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        results = await pipeline(trees(sandbox, 8), max_running=2)
        group.cancel_scope.cancel()
    assert [result.error for result in results] == [None] * 8
    assert most <= 2


async def test_templates_are_taken_from_an_iterator_when_there_is_room(sandbox: Sandbox, client: Client) -> None:
    taken = 0

    def one_by_one() -> Iterator[DetectionTreesSpacept]:
        nonlocal taken
        for template in trees(sandbox, 6):
            taken += 1
            yield template

    async with pipeline(one_by_one(), max_running=1) as batch:
        await anext(batch)
        assert taken <= 3
        assert batch.counts["waiting"] == 0
        rest = [result async for result in batch]
    assert (taken, len(rest)) == (6, 5)


async def test_an_asynchronous_iterator_of_templates_will_do(sandbox: Sandbox, client: Client) -> None:
    async def found() -> AsyncIterator[DetectionTreesSpacept]:
        for template in trees(sandbox, 3):
            await anyio.lowlevel.checkpoint()
            yield template

    source = found()
    results = await pipeline(source)
    assert [result.error for result in results] == [None] * 3


async def test_what_is_read_late_holds_up_the_rest_of_a_stream(
    sandbox: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("up42_async._processing.pipeline_batch.BACKLOG", 1)
    async with pipeline(iter(trees(sandbox, 6)), max_running=1) as batch:
        await anext(batch)
        await anyio.sleep(0.5)
        assert len(sandbox.executions) <= 4
        assert len([result async for result in batch]) == 5


async def test_a_pipeline_goes_on_when_its_results_are_not_read(
    sandbox: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("up42_async._processing.pipeline_batch.BACKLOG", 1)
    async with pipeline(trees(sandbox, 6), max_running=1) as batch:
        await until(lambda: batch.counts["done"] == 6)
        assert len(batch.results) == 6
        assert len([result async for result in batch]) == 6


# What goes wrong with one is its result


async def test_a_job_that_failed_is_a_result_and_gives_its_credits_back(sandbox: Sandbox, client: Client) -> None:
    sandbox.script_executions([[(0, "running"), (1, "failed"), (2, "released")]])
    results = await pipeline(trees(sandbox, 1) + trees(sandbox, 2, start=1), max_running=1)
    assert [type(result.error) for result in results] == [JobFailedError, type(None), type(None)]
    assert results[0].job is not None
    assert results[0].job.status is JobStatus.RELEASED


async def test_the_error_of_a_rejected_job_names_the_balance(sandbox: Sandbox, client: Client) -> None:
    sandbox.script_executions([[(0, "rejected")]] * 2)
    (result,) = await pipeline(trees(sandbox, 1))
    assert isinstance(result.error, JobFailedError)
    assert "is rejected" in str(result.error)
    assert f"the balance of the account is {sandbox.balance.available:g} credits" in str(result.error)
    sandbox.faults.add(faults.Status(403), path=".*balances")
    (result,) = await pipeline(trees(sandbox, 1, start=1))
    assert "the balance could not be asked for" in str(result.error)


async def test_a_job_that_is_left_to_itself_gives_its_place_up(sandbox: Sandbox, client: Client) -> None:
    sandbox.script_executions([STUCK, QUICK])
    results = await pipeline(trees(sandbox, 2), max_running=1, stalled_after=0.4)
    errors = {result.job.id: result.error for result in results if result.job is not None}
    assert sorted(type(error).__name__ for error in errors.values()) == ["NoneType", "UnfinishedJob"]


async def test_prices_above_the_limit_are_results(sandbox: Sandbox, client: Client) -> None:
    (template,) = trees(sandbox, 1)
    await template.evaluate()
    price = template.cost.credits
    results = await pipeline(trees(sandbox, 3), max_credits=2 * price)
    errors = [type(result.error) for result in results if result.error is not None]
    assert errors == [CostLimitError]
    assert len(sandbox.executions) == 2


async def test_a_file_that_does_not_come_is_named_beside_the_others(
    sandbox: Sandbox, client: Client, tmp_path: Path
) -> None:
    (first,) = await pipeline(trees(sandbox, 1))
    assert first.job is not None
    sandbox.faults.add(faults.Status(404, "xml"), path=faults.FILES)
    async with pipeline(trees(sandbox, 1, start=1), tmp_path) as batch:
        (result,) = [result async for result in batch]
        assert batch.counts["failed"] == 1
    assert result.error is not None
    assert result.error in {file.error for file in result.files}


async def test_an_answer_that_is_lost_for_good_is_uncertain(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add(faults.Status(502), path=".*/execution", times=1)
    async with pipeline(trees(sandbox, 2)) as batch:
        errors = [type(result.error) async for result in batch]
        assert batch.counts["uncertain"] == 1
    assert sorted(error.__name__ for error in errors) == ["ExecutionUncertainError", "NoneType"]


async def test_an_iterator_that_fails_is_raised_when_those_before_are_done(sandbox: Sandbox, client: Client) -> None:
    def failing() -> Iterator[DetectionTreesSpacept]:
        yield from trees(sandbox, 2)
        raise ZeroDivisionError

    done: Results = []
    with pytest.raises(ZeroDivisionError):
        await collect(pipeline(failing()), done)
    assert [result.error for result in done] == [None, None]


async def collect(batch: Any, done: Results) -> None:
    async with batch:
        async for result in batch:
            done.append(result)


async def test_what_is_no_template_is_named(sandbox: Sandbox, client: Client) -> None:
    with pytest.raises(TypeError, match="pipeline\\(\\) takes templates, not 'text'"):
        await pipeline(["text"])  # type: ignore[type-var]


async def test_without_a_client_nothing_begins(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="no UP42 client"):
        await pipeline(trees(sandbox, 1))


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({"max_running": 0}, ValueError),
        ({"max_running": "2"}, TypeError),
        ({"max_credits": -1}, ValueError),
        ({"keys": "data"}, TypeError),
        ({"retry_uncertain": True}, ValueError),
        ({"retry_failed": True}, ValueError),
    ],
)
def test_wrong_pipeline_arguments_are_refused(terms: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pipeline([], **terms)


def test_one_template_is_not_many() -> None:
    template = DetectionTreesSpacept(title="t", item="https://x.test/i")
    for wrong in (template, 3):
        with pytest.raises(TypeError, match="takes many templates"):
            pipeline(wrong)  # type: ignore[arg-type]


# Leaving early


async def test_leaving_early_keeps_what_has_a_job(sandbox: Sandbox, client: Client) -> None:
    sandbox.script_executions([STUCK] * 3)
    async with pipeline(trees(sandbox, 3), max_running=1) as batch:
        await until(lambda: len(sandbox.executions) == 1)
        await anyio.sleep(0.2)
    (result,) = batch.results
    assert isinstance(result.error, UnfinishedJob)
    assert result.job is not None
    assert [execution.job_id for execution in sandbox.executions] == [result.job.id]
    assert batch.counts["running"] == 1


async def test_leaving_before_anything_is_bought_leaves_nothing(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add(faults.Delay(30), path=".*/cost")
    async with pipeline(trees(sandbox, 2)) as batch:
        await until(lambda: sandbox.in_flight > 0)
    assert (batch.results, len(sandbox.executions)) == ([], 0)


# The same line again


async def test_the_same_line_again_goes_on_with_jobs_and_files(sandbox: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "trees.db"
    directory = tmp_path / "results"
    sandbox.script_executions([STUCK, STUCK, QUICK, QUICK])
    async with (
        open_client(sandbox) as client,
        pipeline(trees(sandbox, 4), directory, journal=journal, stalled_after=0.4, client=client) as batch,
    ):
        first = [result async for result in batch]
    assert sorted(type(result.error).__name__ for result in first) == ["NoneType"] * 2 + ["UnfinishedJob"] * 2
    for execution in sandbox.executions:
        sandbox.set_status(execution.job_id, "captured")
    fetched = sandbox.count(origin="files")
    async with open_client(sandbox) as client:
        second = await pipeline(trees(sandbox, 4), directory, journal=Journal(journal), client=client)
        assert [result.error for result in second] == [None] * 4
        assert len(sandbox.executions) == 4
        new = sandbox.count(origin="files") - fetched
        assert new > 0
        third = await pipeline(trees(sandbox, 4), directory, journal=journal, client=client)
    assert sandbox.count(origin="files") == fetched + new
    assert sorted(paths(third)) == sorted(paths(second))
    entries = Journal(journal).entries()
    assert {entry.state for entry in entries} == {"done"}
    assert sorted(path for entry in entries for path in entry.files or ()) == sorted(map(str, paths(third)))
    assert Journal(journal).spent == sum(execution.price for execution in sandbox.executions)


@pytest.mark.parametrize("harm", ["removed", "cut", "other files wanted"])
async def test_files_that_are_not_there_any_more_are_fetched_again(
    sandbox: Sandbox, client: Client, tmp_path: Path, harm: str
) -> None:
    journal = tmp_path / "trees.db"
    (first,) = await pipeline(trees(sandbox, 1), tmp_path, journal=journal)
    path = paths([first])[0]
    size = path.stat().st_size
    if harm == "removed":
        path.unlink()
    elif harm == "cut":
        os.truncate(path, 10)
    (again,) = await pipeline(trees(sandbox, 1), tmp_path, journal=journal, unpack=harm == "other files wanted")
    assert again.error is None
    assert any(one.stat().st_size == size for one in paths([again]))
    assert len(sandbox.executions) == 1


async def test_a_limit_holds_over_all_starts_of_a_pipeline(sandbox: Sandbox, tmp_path: Path) -> None:
    """Credits of a job that ended without a result may be spent again."""
    journal = tmp_path / "trees.db"
    sandbox.script_executions([[(0, "running"), (1, "captured")], [(0, "running"), (1, "released")]])
    made = []
    async with open_client(sandbox) as client:
        (template,) = await evaluate(trees(sandbox, 1), client=client)
    for _ in range(3):
        async with open_client(sandbox) as client:
            batch = pipeline(
                trees(sandbox, 4),
                journal=journal,
                max_running=1,
                max_credits=2 * template.cost.credits,
                client=client,
            )
            results = await batch
        made.append(len(sandbox.executions))
        assert batch.spent == 2 * template.cost.credits
        assert sum(isinstance(result.error, CostLimitError) for result in results) == 1
    assert made == [3, 3, 3]
    assert Journal(journal).spent == 2 * template.cost.credits


async def test_a_journal_that_cannot_be_used_keeps_everything_from_being_sent(
    sandbox: Sandbox, client: Client, tmp_path: Path
) -> None:
    journal = tmp_path / "trees.db"
    journal.write_text("something else" * 100)
    with pytest.raises(JournalError, match="is not a journal"):
        await pipeline(trees(sandbox, 2), journal=journal)
    assert len(sandbox.executions) == 0


async def test_a_full_disk_after_the_job_was_bought_is_a_line_in_the_log(
    sandbox: Sandbox, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr("up42_async._processing.journal_run.JournalRun.seen", full)
    (result,) = await pipeline(trees(sandbox, 1), journal=tmp_path / "trees.db")
    assert result.error is None
    assert "the disk is full" in caplog.text


async def test_what_is_uncertain_is_executed_again_when_asked_for(
    sandbox: Sandbox, client: Client, tmp_path: Path
) -> None:
    journal = tmp_path / "trees.db"
    sandbox.faults.add(faults.Status(502), path=".*/execution", times=1)
    (result,) = await pipeline(trees(sandbox, 1), journal=journal)
    assert isinstance(result.error, ExecutionUncertainError)
    (result,) = await pipeline(trees(sandbox, 1), journal=journal)
    assert isinstance(result.error, ExecutionUncertainError)
    (result,) = await pipeline(trees(sandbox, 1), journal=journal, retry_uncertain=True)
    assert result.error is None
    assert len(sandbox.executions) == 1


async def test_what_ended_without_a_result_is_executed_again_when_asked_for(
    sandbox: Sandbox, client: Client, tmp_path: Path
) -> None:
    journal = tmp_path / "trees.db"
    sandbox.script_executions([[(0, "running"), (1, "released")]])
    for _ in range(2):
        (result,) = await pipeline(trees(sandbox, 1), journal=journal)
        assert isinstance(result.error, JobFailedError)
    (result,) = await pipeline(trees(sandbox, 1), journal=journal, retry_failed=True)
    assert (result.error, len(sandbox.executions)) == (None, 2)


async def test_a_board_shows_the_stages(sandbox: Sandbox, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    await pipeline(trees(sandbox, 2), bar=True)
    said = capsys.readouterr().err
    assert "2/2 finished" in said
    assert said.endswith("(2 done)\n")  # stages with no template in them are left out


async def test_it_is_a_coroutine_wherever_one_is_wanted(sandbox: Sandbox, client: Client) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pipeline, trees(sandbox, 1))
    assert len(sandbox.executions) == 1
