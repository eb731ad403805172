"""Collections: listed, deleted, with an asset of their own; and what searches can filter by."""

import io
import zipfile
from typing import Any

import httpx
import pytest

from tests.sandbox.asking import REFERENCE, STAC, Clock, found, logged_in, signed_url, without_token
from up42_async.sandbox import Sandbox


async def collections(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    """Return all collections of a list, through all of its pages."""
    every: list[dict[str, Any]] = []
    answer = await client.get(f"{STAC}/collections", params=query)
    while True:
        page = answer.raise_for_status().json()
        assert page["numberReturned"] == len(page["collections"])
        every += page["collections"]
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not links:
            return every
        answer = await client.get(links[0])


async def test_collections_of_orders_and_of_jobs_are_listed(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    jobs = sandbox.seed_jobs(12, status="captured", workspace_id="theirs")
    sandbox.seed_jobs(2, status="running")
    sandbox.add_asset(title="Harbour")
    every = await collections(client, limit="4")
    assert sandbox.count("GET", f"{STAC}/collections$") == 4
    assert len({collection["id"] for collection in every}) == len(every) == 14
    assert {sandbox.job(job).collection_id for job in jobs} < {collection["id"] for collection in every}
    assert every[0] == (await client.get(every[0]["links"][0]["href"])).json()
    assert [one["title"] for one in await collections(client, workspace_id=sandbox.workspace_id)] == [
        "Harbour", "London"
    ]  # fmt: skip
    assert len(await collections(client, workspace_id="theirs", limit="5")) == 12


async def test_next_links_of_collections_may_be_plain_http() -> None:
    async with Sandbox(next_link_origin="http://api.up42.com") as sandbox, logged_in(sandbox) as client:
        sandbox.add_assets(2)
        page = (await client.get(f"{STAC}/collections", params={"limit": "1"})).json()
        assert page["links"][-1]["href"].startswith(
            "http://api.up42.com/v2/assets/stac/collections?limit=1&token=next:"
        )


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "many"}, {"token": "x"}, {"token": "next:none"}])
async def test_a_list_that_cannot_be_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get(f"{STAC}/collections", params=query)).status_code == 400


async def test_an_order_carries_its_delivery_as_an_asset_of_the_collection(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    (item,) = await found(client)
    collection = (await client.get(f"{STAC}/collections/{item['collection']}")).json()
    (key, asset) = next(iter(collection["assets"].items()))
    assert (key, asset["type"], asset["roles"]) == ("Original Delivery", "application/zip", ["data", "original"])
    asset_id = asset["href"].removesuffix("/download-url").rpartition("/")[2]
    async with without_token() as other:
        content = (await other.get(await signed_url(client, asset_id))).content
    assert len(content) == asset["file:size"] == sandbox.stored_file(asset_id).size
    assert set(zipfile.ZipFile(io.BytesIO(content)).namelist()) == {"delivery/image.tif", "delivery/readme.txt"}
    assert sandbox.asset_ids() == [REFERENCE]


async def test_results_of_a_job_carry_none(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    collection = (await client.get(f"{STAC}/collections/{sandbox.job(job_id).collection_id}")).json()
    assert "assets" not in collection


async def test_a_deleted_collection_is_gone_with_all_it_holds(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    stored = sandbox.results_of(job_id)
    for collection_id in (sandbox.job(job_id).collection_id, sandbox.stored_file(REFERENCE).collection_id):
        path = f"{STAC}/collections/{collection_id}"
        answer = await client.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get(path)).status_code == (await client.delete(path)).status_code == 404
        assert (await client.get(f"{path}/items")).status_code == 404
    assert (await found(client), await collections(client), sandbox.asset_ids()) == ([], [], [])
    assert (sandbox.results_of(job_id), sandbox.job(job_id).status) == ((), "captured")
    assert (await client.post(f"/v2/assets/{stored[0].id}/download-url")).status_code == 404
    sandbox.reset()
    assert len(await found(client)) == 1


async def test_results_that_are_put_back_show_again(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    path = f"{STAC}/collections/{sandbox.job(job_id).collection_id}"
    await client.delete(path)
    sandbox.replace_results(job_id, sandbox.add_assets(1))
    assert (await client.get(path)).status_code == 200


async def test_items_cannot_be_deleted_one_by_one(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    assert (await client.delete(sandbox.items_of(REFERENCE)[0])).status_code == 405


async def test_what_can_be_filtered_by_is_told(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{STAC}/queryables")
    assert answer.headers["content-type"] == "application/schema+json"
    properties = answer.json()["properties"]
    assert {"collection", "id", "datetime", "geometry", "gsd", "constellation", "eo:cloud_cover", "asset_id"} < set(
        properties
    )
    assert {"job_id", "order_id", "data_product_id", "collection_name", "workspace_id", "title", "tags"} < set(
        properties
    )
    (item,) = await found(client)
    for name in properties.keys() - {"geometry", "gsd", "eo:cloud_cover", "constellation"}:
        filter_ = {"op": "isNull", "args": [{"property": name}]}
        known = item["properties"].get("up42-user:tags") is not None or name != "tags"
        expected = [] if known and name != "job_id" else [item["id"]]
        assert [one["id"] for one in await found(client, filter=filter_)] == expected, name
