"""The parts of storage: files, STAC items with files, and collections of items."""

from collections.abc import Sequence

import attrs

from up42_async.sandbox._contents import Content
from up42_async.sandbox._jobs import Job
from up42_async.sandbox._scaled_clock import cut_to_digits

Bounds = tuple[float, float, float, float]
"""West, south, east and north, in degrees."""

DIGITS = 6
"""Fractional digits of the timestamps of items."""


def _cut(instant: int) -> int:
    return cut_to_digits(instant, DIGITS)


@attrs.define(kw_only=True, eq=False)
class File:
    """One file.

    Args:
        id: Its asset id.
        key: Its key among the assets of its item.
        name: Its file name.
        media_type: Its media type.
        roles: Its roles as a STAC asset.
        content: Its bytes.
        shows_checksum: Whether the item has `file:checksum`, which the platform does not promise.
        is_linked_directly: Whether its href ends in `/download-url` already.
        disposition: The Content-Disposition of its signed URLs; None for none.
        etag: The ETag of its answers.
    """

    id: str
    key: str
    name: str
    media_type: str
    roles: Sequence[str]
    content: Content
    shows_checksum: bool
    is_linked_directly: bool
    disposition: str | None
    etag: str


@attrs.define(kw_only=True, eq=False)
class Item:
    """One STAC item.

    Args:
        id: Its id.
        collection_id: Its collection.
        files: Its files, at least one; the item's asset is the first.
        bounds: Its bounding box.
        moment: When it was created, in nanoseconds since 1970.
        title: Its title.
        tags: Its tags.
        job: The job whose result it is; None for an ordered item.
        order_id: Its order; None for a result of a job.
    """

    id: str
    collection_id: str
    files: Sequence[File]
    bounds: Bounds
    moment: int = attrs.field(converter=_cut)
    title: str | None
    tags: list[str] | None = None
    job: Job | None = None
    order_id: str | None = None

    @property
    def asset_id(self) -> str:
        """Return the id of the asset that the item describes."""
        return self.files[0].id


@attrs.define(kw_only=True, eq=False)
class Collection:
    """One STAC collection.

    Args:
        id: Its id.
        title: Its title.
        items: Its items, at least one.
        job: The job whose results it has; None for an order.
        delivery: The archive of a delivered order; None for a collection without an asset of its own.
    """

    id: str
    title: str
    items: Sequence[Item]
    job: Job | None = None
    delivery: File | None = None
