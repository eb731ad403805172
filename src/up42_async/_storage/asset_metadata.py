"""Read the metadata of an asset: only the id is required, and any other field that cannot be read is None."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from up42_async._clock import timestamp
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest

Read = Callable[[Any], Any]


def asset_fields(content: Any, request: ApiRequest) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments of `Asset`, and the keys of the fields that cannot be read.

    Args:
        content: The decoded JSON.
        request: The request that was answered with it, for the error.

    Raises:
        UnexpectedResponseError: The JSON has no id.
    """
    if not isinstance(content, dict) or not isinstance(content.get("id"), str) or not content["id"]:
        raise UnexpectedResponseError("an answer that is no asset: it has no id", request=str(request))
    fields: dict[str, Any] = {"id": content["id"], "metadata": content}
    odd = []
    for name, (key, read) in _FIELDS.items():
        value = content.get(key)
        try:
            fields[name] = None if value is None else read(value)
        except (TypeError, ValueError):
            fields[name] = None
            odd.append(key)
    fields["tags"] = fields["tags"] or []
    return fields, odd


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(value)
    return [_text(one) for one in value]


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63 or value % 1:
        raise ValueError(value)
    return int(value)


_FIELDS: Final[Mapping[str, tuple[str, Read]]] = {
    "account_id": ("accountId", _text),
    "workspace_id": ("workspaceId", _text),
    "created": ("createdAt", timestamp),
    "updated": ("updatedAt", timestamp),
    "name": ("name", _text),
    "size": ("size", _size),
    "content_type": ("contentType", _text),
    "order_id": ("orderId", _text),
    "title": ("title", _text),
    "tags": ("tags", _texts),
    "source": ("source", _text),
}
"""For each attribute of an asset its key in the metadata, and the function that reads it."""
