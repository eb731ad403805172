"""Lists whose entries are read one by one: an entry that cannot be read is an error of its own, beside all others."""

import logging
from collections.abc import Callable, Hashable
from typing import Any, Generic, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

from up42_async._errors import UnexpectedResponseError
from up42_async._http.messages import ApiRequest
from up42_async._http.pagination import Caller, Page, Pager

T = TypeVar("T")

logger = logging.getLogger("up42_async")


class ReadableList(Generic[T]):
    """Iterate over a paged list, reading each entry when it is its turn; one request for each page.

    Leaving the loop early leaves nothing behind, and going on later is fine.
    """

    errors: list[UnexpectedResponseError]
    """What could not be read so far: one error for each entry, which names it; the others come all the same."""

    def __init__(
        self,
        caller: Caller,
        first: ApiRequest,
        split: Callable[[Any, ApiRequest], Page[Any]],
        read: Callable[[Any, ApiRequest], T],
        *,
        key: Callable[[Any], Hashable],
    ) -> None:
        """Send nothing yet.

        Args:
            caller: What sends the requests.
            first: The request for the first page.
            split: Turns an answer into a page of entries as they came.
            read: Makes a value of an entry, or raises `UnexpectedResponseError`.
            key: What makes an entry the same as another.
        """
        self.errors = []
        self._request = first
        self._read = read
        self._pager = Pager(caller, first, split, key=key)

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next entry that can be read.

        Raises:
            APIError: A page could not be had; the next call asks for it again.
            StopAsyncIteration: There are no more.
        """
        while True:
            content = await anext(self._pager)
            try:
                return self._read(content, self._request)
            except UnexpectedResponseError as error:
                self._note(error)

    def _note(self, error: UnexpectedResponseError) -> None:
        self.errors.append(error)
        logger.warning("%s", error)


def entry_id(content: Any) -> Hashable:
    """Return what makes an entry with an id the same as another; one without an id is like no other."""
    return content["id"] if isinstance(content, dict) and isinstance(content.get("id"), str) else id(content)


def numbered_page(answer: Any, request: ApiRequest) -> Page[Any]:
    """Read a page of a list whose pages are numbered from 0: `content`, and `totalPages`.

    Args:
        answer: The decoded answer.
        request: What was asked.

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
