"""Make pystac objects of UP42's answers: parsed without network, and guarded against pystac's own network access.

pystac follows a link when it is asked for what stands behind it: it would block the event loop, and ask without a
token. So the links of the objects made here refuse to be followed that way, and their root reads no URL; both say what
to await instead. Nothing in pystac is changed.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import pystac
from pystac.stac_io import DefaultStacIO

from up42_async._errors import UnexpectedResponseError
from up42_async._http.messages import ApiRequest

T = TypeVar("T")

ROOT_ID: Final = "up42"


def item_from(content: Any, request: ApiRequest) -> pystac.Item:
    """Make an item of a decoded answer, which it takes over.

    Args:
        content: The GeoJSON feature.
        request: What was asked, for the error.

    Raises:
        UnexpectedResponseError: It is no STAC item.
    """
    return _parse(StorageItem.from_dict, content, request)


def collection_from(content: Any, request: ApiRequest) -> pystac.Collection:
    """Make a collection of a decoded answer, which it takes over.

    Args:
        content: The JSON object.
        request: What was asked, for the error.

    Raises:
        UnexpectedResponseError: It is no STAC collection.
    """
    return _parse(StorageCollection.from_dict, content, request)


def last_segment(url: str) -> str:
    """Return the last segment of a URL's path, decoded: the id of what the URL names; empty when there is none."""
    try:
        return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""


def _parse(make: Callable[..., T], content: Any, request: ApiRequest) -> T:
    try:
        if not isinstance(content["id"], str):
            raise TypeError  # noqa: TRY301 - one place says what is wrong
        return _guarded(make(content, preserve_dict=False))
    except Exception as error:  # pystac raises whatever its first access to a missing or odd field raises
        message = f"an answer that is no STAC object ({type(error).__name__} when it was read)"
        raise UnexpectedResponseError(message, request=str(request)) from error


def _guarded(made: T) -> T:
    """Replace the links by ones that refuse hidden network access, and the root by one that has nothing behind it."""
    stac: Any = made
    root_link = stac.get_root_link()
    root_href = root_link.get_target_str() if root_link is not None and not root_link.is_resolved() else None
    stac.links = [_guarded_link(link, stac) for link in stac.links if link.rel != "root"]
    root = pystac.Catalog(ROOT_ID, "UP42 storage", href=root_href)
    root._stac_io = LocalStacIO()  # noqa: SLF001 - where pystac keeps the StacIO of a root
    stac.set_root(root)
    for parent in stac.get_links("parent"):
        if root_href is not None and parent.target.rstrip("/") == root_href.rstrip("/"):
            parent.target = root  # nothing need be fetched
    return made


def _guarded_link(link: pystac.Link, owner: Any) -> pystac.Link:
    made = StorageLink(link.rel, link.target, link.media_type, link.title, link.extra_fields)
    return made.set_owner(owner)


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


class _Renamed:
    """What items and collections have in common: a new root or self link makes them ask no parent."""

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


class StorageItem(_Renamed, pystac.Item):
    """An item whose links stay as they are when it is pickled or copied, unlike those of pystac's own."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class StorageCollection(_Renamed, pystac.Collection):
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
