"""Choose which files of items are wanted."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import pystac

from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile


class HasAssets(Protocol):
    """An item, or a collection with assets of its own."""

    id: str
    assets: dict[str, pystac.Asset]


def files_of(items: Iterable[HasAssets], options: DownloadOptions) -> list[RemoteFile]:
    """Return the wanted files of items, in an order that is always the same."""
    return [
        remote_file(key, asset, item.id)
        for item in sorted(items, key=lambda item: item.id)
        for key, asset in sorted(item.assets.items())
        if is_wanted(key, asset, options)
    ]


def is_wanted(key: str, asset: pystac.Asset, options: DownloadOptions) -> bool:
    """Return whether an asset has one of the keys, roles and media types; any does where nothing is said.

    What an asset says of itself may be of any type, since pystac takes it over as it came; an odd value matches
    nothing, and keeps no other asset from being read.
    """
    return (
        (options.keys is None or key in options.keys)
        and (options.roles is None or not options.roles.isdisjoint(_strings(asset.roles)))
        and (options.media_types is None or not options.media_types.isdisjoint(_media_types(asset.media_type)))
    )


def remote_file(key: str, asset: pystac.Asset, item_id: str | None = None) -> RemoteFile:
    """Return the file of an asset, as well as it can be read.

    Args:
        key: Its key in the item.
        asset: The asset.
        item_id: The item it belongs to.
    """
    fields: Mapping[str, Any] = asset.extra_fields
    size, checksum = fields.get("file:size"), fields.get("file:checksum")
    is_size = isinstance(size, int) and not isinstance(size, bool)
    return RemoteFile(
        href=asset.href if isinstance(asset.href, str) else "",
        key=key,
        size=size if is_size else None,
        checksum=checksum if isinstance(checksum, str) else None,
        media_type=asset.media_type if isinstance(asset.media_type, str) else "",
        item_id=item_id,
    )


def _strings(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _media_types(value: object) -> set[str]:
    return {value, value.partition(";")[0].strip()} if isinstance(value, str) and value else set()
