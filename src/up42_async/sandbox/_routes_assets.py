"""The assets of the storage: what the platform says of a file, and where it is for the next minutes."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from up42_async.sandbox import _answers
from up42_async.sandbox._items import DIGITS, File, Item
from up42_async.sandbox._scaled_clock import timestamp
from up42_async.sandbox._storage import Storage

_ASSET_PATH = "/v2/assets/{asset_id}"
_NOT_FOUND = "Asset not found."


def asset_routes(storage: Storage) -> Sequence[Route]:
    """Return the routes of assets."""
    endpoints = _Assets(storage)
    return [
        Route(f"{_ASSET_PATH}/metadata", endpoints.metadata, methods=["GET"]),
        Route(f"{_ASSET_PATH}/download-url", endpoints.download_url, methods=["POST"]),
    ]


class _Assets:
    """Answer as the storage does.

    Args:
        storage: What is there.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._world = storage.world

    async def metadata(self, request: Request) -> Response:
        with self._world.lock:
            found = self._storage.file(request.path_params["asset_id"])
            if found is None:
                return _answers.plain_error(404, _NOT_FOUND)
            return _answers.answer(self._metadata(*found))

    def _metadata(self, item: Item, file: File) -> dict[str, Any]:
        moment = timestamp(item.moment, DIGITS)
        job = item.job
        return {
            "id": file.id,
            "accountId": self._world.account.id,
            "workspaceId": self._world.account.workspace_id if job is None else job.workspace_id,
            "createdAt": moment,
            "updatedAt": moment,
            "name": file.name,
            "size": file.content.size,
            "contentType": file.media_type,
            "orderId": item.order_id,
            "title": item.title,
            "tags": item.tags,
            "source": "ARCHIVE" if job is None else "ANALYTICS",
        }

    async def download_url(self, request: Request) -> Response:
        world = self._world
        with world.lock:
            found = self._storage.file(request.path_params["asset_id"])
            if found is None:
                return _answers.plain_error(404, _NOT_FOUND)
            file = found[1]
            return _answers.answer({"url": world.signed_urls.url(world.files_url, file.id, file.disposition)})
