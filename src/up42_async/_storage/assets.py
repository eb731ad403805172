"""Know assets: what is in storage, as one or more files."""

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pystac

from up42_async._client import Client, current_client
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import UnexpectedResponseError
from up42_async._http.dates import timestamp
from up42_async._http.messages import ApiRequest
from up42_async._http.urls import segment
from up42_async._storage.items import Items
from up42_async._storage.search import DEFAULT_LIMIT, property_is

ASSETS: Final = "/v2/assets"


@attrs.define(kw_only=True, slots=False)
class Asset:
    """Something in your storage: what was ordered or made, as one or more files."""

    id: str
    """The asset's id."""
    account_id: str | None = None
    """The account it belongs to."""
    workspace_id: str | None = None
    """The workspace it belongs to."""
    created: dt.datetime | None = None
    """When it came into storage."""
    updated: dt.datetime | None = None
    """When it was last changed."""
    name: str | None = None
    """File name, when it is one file."""
    size: int | None = None
    """Size in bytes."""
    content_type: str | None = None
    """Media type, such as `application/zip`."""
    order_id: str | None = None
    """The order that brought it."""
    title: str | None = None
    """Title given by the user."""
    tags: list[str] = attrs.field(factory=list)
    """Tags given by the user."""
    source: str | None = None
    """Where it came from, such as `ARCHIVE`, `TASKING`, `ANALYTICS` or `USER`."""
    metadata: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Everything UP42 says of it, as it came."""
    _client: Client | None = attrs.field(default=None, alias="client", repr=False, eq=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: all but the client, so that a copy uses the current one."""
        return {**self.__dict__, "_client": None}

    @classmethod
    async def get(cls, asset_id: str, *, client: Client | None = None) -> "Asset":
        """Ask for an asset; one request.

        Args:
            asset_id: The asset's id.
            client: The client to use; the current one when left out.

        Raises:
            NotFoundError: There is no such asset, or it belongs to somebody else.
            APIError: UP42 could not be asked.
            ValueError: It cannot be an id.
        """
        request = ApiRequest(method="GET", path=f"{ASSETS}/{segment(asset_id, 'asset_id')}/metadata")
        user = current_client(client)
        asset = cls._from_metadata(await user._session.call(request), request, user)
        if asset.id != asset_id:
            message = f"an answer with asset {asset.id!r:.80} instead of {asset_id!r}"
            raise UnexpectedResponseError(message, request=str(request), transient=True)
        return asset

    @classmethod
    def _from_metadata(cls, content: Any, request: ApiRequest, client: Client) -> "Asset":
        try:
            return cls(
                id=_text(content["id"]),
                account_id=_text_or_none(content.get("accountId")),
                workspace_id=_text_or_none(content.get("workspaceId")),
                created=_time_or_none(content.get("createdAt")),
                updated=_time_or_none(content.get("updatedAt")),
                name=_text_or_none(content.get("name")),
                size=None if content.get("size") is None else int(content["size"]),
                content_type=_text_or_none(content.get("contentType")),
                order_id=_text_or_none(content.get("orderId")),
                title=_text_or_none(content.get("title")),
                tags=[_text(tag) for tag in content.get("tags") or []],
                source=_text_or_none(content.get("source")),
                metadata=content,
                client=client,
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            message = f"an answer that is no asset ({type(error).__name__} when it was read)"
            raise UnexpectedResponseError(message, request=str(request)) from error

    async def stac_items(self) -> list[pystac.Item]:
        """Return the STAC items of this asset; one request for every 100.

        Raises:
            APIError: They could not be had.
        """
        body = {"limit": DEFAULT_LIMIT, "filter": property_is("asset_id", self.id)}
        return [item async for item in Items(current_client(self._client), body)]

    async def download(
        self, directory: str | os.PathLike[str], *, unpack: bool = False, resume: bool = True
    ) -> list[Path]:
        """Bring the asset's file home: whole and verified, or not at all.

        Costs one request for a signed URL and one to the storage host; more only when something goes wrong.

        Args:
            directory: Where to put it; made when it is missing.
            unpack: Whether to unpack an archive (`.zip`, `.tgz`, `.tar.gz`, `.tar`), into a directory beside it.
            resume: Whether to keep what came of a file that broke off, as `name.part`, and go on from there next time.

        Returns:
            The file; or the files of the archive, when it was unpacked.

        Raises:
            DownloadError: It could not be had, or not whole.
        """
        file = RemoteFile(
            href=f"{ASSETS}/{segment(self.id)}",
            key=self.name or self.id,
            size=self.size,
            media_type=self.content_type or "",
        )
        options = DownloadOptions(unpack=unpack, resume=resume)
        return await fetch_all(Downloads(current_client(self._client), Path(directory), options), [file])


async def initialize_asset(asset_id: str, *, client: Client | None = None) -> Asset:
    """Ask for an asset, as `Asset.get` does; one request.

    Args:
        asset_id: The asset's id.
        client: The client to use; the current one when left out.

    Raises:
        NotFoundError: There is no such asset, or it belongs to somebody else.
        APIError: UP42 could not be asked.
        ValueError: It cannot be an id.
    """
    return await Asset.get(asset_id, client=client)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _time_or_none(value: object) -> dt.datetime | None:
    return None if value is None else timestamp(value)
