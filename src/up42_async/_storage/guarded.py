"""The pystac classes of what UP42 sends: guarded against pystac's own network access.

pystac follows a link when it is asked for what stands behind it: it would block the event loop, and ask without a
token. So these links refuse to be followed that way, and their root reads no URL; both say what to await instead.
Nothing in pystac is changed. An object remembers the client that it came from.
"""

import contextlib
import datetime as dt
from collections.abc import Generator, Iterator
from typing import Any, Final, NoReturn, Self
from urllib.parse import unquote, urlsplit

import pystac
from pystac.stac_io import DefaultStacIO

from up42_async._client import Client

ROOT_ID: Final = "up42"

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Origin:
    """Where an object came from: shared by its copies, and empty where it was pickled."""

    def __init__(self, client: Client | None = None) -> None:
        self.client = client

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type["Origin"], tuple[()]]:
        return Origin, ()


def client_of(stac_object: object) -> Client | None:
    """Return the client that an item or collection came from.

    Args:
        stac_object: Anything; clones and copies of an object know its client, what was pickled or written to a file
            does not.

    Returns:
        The client; None for an object that came from none.
    """
    origin = getattr(stac_object, "up42_origin", None)
    return origin.client if isinstance(origin, Origin) else None


def last_segment(url: str) -> str:
    """Return the last segment of a URL's path, decoded: the id of what the URL names; empty when there is none."""
    try:
        return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""


@contextlib.contextmanager
def _parents_hidden(stac: Any) -> Generator[None]:
    """Keep pystac from asking parents for a name: it tells the root what has no self link by the ids of its parents."""
    hidden = stac.get_links("parent")
    stac.remove_links("parent")
    try:
        yield
    finally:
        stac.links = [*stac.links, *hidden]


def refuse(href: str, rel: str) -> NoReturn:
    """Say what to await instead of what pystac was about to do.

    Raises:
        RuntimeError: Always.
    """
    path = urlsplit(href).path
    if rel in {"collection", "parent"} and "/collections/" in path:
        instead = f"`await up42_async.get_collection({last_segment(href)!r})`"
    elif rel == "items":
        collection = last_segment(href.removesuffix("/items"))
        instead = f"`up42_async.search_items(collections=[{collection!r}])` or `job.items()`"
    else:
        instead = "`up42_async.search_items(...)`, `job.items()` or `await job.collection()`"
    raise RuntimeError(
        f"pystac would fetch {path} ({rel}) blocking the event loop, and without your token; use {instead} instead"
    )


class StorageLink(pystac.Link):
    """A link that is followed by an awaited call only."""

    def resolve_stac_object(self, root: pystac.Catalog | None = None) -> pystac.Link:
        """Return the link when what stands behind it is here already.

        Raises:
            RuntimeError: It would have to be fetched.
        """
        if not self.is_resolved():
            refuse(self.get_absolute_href() or "", str(self.rel))
        return super().resolve_stac_object(root)


class _StorageObject:
    """What items and collections have in common: they know their client, and ask no parent for a name."""

    up42_origin = Origin()

    def clone(self) -> Any:
        """Return a copy that knows the same client."""
        pystac_object: Any = super()
        copied = pystac_object.clone()
        copied.up42_origin = self.up42_origin
        return copied

    def set_root(self, root: Any) -> None:
        """Set the root without fetching the parent."""
        pystac_object: Any = super()
        with _parents_hidden(self):
            pystac_object.set_root(root)

    def set_self_href(self, href: str | None) -> None:
        """Set or, with None, remove the self link without fetching the parent."""
        pystac_object: Any = super()
        with _parents_hidden(self):
            pystac_object.set_self_href(href)


class StorageItem(_StorageObject, pystac.Item):
    """An item that may lack a datetime, and whose links stay as they are when it is pickled or copied."""

    def __init__(self, *, datetime: dt.datetime | None, properties: dict[str, Any], **fields: Any) -> None:
        undated = datetime is None and not {"start_datetime", "end_datetime"} <= properties.keys()
        super().__init__(datetime=_EPOCH if undated else datetime, properties=properties, **fields)
        if undated:
            self.datetime = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class StorageCollection(_StorageObject, pystac.Collection):
    """A collection whose items are in the API, where pystac does not look for them."""

    def get_items(self, *ids: str, recursive: bool = False) -> Iterator[pystac.Item]:
        """Return the items that were added to this object.

        Raises:
            RuntimeError: None were, so they would have to be fetched.
        """
        listing = self.get_single_link("items")
        if listing is not None and not self.get_item_links():
            refuse(listing.get_absolute_href() or "", "items")
        return super().get_items(*ids, recursive=recursive)


class LocalStacIO(DefaultStacIO):
    """Reads and writes files, not URLs."""

    def read_text_from_href(self, href: str) -> str:
        """Read a file.

        Raises:
            RuntimeError: It is a URL.
        """
        if "://" in href:
            refuse(href, "link")
        return super().read_text_from_href(href)


def guarded(stac: Any) -> Any:
    """Replace the links by ones that refuse hidden network access, and the root by one that has nothing behind it."""
    root_link = stac.get_root_link()
    root_href = root_link.get_target_str() if root_link is not None and not root_link.is_resolved() else None
    stac.links = [_guarded_link(link, stac) for link in stac.links if link.rel != "root"]
    root = pystac.Catalog(ROOT_ID, "UP42 storage", href=root_href)
    root._stac_io = LocalStacIO()  # noqa: SLF001 - where pystac keeps the StacIO of a root
    stac.set_root(root)
    for parent in stac.get_links("parent"):
        if root_href is not None and parent.target.rstrip("/") == root_href.rstrip("/"):
            parent.target = root  # nothing need be fetched
    return stac


def _guarded_link(link: pystac.Link, owner: Any) -> pystac.Link:
    made = StorageLink(link.rel, link.target, link.media_type, link.title, link.extra_fields)
    return made.set_owner(owner)
