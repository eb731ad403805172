"""Search the STAC storage: what to ask, and the items page by page."""

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import pystac

from up42_async import _clock
from up42_async._client import Client, current_client
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.messages import ApiRequest
from up42_async._http.pagination import Page, Pager
from up42_async._http.urls import follow
from up42_async._storage import stac

STORAGE: Final = "/v2/assets/stac"
SEARCH: Final = f"{STORAGE}/search"

DEFAULT_LIMIT: Final = 100
"""Items a page; UP42's own default of 10 would cost ten times the requests."""
MOST_LIMIT: Final = 10_000

PATIENCE: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds between looks at a result that is not visible yet, which is normal right after a job has ended."""

_BOX_2D, _BOX_3D = 4, 6

Moment = str | dt.datetime | None
Filter = Mapping[str, Any]


class Items:
    """Items of the storage, parsed one by one while they are iterated over, one request for each page.

    Leaving the loop early leaves nothing behind.
    """

    def __init__(
        self, client: Client, body: Mapping[str, Any] | None, *, most: int | None = None, patience: Sequence[float] = ()
    ) -> None:
        """Ask for nothing yet.

        Args:
            client: Whom to ask with.
            body: What to search for; None matches nothing, and nothing is sent.
            most: How many items to return at the most, None for all.
            patience: Seconds to wait before each further look when there are no items yet.
        """
        self._client = client
        self._request = None if body is None else ApiRequest(method="POST", path=SEARCH, json=dict(body))
        self._pager = self._first_page()
        self._left = math.inf if most is None else most
        self._waits: Iterator[float] = iter(patience)

    def __aiter__(self) -> "Items":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> pystac.Item:
        """Return the next item.

        Raises:
            APIError: A page could not be had; the next call asks for it again.
            StopAsyncIteration: There are no more.
            UnexpectedResponseError: An answer holds something else than items.
        """
        if self._pager is None or self._left < 1 or self._request is None:
            raise StopAsyncIteration
        content = await self._next_content(self._pager)
        self._left -= 1
        self._waits = iter(())
        return stac.item_from(content, self._request)

    async def _next_content(self, pager: Pager[dict[str, Any]]) -> dict[str, Any]:
        """Return the next item as JSON, looking again for a while when there is none at all."""
        while True:
            try:
                return await anext(pager)
            except (StopAsyncIteration, NotFoundError):
                wait = next(self._waits, None)
                if wait is None:
                    raise
            await _clock.sleep(wait)
            pager = self._pager = self._first_page() or pager

    def _first_page(self) -> Pager[dict[str, Any]] | None:
        if self._request is None:
            return None
        return Pager(self._client._session, self._request, self._read_page, key=_identity)

    def _read_page(self, answer: Any, request: ApiRequest) -> Page[dict[str, Any]]:
        features = answer.get("features") if isinstance(answer, dict) else None
        if not isinstance(features, list) or not all(isinstance(one, dict) and "id" in one for one in features):
            message = "an answer that is no list of STAC items"
            raise UnexpectedResponseError(message, request=str(request))
        return Page(items=features, next=self._next_request(answer.get("links"), request))

    def _next_request(self, links: Any, request: ApiRequest) -> ApiRequest | None:
        """Merge what the next link adds into the body; its URL is checked and otherwise not used."""
        candidates = links if isinstance(links, list) else []
        link = next((one for one in candidates if isinstance(one, dict) and one.get("rel") == "next"), None)
        if link is None:
            return None
        target = follow(link["href"], api=self._client._session.api, request=request) if "href" in link else request
        added = link.get("body")
        if not isinstance(added, dict):
            added = dict(pair for pair in parse_qsl(target.query) if pair[0] == "token")
        return ApiRequest(method="POST", path=SEARCH, json={**request.json, **added})


def search_items(
    *,
    collections: Iterable[str] | None = None,
    ids: Iterable[str] | None = None,
    datetime: Moment | Sequence[Moment] = None,
    bbox: Sequence[float] | None = None,
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

    All conditions must hold. An empty list of collections or ids matches nothing, and nothing is sent.

    Args:
        collections: Ids of collections.
        ids: Ids of items.
        datetime: One moment, or a pair of which either side may be None for open. A string as STAC has it, such as
            `"2024-01-01T00:00:00Z/.."`, or datetimes; those without time zone count as UTC.
        bbox: West, south, east, north in degrees, or six numbers with heights.
        intersects: A GeoJSON geometry, or anything with `__geo_interface__`. Not together with `bbox`.
        filter: CQL2-JSON, such as `{"op": "=", "args": [{"property": "job_id"}, "..."]}`.
        sortby: Fields in order of weight: `"-properties.datetime"`, or `{"field": ..., "direction": "asc"}`.
        limit: Items a page, 1 to 10000. More cost fewer requests and more memory at once.
        max_items: Items in all, None for every one that matches.
        job_id: Only the results of this job.
        asset_id: Only the items of this asset.
        order_id: Only the items of this order.
        client: The client to use; the current one when left out.

    Returns:
        An async iterator; one request for each page.

    Raises:
        ValueError: A condition that cannot be right.
        RuntimeError: There is no client.
    """
    _check_count("limit", limit, MOST_LIMIT)
    if max_items is not None:
        _check_count("max_items", max_items, None)
    if bbox is not None and intersects is not None:
        raise ValueError("give either bbox or intersects, not both")
    wanted_collections, wanted_ids = _names("collections", collections), _names("ids", ids)
    body = {
        "limit": limit,
        "collections": wanted_collections,
        "ids": wanted_ids,
        "datetime": _interval(datetime),
        "bbox": _box(bbox),
        "intersects": _geometry(intersects),
        "filter": _all_of(filter, {"job_id": job_id, "asset_id": asset_id, "order_id": order_id}),
        "sortby": _sorting(sortby),
    }
    nothing = [] in (wanted_collections, wanted_ids)
    said = {name: value for name, value in body.items() if value is not None}
    return Items(current_client(client), None if nothing else said, most=max_items)


def property_is(name: str, value: str) -> Filter:
    """Return the CQL2-JSON for a property that has a value."""
    return {"op": "=", "args": [{"property": name}, value]}


def _identity(content: dict[str, Any]) -> tuple[str, str]:
    return str(content.get("collection")), str(content["id"])


def _check_count(name: str, value: object, most: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        bounds = "of at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(f"{name} must be a whole number {bounds}, not {value!r}")


def _names(name: str, values: Iterable[str] | None) -> list[str] | None:
    if values is None:
        return None
    listed = [values] if isinstance(values, str) else list(values)
    if not all(isinstance(one, str) and one for one in listed):
        raise ValueError(f"{name} must be strings that are not empty, not {listed!r}")
    return listed


def _interval(value: Moment | Sequence[Moment]) -> str | None:
    if value is None or isinstance(value, str | dt.datetime):
        return None if value is None else _moment(value)
    sides = list(value)
    if len(sides) != 2 or sides == [None, None]:  # noqa: PLR2004 - a pair
        raise ValueError(f"datetime must be one moment or a pair of which one may be None, not {value!r}")
    return "/".join(_moment(side) for side in sides)


def _moment(value: Moment) -> str:
    if value is None:
        return ".."
    if isinstance(value, str):
        return value
    if not isinstance(value, dt.datetime):
        raise ValueError(f"datetime must be a string or a datetime, not {value!r}")  # noqa: TRY004 - as for its content
    aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return aware.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _box(value: Sequence[float] | None) -> list[float] | None:
    if value is None:
        return None
    box = list(value)
    if len(box) not in {_BOX_2D, _BOX_3D} or not all(
        isinstance(one, int | float) and math.isfinite(one) for one in box
    ):
        raise ValueError(f"bbox must be 4 or 6 numbers (west, south, east, north), not {value!r}")
    return box


def _geometry(value: Any) -> Any:
    if value is None:
        return None
    geometry = getattr(value, "__geo_interface__", value)
    if (
        not isinstance(geometry, Mapping)
        or "type" not in geometry
        or not {"coordinates", "geometries"} & geometry.keys()
    ):
        raise ValueError(
            "intersects must be a GeoJSON geometry (with `type` and `coordinates`), not a feature or anything else"
        )
    return dict(geometry)


def _all_of(given: Filter | None, properties: Mapping[str, str | None]) -> Filter | None:
    parts = [property_is(name, value) for name, value in properties.items() if value is not None]
    if given is not None:
        if not isinstance(given, Mapping) or "op" not in given:
            raise ValueError('filter must be CQL2-JSON, such as {"op": "=", "args": [{"property": "job_id"}, "..."]}')
        parts.insert(0, dict(given))
    return {"op": "and", "args": parts} if len(parts) > 1 else next(iter(parts), None)


def _sorting(value: str | Mapping[str, str] | Sequence[str | Mapping[str, str]] | None) -> list[dict[str, str]] | None:
    if value is None:
        return None
    fields = [value] if isinstance(value, str | Mapping) else value
    return [_sort_field(one) for one in fields]


def _sort_field(value: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(value, Mapping):
        return dict(value)
    name = value.lstrip("+-")
    if not name:
        raise ValueError(f"sortby {value!r} names no field; expected such as '-properties.datetime'")
    return {"field": name, "direction": "desc" if value.startswith("-") else "asc"}
