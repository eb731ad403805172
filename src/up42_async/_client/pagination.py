"""Iterate over paged lists: pages are requested inside `__anext__`, so nothing runs between two items."""

import copy
import re
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus
from typing import Any, Final, Generic, Protocol, Self, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

import anyio
import attrs

from up42_async._errors import APIError, PaginationError, StatusError, UnexpectedResponseError, UntrustedURLError
from up42_async._http.requests import ApiRequest, printable

T = TypeVar("T")

MOST_PAGES: Final = 10_000
MOST_EMPTY_PAGES: Final = 100
MOST_TIMES_ASKED: Final = 10
"""A page may hold so many times the entries that were asked for: some servers take a page size as a hint."""

_NOT_IN_LINKS = re.compile(r"[\x00-\x20\x7f\\]|[\ud800-\udfff]+")
_PAGE_SIZE = re.compile(r"(?:^|&)(?:limit|size)=([0-9]+)(?:&|$)")
_PORTS = {"https": 443, "http": 80}
_PAGE_SIZE_REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


class Caller(Protocol):
    """Sends a request and decodes its answer: a `Session`."""

    async def call(self, request: ApiRequest) -> Any:
        """Send a request, and return its decoded answer."""
        ...


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    next: ApiRequest | APIError | None
    """The request for the next page, None on the last; an error when the link to it cannot be followed."""


def next_page(answer: dict[str, Any], api: str, request: ApiRequest) -> ApiRequest | APIError | None:
    """Read the link to the next page of a list, or of a STAC search, whose pages may be requested by POST.

    Args:
        answer: The decoded page.
        api: Base URL of the API; only path and query of a link are used.
        request: The request for this page.

    Returns:
        `Page.next`. A link to another host is returned as an error, not raised, so that the page itself is not lost.
    """
    links = answer.get("links") or []
    if not isinstance(links, list):
        return UnexpectedResponseError("an answer whose links are no list", request=str(request))
    found = (one for one in links if isinstance(one, dict) and one.get("rel") == "next")
    link = next(found, {})
    if not link.get("href") and not link.get("body"):
        return None
    try:
        target = follow(link["href"], api=api, request=request) if link.get("href") else request
    except UntrustedURLError as error:
        return error
    if request.json is None or str(link.get("method")).upper() == "GET":
        return target
    # UP42's searches have the token of the next page in the body of the link, others in its query
    added = link.get("body")
    if not isinstance(added, dict):
        added = {name: value for name, value in parse_qsl(target.query) if name == "token"}
    return ApiRequest(method="POST", path=request.path, json={**request.json, **added})


def follow(link: object, *, api: str, request: ApiRequest) -> ApiRequest:
    """Return the GET request for a link in an answer, to the API host.

    UP42's next links are relative; samples of its storage show absolute ones, some of them with plain `http://`. Only
    path and query of the link are used, so the token cannot be sent to another host.

    Args:
        link: The link of the answer; when it is only a query, the path is that of the request.
        api: Base URL of the API.
        request: The request whose answer has the link.

    Raises:
        UntrustedURLError: The link leads to another host, or cannot be read.
    """
    home = urlsplit(api)
    try:
        parts = _split(link)
        is_relative = not parts.scheme and not parts.netloc and parts.path[:1] in {"", "/"}
        is_home = is_relative or _same_host(parts, home)
    except ValueError:
        message = "an answer held a link that cannot be read; it was not followed"
        raise UntrustedURLError(message, request=str(request)) from None
    if not is_home:
        where = printable(parts.hostname or "nowhere", 255)
        message = f"an answer held a link to {where}, which is not UP42's {home.hostname}; it was not followed"
        raise UntrustedURLError(message, request=str(request))
    path = parts.path.removeprefix(home.path) if parts.path.startswith(f"{home.path}/") else parts.path
    return ApiRequest(method="GET", path=path or request.path, query=parts.query)


def _split(link: object) -> SplitResult:
    if not isinstance(link, str) or not link or _NOT_IN_LINKS.search(link):
        raise ValueError("not a link")
    return urlsplit(link)


def _same_host(link: SplitResult, home: SplitResult) -> bool:
    if "@" in link.netloc or link.hostname != home.hostname or link.scheme not in _PORTS:
        return False
    port = _PORTS[link.scheme] if link.port is None else link.port
    home_port = home.port or _PORTS[home.scheme]
    downgraded = (link.scheme, port, home.scheme, home_port) == ("http", 80, "https", 443)
    return downgraded or (link.scheme, port) == (home.scheme, home_port)


class Pager(Generic[T]):
    """Iterate over the items of a paged list, each once; a page is requested when the one before is used up.

    The loop may be left at any time, by `break`, an exception or cancellation, and continued later. Several tasks may
    share one iterator: each item goes to one of them.
    """

    def __init__(
        self,
        session: Caller,
        first: ApiRequest,
        read: Callable[[Any, ApiRequest], Page[T]],
        *,
        key: Callable[[T], Hashable],
        without_limit: Callable[[], ApiRequest] | None = None,
    ) -> None:
        """Send nothing yet.

        Args:
            session: Sends the requests.
            first: The request for the first page.
            read: Returns the page of an answer.
            key: Returns the identity of an item: a list that changes while it is read repeats items.
            without_limit: Returns the request to send when the server refuses the first one, perhaps for its page size.
        """
        self._session = session
        self._next: ApiRequest | APIError | None = first
        self._read = read
        self._key = key
        self._page_size = _page_size(first)
        self._without_limit = without_limit
        self._requesting = anyio.Lock()
        self._items: deque[T] = deque()
        self._seen_items: set[int] = set()
        self._seen_pages: set[int] = set()
        self._empty_pages = 0
        self.refused_limit = False
        """Whether the server refused the first request, and the one without a page size was sent."""

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next item; one request for each page.

        Raises:
            APIError: The request for a page failed; the next call sends it again.
            StopAsyncIteration: There are no more items.
        """
        while not self._items:
            async with self._requesting:
                if not self._items:  # another task may have requested the page meanwhile
                    await self._request_page()
        return self._items.popleft()

    async def next_items(self) -> Sequence[T]:
        """Return the remaining items of the page, or all of the next one, which may be none; at most one request.

        Raises:
            APIError: The request for the page failed; the next call sends it again.
            StopAsyncIteration: There are no more pages.
        """
        async with self._requesting:
            if not self._items:
                await self._request_page()
            items, self._items = self._items, deque()
        return items

    async def _request_page(self) -> None:
        if self._next is None:
            raise StopAsyncIteration
        if isinstance(self._next, APIError):
            raise copy.copy(self._next)
        self._check_progress(self._next)
        answer, request = await self._ask(self._next)
        page = self._read(answer, request)
        self._check_size(page, request)
        self._without_limit = None
        self._seen_pages.add(_page_hash(request))
        new = [item for item in page.items if self._is_new(item)]
        self._empty_pages = 0 if new else self._empty_pages + 1
        self._items.extend(new)
        self._next = page.next

    def _is_new(self, item: T) -> bool:
        mark, count = hash(self._key(item)), len(self._seen_items)
        self._seen_items.add(mark)  # a hash is a third of the memory of an id
        return len(self._seen_items) > count

    async def _ask(self, request: ApiRequest) -> tuple[Any, ApiRequest]:
        """Request a page, and the first one without a page size when it is refused; return the request sent, too."""
        try:
            return await self._session.call(request), request
        except StatusError as error:
            if self._without_limit is None or error.status not in _PAGE_SIZE_REFUSED:
                raise
        self._next = request = self._without_limit()
        self._without_limit, self._page_size = None, None
        self.refused_limit = True
        return await self._session.call(request), request

    def _check_size(self, page: Page[T], request: ApiRequest) -> None:
        """Refuse a page that is much larger than was asked for.

        Raises:
            UnexpectedResponseError: It has more than ten times the entries that were asked for.
        """
        if self._page_size is not None and len(page.items) > MOST_TIMES_ASKED * self._page_size:
            message = f"a page of {len(page.items)} entries where {self._page_size} were asked for"
            raise UnexpectedResponseError(message, request=str(request))

    def _check_progress(self, request: ApiRequest) -> None:
        """Refuse to go on in a list without an end.

        Raises:
            PaginationError: The page was read before, there were over 10,000 pages, or 100 in a row without a new item.
        """
        if _page_hash(request) in self._seen_pages:
            problem = "the next page is one that was read before; ask again later"
        elif self._empty_pages >= MOST_EMPTY_PAGES:
            problem = f"{MOST_EMPTY_PAGES} pages in a row without a new item; ask again later"
        elif len(self._seen_pages) >= MOST_PAGES:
            problem = f"more than {MOST_PAGES} pages; narrow it down by filters"
        else:
            return
        raise PaginationError(f"a list without an end: {problem}", request=str(request))


def _page_size(request: ApiRequest) -> int | None:
    """Return the page size that a request asks for, None when it leaves that to the server."""
    if isinstance(request.json, dict):
        size: int | None = request.json.get("limit")
        return size
    found = _PAGE_SIZE.search(request.query)  # not parse_qsl, which would read 100 ids as well
    return None if found is None else int(found[1])


def _page_hash(request: ApiRequest) -> int:
    return hash((request.path, request.query, request.body))
