"""Know the storage: STAC collections and items, of jobs' results and all others."""

import os
from pathlib import Path

import pystac

from up42_async import _clock
from up42_async._client import Client, current_client
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.messages import ApiRequest
from up42_async._http.urls import segment
from up42_async._storage import stac
from up42_async._storage.asset_filter import AssetFilter
from up42_async._storage.properties import TAGS, TITLE
from up42_async._storage.search import DEFAULT_LIMIT, PATIENCE, STORAGE, Items


async def get_collection(collection_id: str, *, client: Client | None = None) -> pystac.Collection:
    """Ask for a STAC collection; one request.

    Args:
        collection_id: The collection's id.
        client: The client to use; the current one when left out.

    Raises:
        NotFoundError: There is no such collection, or it belongs to somebody else.
        APIError: UP42 could not be asked.
        ValueError: It cannot be an id.
    """
    request = ApiRequest(method="GET", path=f"{STORAGE}/collections/{segment(collection_id, 'collection_id')}")
    return stac.collection_from(await current_client(client)._session.call(request), request)


async def result_collection(client: Client, collection_url: str | None) -> pystac.Collection | None:
    """Ask for the collection of a job's result, again for a while as long as it is not visible yet.

    Args:
        client: Whom to ask with.
        collection_url: As the job has it. Only the id is taken from it, since its host is not always the API's.

    Returns:
        The collection; None when the job has none.

    Raises:
        NotFoundError: It is still not visible after a quarter of a minute.
        APIError: UP42 could not be asked.
        UnexpectedResponseError: The URL names no collection.
    """
    if collection_url is None:
        return None
    collection_id = _collection_id(collection_url)
    for wait in PATIENCE:
        try:
            return await get_collection(collection_id, client=client)
        except NotFoundError:
            await _clock.sleep(wait)
    return await get_collection(collection_id, client=client)


def result_items(client: Client, collection_url: str | None) -> Items:
    """Return the items of a job's result, waited for a while as long as there are none.

    Args:
        client: Whom to ask with.
        collection_url: As the job has it; None for no result, and so no items and no requests.

    Raises:
        UnexpectedResponseError: The URL names no collection.
    """
    if collection_url is None:
        return Items(client, None)
    body = {"limit": DEFAULT_LIMIT, "collections": [_collection_id(collection_url)]}
    return Items(client, body, patience=PATIENCE)


async def result_files(client: Client, collection_url: str | None, options: DownloadOptions) -> list[RemoteFile]:
    """Return the wanted files of a job's result; one request for every 100 items.

    Raises:
        APIError: The items could not be had.
    """
    return AssetFilter(options).files_of([item async for item in result_items(client, collection_url)])


async def download_result(
    client: Client, collection_url: str | None, directory: str | os.PathLike[str], options: DownloadOptions
) -> list[Path]:
    """Bring the files of a job's result: each whole and verified, or not at all.

    Costs one request for every 100 items, and two for each file.

    Args:
        client: The client to ask with.
        collection_url: As the job has it; None for no result, and so no files.
        directory: Where to put them; made when it is missing.
        options: Which files are wanted, and what to do with them.

    Returns:
        The files, in the order of item ids and asset keys.

    Raises:
        DownloadError: A file could not be had, or not whole; the others came all the same. Several are a
            `DownloadErrorGroup`.
        APIError: The items could not be had.
    """
    files = await result_files(client, collection_url, options)
    return await fetch_all(Downloads(client, Path(directory), options), files)


async def update_item(item: pystac.Item, *, client: Client | None = None) -> pystac.Item:
    """Send an item's UP42 title and tags, and take over what UP42 made of them; one request.

    Set them with `Up42Properties(item)` first. A property that the item does not have is not sent.

    Args:
        item: The item, which is changed in place.
        client: The client to use; the current one when left out.

    Returns:
        The item.

    Raises:
        APIError: UP42 could not be asked, or refused.
        ValueError: The item has no collection, or an id that cannot be right.
    """
    if item.collection_id is None:
        raise ValueError(f"item {item.id!r} belongs to no collection, so it is not one of UP42's storage")
    collection, name = segment(item.collection_id, "collection id"), segment(item.id, "item id")
    changes = {key: item.properties[key] for key in (TITLE, TAGS) if key in item.properties}
    request = ApiRequest(method="PATCH", path=f"{STORAGE}/collections/{collection}/items/{name}", json=changes)
    answer = stac.item_from(await current_client(client)._session.call(request), request)
    item.properties.clear()
    item.properties.update(answer.properties)
    return item


def _collection_id(url: str) -> str:
    name = stac.last_segment(url)
    try:
        segment(name, "collection id")
    except ValueError:
        message = "the job's result has a collection URL that names no collection"
        raise UnexpectedResponseError(message) from None
    return name
