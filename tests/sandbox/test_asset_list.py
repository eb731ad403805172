"""The list of assets, and reading a file with a token."""

from typing import Any

import httpx
import pytest

from tests.sandbox.asking import REFERENCE, Clock, logged_in
from up42_async.sandbox import Sandbox

ASSETS = "/v2/assets"


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    body = (await client.get(ASSETS, params=query)).raise_for_status().json()
    return [asset["title"] for asset in body["content"]]


async def test_assets_come_as_their_metadata_the_newest_first_in_pages_of_twenty(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    for number in range(24):
        clock.seconds += 1
        sandbox.add_asset(title=str(number))
    pages = [(await client.get(ASSETS, params={"page": page})).json() for page in range(2)]
    assert [len(page["content"]) for page in pages] == [20, 5]
    titles = [asset["title"] for page in pages for asset in page["content"]]
    assert titles == [*map(str, range(23, -1, -1)), "London"]
    assert (pages[0]["totalPages"], pages[0]["totalElements"]) == (2, 25)
    assert pages[1]["content"][-1] == (await client.get(f"{ASSETS}/{REFERENCE}/metadata")).json()


async def test_results_of_jobs_are_among_them(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured", workspace_id="theirs")
    names = {stored.name for stored in sandbox.results_of(job_id)}
    for query in ({"sources": "PROCESSING"}, {"sources": "ANALYTICS,USER"}, {"workspaceId": "theirs"}):
        body = (await client.get(ASSETS, params=query)).json()
        assert {asset["name"] for asset in body["content"]} == names
    assert await listed(client, sources="ARCHIVE") == ["London"]
    assert await listed(client, sources=["TASKING", "USER"]) == []
    assert len(await listed(client, sources="PROCESSING,ARCHIVE")) == 1 + len(names)


async def test_filters_narrow_the_list(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    clock.seconds = 100
    harbour = sandbox.add_asset(title="Harbour", name="ships.tif")
    await client.patch(sandbox.items_of(harbour)[0], json={"up42-user:tags": ["Sea", "port"]})
    sandbox.seed_jobs(1, status="captured")
    created = {}
    for asset_id in (REFERENCE, harbour):
        created[asset_id] = (await client.get(f"{ASSETS}/{asset_id}/metadata")).json()["createdAt"]
    orders: list[tuple[dict[str, str], list[str]]] = [
        ({"createdAfter": created[harbour]}, ["Harbour"]),
        ({"createdBefore": created[REFERENCE]}, ["London"]),
        ({"createdAfter": "2020-01-01", "createdBefore": created[harbour]}, ["Harbour", "London"]),
        ({"createdAfter": "2999-01-01T00:00:00Z"}, []),
        ({"tags": "Sea,none"}, ["Harbour"]),
        ({"search": "HARB"}, ["Harbour"]),
        ({"search": "ships.t"}, ["Harbour"]),
        ({"search": "sea"}, ["Harbour"]),
        ({"search": harbour[:13]}, ["Harbour"]),
        ({"search": "nowhere"}, []),
        ({"collectionNames": "phr,spot"}, ["Harbour", "London"]),
        ({"collectionNames": "spot"}, []),
        ({"producerNames": "airbus"}, ["Harbour", "London"]),
        ({"producerNames": "none"}, []),
    ]
    for query, titles in orders:
        assert await listed(client, **{"sources": "ARCHIVE", **query}) == titles, query
    assert await listed(client, producerNames="airbus") == ["Harbour", "London"]


async def test_the_list_can_be_sorted(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    for title, size in (("b", 3), ("a", 1), ("c", 2)):
        sandbox.add_asset(title=title, name=f"{title}.bin", size=size)
    assert await listed(client, sort="title,asc", search=".bin") == ["a", "b", "c"]
    assert await listed(client, sort="name", search=".bin") == ["a", "b", "c"]
    assert await listed(client, sort="size,desc", search=".bin") == ["b", "c", "a"]
    for field in ("createdAt", "updatedAt", "source"):
        rising, falling = [await listed(client, sort=f"{field},{order}") for order in ("asc", "desc")]
        assert rising == falling[::-1]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"createdAfter": "noon"}, "createdAfter must be a date or a timestamp with an offset, not 'noon'"),
        ({"createdBefore": "2024-01-01T00:00:00"}, "createdBefore"),
        ({"sources": "MOON"}, "sources must be of ANALYTICS, ARCHIVE, PROCESSING, TASKING, USER, not MOON"),
        ({"sort": "colour,asc"}, "sort"),
        ({"page": "x"}, "page"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(client: httpx.AsyncClient, query: dict[str, str], word: str) -> None:
    answer = await client.get(ASSETS, params=query)
    assert (answer.status_code, answer.json()["message"].startswith(word)) == (400, True)


async def test_a_file_can_be_read_with_the_token_too(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asset_id = sandbox.add_asset(content=b"0123456789", name="digits.txt", media_type="text/plain")
    whole = await client.get(f"{ASSETS}/{asset_id}")
    assert (whole.content, whole.headers["content-type"]) == (b"0123456789", "text/plain")
    assert "digits.txt" in whole.headers["content-disposition"]
    part = await client.get(f"{ASSETS}/{asset_id}", headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    head = await client.head(f"{ASSETS}/{asset_id}")
    assert (head.content, head.headers["content-length"]) == (b"", "10")
    behind = await client.get(f"{ASSETS}/{asset_id}", headers={"range": "bytes=10-"})
    assert behind.status_code == 416
    assert (await client.get(f"{ASSETS}/{asset_id}", headers={"authorization": ""})).status_code == 401
    missing = await client.get(f"{ASSETS}/none")
    assert (missing.status_code, missing.json()["message"]) == (404, "Asset not found.")


async def test_a_file_without_a_name_of_its_own_says_none(clock: Clock) -> None:
    async with Sandbox(clock=clock) as sandbox, logged_in(sandbox) as client:
        found = sandbox._storage.file(REFERENCE)
        assert found is not None
        found[1].disposition = None
        assert "content-disposition" not in (await client.get(f"{ASSETS}/{REFERENCE}")).headers
