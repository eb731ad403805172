"""When things are asked for, by whom, and who hears of it: the tracker alone, in virtual time, without any request."""

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
"""Moments in seconds, each with what comes from then on: a status, or an error instead of an answer."""

FOREVER: Life = [(0, "running")]
MINUTE = 60


@attrs.define
class Thing:
    """Something that runs, may be done, and is done."""

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

    def _update(self, newer: "Thing", asked_at: float, settle: float) -> None:
        if newer.status != self.status:
            self._settling_since = None
        self.status, self.updated = newer.status, newer.updated
        if self.status == "perhaps":
            self._settling_since = asked_at if self._settling_since is None else self._settling_since
            if asked_at - self._settling_since >= settle - 0.001:
                self.settle()

    def settle(self) -> None:
        self._settling_since = AT_ONCE


class Oracle:
    """Knows what comes when: statuses, or errors instead of answers."""

    def __init__(self, latency: float = 0.0, timings: Timings | None = None, /, **lives: Life) -> None:
        self.latency = latency
        self.lives = lives
        self.asked: list[tuple[float, list[str]]] = []
        self.answered = 0
        self.in_flight = 0
        self.hanging: set[str] = set()
        """Ids whose requests are never answered."""
        self.poller: Poller[Thing] = Poller(self.ask, 100, timings=timings or Timings())

    async def ask(self, ids: Sequence[str], give: AnswerCallback[Thing]) -> None:
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

    def answer(self, id_: str, now: float) -> Thing | QueryFailure:
        state = [state for at, state in self.lives[id_] if at <= now][-1]
        if isinstance(state, str):
            word, _, updated = state.partition("#")
            return Thing(id_, word, int(updated or 0))
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
        **things: Thing,
    ) -> "Watcher":
        items = dict.fromkeys(ids or self.lives) | things
        subscription = Subscription(
            items,
            wait=checked_wait(wait),
            retries=checked_retries(retries),
            stalled_after=stalled_after,
            is_enough=(lambda thing: thing.status == enough) if enough else None,
            timings=self.poller.timings,
        )
        return Watcher(self.poller, subscription)

    @property
    def times(self) -> list[float]:
        """The moments of all questions, to the tenth of a second."""
        return [round(at, 1) for at, _ in self.asked]


@attrs.frozen(eq=False)
class Watcher:
    """A subscription and the poller that serves it."""

    poller: Poller[Thing]
    subscription: Subscription[Thing]

    @property
    def states(self) -> Mapping[str, PollState[Thing]]:
        return self.subscription.states

    @property
    def is_over(self) -> bool:
        return self.subscription.is_over

    async def next_ended(self) -> PollState[Thing] | None:
        return await self.poller.next_event(self.subscription, self.subscription.ended)

    async def next_changed(self) -> PollState[Thing] | None:
        return await self.poller.next_event(self.subscription, self.subscription.changed)


async def finish(watcher: Watcher) -> None:
    """Wait until nothing is left to ask for; a hang shows as an error."""
    with anyio.fail_after(10**7):
        while await watcher.next_ended() is not None:
            pass


def reason(watcher: Watcher, id_: str = "a") -> str:
    return watcher.states[id_].reason or ""


def status(watcher: Watcher, id_: str = "a") -> str:
    item = watcher.states[id_].item
    assert item is not None
    assert watcher.states[id_].reason is None
    return item.status


async def settle_down() -> None:
    """Let all other tasks go as far as they can without time passing."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


# how often, and when


async def test_the_first_query_goes_out_at_once_the_others_after_each_wait_and_no_sleep_follows_the_last() -> None:
    oracle = Oracle(a=FOREVER)
    watcher = oracle.watch(retries=3)
    await finish(watcher)
    assert oracle.times == [0, 60, 120]
    assert anyio.current_time() == pytest.approx(120, abs=0.1)
    assert reason(watcher) == "not finished after 3 queries"


async def test_a_single_query_is_called_one() -> None:
    watcher = Oracle(a=FOREVER).watch(retries=1)
    await finish(watcher)
    assert reason(watcher) == "not finished after 1 query"


async def test_what_is_finished_is_not_asked_for() -> None:
    oracle = Oracle()
    watcher = oracle.watch(a=Thing("a", "done"))
    await finish(watcher)
    assert (oracle.asked, status(watcher)) == ([], "done")


async def test_the_interval_stays_the_same_however_long_answers_take() -> None:
    oracle = Oracle(20, a=[(0, "running"), (170, "done")])
    await finish(oracle.watch())
    assert oracle.times == [0, 60, 120, 180]


async def test_answers_slower_than_the_interval_are_followed_by_the_next_question_at_once() -> None:
    oracle = Oracle(100, a=[(0, "running"), (170, "done")])
    await finish(oracle.watch())
    assert oracle.times == pytest.approx([0, 100, 200], abs=0.1)


async def test_a_wait_of_nothing_asks_again_and_again_without_keeping_the_processor_busy() -> None:
    oracle = Oracle(a=[(0, "running"), (1, "done")])
    await finish(oracle.watch(wait=0))
    assert len(oracle.asked) == pytest.approx(1 / Timings().batch_window, rel=0.1)


@pytest.mark.parametrize("wait", [0.25, 1, 7, 60, 3600])
async def test_a_whole_schedule_takes_its_queries_and_its_time(wait: float) -> None:
    oracle = Oracle(a=FOREVER)
    await finish(oracle.watch(wait=wait, retries=50))
    assert len(oracle.asked) == 50
    assert anyio.current_time() == pytest.approx(49 * wait, abs=0.1)


@pytest.mark.parametrize("wait", [5e-324, 1e6])
async def test_very_short_and_very_long_waits_work(wait: float) -> None:
    oracle = Oracle(a=FOREVER)
    await finish(oracle.watch(wait=wait, retries=2))
    assert len(oracle.asked) == 2


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
async def test_a_schedule_that_cannot_be_right_is_refused(wait: Any, retries: Any, error: type[Exception]) -> None:
    oracle = Oracle(a=FOREVER)
    with pytest.raises(error, match="wait|retries"):
        oracle.watch(wait=wait, retries=retries)


# generators of waits


async def test_a_generator_says_how_long_each_wait_is() -> None:
    oracle = Oracle(a=[(0, "running"), (90, "done")])
    await finish(oracle.watch(wait=partial(backoff.expo, max_value=60)))
    assert oracle.times == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123], abs=0.15)


async def test_each_thing_has_a_generator_of_its_own() -> None:
    oracle = Oracle(a=[(0, "running"), (2, "done")], b=[(0, "running"), (14, "done")])
    await finish(oracle.watch(wait=backoff.expo))
    assert [ids for _, ids in oracle.asked] == [["a", "b"]] * 3 + [["b"]] * 2


async def test_a_generator_that_ends_ends_the_wait() -> None:
    watcher = Oracle(a=FOREVER).watch(wait=lambda: iter([1, 2]))
    await finish(watcher)
    assert reason(watcher) == "the generator of waits ended after 3 queries"
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
async def test_a_generator_that_fails_ends_its_own_wait_and_nobody_elses(
    waits: Callable[[], Iterator[Any]], words: str
) -> None:
    oracle = Oracle(a=FOREVER, b=[(0, "running"), (100, "done")])
    faulty, healthy = oracle.watch("a", wait=waits), oracle.watch("b")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, healthy)
        group.start_soon(finish, faulty)
    assert words in reason(faulty)
    assert "the generator of waits failed" in reason(faulty)
    assert status(healthy, "b") == "done"


async def test_what_the_maker_of_generators_raises_leaves_as_it_is() -> None:
    def broken() -> Iterator[float]:
        message = "no numbers today"
        raise LookupError(message)

    with pytest.raises(LookupError, match="no numbers today"):
        Oracle(a=FOREVER).watch(wait=broken)


# what may be the end


@pytest.mark.parametrize("wait", [5, 60, 3600, backoff.expo])
async def test_what_may_be_the_end_is_looked_at_again_after_two_and_five_seconds(wait: Wait) -> None:
    oracle = Oracle(a=[(0, "perhaps")])
    watcher = oracle.watch(wait=wait)
    await finish(watcher)
    assert {0, 2, 5} <= set(oracle.times) or callable(wait)
    assert oracle.times[-1] == 5
    assert status(watcher) == "perhaps"


@pytest.mark.parametrize(("moment", "times"), [(1.8, [0, 2]), (3, [0, 2, 5])])
async def test_the_end_that_follows_is_seen_at_the_next_look(moment: float, times: list[float]) -> None:
    oracle = Oracle(a=[(0, "perhaps"), (moment, "done")])
    watcher = oracle.watch()
    await finish(watcher)
    assert (status(watcher), oracle.times) == ("done", times)


@pytest.mark.parametrize(("settle", "times"), [(0, [0]), (0.5, [0, 0.5]), (2, [0, 2]), (30, [0, 2, 30])])
async def test_how_long_the_end_has_to_stay_is_a_setting(settle: float, times: list[float]) -> None:
    oracle = Oracle(0, Timings(settle=settle), a=[(0, "perhaps")])
    await finish(oracle.watch())
    assert oracle.times == times


async def test_short_waits_go_on_while_something_settles() -> None:
    oracle = Oracle(a=[(0, "perhaps")])
    await finish(oracle.watch(wait=1))
    assert oracle.times == [0, 1, 2, 3, 4, 5]


async def test_what_runs_on_after_all_has_to_settle_anew() -> None:
    oracle = Oracle(a=[(0, "perhaps"), (3, "running"), (90, "perhaps"), (200, "done")])
    watcher = oracle.watch()
    await finish(watcher)
    assert (oracle.times, status(watcher)) == ([0, 2, 5, 60, 120, 122, 125], "perhaps")


@pytest.mark.parametrize("wait", [0.5, 1, 4, 60, lambda: itertools.repeat(1.0)])
@pytest.mark.parametrize("retries", [2, 3, 5])
async def test_the_last_query_is_kept_for_the_look_that_can_conclude(wait: Wait, retries: int) -> None:
    oracle = Oracle(a=[(0, "perhaps")])
    watcher = oracle.watch(wait=wait, retries=retries)
    await finish(watcher)
    assert status(watcher) == "perhaps"
    assert len(oracle.asked) <= retries


async def test_the_last_query_is_kept_for_it_even_when_the_one_before_was_not_answered() -> None:
    oracle = Oracle(a=[(0, "perhaps"), (0.5, ServerError("down", transient=True)), (1.5, "perhaps")])
    watcher = oracle.watch(wait=1, retries=3)
    await finish(watcher)
    assert (status(watcher), oracle.times) == ("perhaps", [0, 1, 6])


async def test_an_outage_while_something_settles_is_waited_for_at_the_usual_pace() -> None:
    oracle = Oracle(a=[(0, "perhaps"), (4, ConnectionLostError("broken")), (100, "perhaps")])
    watcher = oracle.watch()
    await finish(watcher)
    assert (status(watcher), oracle.times) == ("perhaps", [0, 2, 5, 60, 120])


async def test_what_somebody_else_found_to_be_the_end_is_the_end() -> None:
    oracle = Oracle(a=[(0, "perhaps")])
    shared = Thing("a")
    watcher = oracle.watch(wait=lambda: iter([1, 1]), a=shared)
    async with anyio.create_task_group() as group:
        group.start_soon(finish, watcher)
        await anyio.sleep(0.5)
        shared.settle()
    assert status(watcher) == "perhaps"


async def test_two_who_wait_with_the_same_object_both_hear_of_its_end() -> None:
    oracle = Oracle(a=[(0, "perhaps")])
    shared = Thing("a")
    first, second = oracle.watch(a=shared), oracle.watch(a=shared)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(finish, first)
            group.start_soon(finish, second)
    assert (status(first), status(second), oracle.times) == ("perhaps", "perhaps", [0, 2, 5])


async def test_two_who_wait_for_the_same_id_get_objects_of_their_own() -> None:
    oracle = Oracle(a=[(0, "done")])
    first, second = oracle.watch(), oracle.watch()
    async with anyio.create_task_group() as group:
        group.start_soon(finish, first)
        group.start_soon(finish, second)
    assert first.states["a"].item is not second.states["a"].item
    assert [ids for _, ids in oracle.asked] == [["a"]]


# refusals and outages

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
async def test_an_id_that_is_refused_twice_is_given_up_and_the_others_go_on(refusal: APIError) -> None:
    oracle = Oracle(a=[(0, refusal)], b=[(0, "running"), (100, "done")])
    watcher = oracle.watch()
    await finish(watcher)
    assert reason(watcher) == str(refusal)
    assert [ids for _, ids in oracle.asked] == [["a", "b"], ["a", "b"], ["b"]]
    assert status(watcher, "b") == "done"


async def test_an_id_that_was_refused_once_and_then_found_has_a_clean_slate() -> None:
    gone = NotFoundError("gone", status=404)
    oracle = Oracle(a=[(0, gone), (50, "running"), (100, gone), (150, "running"), (200, "done")])
    watcher = oracle.watch()
    await finish(watcher)
    assert status(watcher) == "done"


async def test_wrong_credentials_end_the_wait_at_once() -> None:
    oracle = Oracle(a=[(0, InvalidCredentialsError("password", status=401))])
    watcher = oracle.watch()
    await finish(watcher)
    assert (reason(watcher), len(oracle.asked)) == ("password", 1)


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
async def test_an_outage_ends_nothing(outage: APIError) -> None:
    oracle = Oracle(a=[(0, "running"), (100, outage), (3700, "done")])
    watcher = oracle.watch()
    await finish(watcher)
    assert status(watcher) == "done"
    assert len(oracle.asked) == 63


async def test_an_unanswered_query_is_one_of_the_queries() -> None:
    oracle = Oracle(a=[(0, "running"), (10, ServerError("down", status=503, transient=True))])
    watcher = oracle.watch(retries=4)
    await finish(watcher)
    assert len(oracle.asked) == 4
    assert reason(watcher) == "not finished after 4 queries; the last one failed: down"


async def test_an_outage_is_reported_once_when_it_begins_and_once_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    down: Life = [(0, "running"), (100, ServerError("down", transient=True)), (3700, "running"), (4000, "done")]
    oracle = Oracle(0, None, **{f"n{n}": down for n in range(250)})
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch(*(f"n{n}" for n in range(200))))
        group.start_soon(finish, oracle.watch(*(f"n{n}" for n in range(200, 250)), wait=7))
    begun, ended = caplog.messages
    assert begun == "job status requests are failing (down); still polling"
    assert re.fullmatch(r"job status requests are answered again, after 36\d\d s", ended)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_an_outage_of_a_part_is_one_outage(caplog: pytest.LogCaptureFixture) -> None:
    oracle = Oracle(a=[(0, ServerError("down", transient=True)), (600, "done")], b=[(0, "running"), (1000, "done")])
    await finish(oracle.watch())
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("after 600 s")


async def test_a_refusal_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    await finish(Oracle(a=[(0, NotFoundError("gone", status=404))]).watch())
    assert caplog.messages == []


async def test_an_outage_does_not_outlast_trackers_that_gave_up_or_left(caplog: pytest.LogCaptureFixture) -> None:
    oracle = Oracle(a=[(0, ServerError("down", transient=True))], b=[(0, "running"), (200, "done")])
    await finish(oracle.watch("a", retries=2))
    with anyio.move_on_after(100):
        await finish(oracle.watch("a"))
    gc.collect()
    await finish(oracle.watch("b"))
    assert [" ".join(message.split()[3:5]) for message in caplog.messages] == ["are failing", "are answered"]
    assert caplog.messages[1].endswith("after 160 s")


async def test_two_refusals_within_ten_seconds_are_not_enough() -> None:
    oracle = Oracle(a=[(0, NotFoundError("gone", status=404)), (9, "running"), (20, "done")])
    watcher = oracle.watch(wait=1)
    await finish(watcher)
    assert status(watcher) == "done"
    oracle = Oracle(a=[(0, NotFoundError("gone", status=404))])
    watcher = oracle.watch(wait=3)
    start = anyio.current_time()
    await finish(watcher)
    assert reason(watcher) == "gone"
    assert anyio.current_time() - start == pytest.approx(12, abs=0.1)


async def test_what_is_known_to_exist_gets_five_minutes_to_show() -> None:
    gone = NotFoundError("gone", status=404)
    oracle = Oracle(a=[(0, gone), (290, "running"), (400, "done")], b=[(0, gone)], c=[(0, "running"), (50, gone)])
    watcher = oracle.watch("c", a=Thing("a"), b=Thing("b"))
    await finish(watcher)
    assert status(watcher) == "done"
    assert (reason(watcher, "b"), watcher.states["b"].asked) == ("gone", 6)
    assert (reason(watcher, "c"), watcher.states["c"].asked) == ("gone", 7)


@pytest.mark.parametrize("refusal", REFUSALS[1:], ids=repr)
async def test_a_missing_permission_is_no_lagging_replica(refusal: APIError) -> None:
    watcher = Oracle(a=[(0, refusal)]).watch(a=Thing("a"))
    await finish(watcher)
    assert (reason(watcher), watcher.states["a"].asked) == (str(refusal), 2)


# what else ends a wait


async def test_what_does_not_change_for_some_time_has_stalled() -> None:
    lives: dict[str, Life] = {
        "idle": FOREVER,
        "updated": [(60 * n, f"running#{n // 3}") for n in range(12)],
        "late": [(0, "queued"), (170, "running"), (400, "done")],
        "down": [(0, "running"), (30, ServerError("down", transient=True)), (290, "done")],
    }
    oracle = Oracle(0, None, **lives)
    watcher = oracle.watch(stalled_after=250)
    await finish(watcher)
    assert reason(watcher, "idle") == "no new status or update for 300 s"
    assert watcher.states["updated"].asked == 11 + 4
    assert (status(watcher, "late"), status(watcher, "down")) == ("done", "done")


async def test_a_wait_may_end_before_the_end() -> None:
    oracle = Oracle(a=[(0, "queued"), (50, "running")], b=[(0, "done")])
    watcher = oracle.watch("a", enough="running", b=Thing("b", "running"))
    await finish(watcher)
    assert (status(watcher), status(watcher, "b"), oracle.times) == ("running", "running", [0, 60])


# who asks


async def test_everybody_who_is_due_is_asked_for_together() -> None:
    oracle = Oracle(0, None, **{f"n{n}": [(0, "running"), (150, "done")] for n in range(250)})
    async with anyio.create_task_group() as group:
        for n in range(250):
            group.start_soon(finish, oracle.watch(f"n{n}"))
    assert sorted(len(ids) for _, ids in oracle.asked) == sorted([100, 100, 50] * 4)
    assert oracle.times == [0] * 3 + [60] * 3 + [120] * 3 + [180] * 3


async def test_independent_trackers_poll_at_common_moments() -> None:
    oracle = Oracle(a=FOREVER, b=FOREVER, c=FOREVER)
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a", retries=5))
        await anyio.sleep(25)
        group.start_soon(finish, oracle.watch("b", retries=5))
        await anyio.sleep(20)
        group.start_soon(finish, oracle.watch("c", retries=5))
    assert [(round(at), ids) for at, ids in oracle.asked] == [
        (0, ["a"]),
        (25, ["b"]),
        (45, ["c"]),
        (60, ["a", "b"]),
        (120, ["a", "b", "c"]),
        (180, ["a", "b", "c"]),
        (240, ["a", "b", "c"]),
        (300, ["c"]),
    ]


async def test_who_joins_while_the_leader_sleeps_is_asked_for_at_once() -> None:
    oracle = Oracle(a=FOREVER, b=[(0, "done")])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a"))
        await anyio.sleep(30)
        with anyio.fail_after(1):
            await finish(oracle.watch("b"))
        group.cancel_scope.cancel()
    assert [ids for _, ids in oracle.asked] == [["a"], ["b"]]


async def test_who_joins_while_a_question_is_under_way_is_asked_for_at_once() -> None:
    oracle = Oracle(10, a=FOREVER, b=[(0, "done")])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a"))
        await anyio.sleep(5)
        await finish(oracle.watch("b"))
        assert anyio.current_time() == pytest.approx(15, abs=0.1)
        group.cancel_scope.cancel()
    assert [ids for _, ids in oracle.asked] == [["a"], ["b"]]


def many(number: int, life: Life) -> dict[str, Life]:
    return {f"n{n}": life for n in range(number)}


async def test_a_request_that_hangs_holds_up_only_what_it_asked_for() -> None:
    """2000 things; one request of 20 hangs: the news of the others come, they are asked for again, a newcomer, too."""
    oracle = Oracle(0.05, None, **many(2000, [(0, "running"), (30, "done")]), newcomer=[(0, "done")])
    oracle.hanging = {"n555"}
    watcher, ended = oracle.watch(*(f"n{n}" for n in range(2000))), list[float]()
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            for _ in range(1900):
                await watcher.next_ended()
                ended.append(anyio.current_time())

        group.start_soon(wait)
        await anyio.sleep(5)
        start = anyio.current_time()
        await finish(oracle.watch("newcomer"))
        assert anyio.current_time() - start < 0.1
    assert max(ended) < 61
    assert len(oracle.asked) < 20 + 1 + 20 + 2
    oracle.hanging = set()
    await finish(watcher)


async def test_a_tracker_with_its_result_does_not_cancel_requests_of_others() -> None:
    """Requests that are answered one after another, as a pace makes them, are each sent once."""
    lives = many(1000, [(0, "running"), (30, "done")])
    oracle = Oracle(0, None, **lives)
    plain = oracle.ask

    async def paced(ids: Sequence[str], give: Any) -> None:
        await anyio.sleep(0.3 * (1 + int(ids[0][1:]) // 100))
        await plain(ids, give)

    oracle.poller._ask = paced
    watcher = oracle.watch()
    while await watcher.next_ended() is not None:
        pass
    assert len(oracle.asked) == 20


async def test_what_a_leader_left_unanswered_is_asked_for_by_the_next_one() -> None:
    oracle = Oracle(0.05, None, **many(150, [(0, "running"), (30, "done")]))
    oracle.hanging = {"n120"}
    first, second = oracle.watch("n1", "n120"), oracle.watch(*(f"n{n}" for n in range(149)))
    async with anyio.create_task_group() as group:
        group.start_soon(first.next_ended)
        group.start_soon(second.next_ended)
        await anyio.sleep(100)
        oracle.hanging = set()
        group.cancel_scope.cancel()
    await finish(first)
    assert (status(first, "n1"), status(first, "n120")) == ("done", "done")


async def test_a_newcomer_waits_for_its_own_answer_only() -> None:
    oracle = Oracle(0.4, a=FOREVER, b=[(0, "done")], c=[(0, "done")])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a"))
        for start, id_ in ((0.2, "b"), (20, "c")):
            await anyio.sleep_until(start)
            await finish(oracle.watch(id_))
            assert anyio.current_time() == pytest.approx(start + 0.4, abs=0.05)
        group.cancel_scope.cancel()


async def test_an_outage_makes_nobody_patient_with_later_requests_that_hang() -> None:
    """The first round takes 40 s; in the next one a request hangs, and the news of the others come all the same."""
    oracle = Oracle(40, None, **many(200, [(0, "running"), (50, "done")]))
    watcher = oracle.watch()
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.next_ended)
        await anyio.sleep(50)
        oracle.latency, oracle.hanging = 0.05, {"n150"}
    assert anyio.current_time() < 61


async def test_a_leader_that_has_its_news_hands_the_lead_on() -> None:
    oracle = Oracle(0, None, **{f"n{n}": [(0, "running"), (60 * n + 30, "done")] for n in range(50)})
    ended: list[float] = []

    async def wait_for(id_: str) -> None:
        await finish(oracle.watch(id_))
        ended.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for id_ in oracle.lives:
            group.start_soon(wait_for, id_)
    assert ended == pytest.approx([60 * (n + 1) for n in range(50)], abs=0.1)
    assert [len(ids) for _, ids in oracle.asked] == [50, *range(50, 0, -1)]


async def cancelled_at(seconds: float, watcher: Watcher) -> None:
    with anyio.move_on_after(seconds):
        await finish(watcher)


@pytest.mark.parametrize("moment", [0, 0.005, 5, 10.01, 30, 60.005, 65, 70.01])
async def test_a_leader_that_is_cancelled_leaves_no_gap_and_nothing_is_counted_twice(moment: float) -> None:
    """The moments: gathering, during the first question, as it is answered, asleep, and the same once more."""
    oracle = Oracle(10, a=FOREVER, b=FOREVER, c=FOREVER)
    others = [oracle.watch("b", retries=4), oracle.watch("c", retries=4)]
    async with anyio.create_task_group() as group:
        group.start_soon(cancelled_at, moment, oracle.watch("a"))
        for other in others:
            group.start_soon(finish, other)
    assert [watch.asked for other in others for watch in other.states.values()] == [4, 4]
    asked = [at for at, ids in oracle.asked if ids != ["a"]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert max(gaps) == pytest.approx(60, abs=10.1)
    assert len(asked) - 4 <= (round(moment) % 60 in {5, 10})


async def test_who_takes_the_lead_and_is_cancelled_in_the_same_moment_hands_it_on() -> None:
    oracle = Oracle(a=FOREVER, b=FOREVER, c=[(0, "running"), (100, "done")])
    scopes = [anyio.CancelScope(), anyio.CancelScope()]

    async def wait_for(id_: str, scope: anyio.CancelScope) -> None:
        with scope:
            await finish(oracle.watch(id_))

    last = oracle.watch("c")
    async with anyio.create_task_group() as group:
        for id_, scope in zip("ab", scopes, strict=True):
            group.start_soon(wait_for, id_, scope)
            await settle_down()
        group.start_soon(finish, last)
        await anyio.sleep(30)
        for scope in scopes:
            scope.cancel()
    assert (status(last, "c"), oracle.times[-1]) == ("done", 120)


async def test_a_crowd_that_is_cancelled_all_at_once_leaves_the_last_one_in_the_lead() -> None:
    oracle = Oracle(0, None, **{f"n{n}": FOREVER for n in range(100)}, z=[(0, "running"), (1000, "done")])
    last = oracle.watch("z")
    async with anyio.create_task_group() as group:
        for n in range(100):
            group.start_soon(cancelled_at, 30 + n % 3, oracle.watch(f"n{n}"))
        await settle_down()
        group.start_soon(finish, last)
    assert status(last, "z") == "done"


async def test_a_leader_cancelled_again_and_again_does_not_keep_others_from_their_answers() -> None:
    oracle = Oracle(2, a=FOREVER, b=[(0, "running"), (100, "done")])
    patient, impatient = oracle.watch("b"), oracle.watch("a")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, patient)
        while not patient.is_over:
            await cancelled_at(1, impatient)
    assert anyio.current_time() < 130


async def test_jobs_that_no_task_waits_for_are_not_asked_for() -> None:
    oracle = Oracle(a=[(0, "running"), (50, "done")], b=FOREVER)
    watcher = oracle.watch("a", "b")
    await watcher.next_ended()
    asked = len(oracle.asked)
    await anyio.sleep(3600)
    assert (len(oracle.asked), oracle.in_flight) == (asked, 0)
    with anyio.move_on_after(30):
        await watcher.next_ended()
    assert len(oracle.asked) == asked + 1


async def test_news_that_come_while_nobody_waits_are_there_for_the_next_who_does() -> None:
    oracle = Oracle(10, a=FOREVER, b=[(0, "done")])
    watcher = oracle.watch("b")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a"))
        await settle_down()
        await cancelled_at(5, watcher)
        await anyio.sleep(10)
        assert watcher.is_over
        await finish(watcher)
        group.cancel_scope.cancel()
    assert status(watcher, "b") == "done"
    assert oracle.asked == [(pytest.approx(0, abs=0.1), ["a", "b"])]


async def test_who_comes_back_while_its_question_is_under_way_is_not_asked_for_again() -> None:
    oracle = Oracle(10, a=FOREVER, b=[(0, "running"), (50, "done")])
    watcher = oracle.watch("b")
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a"))
        await settle_down()
        await cancelled_at(5, watcher)
        await finish(watcher)
        group.cancel_scope.cancel()
    assert [ids for _, ids in oracle.asked] == [["a", "b"], ["a", "b"]]


async def test_who_waits_for_changes_hears_that_there_will_be_none_while_somebody_else_leads() -> None:
    oracle = Oracle(a=FOREVER, b=[(0, NotFoundError("gone", status=404))])
    async with anyio.create_task_group() as group:
        group.start_soon(finish, oracle.watch("a"))
        await settle_down()
        watcher = oracle.watch("b")
        with anyio.fail_after(100):
            assert await watcher.next_changed() is None
        group.cancel_scope.cancel()


async def test_every_change_of_a_status_is_news() -> None:
    oracle = Oracle(a=[(0, "queued"), (50, "running"), (170, "perhaps"), (182, "done")])
    watcher, seen = oracle.watch(a=Thing("a", "queued")), []
    while (watch := await watcher.next_changed()) is not None:
        seen.append(watch.item and watch.item.status)
    assert seen == ["running", "perhaps", "done"]


async def test_a_second_task_with_the_same_watcher_is_told_so_and_the_first_waits_on() -> None:
    oracle = Oracle(a=[(0, "running"), (100, "done")])
    watcher = oracle.watch()
    async with anyio.create_task_group() as group:
        group.start_soon(finish, watcher)
        await anyio.sleep(1)
        with pytest.raises(RuntimeError, match="another task is waiting"):
            await watcher.next_ended()
    assert status(watcher) == "done"


async def test_forgotten_watchers_are_forgotten_by_the_tracker_too() -> None:
    oracle = Oracle(a=FOREVER)
    watcher = oracle.watch()
    left = weakref.ref(watcher)
    async with anyio.create_task_group() as group:
        group.start_soon(cancelled_at, 100, watcher)
        del watcher
    gc.collect()
    assert left() is None


# errors and the end


async def test_an_error_that_is_no_answer_leaves_as_itself_and_the_next_one_asks_again() -> None:
    oracle = Oracle(a=[(0, LookupError("not ours")), (5, "done")], b=[(0, "running"), (70, "done")])
    second = oracle.watch("b")

    async def wait_longer() -> None:
        await anyio.lowlevel.checkpoint()
        await finish(second)

    async with anyio.create_task_group() as group:
        group.start_soon(wait_longer)
        with pytest.raises(LookupError, match="not ours"):
            await finish(oracle.watch("a"))
    assert status(second, "b") == "done"


async def expect_closed(wait: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(RuntimeError, match="closed while jobs were tracked.*another client"):
        await wait()


@pytest.mark.parametrize("moment", [0.005, 5, 30])
async def test_everybody_who_waits_hears_that_the_client_is_closed(moment: float) -> None:
    oracle = Oracle(10, a=FOREVER, b=FOREVER, c=FOREVER)
    async with anyio.create_task_group() as group:
        for id_ in "abc":
            group.start_soon(expect_closed, partial(finish, oracle.watch(id_)))
        await anyio.sleep(moment)
        for state in oracle.lives:
            oracle.lives[state] = [(0, RuntimeError("this client is closed"))]
        oracle.poller.close()
        closed_at = anyio.current_time()
    assert anyio.current_time() - closed_at < 10.1


async def test_after_the_end_nothing_is_asked_any_more() -> None:
    oracle = Oracle(a=FOREVER)
    oracle.poller.close()
    await expect_closed(partial(finish, oracle.watch()))
    assert oracle.asked == []


async def test_what_is_known_is_told_even_after_the_end() -> None:
    oracle = Oracle(a=[(0, "done")], b=[(0, "done")])
    watcher = oracle.watch()
    await watcher.next_ended()
    oracle.poller.close()
    await finish(watcher)
    assert (status(watcher, "a"), status(watcher, "b")) == ("done", "done")
