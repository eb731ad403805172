"""Assets are listed with the filters of the platform, and an unreadable one hides no other."""

import datetime as dt
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.storage_host import StorageHost, serving
from up42_async import Asset, Client, UnexpectedResponseError
from up42_async.sandbox import Sandbox

ASSETS = "GET /v2/assets"
TWO = dt.timezone(dt.timedelta(hours=2))


@pytest.fixture
def host() -> Iterator[StorageHost]:
    with serving() as host:
        host.answers[ASSETS] = {"content": [], "totalPages": 0}
        yield host


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, "page=0&size=100"),
        (
            {"created_after": dt.datetime(2024, 5, 1, 2, tzinfo=TWO), "created_before": dt.datetime(2024, 6, 1)},  # noqa: DTZ001
            "createdAfter=2024-05-01T00:00:00Z&createdBefore=2024-06-01T00:00:00Z&page=0&size=100",
        ),
        ({"workspace_id": "ws", "search": "Trees"}, "workspaceId=ws&search=Trees&page=0&size=100"),
        (
            {"collection_names": ["phr", "spot"], "producer_names": ("airbus",), "tags": {"one"}},
            "collectionNames=phr,spot&producerNames=airbus&tags=one&page=0&size=100",
        ),
        (
            {"sources": ["ARCHIVE", "USER"], "sort_by": "createdAt,desc", "page_size": 7},
            "sources=ARCHIVE,USER&sort=createdAt,desc&page=0&size=7",
        ),
    ],
)
async def test_filters_are_sent_as_query_parameters(host: StorageHost, asked: dict[str, Any], sent: str) -> None:
    async with host.client() as client:
        assert [asset async for asset in Asset.all(**asked, client=client)] == []
    assert [query.replace("%2C", ",").replace("%3A", ":") for query in host.queries[ASSETS]] == [sent]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"created_after": "2024-05-01"}, TypeError),
        ({"workspace_id": 7}, TypeError),
        ({"tags": "one"}, TypeError),
        ({"tags": ["one,two"]}, ValueError),
        ({"collection_names": [""]}, ValueError),
        ({"search": ""}, ValueError),
        ({"page_size": 0}, ValueError),
        ({"page_size": True}, TypeError),
    ],
)
async def test_invalid_filters_are_refused_without_a_request(
    host: StorageHost, asked: dict[str, Any], error: type[Exception]
) -> None:
    async with host.client():
        with pytest.raises(error, match=next(iter(asked))):
            Asset.all(**asked)
    assert host.asked.total() == 0


@pytest.mark.parametrize("name", ["collection_names", "producer_names", "tags", "sources"])
async def test_an_empty_list_as_filter_matches_nothing_and_sends_no_request(host: StorageHost, name: str) -> None:
    async with host.client():
        assert [asset async for asset in Asset.all(**{name: []})] == []  # type: ignore[arg-type]
    assert host.asked.total() == 0


async def test_assets_are_listed_page_by_page(host: StorageHost) -> None:
    pages = iter([[{"id": "a1"}, {"id": "a2"}], [{"id": "a2"}, {"id": "a3"}]])
    host.answers[ASSETS] = lambda _: {"content": next(pages), "totalPages": 2}
    async with host.client():
        assert [asset.id async for asset in Asset.all(page_size=2)] == ["a1", "a2", "a3"]
    assert host.queries[ASSETS] == ["page=0&size=2", "page=1&size=2"]


ODD: list[tuple[dict[str, Any], str]] = [
    ({"size": "x"}, "size"),
    ({"size": -1}, "size"),
    ({"size": 1.5}, "size"),
    ({"size": True}, "size"),
    ({"size": 10**400}, "size"),
    ({"createdAt": "soon", "updatedAt": 7}, "createdAt, updatedAt"),
    ({"createdAt": "9999-12-31T23:59:59-12:00"}, "createdAt"),
    ({"tags": 7}, "tags"),
    ({"tags": ["one", 7]}, "tags"),
    ({"title": []}, "title"),
]


@pytest.mark.parametrize(("change", "named"), ODD)
async def test_an_unreadable_field_is_none_and_named(
    host: StorageHost, caplog: pytest.LogCaptureFixture, change: dict[str, Any], named: str
) -> None:
    host.answers[ASSETS] = {"content": [{"id": "odd", "name": "x.tif", **change}, {"id": "a2"}], "totalPages": 1}
    host.answers["GET /v2/assets/odd/metadata"] = {"id": "odd", "name": "x.tif", **change}
    async with host.client():
        assets = Asset.all()
        odd, other = [asset async for asset in assets]
        alone = await Asset.get("odd")
    assert (odd.name, odd.size, odd.created, odd.tags, odd.title) == ("x.tif", None, None, [], None)
    assert (other.id, alone) == ("a2", odd)
    (error,) = assets.errors
    assert f"asset 'odd' has a {named} that cannot be read; the rest of it is used" in str(error)
    assert assets.unreadable == []
    named_in_log = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.partition(": ")[2] for text in named_in_log] == [str(error).partition(": ")[2]] * 2


async def test_an_asset_without_id_is_an_error_and_the_others_are_returned(host: StorageHost) -> None:
    host.answers[ASSETS] = {"content": [{"name": "x"}, 7, {"id": "a1"}], "totalPages": 1}
    async with host.client():
        assets = Asset.all()
        assert [asset.id async for asset in assets] == ["a1"]
    assert len(assets.errors) == len(assets.unreadable) == 2
    assert all(isinstance(error, UnexpectedResponseError) for error in assets.errors)


async def test_a_listed_asset_equals_the_one_fetched_by_id() -> None:
    async with Sandbox() as sandbox:
        for number in range(4):
            sandbox.add_asset(name=f"scene-{number}.tif")
        async with Client(**sandbox.settings):
            listed = [asset async for asset in Asset.all(page_size=3)]
            assert len({asset.id for asset in listed}) == len(listed) > 3
            for asset in listed[:5]:
                assert asset == await Asset.get(asset.id)
            assert [item.id for item in await listed[0].stac_items()]
            newest = [asset async for asset in Asset.all(sort_by="createdAt,desc")]
            assert [asset.created for asset in newest] == sorted((asset.created for asset in listed), reverse=True)  # type: ignore[type-var]
            assert {asset.id async for asset in Asset.all(sources=["ARCHIVE"])} <= {asset.id for asset in listed}
