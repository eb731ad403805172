"""Assets: data that was ordered, uploaded or made by a job; listed, or fetched by id."""

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pystac

from up42_async._client import Client, current_client, display
from up42_async._client.readable_list import ReadableList, entry_id, numbered_page
from up42_async._clock import as_text
from up42_async._config.arguments import integer, joinable, moment, optional, string
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, check_answered_id, query, segment
from up42_async._storage.asset_metadata import asset_fields
from up42_async._storage.items import Items
from up42_async._storage.search import DEFAULT_LIMIT, property_is
from up42_async._storage.stac import Report, log

ASSETS: Final = "/v2/assets"

PAGE_SIZE: Final = 100
"""Assets a page; UP42's own default of 20 would cost five times the requests."""


@attrs.define(kw_only=True, slots=False)
class Asset:
    """An asset in your storage: data of one or more files that was ordered, uploaded or made by a job."""

    id: str
    """The asset's id."""
    account_id: str | None = None
    """The account it belongs to."""
    workspace_id: str | None = None
    """The workspace it belongs to."""
    created: dt.datetime | None = None
    """When it was added to the storage."""
    updated: dt.datetime | None = None
    """When it was last changed."""
    name: str | None = None
    """File name, when it is one file."""
    size: int | None = None
    """Size in bytes."""
    content_type: str | None = None
    """Media type, such as `application/zip`."""
    order_id: str | None = None
    """The order that it was delivered for."""
    title: str | None = None
    """Title given by the user."""
    tags: list[str] = attrs.field(factory=list)
    """Tags given by the user."""
    source: str | None = None
    """Where it came from: `ARCHIVE`, `TASKING`, `PROCESSING` (older ones say `ANALYTICS`) or `USER`."""
    metadata: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """All its metadata, as UP42 sent them."""
    _client: Client | None = attrs.field(default=None, alias="client", repr=False, eq=False)

    def __repr__(self) -> str:
        """Return the asset in one line of at most 200 characters."""
        return display.attributes(self, "id", "title", "name", "size", "created")

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the client, for copies and pickles, which use the current client."""
        return {**self.__dict__, "_client": None}

    @classmethod
    async def get(cls, asset_id: str, *, client: Client | None = None) -> "Asset":
        """Get an asset; one request.

        Args:
            asset_id: The asset's id.
            client: The client to use; the current one when left out.

        Raises:
            NotFoundError: There is no such asset, or it belongs to another account.
            APIError: The request failed.
            UnexpectedResponseError: The response is no asset, or is about another one.
            ValueError: `asset_id` cannot be an id.
        """
        request = ApiRequest(method="GET", path=f"{ASSETS}/{segment(asset_id, 'asset_id')}/metadata")
        user = current_client(client)
        asset = _read_asset(await user._session.call(request), request, user, log)
        check_answered_id("asset", asset.id, asset_id, request)
        return asset

    @classmethod
    def all(
        cls,
        *,
        created_after: dt.datetime | None = None,
        created_before: dt.datetime | None = None,
        workspace_id: str | None = None,
        collection_names: Iterable[str] | None = None,
        producer_names: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        sources: Iterable[str] | None = None,
        search: str | None = None,
        sort_by: str | None = None,
        page_size: int = PAGE_SIZE,
        client: Client | None = None,
    ) -> "AssetList":
        """List the assets in storage: an async iterator, whose `errors` has what could not be read.

        One request for each page. An asset must match all filters, and of a list one entry. An empty list matches
        nothing, and nothing is sent.

        Args:
            created_after: Only assets added to the storage after this moment; UTC when it has no time zone.
            created_before: Only assets added to the storage before this moment; UTC when it has no time zone.
            workspace_id: Only assets of this workspace; when left out, of the whole account.
            collection_names: Only assets of these geospatial collections, such as `"phr"`.
            producer_names: Only assets of these producers.
            tags: Only assets with one of these tags.
            sources: Only assets from these sources: `"ARCHIVE"`, `"TASKING"`, `"PROCESSING"`, `"USER"`.
            search: Only assets whose metadata have these words, such as their name, title or order id.
            sort_by: The order, such as `"createdAt,desc"`.
            page_size: Assets a page, 1 or more.
            client: The client to use; the current one when left out.

        Raises:
            TypeError: A filter of the wrong kind, such as one string where a list of them is wanted.
            ValueError: A filter that cannot be right.
        """
        lists = {
            "collectionNames": optional(joinable, collection_names, "collection_names"),
            "producerNames": optional(joinable, producer_names, "producer_names"),
            "tags": optional(joinable, tags, "tags"),
            "sources": optional(joinable, sources, "sources"),
        }
        parameters = {
            "createdAfter": optional(_iso, created_after, "created_after"),
            "createdBefore": optional(_iso, created_before, "created_before"),
            "workspaceId": optional(string, workspace_id, "workspace_id"),
            **lists,
            "search": optional(string, search, "search"),
            "sort": optional(string, sort_by, "sort_by"),
            "page": 0,
            "size": integer(page_size, "page_size", least=1, unit="assets"),
        }
        return AssetList(current_client(client), None if [] in lists.values() else query(parameters))

    async def stac_items(self) -> list[pystac.Item]:
        """Return the STAC items of this asset; one request for every 100.

        Raises:
            APIError: A request failed.
        """
        body = {"limit": DEFAULT_LIMIT, "filter": property_is("asset_id", self.id)}
        return [item async for item in Items(current_client(self._client), body)]

    async def download(
        self, directory: str | os.PathLike[str], *, unpack: bool = False, resume: bool = True
    ) -> list[Path]:
        """Download the asset's file, complete and verified, or not at all.

        One request for a signed URL and one to the storage host; each retry sends both again.

        Args:
            directory: Directory for the file; made when it is missing.
            unpack: Whether to unpack an archive (`.zip`, `.tgz`, `.tar.gz`, `.tar`), into a directory beside it.
            resume: Whether to keep an incomplete file as `name.part`, which the next download continues.

        Returns:
            The path of the file; for an unpacked archive those of its files.

        Raises:
            DownloadError: The file could not be downloaded completely, or could not be unpacked.
        """
        options = DownloadOptions(unpack=unpack, resume=resume)
        downloads = Downloads(current_client(self._client), Path(directory), options)
        return await fetch_all(downloads, [self._remote_file()])

    def _remote_file(self) -> RemoteFile:
        return RemoteFile(
            href=f"{ASSETS}/{segment(self.id)}",
            key=self.name or self.id,
            size=self.size,
            media_type=self.content_type or "",
        )


async def initialize_asset(asset_id: str, *, client: Client | None = None) -> Asset:
    """Get an asset, like `Asset.get`; one request.

    Args:
        asset_id: The asset's id.
        client: The client to use; the current one when left out.

    Raises:
        NotFoundError: There is no such asset, or it belongs to another account.
        APIError: The request failed.
        UnexpectedResponseError: The response is no asset, or is about another one.
        ValueError: `asset_id` cannot be an id.
    """
    return await Asset.get(asset_id, client=client)


class AssetList(ReadableList[Asset]):
    """An async iterator over assets; `errors` names those that could not be read, and fields that could not be read."""

    def __init__(self, client: Client, filters: str | None) -> None:
        """Send nothing yet; see `Asset.all`.

        Args:
            client: The client to use.
            filters: The query; None for no assets, for which nothing is sent.
        """
        self._client = client
        first = None if filters is None else ApiRequest(method="GET", path=ASSETS, query=filters)
        super().__init__(client._session, first, numbered_page, self._read_entry, key=entry_id)

    def _read_entry(self, content: Any, request: ApiRequest) -> Asset:
        return _read_asset(content, request, self._client, self._mention)


def _read_asset(content: Any, request: ApiRequest, client: Client, report: Report) -> Asset:
    fields, odd = asset_fields(content, request)
    if odd:
        message = f"asset {fields['id']!r:.80} has a {', '.join(odd)} that cannot be read; the rest of it is used"
        report(UnexpectedResponseError(message, request=str(request)))
    return Asset(**fields, client=client)


def _iso(value: object, name: str) -> str:
    return as_text(moment(value, name))
