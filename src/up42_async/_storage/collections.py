"""STAC collections and their items: listed, fetched, changed and deleted by id."""

from typing import Any, Final

import pystac

from up42_async._client import Client, current_client
from up42_async._client.pagination import Page, next_page
from up42_async._client.readable_list import ReadableList, entry_id
from up42_async._config.arguments import integer
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.requests import ApiRequest, check_answered_id, query, segment
from up42_async._storage.items import STORAGE
from up42_async._storage.properties import TAGS, TITLE
from up42_async._storage.search import DEFAULT_LIMIT, MOST_LIMIT
from up42_async._storage.stac import StorageCollection, StorageItem, client_of, stac_from

COLLECTIONS: Final = f"{STORAGE}/collections"


async def get_collection(collection_id: str, *, client: Client | None = None) -> pystac.Collection:
    """Get a STAC collection; one request.

    Args:
        collection_id: The collection's id.
        client: The client to use; the current one when left out.

    Raises:
        NotFoundError: There is no such collection, or it belongs to another account.
        APIError: The request failed.
        UnexpectedResponseError: The response is no STAC collection, or is about another one.
        ValueError: `collection_id` cannot be an id.
    """
    request = ApiRequest(method="GET", path=f"{COLLECTIONS}/{segment(collection_id, 'collection_id')}")
    user = current_client(client)
    collection = stac_from(StorageCollection, await user._session.call(request), request, user)
    check_answered_id("collection", collection.id, collection_id, request)
    return collection


async def get_item(collection_id: str, item_id: str, *, client: Client | None = None) -> pystac.Item:
    """Get a STAC item; one request. When only its id is known, `search_items(ids=[item_id])` finds it.

    Args:
        collection_id: The id of its collection.
        item_id: The item's id.
        client: The client to use; the current one when left out.

    Raises:
        NotFoundError: There is no such item, or it belongs to another account.
        APIError: The request failed.
        UnexpectedResponseError: The response is no STAC item, or is about another one.
        ValueError: `collection_id` or `item_id` cannot be an id.
    """
    request = ApiRequest(method="GET", path=_item_path(collection_id, item_id))
    user = current_client(client)
    item = stac_from(StorageItem, await user._session.call(request), request, user)
    check_answered_id("item", item.id, item_id, request)
    check_answered_id("item of collection", item.collection_id or collection_id, collection_id, request)
    return item


async def update_item(item: pystac.Item, *, client: Client | None = None) -> pystac.Item:
    """Send the UP42 title and tags of an item, and replace its properties by those of the response; one request.

    Set them with `Up42Properties(item)` first. A property that the item does not have is not sent.

    Args:
        item: The item, which is changed in place.
        client: The client to use; when left out the one that the item came from, else the current one.

    Returns:
        The item.

    Raises:
        APIError: The request failed.
        UnexpectedResponseError: The response is no STAC item, or is about another one.
        ValueError: The item has no collection, or its id cannot be an id.
    """
    if item.collection_id is None:
        raise ValueError(f"item {item.id!r} belongs to no collection, so it is not one of UP42's storage")
    changes = {key: item.properties[key] for key in (TITLE, TAGS) if key in item.properties}
    request = ApiRequest(method="PATCH", path=_item_path(item.collection_id, item.id), json=changes)
    user = current_client(client or client_of(item))
    answer = stac_from(StorageItem, await user._session.call(request), request, user)
    check_answered_id("item", answer.id, item.id, request)
    item.properties.clear()
    item.properties.update(answer.properties)
    return item


async def delete_collection(collection_id: str, *, client: Client | None = None) -> None:
    """Delete a collection with all its items and files, for ever; one request. UP42 cannot delete single items.

    Args:
        collection_id: The collection's id.
        client: The client to use; the current one when left out.

    Raises:
        NotFoundError: There is no such collection, or it belongs to another account. Not raised after a try whose
            response was lost, since that try may have deleted it.
        APIError: The request failed.
        ValueError: `collection_id` cannot be an id.
    """
    path = f"{COLLECTIONS}/{segment(collection_id, 'collection_id')}"
    request = ApiRequest(method="DELETE", path=path, empty_ok=True)
    try:
        await current_client(client)._session.call(request)
    except NotFoundError as error:
        if error.tries == 1:  # else an earlier try, whose response was lost, may have deleted it
            raise


def list_collections(
    workspace_id: str | None = None, *, limit: int = DEFAULT_LIMIT, client: Client | None = None
) -> ReadableList[pystac.Collection]:
    """List the collections in storage: an async iterator, whose `errors` has those that could not be read.

    Args:
        workspace_id: Only collections of this workspace; when left out, of the whole account.
        limit: Collections a page, 1 to 10000; one request for each page.
        client: The client to use; the current one when left out.

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: An argument that cannot be right.
    """
    if workspace_id is not None:
        segment(workspace_id, "workspace_id")
    user = current_client(client)
    size = integer(limit, "limit", least=1, most=MOST_LIMIT)

    def split(answer: Any, request: ApiRequest) -> Page[Any]:
        content = answer if isinstance(answer, dict) else {}
        if not isinstance(content.get("collections"), list):
            raise UnexpectedResponseError("an answer that is no list of STAC collections", request=str(request))
        return Page(items=content["collections"], next=next_page(content, user._session.api, request))

    first = ApiRequest(method="GET", path=COLLECTIONS, query=query({"workspace_id": workspace_id, "limit": size}))
    return ReadableList(
        user._session,
        first,
        split,
        lambda content, request: stac_from(StorageCollection, content, request, user),
        key=entry_id,
    )


async def get_queryables(*, client: Client | None = None) -> dict[str, Any]:
    """Get the properties by which `search_items(filter=...)` can search; one request.

    Args:
        client: The client to use; the current one when left out.

    Returns:
        A JSON schema, whose `properties` are these properties.

    Raises:
        APIError: The request failed.
        UnexpectedResponseError: The response is no JSON object.
    """
    request = ApiRequest(method="GET", path=f"{STORAGE}/queryables")
    answer = await current_client(client)._session.call(request)
    if not isinstance(answer, dict):
        raise UnexpectedResponseError("an answer that is no JSON schema", request=str(request))
    return answer


def _item_path(collection_id: str, item_id: str) -> str:
    return f"{COLLECTIONS}/{segment(collection_id, 'collection_id')}/items/{segment(item_id, 'item_id')}"
