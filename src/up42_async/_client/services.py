"""What the layers above keep for one client, such as the schedule of its tracked jobs: a service, and a cached call."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from up42_async import _clock
from up42_async._http.single_flight import SingleFlight

T = TypeVar("T")


class Service:
    """What a layer above keeps for one client, such as the schedule of its tracked jobs."""

    def close(self) -> None:
        """Wake all waiters; called when the client closes."""

    def counts(self) -> Mapping[str, int]:
        """Return what `Client.statistics` tells of it, by the names of the fields of `Statistics`."""
        return {}


class CachedCall(Generic[T]):
    """Cached result: positive ones are kept; negative ones serve only callers that started before they arrived."""

    def __init__(self) -> None:
        self._flight = SingleFlight[T]()
        self._known: list[T] = []
        self._heard = -math.inf

    async def get(
        self,
        work: Callable[[], Awaitable[T]],
        *,
        keep: Callable[[T], bool] = lambda _: True,
        since: float = math.inf,
    ) -> T:
        """Return the result, asking for it if it is not known.

        Args:
            work: How to ask.
            keep: Whether a result is positive: it will still be true the next time.
            since: Monotonic time in seconds at which the caller started; now when left out.

        Raises:
            Up42Error: Whatever asking raised; the next call asks again.
        """
        if self._known and (keep(self._known[0]) or self._heard > since):
            return self._known[0]
        result = await self._flight.run(work)
        self._known[:], self._heard = [result], _clock.now()
        return result
