"""What is known of one job that is waited for, and when to ask for it again: values and decisions, no waiting.

A `Subscription` is what one caller waits for; a `PollState` is one id of it. Both are told the answers and return when
the id is due again. Several callers may wait for the same id, each with a state of its own.
"""

import copy
import enum
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from up42_async._config import Wait
from up42_async._config.polling import ADAPTIVE, checked_interval
from up42_async._errors import APIError, InvalidCredentialsError, NotFoundError
from up42_async._jobs import adaptive

NEVER: Final = math.inf
AT_ONCE: Final = -math.inf

_ROUNDING: Final = 0.001
"""Seconds by which the clock of the loop may wake early."""


class Phase(enum.Enum):
    """How near its end something is."""

    UNDER_WAY = "under way"
    SETTLING = "settling"
    """This may be the end."""
    FINISHED = "finished"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Timings:
    """How long things take while jobs are polled, in seconds."""

    settle: float = 5.0
    """How long a status that may be the last has to stay."""
    settle_first_look: float = 2.0
    """How long after its first sight it is looked at the first time: UP42 captures credits within 1.8 seconds."""
    refused: float = 10.0
    """How long UP42 has to refuse to answer for an id, by two queries at least, until it is given up."""
    missing: float = 300.0
    """How long UP42 has to answer 404 for a job that it has shown before: its replicas may lag behind."""
    batch_window: float = 0.01
    """How long callers that start together are waited for, so that one request asks for all of them."""
    late: float = 0.5
    """How long after the others of its round a request is late; nobody waits for late ones."""


class Pollable(Protocol):
    """Something with an id whose status changes until it is finished."""

    @property
    def id(self) -> str:
        """The id to ask for."""
        ...

    @property
    def status(self) -> Any:
        """The status, compared with the one before."""
        ...

    @property
    def updated(self) -> Any:
        """When it was last updated, compared with the time before."""
        ...

    @property
    def _known_age(self) -> float | None:
        """Seconds since it was created, None where UP42's clock is not known."""
        ...

    @property
    def _phase(self) -> Phase:
        """How near its end it is."""
        ...

    @property
    def _settling_since(self) -> float | None:
        """When a status that may be the last was first seen, on the clock of the loop."""
        ...

    def _update(self, newer: Any, asked_at: float, settle: float) -> None:
        """Take over everything from a newer state, and decide whether a status that may be the last one is."""


T = TypeVar("T", bound=Pollable)


@attrs.frozen(eq=False, repr=False)
class QueryFailure:
    """Why a query for one id brought nothing."""

    error: APIError
    is_refusal: bool
    """Whether UP42 itself refuses to answer for this id; all else is an outage, which passes."""


class Grid:
    """Moments at which independent subscriptions fall due together: multiples of a spacing from one origin."""

    def __init__(self, origin: float = 0.0) -> None:
        self.origin = origin

    def at_or_after(self, moment: float, spacing: float) -> float:
        """Return the first moment of the grid at or after another."""
        return self.origin + spacing * math.ceil(round((moment - self.origin) / spacing, 6))

    def after(self, moment: float, spacing: float) -> float:
        """Return the next moment of the grid after another, by a hundredth of the spacing at least."""
        return self.origin + spacing * math.floor((moment - self.origin) / spacing + 1.01)

    def nearest(self, moment: float, spacing: float) -> float:
        """Return the moment of the grid that is nearest to another."""
        return self.origin + spacing * round((moment - self.origin) / spacing)


@attrs.define(eq=False, repr=False)
class PollState(Generic[T]):
    """What is known of one id that a caller waits for."""

    id: str
    intervals: Iterator[float | None] | None
    """Seconds between queries, None when they are all the same."""
    item: T | None = None
    status: Any = None
    """The status at the last query."""
    asked: int = 0
    created_at: float | None = None
    """When it was created, on the clock of the loop; the first query, as long as nothing better is known."""
    refused_since: float | None = None
    """When the first of the refusals in a row was asked for."""
    changed_at: float | None = None
    """When `status` or `updated` was first seen as it is, by the queries of this wait."""
    problem: str | None = None
    """Why the last query brought nothing, None when it did."""
    unanswered: bool = False
    """Whether it brought nothing because of an outage."""
    is_open: bool = True
    """Whether it is still waited for."""
    reason: str | None = None
    """Why it was given up, None when it was not."""

    @property
    def queries(self) -> str:
        """How often it was asked for, in words."""
        return "1 query" if self.asked == 1 else f"{self.asked} queries"


class Subscription(Generic[T]):
    """What one caller waits for: its ids, when they are due, and what is new about them."""

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
        """Make every id due that is not finished.

        Args:
            items: What to wait for by id, None where only the id is known; what is finished already is not asked for.
            wait: Seconds between two queries, or a callable without arguments that returns a generator of them.
            retries: How often to ask for each id at the most.
            is_enough: Says of an item that is not finished whether it has come as far as the caller wants.
            stalled_after: Seconds without a change after which an id is given up, None for never.
            timings: How long other things take.

        Raises:
            TypeError: A callable that returns no generator.
        """
        self._retries = retries
        self.ended: dict[str, None] = {}
        self.changed: dict[str, None] = {}
        self.states: dict[str, PollState[T]] = {}
        self.awaited: dict[str, None] | None = None
        """Which of the two the caller waits for now."""
        self._is_adaptive = wait == ADAPTIVE
        self._wait = math.nan if callable(wait) or wait == ADAPTIVE else wait
        self._has_grid = self._wait >= timings.batch_window
        self._is_enough = is_enough
        self._stalled_after = stalled_after
        self._timings = timings
        self._moments: list[float] = []
        """When something is due, as a heap."""
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
        # most ids of a wait are due at the same moments, those of the grid: one entry of the heap for all of them
        together = self._due_at.get(due)
        if together is None:
            self._due_at[due] = [state]
            heapq.heappush(self._moments, due)
        else:
            together.append(state)

    @property
    def due(self) -> float:
        """When to ask next, infinity for never."""
        return self._moments[0] if self._moments else NEVER

    @property
    def is_new(self) -> bool:
        """Whether nothing has been asked yet."""
        return self.due == AT_ONCE

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to ask for."""
        return not self._open

    @property
    def has_news(self) -> bool:
        """Whether the caller gets an answer now, be it that there is nothing more to wait for."""
        return bool(self.awaited) or self.is_over

    def counts(self) -> Counter[str]:
        """Return how many ids there are of each status, `"unknown"` for those that were never seen."""
        return Counter("unknown" if state.item is None else str(state.item.status) for state in self.states.values())

    def take_due(self, now: float) -> list[PollState[T]]:
        """Remove from the schedule what is due, and return it; `answer` or `put_back` puts it back."""
        due: list[PollState[T]] = []
        while self._moments and self._moments[0] <= now:
            due += self._due_at.pop(heapq.heappop(self._moments))
        return due

    def put_back(self, state: PollState[T]) -> None:
        """Note that something that was due was not asked for after all: it is due at once."""
        self._push(AT_ONCE, state)

    def answer(self, state: PollState[T], answer: T | QueryFailure, asked_at: float, grid: Grid) -> float:
        """Take the answer to a query.

        Args:
            state: What was asked for.
            answer: What came.
            asked_at: When it was asked for, on the clock of the loop.
            grid: Where queries are due.

        Returns:
            When to ask again; infinity for never.
        """
        state.asked += 1
        if state.created_at is None:
            state.created_at = asked_at
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
            item = state.item = copy.copy(answer)  # others may wait for the same id
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
        if self._stalled_after is not None and asked_at - state.changed_at >= self._stalled_after - _ROUNDING:
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
            if asked_at - state.refused_since >= patience - _ROUNDING:
                return self._give_up(state, state.problem)
        return self._next_due(state, asked_at, grid)

    def _next_due(self, state: PollState[T], asked_at: float, grid: Grid) -> float:
        if state.asked >= self._retries:
            last = f"; the last one brought nothing: {state.problem}" if state.problem else ""
            return self._give_up(state, f"not finished after {state.queries}{last}")
        try:
            regular = self._regular_due(state, asked_at, grid)
        except StopIteration:
            return self._give_up(state, f"the generator of waits ended after {state.queries}")
        except Exception as error:  # noqa: BLE001 - the caller's own code, run by whoever leads: it must not hurt others
            return self._give_up(state, f"the generator of waits failed after {state.queries}: {error!r}")
        since = None if state.item is None else state.item._settling_since
        return regular if since is None else self._settling_due(state, since, regular, asked_at, grid)

    def _regular_due(self, state: PollState[T], asked_at: float, grid: Grid) -> float:
        if state.intervals is None:
            if not self._is_adaptive:
                moment = asked_at + self._wait
                return grid.nearest(moment, self._wait) if self._has_grid else moment
            spacing = adaptive.interval(asked_at - (asked_at if state.created_at is None else state.created_at))
            return grid.after(asked_at, spacing)
        interval = next(state.intervals)
        if interval is None:  # generators of `backoff` say nothing the first time
            interval = next(state.intervals)
        return asked_at + checked_interval(interval)

    def _settling_due(self, state: PollState[T], since: float, regular: float, asked_at: float, grid: Grid) -> float:
        """Return when to look again at what may be finished.

        The look at `settle` decides, and the one before brings the end that UP42 usually adds by then. The last query
        left must be one that can decide: there is no other after it.
        """
        timings = self._timings
        last_look = since + timings.settle
        if self._has_grid and self._wait < timings.settle:  # waits that short are kept to, so that strangers still meet
            last_look = grid.at_or_after(last_look, self._wait)
        is_last_query = state.asked == self._retries - 1
        if state.problem is not None:  # the look itself may have been that query
            return max(regular, last_look) if is_last_query else regular
        if is_last_query:
            return last_look
        first_look = since + timings.settle_first_look
        return min(regular, first_look if asked_at < first_look - _ROUNDING else last_look, last_look)

    def _end(self, state: PollState[T]) -> float:
        self._open -= 1
        state.is_open = False
        self.ended[state.id] = None
        return NEVER

    def _give_up(self, state: PollState[T], reason: str) -> float:
        state.reason = reason
        return self._end(state)


def _generator(wait: Wait) -> Iterator[float | None] | None:
    """Return the waits for one id, None when they are all the same."""
    if not callable(wait):
        return None
    waits = wait()
    if not isinstance(waits, Iterator):
        message = f"wait must return a generator of seconds when it is called, not {waits!r}"
        raise TypeError(message)
    return waits
