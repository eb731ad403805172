"""Unreadable items, and unreadable parts of items, are named, and all others are returned."""

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import anyio
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.test_collections import ABOUT, collection_content, item_content
from tests.storage_host import StorageHost, StoredFile, serving
from up42_async import UnexpectedResponseError, get_collection, get_item, search_items
from up42_async._client.readable_list import MOST_MALFORMED
from up42_async._downloads.options import DownloadOptions
from up42_async._storage.job_results import download_result
from up42_async._storage.stac import StorageCollection, StorageItem, client_of, stac_from

SEARCH = "POST /v2/assets/stac/search"


@pytest.fixture
def host() -> Any:
    with serving() as host:
        yield host


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


UNREADABLE: list[Any] = [
    7,
    None,
    {},
    {"id": 7},
    {"id": ""},
    item_content("bad") | {"type": "Nonsense"},
    collection_content("bad"),
]


@pytest.mark.parametrize("odd", UNREADABLE)
async def test_an_unreadable_item_is_an_error_and_the_others_are_returned(
    host: StorageHost, caplog: pytest.LogCaptureFixture, odd: Any
) -> None:
    host.answers[SEARCH] = {"features": [item_content("a"), odd, item_content("b")]}
    async with host.client():
        items = search_items()
        assert [item.id async for item in items] == ["a", "b"]
    (error,) = items.errors
    assert items.unreadable == [error]
    assert str(error).startswith(f"{SEARCH}: ")
    if isinstance(odd, dict) and odd.get("id") == "bad":
        assert "'bad'" in str(error)
    assert warnings(caplog) == [str(error)]


ODD_PARTS: list[tuple[dict[str, Any], str]] = [
    ({"links": "none"}, "links that are no list"),
    ({"links": [{"rel": "license"}]}, "a link (rel 'license') without href"),
    ({"links": [7]}, "a link (rel None) without href"),
    ({"links": [{"rel": "license", "href": ""}]}, "a link (rel 'license') without href"),
    ({"links": [{"rel": "self", "href": "https://[x/i"}]}, "a link (rel 'self') without href"),
    ({"assets": []}, "assets that are no object"),
    ({"assets": {"note": {"title": "not ready"}}}, "asset 'note' without href"),
    ({"assets": {"note": 7}}, "asset 'note' without href"),
    ({"assets": {"a": {"href": "x", "type": 7}}}, "asset 'a' with a type that is no string"),
    ({"assets": {"a": {"href": "x", "title": []}}}, "asset 'a' with a title that is no string"),
    ({"assets": {"a": {"href": "x", "roles": "data"}}}, "asset 'a' with roles that are no list of strings"),
    ({"assets": {"a": {"href": "x", "roles": ["data", 7]}}}, "asset 'a' with roles that are no list of strings"),
    ({"properties": None}, "properties that are no object, no datetime"),
    ({"properties": {}}, "no datetime"),
    ({"properties": {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z"}}, "no datetime"),
    ({"properties": {"datetime": "yesterday"}}, "a datetime that cannot be read ('yesterday')"),
    ({"properties": {"datetime": float("nan")}}, "a datetime that cannot be read (nan)"),
    ({"bbox": 7}, "bbox of the wrong kind"),
    ({"geometry": "POINT (1 2)"}, "geometry of the wrong kind"),
    ({"stac_extensions": "x"}, "stac_extensions of the wrong kind"),
    ({"collection": 7}, "collection of the wrong kind"),
    ({"stac_version": None}, "no stac_version"),
]


@pytest.mark.parametrize(("change", "problem"), ODD_PARTS)
async def test_an_item_is_returned_without_its_unreadable_part_which_is_named(
    host: StorageHost, caplog: pytest.LogCaptureFixture, change: dict[str, Any], problem: str
) -> None:
    host.answers[SEARCH] = {"features": [item_content("odd") | change, item_content("b")]}
    async with host.client():
        items = search_items()
        odd, other = [item async for item in items]
    assert (odd.id, other.id) == ("odd", "b")
    (error,) = items.errors
    assert f"item 'odd' of collection {change.get('collection', 'c1')!r} has {problem}; the rest of it is" in str(error)
    assert items.unreadable == []
    assert warnings(caplog) == [str(error)]
    for copied in (odd.clone(), copy.deepcopy(odd), pickle.loads(pickle.dumps(odd))):  # noqa: S301
        assert copied.to_dict() == odd.to_dict()


async def test_readable_roles_and_assets_are_kept(host: StorageHost) -> None:
    assets: dict[str, Any] = {"a": {"href": "x", "roles": ["data", 7]}, "b": {"href": "y", "roles": "data"}, "c": {}}
    host.answers[SEARCH] = {"features": [item_content("i") | {"assets": assets}]}
    async with host.client():
        (item,) = [item async for item in search_items()]
    assert {key: asset.roles for key, asset in item.assets.items()} == {"a": ["data"], "b": None}


async def test_many_unreadable_parts_are_named_in_one_line(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [item_content("i") | {"links": [{"rel": str(n)} for n in range(1000)]}]}
    async with host.client():
        items = search_items()
        assert [item.id async for item in items] == ["i"]
    (error,) = items.errors
    assert "a link (rel '4') without href and 995 more; the rest" in str(error)


async def test_an_item_without_datetime_keeps_none(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [item_content("i") | {"properties": {"datetime": None}}]}
    async with host.client():
        (item,) = [item async for item in search_items()]
    assert item.datetime is None
    assert item.to_dict()["properties"] == {"datetime": None}


async def test_nan_in_properties_is_kept(host: StorageHost) -> None:
    content = item_content("i")
    content["properties"]["eo:cloud_cover"] = float("nan")
    host.answers[SEARCH] = {"features": [content]}
    async with host.client():
        items = search_items()
        (item,) = [item async for item in items]
    assert str(item.properties["eo:cloud_cover"]) == "nan"
    assert items.errors == []


@pytest.mark.parametrize(
    ("asked", "came"), [({"collections": ["c1"]}, {"collection": "c2"}), ({"ids": ["i1"]}, {"id": "i2"})]
)
async def test_an_item_that_was_not_requested_is_an_error(
    host: StorageHost, asked: dict[str, Any], came: dict[str, Any]
) -> None:
    host.answers[SEARCH] = {"features": [item_content("i1") | came, item_content("i1")]}
    async with host.client():
        items = search_items(**asked)
        assert [(item.id, item.collection_id) async for item in items] == [("i1", "c1")]
    assert "which was not asked for" in str(items.errors[0])


async def test_a_page_of_mostly_unreadable_items_is_refused(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [{"title": str(number)} for number in range(1000)]}
    async with host.client():
        items = search_items()
        with pytest.raises(UnexpectedResponseError, match="a page of which more than 100 entries cannot be read"):
            await anext(items)
    assert len(items.errors) == MOST_MALFORMED + 1


async def test_the_limit_of_unreadable_items_counts_for_each_page(host: StorageHost) -> None:
    def answer(body: Any) -> Any:
        page = int(body.get("token", 0))
        odd = [{"title": "x"}] * 60
        links = [{"rel": "next", "body": {"token": str(page + 1)}}] if page < 4 else []
        return {"features": [*odd, item_content(f"i{page}")], "links": links}

    host.answers[SEARCH] = answer
    async with host.client():
        assert [item.id async for item in search_items()] == [f"i{page}" for page in range(5)]


async def test_the_error_of_an_unreadable_item_is_raised_after_the_other_files_are_downloaded(
    host: StorageHost, tmp_path: Path
) -> None:
    host.files = {name: StoredFile(name.encode(), name=None) for name in "ab"}
    assets: dict[str, Any] = {name: {f"{name}.tif": {"href": f"/v2/assets/{name}"}} for name in "ab"}
    good = [item_content(name) | {"assets": assets[name]} for name in "ab"]
    host.answers[SEARCH] = {"features": [good[0], item_content("odd") | {"type": "?"}, good[1]]}
    async with host.client() as client:
        with pytest.raises(UnexpectedResponseError, match="item 'odd' of collection 'c1' cannot be read"):
            await download_result(client, "https://x/c1", tmp_path, DownloadOptions())
    assert len([path async for path in anyio.Path(tmp_path).iterdir() if not path.name.startswith(".")]) == 2


async def test_an_item_or_collection_fetched_by_id_comes_without_its_unreadable_part(
    host: StorageHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.answers["GET /v2/assets/stac/collections/c1/items/i1"] = item_content("i1") | {"bbox": 7}
    host.answers["GET /v2/assets/stac/collections/c1"] = collection_content("c1") | {"links": [{"rel": "x"}]}
    async with host.client():
        assert (await get_item("c1", "i1")).bbox is None
        assert (await get_collection("c1")).id == "c1"
    assert len(warnings(caplog)) == 2
    assert "collection 'c1' has a link (rel 'x') without href" in warnings(caplog)[1]


async def test_items_and_their_copies_keep_the_client_they_came_from(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [item_content("i1")]}
    host.answers["GET /v2/assets/stac/collections/c1"] = collection_content("c1")
    async with host.client() as client:
        (item,) = [item async for item in search_items()]
        collection = await get_collection("c1")
    for one in (item, collection):
        assert [client_of(copied) for copied in (one, one.clone(), copy.copy(one), copy.deepcopy(one))] == [client] * 4
        assert client_of(pickle.loads(pickle.dumps(one))) is None  # noqa: S301
        assert client_of(type(one).from_dict(one.to_dict())) is None
    assert client_of(pystac.Item.from_dict(item.to_dict())) is None
    assert client_of(stac_from(StorageItem, item_content(), ABOUT)) is None
    assert client_of("an item's URL") is None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*item_content(), *collection_content(), "start_datetime"]


@pytest.mark.slow
@settings(max_examples=300)
@given(
    changes=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
    inner=st.dictionaries(st.sampled_from(["datetime", "start_datetime", "end_datetime", "deprecated"]), JSON),
)
def test_any_stac_object_is_read_or_an_unexpected_response_error(
    changes: dict[str, Any], inner: dict[str, Any]
) -> None:
    item = item_content()
    item["properties"] |= inner
    for content, kind in ((item, StorageItem), (collection_content(), StorageCollection)):
        try:
            made: Any = stac_from(kind, content | changes, ABOUT)
        except UnexpectedResponseError:
            continue
        assert isinstance(made.id, str)
