"""Run a function once for all tasks that wait for its result."""

import copy
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from up42_async import _clock
from up42_async._errors import Up42Error

T = TypeVar("T")


class _Run(Generic[T]):
    """One run of the function."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.result: list[T] = []
        self.error: Up42Error | None = None


class SingleFlight(Generic[T]):
    """Share one run of a function among all tasks that ask for its result while it runs.

    The first task runs it, so nothing runs in the background. If that task is cancelled, the next one runs it again; if
    the function fails, each task gets an error of its own.
    """

    def __init__(self) -> None:
        self._run: _Run[T] | None = None
        self._failure: Up42Error | None = None
        self._failed_at = -math.inf

    @property
    def busy(self) -> bool:
        """Whether a task is running the function."""
        return self._run is not None

    async def run(self, work: Callable[[], Awaitable[T]], *, since: float = math.inf) -> T:
        """Return the result of the run under way; when there is none, run the function.

        Args:
            work: The function.
            since: Monotonic time in seconds at which the caller began; now when left out. When the last run failed
                after it, its error is raised: tasks that waited for something else meanwhile do not run the function
                again one after another.

        Raises:
            Up42Error: The error of the function.
        """
        while (run := self._run) is not None:
            await run.over.wait()
            if run.result:
                return run.result[0]
            if run.error is not None:
                raise copy.copy(run.error) from run.error
        if self._failure is not None and self._failed_at > since:
            raise copy.copy(self._failure)
        return await self._start(work)

    async def _start(self, work: Callable[[], Awaitable[T]]) -> T:
        run = self._run = _Run[T]()
        try:
            result = await work()
        except Up42Error as error:
            run.error = error
            self._failure, self._failed_at = copy.copy(error), _clock.now()  # a copy holds no frames
            raise
        else:
            run.result.append(result)
            self._failure = None
            return result
        finally:
            self._run = None
            run.over.set()
