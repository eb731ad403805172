"""Searching the storage: which items are found, in which order, on which pages."""

from typing import Any

import httpx
import pytest

from tests.sandbox.asking import REFERENCE, STAC, Clock, equal, found, logged_in
from up42_async.sandbox import Sandbox


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def titles(items: list[dict[str, Any]]) -> list[str]:
    return [item["properties"].get("up42-user:title") for item in items]


async def test_without_conditions_everything_is_found(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    jobs = sandbox.seed_jobs(4, status="captured")
    sandbox.add_assets(3)
    items = await found(client)
    assert len(items) == len(set(ids(items))) == len(sandbox.asset_ids())
    assert {item["properties"].get("up42-system:job_id") for item in items} == {*jobs, None}


async def test_a_page_has_ten_items_unless_a_limit_is_given(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.add_assets(14)
    for body, numbers in [({}, [10, 5]), ({"limit": 6}, [6, 6, 3]), ({"limit": 15}, [15]), ({"limit": 10_000}, [15])]:
        seen, given = [], dict(body)
        while True:
            page = (await client.post(f"{STAC}/search", json=given)).json()
            seen.append(len(page["features"]))
            if not page["links"]:
                break
            (link,) = page["links"]
            assert (link["method"], link["merge"]) == ("POST", True)
            given |= link["body"]
        assert seen == numbers


async def test_a_page_can_be_asked_for_by_its_number(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.add_assets(4)
    everything = ids(await found(client))
    pages = [(await client.post(f"{STAC}/search", json={"limit": 2, "page": page})).json() for page in range(4)]
    assert [ids(page["features"]) for page in pages] == [everything[:2], everything[2:4], everything[4:], []]
    assert [bool(page["links"]) for page in pages] == [True, True, False, False]


async def test_items_that_come_meanwhile_neither_repeat_nor_hide_others(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    before = sandbox.add_assets(5)
    page = (await client.post(f"{STAC}/search", json={"limit": 3})).json()
    clock.seconds += 1
    sandbox.add_assets(5)
    rest = (await client.post(f"{STAC}/search", json={"limit": 10, **page["links"][0]["body"]})).json()
    seen = [item["properties"]["up42-system:asset_id"] for item in page["features"] + rest["features"]]
    assert sorted(seen) == sorted([*before, REFERENCE])


async def test_the_newest_come_first_unless_sorted_otherwise(clock: Clock) -> None:
    async with Sandbox(clock=clock, token_lifetime=1e6) as sandbox, logged_in(sandbox) as client:
        for title in ("b", "c", "a", "b"):
            clock.seconds += 1
            sandbox.add_asset(title=title)
        assert titles(await found(client, limit=2)) == ["b", "a", "c", "b", "London"]
        rising = [{"field": "properties.up42-user:title", "direction": "asc"}]
        assert titles(await found(client, limit=2, sortby=rising)) == ["London", "a", "b", "b", "c"]
        falling = [{"field": "title", "direction": "desc"}, {"field": "datetime"}]
        items = await found(client, limit=2, sortby=falling)
        assert titles(items) == ["c", "b", "b", "a", "London"]
        assert items[1]["properties"]["datetime"] < items[2]["properties"]["datetime"]


async def test_ids_and_collections_narrow_a_search(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.add_assets(4)
    one, two, *_ = await found(client)
    assert sorted(ids(await found(client, ids=[one["id"], two["id"], "none"]))) == sorted([one["id"], two["id"]])
    assert ids(await found(client, collections=[one["collection"], one["collection"], "none"])) == [one["id"]]
    assert ids(await found(client, ids=[one["id"]], collections=[two["collection"]])) == []
    assert ids(await found(client, ids=[])) == []
    assert ids(await found(client, collections=[])) == []


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("{1}", ["1"]),
        ("{0}/{1}", ["1", "0"]),
        ("../{1}", ["1", "0", "London"]),
        ("{1}/..", ["2", "1"]),
        ("/{0}", ["0", "London"]),
        ("{2}/", ["2"]),
        ("../..", ["2", "1", "0", "London"]),
    ],
)
async def test_a_time_narrows_a_search(clock: Clock, interval: str, expected: list[str]) -> None:
    async with Sandbox(clock=clock, token_lifetime=1e6) as sandbox, logged_in(sandbox) as client:
        for number in range(3):
            clock.seconds += 60
            sandbox.add_asset(title=str(number))
        moments = [item["properties"]["datetime"] for item in await found(client)][2::-1]
        assert titles(await found(client, datetime=interval.format(*moments))) == expected


async def test_a_place_narrows_a_search(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.add_assets(3)
    one, other, *_ = await found(client)
    west, south, east, north = one["bbox"]
    assert ids(await found(client, bbox=[west, south, east, north])) == [one["id"]]
    assert len(await found(client, bbox=[-180, -90, 180, 90])) == 4
    assert await found(client, bbox=[100, 0, 101, 1]) == []
    assert ids(await found(client, intersects=one["geometry"])) == [one["id"]]
    assert ids(await found(client, intersects={"type": "Point", "coordinates": [west, south]})) == [one["id"]]
    both = {"type": "GeometryCollection", "geometries": [one["geometry"], other["geometry"]]}
    assert {one["id"], other["id"]} <= set(ids(await found(client, intersects=both)))


async def test_results_are_found_by_their_job(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    one, other, _ = sandbox.seed_jobs(3, status="captured")
    for filter_, jobs in [
        (equal("job_id", one), {one}),
        (equal("up42-system:job_id", other), {other}),
        ({"op": "in", "args": [{"property": "job_id"}, [one, other, "none"]]}, {one, other}),
        ({"op": "and", "args": [equal("source", "ANALYTICS"), equal("job_id", one)]}, {one}),
        ({"op": "and", "args": [equal("source", "ARCHIVE"), equal("job_id", one)]}, set()),
        ({"op": "or", "args": [equal("job_id", one), equal("job_id", other)]}, {one, other}),
        (equal("job_id", "none"), set()),
    ]:
        items = await found(client, filter=filter_)
        assert {item["properties"]["up42-system:job_id"] for item in items} == jobs


async def test_an_asset_is_found_by_its_own_id(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asset_id = sandbox.add_asset("my-asset", title="Mine")
    (item,) = await found(client, filter=equal("asset_id", asset_id))
    assert (asset_id, titles([item])) == ("my-asset", ["Mine"])
    assert [item["links"][0]["href"]] == sandbox.items_of("my-asset")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ([], "object"),
        ({"job_id": "x", "bboxes": 1}, "bboxes, job_id"),
        ({"bbox": [1, 2, 3, 4], "intersects": {"type": "Point", "coordinates": [1, 2]}}, "not both"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": [1, 2, 0, 3, 4, 0]}, "bbox must be a list of 4 numbers"),
        ({"bbox": "1,2,3,4"}, "bbox"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox"),
        ({"intersects": {"type": "Point"}}, "intersects"),
        ({"intersects": "here"}, "intersects"),
        ({"ids": "x"}, "ids"),
        ({"collections": [1]}, "collections"),
        ({"datetime": 5}, "datetime"),
        ({"datetime": "yesterday"}, "datetime"),
        ({"datetime": "2024-01-01T00:00:00"}, "datetime"),
        ({"datetime": "2024-01-02T00:00:00Z/2024-01-01T00:00:00Z"}, "earlier first"),
        ({"datetime": "../2024-01-01T00:00:00Z/.."}, "earlier first"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"token": 5}, "token"),
        ({"token": "5"}, "token"),
        ({"token": "next:none"}, "token"),
        ({"sortby": "datetime"}, "sortby"),
        ({"sortby": [{"direction": "asc"}]}, "sortby"),
        ({"sortby": [{"field": "id", "direction": "down"}]}, "direction"),
        ({"filter": {"op": "near", "args": []}}, "near"),
        ({"filter": {}, "filter-lang": "cql2-text"}, "filter-lang must be cql2-json, not 'cql2-text'"),
        ({"page": -1}, "page must be a whole number from 0, not -1"),
        ({"page": "1"}, "page"),
    ],
)
async def test_a_search_that_cannot_be_is_refused(client: httpx.AsyncClient, body: Any, word: str) -> None:
    answer = await client.post(f"{STAC}/search", json=body)
    assert (answer.status_code, word in answer.json()["message"]) == (400, True)


async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{STAC}/search", content=b"{")).status_code == 400
