"""When a price is asked again, what says that nothing was executed, and which job may be taken for a lost one."""

import copy
import datetime as dt
import logging
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import attrs
import httpx
import pytest
from pystac import Item

from tests.paying_platform import (
    ITEM,
    PayingPlatform,
    ReceivedExecution,
    accepted,
    client_of,
    garbled,
    lost,
    slow,
    status,
    trees,
    unsent,
)
from up42_async import Client, Polling
from up42_async._errors import JournalError, StatusError, UnexpectedResponseError
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest
from up42_async._processing import execution
from up42_async._processing.batch import evaluate, execute
from up42_async._processing.execution import NOT_EXECUTED
from up42_async._processing.executor import CostLimitError
from up42_async._processing.recovery import ExecutionUncertainError, same_inputs
from up42_async._storage.stac import Origin
from up42_async.processing_templates import DetectionTreesSpacept, MultiItemJobTemplate, SimularityJobTemplate

pytestmark = pytest.mark.virtual_time


def cost(platform: PayingPlatform, credits: int) -> None:
    platform.prices = lambda _: credits


# The price


@pytest.mark.parametrize(("later", "asked"), [(59, 1), (61, 2)])
async def test_a_price_counts_for_a_minute(platform: PayingPlatform, client: Client, later: float, asked: int) -> None:
    template = await trees(client=client).evaluate()
    await anyio.sleep(later)
    cost(platform, 9)
    await template.execute()
    assert platform.count("POST .*/cost") == asked
    assert platform.count("POST .*/validation") == 1
    assert template.cost.credits == (10 if asked == 1 else 9)


async def test_under_a_limit_the_price_is_asked_by_the_call_itself(platform: PayingPlatform, client: Client) -> None:
    template = await trees(client=client).evaluate()
    cost(platform, 9)
    await template.execute(max_credits=9)
    assert platform.count("POST .*/cost") == 2
    await trees("another", client=client).execute(max_credits=9)
    assert platform.count("POST .*/cost") == 3


@pytest.mark.parametrize("max_credits", [None, 50, 5000])
async def test_a_price_that_rose_is_an_error_and_the_new_one_is_known(
    platform: PayingPlatform, client: Client, max_credits: float | None
) -> None:
    template = await trees(client=client).evaluate()
    await anyio.sleep(61)
    cost(platform, 100)
    message = r"costs 100 credits now, and was evaluated at 10\. Nothing was sent"
    with pytest.raises(CostLimitError, match=message) as caught:
        await template.execute(max_credits=max_credits)
    assert (template.cost.credits, platform.posts) == (100, 0)
    assert (caught.value.cost, caught.value.evaluated and caught.value.evaluated.credits) == (template.cost, 10)
    assert (await template.execute(max_credits=100)).id == "job-1"


async def test_a_price_that_rose_in_the_last_seconds_is_noticed_under_a_limit(
    platform: PayingPlatform, client: Client
) -> None:
    templates = [await trees(f"{n}", client=client).evaluate() for n in range(5)]
    cost(platform, 100)
    results = await execute(templates, max_credits=50)
    assert [type(result.error) for result in results] == [CostLimitError] * 5
    assert platform.posts == 0


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301
async def test_a_template_that_travelled_remembers_the_price_it_was_evaluated_at(
    platform: PayingPlatform, client: Client, travel: Callable[[Any], Any]
) -> None:
    (evaluated,) = await evaluate([trees()], client=client)
    cost(platform, 100)
    (result,) = await execute([travel(evaluated)], client=client)
    assert isinstance(result.error, CostLimitError)
    assert "was evaluated at 10" in str(result.error)


async def test_a_price_that_waited_for_the_budget_is_asked_again(platform: PayingPlatform, client: Client) -> None:
    """The second template waits until the first gives its credits back; its price has risen meanwhile."""

    async def rejected(execution: Any) -> httpx.Response:
        await anyio.sleep(20)
        cost(platform, 60)
        response: httpx.Response = await status(422)(execution)
        return response

    cost(platform, 50)
    platform.handlers.append(rejected)
    results = await execute([trees("one"), trees("two")], max_credits=90, client=client)
    errors = {type(result.error): str(result.error) for result in results}
    assert errors.keys() == {StatusError, CostLimitError}
    assert "costs 60 credits now" in errors[CostLimitError]
    assert platform.jobs == []


async def test_evaluating_many_tells_what_a_run_would_cost(platform: PayingPlatform, client: Client) -> None:
    batch = evaluate([trees("one"), trees("two")], client=client)
    assert batch.credits == 0
    await batch
    assert batch.credits == 20
    assert "20 credits" in batch._repr_html_()
    assert "<td>10</td>" in batch._repr_html_()
    assert repr(batch) == "<EvaluationBatch: 2 of 2 evaluated>"
    batch.results[0].title = "another"
    assert "<p>2 of 2 evaluated: 10 credits</p>" in batch._repr_html_()
    assert "<td>changed since it was evaluated</td>" in batch._repr_html_()
    platform.eula_accepted = False
    async with client_of(platform, traced=False) as other:  # `client` knows that the EULA was accepted
        invalid = evaluate([trees("three", client=other)])
        await invalid
    assert invalid.credits == 0
    assert "EulaNotAccepted" in invalid._repr_html_()


# What says that nothing was executed


@pytest.mark.parametrize("code", [400, 402, 403, 404, 405, 413, 415, 422])
async def test_a_refusal_says_that_nothing_was_executed(platform: PayingPlatform, client: Client, code: int) -> None:
    platform.handlers.append(status(code, content={"code": code, "message": "no"}))
    template = trees(client=client)
    with pytest.raises(StatusError):
        await template.execute()
    assert (platform.posts, platform.count("GET processing/jobs"), template.executions) == (1, 0, ())
    assert code in NOT_EXECUTED


@pytest.mark.parametrize("code", sorted(NOT_EXECUTED))
async def test_a_refusal_that_names_a_job_was_executed(platform: PayingPlatform, client: Client, code: int) -> None:
    async def refused_all_the_same(execution: Any) -> httpx.Response:
        await execution.leave()
        response: httpx.Response = await execution.answer(code, execution.act())
        return response

    platform.handlers.append(refused_all_the_same)
    assert (await trees(client=client).execute()).id == "job-1"
    assert (platform.posts, len(platform.jobs)) == (1, 1)


@pytest.mark.parametrize("code", [300, 304, 406, 408, 409, 410, 418, 425, 431, 451, 499, 500, 503, 530])
async def test_any_other_status_is_a_lost_answer(platform: PayingPlatform, client: Client, code: int) -> None:
    platform.handlers.append(status(code, acted=True))
    assert (await trees(client=client).execute()).id == "job-1"
    assert platform.posts == 1
    platform.handlers.append(status(code))
    with pytest.raises(ExecutionUncertainError):
        await trees("another", client=client).execute()
    assert platform.posts == 2


# Which job may be the lost one


async def test_two_clients_of_one_account_never_share_a_job(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.extend([slow(3), lost(httpx.ReadError, acted=False)])
    async with client_of(platform) as other:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            for one in (client, other):
                group.start_soon(keep, execute([trees()], client=one), results)
                await anyio.sleep(1)
    assert [result.job and result.job.id for result in results] == ["job-1", None]
    assert isinstance(results[1].error, ExecutionUncertainError)


async def keep(work: Any, results: list[Any]) -> None:
    results.extend(await work)


async def test_a_client_that_is_closed_leaves_its_jobs_taken(platform: PayingPlatform, client: Client) -> None:
    async with client_of(platform) as first:
        await trees(client=first).execute()
    platform.handlers.append(lost(httpx.ReadError, acted=False))
    with pytest.raises(ExecutionUncertainError, match="no job that could be it was seen"):
        await trees(client=client).execute()


async def test_a_named_job_counts_like_any_other_candidate(platform: PayingPlatform, client: Client) -> None:
    """An answer that names a job but cannot be read, and that belongs to another execution."""
    first = await trees("first", client=client).execute()
    old = {**platform.jobs[0], "jobID": "job-old", "created": "2026-01-01T00:00:00Z"}
    platform.jobs.insert(0, old)
    for named in (first.id, "job-old"):
        platform.handlers.append(garbled(partial(naming, named)))
        made = await trees(f"second {named}", client=client).execute()
        assert made.id not in {first.id, "job-old"}


def naming(job_id: str, _: dict[str, Any]) -> dict[str, Any]:
    return {"jobID": job_id}


async def test_a_job_from_the_future_proves_that_clocks_disagree(platform: PayingPlatform, client: Client) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(lost(httpx.ReadError, acted=False))
    platform.listed_after = -3600
    await add_job(platform, template.inputs, ahead=2400)
    with pytest.raises(ExecutionUncertainError, match="it could be job-1") as caught:
        await template.execute()
    assert caught.value.candidates == ("job-1",)
    assert not client._service(execution.ExecutionRegistry).is_free("job-1")  # no other execution may take it


async def add_job(platform: PayingPlatform, inputs: dict[str, Any], *, ahead: float = 0) -> None:
    """Let another program make a job."""
    path = "/v2/processing/processes/detection-trees-spacept/execution"
    request = httpx.Request("POST", f"https://x.test{path}?workspaceId=w")
    job = platform.make_job(request, inputs=inputs)
    moment = platform.now() + dt.timedelta(seconds=ahead)
    job["created"] = moment.isoformat().replace("+00:00", "Z")


async def test_jobs_of_the_same_moment_are_named_and_stay_free_for_others(
    platform: PayingPlatform, client: Client
) -> None:
    template = await trees(client=client).evaluate()
    other = {**template.inputs, "extra": "more than was sent"}
    await add_job(platform, other)
    platform.handlers.append(lost(httpx.ReadError, acted=False))
    with pytest.raises(ExecutionUncertainError, match="it could be job-1") as caught:
        await template.execute()
    assert caught.value.candidates == ("job-1",)
    assert client._service(execution.ExecutionRegistry).is_free("job-1")


@pytest.mark.parametrize("hangs", [True, False])
async def test_one_deadline_holds_over_the_whole_search(
    platform: PayingPlatform, client: Client, *, hangs: bool
) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(lost(httpx.ReadError, acted=False))

    async def stuck(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/jobs"):
            await anyio.sleep(1000 if hangs else 0)
            return platform.answer(503)
        response: httpx.Response = await handle(request)
        return response

    handle, platform.handle_async_request = platform.handle_async_request, stuck  # type: ignore[method-assign]
    began = anyio.current_time()
    with pytest.raises(ExecutionUncertainError):
        await template.execute()
    assert anyio.current_time() - began == pytest.approx(60, abs=1)


@pytest.mark.parametrize("recover", [0.5, 6, 300])
async def test_how_long_is_searched_is_a_setting(platform: PayingPlatform, recover: float) -> None:
    http_client = httpx.AsyncClient(transport=platform)
    async with Client("u", "p", workspace_id="w", http_client=http_client, polling=Polling(recover=recover)) as client:
        template = await trees(client=client).evaluate()
        platform.handlers.append(lost(httpx.ReadError, acted=False))
        began = anyio.current_time()
        with pytest.raises(ExecutionUncertainError):
            await template.execute()
    assert anyio.current_time() - began == pytest.approx(min(recover, 60), rel=0.2, abs=1.5)


async def test_a_look_may_take_longer_than_the_fast_clock_of_a_sandbox_allows_a_search(
    platform: PayingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/jobs"):
            await anyio.sleep(0.7)
        response: httpx.Response = await handle(request)
        return response

    handle = platform.handle_async_request
    monkeypatch.setattr(platform, "handle_async_request", busy)
    http_client = httpx.AsyncClient(transport=platform)
    async with Client("u", "p", workspace_id="w", http_client=http_client, polling=Polling(recover=0.1)) as client:
        template = await trees(client=client).evaluate()
        platform.handlers.append(lost(httpx.ReadError, acted=True))
        assert (await template.execute()).id == "job-1"


SENT = {"title": " one ", "item": "http://x.test/i", "items": ["http://x.test/j"], "n": 1}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"title": "one"}, True),
        ({"item": "https://x.test/i", "items": ["https://x.test/j"]}, True),
        ({"greyWeights": []}, True),
        ({"budget": None}, True),
        ({"note": ""}, True),
        ({"sensitivity": 2}, True),
        ({"sensitivity": 3}, False),
        ({"count": 0}, False),
        ({"flag": False}, False),
        ({"extra": "x"}, False),
        ({"title": "two"}, False),
        ({"item": " http://x.test/i"}, False),
        ({"items": []}, False),
        ({"n": 2}, False),
    ],
)
def test_inputs_are_compared_as_up42_may_have_completed_them(change: dict[str, Any], *, same: bool) -> None:
    assert same_inputs(SENT, {**SENT, **change}) is same


def test_inputs_that_lack_something_or_are_none_are_others() -> None:
    assert not same_inputs(SENT, {"title": "one"})
    assert not same_inputs(SENT, None)
    assert not same_inputs(SENT, [])


# Equal executions, one at a time


async def test_equal_executions_of_two_event_loops_go_one_at_a_time() -> None:
    lock = execution.KeyedLock()
    busy: list[int] = []
    most: list[int] = []

    async def work() -> None:
        async with lock.hold("key"):
            busy.append(1)
            most.append(len(busy))
            await anyio.sleep(0.1)
            busy.pop()

    threads = [threading.Thread(target=anyio.run, args=(work,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert not lock._locks


async def test_the_price_is_that_of_the_inputs_that_are_sent(platform: PayingPlatform, client: Client) -> None:
    """A template that changes while it waits for an equal one is sent, and priced, as it was."""
    first, second = trees("large"), trees("large")
    platform.prices = lambda inputs: 50 if inputs["title"] == "large" else 10

    async def changed_meanwhile(execution: ReceivedExecution) -> httpx.Response:
        first.title = second.title = "small"
        await anyio.sleep(10)  # longer than a price counts under a limit
        return await accepted(execution)

    platform.handlers.append(changed_meanwhile)
    results = await execute([first, second], max_credits=65, client=client)
    assert [type(result.error) for result in results if result.job is None] == [CostLimitError]
    assert [job["definition"]["inputs"]["title"] for job in platform.jobs] == ["large"]


# What leaves a trace, and what is checked


async def test_one_line_tells_what_is_about_to_be_bought(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "up42_async")
    platform.handlers.append(status(429))
    await trees("My title", client=client).execute()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert lines == ["executing detection-trees-spacept ('My title') in workspace w"]


@pytest.mark.parametrize(("budget_id", "error"), [("", ValueError), ("..", ValueError), (3, TypeError)])
async def test_the_id_of_a_budget_is_checked(
    platform: PayingPlatform, client: Client, budget_id: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="budget_id"):
        await trees(client=client).execute(budget_id=budget_id)
    assert platform.posts == 0


@pytest.mark.parametrize("workspace_id", ["..", "a\nb", "w" * 300])
async def test_the_id_of_a_workspace_is_checked(platform: PayingPlatform, client: Client, workspace_id: str) -> None:
    template = trees(client=client)
    template.workspace_id = workspace_id
    with pytest.raises(ValueError, match="workspace_id"):
        await template.execute()
    assert platform.posts == 0


async def test_what_must_be_done_before_sending_keeps_the_request_back(
    platform: PayingPlatform, client: Client
) -> None:
    async def full() -> None:
        raise JournalError("the disk is full")

    for one in (client, client_of(platform, traced=False)):
        state = SendState(before_send=full)
        path = "/v2/processing/processes/x/execution"
        with pytest.raises(JournalError):
            await one._session.call(ApiRequest(method="POST", path=path, idempotent=False), state=state)
        assert (platform.posts, state.sent) == (0, False)
        await one.aclose()


async def test_it_is_done_again_for_a_request_that_is_sent_again(platform: PayingPlatform, client: Client) -> None:
    times: list[float] = []

    async def note() -> None:
        times.append(anyio.current_time())
        assert platform.posts == max(0, len(times) - 2)

    platform.handlers.extend([unsent(httpx.ConnectError), status(429), accepted])
    state = SendState(before_send=note)
    path = "/v2/processing/processes/x/execution"
    request = ApiRequest(method="POST", path=path, query="workspaceId=w", json={"inputs": {}}, idempotent=False)
    await client._session.call(request, state=state)
    assert len(times) == 3  # also for the one that could not connect: whether a transport tells is known only after


# Workspaces, fingerprints and clients of items


async def test_the_workspace_that_was_used_shows_and_is_not_taken_for_a_given_one(
    platform: PayingPlatform, client: Client
) -> None:
    template = trees()
    before = template.fingerprint
    await execute([template], client=client)
    assert (template.workspace_id, template.fingerprint) == ("w", before)
    assert copy.copy(template).fingerprint == before
    async with client_of(platform, workspace_id="v") as other:
        await execute([template], client=other)
    assert (template.workspace_id, template.fingerprint) == ("v", before)
    given = trees(workspace_id="v")
    assert given.fingerprint != before
    await execute([given], client=client)
    assert given.workspace_id == "v"
    assert [query["workspaceId"] for query in platform.queries] == [["w"], ["v"], ["v"]]


def test_a_fingerprint_is_what_makes_executions_equal() -> None:
    assert trees().fingerprint == trees().fingerprint
    assert len(trees().fingerprint) == 64
    assert len({trees().fingerprint, trees("u").fingerprint, trees(workspace_id="w").fingerprint}) == 3


def item_of(client: Client | None, name: str = "i") -> Item:
    item = Item(name, None, None, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), {})
    item.set_self_href(f"https://api.up42.com/v2/assets/stac/collections/c/items/{name}")
    vars(item)["up42_origin"] = Origin(client)
    return item


class Compare(SimularityJobTemplate):
    process_id = "compare"


class Merge(MultiItemJobTemplate):
    process_id = "merge"


async def test_a_template_without_a_client_uses_the_one_its_items_came_from(
    platform: PayingPlatform, client: Client
) -> None:
    other_platform = PayingPlatform()
    async with client_of(other_platform, traced=False) as current:
        await DetectionTreesSpacept(title="t", item=item_of(client)).execute()
        await Merge(title="t", items=[item_of(None), item_of(client)]).evaluate()
        await execute([DetectionTreesSpacept(title="u", item=item_of(client))])
        assert (platform.posts, other_platform.posts) == (2, 0)
        await DetectionTreesSpacept(title="t", item=item_of(client), client=current).execute()
        await execute([DetectionTreesSpacept(title="t", item=item_of(client))], client=current)
        await DetectionTreesSpacept(title="t", item=item_of(None)).execute()
        assert (platform.posts, other_platform.posts) == (2, 3)
        mixed = Compare(title="t", source_item=item_of(client), reference_item=item_of(current))
        with pytest.raises(ValueError, match="came from two clients; say which one to use with client="):
            await mixed.execute()
        with pytest.raises(ValueError, match="came from two clients"):
            execute([mixed])


# Numbers of other libraries


@attrs.frozen
class NotJson:
    """What no JSON has."""


async def test_numbers_of_numpy_are_sent_as_plain_ones(platform: PayingPlatform, client: Client) -> None:
    numpy = pytest.importorskip("numpy")

    class Numbers(DetectionTreesSpacept):
        @property
        def inputs(self) -> dict[str, Any]:
            return {**super().inputs, "whole": numpy.int64(3), "real": numpy.float32(0.5)}

    await Numbers(title="t", item=ITEM, client=client).execute(max_credits=numpy.int64(100))
    sent = platform.jobs[0]["definition"]["inputs"]
    assert (sent["whole"], sent["real"]) == (3, 0.5)


async def test_inputs_that_are_no_json_are_refused_by_name(client: Client) -> None:
    class Odd(DetectionTreesSpacept):
        @property
        def inputs(self) -> dict[str, Any]:
            return {**super().inputs, "odd": NotJson()}

    with pytest.raises(TypeError, match=r"inputs must be JSON: NotJson\(\) is a NotJson"):
        await Odd(title="t", item=ITEM, client=client).evaluate()


async def test_a_price_with_hundreds_of_digits_is_no_price(platform: PayingPlatform, client: Client) -> None:
    platform.prices = lambda _: b'{"pricingStrategy": "area", "totalCredits": 18, "totalSize": 1' + b"0" * 310 + b"}"
    with pytest.raises(UnexpectedResponseError, match="without a price that can be used"):
        await trees(client=client).evaluate()
