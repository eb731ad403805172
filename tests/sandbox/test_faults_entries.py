"""Faults in good JSON: odd jobs and items, other jobs, other times, other prices."""

import gzip
import json
import math
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.sandbox.asking import ITEM, JOBS, REFERENCE, STAC, TREES, executed, found, listed
from up42_async.sandbox import Sandbox, faults

COST = f"/v2/processing/processes/{TREES}/cost"
BODY = {"inputs": {"title": "Trees", "item": ITEM}}


@pytest.mark.parametrize("name", faults.ODD_JOBS)
async def test_a_job_can_be_odd_among_others_that_are_not(
    sandbox: Sandbox, client: httpx.AsyncClient, name: str
) -> None:
    ids = sandbox.seed_jobs(3, status="captured")
    plain = {job["jobID"]: job for job in await listed(client)}
    changes = faults.ODD_JOBS[name]
    sandbox.faults.add(faults.ChangeJobs(changes, ids=[ids[1]]), path=JOBS)
    odd = {job["jobID"]: job for job in await listed(client)}
    assert [odd[job] == plain[job] for job in ids] == [True, False, True]
    for key, value in changes.items():
        if value == faults.REMOVED:
            assert key not in odd[ids[1]]
        elif not isinstance(value, dict):
            assert odd[ids[1]][key] == value
    assert (await client.get(f"{JOBS}/{ids[0]}")).json() == plain[ids[0]]
    assert repr((await client.get(f"{JOBS}/{ids[1]}")).json()) == repr(odd[ids[1]])


async def test_changes_of_objects_are_merged(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    sandbox.faults.add(faults.ChangeJobs({"results": {"errors": ["x"]}, "definition": {"inputs": {"n": math.nan}}}))
    job = (await client.get(f"{JOBS}/{job_id}")).json()
    assert job["results"].keys() == {"collection", "errors"}
    assert math.isnan(job["definition"]["inputs"]["n"])
    assert job["definition"]["inputs"]["title"]


async def test_only_the_first_of_an_answer_can_be_odd(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(4, status="captured", spread=60)
    sandbox.faults.add(faults.ChangeJobs({"status": "odd"}, only_first=True))
    assert [job["status"] for job in await listed(client, limit="2")] == ["odd", "captured", "odd", "captured"]
    with sandbox.faults.during(faults.ChangeJobs({"status": "odder"}, ids=ids[:3], only_first=True)):
        assert [job["status"] for job in await listed(client)] == ["odd", "odder", "captured", "captured"]
    assert (await client.get("/v2/eulas/none")).status_code == 404


@pytest.mark.parametrize("name", faults.ODD_ITEMS)
async def test_an_item_can_be_odd_among_others_that_are_not(
    sandbox: Sandbox, client: httpx.AsyncClient, name: str
) -> None:
    sandbox.add_assets(2)
    plain = await found(client)
    with sandbox.faults.during(faults.ChangeItems(faults.ODD_ITEMS[name], ids=[plain[1]["id"]])):
        odd = await found(client)
        alone = (await client.get(sandbox.items_of(plain[1]["properties"]["up42-system:asset_id"])[0])).json()
    assert [str(one) == str(other) for one, other in zip(odd, plain, strict=True)] == [True, False, True]
    assert str(alone) == str(odd[1])
    with sandbox.faults.during(faults.ChangeItems(faults.ODD_ITEMS[name], only_first=True)):
        assert [str(one) == str(other) for one, other in zip(await found(client), plain, strict=True)] == [
            False, True, True
        ]  # fmt: skip


async def test_lists_can_hold_things_that_are_no_entries(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1)
    with sandbox.faults.during(faults.AddEntries()):
        *odd, job = (await client.get(JOBS)).json()["jobs"]
        assert (odd, job["jobID"]) == ([None, 5, "text", {}, []], job_id)
        assert (await client.get(f"{JOBS}/{job_id}")).json()["jobID"] == job_id
    with sandbox.faults.during(faults.AddEntries({"id": 7})):
        for path, name in [
            ("/v2/assets", "content"),
            ("/v2/budgets", "content"),
            (f"{STAC}/collections", "collections"),
        ]:
            assert (await client.get(path)).json()[name][0] == {"id": 7}
        assert (await client.post(f"{STAC}/search", json={})).json()["features"][0] == {"id": 7}


async def test_a_page_can_have_a_million_entries_in_few_bytes(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.ManyEntries(), path=JOBS)
    sandbox.faults.add(faults.ManyEntries(3, {"id": 1}, name="features"), path=STAC)
    async with client.stream("GET", JOBS) as answer:
        sent = b"".join([part async for part in answer.aiter_raw()])
    assert len(sent) < 20_000
    assert gzip.decompress(sent).count(b"{}") == 1_000_000
    assert (await client.post(f"{STAC}/search", json={})).json() == {"features": [{"id": 1}] * 3, "links": []}


async def test_one_job_can_be_answered_for_another(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    one, other = sandbox.seed_jobs(2, status="captured")
    sandbox.faults.add(faults.OtherJob(other), path=f"{JOBS}/{one}")
    assert (await client.get(f"{JOBS}/{one}")).json()["jobID"] == other
    assert {job["jobID"] for job in await listed(client)} == {one, other}
    sandbox.faults.add(faults.OtherJob(other), path=f"{JOBS}$")
    assert {job["jobID"] for job in await listed(client)} == {one, other}


async def test_timestamps_can_be_of_another_clock(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(1, status="captured")
    sandbox.seed_jobs(1, status="accepted")
    plain = await listed(client)
    with sandbox.faults.during(faults.ShiftTimes(3600)):
        moved = await listed(client)
        created = await executed(client)
        assert (datetime.fromisoformat(created["created"]) - datetime.now().astimezone()).total_seconds() > 3500
    for name in ("created", "started", "finished", "updated"):
        for before, after in zip(plain, moved, strict=True):
            if before[name] is None:
                assert after[name] is None
            else:
                later = datetime.fromisoformat(after[name]) - datetime.fromisoformat(before[name])
                assert later.total_seconds() == pytest.approx(3600, abs=1e-5)


async def test_a_price_can_rise_after_it_was_asked(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.RaisePrice(2.5), times=4)
    assert (await client.get("/v2/processing/processes/none")).status_code == 404
    assert (await client.post("/v2/processing/processes/none/cost", json=BODY)).status_code == 404
    prices = [(await client.post(COST, json=BODY)).json()["totalCredits"] for _ in range(3)]
    assert prices[0] < prices[1] < prices[2] <= math.ceil(prices[0] / 1) * 9
    await executed(client)
    assert sandbox.executions[0].price == prices[2]


async def test_what_is_no_job_is_left_alone(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    for kind in (faults.ChangeJobs({"status": "odd"}), faults.ShiftTimes(5), faults.ChangeItems({"id": "odd"})):
        with sandbox.faults.during(kind):
            body: Any = (await client.get(f"/v2/assets/{REFERENCE}/metadata")).json()
            assert body["id"] == REFERENCE


def test_odd_things_can_be_written_as_json() -> None:
    assert json.loads(json.dumps([faults.ODD_JOBS, faults.ODD_ITEMS])).__class__ is list
