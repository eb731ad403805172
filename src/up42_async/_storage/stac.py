"""Make pystac objects of UP42's responses: repair the JSON, then guard the object against pystac's own network access.

The parts of the JSON that pystac cannot read are taken out and named in an error, so that they do not hide the rest.

pystac fetches the target of a link when it is asked for it, which would block the event loop and send no token. So the
links of these objects refuse to be followed by pystac, and their root reads no URL; both errors say what to await
instead. Nothing in pystac is changed. Each object remembers the client that it came from.
"""

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, NoReturn, Self, TypeVar, cast
from urllib.parse import unquote, urlsplit

import pystac
from pystac.stac_io import DefaultStacIO
from pystac.utils import str_to_datetime

from up42_async._client import Client
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, printable

StacT = TypeVar("StacT", bound=pystac.STACObject)

Report = Callable[[UnexpectedResponseError], None]
"""Receives an error that names the parts taken out of an object."""

_OLDEST_VERSION: Final = "1.0.0"
"""The version of an object that states none: pystac migrates it from there."""

_MOST_NAMED: Final = 5
_ROOT_ID: Final = "up42"
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

logger = logging.getLogger("up42_async")


def log(error: UnexpectedResponseError) -> None:
    """Log an error at WARNING."""
    logger.warning("%s", error)


def stac_from(
    kind: type[StacT], content: Any, request: ApiRequest, client: Client | None = None, *, report: Report = log
) -> StacT:
    """Make an item or collection of decoded JSON, which is changed and becomes part of it.

    Args:
        kind: `StorageItem` or `StorageCollection`.
        content: The JSON object.
        request: The request that was answered with it, for errors.
        client: The client that sent the request.
        report: Receives one error that names all parts that were taken out.

    Raises:
        UnexpectedResponseError: It is no STAC object, or one of another kind.
    """
    if not isinstance(content, dict) or not isinstance(content.get("id"), str) or not content["id"]:
        raise UnexpectedResponseError("an answer that is no STAC object: it has no id", request=str(request))
    name, problems = _name(content), _repair(content)
    try:
        made = _guarded(cast("Any", kind).from_dict(content, preserve_dict=False))
    except Exception as error:  # pystac checks no field, so a missing or odd one may raise anything
        message = f"{name} cannot be read as STAC ({type(error).__name__}: {printable(str(error), 200)})"
        raise UnexpectedResponseError(message, request=str(request)) from error
    made.up42_origin = Origin(client)
    if problems:
        more = f" and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        message = f"{name} has {', '.join(problems[:_MOST_NAMED])}{more}; the rest of it is used"
        report(UnexpectedResponseError(message, request=str(request)))
    return cast("StacT", made)


def _name(content: dict[str, Any]) -> str:
    if content.get("type") == "Collection":
        return f"collection {content['id']!r:.80}"
    return f"item {content['id']!r:.80} of collection {content.get('collection')!r:.80}"


def _repair(content: dict[str, Any]) -> list[str]:
    """Take out, in place, the parts that pystac cannot read, and return a description of each.

    One link without href would make pystac raise, and so hide the whole item.
    """
    return [*_links(content), *_assets(content), *_properties(content), *_shape(content)]


def _links(content: dict[str, Any]) -> Iterator[str]:
    links, kept = content.get("links"), []
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and _is_text(link.get("rel")) and _is_url(link.get("href")):
            kept.append(link)
        else:
            rel = link.get("rel") if isinstance(link, dict) else None
            yield f"a link (rel {rel!r:.80}) without href"
    if links is not None and not isinstance(links, list):
        yield "links that are no list"
    content["links"] = kept


def _assets(content: dict[str, Any]) -> Iterator[str]:
    assets, kept = content.get("assets"), {}
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        if isinstance(asset, dict) and _is_text(asset.get("href")):
            yield from _asset(key, asset)
            kept[key] = asset
        else:
            yield f"asset {key!r:.80} without href"
    if assets is not None and not isinstance(assets, dict):
        yield "assets that are no object"
    content["assets"] = kept


def _asset(key: str, asset: dict[str, Any]) -> Iterator[str]:
    for name in ("type", "title", "description"):
        if not isinstance(asset.get(name), str | None):
            yield f"asset {key!r:.80} with a {name} that is no string"
            asset[name] = None
    roles = asset.get("roles")
    if roles is not None and not (isinstance(roles, list) and all(isinstance(role, str) for role in roles)):
        yield f"asset {key!r:.80} with roles that are no list of strings"
        asset["roles"] = [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else None


def _properties(content: dict[str, Any]) -> Iterator[str]:
    if content.get("type") != "Feature":
        return
    properties = content.get("properties")
    if not isinstance(properties, dict):
        yield "properties that are no object"
        properties = content["properties"] = {}
    moment = properties.get("datetime")
    if moment is not None and not _is_moment(moment):
        yield f"a datetime that cannot be read ({moment!r:.80})"
        moment = properties["datetime"] = None
    elif moment is None and not {"start_datetime", "end_datetime"} <= properties.keys():
        yield "no datetime"


def _shape(content: dict[str, Any]) -> Iterator[str]:
    for name, kind in (("bbox", list), ("geometry", dict), ("stac_extensions", list), ("collection", str)):
        if name in content and not isinstance(content[name], kind | None):
            yield f"{name} of the wrong kind"
            content[name] = None
    if not _is_text(content.get("stac_version")):
        yield "no stac_version"
        content["stac_version"] = _OLDEST_VERSION


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return bool(urlsplit(value).geturl())
    except ValueError:
        return False


def _is_moment(value: Any) -> bool:
    try:
        str_to_datetime(value)
    except Exception:  # noqa: BLE001 - the parser may raise anything
        return False
    return True


class Origin:
    """The client that an object came from: the copies of the object share it, and a pickled object loses it."""

    def __init__(self, client: Client | None = None) -> None:
        self.client = client

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type["Origin"], tuple[()]]:
        return Origin, ()


def client_of(stac_object: object) -> Client | None:
    """Return the client that an item or collection came from.

    Args:
        stac_object: Any object. Clones and copies of an object know its client; one that was pickled, or read from a
            file, does not.

    Returns:
        The client; None when there is none.
    """
    origin = getattr(stac_object, "up42_origin", None)
    return origin.client if isinstance(origin, Origin) else None


def last_segment(url: str) -> str:
    """Return the last segment of a URL's path, decoded, which is an id; empty when there is none."""
    try:
        return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""


@contextlib.contextmanager
def _parents_hidden(stac: Any) -> Generator[None]:
    """Hide the parent links from pystac, which resolves them to name an object without self link by its parents."""
    hidden = stac.get_links("parent")
    stac.remove_links("parent")
    try:
        yield
    finally:
        stac.links = [*stac.links, *hidden]


def _refuse(href: str, rel: str) -> NoReturn:
    """Raise an error that says what to await instead of the request that pystac would send.

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
    """A link whose target pystac does not fetch."""

    def resolve_stac_object(self, root: pystac.Catalog | None = None) -> pystac.Link:
        """Return the link when its target is an object already.

        Raises:
            RuntimeError: The target would have to be fetched.
        """
        if not self.is_resolved():
            _refuse(self.get_absolute_href() or "", str(self.rel))
        return super().resolve_stac_object(root)


class _StorageObject:
    """The common part of items and collections: they know their client, and their parents are not fetched."""

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
    """An item that may lack a datetime, and whose links are pickled and copied as they are."""

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
    """A collection whose items pystac does not fetch."""

    def get_items(self, *ids: str, recursive: bool = False) -> Iterator[pystac.Item]:
        """Return the items that were added to this object.

        Raises:
            RuntimeError: None were added, so they would have to be fetched.
        """
        listing = self.get_single_link("items")
        if listing is not None and not self.get_item_links():
            _refuse(listing.get_absolute_href() or "", "items")
        return super().get_items(*ids, recursive=recursive)


class _LocalStacIO(DefaultStacIO):
    """Reads and writes files, not URLs."""

    def read_text_from_href(self, href: str) -> str:
        """Read a file.

        Raises:
            RuntimeError: It is a URL.
        """
        if "://" in href:
            _refuse(href, "link")
        return super().read_text_from_href(href)


def _guarded(stac: Any) -> Any:
    """Replace the links by ones whose targets pystac does not fetch, and the root by an empty catalog."""
    root_link = stac.get_root_link()
    root_href = root_link.get_target_str() if root_link is not None and not root_link.is_resolved() else None
    stac.links = [_guarded_link(link, stac) for link in stac.links if link.rel != "root"]
    root = pystac.Catalog(_ROOT_ID, "UP42 storage", href=root_href)
    root._stac_io = _LocalStacIO()  # noqa: SLF001 - pystac has no public way to set the StacIO of a root
    stac.set_root(root)
    for parent in stac.get_links("parent"):
        if root_href is not None and parent.target.rstrip("/") == root_href.rstrip("/"):
            parent.target = root  # so that it need not be fetched
    return stac


def _guarded_link(link: pystac.Link, owner: Any) -> pystac.Link:
    made = StorageLink(link.rel, link.target, link.media_type, link.title, link.extra_fields)
    return made.set_owner(owner)
