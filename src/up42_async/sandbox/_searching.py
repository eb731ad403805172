"""Searches: the items that match, their order, and pages of them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from up42_async.sandbox import _stac
from up42_async.sandbox._answers import BadQuery
from up42_async.sandbox._filters import BadFilter, Filter, full_name
from up42_async.sandbox._items import Bounds, Item
from up42_async.sandbox._scaled_clock import instant_of
from up42_async.sandbox._storage import Storage

LIMIT_DEFAULT, LIMIT_MAX = 10, 10_000
_KNOWN = frozenset("collections ids datetime bbox intersects sortby filter filter-lang limit page token".split())
_JOB_ID = "up42-system:job_id"
TOKEN = "next:"  # noqa: S105 - it only says where a page begins
_BOX = 4
_NEWEST_FIRST = (("datetime", True),)


@attrs.frozen(kw_only=True)
class Search:
    """The conditions, order and page of one search; None for a condition that is not given.

    Args:
        collections: Ids of collections.
        ids: Ids of items.
        interval: First and last instant, in nanoseconds since 1970.
        bounds: A box that an item must overlap.
        filter: A filter that an item must match.
        order: Properties to sort by, and whether in descending order.
        limit: Items on a page.
        after: The id of the last item of the page before.
        skip: The number of items before the page.
    """

    collections: Sequence[str] | None = None
    ids: Sequence[str] | None = None
    interval: tuple[float, float] | None = None
    bounds: Bounds | None = None
    filter: Filter | None = None
    order: Sequence[tuple[str, bool]] = _NEWEST_FIRST
    limit: int = LIMIT_DEFAULT
    after: str | None = None
    skip: int = 0


def parse(body: Any) -> Search:
    """Read the body of a search.

    Raises:
        BadQuery: It is not what the platform takes.
    """
    if not isinstance(body, dict):
        raise BadQuery("A search is an object.")
    if unknown := body.keys() - _KNOWN:
        raise BadQuery(f"A search has no {', '.join(sorted(unknown))}.")
    if "bbox" in body and "intersects" in body:
        raise BadQuery("A search has either bbox or intersects, not both.")
    limit = limit_of(body.get("limit", LIMIT_DEFAULT))
    return Search(
        collections=_texts(body, "collections"),
        ids=_texts(body, "ids"),
        interval=_interval(body.get("datetime")),
        bounds=_box(body["bbox"]) if "bbox" in body else _outline(body.get("intersects")),
        filter=_filter(body),
        order=_order(body.get("sortby")),
        limit=limit,
        after=after_of(body.get("token")),
        skip=limit * _page_number(body.get("page", 0)),
    )


def _texts(body: Mapping[str, Any], name: str) -> Sequence[str] | None:
    texts = body.get(name)
    if texts is not None and not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise BadQuery(f"{name} is a list of texts.")
    return texts


def _interval(text: Any) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        sides = text.split("/")
        first = -math.inf if sides[0] in {"", ".."} else instant_of(sides[0])
        last = math.inf if sides[-1] in {"", ".."} else instant_of(sides[-1])
    except (AttributeError, ValueError) as error:
        raise BadQuery("datetime is a timestamp, or two with / between, one of which may be ..") from error
    if len(sides) > 2 or first > last:  # noqa: PLR2004 - a pair
        raise BadQuery("datetime is a timestamp, or two with / between, the earlier first.")
    return first, last


def _box(box: Any) -> Bounds:
    numbers = isinstance(box, list) and all(isinstance(number, int | float) for number in box)
    if not numbers or len(box) != _BOX:
        raise BadQuery(f"bbox must be a list of 4 numbers, not {box!r}.")
    west, south, east, north = box
    return west, south, east, north


def _outline(geometry: Any) -> Bounds | None:
    """Return the box around a geometry, which stands for it here."""
    if geometry is None:
        return None
    points = list(_points(geometry))
    if not points:
        raise BadQuery("intersects is a GeoJSON geometry.")
    longitudes, latitudes = zip(*points, strict=True)
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def _points(node: Any) -> Iterable[tuple[float, float]]:
    if isinstance(node, dict):
        node = node.get("coordinates", node.get("geometries"))
    if not isinstance(node, list):
        return
    if len(node) > 1 and all(isinstance(number, int | float) for number in node):
        yield node[0], node[1]
        return
    for inner in node:
        yield from _points(inner)


def _filter(body: Mapping[str, Any]) -> Filter | None:
    if body.get("filter-lang", "cql2-json") != "cql2-json":
        raise BadQuery(f"filter-lang must be cql2-json, not {body['filter-lang']!r}.")
    if body.get("filter") is None:
        return None
    try:
        return Filter(body["filter"])
    except BadFilter as error:
        raise BadQuery(str(error)) from error


def _order(fields: Any) -> Sequence[tuple[str, bool]]:
    if fields is None:
        return _NEWEST_FIRST
    try:
        order = [(full_name(field["field"]), field.get("direction", "asc")) for field in fields]
    except (AttributeError, KeyError, TypeError) as error:
        raise BadQuery("sortby is a list of objects with field and direction.") from error
    if any(direction not in {"asc", "desc"} for _, direction in order):
        raise BadQuery("The direction of sortby is asc or desc.")
    return [(name, direction == "desc") for name, direction in order]


def limit_of(value: Any) -> int:
    """Read a limit.

    Raises:
        BadQuery: It is not a number from 1 to 10000.
    """
    if not isinstance(value, int) or not 1 <= value <= LIMIT_MAX:
        raise BadQuery(f"limit is a whole number from 1 to {LIMIT_MAX}.")
    return value


def _page_number(value: Any) -> int:
    """Read the number of a page, which is counted from 0 as in the list of assets."""
    if not isinstance(value, int) or value < 0:
        raise BadQuery(f"page must be a whole number from 0, not {value!r}.")
    return value


def after_of(token: Any) -> str | None:
    """Read a token.

    Raises:
        BadQuery: It is none that a page has given out.
    """
    if token is None:
        return None
    if not isinstance(token, str) or not token.startswith(TOKEN):
        raise BadQuery("token is not one that a page has given out.")
    return token.removeprefix(TOKEN)


def page(storage: Storage, search: Search) -> tuple[Sequence[Item], str | None]:
    """Return the items of one page, and the token of the next if there is one.

    A token names the last item of its page, so that items added or deleted in between neither repeat nor hide others.

    Raises:
        BadQuery: The item that the token names is not there.
    """
    matches = _matcher(storage, search)
    candidates = list(_candidates(storage, search))
    last = next((item for item in candidates if item.id == search.after), None)
    if search.after is not None and last is None:
        raise BadQuery("token is not one that a page has given out.")
    found = [item for item in candidates if item is last or matches(item)]
    found.sort(key=lambda item: item.id)
    for name, falls in reversed(search.order):
        found.sort(key=lambda item: _sort_key(storage, item, name), reverse=falls)
    first = search.skip if last is None else found.index(last) + 1
    items = found[first : first + search.limit]
    return items, f"{TOKEN}{items[-1].id}" if first + len(items) < len(found) else None


def _candidates(storage: Storage, search: Search) -> Iterable[Item]:
    """Return all items that can match; fewer than all where the search names collections or a job."""
    collections = search.collections
    if collections is None and search.filter is not None:
        job_ids = search.filter.required_values(_JOB_ID)
        jobs = None if job_ids is None else map(storage.world.jobs.get, job_ids)
        collections = None if jobs is None else [job.collection_id for job in jobs if job is not None]
    if collections is None:
        return storage.items()
    found = (storage.collection(collection_id) for collection_id in dict.fromkeys(collections))
    return (item for collection in found if collection is not None for item in collection.items)


def _properties(storage: Storage, item: Item) -> dict[str, Any]:
    return {**_stac.properties(storage.world, item), "id": item.id, "collection": item.collection_id}


def _sort_key(storage: Storage, item: Item, name: str) -> tuple[bool, str]:
    value = _properties(storage, item).get(name)
    return value is not None, str(value)


def _matcher(storage: Storage, search: Search) -> Callable[[Item], bool]:
    ids = None if search.ids is None else frozenset(search.ids)

    def matches(item: Item) -> bool:
        return (
            (ids is None or item.id in ids)
            and (search.interval is None or search.interval[0] <= item.moment <= search.interval[1])
            and (search.bounds is None or _overlap(item.bounds, search.bounds))
            and (search.filter is None or search.filter.matches(_stac.matched_body(storage.world, item)))
        )

    return matches


def _overlap(one: Bounds, other: Bounds) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
