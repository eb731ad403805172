"""One wait for jobs, as `track` and `Job.track` have it: the poller asks, a subscription keeps what is known."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Generic

from up42_async._config import Polling, Wait
from up42_async._config.arguments import real
from up42_async._config.polling import checked_retries, checked_wait
from up42_async._jobs.board import Board, BoardState
from up42_async._jobs.filters import statuses
from up42_async._jobs.models import JobStatus, passed
from up42_async._jobs.poller import Poller
from up42_async._jobs.polling_state import PollState, Subscription, T

_ABOVE_ZERO: Final[dict[str, Any]] = {"above": 0, "unit": "seconds"}


class Waiting(Generic[T]):
    """What one caller waits for, and how it is shown meanwhile."""

    def __init__(
        self,
        poller: Poller[T],
        items: Mapping[str, T | None],
        polling: Polling,
        *,
        wait: Wait | None,
        retries: int | None,
        until: Iterable[JobStatus] | None,
        stalled_after: float | None,
        bar: bool,
        requests: Callable[[], int],
    ) -> None:
        """Check the schedule.

        Args:
            poller: Who asks.
            items: What to wait for by id, None where only the id is known.
            polling: The schedule of the client.
            wait: Seconds between two queries, or what makes a generator of them; None for the client's.
            retries: How often to ask for each id at the most; None for the client's.
            until: Statuses that end the wait as well, also when they have been passed since.
            stalled_after: Seconds without a change after which an id is given up; None for never.
            bar: Whether to show a board.
            requests: Returns how many requests the client has sent.

        Raises:
            RuntimeError: A board is wanted in a terminal, and `rich` is not installed.
            TypeError: A schedule of the wrong type.
            ValueError: A schedule that cannot be right.
        """
        self._poller = poller
        self._enough = frozenset(() if until is None else statuses(until, "until") or ())
        self._subscription: Subscription[T] = Subscription(
            items,
            wait=polling.wait if wait is None else checked_wait(wait),
            retries=polling.retries if retries is None else checked_retries(retries),
            is_enough=self._is_enough if self._enough else None,
            stalled_after=None if stalled_after is None else real(stalled_after, "stalled_after", **_ABOVE_ZERO),
            timings=poller.timings,
        )
        self._requests = requests
        self._board = Board(self._state) if bar else None

    @property
    def states(self) -> Mapping[str, PollState[T]]:
        """What is known of each id."""
        return self._subscription.states

    def counts(self) -> Counter[str]:
        """Return how many ids there are of each status, `"unknown"` for those that were never seen."""
        return self._subscription.counts()

    async def next_ended(self) -> PollState[T] | None:
        """Wait for the next id whose wait has ended; None when there is none left."""
        return await self._next(self._subscription.ended)

    async def next_changed(self) -> PollState[T] | None:
        """Wait for the next id with a new status; None when there will be no more."""
        return await self._next(self._subscription.changed)

    async def _next(self, events: dict[str, None]) -> PollState[T] | None:
        if self._board is None or events or self._subscription.is_over:
            return await self._poller.next_event(self._subscription, events)
        return await self._board.during(partial(self._poller.next_event, self._subscription, events))

    def _is_enough(self, item: T) -> bool:
        return not self._enough.isdisjoint(passed(item.status))

    def _state(self) -> BoardState:
        ended = sum(not state.is_open for state in self.states.values())
        return BoardState(counts=self.counts(), ended=ended, total=len(self.states), requests=self._requests())
