"""Executions over a real socket, where the sandbox counts what was bought."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Final

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.http_clients import HTTP_CLIENTS, Maker
from up42_async import Client, pipeline
from up42_async._config import Limits, RetryPolicy, Timeouts
from up42_async._errors import ConnectionFailedError
from up42_async._processing import recovery
from up42_async._processing.batch import evaluate, execute
from up42_async._processing.executor import CostLimitError
from up42_async._processing.recovery import ExecutionUncertainError
from up42_async.processing_templates import DetectionChangeSimularity, DetectionTreesSpacept, Pansharpening
from up42_async.sandbox import Sandbox, faults
from up42_async.sandbox._exchange import Act, Exchange, Reply

EXECUTION: Final = "/v2/processing/processes/[^/]+/execution"
SHORT: Final = Timeouts(read=0.3)
"""How long an answer is waited for that never comes."""

ACTING: Final[dict[str, faults.Kind]] = {
    "FIN": faults.LoseAnswer(),
    "RST": faults.LoseAnswer(reset=True),
    "hang": faults.Hang(acts=True),
    "half a head": faults.RawAnswer(data=b"HTTP/1.1 201 Created\r\ncontent-", acts=True),
    "garbage": faults.RawAnswer(acts=True),
    "half a body": faults.Truncate(),
    "half a chunked body": faults.Truncate(chunked=True),
    **{f"{code}": faults.Status(code, acts=True) for code in (408, 409, 500, 502, 503, 504, 524, 542)},
    "redirect": faults.Redirect("https://elsewhere.example/", acts=True),
    "malformed redirect": faults.Redirect("http://[", acts=True),
    "large headers": faults.LargeHeaders(),
}
NOT_ACTING: Final[dict[str, faults.Kind]] = {
    "FIN": faults.DropConnection(),
    "RST": faults.DropConnection(reset=True),
    "hang": faults.Hang(acts=False),
    "garbage": faults.RawAnswer(),
    "503": faults.Status(503),
    "redirect": faults.Redirect("https://elsewhere.example/"),
    "deep JSON": faults.DeepJson(),
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for lost jobs after milliseconds; that it takes a minute in real life is tested in virtual time."""
    monkeypatch.setattr(recovery, "RECOVERY_DELAYS", (0.01, 0.02, 0.03))


def client_of(
    sandbox: Sandbox,
    *,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> Client:
    return Client(
        **sandbox.credentials,
        endpoints=sandbox.endpoints,
        workspace_id=sandbox.workspace_id,
        timeouts=timeouts or Timeouts(),
        http_client=http_client,
        retry=retry or RetryPolicy(wait_initial=0.01),
        limits=Limits(requests_per_second=1e5, burst=10**5),
    )


def patience(kind: faults.Kind) -> Timeouts | None:
    return SHORT if isinstance(kind, faults.Hang) else None


class Held:
    """Does the work at once, and answers when it is let go."""

    def __init__(self) -> None:
        self.works = threading.Event()
        self.let_go = threading.Event()

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        reply = await act()
        self.works.set()
        while not self.let_go.is_set():  # noqa: ASYNC110 - another thread lets it go
            await anyio.sleep(0.001)
        return reply


def item(sandbox: Sandbox, name: str = "one") -> str:
    return f"{sandbox.endpoints.api}/v2/assets/stac/collections/c/items/{name}"


def trees(sandbox: Sandbox, title: str = "t") -> DetectionTreesSpacept:
    return DetectionTreesSpacept(title=title, item=item(sandbox, title))


async def test_what_is_checked_priced_and_run_is_what_the_template_says(sandbox: Sandbox) -> None:
    templates = [
        trees(sandbox),
        DetectionChangeSimularity("t", item(sandbox), item(sandbox, "two")),
        Pansharpening("t", item(sandbox)),
    ]
    async with client_of(sandbox):
        jobs = [await template.execute(budget_id="budget") for template in templates[:2]]
        refused = await templates[2].evaluate()
    assert [execution.job_id for execution in sandbox.executions] == [job.id for job in jobs]
    for execution, template in zip(sandbox.executions, templates, strict=False):
        assert (execution.inputs, execution.budget_id) == (template.inputs, "budget")
        assert execution.price == template.cost.credits
    assert refused.errors == set()


async def test_validation_speaks_through_errors(sandbox: Sandbox) -> None:
    sandbox.refuse_item("one", "No red band.")
    sandbox.set_eula("detection-change-simularity", accepted=False)
    async with client_of(sandbox):
        unsuitable = await trees(sandbox, "one").evaluate()
        unlicensed = await DetectionChangeSimularity("t", item(sandbox), item(sandbox, "two")).evaluate()
        foreign = await DetectionTreesSpacept("t", "https://example.com/item").evaluate()
    assert [(error.name, error.message) for error in unsuitable.errors] == [("UnsuitableItem", "No red band.")]
    assert [error.name for error in unlicensed.errors] == ["EulaNotAccepted"]
    assert [error.name for error in foreign.errors] == ["InvalidItem"]
    assert sandbox.executions == ()


@pytest.mark.parametrize("kind", ACTING.values(), ids=ACTING)
async def test_an_answer_that_is_lost_is_paid_once_and_its_job_found(sandbox: Sandbox, kind: faults.Kind) -> None:
    fault = sandbox.faults.add(kind, path=EXECUTION, times=1)
    async with client_of(sandbox, timeouts=patience(kind)):
        template = trees(sandbox)
        job = await template.execute()
    assert fault.hits == 1
    assert [execution.job_id for execution in sandbox.executions] == [job.id]
    assert sandbox.count("POST", EXECUTION) == 1
    assert template.executions[0].recovered


@pytest.mark.parametrize("kind", NOT_ACTING.values(), ids=NOT_ACTING)
async def test_a_request_that_may_be_lost_is_not_sent_again(sandbox: Sandbox, kind: faults.Kind) -> None:
    sandbox.faults.add(kind, path=EXECUTION, times=1)
    async with client_of(sandbox, timeouts=patience(kind)):
        with pytest.raises(ExecutionUncertainError):
            await trees(sandbox).execute()
    assert (sandbox.count("POST", EXECUTION), sandbox.executions) == (1, ())


async def test_a_server_that_is_away_gets_nothing(sandbox: Sandbox, http_client: httpx.AsyncClient | None) -> None:
    async with client_of(sandbox, http_client=http_client):
        template = await trees(sandbox).evaluate()
        sandbox.stop_listening()
        with pytest.raises(ConnectionFailedError):
            await template.execute()
        sandbox.start_listening()
        assert (await template.execute()).id == sandbox.executions[0].job_id
    assert len(sandbox.executions) == 1


OWN_TRANSPORT: Final[dict[str, Maker]] = {
    "transport of the user's": lambda: httpx.AsyncClient(transport=httpx.AsyncHTTPTransport())
}


@pytest.mark.parametrize(
    "new_http_client", [*HTTP_CLIENTS.values(), *OWN_TRANSPORT.values()], ids=[*HTTP_CLIENTS, *OWN_TRANSPORT]
)
async def test_a_third_of_a_second_of_refused_connections_delays_an_execution_and_no_more(
    sandbox: Sandbox, http_client: httpx.AsyncClient | None
) -> None:
    quick = RetryPolicy(attempts=50, budget=50, wait_initial=0.05, wait_max=0.1)
    async with client_of(sandbox, retry=quick, http_client=http_client) as client, anyio.create_task_group() as group:
        template = await trees(sandbox).evaluate()
        sandbox.stop_listening()

        async def come_back() -> None:
            await anyio.sleep(0.3)
            while not client.statistics().retried:  # noqa: ASYNC110 - a busy machine may not have begun
                await anyio.sleep(0.01)
            sandbox.start_listening()

        group.start_soon(come_back)
        with anyio.fail_after(30):
            job = await template.execute()
        retried = client.statistics().retried
    assert [execution.job_id for execution in sandbox.executions] == [job.id]
    assert not template.executions[0].recovered
    assert (sandbox.count("POST", EXECUTION), retried > 0) == (1, True)


async def test_a_reset_before_anything_was_read_never_pays_twice(
    sandbox: Sandbox, http_client: httpx.AsyncClient | None
) -> None:
    async with client_of(sandbox, http_client=http_client):
        template = await trees(sandbox).evaluate()
        sandbox.reset_next_connections(1)
        try:
            ids = [(await template.execute()).id]
        except ExecutionUncertainError:  # whether a byte had left depends on the moment of the reset
            ids = []
    assert [execution.job_id for execution in sandbox.executions] == ids


async def test_three_identical_ones_whose_answers_are_lost_are_three_jobs(sandbox: Sandbox) -> None:
    sandbox.faults.add(faults.LoseAnswer(), path=EXECUTION)
    async with client_of(sandbox):
        outcomes = await execute([trees(sandbox) for _ in range(3)])
    assert {outcome.job.id for outcome in outcomes if outcome.job} == {one.job_id for one in sandbox.executions}
    assert (len(sandbox.executions), sandbox.count("POST", EXECUTION)) == (3, 3)


async def test_a_token_that_ends_in_mid_run_costs_nothing(sandbox: Sandbox) -> None:
    async with client_of(sandbox):
        template = await trees(sandbox).evaluate()
        sandbox.expire_tokens()
        await template.execute()
    assert (len(sandbox.executions), sandbox.count("POST", EXECUTION)) == (1, 2)


@pytest.mark.slow
async def test_200_at_once_keep_to_the_limit(sandbox: Sandbox) -> None:
    templates = [trees(sandbox, f"title-{number}") for number in range(200)]
    async with client_of(sandbox):
        await evaluate(templates)
        everything = sum(template.cost.credits for template in templates)
        outcomes = await execute(templates, max_credits=everything // 3)
    spent = sum(execution.price for execution in sandbox.executions)
    refused = [outcome for outcome in outcomes if isinstance(outcome.error, CostLimitError)]
    assert spent <= everything // 3
    assert len(refused) + len(sandbox.executions) == 200
    assert all(outcome.template.cost.credits > everything // 3 - spent for outcome in refused)
    assert sandbox.balance.withheld <= everything // 3


async def test_a_job_that_is_rejected_at_once_names_the_balance(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.add(faults.Rewrite(lambda job: {**job, "status": "rejected"}), path=EXECUTION)
    async with client_of(sandbox):
        job = await trees(sandbox).execute()
    assert f"job {job.id} (detection-trees-spacept) is rejected; the balance of the account is" in caplog.text


async def test_cancelled_while_it_is_sent_the_job_is_known(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, http_client: httpx.AsyncClient | None
) -> None:
    async with client_of(sandbox, http_client=http_client):
        template = await trees(sandbox).evaluate()
        sandbox.faults.add(held := Held(), path=EXECUTION)
        async with anyio.create_task_group() as group:
            group.start_soon(template.execute)
            assert await anyio.to_thread.run_sync(held.works.wait, 30)
            group.cancel_scope.cancel()
            held.let_go.set()
    assert group.cancel_scope.cancelled_caught
    (execution,) = sandbox.executions
    assert [one.job and one.job.id for one in template.executions] == [execution.job_id]
    assert execution.job_id in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_the_asyncio_way_the_job_is_known(sandbox: Sandbox, times: int) -> None:
    async with client_of(sandbox):
        template = await trees(sandbox).evaluate()
        sandbox.faults.add(held := Held(), path=EXECUTION)
        task = asyncio.create_task(template.execute())
        assert await anyio.to_thread.run_sync(held.works.wait, 30)
        for _ in range(times):
            task.cancel()
        held.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [one.job and one.job.id for one in template.executions] == [sandbox.executions[0].job_id]


async def test_leaving_early_loses_no_job(sandbox: Sandbox) -> None:
    sandbox.faults.add(faults.Delay(0.05), path=EXECUTION)
    templates = [trees(sandbox, f"title-{number}") for number in range(100)]
    async with client_of(sandbox):
        await evaluate(templates)
        async with execute(templates) as outcomes:
            async for _ in outcomes:
                break
    known = sorted(outcome.job.id for outcome in outcomes.results if outcome.job)
    assert known == sorted(execution.job_id for execution in sandbox.executions)
    assert 1 <= len(known) < 100


async def test_what_runs_shows_in_one_line_how_far_it_is(sandbox: Sandbox) -> None:
    templates = [trees(sandbox, name) for name in "ab"]
    async with client_of(sandbox):
        evaluating = evaluate(templates)
        assert repr(evaluating) == "<EvaluationBatch: 0 of 2 evaluated>"
        await evaluating
        executing = execute(templates)
        await executing
        running = pipeline(templates[:0])
        await running
    spent = sum(execution.price for execution in sandbox.executions)
    assert repr(evaluating) == "<EvaluationBatch: 2 of 2 evaluated>"
    assert repr(executing) == f"<ExecutionBatch: 2 of 2 executed, {spent:,} credits>"
    assert repr(running) == "<PipelineBatch: no templates; 0 credits spent>"
