"""STAC bodies in the platform's form: items, collections and their links."""

from collections.abc import Mapping, Sequence
from typing import Any

from up42_async.sandbox._items import DIGITS, Bounds, Collection, File, Item
from up42_async.sandbox._results import Picture
from up42_async.sandbox._scaled_clock import timestamp
from up42_async.sandbox._world import World

STAC = "/v2/assets/stac"
SEARCH_PATH = f"{STAC}/search"
DELIVERY = "Original Delivery"
"""The key of the asset that a collection may carry itself: the order as it was delivered, in one archive."""
VERSION = "1.0.0"
TITLE, TAGS = "up42-user:title", "up42-user:tags"
_FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_PROJECTION_EXTENSION = "https://stac-extensions.github.io/projection/v1.0.0/schema.json"
_WGS84 = 4326
_CONFORMS_TO = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
]
_GEOJSON, _JSON = "application/geo+json", "application/json"


def link(rel: str, href: str, media_type: str = _JSON, **more: Any) -> dict[str, Any]:
    """Return a link."""
    return {"rel": rel, "href": href, "type": media_type, **more}


def item_href(world: World, item: Item) -> str:
    """Return the self link of an item."""
    return f"{world.api_url}{STAC}/collections/{item.collection_id}/items/{item.id}"


def properties(world: World, item: Item) -> dict[str, Any]:
    """Return the properties of an item."""
    moment = timestamp(item.moment, DIGITS)
    return {
        "datetime": moment,
        "created": moment,
        "updated": moment,
        **_owner(world, item),
        "up42-system:asset_id": item.asset_id,
        **({"proj:epsg": _WGS84} if _has_picture(item) else {}),
        **_user(item),
    }


def _has_picture(item: Item) -> bool:
    """Return whether the projection of a file is known; files that users put into storage may have any."""
    return any(isinstance(file.content, Picture) for file in item.files)


def source_of(item: Item) -> str:
    """Return where an item came from, in the platform's word."""
    return "ARCHIVE" if item.job is None else "ANALYTICS"


def _owner(world: World, item: Item) -> dict[str, Any]:
    """Return where an item came from: a job, or an order."""
    workspace_id = world.account.workspace_id if item.job is None else item.job.workspace_id
    owner = {"up42-system:account_id": world.account.id, "up42-system:workspace_id": workspace_id}
    if item.job is not None:
        return {**owner, "up42-system:job_id": item.job.id, "up42-system:source": source_of(item)}
    return {
        **owner,
        "up42-system:source": source_of(item),
        "up42-order:id": item.order_id,
        "up42-product:product_id": _PRODUCT,
        "up42-product:collection_name": COLLECTION_NAME,
        "up42-product:modality": "multispectral",
    }


COLLECTION_NAME, PRODUCER_NAME = "phr", "airbus"
"""The source of ordered data in the sandbox: Pléiades, by Airbus."""

_PRODUCT = "4f866cd3-d816-4c98-ace3-e6105623cf13"


def _user(item: Item) -> dict[str, Any]:
    given = {TITLE: item.title, TAGS: item.tags}
    return {name: value for name, value in given.items() if value is not None}


def item_body(world: World, item: Item) -> dict[str, Any]:
    """Return an item as the platform answers it."""
    root = f"{world.api_url}{STAC}"
    collection = f"{root}/collections/{item.collection_id}"
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [_FILE_EXTENSION, *([_PROJECTION_EXTENSION] if _has_picture(item) else [])],
        "id": item.id,
        "collection": item.collection_id,
        "geometry": _polygon(item.bounds),
        "bbox": list(item.bounds),
        "properties": properties(world, item),
        "links": [
            link("self", item_href(world, item), _GEOJSON),
            link("collection", collection),
            link("parent", collection),
            link("root", root),
        ],
        "assets": {file.key: _asset(world, file) for file in item.files},
    }


def matched_body(world: World, item: Item) -> dict[str, Any]:
    """Return what filters look at: an item without its links and assets, which take most of the time to write."""
    return {
        "type": "Feature",
        "id": item.id,
        "collection": item.collection_id,
        "geometry": _polygon(item.bounds),
        "properties": properties(world, item),
    }


def _polygon(bounds: Bounds) -> dict[str, Any]:
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _asset(world: World, file: File) -> dict[str, Any]:
    ending = "/download-url" if file.is_linked_directly else ""
    body: dict[str, Any] = {
        "href": f"{world.api_url}/v2/assets/{file.id}{ending}",
        "title": file.name,
        "type": file.media_type,
        "roles": list(file.roles),
        "file:size": file.content.size,
    }
    if file.shows_checksum:
        body["file:checksum"] = file.content.checksum
    if isinstance(file.content, Picture):
        body |= file.content.grid()
    return body


def collection_body(world: World, collection: Collection) -> dict[str, Any]:
    """Return a collection as the platform answers it."""
    root = f"{world.api_url}{STAC}"
    href = f"{root}/collections/{collection.id}"
    wests, souths, easts, norths = zip(*(item.bounds for item in collection.items), strict=True)
    moments = [item.moment for item in collection.items]
    interval = [timestamp(min(moments), DIGITS), timestamp(max(moments), DIGITS)]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "id": collection.id,
        "title": collection.title,
        "description": f"{len(collection.items)} item(s) in storage.",
        "license": "proprietary",
        "extent": {
            "spatial": {"bbox": [[min(wests), min(souths), max(easts), max(norths)]]},
            "temporal": {"interval": [interval]},
        },
        **_owner(world, collection.items[0]),
        TITLE: collection.title,
        "links": [
            link("self", href),
            link("parent", root),
            link("root", root),
            link("items", f"{href}/items", _GEOJSON),
        ],
        **({} if collection.delivery is None else {"assets": {DELIVERY: _asset(world, collection.delivery)}}),
    }


def collections_body(
    world: World, collections: Sequence[Collection], next_link: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a page of collections."""
    href = f"{world.api_url}{STAC}/collections"
    return {
        "collections": [collection_body(world, collection) for collection in collections],
        "links": [link("self", href), link("root", f"{world.api_url}{STAC}"), *([next_link] if next_link else [])],
        "numberReturned": len(collections),
    }


def queryables_body(world: World) -> dict[str, Any]:
    """Return what searches can filter by, as a JSON schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{world.api_url}{STAC}/queryables",
        "type": "object",
        "title": "Queryables of your storage",
        "properties": dict(_QUERYABLES),
        "additionalProperties": True,
    }


_TEXT, _NUMBER, _MOMENT = {"type": "string"}, {"type": "number"}, {"type": "string", "format": "date-time"}
_GEOMETRY = {"$ref": "https://geojson.org/schema/Geometry.json"}
_TAGS = {"type": "array", "items": _TEXT}
_QUERYABLES: Mapping[str, Any] = {
    **dict.fromkeys(["id", "collection", "constellation", "title", "collection_name", "source", "modality"], _TEXT),
    **dict.fromkeys(["asset_id", "job_id", "order_id", "data_product_id", "workspace_id", "account_id"], _TEXT),
    **dict.fromkeys(["gsd", "eo:cloud_cover"], _NUMBER),
    **dict.fromkeys(["datetime", "created", "updated"], _MOMENT),
    "geometry": _GEOMETRY,
    "tags": _TAGS,
}


def catalog_body(world: World) -> dict[str, Any]:
    """Return the root catalogue."""
    root = f"{world.api_url}{STAC}"
    return {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": "up42-storage",
        "description": "What is in your storage.",
        "conformsTo": _CONFORMS_TO,
        "links": [
            link("self", root),
            link("root", root),
            link("data", f"{root}/collections"),
            link("search", f"{world.api_url}{SEARCH_PATH}", _GEOJSON, method="POST"),
            link("http://www.opengis.net/def/rel/ogc/1.0/queryables", f"{root}/queryables", "application/schema+json"),
        ],
    }


def page_body(world: World, items: Sequence[Item], next_link: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a page of items."""
    features = [item_body(world, item) for item in items]
    links = [] if next_link is None else [dict(next_link)]
    return {"type": "FeatureCollection", "features": features, "links": links, "numberReturned": len(features)}
