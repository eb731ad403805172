"""Work on many things at once, inside a call or a block that the caller can see."""

import abc
import contextlib
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import anyio

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

AT_ONCE: Final = 100
"""Things worked on at once; how many requests that makes is for the client to limit."""


class Running(abc.ABC, Generic[ItemT, OutcomeT]):
    """Work on many things that goes on while the caller's own code runs.

    `await` it for the list of all results, in the order of the things. Or open it as a block, `async with ... as
    batch`, and iterate with `async for` over each result as it is known. The block owns the work: leaving it early
    stops what has not begun, waits a bounded time for what cannot be stopped, and whatever came of it stays readable in
    `results`.
    """

    def __init__(self, items: Sequence[ItemT], verb: str) -> None:
        """Begin with nothing.

        Args:
            items: What to work on.
            verb: What the user called, for messages.
        """
        self._items = items
        self._verb = verb
        self._known: dict[int, OutcomeT] = {}
        self._unread: deque[OutcomeT] = deque()
        self._open = len(items)
        self._failure: Exception | None = None
        self._news = anyio.Event()
        self._scope = anyio.CancelScope()
        self._block = contextlib.AsyncExitStack()
        self._begun = False
        self._left = False

    @property
    def results(self) -> list[OutcomeT]:
        """All results known so far, in the order of what was given; also after the block was left or cancelled."""
        return [self._known[position] for position in sorted(self._known)]

    def __await__(self) -> Generator[Any, None, list[OutcomeT]]:
        """Do all of the work.

        Returns:
            The results in the order of what was given.
        """
        return self._all().__await__()

    async def _all(self) -> list[OutcomeT]:
        async with self:
            async for _ in self:
                pass
        return self.results

    async def __aenter__(self) -> Self:
        """Begin.

        Raises:
            RuntimeError: It was begun before.
        """
        if self._begun:
            message = f"this {self._verb}(...) was begun already; read its `results`, or call {self._verb}() again"
            raise RuntimeError(message)
        self._begun = True
        self._begin()
        group = await self._block.enter_async_context(anyio.create_task_group())
        group.start_soon(self._work_on_all)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop what has not begun, and wait for what has.

        Raises:
            Exception: What stopped the work, unless the caller knows it already or has an error of its own.
        """
        self._scope.cancel()
        try:
            await self._block.aclose()  # the caller's own error is kept out of the group, which would wrap it
        except BaseExceptionGroup as group:
            raise _lone(group) from None
        finally:
            self._left = True
        if error is None:
            self._raise_failure()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> OutcomeT:
        """Wait for the next outcome.

        Raises:
            RuntimeError: The block was not entered.
            StopAsyncIteration: All results have been returned.
        """
        if not self._begun:
            message = f"{self._verb}(...) is iterated inside its block: `async with {self._verb}(...) as batch:`"
            raise RuntimeError(message)
        while not self._unread:
            self._raise_failure()
            if not self._open or self._left:
                raise StopAsyncIteration
            await self._news.wait()
        return self._unread.popleft()

    def __del__(self) -> None:
        """Complain when nothing was done at all."""
        if not getattr(self, "_begun", True):
            message = f"{self._verb}(...) was never awaited; `await` it, or use it in `async with`"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)

    def _begin(self) -> None:
        """Prepare for the work that starts now."""

    @abc.abstractmethod
    async def _work_on(self, position: int, item: ItemT) -> None:
        """Do the work on one thing, and `_note` what came of it. An exception stops the work on all."""

    def _note(self, position: int, outcome: OutcomeT) -> None:
        """Make an outcome known, once for each thing."""
        self._known[position] = outcome
        self._unread.append(outcome)
        self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            self._left = True
            raise failure

    async def _work_on_all(self) -> None:
        """Run the workers in a scope of their own, so that stopping them never cancels the caller's code."""
        queue = iter(enumerate(self._items))
        with self._scope:
            async with anyio.create_task_group() as workers:
                for _ in range(min(AT_ONCE, len(self._items))):
                    workers.start_soon(self._work, queue)

    async def _work(self, queue: Iterator[tuple[int, ItemT]]) -> None:
        for position, item in queue:
            try:
                await self._work_on(position, item)
            except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
                self._failure = self._failure or error
                self._scope.cancel()
            self._open -= 1
            self._announce()


def _lone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the only error of a group as itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
