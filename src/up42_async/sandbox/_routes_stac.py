"""The STAC API of the storage: collections, items and search."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from up42_async.sandbox import _answers, _searching, _stac
from up42_async.sandbox._answers import BadQuery
from up42_async.sandbox._items import Collection, Item
from up42_async.sandbox._searching import Search
from up42_async.sandbox._storage import Storage

GEOJSON = "application/geo+json"
_SCHEMA = "application/schema+json"
_COLLECTIONS_PATH = f"{_stac.STAC}/collections"
_COLLECTION_PATH = f"{_COLLECTIONS_PATH}/{{collection_id}}"
_ITEM_PATH = f"{_COLLECTION_PATH}/items/{{item_id}}"


def stac_routes(storage: Storage) -> Sequence[Route]:
    """Return the routes of the STAC API."""
    endpoints = _Stac(storage)
    return [
        Route(_stac.STAC, endpoints.catalog, methods=["GET"]),
        Route(f"{_stac.STAC}/", endpoints.catalog, methods=["GET"]),
        Route(_stac.SEARCH_PATH, endpoints.search, methods=["POST"]),
        Route(f"{_stac.STAC}/queryables", endpoints.queryables, methods=["GET"]),
        Route(_COLLECTIONS_PATH, endpoints.collections, methods=["GET"]),
        Route(_COLLECTION_PATH, endpoints.collection, methods=["GET"]),
        Route(_COLLECTION_PATH, endpoints.delete, methods=["DELETE"]),
        Route(f"{_COLLECTION_PATH}/items", endpoints.items, methods=["GET"]),
        Route(_ITEM_PATH, endpoints.item, methods=["GET"]),
        Route(_ITEM_PATH, endpoints.update, methods=["PATCH"]),
    ]


class _Stac:
    """Answers as the storage does.

    Args:
        storage: The storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._world = storage.world

    async def catalog(self, _: Request) -> Response:
        return _answers.answer(_stac.catalog_body(self._world))

    async def queryables(self, _: Request) -> Response:
        return Response(_answers.json_bytes(_stac.queryables_body(self._world)), media_type=_SCHEMA)

    async def collections(self, request: Request) -> Response:
        query = request.query_params
        workspace_id = query.get("workspace_id")
        limit, after = _limit_of(query), _searching.after_of(query.get("token"))
        with self._world.lock:
            every = [
                collection
                for collection in reversed(self._storage.collections())
                if workspace_id in {None, self._storage.workspace_of(collection.items[0])}
            ]
            first = _position_behind(every, after)
            page = every[first : first + limit]
            token = f"{_searching.TOKEN}{page[-1].id}" if first + limit < len(every) else None
            changed = {**query, "limit": limit, "token": token}
            following = None if token is None else self._next_link(_COLLECTIONS_PATH, changed, _answers.JSON)
            return _answers.answer(_stac.collections_body(self._world, page, following))

    def _next_link(self, path: str, query: Mapping[str, object], media_type: str) -> Mapping[str, Any]:
        origin = self._world.settings.next_link_origin or self._world.api_url
        return _stac.link("next", f"{origin}{path}?{urlencode(query, safe=':')}", media_type, method="GET")

    async def delete(self, request: Request) -> Response:
        with self._world.lock:
            deleted = self._storage.delete(request.path_params["collection_id"])
        return Response(status_code=204) if deleted else _answers.plain_error(404, "Collection not found.")

    async def collection(self, request: Request) -> Response:
        with self._world.lock:
            found = self._storage.collection(request.path_params["collection_id"])
            if found is None:
                return _answers.plain_error(404, "Collection not found.")
            return _answers.answer(_stac.collection_body(self._world, found))

    async def item(self, request: Request) -> Response:
        with self._world.lock:
            found = self._storage.item(**request.path_params)
            return _answer_item(None if found is None else _stac.item_body(self._world, found))

    async def update(self, request: Request) -> Response:
        try:
            changes = _changes(await request.body())
        except ValueError as error:
            return _answers.plain_error(400, str(error))
        with self._world.lock:
            found = self._storage.item(**request.path_params)
            if found is not None:
                _apply(found, changes)
            return _answer_item(None if found is None else _stac.item_body(self._world, found))

    async def items(self, request: Request) -> Response:
        collection_id = request.path_params["collection_id"]
        query = request.query_params
        after = _searching.after_of(query.get("token"))
        search = Search(collections=[collection_id], limit=_limit_of(query), after=after)
        with self._world.lock:
            if self._storage.collection(collection_id) is None:
                return _answers.plain_error(404, "Collection not found.")
        return self._page(
            search,
            lambda token: self._next_link(request.url.path, {"limit": search.limit, "token": token}, GEOJSON),
        )

    async def search(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            return _answers.plain_error(400, "The body is not JSON.")
        search = _searching.parse(body)
        href = f"{self._world.api_url}{_stac.SEARCH_PATH}"
        return self._page(
            search,
            lambda token: _stac.link("next", href, GEOJSON, method="POST", merge=True, body={"token": token}),
        )

    def _page(self, search: Search, next_link: Callable[[str], Mapping[str, Any]]) -> Response:
        with self._world.lock:
            items, token = _searching.page(self._storage, search)
            body = _stac.page_body(self._world, items, None if token is None else next_link(token))
        return Response(_answers.json_bytes(body), media_type=GEOJSON)


def _limit_of(query: QueryParams) -> int:
    limit = query.get("limit", str(_searching.LIMIT_DEFAULT))
    return _searching.limit_of(int(limit) if limit.isdecimal() else limit)


def _position_behind(collections: Sequence[Collection], collection_id: str | None) -> int:
    """Return where the page begins that follows a collection."""
    if collection_id is None:
        return 0
    found = [position for position, collection in enumerate(collections) if collection.id == collection_id]
    if not found:
        raise BadQuery("token is not one that a page has given out.")
    return found[0] + 1


def _answer_item(body: dict[str, Any] | None) -> Response:
    if body is None:
        return _answers.plain_error(404, "Item not found.")
    return Response(_answers.json_bytes(body), media_type=GEOJSON)


def _changes(content: bytes) -> dict[str, Any]:
    """Read the new title and tags of an item.

    Raises:
        ValueError: It is something else.
    """
    changes = json.loads(content)
    if not isinstance(changes, dict) or changes.keys() - {_stac.TITLE, _stac.TAGS}:
        raise ValueError(f"An item can be given {_stac.TITLE} and {_stac.TAGS} only.")
    title, tags = changes.get(_stac.TITLE), changes.get(_stac.TAGS)
    if title is not None and not isinstance(title, str):
        raise ValueError(f"{_stac.TITLE} is a text.")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise ValueError(f"{_stac.TAGS} is a list of texts.")
    return changes


def _apply(item: Item, changes: Mapping[str, Any]) -> None:
    if _stac.TITLE in changes:
        item.title = changes[_stac.TITLE]
    if _stac.TAGS in changes:
        item.tags = changes[_stac.TAGS]
