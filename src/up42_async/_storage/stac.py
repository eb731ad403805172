"""Make pystac objects of UP42's answers: without network, and whatever of an answer can be read."""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import pystac

from up42_async._client import Client
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, printable
from up42_async._storage.guarded import LocalStacIO, Origin, StorageCollection, StorageItem, StorageLink
from up42_async._storage.repair import repair

StacT = TypeVar("StacT", bound=pystac.STACObject)

Report = Callable[[UnexpectedResponseError], None]
"""What is told of the parts of an object that were taken out, since they could not be read."""

ROOT_ID: Final = "up42"

_MOST_NAMED: Final = 5

logger = logging.getLogger("up42_async")


def log(error: UnexpectedResponseError) -> None:
    """Name what could not be read at WARNING."""
    logger.warning("%s", error)


def item_from(content: Any, request: ApiRequest, client: Client | None = None, *, report: Report = log) -> pystac.Item:
    """Make an item of a decoded answer, which it takes over.

    Args:
        content: The GeoJSON feature.
        request: What was asked, for the error.
        client: The client it came from.
        report: Is told of the parts that were taken out.

    Raises:
        UnexpectedResponseError: It is no STAC item.
    """
    return _parse(StorageItem, content, request, client, report)


def collection_from(
    content: Any, request: ApiRequest, client: Client | None = None, *, report: Report = log
) -> pystac.Collection:
    """Make a collection of a decoded answer, which it takes over.

    Args:
        content: The JSON object.
        request: What was asked, for the error.
        client: The client it came from.
        report: Is told of the parts that were taken out.

    Raises:
        UnexpectedResponseError: It is no STAC collection.
    """
    return _parse(StorageCollection, content, request, client, report)


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


def _parse(kind: type[StacT], content: Any, request: ApiRequest, client: Client | None, report: Report) -> StacT:
    if not isinstance(content, dict) or not isinstance(content.get("id"), str) or not content["id"]:
        raise UnexpectedResponseError("an answer that is no STAC object: it has no id", request=str(request))
    name, problems = _name(content), repair(content)
    try:
        made = _guarded(cast("Any", kind).from_dict(content, preserve_dict=False))
    except Exception as error:  # pystac raises whatever its first access to a missing or odd field raises
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


def _guarded(stac: Any) -> Any:
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
