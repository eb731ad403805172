"""The job list: filters, order and pages."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.asking import JOBS, TREES, Clock, listed, logged_in
from up42_async.sandbox import Sandbox
from up42_async.sandbox._scaled_clock import cut_to_digits, timestamp


def ids_of(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["jobID"] for job in jobs]


async def test_the_newest_come_first_and_pages_join_without_gap(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(23, spread=3600)
    assert ids_of(await listed(client, limit="5")) == ids[::-1]
    assert sandbox.count("GET", JOBS) == 5


async def test_a_page_has_its_default_size(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(51)
    page = (await client.get(JOBS)).json()
    assert len(page["jobs"]) == 50
    assert page["links"][0]["href"].startswith("/v2/processing/jobs?cursor=")


async def test_a_full_last_page_has_no_next_link(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(10)
    page = (await client.get(JOBS, params={"limit": "10"})).json()
    assert (len(page["jobs"]), page["links"]) == (10, [])


async def test_a_limit_above_the_largest_is_cut_to_it() -> None:
    async with Sandbox(page_size_max=20) as sandbox, logged_in(sandbox) as client:
        sandbox.seed_jobs(30)
        assert len((await client.get(JOBS, params={"limit": "500"})).json()["jobs"]) == 20
        assert len((await client.get(JOBS)).json()["jobs"]) == 20


async def test_a_strict_server_refuses_a_limit_above_the_largest() -> None:
    async with Sandbox(page_size_max=20, page_size_strict=True) as sandbox, logged_in(sandbox) as client:
        assert (await client.get(JOBS, params={"limit": "20"})).status_code == 200
        answer = await client.get(JOBS, params={"limit": "21"})
        assert (answer.status_code, answer.json()["detail"]) == (400, "limit must not be above 20, is 21.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", ""),
        ("sort", "created"),
        ("sort", "created,up"),
        ("sort", "colour,asc"),
        ("minDuration", "-1"),
        ("maxDuration", "soon"),
        ("cursor", "zz"),
        ("cursor", "00"),
        ("cursor", json.dumps(["created", 1]).encode().hex()),
        ("cursor", json.dumps(["status", "running", "id"]).encode().hex()),
        ("cursor", json.dumps(["created", "running", "id"]).encode().hex()),
        ("cursor", json.dumps(["created", 1, None]).encode().hex()),
        ("cursor", json.dumps(["offset", -1, ""]).encode().hex()),
        ("cursor", json.dumps(5).encode().hex()),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_a_400(client: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await client.get(JOBS, params={name: value})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith(name)


async def test_filters_are_joined_by_commas(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    running = sandbox.seed_jobs(2, status="running", process_id=TREES)
    failed = sandbox.seed_jobs(2, status="failed", process_id="upsampling-ns")
    captured = sandbox.seed_jobs(2, status="captured", process_id="pansharpening")
    assert set(ids_of(await listed(client, status="running,failed"))) == {*running, *failed}
    assert set(ids_of(await listed(client, processId=f"{TREES},pansharpening"))) == {*running, *captured}
    assert set(ids_of(await listed(client, ids=f"{failed[0]},{captured[1]},unknown"))) == {failed[0], captured[1]}
    assert await listed(client, status="running", processId="pansharpening") == []
    assert await listed(client, ids=running[0], status="failed") == []


async def test_of_a_repeated_parameter_only_the_last_counts(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    one, other = sandbox.seed_jobs(2)
    answer = await client.get(f"{JOBS}?ids={one}&ids={other}")
    assert ids_of(answer.json()["jobs"]) == [other]


async def test_filters_by_workspace(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    own, other = sandbox.seed_jobs(1), sandbox.seed_jobs(1, workspace_id="other")
    assert ids_of(await listed(client, workspaceId="other")) == other
    assert ids_of(await listed(client, workspaceId=sandbox.workspace_id)) == own
    assert set(ids_of(await listed(client))) == {*own, *other}


async def test_filters_by_duration(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    lives = {seconds: [(0, "running"), (seconds, "captured")] for seconds in (10, 20, 30)}
    ids = {seconds: sandbox.seed_jobs(1, timeline=life, spread=60)[0] for seconds, life in lives.items()}
    sandbox.seed_jobs(1, status="running")
    sandbox.seed_jobs(1, status="invalid")
    assert set(ids_of(await listed(client, minDuration="20"))) == {ids[20], ids[30]}
    assert set(ids_of(await listed(client, maxDuration="20"))) == {ids[10], ids[20]}
    assert ids_of(await listed(client, minDuration="15", maxDuration="25")) == [ids[20]]
    assert len(await listed(client, minDuration="0")) == 3


SORT_KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "processID": lambda job: job["processID"],
    "status": lambda job: job["status"],
    "created": lambda job: datetime.fromisoformat(job["created"]),
    "creditConsumption.credits": lambda job: (job["creditConsumption"] or {"credits": -1})["credits"],
}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("field", SORT_KEYS)
@pytest.mark.parametrize("by_ids", [False, True])
async def test_sorts_by_each_field_across_pages(clock: Clock, field: str, order: str, by_ids: bool) -> None:
    async with Sandbox(clock=clock) as sandbox, logged_in(sandbox) as client:
        ids = sandbox.seed_jobs(40, spread=3600)
        query = {"sort": f"{field},{order}", "limit": "7", **({"ids": ",".join(ids)} if by_ids else {})}
        jobs = await listed(client, **query)
        keys = [SORT_KEYS[field](job) for job in jobs]
        assert keys == sorted(keys, reverse=order == "desc")
        assert sorted(ids_of(jobs)) == sorted(ids)


@pytest.mark.parametrize("status", [400, 413, 414])
async def test_too_many_ids_are_refused(status: int) -> None:
    async with Sandbox(ids_max=3, ids_max_status=status) as sandbox, logged_in(sandbox) as client:
        ids = sandbox.seed_jobs(4)
        assert len(await listed(client, ids=",".join(ids[:3]))) == 3
        assert (await client.get(JOBS, params={"ids": ",".join(ids)})).status_code == status


async def test_a_thousand_ids_are_no_trouble_without_a_limit(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(1000)
    assert set(ids_of(await listed(client, ids=",".join(ids), limit="1000"))) == set(ids)


async def test_pages_of_a_list_by_ids_may_be_smaller() -> None:
    async with Sandbox(ids_page_size_max=2) as sandbox, logged_in(sandbox) as client:
        ids = sandbox.seed_jobs(5)
        assert len((await client.get(JOBS, params={"limit": "5"})).json()["jobs"]) == 5
        assert len((await client.get(JOBS, params={"limit": "5", "ids": ",".join(ids)})).json()["jobs"]) == 2
        assert set(ids_of(await listed(client, limit="5", ids=",".join(ids)))) == set(ids)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_jobs_made_or_removed_between_pages_neither_repeat_nor_hide_others(
    sandbox: Sandbox, client: httpx.AsyncClient, order: str
) -> None:
    ids = sandbox.seed_jobs(12, spread=3600)
    seen: list[str] = []
    answer = await client.get(JOBS, params={"limit": "3", "sort": f"created,{order}"})
    while True:
        page = answer.json()
        seen += ids_of(page["jobs"])
        if not page["links"]:
            break
        sandbox.seed_jobs(1, spread=5400)
        sandbox.forget(seen[-1])
        answer = await client.get(page["links"][0]["href"])
    assert len(seen) == len(set(seen))
    assert set(ids) <= set(seen)


async def test_each_job_has_its_own_number_of_digits(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(60)
    lengths = {len(job["created"]) for job in await listed(client)}
    assert lengths == {len("2026-01-01T00:00:00Z"), *(len("2026-01-01T00:00:00Z") + 1 + n for n in (3, 6, 9))}


@given(instant=st.integers(0, 4 * 10**18), digits=st.integers(0, 9))
def test_a_timestamp_says_the_instant_up_to_its_digits(instant: int, digits: int) -> None:
    text = timestamp(cut_to_digits(instant, digits), digits)
    assert text == timestamp(instant, digits)
    whole, _, fraction = text.removesuffix("Z").partition(".")
    assert len(fraction) == digits
    nanoseconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))
    assert nanoseconds == cut_to_digits(instant, digits)
