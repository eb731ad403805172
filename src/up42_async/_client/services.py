"""State that the layers above keep for one client: services, and cached results of calls."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from up42_async import _clock
from up42_async._http.single_flight import SingleFlight

T = TypeVar("T")


class Service:
    """State that a layer above keeps for one client, such as the schedule of its tracked jobs."""

    def close(self) -> None:
        """Wake all waiters; called when the client closes."""

    def counts(self) -> Mapping[str, int]:
        """Return its counts for `Client.statistics`, by the names of the fields of `Statistics`."""
        return {}


class CachedCall(Generic[T]):
    """A cached result. A positive one is kept; a negative one serves only callers that began before it arrived."""

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
        """Return the cached result; make the call when there is none.

        Args:
            work: Makes the call.
            keep: Returns whether a result is positive: it will still be true the next time.
            since: Monotonic time in seconds at which the caller began; now when left out.

        Raises:
            Up42Error: The error of the call, which is not cached.
        """
        if self._known and (keep(self._known[0]) or self._heard > since):
            return self._known[0]
        result = await self._flight.run(work)
        self._known[:], self._heard = [result], _clock.now()
        return result
