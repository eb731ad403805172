"""Searches of items: the conditions that are sent, and how pages are followed."""

import datetime as dt
import math
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import numpy as np
import pystac
import pytest

from tests.storage.test_collections import client_of_answers, item_content
from tests.storage_host import StorageHost, serving
from up42_async import PaginationError, ServerError, UnexpectedResponseError, UntrustedURLError
from up42_async._storage.items import Items
from up42_async._storage.search import search_items

SEARCH = "POST /v2/assets/stac/search"
JOB = {"op": "=", "args": [{"property": "job_id"}, "j1"]}


@pytest.fixture
def host() -> Iterator[StorageHost]:
    with serving() as host:
        host.answers[SEARCH] = {"features": []}
        yield host


class Square:
    @property
    def __geo_interface__(self) -> dict[str, Any]:
        return {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {}),
        ({"collections": ["c1", "c2"], "ids": ("i1",)}, {"collections": ["c1", "c2"], "ids": ["i1"]}),
        ({"datetime": "2024-05-01T00:00:00Z/.."}, {"datetime": "2024-05-01T00:00:00Z/.."}),
        ({"datetime": dt.datetime(2024, 5, 1)}, {"datetime": "2024-05-01T00:00:00Z"}),  # noqa: DTZ001 - counts as UTC
        (
            {"datetime": (dt.datetime(2024, 5, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))), None)},
            {"datetime": "2024-05-01T00:00:00Z/.."},
        ),
        ({"datetime": [None, "2024-05-01"]}, {"datetime": "../2024-05-01"}),
        ({"bbox": (1, 2, 3.5, 4)}, {"bbox": [1, 2, 3.5, 4]}),
        ({"bbox": np.array([1, 2, 3.5, 4], "f4")}, {"bbox": [1, 2, 3.5, 4]}),
        ({"intersects": Square()}, {"intersects": Square().__geo_interface__}),
        (
            {"intersects": {"type": "GeometryCollection", "geometries": []}},
            {"intersects": {"type": "GeometryCollection", "geometries": []}},
        ),
        ({"job_id": "j1"}, {"filter": JOB}),
        ({"filter": JOB}, {"filter": JOB}),
        (
            {"filter": JOB, "asset_id": "a1", "order_id": "o1"},
            {
                "filter": {
                    "op": "and",
                    "args": [
                        JOB,
                        {"op": "=", "args": [{"property": "asset_id"}, "a1"]},
                        {"op": "=", "args": [{"property": "order_id"}, "o1"]},
                    ],
                }
            },
        ),
        ({"sortby": "-properties.datetime"}, {"sortby": [{"field": "properties.datetime", "direction": "desc"}]}),
        (
            {"sortby": ["+id", {"field": "x", "direction": "asc"}]},
            {"sortby": [{"field": "id", "direction": "asc"}, {"field": "x", "direction": "asc"}]},
        ),
        ({"sortby": {"field": "x", "direction": "asc"}}, {"sortby": [{"field": "x", "direction": "asc"}]}),
        ({"limit": 10_000}, {"limit": 10_000}),
        ({"limit": np.int64(50)}, {"limit": 50}),
    ],
)
async def test_search_conditions_are_sent_in_the_form_of_the_stac_api(
    host: StorageHost, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    async with host.client():
        assert [item async for item in search_items(**asked)] == []
    assert host.bodies == [{"limit": 100} | sent]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"limit": 0}, "limit must be a whole number from 1 to 10000"),
        ({"limit": 10_001}, "limit"),
        ({"max_items": 0}, "max_items must be a whole number of at least 1"),
        ({"bbox": [1, 2, 3]}, r"bbox must be 4 numbers \(west, south, east, north\), not 3"),
        ({"bbox": [1, 2, 3, 4, 5, 6]}, "bbox must be 4 numbers"),
        ({"bbox": [1, 2, 3, math.nan]}, r"bbox\[3\] must be a finite number"),
        ({"bbox": [1, 2, 3, 4], "intersects": Square()}, "either bbox or intersects"),
        ({"intersects": {"type": "Feature", "geometry": {}}}, "intersects must be a GeoJSON geometry"),
        ({"datetime": [None, None]}, "datetime must be one moment or a pair"),
        ({"datetime": ["a", "b", "c"]}, "datetime"),
        ({"collections": [""]}, r"collections\[0\] must not be an empty string"),
        ({"job_id": ""}, "job_id must not be an empty string"),
        ({"filter": {"property": 1}}, "filter must be CQL2-JSON"),
        ({"sortby": "-"}, "names no field"),
    ],
)
async def test_invalid_search_conditions_are_value_errors_without_a_request(
    host: StorageHost, asked: dict[str, Any], message: str
) -> None:
    async with host.client():
        with pytest.raises(ValueError, match=message):
            search_items(**asked)
    assert host.asked.total() == 0


@pytest.mark.parametrize("asked", [{"ids": []}, {"collections": []}])
async def test_an_empty_list_of_ids_or_collections_matches_nothing_and_sends_no_request(
    host: StorageHost, asked: dict[str, Any]
) -> None:
    async with host.client():
        assert [item async for item in search_items(**asked)] == []
    assert host.asked.total() == 0


def paged(names: list[str], size: int) -> Callable[[Any], Any]:
    """Return a function that answers with pages; the token of a page is the position of its first item."""

    def answer(body: Any) -> Any:
        start = int(body.get("token", "next:0").removeprefix("next:"))
        page = [item_content(name) for name in names[start : start + size]]
        links: list[dict[str, Any]] = [{"rel": "self", "href": "x"}]
        if start + size < len(names):
            links.append({"rel": "next", "body": {"token": f"next:{start + size}"}})
        return {"features": page, "links": links}

    return answer


NAMES = [f"i{number}" for number in range(25)]


async def test_the_token_of_the_next_page_is_added_to_the_body(host: StorageHost) -> None:
    host.answers[SEARCH] = paged(NAMES, 10)
    async with host.client():
        items = [item async for item in search_items(job_id="j1", limit=10)]
    assert [item.id for item in items] == NAMES
    assert all(isinstance(item, pystac.Item) for item in items)
    assert host.bodies == [
        {"limit": 10, "filter": JOB},
        {"limit": 10, "filter": JOB, "token": "next:10"},
        {"limit": 10, "filter": JOB, "token": "next:20"},
    ]


async def test_no_page_is_requested_beyond_max_items(host: StorageHost) -> None:
    host.answers[SEARCH] = paged(NAMES, 10)
    async with host.client():
        assert len([item async for item in search_items(max_items=11)]) == 11
    assert host.asked[SEARCH] == 2


async def test_tasks_that_share_a_search_get_max_items_together(host: StorageHost) -> None:
    host.answers[SEARCH] = paged(NAMES, 10)
    names: list[str] = []
    async with host.client():
        items = search_items(max_items=11)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(collect, items, names)
    assert sorted(names) == sorted(NAMES[:11])


async def test_leaving_a_search_early_requests_no_further_page_and_it_can_be_continued(host: StorageHost) -> None:
    host.answers[SEARCH] = paged(NAMES, 10)
    async with host.client():
        items = search_items()
        async for item in items:
            if item.id == "i9":
                break
        assert host.asked[SEARCH] == 1
        assert (await anext(items)).id == "i10"


async def test_repeated_items_are_returned_once(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [item_content("i1"), item_content("i1"), item_content("i1", "c2")]}
    async with host.client():
        assert [item.collection_id async for item in search_items()] == ["c1", "c2"]


@pytest.mark.parametrize(
    "href", ["{api}/v2/assets/stac/search?token=next:10", "/v2/assets/stac/search?token=next:10&limit=3"]
)
async def test_only_the_token_of_a_next_link_with_a_query_is_used(host: StorageHost, href: str) -> None:
    pages = [[item_content("i1")], [item_content("i2")]]

    def answer(_: Any) -> Any:
        links: list[dict[str, Any]] = [{"rel": "next", "href": href.format(api=host.api)}] if len(pages) == 2 else []
        return {"features": pages.pop(0), "links": links}

    host.answers[SEARCH] = answer
    async with host.client():
        assert [item.id async for item in search_items()] == ["i1", "i2"]
    assert host.bodies == [{"limit": 100}, {"limit": 100, "token": "next:10"}]


@pytest.mark.virtual_time
async def test_a_next_link_over_plain_http_is_followed_over_https() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        links: list[dict[str, Any]] = [
            {"rel": "next", "href": "http://api.up42.com/v2/assets/stac/search", "body": {"token": "t"}}
        ]
        name = f"i{len(asked)}"
        return httpx.Response(200, json={"features": [item_content(name)], "links": links[: 2 - len(asked)]})

    async with client_of_answers(answer):
        assert [item.id async for item in search_items()] == ["i1", "i2"]
    assert asked == ["https://api.up42.com/v2/assets/stac/search"] * 2


@pytest.mark.parametrize(
    "href", ["https://api.up42.com.evil.test/x", "//evil.test/x", "http://u@127.0.0.1/x", 7, "x y"]
)
async def test_a_next_link_to_another_host_is_refused(host: StorageHost, href: object) -> None:
    host.answers[SEARCH] = {
        "features": [item_content()],
        "links": [{"rel": "next", "href": href, "body": {"token": "t"}}],
    }
    async with host.client():
        items = search_items()
        assert (await anext(items)).id == item_content()["id"]
        for _ in range(2):  # the error is raised again: the list has not ended
            with pytest.raises(UntrustedURLError):
                await anext(items)
    assert host.asked[SEARCH] == 1


async def test_a_next_link_to_the_same_page_is_an_error(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [item_content()], "links": [{"rel": "next", "body": {"token": "same"}}]}
    async with host.client():
        with pytest.raises(PaginationError):
            _ = [item async for item in search_items()]


@pytest.mark.parametrize("answer", [None, [], {}, {"features": None}, {"features": {}}])
async def test_a_response_that_is_not_a_list_of_items_is_an_error(host: StorageHost, answer: object) -> None:
    host.answers[SEARCH] = answer
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match="an answer that is no list of STAC items"):
            await anext(search_items())


async def test_invalid_links_are_an_error_after_the_items_of_the_page(host: StorageHost) -> None:
    host.answers[SEARCH] = {"features": [item_content()], "links": "none"}
    async with host.client():
        items = search_items()
        await anext(items)
        with pytest.raises(UnexpectedResponseError, match="an answer whose links are no list"):
            await anext(items)


async def collect(items: Items, names: list[str]) -> None:
    async for item in items:
        names.append(item.id)
        await anyio.lowlevel.checkpoint()  # so that other tasks run


async def test_a_page_that_failed_is_requested_again(host: StorageHost) -> None:
    pages = paged(NAMES, 10)
    failures = [True] * 4

    def answer(body: Any) -> Any:
        return (503, {}) if "token" in body and failures and failures.pop() else pages(body)

    host.answers[SEARCH] = answer
    seen: list[str] = []
    async with host.client():
        items = search_items()
        with pytest.raises(ServerError):
            await collect(items, seen)
        seen += [item.id async for item in items]
    assert seen == NAMES


async def test_cancelling_a_search_loses_no_item(host: StorageHost) -> None:
    host.answers[SEARCH] = paged(NAMES, 10)
    seen: list[str] = []
    async with host.client():
        items = search_items()
        for number in range(200):
            with anyio.move_on_after(number * 0.0005):
                while True:
                    try:
                        seen.append((await anext(items)).id)
                    except StopAsyncIteration:
                        break
                break
    assert seen == NAMES


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"limit": True}, "limit must be a whole number from 1 to 10000, not True"),
        ({"limit": 1.5}, "limit"),
        ({"max_items": "5"}, "max_items"),
        ({"bbox": "1,2,3,4"}, "bbox must be 4 numbers"),
        ({"bbox": 7}, "bbox must be 4 numbers"),
        ({"bbox": [1, 2, 3, "4"]}, r"bbox\[3\]"),
        ({"intersects": "POINT (1 2)"}, "intersects must be a GeoJSON geometry"),
        ({"datetime": 7}, "datetime must be one moment or a pair of them"),
        ({"datetime": [7, None]}, "datetime must be a string or a datetime"),
        ({"ids": [7]}, r"ids\[0\] must be a string"),
        ({"ids": "i1"}, r"ids must be a list of strings; write \['i1'\]"),
        ({"collections": "c1"}, r"collections must be a list of strings; write \['c1'\]"),
        ({"job_id": 7}, "job_id must be a string"),
        ({"filter": "a = b"}, "filter must be CQL2-JSON"),
        ({"sortby": 7}, "sortby must be a field"),
        ({"sortby": [7]}, "sortby must hold fields"),
    ],
)
async def test_search_conditions_of_the_wrong_type_are_type_errors_without_a_request(
    host: StorageHost, asked: dict[str, Any], message: str
) -> None:
    async with host.client():
        with pytest.raises(TypeError, match=message):
            search_items(**asked)
    assert host.asked.total() == 0


async def test_a_search_without_a_client_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no UP42 client"):
        search_items()
