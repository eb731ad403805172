"""The items of a search, page by page, and the files of their assets."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import anyio
import pystac

from up42_async._client import Client
from up42_async._client.pagination import Page, next_page
from up42_async._client.readable_list import ReadableList, entry_id
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.requests import ApiRequest
from up42_async._storage.stac import StorageItem, stac_from

STORAGE: Final = "/v2/assets/stac"
SEARCH: Final = f"{STORAGE}/search"


class Items(ReadableList[pystac.Item]):
    """An async iterator over the items of a search; one request for each page, and each item is read when it is due.

    The loop may be left early, and continued later. `errors` has one error for each item that could not be read
    completely: the item was left out, or it came without the part that could not be read, such as a link or asset
    without href, or an odd type, role or datetime. Each error is logged once, at WARNING.
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
            body: Body of the search request; None for no items, for which nothing is sent.
            most: Most items to return, None for all.
            patience: Seconds to wait before each further search while there are no items yet.
        """
        request = None if body is None else ApiRequest(method="POST", path=SEARCH, json=dict(body))
        super().__init__(client._session, request, self._split, self._read_item, key=_identity)
        self._client = client
        self._asked = {
            name: {value.casefold() for value in (body or {}).get(asked, ())}
            for asked, name in (("ids", "id"), ("collections", "collection"))
        }
        self._left: float = math.inf if most is None else most
        self._waits: Iterator[float] = iter(patience)

    async def __anext__(self) -> pystac.Item:
        """Return the next item that can be read.

        Raises:
            APIError: The request for a page failed; the next call sends it again.
            StopAsyncIteration: There are no more items.
            UnexpectedResponseError: A response is no list of items, or more than 100 items of one page could not be
                read.
        """
        if self._left == 0:
            raise StopAsyncIteration
        self._left -= 1  # before the await, since several tasks may share one iterator
        try:
            return await super().__anext__()
        except BaseException:
            self._left += 1
            raise

    async def _next_entry(self) -> Any:
        """Return the next item as JSON; search again after each wait of `patience` while there are no items at all."""
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
            await anyio.sleep(wait)
            self._start_again()

    def _read_item(self, content: Any, request: ApiRequest) -> pystac.Item:
        self._check_asked(content, request)
        return stac_from(StorageItem, content, request, self._client, report=self._mention)

    def _check_asked(self, content: Any, request: ApiRequest) -> None:
        """Refuse an item that was not asked for: a cache that mixes up responses would give a job the items of another.

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


def files_of(items: Iterable[pystac.Item | pystac.Collection], options: DownloadOptions) -> list[RemoteFile]:
    """Return the wanted files of items, or of collections with assets of their own, by item id and asset key."""
    return [
        remote_file(key, asset, item.id)
        for item in sorted(items, key=lambda item: item.id)
        for key, asset in sorted(item.assets.items())
        if _is_wanted(key, asset, options)
    ]


def _is_wanted(key: str, asset: pystac.Asset, options: DownloadOptions) -> bool:
    """Return whether an asset has one of the keys, one of the roles and one of the media types that are given.

    pystac does not check the fields of an asset, so they may be of any type; one of another type matches nothing.
    """
    return (
        (options.keys is None or key in options.keys)
        and (options.roles is None or not options.roles.isdisjoint(_strings(asset.roles)))
        and (options.media_types is None or not options.media_types.isdisjoint(_media_types(asset.media_type)))
    )


def remote_file(key: str, asset: pystac.Asset, item_id: str | None = None) -> RemoteFile:
    """Return the file of the asset with a key; fields of the asset that have the wrong type count as missing."""
    fields: Mapping[str, Any] = asset.extra_fields
    size, checksum = fields.get("file:size"), fields.get("file:checksum")
    return RemoteFile(
        href=asset.href if isinstance(asset.href, str) else "",
        key=key,
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        checksum=checksum if isinstance(checksum, str) else None,
        media_type=asset.media_type if isinstance(asset.media_type, str) else "",
        item_id=item_id,
    )


def _strings(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _media_types(value: object) -> set[str]:
    return {value, value.partition(";")[0].strip()} if isinstance(value, str) and value else set()
