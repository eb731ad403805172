"""Running templates: one, and many under a limit on credits."""

import copy
import logging
import pickle
import warnings
from typing import Any

import anyio
import httpx
import pytest

from tests.paying_platform import (
    ITEM,
    WORKSPACE,
    PayingPlatform,
    accepted,
    client_of,
    garbled,
    lost,
    slow,
    status,
    titles,
    trees,
)
from up42_async import Client, Job
from up42_async._errors import PermissionDeniedError, RateLimitError, StatusError
from up42_async._processing.batch import evaluate, execute
from up42_async._processing.evaluation import InvalidTemplateError
from up42_async._processing.executor import CostLimitError, ExecutionResult
from up42_async._processing.recovery import ExecutionUncertainError
from up42_async.processing_templates import DetectionTreesSpacept

pytestmark = pytest.mark.virtual_time


def price_in_title(inputs: Any) -> int:
    """Let a title such as `30 credits` say its price."""
    return int(str(inputs["title"]).split(" ")[0])


# One template


async def test_a_template_becomes_a_job(platform: PayingPlatform, client: Client) -> None:
    template = trees("Trees", client=client)
    job = await template.execute()
    assert isinstance(job, Job)
    assert (job.id, job.process_id, job.client) == ("job-1", "detection-trees-spacept", client)
    assert platform.jobs[0]["definition"]["inputs"] == template.inputs
    assert template.executions == (ExecutionResult(template, job),)


async def test_executing_evaluates_if_that_was_not_done(platform: PayingPlatform, client: Client) -> None:
    template = trees(client=client)
    await template.execute()
    assert template.cost.credits == 10
    await template.execute()
    assert (platform.count("POST .*/cost"), platform.posts) == (1, 2)


async def test_a_template_that_changed_is_evaluated_again(platform: PayingPlatform, client: Client) -> None:
    template = trees(client=client)
    await template.execute()
    template.title = "another"
    await template.execute()
    assert platform.count("POST .*/cost") == 2
    assert [job["definition"]["inputs"]["title"] for job in platform.jobs] == ["t", "another"]


async def test_a_price_for_one_account_does_not_count_for_another(client: Client) -> None:
    other_platform = PayingPlatform()
    other_platform.prices = lambda _: 99
    template = trees()
    await evaluate([template], client=client)
    async with client_of(other_platform, traced=False):
        with pytest.raises(CostLimitError):
            await template.execute(max_credits=50)
    assert other_platform.posts == 0


async def test_an_invalid_template_is_not_sent(platform: PayingPlatform, client: Client) -> None:
    platform.eula_accepted = False
    template = trees(client=client)
    for _ in range(2):
        with pytest.raises(
            InvalidTemplateError, match=r"detection-trees-spacept \('t'\) is not valid, so nothing was sent"
        ):
            await template.execute()
    assert platform.posts == 0
    platform.eula_accepted = True
    await template.evaluate()
    assert (await template.execute()).id == "job-1"


@pytest.mark.parametrize("max_credits", [10, 10.0, 11, float("inf"), None])
async def test_a_price_within_the_limit_is_paid(client: Client, max_credits: Any) -> None:
    assert (await trees(client=client).execute(max_credits=max_credits)).id == "job-1"


@pytest.mark.parametrize("max_credits", [0, 9, 9.99])
async def test_a_price_above_the_limit_is_not_paid(
    platform: PayingPlatform, client: Client, max_credits: float
) -> None:
    with pytest.raises(CostLimitError, match=r"costs 10 credits; max_credits is 9?.*Nothing was sent") as caught:
        await trees(client=client).execute(max_credits=max_credits)
    assert caught.value.cost is not None
    assert (caught.value.cost.credits, caught.value.max_credits) == (10, max_credits)
    for copied in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert (str(copied), copied.cost, copied.max_credits) == (str(caught.value), caught.value.cost, max_credits)
    assert platform.posts == 0


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("10", TypeError), (True, TypeError), ([10], TypeError), (-1, ValueError), (float("nan"), ValueError)],
)
async def test_a_limit_that_is_none_is_refused_before_anything_is_sent(
    platform: PayingPlatform, client: Client, wrong: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="max_credits must be"):
        await trees(client=client).execute(max_credits=wrong)
    with pytest.raises(error, match="max_credits must be"):
        execute([trees()], max_credits=wrong, client=client)
    assert platform.asked == []


async def test_workspace_and_budget_are_sent(platform: PayingPlatform, client: Client) -> None:
    await trees(client=client).execute(budget_id="budget & co")
    await trees(client=client, workspace_id="of the template").execute()
    assert platform.queries == [
        {"workspaceId": ["w"], "budgetId": ["budget & co"]},
        {"workspaceId": ["of the template"]},
    ]


async def test_the_users_own_workspace_is_the_last_resort(platform: PayingPlatform) -> None:
    async with client_of(platform, workspace_id=None):
        await trees().execute()
        await trees().execute()
    assert [job["workspaceID"] for job in platform.jobs] == [WORKSPACE] * 2
    assert platform.count(".*userinfo") == 1


async def test_executing_needs_a_client() -> None:
    with pytest.raises(RuntimeError, match="no UP42 client"):
        await trees().execute()
    with pytest.raises(RuntimeError, match="no UP42 client"):
        execute([trees()])


async def test_an_execution_is_either_a_job_or_an_error(client: Client) -> None:
    job = await trees(client=client).execute()
    with pytest.raises(ValueError, match="either a job or an error"):
        ExecutionResult(trees())
    with pytest.raises(ValueError, match="either a job or an error"):
        ExecutionResult(trees(), job, KeyError())


# Cancelled


async def test_cancelled_before_it_is_sent_nothing_is_bought(platform: PayingPlatform, client: Client) -> None:
    template = trees(client=client)
    with anyio.move_on_after(0.25) as scope:  # the login took 0.1 s, the process another
        await template.execute()
    assert scope.cancelled_caught
    assert (platform.posts, template.executions) == (0, ())
    assert anyio.current_time() == pytest.approx(0.25, abs=0.01)


async def test_cancelled_after_it_was_sent_the_job_is_kept(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    platform.handlers.append(slow(0.5))
    template = await trees("Trees", client=client).evaluate()
    started = anyio.current_time()
    notes: list[str] = []
    with anyio.move_on_after(0.2) as scope:
        try:
            await template.execute()
        except anyio.get_cancelled_exc_class() as cancelled:
            notes = cancelled.__notes__
            raise
    assert scope.cancelled_caught
    assert anyio.current_time() - started == pytest.approx(0.6, abs=0.05)
    message = "cancelled while executing detection-trees-spacept ('Trees'), which had made job job-1"
    assert (notes, caplog.messages) == ([message], [message])
    assert [execution.job and execution.job.id for execution in template.executions] == ["job-1"]


async def test_cancelled_and_without_an_answer_the_doubt_is_kept(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    platform.handlers.append(slow(1000))
    template = await trees("Trees", client=client).evaluate()
    started = anyio.current_time()
    with anyio.move_on_after(0.2):
        await template.execute()
    assert anyio.current_time() - started == pytest.approx(5.2, abs=0.05)
    (execution,) = template.executions
    assert isinstance(execution.error, ExecutionUncertainError)
    assert execution.job is None
    (message,) = caplog.messages
    assert (
        "cancelled while executing: the response to executing detection-trees-spacept ('Trees'), sent at 2026-03-01 "
        in message
    )


async def test_cancelled_while_it_looks_for_the_job_the_doubt_is_kept(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(status(502, acted=True))
    platform.listed_after = 1000
    template = await trees(client=client).evaluate()
    with anyio.move_on_after(10):
        await template.execute()
    (execution,) = template.executions
    assert isinstance(execution.error, ExecutionUncertainError)


@pytest.mark.parametrize("handler", [status(429, retry_after="30"), status(401)], ids=["429", "401"])
async def test_cancelled_after_it_was_refused_nothing_was_bought(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(handler)
    platform.latency = 10  # so that the login after 401 is what is cancelled
    with anyio.move_on_after(15) as scope:
        await template.execute()
    assert scope.cancelled_caught
    assert template.executions == ()
    assert caplog.messages == []


async def test_an_identical_execution_that_waits_can_be_cancelled(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(slow(20))
    template = await trees(client=client).evaluate()
    async with anyio.create_task_group() as group:
        group.start_soon(template.execute)
        await anyio.sleep(1)
        with anyio.move_on_after(1) as scope:
            await template.execute()
        assert scope.cancelled_caught
    assert platform.posts == 1
    assert (await template.execute()).id == "job-2"


# Many templates


async def test_many_templates_become_jobs_in_the_order_given(platform: PayingPlatform, client: Client) -> None:
    templates = [trees(title) for title in titles(200)]
    outcomes = await execute(templates, client=client)
    assert [outcome.template for outcome in outcomes] == templates
    for outcome in outcomes:
        assert outcome.job is not None
        assert outcome.error is None
        assert outcome.job.definition["inputs"] == outcome.template.inputs
    assert len({outcome.job.id for outcome in outcomes if outcome.job}) == platform.posts == 200
    assert client.statistics().requests == 2 + 400 + 200


async def test_each_outcome_can_be_had_as_soon_as_it_is_known(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.extend([slow(50), accepted, accepted])
    templates = [trees(title) for title in titles(3)]
    at: dict[str, float] = {}
    async with execute(templates, client=client) as outcomes:
        async for outcome in outcomes:
            at[outcome.template.title] = anyio.current_time()
    assert sorted(at) == list(titles(3))
    assert sorted(moment > 50 for moment in at.values()) == [False, False, True]
    assert outcomes.results == sorted(outcomes.results, key=lambda one: one.template.title)


async def test_a_budget_is_sent_for_each(platform: PayingPlatform, client: Client) -> None:
    await execute([trees("a"), trees("b")], budget_id="b-1", client=client)
    assert [query["budgetId"] for query in platform.queries] == [["b-1"], ["b-1"]]


async def test_one_error_is_the_outcome_of_one_template(platform: PayingPlatform, client: Client) -> None:
    class Broken(DetectionTreesSpacept):
        @property
        def inputs(self) -> dict[str, Any]:
            raise KeyError("band")

    class Missing(DetectionTreesSpacept):
        process_id = "missing"

    platform.describe = lambda process_id: None if process_id == "missing" else {}
    platform.handlers.append(status(403))
    good = trees("good")
    refused, broken, missing, fine = await execute(
        [trees("refused"), Broken("b", ITEM), Missing("m", ITEM), good], client=client
    )
    kinds = [type(outcome.error) for outcome in (refused, broken, missing, fine)]
    assert sorted(kinds, key=str) == sorted(
        [PermissionDeniedError, KeyError, InvalidTemplateError, type(None)], key=str
    )
    assert kinds[1:3] == [KeyError, InvalidTemplateError]
    for outcome in (refused, broken, missing, fine):
        assert (outcome.job is None) != (outcome.error is None)


async def test_the_sum_of_prices_never_passes_the_limit(platform: PayingPlatform, client: Client) -> None:
    platform.prices = price_in_title
    templates = [trees(f"{number % 7 + 1} credits, {number}") for number in range(200)]
    outcomes = await execute(templates, max_credits=100, client=client)
    spent = sum(outcome.template.cost.credits for outcome in outcomes if outcome.job)
    refused = [outcome for outcome in outcomes if outcome.job is None]
    assert spent <= 100
    assert all(isinstance(outcome.error, CostLimitError) for outcome in refused)
    assert all(outcome.template.cost.credits > 100 - spent for outcome in refused)
    assert platform.posts == len(outcomes) - len(refused)


async def test_something_dear_does_not_stop_something_cheap(platform: PayingPlatform, client: Client) -> None:
    platform.prices = price_in_title
    dear, cheap = await execute([trees("101 credits"), trees("5 credits")], max_credits=100, client=client)
    assert isinstance(dear.error, CostLimitError)
    assert str(dear.error) == (
        "detection-trees-spacept ('101 credits') costs 101 credits; max_credits is 100. Nothing was sent"
    )
    assert cheap.job is not None


async def test_the_cost_limit_error_says_how_many_credits_are_left(platform: PayingPlatform, client: Client) -> None:
    platform.prices = price_in_title
    outcomes = await execute([trees("60 credits"), trees("60 credits ")], max_credits=100, client=client)
    (error,) = [outcome.error for outcome in outcomes if outcome.error]
    assert "max_credits is 100, of which 40 are left" in str(error)
    (dear,) = await execute([trees("12345678 credits")], max_credits=1234567.5, client=client)
    assert "costs 12,345,678 credits; max_credits is 1,234,567.5. Nothing" in str(dear.error)


async def test_credits_that_were_not_spent_let_a_waiting_one_run(platform: PayingPlatform, client: Client) -> None:
    platform.prices = price_in_title
    platform.handlers.append(status(403))
    outcomes = await execute([trees("60 credits"), trees("60 credits too")], max_credits=100, client=client)
    assert sorted(type(outcome.error).__name__ for outcome in outcomes) == ["NoneType", "PermissionDeniedError"]
    assert platform.posts == 2


async def test_credits_that_may_be_spent_are_not_given_to_another(platform: PayingPlatform, client: Client) -> None:
    platform.prices = price_in_title
    platform.handlers.append(lost(httpx.ReadError, acted=False))
    outcomes = await execute([trees("60 credits"), trees("60 credits too")], max_credits=100, client=client)
    assert sorted(type(outcome.error).__name__ for outcome in outcomes) == ["CostLimitError", "ExecutionUncertainError"]
    assert platform.posts == 1


async def test_a_job_that_costs_more_than_its_price_counts_with_what_it_costs(
    platform: PayingPlatform, client: Client
) -> None:
    platform.prices = price_in_title
    platform.handlers.append(garbled(lambda job: {**job, "creditConsumption": {"credits": 90}}))
    first = await trees("60 credits", client=client).evaluate()
    second = trees("41 credits", client=client)  # waits until the first one is a job
    dearer, refused = await execute([first, second], max_credits=100)
    assert dearer.job is not None
    assert dearer.job.credits == 90
    assert "max_credits is 100, of which 10 are left" in str(refused.error)


async def test_free_executions_always_run(platform: PayingPlatform, client: Client) -> None:
    platform.prices = lambda _: 0
    outcomes = await execute([trees(title) for title in titles(5)], max_credits=0, client=client)
    assert all(outcome.job for outcome in outcomes)


async def test_each_template_uses_its_own_client(client: Client) -> None:
    other_platform = PayingPlatform()
    async with client_of(other_platform, traced=False) as other:
        await execute([trees("a", client=client), trees("b", client=other)])
    assert [job["definition"]["inputs"]["title"] for job in other_platform.jobs] == ["b"]


# Leaving early


async def test_leaving_early_stops_what_has_not_begun_and_waits_for_what_has(
    platform: PayingPlatform, client: Client
) -> None:
    platform.handlers.extend([accepted, *(slow(1) for _ in range(19)), *(accepted for _ in range(500))])
    templates = [trees(title) for title in titles(300)]
    await evaluate(templates, client=client)
    async with execute(templates, client=client) as outcomes:
        async for _ in outcomes:
            break
    assert 1 <= platform.posts < 100
    assert sorted(outcome.job.id for outcome in outcomes.results if outcome.job) == sorted(platform.job_ids)
    posts = platform.posts
    await anyio.sleep(100)
    assert platform.posts == posts
    assert len([outcome async for outcome in outcomes]) == len(outcomes.results) - 1


async def test_an_error_of_the_body_leaves_as_itself_and_loses_no_job(platform: PayingPlatform, client: Client) -> None:
    templates = [trees(title) for title in titles(60)]
    handle = execute(templates, client=client)

    async def fail() -> None:
        async with handle as outcomes:
            async for _ in outcomes:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert sorted(outcome.job.id for outcome in handle.results if outcome.job) == sorted(platform.job_ids)
    assert platform.posts < 60


async def test_a_cancelled_batch_names_the_jobs_it_made(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    platform.handlers.extend([accepted] * 10 + [slow(3)] * 100)
    templates = [trees(title) for title in titles(200)]
    await evaluate(templates, client=client)
    handle = execute(templates, client=client)
    notes: list[str] = []
    with anyio.move_on_after(1):
        try:
            await handle
        except anyio.get_cancelled_exc_class() as cancelled:
            notes = cancelled.__notes__
            raise
    assert sorted(outcome.job.id for outcome in handle.results if outcome.job) == sorted(platform.job_ids)
    assert any(
        note.startswith(f"execute() was cut short when it had made {platform.posts} jobs: job-") for note in notes
    )
    assert all(id_ in caplog.text for id_ in platform.job_ids)
    kept = [execution.job.id for template in templates for execution in template.executions if execution.job]
    assert sorted(kept) == sorted(platform.job_ids)


async def test_a_batch_that_made_nothing_is_cancelled_in_silence(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.move_on_after(0.1):
        await execute([trees()], client=client)
    assert caplog.messages == []


async def test_a_batch_in_doubt_says_so_on_the_handle(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(slow(1000))
    template = await trees(client=client).evaluate()
    async with execute([template], client=client) as outcomes:
        await anyio.sleep(1)
    (outcome,) = outcomes.results
    assert isinstance(outcome.error, ExecutionUncertainError)


async def test_the_caller_goes_on_while_the_work_does(platform: PayingPlatform, client: Client) -> None:
    async with execute([trees(title) for title in titles(10)], client=client) as outcomes:
        await anyio.sleep(60)
        assert (len(outcomes.results), platform.posts) == (10, 10)


async def test_a_deadline_of_the_caller_inside_the_block_is_the_callers(
    platform: PayingPlatform, client: Client
) -> None:
    platform.handlers.append(slow(20))
    async with execute([trees()], client=client) as outcomes:
        with pytest.raises(TimeoutError), anyio.fail_after(5):
            await anext(outcomes)
        assert (await anext(outcomes)).job is not None
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)


# Misuse


async def test_a_batch_that_was_begun_cannot_be_begun_again(client: Client) -> None:
    handle = execute([trees()], client=client)
    assert len(await handle) == 1
    with pytest.raises(RuntimeError, match=r"this execute\(\.\.\.\) was begun already"):
        await handle
    with pytest.raises(RuntimeError, match="was begun already"):
        async with handle:
            pass


async def test_iterating_without_the_block_says_how(client: Client) -> None:
    handle = execute([trees()], client=client)
    with pytest.raises(RuntimeError, match=r"`async with execute\(\.\.\.\) as batch:`"):
        async for _ in handle:
            pass
    await handle


async def test_forgetting_to_await_is_noticed(client: Client) -> None:
    with pytest.warns(RuntimeWarning, match=r"execute\(\.\.\.\) was never awaited"):
        execute([trees()], client=client)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError):
            execute([3], client=client)  # type: ignore[type-var]


async def test_a_closed_client_is_the_outcome_of_its_templates(platform: PayingPlatform) -> None:
    client = client_of(platform, traced=False)
    templates = await evaluate([trees(title) for title in titles(2)], client=client)
    await client.aclose()
    outcomes = await execute(templates, client=client)
    assert all(isinstance(outcome.error, RuntimeError) for outcome in outcomes)


class Fatal(BaseException):
    """What ends a program."""


async def test_what_ends_a_program_in_mid_execution_leaves_the_doubt(
    platform: PayingPlatform, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_: object) -> None:
        raise Fatal

    platform.handlers.append(status(502, acted=True))
    template = await trees(client=client).evaluate()
    monkeypatch.setattr("up42_async._processing.recovery.JobSearch.look", look)
    with pytest.raises(Fatal) as caught:
        await template.execute()
    assert caught.value.__notes__[0].startswith("cancelled while executing: the response to executing")
    assert isinstance(template.executions[0].error, ExecutionUncertainError)


async def test_what_ends_a_program_leaves_as_itself(platform: PayingPlatform, client: Client) -> None:
    def prices(_: Any) -> Any:
        raise Fatal

    platform.prices = prices
    with pytest.raises(Fatal):
        await execute([trees()], client=client)


# Limits of the platform


async def test_too_many_requests_are_waited_for_and_sent_again(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(status(429, retry_after="7"))
    template = await trees(client=client).evaluate()
    started = anyio.current_time()
    assert (await template.execute()).id == "job-1"
    assert anyio.current_time() - started >= 7
    assert platform.posts == 2


async def test_too_many_requests_for_too_long_is_an_ordinary_error(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(status(429, retry_after="3600"))
    with pytest.raises(RateLimitError):
        await trees(client=client).execute()
    assert platform.posts == 1


@pytest.mark.parametrize("code", [400, 402, 403, 404, 422])
async def test_a_refusal_is_an_ordinary_error(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    caplog.set_level(logging.WARNING)
    platform.handlers.append(status(code, content={"title": "No", "detail": "not today"}))
    with pytest.raises(StatusError, match="not today"):
        await trees(client=client).execute()
    assert (platform.posts, caplog.messages) == (1, [])
