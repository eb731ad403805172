"""Never pay twice: executions whose answers are lost, refused, garbled or given up."""

import copy
import datetime as dt
import pickle
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Final

import anyio
import attrs
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paying_platform import (
    EPOCH,
    ITEM,
    ExecutionHandler,
    PayingPlatform,
    ReceivedExecution,
    accepted,
    client_of,
    garbled,
    lost,
    slow,
    status,
    titles,
    trees,
    unsent,
)
from tests.virtual_time import virtual_backend
from up42_async import Client
from up42_async._errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidCredentialsError,
    RequestTimeoutError,
    ServerError,
)
from up42_async._processing import execution
from up42_async._processing.batch import execute
from up42_async._processing.recovery import ExecutionUncertainError
from up42_async.processing_templates import DetectionShadowsSpacept

pytestmark = pytest.mark.virtual_time


UNSENT: Final = {
    "refused": unsent(httpx.ConnectError),
    "connect timeout": unsent(httpx.ConnectTimeout),
    "no free connection": unsent(httpx.PoolTimeout),
}


def failing(code: int, acted: bool) -> ExecutionHandler:
    return status(code, acted=acted)


AMBIGUOUS: Final[dict[str, Callable[[bool], ExecutionHandler]]] = {
    "reset": lambda acted: lost(httpx.ReadError, acted=acted),
    "closed": lambda acted: lost(httpx.RemoteProtocolError, acted=acted),
    "write timeout": lambda acted: lost(httpx.WriteTimeout, acted=acted, after=30),
    "read timeout": lambda acted: lost(httpx.ReadTimeout, acted=acted, after=30),
    "endless": lambda acted: lost(httpx.ReadTimeout, acted=acted, after=1000),
    **{f"status {code}": partial(failing, code) for code in (408, 409, 500, 502, 503, 504, 524, 542, 599)},
    "status 503 that asks to wait": lambda acted: status(503, acted=acted, retry_after="2"),
    "redirect": lambda acted: status(302, acted=acted, location="https://api.up42.com/elsewhere"),
    "malformed redirect": lambda acted: status(307, acted=acted, location="https://["),
    "no body": lambda acted: status(204, acted=acted),
    "no JSON": lambda acted: status(200, acted=acted, content=b"<html>OK</html>"),
    "half a JSON": lambda acted: status(201, acted=acted, content=b'{"jobID": "job-'),
    "no job": lambda acted: status(200, acted=acted, content={"hello": "world"}),
    "a list": lambda acted: status(200, acted=acted, content=[]),
    "broken gzip": lambda acted: status(201, acted=acted, content=b"no gzip", content_encoding="gzip"),
}


# Certainly not received


@pytest.mark.parametrize("handler", UNSENT.values(), ids=UNSENT)
async def test_what_never_left_is_sent_again(
    platform: PayingPlatform, client: Client, handler: ExecutionHandler
) -> None:
    platform.handlers.extend([handler, handler])
    assert (await trees(client=client).execute()).id == "job-1"
    assert (platform.posts, platform.job_ids) == (1, ["job-1"])


@pytest.mark.parametrize("handler", UNSENT.values(), ids=UNSENT)
async def test_what_can_never_leave_is_an_ordinary_error(
    platform: PayingPlatform, client: Client, handler: ExecutionHandler, caplog: pytest.LogCaptureFixture
) -> None:
    platform.handlers.extend([handler] * 10)
    template = trees(client=client)
    with pytest.raises(ConnectionFailedError, match=r"POST /v2/processing/processes/detection-trees-spacept/execution"):
        await template.execute()
    assert (platform.posts, platform.jobs, template.executions) == (0, [], ())
    assert "looking for the job" not in caplog.text


async def test_an_attempt_that_ends_before_it_left_is_an_ordinary_error(
    platform: PayingPlatform, client: Client
) -> None:
    async def stuck(execution: ReceivedExecution) -> httpx.Response:
        await execution.connect()
        await anyio.sleep(1000)
        raise AssertionError

    platform.handlers.append(stuck)
    with pytest.raises(RequestTimeoutError):
        await trees(client=client).execute()
    assert platform.count("GET processing/jobs") == 0


@pytest.mark.parametrize("handler", UNSENT.values(), ids=UNSENT)
async def test_a_transport_of_the_users_proves_nothing(platform: PayingPlatform, handler: ExecutionHandler) -> None:
    """A failure to connect reported by a foreign transport may have come after the server had read everything."""
    platform.handlers.append(handler)
    async with client_of(platform, traced=False) as client:
        with pytest.raises(ExecutionUncertainError):
            await trees(client=client).execute()
    assert platform.count("POST .*/execution") == 1


async def test_a_foreign_transport_that_lies_about_connecting_is_not_sent_to_again(platform: PayingPlatform) -> None:
    platform.handlers.append(lost(httpx.ConnectTimeout, acted=True))
    async with client_of(platform, traced=False) as client:
        assert (await trees(client=client).execute()).id == "job-1"
    assert (platform.posts, platform.job_ids) == (1, ["job-1"])


# Refused unprocessed


async def test_a_token_that_expired_is_renewed_and_the_execution_sent_once_more(
    platform: PayingPlatform, client: Client
) -> None:
    platform.handlers.append(status(401))
    assert (await trees(client=client).execute()).id == "job-1"
    assert (platform.posts, len(platform.jobs)) == (2, 1)


async def test_a_token_that_stays_refused_is_an_ordinary_error(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.extend([status(401), status(401)])
    with pytest.raises(AuthenticationError):
        await trees(client=client).execute()
    assert (platform.posts, platform.jobs, platform.count("GET processing/jobs")) == (2, [], 0)


@pytest.mark.parametrize(
    ("code", "content", "error"),
    [(503, {}, ServerError), (401, {"error": "invalid_grant"}, InvalidCredentialsError)],
)
async def test_a_login_that_fails_after_a_refusal_leaves_no_doubt(
    platform: PayingPlatform,
    client: Client,
    code: int,
    content: Any,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(status(401))
    free = platform._free_of_charge

    def without_login(request: httpx.Request, path: str) -> httpx.Response:
        return platform.answer(code, content) if path.endswith("/token") else free(request, path)

    monkeypatch.setattr(platform, "_free_of_charge", without_login)
    with pytest.raises(error):
        await template.execute()
    assert (platform.posts, platform.count("GET processing/jobs"), template.executions) == (1, 0, ())


# Received, perhaps


@pytest.mark.parametrize("handler", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_job_whose_answer_was_lost_is_found(
    platform: PayingPlatform,
    client: Client,
    handler: Callable[[bool], ExecutionHandler],
    caplog: pytest.LogCaptureFixture,
) -> None:
    platform.handlers.append(handler(True))
    template = trees("Trees", client=client)
    job = await template.execute()
    assert (job.id, job.client, platform.posts, len(platform.jobs)) == ("job-1", client, 1, 1)
    assert [execution.recovered for execution in template.executions] == [True]
    assert caplog.messages[0].startswith("the response to executing detection-trees-spacept ('Trees') was lost (")
    assert (
        caplog.messages[1]
        == "executing detection-trees-spacept ('Trees') had made job job-1, which was found in the list"
    )


@pytest.mark.parametrize("handler", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_job_that_is_not_found_is_uncertain(
    platform: PayingPlatform, client: Client, handler: Callable[[bool], ExecutionHandler]
) -> None:
    platform.handlers.append(handler(False))
    template = await trees("Trees", client=client).evaluate()
    sent = platform.now()
    with pytest.raises(ExecutionUncertainError, match=r"no job that could be it was seen.*you may pay twice") as caught:
        await template.execute()
    error = caught.value
    assert (error.process_id, error.inputs, error.candidates) == ("detection-trees-spacept", template.inputs, ())
    assert error.sent_at is not None
    assert abs(error.sent_at - sent) < dt.timedelta(seconds=2)
    assert (platform.posts, platform.count("GET processing/jobs")) == (1, 7)
    assert [execution.error for execution in template.executions] == [error]
    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (str(copied), copied.process_id, copied.inputs) == (str(error), error.process_id, error.inputs)
        assert (copied.sent_at, copied.candidates) == (error.sent_at, error.candidates)


@pytest.mark.parametrize(("after", "found"), [(0.5, True), (20, True), (55, True), (90, False)])
async def test_a_job_that_is_listed_within_a_minute_is_found(
    platform: PayingPlatform, client: Client, after: float, *, found: bool
) -> None:
    platform.handlers.append(status(502, acted=True))
    platform.listed_after = after
    started = anyio.current_time()
    template = trees(client=client)
    if found:
        assert (await template.execute()).id == "job-1"
    else:
        with pytest.raises(ExecutionUncertainError):
            await template.execute()
        assert anyio.current_time() - started == pytest.approx(60, abs=3)
    assert platform.posts == 1


async def test_the_list_is_asked_with_patience(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(status(502))
    template = await trees(client=client).evaluate()
    at: list[float] = []
    listing = platform._list

    def note(query: dict[str, list[str]]) -> httpx.Response:
        at.append(anyio.current_time())
        assert query["processId"] == ["detection-trees-spacept"]
        assert query["workspaceId"] == ["w"]
        return listing(query)

    platform._list = note  # type: ignore[method-assign]
    with pytest.raises(ExecutionUncertainError):
        await template.execute()
    assert [later - earlier for earlier, later in pairwise(at)] == pytest.approx([2, 4, 8, 15, 15, 13], abs=0.2)


async def test_a_list_that_cannot_be_had_is_asked_for_again(
    platform: PayingPlatform, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    platform.handlers.append(status(502, acted=True))
    platform.list_fails = 3
    assert (await trees(client=client).execute()).id == "job-1"
    assert caplog.text.count("the jobs could not be listed (GET /v2/processing/jobs: status 403") == 3


async def test_jobs_that_make_no_sense_do_not_hide_the_one_that_does(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(status(502, acted=True))
    listing = platform._list

    def odd(query: dict[str, list[str]]) -> httpx.Response:
        jobs = [3, {"jobID": "odd", "processID": 3}, {**platform.jobs[0], "jobID": "x", "definition": {"a": 1}}]
        return platform.answer(200, {"jobs": [*jobs, *listing(query).json()["jobs"]], "links": []})

    platform._list = odd  # type: ignore[method-assign]
    assert (await trees(client=client).execute()).id == "job-1"


async def test_other_jobs_are_never_taken_for_it(platform: PayingPlatform, client: Client) -> None:
    """Not older ones, not those of other inputs, processes or workspaces, and none that was handed out before."""
    await trees("t", client=client).execute()
    platform.latency = 0.001
    await trees("other", client=client).execute()
    await trees("t", client=client, workspace_id="other").execute()
    await DetectionShadowsSpacept("t", ITEM, client=client).execute()
    old = {**platform.jobs[0], "jobID": "old", "created": (platform.now() - dt.timedelta(seconds=4)).isoformat()}
    platform.jobs.insert(0, old)
    platform.handlers.append(status(502))
    with pytest.raises(ExecutionUncertainError) as caught:
        await trees("t", client=client).execute()
    assert caught.value.candidates == ()


async def test_two_jobs_that_could_be_it_are_both_named(platform: PayingPlatform, client: Client) -> None:
    async def twice(execution: Any) -> httpx.Response:
        execution.act()
        return await status(502, acted=True)(execution)

    platform.handlers.append(twice)
    with pytest.raises(ExecutionUncertainError, match="it could be job-2 or job-1") as caught:
        await trees(client=client).execute()
    assert sorted(caught.value.candidates) == ["job-1", "job-2"]


async def test_a_job_named_in_an_answer_that_makes_no_sense_is_not_lost(
    platform: PayingPlatform, client: Client
) -> None:
    platform.handlers.append(garbled(lambda job: {"jobID": job["jobID"]}))
    platform.listed_after = 1000
    with pytest.raises(ExecutionUncertainError, match="it could be job-1") as caught:
        await trees(client=client).execute()
    assert caught.value.candidates == ("job-1",)


def untimed(handler: Any) -> Any:
    """Let the job that is made have no time that can be read."""

    async def without_time(execution: Any) -> httpx.Response:
        answered: httpx.Response = await handler(execution)
        execution.platform.jobs[-1]["created"] = "0"
        return answered

    return without_time


async def test_a_job_whose_time_cannot_be_read_is_named(platform: PayingPlatform, client: Client) -> None:
    """It has the inputs that were sent, but may be one of long ago."""
    platform.handlers.append(untimed(status(502, acted=True)))
    with pytest.raises(ExecutionUncertainError, match="it could be job-1") as caught:
        await trees(client=client).execute()
    assert caught.value.candidates == ("job-1",)


async def test_a_job_named_in_an_answer_is_recognised_without_its_time(
    platform: PayingPlatform, client: Client
) -> None:
    platform.handlers.append(untimed(garbled(lambda job: {"jobID": job["jobID"], "status": 3})))
    assert (await trees(client=client).execute()).id == "job-1"


async def test_a_job_named_in_an_answer_is_recognised_among_others(platform: PayingPlatform, client: Client) -> None:
    async def twice(execution: Any) -> httpx.Response:
        response = await garbled(lambda job: {"jobID": job["jobID"], "status": 3})(execution)
        execution.act()
        return response

    platform.handlers.append(twice)
    assert (await trees(client=client).execute()).id == "job-1"


@pytest.mark.parametrize("ahead", [-3600, 3600])
async def test_our_own_clock_may_be_wrong(
    platform: PayingPlatform, client: Client, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = (EPOCH + dt.timedelta(seconds=ahead)).timestamp()
    monkeypatch.setattr("up42_async._clock.wall", lambda: wall + anyio.current_time())
    platform.handlers.append(lost(httpx.ReadError, acted=True))
    assert (await trees(client=client).execute()).id == "job-1"


async def test_our_own_clock_may_jump_while_it_is_sent(
    platform: PayingPlatform, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = EPOCH.timestamp()
    monkeypatch.setattr("up42_async._clock.wall", lambda: wall + anyio.current_time())
    template = await trees(client=client).evaluate()
    monkeypatch.setattr("up42_async._clock.wall", lambda: wall + 86_400 + anyio.current_time())
    platform.handlers.append(lost(httpx.ReadError, acted=True))
    assert (await template.execute()).id == "job-1"


@pytest.mark.parametrize(("behind", "found"), [(1.5, True), (4, False)])
async def test_clocks_at_up42_need_not_agree_to_the_second(
    platform: PayingPlatform, client: Client, behind: float, *, found: bool
) -> None:
    async def dated_back(execution: Any) -> httpx.Response:
        response = await status(502, acted=True)(execution)
        moment = dt.datetime.fromisoformat(platform.jobs[-1]["created"]) - dt.timedelta(seconds=behind)
        platform.jobs[-1]["created"] = moment.isoformat()
        return response

    platform.latency = 0.001
    template = await trees(client=client).evaluate()
    await anyio.sleep(round(anyio.current_time()) + 1 - anyio.current_time())  # the Date header has whole seconds only
    platform.handlers.append(dated_back)
    if found:
        assert (await template.execute()).id == "job-1"
    else:
        with pytest.raises(ExecutionUncertainError):
            await template.execute()


# Identical executions


@pytest.mark.parametrize("handler", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_identical_executions_in_doubt_never_share_a_job(
    platform: PayingPlatform, client: Client, handler: Callable[[bool], ExecutionHandler]
) -> None:
    platform.handlers.extend([handler(True)] * 3)
    outcomes = await execute([trees() for _ in range(3)], client=client)
    assert sorted(outcome.job.id for outcome in outcomes if outcome.job) == ["job-1", "job-2", "job-3"]
    assert platform.posts == 3


async def test_only_identical_executions_wait_for_each_other(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.extend([slow(10)] * 40)
    templates = [trees(title) for title in titles(20)]
    await execute(templates, client=client)
    assert anyio.current_time() < 15
    started = anyio.current_time()
    await execute([trees("same"), trees("same")], client=client)
    assert anyio.current_time() - started > 20


async def test_only_the_newest_jobs_are_remembered_as_taken(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MOST_TAKEN", 2)
    registry = client._service(execution.ExecutionRegistry)
    template = trees(client=client)
    for _ in range(3):
        await template.execute()
    assert [registry.is_free(f"job-{number}") for number in (1, 2, 3)] == [True, False, False]


# The client is closed


async def test_closing_the_client_ends_the_search_at_once(platform: PayingPlatform, client: Client) -> None:
    platform.handlers.append(status(502, acted=True))
    platform.listed_after = 1000
    template = await trees(client=client).evaluate()
    async with execute([template], client=client) as outcomes:
        await anyio.sleep(20)
        closed = anyio.current_time()
        await client.aclose()
        outcome = await anext(outcomes)
    assert isinstance(outcome.error, ExecutionUncertainError)
    assert anyio.current_time() - closed < 1


async def test_closing_the_client_while_it_lists_the_jobs_is_uncertain(
    platform: PayingPlatform, client: Client
) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(status(502, acted=True))
    platform.latency = 3
    handle = execute([template], client=client)
    async with handle:
        await anyio.sleep(5)
        await client.aclose()
        await anyio.sleep(5)
    assert isinstance(handle.results[0].error, ExecutionUncertainError)


async def test_closing_the_client_between_two_tries_leaves_no_doubt(platform: PayingPlatform, client: Client) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(status(429, retry_after="30"))
    handle = execute([template], client=client)
    async with handle:
        await anyio.sleep(1)
        await client.aclose()
        await anyio.sleep(1)
    assert isinstance(handle.results[0].error, RuntimeError)
    assert template.executions == ()


async def test_closing_the_client_while_it_sends_waits_for_the_answer(platform: PayingPlatform, client: Client) -> None:
    template = await trees(client=client).evaluate()
    platform.handlers.append(slow(2))
    async with execute([template], client=client) as outcomes:
        await anyio.sleep(1)
        await client.aclose()
        outcome = await anext(outcomes)
    assert outcome.job is not None
    assert outcome.job.id == "job-1"


# Everything at once, at random


@attrs.frozen
class Schedule:
    """What befalls one run."""

    handlers: list[str]
    kinds: list[int]
    """Which of a few different templates each one is; equal numbers are identical executions."""
    listed_after: float
    cancel_after: float | None
    leave_after: int | None
    max_credits: int | None
    foreign: bool
    close_after: float | None


HANDLERS: Final[dict[str, ExecutionHandler]] = {
    "accepted": accepted,
    "slow": slow(2),
    "very slow": slow(8),
    **UNSENT,
    **{f"{name}, acted": handler(True) for name, handler in AMBIGUOUS.items()},
    **{f"{name}, not acted": handler(False) for name, handler in AMBIGUOUS.items()},
    "401": status(401),
    "403": status(403),
    "422": status(422),
    "429": status(429, retry_after="3"),
    "garbled": garbled(lambda job: {"jobID": job["jobID"]}),
}

schedules = st.builds(
    Schedule,
    handlers=st.lists(st.sampled_from(list(HANDLERS)), max_size=8),
    kinds=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    listed_after=st.sampled_from([0.0, 0.0, 5.0, 25.0, 90.0]),
    cancel_after=st.none() | st.floats(0, 90),
    leave_after=st.none() | st.integers(0, 3),
    max_credits=st.none() | st.integers(0, 60),
    foreign=st.booleans(),
    close_after=st.none() | st.none() | st.floats(0, 90),
)


@pytest.fixture(params=["asyncio", "trio"])
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@settings(max_examples=250)
@given(schedule=schedules)
@pytest.mark.slow
def test_every_job_that_was_made_is_named_to_the_one_who_executed(schedule: Schedule, loop_name: str) -> None:
    """Executions at the server are the jobs returned and the jobs named, and each call posts at most once."""
    backend, options = virtual_backend(loop_name)
    anyio.run(_keep_books, schedule, backend=backend, backend_options=options)


async def _keep_books(schedule: Schedule) -> None:
    platform = PayingPlatform(*(HANDLERS[name] for name in schedule.handlers))
    platform.listed_after = schedule.listed_after
    client = client_of(platform, traced=not schedule.foreign)
    templates = [trees(f"kind {kind}") for kind in schedule.kinds]
    handle = execute(templates, max_credits=schedule.max_credits, client=client)

    async def close() -> None:
        if schedule.close_after is not None:
            await anyio.sleep(schedule.close_after)
            await client.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        with anyio.move_on_after(schedule.cancel_after):
            async with handle as outcomes:
                seen = 0
                async for _ in outcomes:
                    seen += 1
                    if seen == schedule.leave_after:
                        break
        group.cancel_scope.cancel()
    with anyio.CancelScope(shield=True):
        await client.aclose()

    jobs = [outcome.job.id for outcome in handle.results if outcome.job]
    doubts = [outcome.error for outcome in handle.results if isinstance(outcome.error, ExecutionUncertainError)]
    named = [id_ for doubt in doubts for id_ in doubt.candidates]
    assert len({*jobs, *named}) == len(jobs) + len(named), "a job was named twice"
    assert {*jobs, *named} <= set(platform.job_ids), "a job was made up"
    nameless = sum(not doubt.candidates for doubt in doubts)
    assert len(platform.job_ids) - len({*jobs, *named}) <= nameless, "a job was lost"
    refused = sum(name in {"401", "429"} for name in schedule.handlers)
    assert platform.posts <= len(templates) + refused, "an execution was sent twice"
    kept = [execution for template in templates for execution in template.executions]
    assert sorted(one.job.id for one in kept if one.job) == sorted(jobs)
    assert len(kept) == len(jobs) + len(doubts)
    if schedule.max_credits is not None:
        assert 10 * (len(jobs) + len(doubts)) <= schedule.max_credits
    if schedule.cancel_after is schedule.leave_after is schedule.close_after is None:
        assert len(handle.results) == len(templates)
