"""The results of jobs: their collection, their items and their files, which may take a while to become visible."""

import os
from pathlib import Path
from typing import Final

import pystac

from up42_async import _clock
from up42_async._client import Client
from up42_async._downloads.directory import Downloads, SourceFiles, fetch_all
from up42_async._downloads.options import DownloadOptions
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.requests import segment
from up42_async._storage.asset_filter import files_of
from up42_async._storage.collections import get_collection
from up42_async._storage.guarded import last_segment
from up42_async._storage.items import Items
from up42_async._storage.search import DEFAULT_LIMIT

VISIBILITY_SHARES: Final = (1 / 15, 2 / 15, 4 / 15, 8 / 15)
"""Pauses between looks at a result that is not visible yet, as parts of `Polling.visible`."""


async def result_collection(client: Client, collection_url: str | None) -> pystac.Collection | None:
    """Ask for the collection of a job's result, again for a while as long as it is not visible yet.

    Args:
        client: The client to use.
        collection_url: As the job has it. Only the id is taken from it, since its host is not always the API's.

    Returns:
        The collection; None when the job has none.

    Raises:
        NotFoundError: It is still not visible after `Polling.visible` seconds.
        APIError: UP42 could not be asked.
        UnexpectedResponseError: The URL names no collection.
    """
    if collection_url is None:
        return None
    collection_id = _collection_id(collection_url)
    for wait in _patience(client):
        try:
            return await get_collection(collection_id, client=client)
        except NotFoundError:
            await _clock.sleep(wait)
    return await get_collection(collection_id, client=client)


def result_items(client: Client, collection_url: str | None) -> Items:
    """Return the items of a job's result, waited for a while as long as there are none.

    Args:
        client: The client to use.
        collection_url: As the job has it; None for no result, and so no items and no requests.

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
        downloads: Where they go, which client is used, and which files are wanted.
        collection_url: As the job has it; None for no result, and so no files.

    Raises:
        APIError: The items could not be had.
    """
    items = result_items(downloads.client, collection_url)
    files = files_of([item async for item in items], downloads.options)
    return SourceFiles(downloads=downloads, files=files, errors=items.unreadable)


async def download_result(
    client: Client, collection_url: str | None, directory: str | os.PathLike[str], options: DownloadOptions
) -> list[Path]:
    """Bring the files of a job's result: each whole and verified, or not at all.

    Costs one request for every 100 items, and two for each file.

    Args:
        client: The client to use.
        collection_url: As the job has it; None for no result, and so no files.
        directory: Where to put them; made when it is missing.
        options: Which files are wanted, and what to do with them.

    Returns:
        The files, in the order of item ids and asset keys.

    Raises:
        DownloadError: A file could not be had, or not whole; the others came all the same. Several are a
            `DownloadErrorGroup`.
        UnexpectedResponseError: An item cannot be read; the files of the others came all the same.
        APIError: The items could not be had.
    """
    found = await result_files(Downloads(client, Path(directory), options), collection_url)
    return await fetch_all(found.downloads, found.files, unreadable=found.errors)


def _patience(client: Client) -> list[float]:
    """Return how long to wait before each further look: results are often not visible right after a job has ended."""
    return [client._polling.visible * part for part in VISIBILITY_SHARES]


def _collection_id(url: str) -> str:
    name = last_segment(url)
    try:
        segment(name, "collection id")
    except ValueError:
        message = "the job's result has a collection URL that names no collection"
        raise UnexpectedResponseError(message) from None
    return name
