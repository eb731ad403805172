"""When queries are sent, by which task, and which tasks are woken: the poller alone, in virtual time."""

import gc
import itertools
import logging
import math
import re
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import backoff
import pytest

from up42_async._config import Wait
from up42_async._config.polling import checked_retries, checked_wait
from up42_async._errors import (
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidCredentialsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._jobs.poller import Poller
from up42_async._jobs.polling_state import (
    AT_ONCE,
    AnswerCallback,
    Phase,
    PollState,
    QueryFailure,
    Subscription,
    Timings,
)

pytestmark = pytest.mark.virtual_time

Life = Sequence[tuple[float, str | Exception]]
"""Times in seconds, each with the answer from then on: a status, or an error."""

FOREVER: Life = [(0, "running")]
MINUTE = 60


@attrs.define
class PolledItem:
    """An object that can be polled: it is under way, settles, and is finished."""

    id: str
    status: str = "running"
    updated: int = 0
    _settling_since: float | None = attrs.field(default=None, alias="since")
    _known_age: float | None = attrs.field(default=None, alias="age")

    @property
    def _phase(self) -> Phase:
        if self.status == "done" or self._settling_since == AT_ONCE:
            return Phase.FINISHED
        return Phase.SETTLING if self.status == "perhaps" else Phase.UNDER_WAY

    def _update(self, newer: "PolledItem", asked_at: float, settle: float) -> None:
        if newer.status != self.status:
            self._settling_since = None
        self.status, self.updated = newer.status, newer.updated
        if self.status == "perhaps":
            self._settling_since = asked_at if self._settling_since is None else self._settling_since
            if asked_at - self._settling_since >= settle - 0.001:
                self.settle()

    def settle(self) -> None:
        self._settling_since = AT_ONCE


class StatusServer:
    """Answers queries with the status or the error of each id at the current time."""

    def __init__(self, latency: float = 0.0, timings: Timings | None = None, /, **lives: Life) -> None:
        self.latency = latency
        self.lives = lives
        self.asked: list[tuple[float, list[str]]] = []
        self.answered = 0
        self.in_flight = 0
        self.hanging: set[str] = set()
        """Ids whose requests are never answered."""
        self.poller: Poller[PolledItem] = Poller(self.ask, 100, timings=timings or Timings())

    async def ask(self, ids: Sequence[str], give: AnswerCallback[PolledItem]) -> None:
        now = anyio.current_time()
        self.asked.append((now, list(ids)))
        self.in_flight += 1
        try:
            if self.hanging.intersection(ids):
                await anyio.sleep_forever()
            await anyio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        self.answered += 1
        give({id_: self.answer(id_, now) for id_ in ids})

    def answer(self, id_: str, now: float) -> PolledItem | QueryFailure:
        state = [state for at, state in self.lives[id_] if at <= now][-1]
        if isinstance(state, str):
            word, _, updated = state.partition("#")
            return PolledItem(id_, word, int(updated or 0))
        if isinstance(state, APIError):
            return QueryFailure(state, is_refusal=isinstance(state, StatusError) and not state.transient)
        raise state

    def watch(
        self,
        *ids: str,
        wait: Wait = MINUTE,
        retries: int = 4320,
        stalled_after: float | None = None,
        enough: str = "",
        **known: PolledItem,
    ) -> "PolledSubscription":
        items = dict.fromkeys(ids or self.lives) | known
        subscription = Subscription(
            items,
            wait=checked_wait(wait),
            retries=checked_retries(retries),
            stalled_after=stalled_after,
            is_enough=(lambda item: item.status == enough) if enough else None,
            timings=self.poller.timings,
        )
        return PolledSubscription(self.poller, subscription)

    @property
    def times(self) -> list[float]:
        """The times of all queries, rounded to a tenth of a second."""
        return [round(at, 1) for at, _ in self.asked]


@attrs.frozen(eq=False)
class PolledSubscription:
    """A subscription and the poller that serves it."""

    poller: Poller[PolledItem]
    subscription: Subscription[PolledItem]

    @property
    def states(self) -> Mapping[str, PollState[PolledItem]]:
        return self.subscription.states

    @property
    def is_over(self) -> bool:
        return self.subscription.is_over

    async def next_ended(self) -> PollState[PolledItem] | None:
        return await self.poller.next_event(self.subscription, self.subscription.ended)

    async def next_changed(self) -> PollState[PolledItem] | None:
        return await self.poller.next_event(self.subscription, self.subscription.changed)


async def finish(polled: PolledSubscription) -> None:
    """Wait until every wait has ended; fail if that takes too long."""
    with anyio.fail_after(10**7):
        while await polled.next_ended() is not None:
            pass


def reason(polled: PolledSubscription, id_: str = "a") -> str:
    return polled.states[id_].reason or ""


def status(polled: PolledSubscription, id_: str = "a") -> str:
    item = polled.states[id_].item
    assert item is not None
    assert polled.states[id_].reason is None
    return item.status


async def settle_down() -> None:
    """Let all other tasks run until each of them waits; the clock does not advance."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


# Number and times of queries


async def test_the_first_query_goes_out_at_once_the_others_after_each_wait_and_no_sleep_follows_the_last() -> None:
    server = StatusServer(a=FOREVER)
    polled = server.watch(retries=3)
    await finish(polled)
    assert server.times == [0, 60, 120]
    assert anyio.current_time() == pytest.approx(120, abs=0.1)
    assert reason(polled) == "not finished after 3 queries"


async def test_a_message_about_a_single_query_uses_the_singular() -> None:
    polled = StatusServer(a=FOREVER).watch(retries=1)
    await finish(polled)
    assert reason(polled) == "not finished after 1 query"


async def test_a_finished_job_costs_no_query() -> None:
    server = StatusServer()
    polled = server.watch(a=PolledItem("a", "done"))
    await finish(polled)
    assert (server.asked, status(polled)) == ([], "done")


async def test_the_interval_stays_the_same_however_long_answers_take() -> None:
    server = StatusServer(20, a=[(0, "running"), (170, "done")])
    await finish(server.watch())
    assert server.times == [0, 60, 120, 180]


async def test_after_an_answer_slower_than_the_interval_the_next_query_follows_at_once() -> None:
    server = StatusServer(100, a=[(0, "running"), (170, "done")])
    await finish(server.watch())
    assert server.times == pytest.approx([0, 100, 200], abs=0.1)


async def test_a_wait_of_zero_seconds_does_not_keep_the_processor_busy() -> None:
    server = StatusServer(a=[(0, "running"), (1, "done")])
    await finish(server.watch(wait=0))
    assert len(server.asked) == pytest.approx(1 / Timings().batch_window, rel=0.1)


@pytest.mark.parametrize("wait", [0.25, 1, 7, 60, 3600])
async def test_a_job_that_never_ends_costs_all_queries_of_the_schedule(wait: float) -> None:
    server = StatusServer(a=FOREVER)
    await finish(server.watch(wait=wait, retries=50))
    assert len(server.asked) == 50
    assert anyio.current_time() == pytest.approx(49 * wait, abs=0.1)


@pytest.mark.parametrize("wait", [5e-324, 1e6])
async def test_very_short_and_very_long_waits_work(wait: float) -> None:
    server = StatusServer(a=FOREVER)
    await finish(server.watch(wait=wait, retries=2))
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("wait", "retries", "error"),
    [
        ("60", 1, ValueError),
        (None, 1, TypeError),
        (True, 1, TypeError),
        (-1, 1, ValueError),
        (math.nan, 1, ValueError),
        (math.inf, 1, ValueError),
        (10**400, 1, ValueError),
        (lambda: 5, 1, TypeError),
        (lambda: [5, 5], 1, TypeError),
        (60, 0, ValueError),
        (60, -1, ValueError),
        (60, 1.0, TypeError),
        (60, True, TypeError),
        (60, "1", TypeError),
    ],
)
async def test_an_invalid_schedule_is_refused(wait: Any, retries: Any, error: type[Exception]) -> None:
    server = StatusServer(a=FOREVER)
    with pytest.raises(error, match="wait|retries"):
        server.watch(wait=wait, retries=retries)


# Waits from generators


async def test_a_generator_gives_each_wait() -> None:
    server = StatusServer(a=[(0, "running"), (90, "done")])
    await finish(server.watch(wait=partial(backoff.expo, max_value=60)))
    assert server.times == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123], abs=0.15)


async def test_each_job_has_a_generator_of_its_own() -> None:
    server = StatusServer(a=[(0, "running"), (2, "done")], b=[(0, "running"), (14, "done")])
    await finish(server.watch(wait=backoff.expo))
    assert [ids for _, ids in server.asked] == [["a", "b"]] * 3 + [["b"]] * 2


async def test_a_generator_that_ends_ends_the_wait() -> None:
    polled = StatusServer(a=FOREVER).watch(wait=lambda: iter([1, 2]))
    await finish(polled)
    assert reason(polled) == "the generator of waits ended after 3 queries"
    assert anyio.current_time() == pytest.approx(3, abs=0.1)


def failing() -> Iterator[float]:
    yield 1
    message = "out of numbers"
    raise LookupError(message)


@pytest.mark.parametrize(
    ("waits", "words"),
    [
        (failing, "after 2 queries: LookupError('out of numbers')"),
        (lambda: iter(["soon"]), "'soon'"),
        (lambda: iter([-1]), "-1"),
        (lambda: iter([math.nan]), "nan"),
        (lambda: iter([math.inf]), "inf"),
        (lambda: iter([10**400]), "from 0 to"),
        (lambda: iter([True]), "True"),
        (lambda: iter([None, None]), "None"),
    ],
)
async def test_a_generator_that_fails_ends_the_wait_of_its_own_job_only(
    waits: Callable[[], Iterator[Any]], words: str
) -> None:
    server = StatusServer(a=FOREVER, b=[(0, "running"), (100, "done")])
    faulty, healthy = server.watch("a", wait=waits), server.watch("b")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, healthy)
        group.start_soon(finish, faulty)
    assert words in reason(faulty)
    assert "the generator of waits failed" in reason(faulty)
    assert status(healthy, "b") == "done"


async def test_an_error_of_the_callable_that_returns_generators_is_raised_unchanged() -> None:
    def broken() -> Iterator[float]:
        message = "no numbers today"
        raise LookupError(message)

    with pytest.raises(LookupError, match="no numbers today"):
        StatusServer(a=FOREVER).watch(wait=broken)


# Statuses that may be the last


@pytest.mark.parametrize("wait", [5, 60, 3600, backoff.expo])
async def test_a_status_that_may_be_the_last_is_queried_again_after_two_and_five_seconds(wait: Wait) -> None:
    server = StatusServer(a=[(0, "perhaps")])
    polled = server.watch(wait=wait)
    await finish(polled)
    assert {0, 2, 5} <= set(server.times) or callable(wait)
    assert server.times[-1] == 5
    assert status(polled) == "perhaps"


@pytest.mark.parametrize(("moment", "times"), [(1.8, [0, 2]), (3, [0, 2, 5])])
async def test_the_last_status_is_seen_at_the_next_query(moment: float, times: list[float]) -> None:
    server = StatusServer(a=[(0, "perhaps"), (moment, "done")])
    polled = server.watch()
    await finish(polled)
    assert (status(polled), server.times) == ("done", times)


@pytest.mark.parametrize(("settle", "times"), [(0, [0]), (0.5, [0, 0.5]), (2, [0, 2]), (30, [0, 2, 30])])
async def test_how_long_the_last_status_must_stay_is_a_setting(settle: float, times: list[float]) -> None:
    server = StatusServer(0, Timings(settle=settle), a=[(0, "perhaps")])
    await finish(server.watch())
    assert server.times == times


async def test_short_waits_continue_while_a_job_settles() -> None:
    server = StatusServer(a=[(0, "perhaps")])
    await finish(server.watch(wait=1))
    assert server.times == [0, 1, 2, 3, 4, 5]


async def test_a_job_that_runs_again_must_settle_again() -> None:
    server = StatusServer(a=[(0, "perhaps"), (3, "running"), (90, "perhaps"), (200, "done")])
    polled = server.watch()
    await finish(polled)
    assert (server.times, status(polled)) == ([0, 2, 5, 60, 120, 122, 125], "perhaps")


@pytest.mark.parametrize("wait", [0.5, 1, 4, 60, lambda: itertools.repeat(1.0)])
@pytest.mark.parametrize("retries", [2, 3, 5])
async def test_the_last_query_is_kept_for_the_moment_that_decides(wait: Wait, retries: int) -> None:
    server = StatusServer(a=[(0, "perhaps")])
    polled = server.watch(wait=wait, retries=retries)
    await finish(polled)
    assert status(polled) == "perhaps"
    assert len(server.asked) <= retries


async def test_the_last_query_is_kept_for_that_moment_after_an_unanswered_query_too() -> None:
    server = StatusServer(a=[(0, "perhaps"), (0.5, ServerError("down", transient=True)), (1.5, "perhaps")])
    polled = server.watch(wait=1, retries=3)
    await finish(polled)
    assert (status(polled), server.times) == ("perhaps", [0, 1, 6])


async def test_during_an_outage_a_settling_job_is_queried_at_the_usual_interval() -> None:
    server = StatusServer(a=[(0, "perhaps"), (4, ConnectionLostError("broken")), (100, "perhaps")])
    polled = server.watch()
    await finish(polled)
    assert (status(polled), server.times) == ("perhaps", [0, 2, 5, 60, 120])


async def test_a_job_that_another_caller_found_finished_is_finished() -> None:
    server = StatusServer(a=[(0, "perhaps")])
    shared = PolledItem("a")
    polled = server.watch(wait=lambda: iter([1, 1]), a=shared)
    async with anyio.create_task_group() as group:
        group.start_soon(finish, polled)
        await anyio.sleep(0.5)
        shared.settle()
    assert status(polled) == "perhaps"


async def test_two_callers_with_the_same_job_object_both_get_its_end() -> None:
    server = StatusServer(a=[(0, "perhaps")])
    shared = PolledItem("a")
    first, second = server.watch(a=shared), server.watch(a=shared)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(finish, first)
            group.start_soon(finish, second)
    assert (status(first), status(second), server.times) == ("perhaps", "perhaps", [0, 2, 5])


async def test_two_callers_with_the_same_id_get_objects_of_their_own() -> None:
    server = StatusServer(a=[(0, "done")])
    first, second = server.watch(), server.watch()
    async with anyio.create_task_group() as group:
        group.start_soon(finish, first)
        group.start_soon(finish, second)
    assert first.states["a"].item is not second.states["a"].item
    assert [ids for _, ids in server.asked] == [["a"]]


# Refusals and outages

REFUSALS = [
    NotFoundError("gone", status=404),
    PermissionDeniedError("no", status=403),
    AuthenticationError("token", status=401),
]
OUTAGES = [
    ServerError("down", status=503, transient=True),
    RateLimitError("slow down", status=429, transient=True),
    StatusError("timeout", status=408, transient=True),
    ConnectionLostError("broken"),
    ConnectionFailedError("refused"),
    RequestTimeoutError("silence"),
    UnexpectedResponseError("HTML", transient=True),
]


@pytest.mark.parametrize("refusal", [*REFUSALS, StatusError("bad id", status=400)], ids=repr)
async def test_the_wait_for_an_id_that_is_refused_twice_ends_and_the_others_continue(refusal: APIError) -> None:
    server = StatusServer(a=[(0, refusal)], b=[(0, "running"), (100, "done")])
    polled = server.watch()
    await finish(polled)
    assert reason(polled) == str(refusal)
    assert [ids for _, ids in server.asked] == [["a", "b"], ["a", "b"], ["b"]]
    assert status(polled, "b") == "done"


async def test_an_answer_resets_the_count_of_refusals() -> None:
    gone = NotFoundError("gone", status=404)
    server = StatusServer(a=[(0, gone), (50, "running"), (100, gone), (150, "running"), (200, "done")])
    polled = server.watch()
    await finish(polled)
    assert status(polled) == "done"


async def test_wrong_credentials_end_the_wait_at_once() -> None:
    server = StatusServer(a=[(0, InvalidCredentialsError("password", status=401))])
    polled = server.watch()
    await finish(polled)
    assert (reason(polled), len(server.asked)) == ("password", 1)


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
async def test_an_outage_ends_no_wait(outage: APIError) -> None:
    server = StatusServer(a=[(0, "running"), (100, outage), (3700, "done")])
    polled = server.watch()
    await finish(polled)
    assert status(polled) == "done"
    assert len(server.asked) == 63


async def test_an_unanswered_query_counts_as_a_query() -> None:
    server = StatusServer(a=[(0, "running"), (10, ServerError("down", status=503, transient=True))])
    polled = server.watch(retries=4)
    await finish(polled)
    assert len(server.asked) == 4
    assert reason(polled) == "not finished after 4 queries; the last one failed: down"


async def test_an_outage_is_reported_once_when_it_begins_and_once_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    down: Life = [(0, "running"), (100, ServerError("down", transient=True)), (3700, "running"), (4000, "done")]
    server = StatusServer(0, None, **{f"n{n}": down for n in range(250)})
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch(*(f"n{n}" for n in range(200))))
        group.start_soon(finish, server.watch(*(f"n{n}" for n in range(200, 250)), wait=7))
    begun, ended = caplog.messages
    assert begun == "job status requests are failing (down); still polling"
    assert re.fullmatch(r"job status requests are answered again, after 36\d\d s", ended)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_an_outage_for_some_of_the_ids_is_reported_as_one_outage(caplog: pytest.LogCaptureFixture) -> None:
    server = StatusServer(
        a=[(0, ServerError("down", transient=True)), (600, "done")], b=[(0, "running"), (1000, "done")]
    )
    await finish(server.watch())
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("after 600 s")


async def test_a_refusal_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    await finish(StatusServer(a=[(0, NotFoundError("gone", status=404))]).watch())
    assert caplog.messages == []


async def test_an_outage_ends_with_the_last_subscription_that_lacks_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    server = StatusServer(a=[(0, ServerError("down", transient=True))], b=[(0, "running"), (200, "done")])
    await finish(server.watch("a", retries=2))
    with anyio.move_on_after(100):
        await finish(server.watch("a"))
    gc.collect()
    await finish(server.watch("b"))
    assert [" ".join(message.split()[3:5]) for message in caplog.messages] == ["are failing", "are answered"]
    assert caplog.messages[1].endswith("after 160 s")


async def test_two_refusals_within_ten_seconds_are_not_enough() -> None:
    server = StatusServer(a=[(0, NotFoundError("gone", status=404)), (9, "running"), (20, "done")])
    polled = server.watch(wait=1)
    await finish(polled)
    assert status(polled) == "done"
    server = StatusServer(a=[(0, NotFoundError("gone", status=404))])
    polled = server.watch(wait=3)
    start = anyio.current_time()
    await finish(polled)
    assert reason(polled) == "gone"
    assert anyio.current_time() - start == pytest.approx(12, abs=0.1)


async def test_a_job_that_was_seen_before_may_be_missing_for_five_minutes() -> None:
    gone = NotFoundError("gone", status=404)
    server = StatusServer(a=[(0, gone), (290, "running"), (400, "done")], b=[(0, gone)], c=[(0, "running"), (50, gone)])
    polled = server.watch("c", a=PolledItem("a"), b=PolledItem("b"))
    await finish(polled)
    assert status(polled) == "done"
    assert (reason(polled, "b"), polled.states["b"].asked) == ("gone", 6)
    assert (reason(polled, "c"), polled.states["c"].asked) == ("gone", 7)


@pytest.mark.parametrize("refusal", REFUSALS[1:], ids=repr)
async def test_a_missing_permission_is_no_lagging_replica(refusal: APIError) -> None:
    polled = StatusServer(a=[(0, refusal)]).watch(a=PolledItem("a"))
    await finish(polled)
    assert (reason(polled), polled.states["a"].asked) == (str(refusal), 2)


# Other ends of a wait


async def test_a_job_without_a_change_for_some_time_has_stalled() -> None:
    lives: dict[str, Life] = {
        "idle": FOREVER,
        "updated": [(60 * n, f"running#{n // 3}") for n in range(12)],
        "late": [(0, "queued"), (170, "running"), (400, "done")],
        "down": [(0, "running"), (30, ServerError("down", transient=True)), (290, "done")],
    }
    server = StatusServer(0, None, **lives)
    polled = server.watch(stalled_after=250)
    await finish(polled)
    assert reason(polled, "idle") == "no new status or update for 300 s"
    assert polled.states["updated"].asked == 11 + 4
    assert (status(polled, "late"), status(polled, "down")) == ("done", "done")


async def test_a_wait_may_end_before_the_job_is_finished() -> None:
    server = StatusServer(a=[(0, "queued"), (50, "running")], b=[(0, "done")])
    polled = server.watch("a", enough="running", b=PolledItem("b", "running"))
    await finish(polled)
    assert (status(polled), status(polled, "b"), server.times) == ("running", "running", [0, 60])


# The leading task


async def test_all_due_ids_of_all_callers_are_in_one_request() -> None:
    server = StatusServer(0, None, **{f"n{n}": [(0, "running"), (150, "done")] for n in range(250)})
    async with anyio.create_task_group() as group:
        for n in range(250):
            group.start_soon(finish, server.watch(f"n{n}"))
    assert sorted(len(ids) for _, ids in server.asked) == sorted([100, 100, 50] * 4)
    assert server.times == [0] * 3 + [60] * 3 + [120] * 3 + [180] * 3


async def test_independent_trackers_poll_at_common_moments() -> None:
    server = StatusServer(a=FOREVER, b=FOREVER, c=FOREVER)
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a", retries=5))
        await anyio.sleep(25)
        group.start_soon(finish, server.watch("b", retries=5))
        await anyio.sleep(20)
        group.start_soon(finish, server.watch("c", retries=5))
    assert [(round(at), ids) for at, ids in server.asked] == [
        (0, ["a"]),
        (25, ["b"]),
        (45, ["c"]),
        (60, ["a", "b"]),
        (120, ["a", "b", "c"]),
        (180, ["a", "b", "c"]),
        (240, ["a", "b", "c"]),
        (300, ["c"]),
    ]


async def test_the_first_query_of_a_new_caller_is_sent_while_the_leader_sleeps() -> None:
    server = StatusServer(a=FOREVER, b=[(0, "done")])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a"))
        await anyio.sleep(30)
        with anyio.fail_after(1):
            await finish(server.watch("b"))
        group.cancel_scope.cancel()
    assert [ids for _, ids in server.asked] == [["a"], ["b"]]


async def test_the_first_query_of_a_new_caller_is_sent_while_a_request_is_in_flight() -> None:
    server = StatusServer(10, a=FOREVER, b=[(0, "done")])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a"))
        await anyio.sleep(5)
        await finish(server.watch("b"))
        assert anyio.current_time() == pytest.approx(15, abs=0.1)
        group.cancel_scope.cancel()
    assert [ids for _, ids in server.asked] == [["a"], ["b"]]


def many(number: int, life: Life) -> dict[str, Life]:
    return {f"n{n}": life for n in range(number)}


async def test_a_request_that_hangs_delays_only_the_ids_it_asks_for() -> None:
    """2000 ids; one request of 20 hangs: the others get their events and next queries, and so does a new caller."""
    server = StatusServer(0.05, None, **many(2000, [(0, "running"), (30, "done")]), newcomer=[(0, "done")])
    server.hanging = {"n555"}
    polled, ended = server.watch(*(f"n{n}" for n in range(2000))), list[float]()
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            for _ in range(1900):
                await polled.next_ended()
                ended.append(anyio.current_time())

        group.start_soon(wait)
        await anyio.sleep(5)
        start = anyio.current_time()
        await finish(server.watch("newcomer"))
        assert anyio.current_time() - start < 0.1
    assert max(ended) < 61
    assert len(server.asked) < 20 + 1 + 20 + 2
    server.hanging = set()
    await finish(polled)


async def test_a_leader_with_its_result_does_not_cancel_requests_of_others() -> None:
    """Requests that are answered one after another, as a rate limit causes, are each sent once."""
    lives = many(1000, [(0, "running"), (30, "done")])
    server = StatusServer(0, None, **lives)
    plain = server.ask

    async def paced(ids: Sequence[str], give: Any) -> None:
        await anyio.sleep(0.3 * (1 + int(ids[0][1:]) // 100))
        await plain(ids, give)

    server.poller._ask = paced
    polled = server.watch()
    while await polled.next_ended() is not None:
        pass
    assert len(server.asked) == 20


async def test_queries_that_a_leader_left_unanswered_are_sent_by_the_next_one() -> None:
    server = StatusServer(0.05, None, **many(150, [(0, "running"), (30, "done")]))
    server.hanging = {"n120"}
    first, second = server.watch("n1", "n120"), server.watch(*(f"n{n}" for n in range(149)))
    async with anyio.create_task_group() as group:
        group.start_soon(first.next_ended)
        group.start_soon(second.next_ended)
        await anyio.sleep(100)
        server.hanging = set()
        group.cancel_scope.cancel()
    await finish(first)
    assert (status(first, "n1"), status(first, "n120")) == ("done", "done")


async def test_a_new_caller_waits_for_its_own_answer_only() -> None:
    server = StatusServer(0.4, a=FOREVER, b=[(0, "done")], c=[(0, "done")])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a"))
        for start, id_ in ((0.2, "b"), (20, "c")):
            await anyio.sleep_until(start)
            await finish(server.watch(id_))
            assert anyio.current_time() == pytest.approx(start + 0.4, abs=0.05)
        group.cancel_scope.cancel()


async def test_the_slow_requests_of_an_outage_do_not_lengthen_later_waits() -> None:
    """The first round takes 40 s; in the next one a request hangs, and the others get their events all the same."""
    server = StatusServer(40, None, **many(200, [(0, "running"), (50, "done")]))
    polled = server.watch()
    async with anyio.create_task_group() as group:
        group.start_soon(polled.next_ended)
        await anyio.sleep(50)
        server.latency, server.hanging = 0.05, {"n150"}
    assert anyio.current_time() < 61


async def test_a_leader_with_an_event_of_its_own_is_followed_by_another() -> None:
    server = StatusServer(0, None, **{f"n{n}": [(0, "running"), (60 * n + 30, "done")] for n in range(50)})
    ended: list[float] = []

    async def wait_for(id_: str) -> None:
        await finish(server.watch(id_))
        ended.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for id_ in server.lives:
            group.start_soon(wait_for, id_)
    assert ended == pytest.approx([60 * (n + 1) for n in range(50)], abs=0.1)
    assert [len(ids) for _, ids in server.asked] == [50, *range(50, 0, -1)]


async def cancelled_at(seconds: float, polled: PolledSubscription) -> None:
    with anyio.move_on_after(seconds):
        await finish(polled)


@pytest.mark.parametrize("moment", [0, 0.005, 5, 10.01, 30, 60.005, 65, 70.01])
async def test_a_cancelled_leader_causes_no_gap_and_no_query_is_counted_twice(moment: float) -> None:
    """The moments: in the batch window, during the first request, as it is answered, asleep, and the same once more."""
    server = StatusServer(10, a=FOREVER, b=FOREVER, c=FOREVER)
    others = [server.watch("b", retries=4), server.watch("c", retries=4)]
    async with anyio.create_task_group() as group:
        group.start_soon(cancelled_at, moment, server.watch("a"))
        for other in others:
            group.start_soon(finish, other)
    assert [watch.asked for other in others for watch in other.states.values()] == [4, 4]
    asked = [at for at, ids in server.asked if ids != ["a"]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert max(gaps) == pytest.approx(60, abs=10.1)
    assert len(asked) - 4 <= (round(moment) % 60 in {5, 10})


async def test_a_task_that_becomes_the_leader_and_is_cancelled_at_once_is_followed_by_another() -> None:
    server = StatusServer(a=FOREVER, b=FOREVER, c=[(0, "running"), (100, "done")])
    scopes = [anyio.CancelScope(), anyio.CancelScope()]

    async def wait_for(id_: str, scope: anyio.CancelScope) -> None:
        with scope:
            await finish(server.watch(id_))

    last = server.watch("c")
    async with anyio.create_task_group() as group:
        for id_, scope in zip("ab", scopes, strict=True):
            group.start_soon(wait_for, id_, scope)
            await settle_down()
        group.start_soon(finish, last)
        await anyio.sleep(30)
        for scope in scopes:
            scope.cancel()
    assert (status(last, "c"), server.times[-1]) == ("done", 120)


async def test_when_many_tasks_are_cancelled_at_once_the_last_one_leads() -> None:
    server = StatusServer(0, None, **{f"n{n}": FOREVER for n in range(100)}, z=[(0, "running"), (1000, "done")])
    last = server.watch("z")
    async with anyio.create_task_group() as group:
        for n in range(100):
            group.start_soon(cancelled_at, 30 + n % 3, server.watch(f"n{n}"))
        await settle_down()
        group.start_soon(finish, last)
    assert status(last, "z") == "done"


async def test_a_leader_that_is_cancelled_repeatedly_does_not_starve_others() -> None:
    server = StatusServer(2, a=FOREVER, b=[(0, "running"), (100, "done")])
    patient, impatient = server.watch("b"), server.watch("a")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, patient)
        while not patient.is_over:
            await cancelled_at(1, impatient)
    assert anyio.current_time() < 130


async def test_jobs_for_which_no_task_waits_cost_no_query() -> None:
    server = StatusServer(a=[(0, "running"), (50, "done")], b=FOREVER)
    polled = server.watch("a", "b")
    await polled.next_ended()
    asked = len(server.asked)
    await anyio.sleep(3600)
    assert (len(server.asked), server.in_flight) == (asked, 0)
    with anyio.move_on_after(30):
        await polled.next_ended()
    assert len(server.asked) == asked + 1


async def test_events_that_come_while_no_task_waits_are_kept() -> None:
    server = StatusServer(10, a=FOREVER, b=[(0, "done")])
    polled = server.watch("b")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a"))
        await settle_down()
        await cancelled_at(5, polled)
        await anyio.sleep(10)
        assert polled.is_over
        await finish(polled)
        group.cancel_scope.cancel()
    assert status(polled, "b") == "done"
    assert server.asked == [(pytest.approx(0, abs=0.1), ["a", "b"])]


async def test_a_caller_that_returns_while_its_query_is_in_flight_causes_no_second_query() -> None:
    server = StatusServer(10, a=FOREVER, b=[(0, "running"), (50, "done")])
    polled = server.watch("b")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a"))
        await settle_down()
        await cancelled_at(5, polled)
        await finish(polled)
        group.cancel_scope.cancel()
    assert [ids for _, ids in server.asked] == [["a", "b"], ["a", "b"]]


async def test_a_caller_that_waits_for_changes_is_woken_when_there_will_be_none() -> None:
    server = StatusServer(a=FOREVER, b=[(0, NotFoundError("gone", status=404))])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, server.watch("a"))
        await settle_down()
        polled = server.watch("b")
        with anyio.fail_after(100):
            assert await polled.next_changed() is None
        group.cancel_scope.cancel()


async def test_every_change_of_a_status_is_an_event() -> None:
    server = StatusServer(a=[(0, "queued"), (50, "running"), (170, "perhaps"), (182, "done")])
    polled, seen = server.watch(a=PolledItem("a", "queued")), []
    while (watch := await polled.next_changed()) is not None:
        seen.append(watch.item and watch.item.status)
    assert seen == ["running", "perhaps", "done"]


async def test_a_second_task_with_the_same_subscription_is_refused_and_the_first_waits_on() -> None:
    server = StatusServer(a=[(0, "running"), (100, "done")])
    polled = server.watch()
    async with anyio.create_task_group() as group:
        group.start_soon(finish, polled)
        await anyio.sleep(1)
        with pytest.raises(RuntimeError, match="another task is waiting"):
            await polled.next_ended()
    assert status(polled) == "done"


async def test_the_poller_keeps_no_subscription_that_its_caller_dropped() -> None:
    server = StatusServer(a=FOREVER)
    polled = server.watch()
    left = weakref.ref(polled)
    async with anyio.create_task_group() as group:
        group.start_soon(cancelled_at, 100, polled)
        del polled
    gc.collect()
    assert left() is None


# Errors and closing


async def test_an_error_that_is_no_answer_is_raised_unchanged_and_the_next_leader_asks_again() -> None:
    server = StatusServer(a=[(0, LookupError("not ours")), (5, "done")], b=[(0, "running"), (70, "done")])
    second = server.watch("b")

    async def wait_longer() -> None:
        await anyio.lowlevel.checkpoint()
        await finish(second)

    async with anyio.create_task_group() as group:
        group.start_soon(wait_longer)
        with pytest.raises(LookupError, match="not ours"):
            await finish(server.watch("a"))
    assert status(second, "b") == "done"


async def expect_closed(wait: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(RuntimeError, match="closed while jobs were tracked.*another client"):
        await wait()


@pytest.mark.parametrize("moment", [0.005, 5, 30])
async def test_every_waiting_task_is_woken_when_the_client_closes(moment: float) -> None:
    server = StatusServer(10, a=FOREVER, b=FOREVER, c=FOREVER)
    async with anyio.create_task_group() as group:
        for id_ in "abc":
            group.start_soon(expect_closed, partial(finish, server.watch(id_)))
        await anyio.sleep(moment)
        for state in server.lives:
            server.lives[state] = [(0, RuntimeError("this client is closed"))]
        server.poller.close()
        closed_at = anyio.current_time()
    assert anyio.current_time() - closed_at < 10.1


async def test_a_closed_poller_sends_nothing() -> None:
    server = StatusServer(a=FOREVER)
    server.poller.close()
    await expect_closed(partial(finish, server.watch()))
    assert server.asked == []


async def test_events_before_the_end_are_returned_after_it() -> None:
    server = StatusServer(a=[(0, "done")], b=[(0, "done")])
    polled = server.watch()
    await polled.next_ended()
    server.poller.close()
    await finish(polled)
    assert (status(polled, "a"), status(polled, "b")) == ("done", "done")
