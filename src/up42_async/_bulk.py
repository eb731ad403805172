"""Work on many items at once, inside a call or a block that the caller can see."""

import abc
import warnings
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Generator, Iterable, Iterator, Sized
from types import FrameType, TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import anyio

T = TypeVar("T")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

MAX_CONCURRENT: Final = 100
"""Items worked on at once; how many requests are sent at once is bounded by the client's `Limits`."""


class AsCoroutine(Coroutine[Any, Any, T]):
    """An awaitable that is also a coroutine, for `asyncio.create_task(...)` and `group.start_soon(...)`.

    asyncio and trio run a task by `send`, `throw` and `close`, and read the `cr_...` attributes to see whether it has
    begun; where the frame is None trio wraps the coroutine in one of its own.
    """

    _driven: Any = None
    """The coroutine that runs, when an event loop runs this as a task."""

    @abc.abstractmethod
    def _all(self) -> Coroutine[Any, Any, T]:
        """Return the coroutine that runs when this is awaited."""

    def __await__(self) -> Generator[Any, Any, T]:
        """Run the whole operation, and return its result."""
        return self._all().__await__()

    def send(self, value: Any) -> Any:
        """Run to the next suspension; called by the event loop."""
        if self._driven is None:
            self._driven = self._all()
        return self._driven.send(value)

    def throw(self, *details: Any) -> Any:
        """Raise an error at the suspension, such as a cancellation; called by the event loop."""
        if self._driven is None:
            self._driven = self._all()
        return self._driven.throw(*details)

    def close(self) -> None:
        """End the coroutine if it has begun; called when a task is dropped."""
        if self._driven is not None:
            self._driven.close()

    @property
    def cr_running(self) -> bool:
        """Whether it runs at this moment."""
        return self._driven is not None and self._driven.cr_running

    @property
    def cr_suspended(self) -> bool:
        """Whether it has begun and is suspended."""
        return self._driven is not None and self._driven.cr_suspended

    @property
    def cr_frame(self) -> FrameType | None:
        """The frame of the coroutine, None before it begins and after its end."""
        return None if self._driven is None else self._driven.cr_frame


class Source(Generic[ItemT]):
    """The items to work on: a list, an iterator or an asynchronous iterator; each item is taken once."""

    def __init__(self, items: Iterable[ItemT] | AsyncIterable[ItemT]) -> None:
        self.size = len(items) if isinstance(items, Sized) else None
        """Number of items, None when it is not known."""
        self.taken = 0
        """Number of items taken so far."""
        self.error: Exception | None = None
        """The error that ended the iteration; raised when the work on the items before it is done."""
        self._items: Iterator[ItemT] | AsyncIterator[ItemT] = (
            aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        )
        self._is_over = False
        self._taking = anyio.Lock(fast_acquire=True)  # an asynchronous iterator serves one task at a time

    async def next(self) -> tuple[int, ItemT] | None:
        """Return the position of the next item and the item; None when there are no more, or the iterator failed."""
        async with self._taking:
            if self._is_over:
                return None
            try:
                items = self._items
                item = await anext(items) if isinstance(items, AsyncIterator) else next(items)
            except (StopAsyncIteration, StopIteration):
                self._is_over = True
            except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
                self.error, self._is_over = error, True
            else:
                self.taken += 1
                return self.taken - 1, item
            return None


class BulkOperation(AsCoroutine[list[ResultT]], Generic[ItemT, ResultT]):
    """Work on many items that goes on while the caller's own code runs.

    `await` it for the list of all results, in the order of the items. Or open it as a block, `async with ... as
    batch`, and iterate with `async for` over each result as it is known. The block owns the work: leaving it early
    stops what has not begun and waits a bounded time for what cannot be stopped. All results up to then stay readable
    in `results`.
    """

    _workers = MAX_CONCURRENT

    def __init__(self, items: Iterable[ItemT] | AsyncIterable[ItemT], verb: str) -> None:
        """Keep the items; nothing begins yet.

        Args:
            items: The items to work on.
            verb: Name of the function that the user called, for messages.
        """
        self._source = Source(items)
        self._verb = verb
        self._known: dict[int, ResultT] = {}
        self._unread: deque[int] = deque()
        self._failure: Exception | None = None
        self._changed = anyio.Event()
        self._begun = False
        self._is_over = False
        """Whether no further result will come."""

    @property
    def results(self) -> list[ResultT]:
        """All results known so far, in the order of the items; also after the block was left or cancelled."""
        return [self._known[position] for position in sorted(self._known)]

    async def _all(self) -> list[ResultT]:
        """Do all of the work; return the results in the order of the items."""
        async with self:
            async for _ in self:
                pass
        return self.results

    async def __aenter__(self) -> Self:
        """Begin the work.

        Raises:
            RuntimeError: The work was begun before.
        """
        if self._begun:
            message = f"this {self._verb}(...) was begun already; read its `results`, or call {self._verb}() again"
            raise RuntimeError(message)
        self._begun = True
        # made here, since they need an event loop, and `asyncio.run(execute(...))` calls `__init__` without one
        self._scope, self._block = anyio.CancelScope(), TaskGroup()
        self._begin()
        group = await self._block.__aenter__()
        group.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop what has not begun, and wait for what has.

        Raises:
            Exception: The error that stopped the work, unless it was raised before or the block raised one of its own.
        """
        self._scope.cancel()
        try:
            await self._block.__aexit__(None, None, None)  # without the caller's own error, which it would wrap
        finally:
            self._is_over = True
        if error is None:
            self._raise_failure()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> ResultT:
        """Wait for the next result.

        Raises:
            RuntimeError: The block was not entered.
            StopAsyncIteration: All results have been returned.
        """
        if not self._begun:
            message = f"{self._verb}(...) is iterated inside its block: `async with {self._verb}(...) as batch:`"
            raise RuntimeError(message)
        while not self._unread:
            self._raise_failure()
            if self._is_over:
                raise StopAsyncIteration
            await self._changed.wait()
        return self._take(self._unread.popleft())

    def close(self) -> None:
        """End the work when a task was made of this, and was dropped before it began."""
        self._begun = True
        super().close()

    def __del__(self) -> None:
        """Warn (`RuntimeWarning`) when the work was never begun."""
        if not getattr(self, "_begun", True):
            message = f"{self._verb}(...) was never awaited; `await` it, or use it in `async with`"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)

    def _begin(self) -> None:
        """Prepare for the work that starts now."""

    @abc.abstractmethod
    async def _work_on(self, position: int, item: ItemT) -> None:
        """Do the work on one item, and `_record` its result. An exception stops all of the work."""

    def _record(self, position: int, result: ResultT) -> None:
        """Add the result of an item; called once for each."""
        self._known[position] = result
        self._unread.append(position)
        self._announce()

    def _take(self, position: int) -> ResultT:
        """Return the result of an item to the caller that waits for it."""
        return self._known[position]

    def _fail(self, error: Exception) -> None:
        """Stop all of the work; the first error is raised where the caller waits."""
        self._failure = self._failure or error
        self._scope.cancel()
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            self._is_over = True
            raise failure

    async def _run(self) -> None:
        """Do all of the work in a cancel scope of its own, so that stopping it never cancels the caller's code."""
        try:
            with self._scope:
                await self._work_on_all()
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
            self._fail(error)
        finally:
            self._failure = self._failure or self._source.error
            self._is_over = True
            self._announce()

    async def _work_on_all(self) -> None:
        """Run the workers."""
        size = self._source.size
        async with TaskGroup() as workers:
            for _ in range(self._workers if size is None else min(self._workers, size or 1)):
                workers.start_soon(self._work)

    async def _work(self) -> None:
        while (found := await self._source.next()) is not None:
            try:
                await self._work_on(*found)
            except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
                self._fail(error)


class TaskGroup:
    """A task group of anyio; when a single error comes out of it, that error is raised as itself, without a group."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()

    async def __aenter__(self) -> "anyio.abc.TaskGroup":
        """Open the group."""
        return await self._group.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Wait for the tasks; return whether an error of the block was a cancellation that ends here."""
        try:
            return await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as failures:
            raise lone(failures) from None


def lone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the single error of a group, else the group: trio, for example, raises Ctrl-C in any task that runs."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
