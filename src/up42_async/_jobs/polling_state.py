"""The state of polling: what is known of each id, and when its next query is due. Values and decisions, no I/O.

A `Subscription` holds the ids that one caller waits for, a `PollState` what is known of one of them. Several callers
may wait for the same id, each with a state of its own.
"""

import copy
import enum
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from up42_async._client import display
from up42_async._config import Wait
from up42_async._config.polling import ADAPTIVE, checked_interval
from up42_async._errors import APIError, InvalidCredentialsError, NotFoundError
from up42_async._jobs import adaptive

NEVER: Final = math.inf
AT_ONCE: Final = -math.inf

ROUNDING: Final = 0.001
"""Seconds by which the event loop may wake early."""


class Phase(enum.Enum):
    """How near its end a job is."""

    UNDER_WAY = "under way"
    SETTLING = "settling"
    """The status may be the last one."""
    FINISHED = "finished"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Timings:
    """Durations that polling uses, in seconds."""

    settle: float = 5.0
    """How long a status that may be the last one must stay until it counts as the last one."""
    settle_early_query: float = 2.0
    """How long after it was first seen the next query is sent: UP42 captures credits within 1.8 seconds (recorded)."""
    refused: float = 10.0
    """How long UP42 must refuse to answer for an id, in at least two queries, until its wait ends."""
    missing: float = 300.0
    """How long UP42 must answer 404 for a job that was seen before until its wait ends: replicas may lag behind."""
    batch_window: float = 0.01
    """How long the leader waits for other callers that start now, so that one request asks for all their ids."""
    late: float = 0.5
    """How long an answer may take, beyond twice the slowest of its round, until the leader goes on without it."""


class Pollable(Protocol):
    """What can be polled: a job."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def status(self) -> Any:
        """The status."""
        ...

    @property
    def updated(self) -> Any:
        """When it was last updated."""
        ...

    @property
    def _known_age(self) -> float | None:
        """Seconds since it was created, None where UP42's clock is not known."""
        ...

    @property
    def _phase(self) -> Phase:
        """How near its end the job is."""
        ...

    @property
    def _settling_since(self) -> float | None:
        """When a status that may be the last one was first seen, by the clock of the event loop."""
        ...

    def _update(self, newer: Any, asked_at: float, settle: float) -> None:
        """Take over a newer state, and decide whether a status that may be the last one is the last one."""


T = TypeVar("T", bound=Pollable)


@attrs.frozen(eq=False, repr=False)
class QueryFailure:
    """Why a query for one id failed."""

    error: APIError
    is_refusal: bool
    """Whether UP42 itself refuses to answer for this id; every other failure is an outage, which passes."""


AnswerT = TypeVar("AnswerT")
AnswerCallback = Callable[[Mapping[str, AnswerT | QueryFailure]], None]
"""Called with the answers for some ids."""


class Grid:
    """Moments at which queries of several subscriptions are due together: multiples of a spacing from one origin."""

    def __init__(self, origin: float = 0.0) -> None:
        self.origin = origin

    def at_or_after(self, moment: float, spacing: float) -> float:
        """Return the first moment of the grid that is not before another moment."""
        return self.origin + spacing * math.ceil(round((moment - self.origin) / spacing, 6))

    def after(self, moment: float, spacing: float) -> float:
        """Return the first moment of the grid that is a hundredth of the spacing or more after another moment."""
        return self.origin + spacing * math.floor((moment - self.origin) / spacing + 1.01)

    def nearest(self, moment: float, spacing: float) -> float:
        """Return the moment of the grid that is nearest to another moment."""
        return self.origin + spacing * round((moment - self.origin) / spacing)


@attrs.define(eq=False, repr=False)
class PollState(Generic[T]):
    """What is known of one id for which a caller waits."""

    id: str
    intervals: Iterator[float | None] | None
    """Generator of the seconds between two queries; None when they do not come from a generator."""
    item: T | None = None
    status: Any = None
    """The status at the last query."""
    asked: int = 0
    """Number of queries that were answered, or failed."""
    created_at: float | None = None
    """For adaptive polling: when the job was created, by the clock of the event loop; the first query if not known."""
    refused_since: float | None = None
    """Time of the first query that was refused since the last answer; None when none was."""
    changed_at: float | None = None
    """Time of the query of this wait that first returned the present `status` and `updated`."""
    problem: str | None = None
    """Why the last query failed; None when it did not."""
    unanswered: bool = False
    """Whether the last query failed because of an outage."""
    is_open: bool = True
    """Whether the wait for this id goes on."""
    reason: str | None = None
    """Why the wait ended before the job was finished; None when it did not."""

    @property
    def queries(self) -> str:
        """The number of queries, in words."""
        return display.counted(self.asked, "query")


class Subscription(Generic[T]):
    """The ids that one caller waits for, when their queries are due, and the events that the caller has not read."""

    def __init__(
        self,
        items: Mapping[str, T | None],
        *,
        wait: Wait,
        retries: int,
        is_enough: Callable[[T], bool] | None = None,
        stalled_after: float | None = None,
        timings: Timings,
    ) -> None:
        """Make a query due at once for every job that is not finished.

        Args:
            items: The jobs by id, None where only the id is known. No query is sent for a job that is finished.
            wait: Seconds between two queries, or a callable without arguments that returns a generator of them.
            retries: Most queries for each id.
            is_enough: Returns whether a job that is not finished has come as far as the caller wants.
            stalled_after: Seconds without a change after which the wait for an id ends; None for never.
            timings: The other durations.

        Raises:
            TypeError: The callable does not return a generator.
        """
        self._retries = retries
        self.ended: dict[str, None] = {}
        """Ids whose wait has ended, until the caller reads them, in order."""
        self.changed: dict[str, None] = {}
        """Ids with a new status, until the caller reads them, in order."""
        self.states: dict[str, PollState[T]] = {}
        self.awaited: dict[str, None] | None = None
        """Which of these two the caller waits for now."""
        self._is_adaptive = wait == ADAPTIVE
        self._wait = math.nan if callable(wait) or wait == ADAPTIVE else wait
        self._has_grid = self._wait >= timings.batch_window
        self._is_enough = is_enough
        self._stalled_after = stalled_after
        self._timings = timings
        self._moments: list[float] = []
        """When queries are due, as a heap; each moment once."""
        self._due_at: dict[float, list[PollState[T]]] = {}
        self._open = 0
        for id_, item in items.items():
            self._add(PollState(id_, _generator(wait), item, item and item.status))

    def _add(self, state: PollState[T]) -> None:
        self.states[state.id] = state
        self._open += 1
        if state.item is not None and self._has_ended(state.item):
            self._end(state)
        else:
            self._push(AT_ONCE, state)

    def _push(self, due: float, state: PollState[T]) -> None:
        # most ids are due at the same moments, those of the grid: one entry of the heap serves all of them
        together = self._due_at.get(due)
        if together is None:
            self._due_at[due] = [state]
            heapq.heappush(self._moments, due)
        else:
            together.append(state)

    @property
    def due(self) -> float:
        """When the next query is due; infinity for never."""
        return self._moments[0] if self._moments else NEVER

    @property
    def is_new(self) -> bool:
        """Whether no query has been sent yet."""
        return self.due == AT_ONCE

    @property
    def is_over(self) -> bool:
        """Whether the wait for every id has ended."""
        return not self._open

    @property
    def has_events(self) -> bool:
        """Whether the caller need not wait: there is an event for it, or there will be no more."""
        return bool(self.awaited) or self.is_over

    def counts(self) -> Counter[str]:
        """Return the number of ids of each status; `"unknown"` counts those that were never seen."""
        return Counter("unknown" if state.item is None else str(state.item.status) for state in self.states.values())

    def take_due(self, now: float) -> list[PollState[T]]:
        """Remove from the schedule what is due, and return it; `answer` or `put_back` puts it back."""
        due: list[PollState[T]] = []
        while self._moments and self._moments[0] <= now:
            due += self._due_at.pop(heapq.heappop(self._moments))
        return due

    def put_back(self, state: PollState[T]) -> None:
        """Make the query for an id due at once, because the last one ended without an answer for it."""
        self._push(AT_ONCE, state)

    def answer(self, state: PollState[T], answer: T | QueryFailure, asked_at: float, grid: Grid) -> float:
        """Apply the answer to a query.

        Args:
            state: The state of the id.
            answer: The job as it is now, or why the query failed.
            asked_at: When the query was sent, by the clock of the event loop.
            grid: The moments at which queries are due together.

        Returns:
            When the next query for the id is due; infinity for never.
        """
        state.asked += 1
        if isinstance(answer, QueryFailure):
            due = self._fail(state, answer, asked_at, grid)
        else:
            due = self._apply(state, answer, asked_at, grid)
        if due < NEVER:
            self._push(due, state)
        return due

    def _apply(self, state: PollState[T], answer: T, asked_at: float, grid: Grid) -> float:
        state.refused_since, state.problem, state.unanswered = None, None, False
        item = state.item
        if item is None:
            item = state.item = copy.copy(answer)  # other callers may wait for the same id
        if state.status != answer.status:
            state.status = answer.status
            self.changed[state.id] = None
            state.changed_at = asked_at
        elif state.changed_at is None or item.updated != answer.updated:
            state.changed_at = asked_at
        if self._is_adaptive and state.changed_at == asked_at and (age := answer._known_age) is not None:
            state.created_at = asked_at - age
        item._update(answer, asked_at, self._timings.settle)
        if self._has_ended(item):
            return self._end(state)
        if self._stalled_after is not None and asked_at - state.changed_at >= self._stalled_after - ROUNDING:
            return self._give_up(state, f"no new status or update for {asked_at - state.changed_at:.0f} s")
        return self._next_due(state, asked_at, grid)

    def _has_ended(self, item: T) -> bool:
        return item._phase is Phase.FINISHED or (self._is_enough is not None and self._is_enough(item))

    def _fail(self, state: PollState[T], failure: QueryFailure, asked_at: float, grid: Grid) -> float:
        state.problem, state.unanswered = str(failure.error), not failure.is_refusal
        if failure.is_refusal:
            if state.refused_since is None:
                state.refused_since = asked_at
            if isinstance(failure.error, InvalidCredentialsError):
                return self._give_up(state, state.problem)
            is_missing = state.item is not None and isinstance(failure.error, NotFoundError)
            patience = self._timings.missing if is_missing else self._timings.refused
            if asked_at - state.refused_since >= patience - ROUNDING:
                return self._give_up(state, state.problem)
        return self._next_due(state, asked_at, grid)

    def _next_due(self, state: PollState[T], asked_at: float, grid: Grid) -> float:
        if state.asked >= self._retries:
            last = f"; the last one failed: {state.problem}" if state.problem else ""
            return self._give_up(state, f"not finished after {state.queries}{last}")
        try:
            regular = self._regular_due(state, asked_at, grid)
        except StopIteration:
            return self._give_up(state, f"the generator of waits ended after {state.queries}")
        except Exception as error:  # noqa: BLE001 - the caller's own code: it must not end the waits of other callers
            return self._give_up(state, f"the generator of waits failed after {state.queries}: {error!r}")
        since = None if state.item is None else state.item._settling_since
        return regular if since is None else self._settling_due(state, since, regular, asked_at, grid)

    def _regular_due(self, state: PollState[T], asked_at: float, grid: Grid) -> float:
        if state.intervals is None:
            if not self._is_adaptive:
                moment = asked_at + self._wait
                return grid.nearest(moment, self._wait) if self._has_grid else moment
            if state.created_at is None:
                state.created_at = asked_at
            return grid.after(asked_at, adaptive.interval(asked_at - state.created_at))
        interval = next(state.intervals)
        if interval is None:  # generators of `backoff` yield None the first time
            interval = next(state.intervals)
        return asked_at + checked_interval(interval)

    def _settling_due(self, state: PollState[T], since: float, regular: float, asked_at: float, grid: Grid) -> float:
        """Return when the next query is due for a job whose status may be the last one.

        The query at `settle` decides; the one before it finds the last status where UP42 has set it by then, which is
        usual. The last query that is left must be one that can decide, since no other comes after it.
        """
        timings = self._timings
        deciding_query = since + timings.settle
        if self._has_grid and self._wait < timings.settle:  # keep to so short a wait, and so to others' queries
            deciding_query = grid.at_or_after(deciding_query, self._wait)
        is_last_query = state.asked == self._retries - 1
        if state.problem is not None:  # the deciding query may have been the one that failed
            return max(regular, deciding_query) if is_last_query else regular
        if is_last_query:
            return deciding_query
        early_query = since + timings.settle_early_query
        return min(regular, early_query if asked_at < early_query - ROUNDING else deciding_query, deciding_query)

    def _end(self, state: PollState[T]) -> float:
        self._open -= 1
        state.is_open = False
        self.ended[state.id] = None
        return NEVER

    def _give_up(self, state: PollState[T], reason: str) -> float:
        state.reason = reason
        return self._end(state)


def _generator(wait: Wait) -> Iterator[float | None] | None:
    """Return the generator of waits for one id; None when `wait` is no callable."""
    if not callable(wait):
        return None
    waits = wait()
    if not isinstance(waits, Iterator):
        message = f"wait must return a generator of seconds when it is called, not {waits!r}"
        raise TypeError(message)
    return waits
