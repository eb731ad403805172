"""Assets: their list, metadata, signed URLs and bytes."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from up42_async.sandbox import _answers
from up42_async.sandbox._asset_listing import assets_of
from up42_async.sandbox._files_app import Sender
from up42_async.sandbox._items import DIGITS, File, Item
from up42_async.sandbox._paging import page_of
from up42_async.sandbox._scaled_clock import timestamp
from up42_async.sandbox._signing import header_value
from up42_async.sandbox._stac import source_of
from up42_async.sandbox._storage import Storage

_ASSET_PATH = "/v2/assets/{asset_id}"
_NOT_FOUND = "Asset not found."


def asset_routes(storage: Storage, sender: Sender) -> Sequence[Route]:
    """Return the routes of assets."""
    endpoints = _Assets(storage)
    return [
        Route("/v2/assets", endpoints.assets, methods=["GET"]),
        Route(_ASSET_PATH, _Stream(storage, sender), methods=["GET", "HEAD"]),
        Route(f"{_ASSET_PATH}/metadata", endpoints.metadata, methods=["GET"]),
        Route(f"{_ASSET_PATH}/download-url", endpoints.download_url, methods=["POST"]),
    ]


class _Stream:
    """Streams a file to requests with a token, which need no signed URL.

    Args:
        storage: The storage.
        sender: Sends the files.
    """

    def __init__(self, storage: Storage, sender: Sender) -> None:
        self._storage = storage
        self._sender = sender

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._storage.world.lock:
            entry = self._storage.file(scope["path_params"]["asset_id"])
        if entry is None:
            await _answers.plain_error(404, _NOT_FOUND)(scope, receive, send)
            return
        disposition = entry[1].disposition
        await self._sender.send_file(scope, send, entry, None if disposition is None else header_value(disposition))


class _Assets:
    """Answers as the storage does.

    Args:
        storage: The storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._world = storage.world

    async def assets(self, request: Request) -> Response:
        query = request.query_params
        with self._world.lock:
            found = assets_of(self._storage, query)
            return _answers.answer(page_of(found, query, lambda entry: self._metadata(*entry)))

    async def metadata(self, request: Request) -> Response:
        with self._world.lock:
            found = self._storage.file(request.path_params["asset_id"])
            if found is None:
                return _answers.plain_error(404, _NOT_FOUND)
            return _answers.answer(self._metadata(*found))

    def _metadata(self, item: Item, file: File) -> dict[str, Any]:
        moment = timestamp(item.moment, DIGITS)
        return {
            "id": file.id,
            "accountId": self._world.account.id,
            "workspaceId": self._storage.workspace_of(item),
            "createdAt": moment,
            "updatedAt": moment,
            "name": file.name,
            "size": file.content.size,
            "contentType": file.media_type,
            "orderId": item.order_id,
            "title": item.title,
            "tags": item.tags,
            "source": source_of(item),
        }

    async def download_url(self, request: Request) -> Response:
        world = self._world
        with world.lock:
            found = self._storage.file(request.path_params["asset_id"])
            if found is None:
                return _answers.plain_error(404, _NOT_FOUND)
            file = found[1]
            return _answers.answer({"url": world.signed_urls.url(world.files_url, file.id, file.disposition)})
