"""Know when to ask again, for anything with an id, and ask for all that is due together, whoever waits for it.

Nothing runs in the background: of all tasks that wait, one leads. It sleeps until something is due, asks for everything
that is due, hands the answers out, and goes back to its caller as soon as there is news for itself; then the next one
leads. A leader that is cancelled leaves its question unanswered, so the next one asks it again.
"""

import copy
import enum
import heapq
import itertools
import logging
import math
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio
import attrs

from up42_async import _clock
from up42_async._config import Wait
from up42_async._config.polling import checked_interval, checked_retries, checked_wait
from up42_async._errors import APIError, InvalidCredentialsError, RateLimitError, ServerError, StatusError

logger = logging.getLogger("up42_async")

GATHER: Final = 0.01
"""Seconds the leader waits for others to join before it asks: many tasks that start together ask together."""

SETTLE: Final = 5.0
"""Seconds after which a status that may be the last is looked at again: credits are captured or released meanwhile."""

STRIKES: Final = 2
"""How often in a row UP42 must refuse to answer for an id before it is given up."""

NEVER: Final = math.inf
AT_ONCE: Final = -math.inf

_REQUEST_TIMEOUT = 408
_ROUNDING: Final = 0.001


class Progress(enum.Enum):
    """How near the end something is."""

    UNDER_WAY = "under way"
    SETTLING = "settling"
    """This may be the end."""
    FINISHED = "finished"


class Trackable(Protocol):
    """Something with an id whose status changes until it is finished."""

    @property
    def id(self) -> str:
        """The id to ask for."""
        ...

    @property
    def status(self) -> object:
        """The status, compared with the one before."""
        ...

    @property
    def progress(self) -> Progress:
        """How near the end it is."""
        ...

    def update(self, newer: Any) -> None:
        """Take over everything from a newer state of the same thing."""

    def settle(self) -> None:
        """Note that a status that may be the last one is."""


T = TypeVar("T", bound=Trackable)
Answers = Mapping[str, T | APIError]
Due = dict[str, list[tuple["Watcher[T]", "Watch[T]"]]]


@attrs.define(eq=False)
class Watch(Generic[T]):
    """One id that a watcher waits for."""

    id: str
    intervals: Iterator[float | None] | None
    item: T | None = None
    status: object = None
    """The status at the last query."""
    asked: int = 0
    strikes: int = 0
    settling_since: float | None = None
    problem: str | None = None
    """Why the last query brought nothing, None when it did."""
    unanswered: bool = False
    """Whether it brought nothing because of an outage."""
    reason: str | None = None
    """Why it was given up, None when it was not."""

    @property
    def queries(self) -> str:
        """How often it was asked for, in words."""
        return "1 query" if self.asked == 1 else f"{self.asked} queries"


class Watcher(Generic[T]):
    """What one caller waits for: its ids, when they are due, and what is new about them."""

    def __init__(self, tracker: "Tracker[T]", items: Mapping[str, T | None], *, wait: Wait, retries: int) -> None:
        """Ask for nothing yet.

        Args:
            tracker: The tracker of the client.
            items: What to wait for by id, None where only the id is known; what is finished already is not asked for.
            wait: Seconds between two queries, or a callable without arguments that returns a generator of them.
            retries: How often to ask for each id at the most.

        Raises:
            TypeError: A wait that is neither a number nor callable, or retries that are no whole number.
            ValueError: A wait below 0 or beyond thirty years, or less than one query.
        """
        wait, retries = checked_wait(wait), checked_retries(retries)
        self.ended: dict[str, None] = {}
        self.changed: dict[str, None] = {}
        self.roused = anyio.Event()
        self.watches: dict[str, Watch[T]] = {}
        self._tracker = tracker
        self._wait = math.nan if callable(wait) else wait
        self._retries = retries
        self._number = itertools.count()
        self._queue: list[tuple[float, int, Watch[T]]] = []
        self._open = 0
        self._awaited: dict[str, None] | None = None
        for id_, item in items.items():
            self._add(Watch(id_, _generator(wait), item, item and item.status))

    def _add(self, watch: Watch[T]) -> None:
        self.watches[watch.id] = watch
        self._open += 1
        if watch.item is not None and watch.item.progress is Progress.FINISHED:
            self._end(watch)
        else:
            self._push(AT_ONCE, watch)

    def _push(self, due: float, watch: Watch[T]) -> None:
        heapq.heappush(self._queue, (due, next(self._number), watch))

    @property
    def due(self) -> float:
        """When to ask next, infinity for never."""
        return self._queue[0][0] if self._queue else NEVER

    @property
    def is_new(self) -> bool:
        """Whether nothing has been asked yet."""
        return self.due == AT_ONCE

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to ask for."""
        return not self._open

    async def next_of(self, news: dict[str, None]) -> Watch[T] | None:
        """Wait for the next news of one kind, `ended` or `changed`.

        Returns:
            What is news; None when there will be no more.

        Raises:
            RuntimeError: Another task waits with the same watcher.
        """
        if self._awaited is not None:
            message = "another task is waiting for the same jobs with this object; call track() once more for each task"
            raise RuntimeError(message)
        self._awaited = news
        try:
            while not news and self._open:
                await self._tracker.attend(self, news)
        finally:
            self._awaited = None
        if not news:
            return None
        id_ = next(iter(news))
        del news[id_]
        return self.watches[id_]

    def take_due(self, now: float) -> Iterator[Watch[T]]:
        """Take out of the schedule what is due; each is to be given back by `answer` or `put_back`."""
        while self._queue and self._queue[0][0] <= now:
            yield heapq.heappop(self._queue)[2]

    def put_back(self, watch: Watch[T]) -> None:
        """Note that something that was due was not asked for after all: it is due at once."""
        self._push(AT_ONCE, watch)

    def answer(self, watch: Watch[T], answer: T | APIError, asked_at: float) -> None:
        """Take the answer to a query, and note when to ask again.

        Args:
            watch: What was asked for.
            answer: What came.
            asked_at: When it was asked for, on the monotonic clock.
        """
        due = self._judge(watch, answer, asked_at)
        if due < NEVER:
            self._push(due, watch)
        if self._awaited is not None and (self._awaited or self.is_over):
            self.roused.set()

    def _judge(self, watch: Watch[T], answer: T | APIError, asked_at: float) -> float:
        """Return when to ask again."""
        watch.asked += 1
        if isinstance(answer, APIError):
            return self._after_failure(watch, answer, asked_at)
        watch.strikes, watch.problem, watch.unanswered = 0, None, False
        if watch.status != answer.status:
            watch.status, watch.settling_since = answer.status, None
            self.changed[watch.id] = None
        if watch.item is None:
            watch.item = copy.copy(answer)  # others may wait for the same id
        else:
            watch.item.update(answer)
        progress = watch.item.progress
        if progress is Progress.FINISHED or (
            progress is Progress.SETTLING and self._has_settled(watch, watch.item, asked_at)
        ):
            return self._end(watch)
        return self._next_due(watch, asked_at)

    def _has_settled(self, watch: Watch[T], item: T, asked_at: float) -> bool:
        if watch.settling_since is None:
            watch.settling_since = asked_at
        if asked_at - watch.settling_since < SETTLE - _ROUNDING:
            return False
        item.settle()
        return True

    def _after_failure(self, watch: Watch[T], error: APIError, asked_at: float) -> float:
        watch.problem, watch.unanswered = str(error), not _is_refusal(error)
        if not watch.unanswered:
            watch.strikes += 1
            if watch.strikes >= STRIKES or isinstance(error, InvalidCredentialsError):
                return self._give_up(watch, watch.problem)
        return self._next_due(watch, asked_at)

    def _next_due(self, watch: Watch[T], asked_at: float) -> float:
        if watch.asked >= self._retries:
            last = f"; the last one brought nothing: {watch.problem}" if watch.problem else ""
            return self._give_up(watch, f"not finished after {watch.queries}{last}")
        try:
            regular = self._regular_due(watch, asked_at)
        except StopIteration:
            return self._give_up(watch, f"the generator of waits ended after {watch.queries}")
        except Exception as error:  # noqa: BLE001 - the caller's own code, run by whoever leads: it must not hurt others
            return self._give_up(watch, f"the generator of waits failed after {watch.queries}: {error!r}")
        return regular if watch.settling_since is None else self._settling_due(watch, watch.settling_since, regular)

    def _regular_due(self, watch: Watch[T], asked_at: float) -> float:
        if watch.intervals is None:
            return self._tracker.nearest_on_grid(asked_at + self._wait, self._wait)
        interval = next(watch.intervals)
        if interval is None:  # generators of `backoff` say nothing the first time
            interval = next(watch.intervals)
        return asked_at + checked_interval(interval)

    def _settling_due(self, watch: Watch[T], since: float, regular: float) -> float:
        """Return when to look again at what may be finished; the last query left must be one that can conclude."""
        second_look = self._tracker.on_grid(since + SETTLE, self._wait if self._wait < SETTLE else math.nan)
        is_last = watch.asked == self._retries - 1
        if watch.problem is not None:  # the second look itself may have been that query
            return max(regular, second_look) if is_last else regular
        return second_look if is_last else min(regular, second_look)

    def _end(self, watch: Watch[T]) -> float:
        self._open -= 1
        self.ended[watch.id] = None
        return NEVER

    def _give_up(self, watch: Watch[T], reason: str) -> float:
        watch.reason = reason
        return self._end(watch)


class Tracker(Generic[T]):
    """The schedule of one client: everybody who waits, one of whom leads."""

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[Answers[T]]], most: int) -> None:
        """Begin with nobody waiting.

        Args:
            ask: Asks for some ids, and returns for each an item or why there is none.
            most: How many ids to ask for together.
        """
        self._ask = ask
        self._most = most
        self._waiting: dict[Watcher[T], None] = {}
        self._leader: Watcher[T] | None = None
        self._sleeping_until = AT_ONCE
        self._wake = anyio.Event()
        self._grid_from = 0.0
        self._unanswered: weakref.WeakSet[Watch[T]] = weakref.WeakSet()
        self._silent_since: float | None = None
        self._closed = False

    def close(self) -> None:
        """Tell everybody who waits that the client is closed."""
        self._closed = True
        self._wake.set()
        for watcher in self._waiting:
            watcher.roused.set()

    def on_grid(self, moment: float, spacing: float) -> float:
        """Return the first due time at or after a moment; the moment itself where there is no grid."""
        if not spacing >= GATHER:
            return moment
        return self._grid_from + spacing * math.ceil(round((moment - self._grid_from) / spacing, 6))

    def nearest_on_grid(self, moment: float, spacing: float) -> float:
        """Return the due time nearest to a moment, so that strangers who wait alike ask together."""
        if not spacing >= GATHER:
            return moment
        return self._grid_from + spacing * round((moment - self._grid_from) / spacing)

    async def attend(self, watcher: Watcher[T], news: dict[str, None]) -> None:
        """Wait for news or for the lead, and lead if nobody else does.

        Raises:
            RuntimeError: The client is closed.
        """
        self._join(watcher)
        try:
            if self._leader is not watcher:
                await watcher.roused.wait()
            if self._leader is watcher:
                await self._lead(watcher, news)
            self._check_open()
        finally:
            watcher.roused = anyio.Event()
            self._leave(watcher)

    def _check_open(self) -> None:
        if self._closed:
            message = (
                "the client was closed while jobs were tracked; they go on at UP42: track their ids with another client"
            )
            raise RuntimeError(message)

    def _join(self, watcher: Watcher[T]) -> None:
        if not self._waiting and watcher.is_new:
            self._grid_from = _clock.now()
        self._waiting[watcher] = None
        if self._leader is None:
            self._leader = watcher
        if watcher.due < self._sleeping_until:
            self._wake.set()

    def _leave(self, watcher: Watcher[T]) -> None:
        """Go, and hand the lead to whoever has waited longest: a newcomer that goes again and again could starve it."""
        del self._waiting[watcher]
        if self._leader is watcher:
            self._leader = next(iter(self._waiting), None)
            if self._leader is not None:
                self._leader.roused.set()

    async def _lead(self, watcher: Watcher[T], news: dict[str, None]) -> None:
        while not (news or watcher.is_over or self._closed):
            await self._sleep_until(min(waiting.due for waiting in self._waiting))
            await self._ask_for_all_due()

    async def _sleep_until(self, due: float) -> None:
        """Sleep until something is due, or somebody joins who is due earlier; then give others a moment to join."""
        now = _clock.now()
        if due > now:
            self._sleeping_until, self._wake = due, anyio.Event()
            try:
                await _clock.wait_for(self._wake, due - now)
            finally:
                self._sleeping_until = AT_ONCE
        await _clock.sleep(GATHER)

    async def _ask_for_all_due(self) -> None:
        asked_at = _clock.now()
        due: Due[T] = {}
        for watcher in self._waiting:
            for watch in watcher.take_due(asked_at):
                due.setdefault(watch.id, []).append((watcher, watch))
        ids = list(due)
        errors: list[Exception] = []
        try:
            async with anyio.create_task_group() as group:
                for start in range(0, len(ids), self._most):
                    group.start_soon(self._ask_for, ids[start : start + self._most], due, asked_at, errors)
        finally:
            for watcher, watch in itertools.chain.from_iterable(due.values()):
                watcher.put_back(watch)
        if errors:
            self._check_open()
            raise errors[0]

    async def _ask_for(self, ids: Sequence[str], due: "Due[T]", asked_at: float, errors: list[Exception]) -> None:
        """Ask for some ids and hand the answers out; an error that is no answer is kept, to leave as itself."""
        try:
            answers = await self._ask(ids)
        except Exception as error:  # noqa: BLE001 - raised again by the caller, outside the task group
            errors.append(error)
            return
        heard = False
        for id_ in ids:
            for watcher, watch in due.pop(id_):
                watcher.answer(watch, answers[id_], asked_at)
                heard |= self._hear(watch)
        self._report_silence(heard=heard)

    def _hear(self, watch: Watch[T]) -> bool:
        """Note, and return, whether UP42 said something about a watch."""
        if watch.unanswered and watch.reason is None:
            self._unanswered.add(watch)
        elif self._silent_since is not None:
            self._unanswered.discard(watch)
        return not watch.unanswered

    def _report_silence(self, *, heard: bool) -> None:
        """Report an outage once when it begins, and once when it ends: when nobody lacks an answer any more."""
        now = _clock.now()
        if self._unanswered and self._silent_since is None:
            self._silent_since = now
            problem = next(iter(self._unanswered)).problem
            logger.warning("UP42 does not say how jobs are doing (%s); waiting goes on", problem)
        elif heard and not self._unanswered and self._silent_since is not None:
            logger.warning("UP42 says again how jobs are doing, after %.0f s", now - self._silent_since)
            self._silent_since = None


def _is_refusal(error: APIError) -> bool:
    """Return whether asking again will most likely be refused again, unlike an outage."""
    if not isinstance(error, StatusError):
        return False
    return not isinstance(error, RateLimitError | ServerError) and error.status != _REQUEST_TIMEOUT


def _generator(wait: Wait) -> Iterator[float | None] | None:
    """Return the waits for one id, None when they are all the same."""
    if not callable(wait):
        return None
    waits = wait()
    if not isinstance(waits, Iterator):
        message = f"wait must return a generator of seconds when it is called, not {waits!r}"
        raise TypeError(message)
    return waits
