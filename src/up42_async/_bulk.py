"""Work on many things at once, inside a call or a block that the caller can see."""

import abc
import contextlib
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
"""Things worked on at once; how many requests that makes is for the client to limit."""


class AsCoroutine(Coroutine[Any, Any, T]):
    """An awaitable that is a coroutine wherever one is wanted: `asyncio.create_task(...)`, `group.start_soon(...)`.

    A subclass says in `_all` what awaiting it does. asyncio and trio drive a task through `send`, `throw` and `close`,
    and look at the `cr_...` attributes to see whether it has begun; None for a frame makes trio wrap it.
    """

    _driven: Any = None
    """The coroutine at work, when an event loop drives this as a task."""

    @abc.abstractmethod
    def _all(self) -> Coroutine[Any, Any, T]:
        """Do what awaiting this does."""

    def __await__(self) -> Generator[Any, Any, T]:
        """Run the whole operation, and return its result."""
        return self._all().__await__()

    def send(self, value: Any) -> Any:
        """Go on, as a task does."""
        if self._driven is None:
            self._driven = self._all()
        return self._driven.send(value)

    def throw(self, *details: Any) -> Any:
        """Go on with an error, as a task does that is cancelled."""
        if self._driven is None:
            self._driven = self._all()
        return self._driven.throw(*details)

    def close(self) -> None:
        """End what was begun, as a task does that is dropped."""
        if self._driven is not None:
            self._driven.close()

    @property
    def cr_running(self) -> bool:
        """Whether it is at work right now."""
        return self._driven is not None and self._driven.cr_running

    @property
    def cr_suspended(self) -> bool:
        """Whether it has begun, and waits."""
        return self._driven is not None and self._driven.cr_suspended

    @property
    def cr_frame(self) -> FrameType | None:
        """The frame at work, None before and after."""
        return None if self._driven is None else self._driven.cr_frame


class Source(Generic[ItemT]):
    """What to work on: a list, an iterator or an asynchronous iterator, of which each item is taken once."""

    def __init__(self, items: Iterable[ItemT] | AsyncIterable[ItemT]) -> None:
        self.size = len(items) if isinstance(items, Sized) else None
        """How many items there are, None when that is not known."""
        self.taken = 0
        """Items that were taken so far."""
        self.error: Exception | None = None
        """Why no more are taken; raised when the work on those before has come to its end."""
        self._items: Iterator[ItemT] | AsyncIterator[ItemT] = (
            aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        )
        self._is_over = False
        self._turn = anyio.Lock(fast_acquire=True)  # an asynchronous iterator serves one task at a time

    async def next(self) -> tuple[int, ItemT] | None:
        """Return the next item and its position; None when there are no more, or the iterator failed."""
        async with self._turn:
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
    """Work on many things that goes on while the caller's own code runs.

    `await` it for the list of all results, in the order of the things. Or open it as a block, `async with ... as
    batch`, and iterate with `async for` over each result as it is known. The block owns the work: leaving it early
    stops what has not begun, waits a bounded time for what cannot be stopped, and whatever came of it stays readable in
    `results`.
    """

    _workers = MAX_CONCURRENT

    def __init__(self, items: Iterable[ItemT] | AsyncIterable[ItemT], verb: str) -> None:
        """Take what to work on; nothing begins yet.

        Args:
            items: What to work on.
            verb: What the user called, for messages.
        """
        self._source = Source(items)
        self._verb = verb
        self._known: dict[int, ResultT] = {}
        self._unread: deque[ResultT] = deque()
        self._failure: Exception | None = None
        self._changed = anyio.Event()
        self._block = contextlib.AsyncExitStack()
        self._begun = False
        self._is_over = False
        """Whether no result will be added."""

    @property
    def results(self) -> list[ResultT]:
        """All results known so far, in the order of what was given; also after the block was left or cancelled."""
        return [self._known[position] for position in sorted(self._known)]

    async def _all(self) -> list[ResultT]:
        """Do all of the work; return the results in the order of what was given."""
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
        self._scope = (
            anyio.CancelScope()
        )  # not before: it needs an event loop, and `asyncio.run(execute(...))` has none
        self._begin()
        group = await self._block.enter_async_context(anyio.create_task_group())
        group.start_soon(self._run)
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
            raise lone(group) from None
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
        return self._unread.popleft()

    def close(self) -> None:
        """End the work when a task was made of this, and was dropped before it began."""
        self._begun = True
        super().close()

    def __del__(self) -> None:
        """Complain when nothing was done at all."""
        if not getattr(self, "_begun", True):
            message = f"{self._verb}(...) was never awaited; `await` it, or use it in `async with`"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)

    def _begin(self) -> None:
        """Prepare for the work that starts now."""

    @abc.abstractmethod
    async def _work_on(self, position: int, item: ItemT) -> None:
        """Do the work on one thing, and `_record` what came of it. An exception stops the work on all."""

    def _record(self, position: int, result: ResultT) -> None:
        """Make a result known, once for each thing."""
        self._known[position] = result
        self._unread.append(result)
        self._announce()

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
        """Do all of the work in a scope of its own, so that stopping it never cancels the caller's code."""
        try:
            with self._scope:
                await self._work_on_all()
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
            alone = lone(error) if isinstance(error, ExceptionGroup) else error
            self._fail(alone if isinstance(alone, Exception) else error)
        finally:
            self._failure = self._failure or self._source.error
            self._is_over = True
            self._announce()

    async def _work_on_all(self) -> None:
        """Run the workers."""
        size = self._source.size
        async with anyio.create_task_group() as workers:
            for _ in range(self._workers if size is None else min(self._workers, size or 1)):
                workers.start_soon(self._work)

    async def _work(self) -> None:
        while (found := await self._source.next()) is not None:
            try:
                await self._work_on(*found)
            except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
                self._fail(error)


def lone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the only error of a group as itself: trio raises Ctrl-C in whichever task is at work, for one."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
