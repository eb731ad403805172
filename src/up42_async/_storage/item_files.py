"""The files of items: signed URLs, to read them without a download, and downloads of many items."""

import os
from collections.abc import AsyncIterable, Iterable
from typing import Final

import pystac

from up42_async._client import Client, current_client
from up42_async._downloads.directory import Downloads, SourceFiles
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import ask_signed_url
from up42_async._storage.assets import Asset
from up42_async._storage.download_batch import DownloadBatch
from up42_async._storage.items import files_of, remote_file
from up42_async._storage.stac import client_of

_JOB_ID: Final = "up42-system:job_id"

Item = pystac.Item | pystac.Collection


async def signed_url(asset: pystac.Asset | Asset, *, client: Client | None = None) -> str:
    """Get a signed URL of the file of an asset, which is valid for five minutes; one request.

    A request to it needs no token and may ask for a range, so that rasterio, GDAL and others can read parts of a file
    without a download. Anybody who has the URL can read the file: keep it out of logs.

    Args:
        asset: An asset of an item or collection, or one from `Asset.get` or `Asset.all`.
        client: The client to use; when left out the one that the asset came from, else the current one.

    Raises:
        UntrustedURLError: The asset is not in UP42's storage, so it has no signed URL, or the signed URL leads to an
            address inside this network.
        NotFoundError: There is no such asset.
        APIError: The request failed.
        TypeError: The argument is no asset.
    """
    if isinstance(asset, Asset):
        file, own = asset._remote_file(), asset._client  # noqa: SLF001 - private to users, not to this folder
    elif isinstance(asset, pystac.Asset):
        file, own = remote_file(asset.title or "asset", asset), client_of(asset.owner)
    else:
        raise TypeError(f"asset must be an asset of a STAC item or an up42_async.Asset, not {asset!r:.80}")
    return (await ask_signed_url(current_client(client or own)._session, file)).reveal()


def download_items(
    items: Iterable[Item] | AsyncIterable[Item],
    directory: str | os.PathLike[str],
    *,
    keys: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
    media_types: Iterable[str] | None = None,
    unpack: bool = False,
    resume: bool = True,
    bar: bool = False,
    client: Client | None = None,
) -> DownloadBatch:
    """Download the files of items; each file is complete and verified, or absent.

    `await download_items(...)` returns all files in the order of the items. `async with download_items(...) as files:`
    with `async for file in files:` gives each file when it is complete, while your own code runs; leaving the block
    early cancels the downloads that have not ended. A failed file, or an asset that is not in UP42's storage, is a
    `ResultFile` with an error, and stops no other file.

    Costs two requests for each file. At most `Limits.max_downloads` files are downloaded at once, on connections of
    their own.

    Args:
        items: Items, or collections with assets of their own: a list, or an async iterable such as `search_items(...)`.
        directory: Where the files of all items go; made when it is missing. When two files have the same name, the
            first 8 characters of its asset's id are added to the name of the second.
        keys: Only assets with one of these keys.
        roles: Only assets with one of these roles, such as `"data"`.
        media_types: Only assets of one of these media types, such as `"image/tiff"`, with any parameters.
        unpack: Whether to unpack archives (`.zip`, `.tgz`, `.tar.gz`, `.tar`), each into a directory beside it.
        resume: Whether to keep an incomplete file as `name.part`, which the next download continues.
        bar: Whether to show a progress bar, in a terminal or notebook; needs `up42-async[progress]`.
        client: The client to use; when left out the one that an item came from, else the current one.

    Raises:
        RuntimeError: `bar` is True, and `rich` is not installed.
        TypeError: `items` is one item instead of several, or `keys`, `roles` or `media_types` is no list of strings.
    """
    if isinstance(items, pystac.Item | pystac.Collection):
        raise TypeError("download_items() takes many items; write download_items([item], directory)")
    options = DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume)
    return ItemDownloads(items, directory, options, client, bar=bar)


class ItemDownloads(DownloadBatch):
    """Downloads of the files of many items into one directory; see `download_items`."""

    _function = "download_items"

    def _begin(self) -> None:
        self._downloads: dict[Client, Downloads] = {}
        self._keys: set[str] = set()

    def _job_id(self, source: object) -> str | None:
        job_id = source.properties.get(_JOB_ID) if isinstance(source, pystac.Item) else None
        return job_id if isinstance(job_id, str) else None

    async def _files_of(self, source: object) -> SourceFiles:
        if not isinstance(source, pystac.Item | pystac.Collection):
            raise TypeError(f"items must be STAC items, not {source!r:.80}")
        client = current_client(self._client or client_of(source))
        if client not in self._downloads:  # one for each client, since all its files share one record of the directory
            self._downloads[client] = Downloads(
                client, self._directory, self._options, progress=self._tracker, keys=self._keys
            )
        # nothing is awaited here, so that files share names in the order of the items
        return SourceFiles(downloads=self._downloads[client], files=files_of([source], self._options))
