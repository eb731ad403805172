"""Lists whose entries are read one by one: an entry that cannot be read does not hide the others."""

import itertools
import logging
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

from up42_async._client.pagination import Caller, Page, Pager
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest

T = TypeVar("T")

MOST_MALFORMED: Final = 100
"""Most entries of one page that may be unreadable; with more of them the page is refused."""

_NAMELESS: Final = itertools.count()

logger = logging.getLogger("up42_async")


class ReadableList(Generic[T]):
    """Iterate over a paged list; one request for each page, and each entry is read when the loop comes to it.

    The loop may be left early, and continued later.
    """

    errors: list[UnexpectedResponseError]
    """One error for each entry that could not be read so far, or not completely; it names the entry."""

    unreadable: list[UnexpectedResponseError]
    """The errors whose entries were left out; the other entries came without the part that could not be read."""

    def __init__(
        self,
        caller: Caller,
        first: ApiRequest | None,
        split: Callable[[Any, ApiRequest], Page[Any]],
        read: Callable[[Any, ApiRequest], T],
        *,
        key: Callable[[Any], Hashable],
    ) -> None:
        """Send nothing yet.

        Args:
            caller: Sends the requests.
            first: The request for the first page; None for a list without entries, for which nothing is sent.
            split: Returns the page of an answer, with the entries as JSON.
            read: Returns the value of an entry, or raises `UnexpectedResponseError`.
            key: Returns the identity of an entry: a list that changes while it is read repeats entries.
        """
        self.errors = []
        self.unreadable = []
        self._caller = caller
        self._first = first
        self._split_page = split
        self._read = read
        self._key = key
        self._start_again()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next entry that can be read.

        Raises:
            APIError: The request for a page failed; the next call sends it again.
            StopAsyncIteration: There are no more entries.
            UnexpectedResponseError: More than 100 entries of one page could not be read.
        """
        while True:
            content = await self._next_entry()
            try:
                return self._read(content, self._request)
            except UnexpectedResponseError as error:
                self.unreadable.append(error)
                self._mention(error)
                self._count_malformed()

    async def _next_entry(self) -> Any:
        """Return the next entry as JSON.

        Raises:
            StopAsyncIteration: There are no more entries.
        """
        if self._pager is None:
            raise StopAsyncIteration
        return await anext(self._pager)

    def _start_again(self) -> None:
        """Go back to the first page."""
        self._malformed = 0
        if self._first is None:
            self._pager: Pager[Any] | None = None
            return
        self._request = self._first
        self._pager = Pager(self._caller, self._first, self._begin_page, key=self._key)

    def _begin_page(self, answer: Any, request: ApiRequest) -> Page[Any]:
        self._request, self._malformed = request, 0
        return self._split_page(answer, request)

    def _mention(self, error: UnexpectedResponseError) -> None:
        """Keep an error, and log it once."""
        self.errors.append(error)
        logger.warning("%s", error)

    def _count_malformed(self) -> None:
        """Refuse a page with too many unreadable entries.

        Raises:
            UnexpectedResponseError: More than 100 entries of it could not be read.
        """
        self._malformed += 1
        if self._malformed > MOST_MALFORMED:
            message = f"a page of which more than {MOST_MALFORMED} entries cannot be read"
            raise UnexpectedResponseError(message, request=str(self._request))


def entry_id(content: Any) -> Hashable:
    """Return the identity of an entry: its id, or without one a number that no other entry has."""
    named = isinstance(content, dict) and isinstance(content.get("id"), str)
    return content["id"] if named else next(_NAMELESS)  # not id(), which Python gives to a new object again


def numbered_page(answer: Any, request: ApiRequest) -> Page[Any]:
    """Read a page of a list whose pages are numbered from 0: `content`, and `totalPages`.

    Args:
        answer: The decoded answer.
        request: The request for this page.

    Raises:
        UnexpectedResponseError: The answer has no `content`.
    """
    content = answer.get("content") if isinstance(answer, dict) else None
    if not isinstance(content, list):
        raise UnexpectedResponseError("an answer without a list (`content`)", request=str(request))
    parameters = dict(parse_qsl(request.query))
    following, pages = int(parameters["page"]) + 1, answer.get("totalPages")
    if isinstance(pages, bool) or not isinstance(pages, int):
        pages = following + bool(content)  # without a count the list goes on until a page is empty
    if following >= pages:
        return Page(items=content, next=None)
    query = urlencode({**parameters, "page": following}, safe=",")
    return Page(items=content, next=ApiRequest(method="GET", path=request.path, query=query))
