"""Walk through pages: an iterator class that asks inside `__anext__`, with nothing under way between two items."""

from array import array
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import anyio
import attrs

from up42_async._errors import PaginationError, StatusError
from up42_async._http.messages import ApiRequest

T = TypeVar("T")

MOST_PAGES: Final = 10_000
MOST_EMPTY_PAGES: Final = 100

_FEWEST_PLACES: Final = 1024
_MARK_OF_ZERO: Final = 0x5A17_C0DE_0DD5_EEDF  # any number that no hash is likely to be: 0 is a place that is free
_BAD_REQUEST, _UNPROCESSABLE = 400, 422


class Caller(Protocol):
    """What sends one request and decodes its answer: a `Session`."""

    async def call(self, request: ApiRequest) -> Any:
        """Send a request, and return its decoded answer."""
        ...


@attrs.frozen(kw_only=True)
class Page(Generic[T]):
    """One answer of a paged list."""

    items: Sequence[T]
    next: ApiRequest | None
    """How to ask for the next page, None on the last."""


class Marks:
    """Hashes of what has come so far, 16 to 32 bytes for each: a set of numbers takes 80, and a long list has many."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0
        self._table = array("q", [0]) * _FEWEST_PLACES

    def new(self, items: Sequence[T], key: Callable[[T], Hashable]) -> Iterator[T]:
        """Yield the items that come for the first time, and remember them.

        Args:
            items: What came.
            key: What makes an item the same as another.
        """
        while (self._count + len(items)) * 2 > len(self._table):
            self._make_room()
        table, last = self._table, len(self._table) - 1
        for item in items:
            mark = hash(key(item)) or _MARK_OF_ZERO
            place = mark & last
            while (there := table[place]) and there != mark:
                place = (place + 1) & last
            if not there:
                table[place] = mark
                self._count += 1
                yield item

    def _make_room(self) -> None:
        marks, self._table = self._table, array("q", [0]) * (2 * len(self._table))
        last = len(self._table) - 1
        for mark in filter(None, marks):
            place = mark & last
            while self._table[place]:
                place = (place + 1) & last
            self._table[place] = mark


class Pager(Generic[T]):
    """Iterate over the items of a paged list, each once, asking for a page when the one before is used up.

    Leaving the loop early, by `break`, an exception or cancellation, leaves nothing behind; going on later is fine, and
    so is sharing one iterator among tasks: each item goes to one of them.
    """

    def __init__(
        self,
        session: Caller,
        first: ApiRequest,
        read: Callable[[Any, ApiRequest], Page[T]],
        *,
        key: Callable[[T], Hashable],
        without_limit: ApiRequest | None = None,
    ) -> None:
        """Ask for nothing yet.

        Args:
            session: What to call with.
            first: The request for the first page.
            read: Turns an answer into a page.
            key: What makes an item the same as another: lists that change while they are read repeat items.
            without_limit: What to ask when the server refuses the first request, which may be for its page size.
        """
        self._session = session
        self._next: ApiRequest | None = first
        self._read = read
        self._key = key
        self._without_limit = without_limit
        self._turning = anyio.Lock()
        self._items: deque[T] = deque()
        self._seen_items = Marks()
        self._seen_pages: set[int] = set()
        self._empty_pages = 0
        self.refused_limit = False
        """Whether the server refused the first request; the list went on without a page size."""

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next item; one request for each page.

        Raises:
            APIError: A page could not be had; the next call asks for it again.
            StopAsyncIteration: There are no more.
        """
        while not self._items:
            async with self._turning:
                if not self._items:  # another task may have turned the page meanwhile
                    await self._turn()
        return self._items.popleft()

    async def _turn(self) -> None:
        if self._next is None:
            raise StopAsyncIteration
        self._check_progress(self._next)
        answer = await self._ask(self._next)
        page = self._read(answer, self._next)
        self._without_limit = None
        self._seen_pages.add(_mark(self._next))
        self._empty_pages = 0 if page.items else self._empty_pages + 1
        self._items.extend(self._seen_items.new(page.items, self._key))
        self._next = page.next

    async def _ask(self, request: ApiRequest) -> Any:
        """Ask for a page, the first one without a page size if it is refused with one."""
        try:
            return await self._session.call(request)
        except StatusError as error:
            if self._without_limit is None or error.status not in {_BAD_REQUEST, _UNPROCESSABLE}:
                raise
        self._next, self._without_limit = self._without_limit, None
        self.refused_limit = True
        return await self._session.call(self._next)

    def _check_progress(self, request: ApiRequest) -> None:
        """Refuse to go on in a list that has no end.

        Raises:
            PaginationError: The page was there before, or there were too many, or too many without an item.
        """
        if _mark(request) in self._seen_pages:
            problem = "the next page is one that was there before; ask again later"
        elif self._empty_pages >= MOST_EMPTY_PAGES:
            problem = f"{MOST_EMPTY_PAGES} pages in a row without an item; ask again later"
        elif len(self._seen_pages) >= MOST_PAGES:
            problem = f"more than {MOST_PAGES} pages; narrow it down by filters"
        else:
            return
        raise PaginationError(f"a list without an end: {problem}", request=str(request))


def _mark(request: ApiRequest) -> int:
    return hash((request.path, request.query, request.body))
