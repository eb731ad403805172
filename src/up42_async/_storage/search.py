"""Search the STAC storage: check the conditions, and write them as the body of a STAC search."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from up42_async._client import Client, current_client
from up42_async._clock import as_text
from up42_async._config.arguments import integer, optional, real, string, strings
from up42_async._storage.items import Items

DEFAULT_LIMIT: Final = 100
"""Items a page; UP42's own default of 10 would cost ten times the requests."""
MOST_LIMIT: Final = 10_000

Moment = str | dt.datetime | None
Filter = Mapping[str, Any]


def search_items(
    *,
    collections: Iterable[str] | None = None,
    ids: Iterable[str] | None = None,
    datetime: Moment | Sequence[Moment] = None,
    bbox: Iterable[float] | None = None,
    intersects: Any = None,
    filter: Filter | None = None,  # noqa: A002 - the word of the STAC API
    sortby: str | Mapping[str, str] | Sequence[str | Mapping[str, str]] | None = None,
    limit: int = DEFAULT_LIMIT,
    max_items: int | None = None,
    job_id: str | None = None,
    asset_id: str | None = None,
    order_id: str | None = None,
    client: Client | None = None,
) -> Items:
    """Search the items in storage.

    An item must match all conditions. An empty list of collections or ids matches nothing, and nothing is sent.

    Args:
        collections: Ids of collections: a list, also for one.
        ids: Ids of items: a list, also for one.
        datetime: A moment, or a pair of which one side may be None for open: datetimes (UTC when they have no time
            zone) or strings. One string may also be an interval of STAC, such as `"2024-01-01T00:00:00Z/.."`.
        bbox: West, south, east, north in degrees: four numbers, since UP42 accepts no heights.
        intersects: A GeoJSON geometry, or anything with `__geo_interface__`. Not together with `bbox`.
        filter: CQL2-JSON, such as `{"op": "=", "args": [{"property": "job_id"}, "..."]}`, or with `a_contains` on
            `up42-user:tags`. UP42 knows properties by a short and a long name; `get_queryables()` lists them.
        sortby: Fields, the most important one first: `"-properties.datetime"`, or `{"field": ..., "direction": "asc"}`.
        limit: Items a page, 1 to 10000. Larger pages need fewer requests and more memory.
        max_items: Most items in all, 1 or more; None for all.
        job_id: Only the results of this job.
        asset_id: Only the items of this asset.
        order_id: Only the items of this order.
        client: The client to use; the current one when left out.

    Returns:
        An async iterator; one request for each page.

    Raises:
        TypeError: A condition of the wrong kind, such as one string where a list of them is wanted.
        ValueError: A condition that cannot be right.
        RuntimeError: There is no client.
    """
    most = optional(integer, max_items, "max_items", least=1)
    if bbox is not None and intersects is not None:
        raise ValueError("give either bbox or intersects, not both")
    wanted_collections, wanted_ids = optional(strings, collections, "collections"), optional(strings, ids, "ids")
    named = {"job_id": job_id, "asset_id": asset_id, "order_id": order_id}
    body = {
        "limit": integer(limit, "limit", least=1, most=MOST_LIMIT),
        "collections": wanted_collections,
        "ids": wanted_ids,
        "datetime": optional(_interval, datetime, "datetime"),
        "bbox": optional(_box, bbox, "bbox"),
        "intersects": optional(_geometry, intersects, "intersects"),
        "filter": _all_of(filter, {name: optional(string, value, name) for name, value in named.items()}),
        "sortby": optional(_sorting, sortby, "sortby"),
    }
    nothing = [] in (wanted_collections, wanted_ids)
    said = {name: value for name, value in body.items() if value is not None}
    return Items(current_client(client), None if nothing else said, most=most)


def property_is(name: str, value: str) -> Filter:
    """Return the CQL2-JSON for a property that has a value."""
    return {"op": "=", "args": [{"property": name}, value]}


def _interval(value: str | dt.datetime | Sequence[Moment], name: str) -> str:
    if isinstance(value, str | dt.datetime):
        return _moment(value, name)
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be one moment or a pair of them, not {value!r:.80}")
    sides = list(value)
    if len(sides) != 2 or sides == [None, None]:  # noqa: PLR2004 - a pair
        raise ValueError(f"{name} must be one moment or a pair of which one may be None, not {value!r}")
    return "/".join(_moment(side, name) for side in sides)


def _moment(value: Moment, name: str) -> str:
    if value is None:
        return ".."
    if isinstance(value, str):
        return value
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a string or a datetime, not {value!r:.80}")
    return as_text(value)


def _box(value: Iterable[float], name: str) -> list[float]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be 4 numbers (west, south, east, north), not {value!r:.80}")
    box = [real(one, f"{name}[{position}]") for position, one in enumerate(value)]
    if len(box) != 4:  # noqa: PLR2004 - west, south, east, north
        raise ValueError(f"{name} must be 4 numbers (west, south, east, north), not {len(box)}")
    return box


def _geometry(value: Any, name: str) -> dict[str, Any]:
    geometry = getattr(value, "__geo_interface__", value)
    message = f"{name} must be a GeoJSON geometry (with `type` and `coordinates`), not a feature or anything else"
    if not isinstance(geometry, Mapping):
        raise TypeError(message)
    if "type" not in geometry or not {"coordinates", "geometries"} & geometry.keys():
        raise ValueError(message)
    return dict(geometry)


def _all_of(given: Filter | None, properties: Mapping[str, str | None]) -> Filter | None:
    parts = [property_is(name, value) for name, value in properties.items() if value is not None]
    if given is not None:
        message = 'filter must be CQL2-JSON, such as {"op": "=", "args": [{"property": "job_id"}, "..."]}'
        if not isinstance(given, Mapping):
            raise TypeError(message)
        if "op" not in given:
            raise ValueError(message)
        parts.insert(0, dict(given))
    return {"op": "and", "args": parts} if len(parts) > 1 else next(iter(parts), None)


def _sorting(value: str | Mapping[str, str] | Sequence[str | Mapping[str, str]], name: str) -> list[dict[str, str]]:
    fields = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(fields, Iterable):
        raise TypeError(f"{name} must be a field such as '-properties.datetime', or a list of them, not {value!r:.80}")
    return [_sort_field(one) for one in fields]


def _sort_field(value: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str):
        raise TypeError(f"sortby must hold fields such as '-properties.datetime', not {value!r:.80}")
    name = value.lstrip("+-")
    if not name:
        raise ValueError(f"sortby {value!r} names no field; expected such as '-properties.datetime'")
    return {"field": name, "direction": "desc" if value.startswith("-") else "asc"}
