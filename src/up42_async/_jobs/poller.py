"""Poll jobs: one request asks for all jobs of a client whose queries are due, for all callers that wait.

Nothing runs in the background: one of the waiting tasks is the leader. It sleeps until queries are due and sends them
in requests of up to 100 ids, each in a task of its own. An answer is applied when it arrives and schedules the next
query of its ids, so a request that hangs delays only the ids it asks for. A leader that has an event for its own caller
returns to it, and the task that has waited longest leads. Queries that the old leader leaves unanswered are due at
once, so the new leader sends them again.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic

import anyio

from up42_async import _clock
from up42_async._bulk import TaskGroup
from up42_async._client import Client
from up42_async._client.services import Service
from up42_async._config import Wait
from up42_async._config.arguments import real
from up42_async._config.polling import checked_retries, checked_wait
from up42_async._jobs.board import Board, BoardState
from up42_async._jobs.filters import statuses
from up42_async._jobs.models import JobStatus, passed
from up42_async._jobs.polling_state import (
    AT_ONCE,
    NEVER,
    AnswerCallback,
    Grid,
    PollState,
    QueryFailure,
    Subscription,
    T,
    Timings,
)

logger = logging.getLogger("up42_async")

_ABOVE_ZERO: Final[dict[str, Any]] = {"above": 0, "unit": "seconds"}

Due = dict[str, list[tuple[Subscription[T], PollState[T]]]]
"""The subscriptions whose query for an id is due, by id, each with its state of the id."""


class _Query(Generic[T]):
    """One request in flight."""

    def __init__(self, due: Due[T], asked_at: float) -> None:
        self.due = due
        """The ids that are not answered yet."""
        self.asked_at = asked_at


class _Lead(Generic[T]):
    """The requests of one leader."""

    def __init__(self) -> None:
        self.queries: set[_Query[T]] = set()
        """The requests in flight."""
        self.slowest = 0.0
        """Seconds that the slowest request of this round took."""
        self.error: Exception | None = None
        self.answered = anyio.Event()

    def late_at(self, allowance: float) -> float:
        """Return when all requests that are still in flight are late."""
        return max((query.asked_at for query in self.queries), default=AT_ONCE) + 2 * self.slowest + allowance


class Poller(Service, Generic[T]):
    """Polls the jobs of one client for all callers that wait for them; one of these callers is the leader."""

    def __init__(
        self, ask: Callable[[Sequence[str], AnswerCallback[T]], Awaitable[None]], max_ids: int, *, timings: Timings
    ) -> None:
        """Send nothing yet.

        Args:
            ask: Asks for some ids; it calls the callback with the job of each id, or why the query for it failed, once
                for each id and as soon as that is known.
            max_ids: Most ids for one call of `ask`.
            timings: The durations that polling uses.
        """
        self.timings = timings
        self._ask = ask
        self._max_ids = max_ids
        self._waiting: dict[Subscription[T], anyio.Event] = {}
        self._leader: Subscription[T] | None = None
        self._sleeping_until = AT_ONCE
        self._wake = anyio.Event()
        self._grid = Grid()
        self._unanswered: weakref.WeakSet[PollState[T]] = weakref.WeakSet()
        self._failing_since: float | None = None
        self._closed = False

    def close(self) -> None:
        """Wake all waiters; called when the client closes."""
        self._closed = True
        self._wake.set()
        for wakeup in self._waiting.values():
            wakeup.set()

    def counts(self) -> Mapping[str, int]:
        """Return the number of jobs for which callers wait now, each counted once."""
        states = (state for subscription in self._waiting for state in subscription.states.values())
        return {"tracked": len({state.id for state in states if state.is_open})}

    async def next_event(self, subscription: Subscription[T], events: dict[str, None]) -> PollState[T] | None:
        """Wait for the next event of a subscription.

        Args:
            subscription: The subscription.
            events: Its `ended` or its `changed`.

        Returns:
            The state of the id that has ended or changed; None when there will be no more events.

        Raises:
            RuntimeError: Another task waits for the same subscription, or the client was closed.
        """
        if subscription.awaited is not None:
            message = "another task is waiting for the same jobs with this object; call track() once more for each task"
            raise RuntimeError(message)
        subscription.awaited = events
        try:
            while not subscription.has_events:
                await self._wait(subscription)
        finally:
            subscription.awaited = None
        if not events:
            return None
        id_ = next(iter(events))
        del events[id_]
        return subscription.states[id_]

    async def _wait(self, subscription: Subscription[T]) -> None:
        """Wait for events, or to become the leader; lead when there is no leader."""
        wakeup = self._join(subscription)
        try:
            if self._leader is not subscription:
                await wakeup.wait()
            if self._leader is subscription:
                await self._run_leader(subscription)
            self._check_open()
        finally:
            self._leave(subscription)

    def _check_open(self) -> None:
        if self._closed:
            message = (
                "the client was closed while jobs were tracked; they go on at UP42: track their ids with another client"
            )
            raise RuntimeError(message)

    def _join(self, subscription: Subscription[T]) -> anyio.Event:
        if not self._waiting and subscription.is_new:
            self._grid = Grid(_clock.now())
        wakeup = self._waiting[subscription] = anyio.Event()
        if self._leader is None:
            self._leader = subscription
        self._wake_for(subscription.due)
        return wakeup

    def _leave(self, subscription: Subscription[T]) -> None:
        """Stop waiting; a leader is followed by the task that has waited longest, so that none waits for ever."""
        self._waiting.pop(subscription, None)
        if self._leader is subscription:
            self._leader = next(iter(self._waiting), None)
            if self._leader is not None:
                self._waiting[self._leader].set()

    def _wake_for(self, due: float) -> None:
        """Wake the leader when it would sleep longer than until the moment at which queries are due."""
        if due < self._sleeping_until:
            self._sleeping_until = due
            self._wake.set()

    async def _run_leader(self, subscription: Subscription[T]) -> None:
        lead: _Lead[T] = _Lead()
        async with TaskGroup() as group:
            due = min(waiting.due for waiting in self._waiting)
            while not (subscription.has_events or self._closed or lead.error):
                due = await self._sleep_or_ask(group, lead, due)
            self._leave(subscription)  # the next leader begins at once, though requests of this one may be in flight
            await self._wait_for_answers(lead)
            group.cancel_scope.cancel()
        if lead.error is not None:
            self._check_open()
            raise lead.error

    async def _sleep_or_ask(self, group: anyio.abc.TaskGroup, lead: _Lead[T], due: float) -> float:
        """Sleep until queries are due and send them, unless woken before; return when the next ones are due."""
        now = _clock.now()
        if due > now:
            self._sleeping_until, self._wake = due, anyio.Event()
            try:
                with anyio.move_on_after(due - now):
                    await self._wake.wait()
                    return self._sleeping_until  # an answer or a new caller may have made it earlier
            finally:
                self._sleeping_until = AT_ONCE
        await anyio.sleep(self.timings.batch_window)
        return self._ask_for_due(group, lead)

    def _ask_for_due(self, group: anyio.abc.TaskGroup, lead: _Lead[T]) -> float:
        """Send the queries that are due; return when the next ones are due."""
        now, later = _clock.now(), NEVER
        due: Due[T] = {}
        for subscription in self._waiting:
            next_due = subscription.due
            if next_due <= now:
                for state in subscription.take_due(now):
                    due.setdefault(state.id, []).append((subscription, state))
                next_due = subscription.due
            if next_due < later:  # noqa: PLR1730 - min() would cost thousands of callers a tenth of this scan
                later = next_due
        if lead.late_at(self.timings.late) <= now:
            lead.slowest = 0.0  # a new round: the slow requests of an outage before it do not count
        ids = list(due)
        for start in range(0, len(ids), self._max_ids):
            query = _Query({id_: due[id_] for id_ in ids[start : start + self._max_ids]}, now)
            lead.queries.add(query)
            group.start_soon(self._run_query, query, lead)
        return later

    async def _run_query(self, query: _Query[T], lead: _Lead[T]) -> None:
        try:
            await self._ask(list(query.due), partial(self._apply_answers, query))
        except Exception as error:  # noqa: BLE001 - the client was closed, or a fault of ours: the leader raises it
            lead.error = lead.error or error
            self._wake.set()
        finally:
            self._conclude(query, lead)

    def _conclude(self, query: _Query[T], lead: _Lead[T]) -> None:
        """Note the end of a request; queries that it did not answer are due at once."""
        lead.queries.discard(query)
        lead.slowest = max(lead.slowest, _clock.now() - query.asked_at)
        lead.answered.set()
        for subscription, state in itertools.chain.from_iterable(query.due.values()):
            subscription.put_back(state)
            self._wake_for(AT_ONCE)
        query.due.clear()

    async def _wait_for_answers(self, lead: _Lead[T]) -> None:
        """Wait for the requests in flight until they are late: the next leader would have to send them again."""
        while lead.queries and not self._closed:
            lead.answered = anyio.Event()
            patience = lead.late_at(self.timings.late) - _clock.now()
            if patience <= 0:
                return
            with anyio.move_on_after(patience):
                await lead.answered.wait()

    def _apply_answers(self, query: _Query[T], answers: Mapping[str, T | QueryFailure]) -> None:
        earliest, asked_at, grid = NEVER, query.asked_at, self._grid
        to_wake: set[Subscription[T]] = set()
        for id_, answer in answers.items():
            for subscription, state in query.due.pop(id_):
                due = subscription.answer(state, answer, asked_at, grid)
                if due < earliest:  # noqa: PLR1730 - min() would cost much for as many answers
                    earliest = due
                if due == NEVER or subscription.awaited:
                    to_wake.add(subscription)
                if state.unanswered or self._failing_since is not None:
                    self._note_outage(state)
        self._wake_for(earliest)
        for subscription in to_wake:
            self._wake_waiter(subscription)

    def _wake_waiter(self, subscription: Subscription[T]) -> None:
        """Wake the task that waits for a subscription when there is an event for it."""
        if not subscription.has_events:
            return
        if subscription is self._leader:
            self._wake.set()
        elif subscription in self._waiting:
            self._waiting[subscription].set()

    def _note_outage(self, state: PollState[T]) -> None:
        """Log an outage once when it begins, and once when it ends: when every id has an answer again."""
        if state.unanswered and state.reason is None:
            self._unanswered.add(state)
        else:
            self._unanswered.discard(state)
        now = _clock.now()
        if self._unanswered and self._failing_since is None:
            self._failing_since = now
            logger.warning("job status requests are failing (%s); still polling", state.problem)
        elif not state.unanswered and not self._unanswered and self._failing_since is not None:
            logger.warning("job status requests are answered again, after %.0f s", now - self._failing_since)
            self._failing_since = None


class Waiting(Generic[T]):
    """One wait of a caller for jobs, with the board that shows it."""

    def __init__(
        self,
        client: Client,
        kind: Callable[[Client], Poller[T]],
        items: Mapping[str, T | None],
        *,
        wait: Wait | None,
        retries: int | None,
        until: Iterable[JobStatus] | None,
        stalled_after: float | None,
        bar: bool,
    ) -> None:
        """Check the schedule; nothing is sent yet.

        Args:
            client: The client to use; its `Polling` has the schedule where none is given.
            kind: Returns the poller of a client.
            items: The jobs by id, None where only the id is known.
            wait: Seconds between two queries, or a callable that returns a generator of them; None for the client's.
            retries: Most queries for each id; None for the client's.
            until: Statuses that end the wait as well, also when a job has passed them between two queries.
            stalled_after: Seconds without a change after which the wait for an id ends; None for never.
            bar: Whether to show a board.

        Raises:
            RuntimeError: A board in a terminal needs `rich`, which is not installed.
            TypeError: An argument of the wrong type.
            ValueError: An argument out of its range.
        """
        polling = client._polling
        self._client = client
        self._poller: Poller[T] = client._service(kind)
        self._enough = frozenset(() if until is None else statuses(until, "until") or ())
        self._subscription: Subscription[T] = Subscription(
            items,
            wait=polling.wait if wait is None else checked_wait(wait),
            retries=polling.retries if retries is None else checked_retries(retries),
            is_enough=self._is_enough if self._enough else None,
            stalled_after=None if stalled_after is None else real(stalled_after, "stalled_after", **_ABOVE_ZERO),
            timings=self._poller.timings,
        )
        self._board = Board(self._state) if bar else None

    @property
    def states(self) -> Mapping[str, PollState[T]]:
        """The state of each id."""
        return self._subscription.states

    def counts(self) -> Counter[str]:
        """Return the number of ids of each status; `"unknown"` counts those that were never seen."""
        return self._subscription.counts()

    async def next_ended(self) -> PollState[T] | None:
        """Wait for the next id whose wait ends; None when there are no more."""
        return await self._next(self._subscription.ended)

    async def next_changed(self) -> PollState[T] | None:
        """Wait for the next id with a new status; None when there are no more."""
        return await self._next(self._subscription.changed)

    async def _next(self, events: dict[str, None]) -> PollState[T] | None:
        if self._board is None or events or self._subscription.is_over:
            return await self._poller.next_event(self._subscription, events)
        return await self._board.during(partial(self._poller.next_event, self._subscription, events))

    def _is_enough(self, item: T) -> bool:
        return not self._enough.isdisjoint(passed(item.status))

    def _state(self) -> BoardState:
        ended = sum(not state.is_open for state in self.states.values())
        return BoardState(
            counts=self.counts(), ended=ended, total=len(self.states), requests=self._client.statistics().requests
        )
