"""Assets, collections and items are objects of pystac, without hidden network access."""

import copy
import datetime as dt
import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pystac
import pytest

from tests.storage_host import StorageHost, StoredFile, serving
from up42_async import Client, Endpoints, NotFoundError, Polling, RetryPolicy, UnexpectedResponseError
from up42_async._downloads.options import DownloadOptions
from up42_async._http.requests import ApiRequest
from up42_async._storage.assets import Asset, initialize_asset
from up42_async._storage.collections import (
    delete_collection,
    get_collection,
    get_item,
    get_queryables,
    list_collections,
    update_item,
)
from up42_async._storage.job_results import download_result, result_collection, result_items
from up42_async._storage.properties import Up42Properties
from up42_async._storage.stac import StorageCollection, StorageItem, stac_from

ABOUT = ApiRequest(method="GET", path="/about")
API = "https://api.up42.com"


def item_content(name: str = "i1", collection: str = "c1", **assets: dict[str, Any]) -> dict[str, Any]:
    """Return an item as UP42 sends it."""
    base = f"{API}/v2/assets/stac"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        "geometry": {"type": "Point", "coordinates": [1.0, 2.0]},
        "bbox": [1.0, 2.0, 1.0, 2.0],
        "properties": {
            "datetime": "2024-05-01T10:00:00.123456Z",
            "up42-system:asset_id": "a1",
            "up42-system:job_id": "j1",
            "up42-user:title": "mine",
            "up42-user:tags": ["one"],
        },
        "links": [
            {"rel": "self", "href": f"{base}/collections/{collection}/items/{name}", "type": "application/geo+json"},
            {"rel": "collection", "href": f"{base}/collections/{collection}", "type": "application/json"},
            {"rel": "parent", "href": f"{base}/collections/{collection}", "type": "application/json"},
            {"rel": "root", "href": f"{base}/", "type": "application/json"},
            {"rel": "derived_from", "href": f"{base}/collections/c0/items/i0"},
        ],
        "assets": assets
        or {
            "result.tif": {"href": f"{API}/v2/assets/a1", "roles": ["data"], "type": "image/tiff; application=geotiff"}
        },
    }


def collection_content(name: str = "c1") -> dict[str, Any]:
    """Return a collection as UP42 sends it."""
    base = f"{API}/v2/assets/stac"
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "title": "Trees",
        "description": "of a job",
        "license": "proprietary",
        "extent": {
            "spatial": {"bbox": [[0, 0, 1, 1]]},
            "temporal": {"interval": [["2024-05-01T10:00:00Z", None]]},
        },
        "up42-order:id": "o1",
        "links": [
            {"rel": "self", "href": f"{base}/collections/{name}", "type": "application/json"},
            {"rel": "items", "href": f"{base}/collections/{name}/items", "type": "application/geo+json"},
            {"rel": "root", "href": f"{base}/", "type": "application/json"},
        ],
    }


@pytest.fixture
def host() -> Iterator[StorageHost]:
    with serving() as host:
        yield host


@pytest.fixture
def item() -> pystac.Item:
    return stac_from(StorageItem, item_content(), ABOUT)


@pytest.fixture
def collection() -> pystac.Collection:
    return stac_from(StorageCollection, collection_content(), ABOUT)


METADATA = {
    "id": "a1",
    "accountId": "acc",
    "workspaceId": "ws",
    "createdAt": "2024-05-01T10:00:00.123456789Z",
    "updatedAt": "2024-05-02T12:00:00+02:00",
    "name": "scene.zip",
    "size": 7,
    "contentType": "application/zip",
    "orderId": "o1",
    "title": "mine",
    "tags": ["one", "two"],
    "source": "ARCHIVE",
    "somethingNew": {"x": 1},
}


async def test_the_fields_of_an_asset_are_read_from_its_metadata(host: StorageHost) -> None:
    host.answers["GET /v2/assets/a1/metadata"] = METADATA
    async with host.client() as client:
        asset = await initialize_asset("a1")
        assert asset == await Asset.get("a1", client=client)
    assert (asset.id, asset.account_id, asset.workspace_id) == ("a1", "acc", "ws")
    assert asset.created == dt.datetime(2024, 5, 1, 10, 0, 0, 123456, dt.UTC)
    assert asset.updated == dt.datetime(2024, 5, 2, 10, tzinfo=dt.UTC)
    assert (asset.name, asset.size, asset.content_type) == ("scene.zip", 7, "application/zip")
    assert (asset.order_id, asset.title, asset.tags, asset.source) == ("o1", "mine", ["one", "two"], "ARCHIVE")
    assert asset.metadata == METADATA


async def test_every_field_of_an_asset_but_its_id_is_optional(host: StorageHost) -> None:
    host.answers["GET /v2/assets/a1/metadata"] = {"id": "a1", "tags": None, "size": None, "createdAt": None}
    async with host.client():
        asset = await initialize_asset("a1")
    assert (asset.id, asset.tags, asset.size, asset.created) == ("a1", [], None, None)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "text",
        {},
        {"id": 7},
        {"id": ""},
    ],
)
async def test_a_response_that_is_not_an_asset_is_an_error(host: StorageHost, content: object) -> None:
    host.answers["GET /v2/assets/a1/metadata"] = content
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match="GET /v2/assets/a1/metadata"):
            await initialize_asset("a1")


@pytest.mark.parametrize("name", ["", "..", "x" * 10_000, "\r\n", 7])
async def test_an_invalid_id_is_refused_without_a_request(host: StorageHost, name: Any) -> None:
    async with host.client():
        for call in (initialize_asset, get_collection):
            with pytest.raises((ValueError, TypeError), match="_id"):
                await call(name)
    assert host.asked.total() == 0


async def test_an_asset_returns_its_items_and_downloads_its_file(host: StorageHost, tmp_path: Path) -> None:
    host.answers["GET /v2/assets/a1/metadata"] = METADATA
    host.answers["POST /v2/assets/stac/search"] = {"features": [item_content("i1"), item_content("i2")], "links": []}
    host.files["a1"] = StoredFile(b"content", name=None)
    async with host.client():
        asset = await initialize_asset("a1")
        items = await asset.stac_items()
        paths = await asset.download(tmp_path)
    assert [item.id for item in items] == ["i1", "i2"]
    assert host.bodies[1]["filter"] == {"op": "=", "args": [{"property": "asset_id"}, "a1"]}
    assert paths == [tmp_path / "scene.zip"]


async def test_an_asset_can_be_pickled_and_copied_without_its_client(host: StorageHost) -> None:
    host.answers["GET /v2/assets/a1/metadata"] = METADATA
    async with host.client():
        asset = await initialize_asset("a1")
    assert "Client" not in repr(asset)
    for copied in (pickle.loads(pickle.dumps(asset)), copy.copy(asset), copy.deepcopy(asset)):  # noqa: S301
        assert copied == asset
        with pytest.raises(RuntimeError, match="no UP42 client"):
            await copied.stac_items()


async def test_a_collection_is_fetched_by_its_id(host: StorageHost) -> None:
    host.answers["GET /v2/assets/stac/collections/c%201"] = collection_content("c 1")
    async with host.client():
        collection = await get_collection("c 1")
    assert isinstance(collection, pystac.Collection)
    assert (collection.id, collection.title) == ("c 1", "Trees")


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"id": 7},
        {"id": "c1"},
        item_content(),
    ],
)
async def test_a_response_that_is_not_a_collection_is_an_error(host: StorageHost, content: object) -> None:
    host.answers["GET /v2/assets/stac/collections/c1"] = content
    async with host.client():
        with pytest.raises(
            UnexpectedResponseError, match="GET /v2/assets/stac/collections/c1: .*(no STAC object|cannot be read)"
        ):
            await get_collection("c1")


def client_of_answers(answer: Callable[[httpx.Request], httpx.Response], **settings: Any) -> Client:
    """Return a client whose responses come from a function, without a socket, as virtual time needs."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 300})
        return answer(request)

    endpoints = Endpoints(api=API, auth="https://auth.up42.com/x")
    http_client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return Client("u", "p", endpoints=endpoints, http_client=http_client, retry=RetryPolicy(attempts=1), **settings)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "url", [f"{API}/v2/assets/stac/collections/c1", "http://elsewhere.example/c1/", "https://x@y:1/c1?z"]
)
async def test_the_result_of_a_job_is_requested_from_the_api_whatever_host_its_url_names(url: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=collection_content())

    async with client_of_answers(answer) as client:
        found = await result_collection(client, url)
    assert found is not None
    assert asked == [f"{API}/v2/assets/stac/collections/c1"]


@pytest.mark.virtual_time
async def test_a_result_that_is_not_visible_yet_is_requested_again() -> None:
    answers = [
        httpx.Response(404, json={}),
        httpx.Response(404, json={}),
        httpx.Response(200, json=collection_content()),
    ]
    async with client_of_answers(lambda _: answers.pop(0)) as client:
        found = await result_collection(client, "https://x/c1")
    assert found is not None


@pytest.mark.virtual_time
async def test_a_result_that_never_becomes_visible_is_not_found() -> None:
    count = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        return httpx.Response(404, json={})

    async with client_of_answers(answer) as client:
        with pytest.raises(NotFoundError):
            await result_collection(client, "https://x/c1")
        assert count == 5
        with pytest.raises(NotFoundError):
            await anext(result_items(client, "https://x/c1"))
        assert count == 10


@pytest.mark.virtual_time
@pytest.mark.parametrize("visible", [0, 3, 15])
async def test_polling_visible_is_the_time_to_wait_for_a_result(visible: float) -> None:
    async with client_of_answers(lambda _: httpx.Response(404, json={}), polling=Polling(visible=visible)) as client:
        for look in (lambda: result_collection(client, "https://x/c1"), lambda: anext(result_items(client, "x/c1"))):
            began = anyio.current_time()
            with pytest.raises(NotFoundError):
                await look()
            assert anyio.current_time() - began == pytest.approx(visible)


@pytest.mark.virtual_time
async def test_items_that_are_not_visible_yet_are_requested_again() -> None:
    pages = [[], [], [item_content("i1")]]
    bodies: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"features": pages.pop(0)})

    async with client_of_answers(answer) as client:
        items = [item.id async for item in result_items(client, "https://x/c1")]
    assert items == ["i1"]
    assert bodies == [{"limit": 100, "collections": ["c1"]}] * 3


async def test_a_job_without_result_has_no_collection_no_items_and_no_files(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        assert await result_collection(client, None) is None
        assert [item async for item in result_items(client, None)] == []
        assert await download_result(client, None, tmp_path, DownloadOptions()) == []
    assert host.asked.total() == 0


@pytest.mark.parametrize("url", ["", "/", "https://x/..", "https://[x/c1", "https://x/" + "c" * 1000])
async def test_a_result_whose_url_names_no_collection_is_an_error(host: StorageHost, url: str) -> None:
    async with host.client() as client:
        with pytest.raises(UnexpectedResponseError, match="names no collection"):
            await result_collection(client, url)
        with pytest.raises(UnexpectedResponseError, match="names no collection"):
            result_items(client, url)


ASSETS: dict[str, Any] = {
    "b.tif": {"href": "/v2/assets/b", "roles": ["data"], "type": "image/tiff; application=geotiff", "file:size": 1},
    "a.json": {"href": "/v2/assets/a", "roles": ["metadata", "data"], "type": "application/geo+json"},
    "c": {"href": "/v2/assets/c", "file:size": "no number", "file:checksum": 7},
}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, ["a.json", "b.tif", "c"]),
        ({"keys": ["b.tif", "x"]}, ["b.tif"]),
        ({"keys": ["b.tif"]}, ["b.tif"]),
        ({"keys": []}, []),
        ({"roles": ["data"]}, ["a.json", "b.tif"]),
        ({"roles": ["metadata"]}, ["a.json"]),
        ({"media_types": ["image/tiff"]}, ["b.tif"]),
        ({"media_types": ["image/tiff; application=geotiff", "application/geo+json"]}, ["a.json", "b.tif"]),
        ({"media_types": ["image/png"]}, []),
        ({"roles": ["data"], "media_types": ["application/geo+json"]}, ["a.json"]),
    ],
)
async def test_files_of_a_result_are_selected_by_key_role_and_media_type(
    host: StorageHost, tmp_path: Path, selection: dict[str, Any], expected: list[str]
) -> None:
    host.answers["POST /v2/assets/stac/search"] = {"features": [item_content(**ASSETS)]}
    host.files = {name: StoredFile(name.encode(), name=None) for name in "abc"}
    async with host.client() as client:
        paths = await download_result(client, "https://x/c1", tmp_path, DownloadOptions(**selection))
    assert [path.name.removesuffix(".bin") for path in paths] == expected


async def test_update_item_sends_title_and_tags_and_takes_over_the_response(
    host: StorageHost, item: pystac.Item
) -> None:
    changed = item_content()
    changed["properties"]["up42-user:title"] = "as the server has it"
    host.answers["PATCH /v2/assets/stac/collections/c1/items/i1"] = changed
    Up42Properties(item).title = "new"
    Up42Properties(item).tags = ["two"]
    async with host.client():
        assert await update_item(item) is item
    assert host.bodies == [{"up42-user:title": "new", "up42-user:tags": ["two"]}]
    assert Up42Properties(item).title == "as the server has it"


async def test_update_item_sends_only_properties_that_the_item_has(host: StorageHost, item: pystac.Item) -> None:
    host.answers["PATCH /v2/assets/stac/collections/c1/items/i1"] = item_content()
    del item.properties["up42-user:tags"]
    async with host.client():
        await update_item(item)
    assert host.bodies == [{"up42-user:title": "mine"}]


async def test_an_item_outside_of_storage_cannot_be_updated(host: StorageHost, item: pystac.Item) -> None:
    item.set_collection(None)
    async with host.client():
        with pytest.raises(ValueError, match="belongs to no collection"):
            await update_item(item)


def test_up42_properties_are_read_and_written_by_name(item: pystac.Item, collection: pystac.Collection) -> None:
    view = Up42Properties(item)
    assert (view.asset_id, view.job_id, view.title, view.tags) == ("a1", "j1", "mine", ["one"])
    assert view.order_id is None
    view.order_id = "o2"
    assert item.properties["up42-order:id"] == "o2"
    assert Up42Properties(collection).order_id == "o1"
    assert repr(view).startswith("Up42Properties({'up42-system:asset_id': 'a1'")
    assert Up42Properties.title.key == "up42-user:title"


HIDDEN: dict[str, Callable[[pystac.Item, pystac.Collection], object]] = {
    "the collection of an item": lambda item, _: item.get_collection(),
    "the parent of an item": lambda item, _: item.get_parent(),
    "what an item is derived from": lambda item, _: list(item.get_derived_from()),
    "a link": lambda item, _: item.get_links("derived_from")[0].resolve_stac_object(),
    "a link with a root": lambda item, _: item.get_links("derived_from")[0].resolve_stac_object(item.get_root()),
    "a clone's link": lambda item, _: item.clone().get_collection(),
    "the items of a collection": lambda _, collection: list(collection.get_items()),
    "one item of a collection": lambda _, collection: collection.get_item("i1"),
    "all items below a collection": lambda _, collection: list(collection.get_items(recursive=True)),
}
"""Every call by which pystac would access the network by itself."""


@pytest.mark.parametrize("name", HIDDEN)
def test_pystac_refuses_hidden_network_access_and_names_what_to_await(
    item: pystac.Item, collection: pystac.Collection, name: str
) -> None:
    expected = r"pystac would fetch /v2/.*use .*(get_collection|search_items|job\.items)"
    assert re.match(expected, refusal_of(lambda: HIDDEN[name](item, collection)))


def refusal_of(call: Callable[[], object]) -> str:
    """Return the message of a refused call; newer releases of pystac wrap its error in their own."""
    with pytest.raises((RuntimeError, pystac.STACError)) as caught:
        call()
    return str(caught.value if isinstance(caught.value, RuntimeError) else caught.value.__cause__)


def test_pystac_refuses_network_access_through_an_added_link(item: pystac.Item) -> None:
    item.add_link(pystac.Link("child", f"{API}/v2/x"))
    (link,) = item.get_links("child")
    assert "use `up42_async.search_items(...)`" in refusal_of(lambda: link.resolve_stac_object(item.get_root()))


def test_items_and_collections_work_with_the_api_of_pystac(
    item: pystac.Item, collection: pystac.Collection, tmp_path: Path
) -> None:
    assert item.get_self_href() == f"{API}/v2/assets/stac/collections/c1/items/i1"
    assert item.datetime == dt.datetime(2024, 5, 1, 10, 0, 0, 123456, dt.UTC)
    assert item.assets["result.tif"].get_absolute_href() == f"{API}/v2/assets/a1"
    assert hrefs(item.to_dict()) == hrefs(item_content())
    assert item.to_dict()["assets"] == item_content()["assets"]
    item.save_object(dest_href=str(tmp_path / "item.json"))
    assert pystac.Item.from_file(str(tmp_path / "item.json")).id == "i1"
    collection.add_item(item.clone())
    assert [one.id for one in collection.get_items()] == ["i1"]
    assert pystac.ItemCollection([item]).items[0].id == "i1"


def test_links_to_local_files_are_read(item: pystac.Item, tmp_path: Path) -> None:
    stac_from(StorageItem, item_content("other"), ABOUT).save_object(dest_href=str(tmp_path / "other.json"))
    item.add_link(pystac.Link("child", str(tmp_path / "other.json")))
    assert item.get_links("child")[0].resolve_stac_object(item.get_root()).target.id == "other"  # type: ignore[union-attr]


def through_pickle(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))  # noqa: S301


@pytest.mark.parametrize("make_copy", [copy.deepcopy, through_pickle])
def test_pickled_and_copied_objects_still_refuse_network_access(
    item: pystac.Item, collection: pystac.Collection, make_copy: Callable[[Any], Any]
) -> None:
    assert make_copy(item).to_dict() == item.to_dict()
    assert make_copy(collection).to_dict() == collection.to_dict()
    with pytest.raises(RuntimeError, match="get_collection"):
        make_copy(item).get_collection()
    with pytest.raises(RuntimeError, match="job.items"):
        list(make_copy(collection).get_items())
    with pytest.raises(RuntimeError, match="search_items"):
        make_copy(item).get_root()._stac_io.read_text(f"{API}/x")


def test_a_link_may_be_set_to_an_object_in_memory(item: pystac.Item, collection: pystac.Collection) -> None:
    link = item.get_single_link("collection")
    assert link is not None
    link.target = collection
    assert item.get_collection() is collection


def test_objects_without_links_have_no_parents_and_no_items() -> None:
    content = item_content() | {"links": []}
    item = stac_from(StorageItem, content, ABOUT)
    assert item.get_collection() is None
    content = collection_content() | {"links": []}
    assert list(stac_from(StorageCollection, content, ABOUT).get_items()) == []


def hrefs(content: dict[str, Any]) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in content["links"]}


def linked(content: dict[str, Any], *, without: str, **links: str) -> dict[str, Any]:
    """Return the content without the link of one rel, and with other links by their rel."""
    kept = [link for link in content["links"] if link["rel"] != without]
    return content | {"links": [*kept, *({"rel": rel, "href": href} for rel, href in links.items())]}


def test_objects_without_self_link_still_refuse_network_access() -> None:
    parent = f"{API}/v2/assets/stac/collections/c0"
    collection = stac_from(StorageCollection, linked(collection_content(), without="self", parent=parent), ABOUT)
    item = stac_from(StorageItem, linked(item_content(), without="self"), ABOUT)
    for one, name in ((collection, "c0"), (item, "c1")):
        assert one.get_self_href() is None
        with pytest.raises(RuntimeError, match=rf"use `await up42_async.get_collection\('{name}'\)` instead"):
            one.get_parent()


def test_an_item_without_self_link_can_be_added_to_a_catalog() -> None:
    catalog = pystac.Catalog("mine", "What I keep.")
    item = stac_from(StorageItem, linked(item_content(), without="self"), ABOUT)
    catalog.add_item(item)
    assert (item.get_parent(), item.get_root()) == (catalog, catalog)


def test_the_self_link_can_be_removed_and_set_again(item: pystac.Item, collection: pystac.Collection) -> None:
    for one in (item, item.clone(), copy.deepcopy(item), collection):
        links = hrefs(one.to_dict())
        one.set_self_href(None)
        assert hrefs(one.to_dict()) == {rel: href for rel, href in links.items() if rel != "self"}
        one.set_self_href("/elsewhere/it.json")
        assert hrefs(one.to_dict()) == links | {"self": "/elsewhere/it.json"}


def test_a_collection_with_the_root_as_parent_is_saved_without_network_access(
    item: pystac.Item, tmp_path: Path
) -> None:
    content = linked(collection_content(), without="", parent=f"{API}/v2/assets/stac")
    collection = stac_from(StorageCollection, content, ABOUT)
    assert collection.get_parent() is collection.get_root()
    collection.add_item(item)
    collection.normalize_and_save(str(tmp_path), pystac.CatalogType.SELF_CONTAINED)
    saved = {path.stem: json.loads(path.read_text()) for path in tmp_path.rglob("*.json")}
    links = {name: hrefs(content) for name, content in saved.items()}
    assert links["i1"]["parent"] == links["i1"]["collection"] == "../collection.json"
    assert links["collection"]["item"] == "./i1/i1.json"
    assert links["collection"]["parent"] == links["collection"]["root"] == f"{API}/v2/assets/stac/"


def test_the_parent_link_to_the_root_is_not_fetched() -> None:
    content = linked(collection_content(), without="root", parent=f"{API}/v2/assets/stac")
    with pytest.raises(RuntimeError, match=r"fetch /v2/assets/stac \(parent\).*use `up42_async.search_items"):
        stac_from(StorageCollection, content, ABOUT).get_parent()


async def test_an_item_is_fetched_by_its_collection_and_id(host: StorageHost) -> None:
    host.answers["GET /v2/assets/stac/collections/c%201/items/i%2F1"] = item_content("i/1", "c 1")
    async with host.client() as client:
        item = await get_item("c 1", "i/1", client=client)
        with pytest.raises(NotFoundError):
            await get_item("c 1", "i2")
    assert (item.id, item.collection_id) == ("i/1", "c 1")


async def test_a_response_with_another_id_is_a_transient_error(host: StorageHost) -> None:
    path = "/v2/assets/stac/collections/c1"
    host.answers[f"GET {path}"] = collection_content("c2")
    host.answers[f"GET {path}/items/i1"] = item_content("i2")
    host.answers[f"GET {path}/items/i3"] = item_content("i3", "c3")
    host.answers[f"PATCH {path}/items/i1"] = item_content("i2")
    host.answers["GET /v2/assets/a2/metadata"] = METADATA
    async with host.client():
        for call, message in (
            (get_collection("c1"), "collection 'c2' instead of 'c1'"),
            (get_item("c1", "i1"), "item 'i2' instead of 'i1'"),
            (get_item("c1", "i3"), "item of collection 'c3' instead of 'c1'"),
            (update_item(stac_from(StorageItem, item_content("i1"), ABOUT)), "item 'i2' instead of 'i1'"),
            (initialize_asset("a2"), "asset 'a1' instead of 'a2'"),
        ):
            with pytest.raises(UnexpectedResponseError, match=message) as caught:
                await call
            assert caught.value.transient


async def test_update_item_uses_the_client_that_the_item_came_from(host: StorageHost) -> None:
    host.answers["GET /v2/assets/stac/collections/c1/items/i1"] = item_content("i1")
    host.answers["PATCH /v2/assets/stac/collections/c1/items/i1"] = item_content("i1")
    async with host.client(workspace_id="another"):
        client = host.client()
        item = await get_item("c1", "i1", client=client)
        await update_item(item)
        assert client.statistics().requests == 2
        await client.aclose()


async def test_delete_collection_sends_one_request(host: StorageHost) -> None:
    path = "/v2/assets/stac/collections/c1"
    host.answers[f"DELETE {path}"] = (204, None)
    async with host.client() as client:
        await delete_collection("c1", client=client)
        with pytest.raises(NotFoundError):
            await delete_collection("c2")
    assert host.asked[f"DELETE {path}"] == 1


async def test_a_404_after_a_failed_attempt_to_delete_a_collection_is_a_success(host: StorageHost) -> None:
    answers = [(503, {}), (404, {"title": "Not Found"})]
    host.answers["DELETE /v2/assets/stac/collections/c1"] = lambda _: answers.pop(0)
    async with host.client():
        await delete_collection("c1")
    assert answers == []


async def test_collections_are_listed_by_page_and_an_unreadable_one_hides_no_other(host: StorageHost) -> None:
    path = "/v2/assets/stac/collections"
    link = {"rel": "next", "href": f"http://up42.example{path}?limit=2&token=next:c2"}
    pages = iter([[collection_content("c1"), {"id": "odd"}], [collection_content("c3")]])

    def answer(_: Any) -> Any:
        page = next(pages)
        return {"collections": page, "links": [7, {"rel": "self"}, link] if len(page) == 2 else None}

    host.answers[f"GET {path}"] = answer
    link["href"] = f"{host.api}{path}?limit=2&token=next:c2"
    async with host.client() as client:
        collections = list_collections("ws", limit=2, client=client)
        assert [collection.id async for collection in collections] == ["c1", "c3"]
    assert "item 'odd'" in str(collections.errors[0])
    assert host.queries[f"GET {path}"] == ["workspace_id=ws&limit=2", "limit=2&token=next:c2"]


@pytest.mark.parametrize("answer", [7, [], {}, {"collections": {}}])
async def test_a_response_that_is_not_a_list_of_collections_is_an_error(host: StorageHost, answer: Any) -> None:
    host.answers["GET /v2/assets/stac/collections"] = answer
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match="no list of STAC collections"):
            await anext(list_collections())


@pytest.mark.parametrize(("arguments", "error"), [(("",), ValueError), ((7,), TypeError)])
async def test_list_collections_refuses_an_invalid_workspace_or_limit(
    host: StorageHost, arguments: Any, error: type[Exception]
) -> None:
    async with host.client():
        with pytest.raises(error, match="workspace_id"):
            list_collections(*arguments)
        with pytest.raises(ValueError, match="limit must be a whole number from 1 to 10000"):
            list_collections(limit=0)


async def test_get_queryables_returns_a_json_schema(host: StorageHost) -> None:
    schema = {"type": "object", "properties": {"job_id": {"type": "string"}}}
    host.answers["GET /v2/assets/stac/queryables"] = schema
    async with host.client() as client:
        assert await get_queryables(client=client) == schema
        host.answers["GET /v2/assets/stac/queryables"] = []
        with pytest.raises(UnexpectedResponseError, match="no JSON schema"):
            await get_queryables()
