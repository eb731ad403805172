"""STAC collections and items of the storage."""

from typing import Any

import httpx
import pystac
import pytest

from tests.sandbox.asking import (
    JOBS,
    REFERENCE,
    STAC,
    Clock,
    equal,
    executed,
    found,
    logged_in,
    signed_url,
    without_token,
)
from up42_async.sandbox import Sandbox

PROJECTION = "https://stac-extensions.github.io/projection/v1.0.0/schema.json"


async def collection_url(client: httpx.AsyncClient, job_id: str) -> str:
    url: str = (await client.get(f"{JOBS}/{job_id}")).json()["results"]["collection"]
    return url


async def test_a_job_that_succeeded_has_a_collection_of_one_to_three_items(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    numbers = set()
    for job_id in sandbox.seed_jobs(20, status="captured"):
        url = await collection_url(client, job_id)
        collection = (await client.get(url)).json()
        items = (await client.get(f"{url}/items")).json()["features"]
        assert collection["id"] == sandbox.job(job_id).collection_id
        assert collection["up42-system:job_id"] == job_id
        assert all(item["collection"] == collection["id"] for item in items)
        numbers.add(len(items))
    assert numbers == {1, 2, 3}


@pytest.mark.parametrize("status", ["running", "failed", "released", "invalid"])
async def test_a_job_that_did_not_succeed_has_none(sandbox: Sandbox, client: httpx.AsyncClient, status: str) -> None:
    (job_id,) = sandbox.seed_jobs(1, status=status)
    collection_id = sandbox.job(job_id).collection_id
    assert (await client.get(f"{STAC}/collections/{collection_id}")).status_code == 404
    assert (await client.get(f"{STAC}/collections/{collection_id}/items")).status_code == 404
    assert await found(client, filter=equal("job_id", job_id)) == []
    assert sandbox.results_of(job_id) == ()


async def test_results_show_after_their_delay(clock: Clock) -> None:
    async with Sandbox(clock=clock, results_delay=30, token_lifetime=1e6) as sandbox, logged_in(sandbox) as client:
        (job_id,) = sandbox.seed_jobs(1, timeline=[(0, "running"), (100, "successful"), (110, "captured")])
        seen = []
        for clock.seconds in (99.0, 101.0, 129.0, 131.0):
            items = await found(client, filter=equal("job_id", job_id))
            answer = await client.get(f"{STAC}/collections/{sandbox.job(job_id).collection_id}")
            seen.append((len(items) > 0, answer.status_code))
        assert seen == [(False, 404), (False, 404), (False, 404), (True, 200)]


async def test_results_go_with_their_job_and_with_its_success(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    one, other = sandbox.seed_jobs(2, status="captured")
    files = [sandbox.results_of(job_id)[0].id for job_id in (one, other)]
    sandbox.set_status(one, "released")
    urls = [f"{STAC}/collections/{sandbox.job(job_id).collection_id}" for job_id in (one, other)]
    sandbox.forget(other)
    for url, file_id in zip(urls, files, strict=True):
        assert (await client.get(url)).status_code == 404
        assert (await client.get(f"/v2/assets/{file_id}/metadata")).status_code == 404


async def test_an_executed_job_titles_its_results(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    job_id = (await executed(client, inputs={"title": "My trees", "item": sandbox.items_of(REFERENCE)[0]}))["jobID"]
    sandbox.set_status(job_id, "captured")
    (item, *_) = await found(client, filter=equal("job_id", job_id))
    assert item["properties"]["up42-user:title"] == "My trees"
    assert (await client.get(await collection_url(client, job_id))).json()["title"] == "My trees"


async def test_properties_name_their_owner_and_where_an_item_came_from(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured", workspace_id="theirs")
    made = (await found(client, filter=equal("job_id", job_id)))[0]["properties"]
    assert (made["up42-system:workspace_id"], made["up42-system:source"]) == ("theirs", "ANALYTICS")
    ordered = (await found(client, filter=equal("asset_id", REFERENCE)))[0]["properties"]
    assert ordered["up42-system:account_id"] == made["up42-system:account_id"] == sandbox.account_id
    assert ordered["up42-system:workspace_id"] == sandbox.workspace_id
    assert (ordered["up42-system:asset_id"], ordered["up42-system:source"]) == (REFERENCE, "ARCHIVE")
    assert ordered["up42-product:modality"] == "multispectral"
    assert await found(client, filter=equal("order_id", ordered["up42-order:id"])) != []


async def test_every_kind_of_result_is_valid_stac(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    pytest.importorskip("jsonschema")
    for process_id in ("detection-cars-oi", "pansharpening", "coregistration-simularity", "sandbox-mosaic"):
        sandbox.seed_jobs(1, process_id=process_id, status="captured")
    items = await found(client)
    assert len(items) >= 5
    for item in items:
        links = {link["rel"]: link["href"] for link in item["links"]}
        pystac.Item.from_dict(alone(item)).validate()
        pystac.Collection.from_dict(alone((await client.get(links["collection"])).json())).validate()
    pystac.Catalog.from_dict(alone((await client.get(STAC)).json())).validate()


def alone(body: dict[str, Any]) -> dict[str, Any]:
    """Return a STAC object without what pystac would go and fetch: its root, and the schemas of extensions."""
    links = [link for link in body["links"] if link["rel"] != "root"]
    return {**body, "stac_extensions": [], "links": links}


async def test_links_lead_where_they_say(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (href,) = sandbox.items_of(REFERENCE)
    item = (await client.get(href)).json()
    links = {link["rel"]: link["href"] for link in item["links"]}
    assert links["self"] == href
    assert (await client.get(links["self"])).json() == item
    assert (await client.get(links["parent"])).json()["id"] == item["collection"]
    collection = (await client.get(links["collection"])).json()
    catalog = (await client.get(links["root"])).json()
    assert (catalog["type"], (await client.get(f"{STAC}/")).json()) == ("Catalog", catalog)
    listed = {link["rel"]: link["href"] for link in collection["links"]}
    assert (await client.get(listed["items"])).json()["features"] == [item]


async def test_assets_are_keyed_by_file_name_and_say_their_size(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(20, status="captured")
    assets: list[dict[str, Any]] = []
    for item in await found(client, limit=100):
        for key, asset in item["assets"].items():
            assert (key, asset["title"]) == (asset["title"], key)
            assert asset["roles"][0] == "data"
            assets.append(asset)
    for asset in assets:
        stored = sandbox.stored_file(asset["href"].removesuffix("/download-url").rpartition("/")[2])
        assert asset["file:size"] == stored.size
        assert asset.get("file:checksum", f"1220{stored.sha256}") == f"1220{stored.sha256}"
    assert {asset["href"].endswith("/download-url") for asset in assets} == {True, False}
    assert {"file:checksum" in asset for asset in assets} == {True, False}


async def test_items_say_the_projection_and_the_pixels_of_their_pictures(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    rasterio = pytest.importorskip("rasterio")
    sandbox.seed_jobs(5, status="captured", process_id="detection-trees-spacept")
    sides = set()
    for item in await found(client, limit=100):
        assert (PROJECTION in item["stac_extensions"], item["properties"]["proj:epsg"]) == (True, 4326)
        for name, asset in item["assets"].items():
            assert ("proj:shape" in asset, "proj:transform" in asset) == (name.endswith(".tif"),) * 2
            if "proj:shape" in asset:
                content = await content_of(client, asset["href"])
                with rasterio.MemoryFile(content) as file, file.open() as image:
                    assert image.crs.to_epsg() == 4326
                    assert asset["proj:shape"] == list(image.shape)
                    assert asset["proj:transform"] == list(image.transform)[:6]
                    sides.add(image.width)
    assert sides == {256, 512}


async def content_of(client: httpx.AsyncClient, href: str) -> bytes:
    asset_id = href.removesuffix("/download-url").rpartition("/")[2]
    async with without_token() as anyone:
        return (await anyone.get(await signed_url(client, asset_id))).content


async def test_nothing_is_said_of_the_projection_of_what_the_sandbox_did_not_draw(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    for asset_id in (sandbox.add_asset(content=b"mine"), sandbox.add_asset(size=7), sandbox.add_archive()):
        (item,) = await found(client, filter=equal("asset_id", asset_id))
        assert "proj:" not in str(item)
        assert PROJECTION not in item["stac_extensions"]


async def test_items_are_listed_page_by_page(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    jobs = sandbox.seed_jobs(20, status="captured", process_id="pansharpening")
    url = await collection_url(client, next(job_id for job_id in jobs if len(sandbox.results_of(job_id)) == 3))
    whole = (await client.get(f"{url}/items")).json()
    assert whole["links"] == []
    seen, page = [], (await client.get(f"{url}/items", params={"limit": "2"})).json()
    while True:
        seen += page["features"]
        if not page["links"]:
            break
        (link,) = page["links"]
        assert link["href"] == f"{url}/items?limit=2&token=next:{page['features'][-1]['id']}"
        page = (await client.get(link["href"])).json()
    assert seen == whole["features"]


async def test_next_links_can_begin_with_another_origin() -> None:
    async with Sandbox(next_link_origin="http://api.up42.com") as sandbox, logged_in(sandbox) as client:
        for job_id in sandbox.seed_jobs(9, status="captured"):
            answer = await client.get(f"{await collection_url(client, job_id)}/items", params={"limit": "1"})
            assert all(link["href"].startswith("http://api.up42.com/v2/") for link in answer.json()["links"])


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "x"}, {"limit": "10001"}, {"token": "x"}, {"token": "next:x"}]
)
async def test_a_page_that_cannot_be_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, query: dict[str, str]
) -> None:
    url = f"{sandbox.items_of(REFERENCE)[0].rpartition('/')[0]}"
    answer = await client.get(url, params=query)
    assert (answer.status_code, next(iter(query)) in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize("path", ["collections/none", "collections/none/items", "collections/none/items/none"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"{STAC}/{path}")).status_code == 404
    assert (await client.patch(f"{STAC}/collections/none/items/none", json={})).status_code == 404


async def test_an_item_can_be_titled_and_tagged_and_that_undone(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (href,) = sandbox.items_of(REFERENCE)
    changed = (await client.patch(href, json={"up42-user:title": "New", "up42-user:tags": ["a", "b"]})).json()
    assert (changed["properties"]["up42-user:title"], changed["properties"]["up42-user:tags"]) == ("New", ["a", "b"])
    assert (await client.get(href)).json() == changed
    assert (await client.get(f"/v2/assets/{REFERENCE}/metadata")).json()["tags"] == ["a", "b"]
    assert (await client.patch(href, json={})).json() == changed
    properties = (await client.patch(href, json={"up42-user:title": None, "up42-user:tags": None})).json()["properties"]
    assert not {"up42-user:title", "up42-user:tags"} & properties.keys()


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"title": "x"}', b'{"up42-user:title": 1}', b'{"up42-user:tags": "x"}', b'{"up42-user:tags": [1]}'],
)
async def test_other_changes_are_refused(sandbox: Sandbox, client: httpx.AsyncClient, body: bytes) -> None:
    (href,) = sandbox.items_of(REFERENCE)
    before = (await client.get(href)).json()
    assert (await client.patch(href, content=body)).status_code == 400
    assert (await client.get(href)).json() == before


async def test_the_storage_is_behind_the_token(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    for path in (STAC, f"{STAC}/collections/x", f"/v2/assets/{REFERENCE}/metadata"):
        assert (await client.get(path)).status_code == 401
