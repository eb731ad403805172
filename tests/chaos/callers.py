"""Make calls, and cancel about a tenth of them, in every way that the event loop has."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from random import Random
from typing import Any, Final, Generic, TypeVar

import anyio
import attrs

import up42_async as up42
from tests.chaos.client_state import ClientState

SHARE: Final = 0.2
"""Share of calls with a planned cancellation; about half of these calls end before it, so a tenth are cancelled."""
LATEST: Final = (0.02, 0.2, 1.0, 4.0)
"""Latest seconds of a cancellation, one of which is chosen: at once, during the first attempt, or during a retry."""

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


@attrs.frozen
class Ended(Generic[T]):
    """How a call ended: with a result, with an error of the library, or cancelled."""

    result: T | None = None
    error: up42.Up42Error | ExceptionGroup[Exception] | None = None
    cancelled: bool = False


class _Cancelled(Exception):
    """The call was cancelled; never leaves this module."""


Way = Callable[[Work[Any], float], Awaitable[Any]]


async def _deadline(work: Work[T], delay: float) -> T:
    with anyio.move_on_after(delay):
        return await work()
    raise _Cancelled


async def _failing_deadline(work: Work[T], delay: float) -> T:
    try:
        with anyio.fail_after(delay):
            return await work()
    except TimeoutError:
        raise _Cancelled from None


async def _sibling(work: Work[T], delay: float) -> T:
    """Cancel the task group of the call from another task."""
    results: list[T] = []

    async def call() -> None:
        results.append(await work())
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.sleep(delay)
            group.cancel_scope.cancel()
    except BaseExceptionGroup as error:
        raise _lone(error) from None
    if not results:
        raise _Cancelled
    return results[0]


async def _native(work: Work[T], delay: float, *, times: int) -> T:
    """Cancel with asyncio's `task.cancel()`, once or repeatedly, without a cancel scope."""
    task = asyncio.create_task(work())
    await asyncio.wait([task], timeout=delay)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    if task.cancelled():
        raise _Cancelled
    return task.result()


async def _native_timeout(work: Work[T], delay: float) -> T:
    try:
        async with asyncio.timeout(delay):
            return await work()
    except TimeoutError:
        raise _Cancelled from None


async def _wait_for(work: Work[T], delay: float) -> T:
    try:
        return await asyncio.wait_for(work(), delay)
    except TimeoutError:
        raise _Cancelled from None


WAYS: Final[dict[str, Way]] = {
    "move_on_after": _deadline,
    "fail_after": _failing_deadline,
    "task group": _sibling,
}
NATIVE_WAYS: Final[dict[str, Way]] = {
    "task.cancel()": partial(_native, times=1),
    "task.cancel() twice": partial(_native, times=2),
    "asyncio.timeout": _native_timeout,
    "asyncio.wait_for": _wait_for,
}


class Caller:
    """Makes calls, and cancels about a tenth of them.

    Args:
        seed: Seed of the run.
        name: Name of this caller; with the seed it determines which calls are cancelled.
        backend: The event loop, `"asyncio"` or `"trio"`.
        state: Records calls and errors.
    """

    def __init__(self, seed: int, name: str, backend: str, state: ClientState) -> None:
        self.dice: Final = Random(f"{seed} {name}")  # noqa: S311 - repeatable on purpose, no secret
        self.state: Final = state
        self._ways = {**WAYS, **(NATIVE_WAYS if backend == "asyncio" else {})}

    async def call(self, what: str, work: Work[T], *, latest: Sequence[float] = LATEST) -> Ended[T]:
        """Make a call.

        Args:
            what: Name of the call in the report.
            work: The call.
            latest: Latest seconds of a cancellation, one of which is chosen.
        """
        self.state.attempts[what] += 1
        name = self.dice.choice(sorted(self._ways))
        delay = self.dice.choice(latest) * self.dice.random()
        is_cancelled = self.dice.random() < SHARE
        try:
            return Ended(await (self._ways[name](work, delay) if is_cancelled else work()))
        except _Cancelled:
            self.state.cancelled[name] += 1
            return Ended(cancelled=True)
        except up42.Up42Error as error:
            self.state.errors[type(error).__name__] += 1
            return Ended(error=error)
        except Exception as error:  # noqa: BLE001 - the report says that there was one, and that it should not be
            return self._note(what, error)

    def _note(self, what: str, error: Exception) -> Ended[Any]:
        if isinstance(error, ExceptionGroup) and error.split(up42.Up42Error)[1] is None:
            self.state.errors.update(type(one).__name__ for one in error.exceptions)
            return Ended(error=error)
        self.state.unexpected.append(f"{what}: {error!r}")
        return Ended()


def _lone(error: BaseException) -> BaseException:
    """Return the error inside groups of a single error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
