"""The results of one job: its collection, its items and its files, which may become visible a while after its end."""

import os
from pathlib import Path
from typing import Final

import anyio
import pystac

from up42_async._client import Client
from up42_async._downloads.directory import Downloads, SourceFiles, fetch_all
from up42_async._downloads.options import DownloadOptions
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.requests import segment
from up42_async._storage.collections import get_collection
from up42_async._storage.items import Items, files_of
from up42_async._storage.search import DEFAULT_LIMIT
from up42_async._storage.stac import last_segment

VISIBILITY_SHARES: Final = (1 / 15, 2 / 15, 4 / 15, 8 / 15)
"""Waits between requests for a result that is not visible yet, as shares of `Polling.visible`."""


async def result_collection(client: Client, collection_url: str | None) -> pystac.Collection | None:
    """Get the collection of a job's result; one request, and up to four more while it is not visible yet.

    Args:
        client: The client to use.
        collection_url: The collection URL of the job, of which only the id is used: its host may not be the API.
            None for a job without result.

    Returns:
        The collection; None for a job without result.

    Raises:
        NotFoundError: The collection is not visible after `Polling.visible` seconds.
        APIError: The request failed.
        UnexpectedResponseError: The URL names no collection.
    """
    if collection_url is None:
        return None
    collection_id = _collection_id(collection_url)
    for wait in _patience(client):
        try:
            return await get_collection(collection_id, client=client)
        except NotFoundError:
            await anyio.sleep(wait)
    return await get_collection(collection_id, client=client)


def result_items(client: Client, collection_url: str | None) -> Items:
    """Return the items of a job's result; while there are none, they are searched again for `Polling.visible` seconds.

    Args:
        client: The client to use.
        collection_url: The collection URL of the job; None for a job without result, which has no items.

    Raises:
        UnexpectedResponseError: The URL names no collection.
    """
    if collection_url is None:
        return Items(client, None)
    body = {"limit": DEFAULT_LIMIT, "collections": [_collection_id(collection_url)]}
    return Items(client, body, patience=_patience(client))


async def result_files(downloads: Downloads, collection_url: str | None) -> SourceFiles:
    """Return the wanted files of a job's result; one request for every 100 items.

    Args:
        downloads: The downloads into the directory of the job, with their client and options.
        collection_url: The collection URL of the job; None for a job without result, which has no files.

    Raises:
        APIError: A request for the items failed.
    """
    items = result_items(downloads.client, collection_url)
    files = files_of([item async for item in items], downloads.options)
    return SourceFiles(downloads=downloads, files=files, errors=items.unreadable)


async def download_result(
    client: Client, collection_url: str | None, directory: str | os.PathLike[str], options: DownloadOptions
) -> list[Path]:
    """Download the files of a job's result; each is complete and verified, or absent.

    Costs one request for every 100 items, and two for each file.

    Args:
        client: The client to use.
        collection_url: The collection URL of the job; None for a job without result, which has no files.
        directory: Where the files go; made when it is missing.
        options: Which files are wanted, and whether to resume and unpack them.

    Returns:
        The paths of the files, in the order of item ids and asset keys.

    Raises:
        DownloadError: A file failed; the others were downloaded. Several failed files are a `DownloadErrorGroup`.
        UnexpectedResponseError: An item cannot be read; the files of the others were downloaded.
        APIError: A request for the items failed.
    """
    found = await result_files(Downloads(client, Path(directory), options), collection_url)
    return await fetch_all(found.downloads, found.files, unreadable=found.errors)


def _patience(client: Client) -> list[float]:
    """Return the seconds to wait before each further request: a result is often not visible when its job ends."""
    return [client._polling.visible * part for part in VISIBILITY_SHARES]


def _collection_id(url: str) -> str:
    name = last_segment(url)
    try:
        segment(name, "collection id")
    except ValueError:
        message = "the job's result has a collection URL that names no collection"
        raise UnexpectedResponseError(message) from None
    return name
