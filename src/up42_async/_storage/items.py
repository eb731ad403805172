"""The items of a search, page by page; one that cannot be read is an error of its own."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pystac

from up42_async import _clock
from up42_async._client import Client
from up42_async._client.pagination import Page, next_page
from up42_async._client.readable_list import ReadableList, entry_id
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.requests import ApiRequest
from up42_async._storage.guarded import StorageItem
from up42_async._storage.stac import stac_from

STORAGE: Final = "/v2/assets/stac"
SEARCH: Final = f"{STORAGE}/search"


class Items(ReadableList[pystac.Item]):
    """Items of the storage, parsed one by one while they are iterated over, one request for each page.

    Leaving the loop early leaves nothing behind. `errors` has one error for each item that could not be read, and for
    each of which a part could not: a link or asset without href, an odd type, role or datetime. Each is in the log
    once, at WARNING.
    """

    def __init__(
        self,
        client: Client,
        body: Mapping[str, Any] | None,
        *,
        most: int | None = None,
        patience: Iterable[float] = (),
    ) -> None:
        """Send nothing yet.

        Args:
            client: The client to use.
            body: What to search for; None matches nothing, and nothing is sent.
            most: How many items to return at the most, None for all.
            patience: Seconds to wait before each further look when there are no items yet.
        """
        request = None if body is None else ApiRequest(method="POST", path=SEARCH, json=dict(body))
        super().__init__(client._session, request, self._split, self._read_item, key=_identity)
        self._client = client
        self._asked = {
            name: {value.casefold() for value in (body or {}).get(asked, ())}
            for asked, name in (("ids", "id"), ("collections", "collection"))
        }
        self._left = most
        self._waits: Iterator[float] = iter(patience)

    async def __anext__(self) -> pystac.Item:
        """Return the next item that can be read.

        Raises:
            APIError: A page could not be had; the next call asks for it again.
            StopAsyncIteration: There are no more.
            UnexpectedResponseError: An answer holds something else than items.
        """
        if self._left == 0:
            raise StopAsyncIteration
        self._take(1)  # before the wait, since several tasks may share one iterator
        try:
            return await super().__anext__()
        except BaseException:
            self._take(-1)
            raise

    def _take(self, number: int) -> None:
        if self._left is not None:
            self._left -= number

    async def _next_entry(self) -> Any:
        """Return the next item as JSON, looking again for a while when there is none at all."""
        while True:
            try:
                content = await super()._next_entry()
            except (StopAsyncIteration, NotFoundError):
                wait = next(self._waits, None)
                if wait is None:
                    raise
            else:
                self._waits = iter(())
                return content
            await _clock.sleep(wait)
            self._start_again()

    def _read_item(self, content: Any, request: ApiRequest) -> pystac.Item:
        self._check_asked(content, request)
        return stac_from(StorageItem, content, request, self._client, report=self._mention)

    def _check_asked(self, content: Any, request: ApiRequest) -> None:
        """Refuse an item that was not asked for: a cache that mixes answers up would sell it as another job's.

        Raises:
            UnexpectedResponseError: It has another id or collection than those asked for.
        """
        for name, asked in self._asked.items():
            value = content.get(name) if isinstance(content, dict) else None
            if asked and isinstance(value, str) and value.casefold() not in asked:
                message = f"item {content.get('id')!r:.80} has the {name} {value!r:.80}, which was not asked for"
                raise UnexpectedResponseError(message, request=str(request), transient=True)

    def _split(self, answer: Any, request: ApiRequest) -> Page[Any]:
        features = answer.get("features") if isinstance(answer, dict) else None
        if not isinstance(features, list):
            raise UnexpectedResponseError("an answer that is no list of STAC items", request=str(request))
        return Page(items=features, next=next_page(answer, self._client._session.api, request))


def _identity(content: Any) -> Any:
    collection = content.get("collection") if isinstance(content, dict) else None
    return collection if isinstance(collection, str) else None, entry_id(content)
