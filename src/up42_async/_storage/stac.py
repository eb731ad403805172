"""Make pystac objects of UP42's answers; what pystac cannot read is taken out, so that it does not hide the rest."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import pystac
from pystac.utils import str_to_datetime

from up42_async._client import Client
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, printable
from up42_async._storage.guarded import Origin, guarded

StacT = TypeVar("StacT", bound=pystac.STACObject)

Report = Callable[[UnexpectedResponseError], None]
"""What is told of the parts of an object that were taken out, since they could not be read."""

OLDEST_VERSION: Final = "1.0.0"
"""What an object without a version is taken for: pystac brings it up to date from there."""

_MOST_NAMED: Final = 5

logger = logging.getLogger("up42_async")


def log(error: UnexpectedResponseError) -> None:
    """Name what could not be read at WARNING."""
    logger.warning("%s", error)


def stac_from(
    kind: type[StacT], content: Any, request: ApiRequest, client: Client | None = None, *, report: Report = log
) -> StacT:
    """Make an item or collection of a decoded answer, which it takes over.

    Args:
        kind: `StorageItem` or `StorageCollection`.
        content: The JSON object.
        request: What was asked, for the error.
        client: The client it came from.
        report: Is told of the parts that were taken out.

    Raises:
        UnexpectedResponseError: It is no STAC object, or another kind of one.
    """
    if not isinstance(content, dict) or not isinstance(content.get("id"), str) or not content["id"]:
        raise UnexpectedResponseError("an answer that is no STAC object: it has no id", request=str(request))
    name, problems = _name(content), _repair(content)
    try:
        made = guarded(cast("Any", kind).from_dict(content, preserve_dict=False))
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


def _repair(content: dict[str, Any]) -> list[str]:
    """Take out, in place, what pystac cannot read; return what that was, one line for each part.

    pystac raises whatever its first access to a missing or odd field raises, for one link without href as for a page
    that is no STAC at all. What is taken out here is named; what is left can be read, or is no item.
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
        content["stac_version"] = OLDEST_VERSION


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
    except Exception:  # noqa: BLE001 - whatever its parser raises
        return False
    return True
