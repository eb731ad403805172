"""Choose which files of an item are wanted."""

from collections.abc import Iterable

import attrs
import pystac

from up42_async._downloads.signed_urls import RemoteFile


def _words(given: Iterable[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset([given] if isinstance(given, str) else given)


@attrs.frozen(kw_only=True)
class Selection:
    """Which files of an item are wanted; all of them when nothing is said."""

    keys: frozenset[str] | None = attrs.field(default=None, converter=_words)
    """Asset keys."""
    roles: frozenset[str] | None = attrs.field(default=None, converter=_words)
    """Roles, of which an asset must have one."""
    media_types: frozenset[str] | None = attrs.field(default=None, converter=_words)
    """Media types, compared without parameters unless some are given."""

    def wants(self, key: str, asset: pystac.Asset) -> bool:
        """Return whether an asset is wanted."""
        return (
            (self.keys is None or key in self.keys)
            and (self.roles is None or not self.roles.isdisjoint(asset.roles or []))
            and (self.media_types is None or not self.media_types.isdisjoint(_media_types(asset.media_type)))
        )

    def of(self, items: Iterable[pystac.Item]) -> list[RemoteFile]:
        """Return the wanted files of items, in an order that is always the same."""
        return [
            _remote_file(key, asset)
            for item in sorted(items, key=lambda item: item.id)
            for key, asset in sorted(item.assets.items())
            if self.wants(key, asset)
        ]


def _remote_file(key: str, asset: pystac.Asset) -> RemoteFile:
    fields = asset.extra_fields
    size, checksum = fields.get("file:size"), fields.get("file:checksum")
    return RemoteFile(
        href=asset.href,
        key=key,
        size=size if isinstance(size, int) and size >= 0 else None,
        checksum=checksum if isinstance(checksum, str) else None,
    )


def _media_types(value: str | None) -> set[str]:
    return {value, value.partition(";")[0].strip()} if value else set()
