"""Run some work once for all tasks that want its result, in the first of them."""

import copy
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from up42_async import _clock
from up42_async._errors import Up42Error

T = TypeVar("T")


class _Turn(Generic[T]):
    """One run of the work."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.result: list[T] = []
        self.error: Up42Error | None = None


class SingleFlight(Generic[T]):
    """Share one run of some work among all tasks that want its result while it runs.

    The first task does the work itself, so nothing runs in the background. If it is cancelled, the next one in line
    begins anew; if the work fails, each task gets an error of its own.
    """

    def __init__(self) -> None:
        self._turn: _Turn[T] | None = None
        self._failure: Up42Error | None = None
        self._failed_at = -math.inf

    @property
    def busy(self) -> bool:
        """Whether some task is doing the work."""
        return self._turn is not None

    async def run(self, work: Callable[[], Awaitable[T]], *, since: float = math.inf) -> T:
        """Return the result of the work that is under way, or do it.

        Args:
            work: What to do when it is not under way.
            since: Monotonic time in seconds at which the caller began to want the result; now when left out. If the
                last run failed after that moment, its error is raised: tasks that waited for something else meanwhile
                do not run the work again one after another.

        Raises:
            Up42Error: Whatever the work raised.
        """
        while (turn := self._turn) is not None:
            await turn.over.wait()
            if turn.result:
                return turn.result[0]
            if turn.error is not None:
                raise copy.copy(turn.error) from turn.error
        if self._failure is not None and self._failed_at > since:
            raise copy.copy(self._failure)
        return await self._lead(work)

    async def _lead(self, work: Callable[[], Awaitable[T]]) -> T:
        turn = self._turn = _Turn[T]()
        try:
            result = await work()
        except Up42Error as error:
            turn.error = error
            self._failure, self._failed_at = copy.copy(error), _clock.now()  # a copy holds no frames
            raise
        else:
            turn.result.append(result)
            self._failure = None
            return result
        finally:
            self._turn = None
            turn.over.set()
