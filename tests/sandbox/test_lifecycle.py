"""The way of jobs through their statuses."""

import httpx
import pytest

from tests.sandbox.asking import JOBS, TREES, Clock, found, listed, logged_in, signed_url
from up42_async.sandbox import REFERENCE_ASSET, REFERENCE_JOB, Sandbox

GOOD_WAY = ("created", "licensed", "valid", "accepted", "running", "successful", "captured")
BAD_WAY = (*GOOD_WAY[:5], "failed", "released")


def ways(sandbox: Sandbox) -> set[tuple[str, ...]]:
    return {tuple(status for _, status in job.timeline) for job in sandbox.jobs.values()}


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("captured", {GOOD_WAY, BAD_WAY}),
        ("successful", {GOOD_WAY[:-1], BAD_WAY[:-1]}),
        ("mixed", {GOOD_WAY, BAD_WAY, GOOD_WAY[:-1], BAD_WAY[:-1]}),
    ],
)
def test_jobs_end_where_the_sandbox_says(ending: str, expected: set[tuple[str, ...]]) -> None:
    sandbox = Sandbox(ending=ending, failure_rate=0.5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    sandbox.seed_jobs(60)
    assert ways(sandbox) == expected


def test_a_job_takes_minutes_and_never_more_than_half_an_hour_and_a_little() -> None:
    sandbox = Sandbox()
    sandbox.seed_jobs(5000)
    lives = [{status: offset for offset, status in job.timeline} for job in sandbox.jobs.values()]
    lengths = sorted(max(life.values()) for life in lives)
    assert lengths[0] > 120
    assert 600 < lengths[2500] < 900
    assert lengths[-1] < 1900  # at a speed of 600: 3.2 s
    clearing = [life["captured"] - life["successful"] for life in lives if "captured" in life]
    assert 0 < min(clearing) < max(clearing) < 1.78


async def test_statuses_follow_the_clock_and_only_the_clock(clock: Clock) -> None:
    async with Sandbox(clock=clock, speed=60) as sandbox, logged_in(sandbox) as client:
        (job_id,) = sandbox.seed_jobs(1, timeline=[(0, "created"), (60, "running"), (120, "captured")])
        seen = []
        for clock.seconds in (0, 0.99, 1, 1.99, 2, 200):
            seen.append((await client.get(f"{JOBS}/{job_id}")).json()["status"])
        assert seen == ["created", "created", "running", "running", "captured", "captured"]


async def test_times_are_those_of_the_statuses(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    life = [(0, "created"), (60, "running"), (90, "failed"), (100, "released")]
    (job_id,) = sandbox.seed_jobs(1, timeline=life)
    created = (await client.get(f"{JOBS}/{job_id}")).json()["created"]
    clock.seconds = 60
    running = (await client.get(f"{JOBS}/{job_id}")).json()
    clock.seconds = 100
    released = (await client.get(f"{JOBS}/{job_id}")).json()
    assert running["created"] == released["created"] == created
    assert (running["started"], running["finished"]) == (running["updated"], None)
    assert created < released["started"] == running["started"] < released["finished"] < released["updated"]


@pytest.mark.parametrize("status", [*GOOD_WAY, *BAD_WAY[5:], "invalid", "rejected", "unlicensed", "on-hold"])
def test_a_seeded_status_is_reached_and_stays(clock: Clock, status: str) -> None:
    sandbox = Sandbox(clock=clock)
    (job_id,) = sandbox.seed_jobs(1, status=status)
    for clock.seconds in (0, 3600):
        assert sandbox.job(job_id).status == status
    way = tuple(word for _, word in sandbox.job(job_id).timeline)
    assert way[0] == "created"
    assert way[-1] == status


async def test_seeded_invalid_jobs_have_errors(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="invalid")
    results = (await client.get(f"{JOBS}/{job_id}")).json()["results"]
    assert [error.keys() for error in results["errors"]] == [{"name", "message"}]


def test_seeding_spreads_the_creation_over_the_past(clock: Clock) -> None:
    sandbox = Sandbox(clock=clock)
    sandbox.seed_jobs(200, spread=3 * 3600)
    statuses = {job.status for job in sandbox.jobs.values()}
    assert {"running", "captured", "released"} <= statuses


@pytest.mark.parametrize("process_id", ["pansharpening", "detection-change-simularity", "sandbox-mosaic"])
async def test_seeded_jobs_have_inputs_that_are_valid(
    sandbox: Sandbox, client: httpx.AsyncClient, process_id: str
) -> None:
    (job_id,) = sandbox.seed_jobs(1, process_id=process_id)
    job = sandbox.job(job_id)
    answer = await client.post(f"/v2/processing/processes/{process_id}/validation", json={"inputs": job.inputs})
    assert (answer.status_code, job.process_id, job.workspace_id) == (200, process_id, sandbox.workspace_id)


async def test_the_job_of_the_reference_is_there_but_in_no_list(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    job = (await client.get(f"{JOBS}/{REFERENCE_JOB}")).raise_for_status().json()
    assert (job["jobID"], job["processID"], job["status"]) == (REFERENCE_JOB, TREES, "captured")
    (item,) = sandbox.items_of(REFERENCE_ASSET)
    assert job["definition"]["inputs"] == {"title": "Detect trees over UK", "item": item}
    assert item.startswith(sandbox.endpoints.api)
    collection = (await client.get(job["results"]["collection"])).raise_for_status().json()
    items = await found(client, collections=[collection["id"]])
    assert items
    assert await signed_url(client, items[0]["properties"]["up42-system:asset_id"])
    assert await listed(client, ids=REFERENCE_JOB) == [job]
    assert (await listed(client), sandbox.jobs, len(sandbox.asset_ids())) == ([], {}, 1)
    assert sandbox.balance.available == 1_000_000
    sandbox.forget(REFERENCE_JOB)
    assert (await client.get(f"{JOBS}/{REFERENCE_JOB}")).status_code == 404


async def test_links_of_jobs_made_before_the_start_lead_to_the_server() -> None:
    sandbox = Sandbox()
    single, several = sandbox.seed_jobs(1, status="captured")[0], sandbox.seed_jobs(1, process_id="sandbox-mosaic")[0]
    async with sandbox, logged_in(sandbox) as client:
        job = (await client.get(f"{JOBS}/{single}")).json()
        assert (await client.get(job["results"]["collection"])).status_code == 200
        items = [job["definition"]["inputs"]["item"], *sandbox.job(several).inputs["items"]]
        assert all(item.startswith(sandbox.endpoints.api) for item in items)


def test_seeding_an_unknown_process_is_refused() -> None:
    with pytest.raises(KeyError, match="alchemy"):
        Sandbox().seed_jobs(1, process_id="alchemy")


def test_a_status_and_a_timeline_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not with both"):
        Sandbox().seed_jobs(1, status="running", timeline=[(0, "created")])


async def test_a_status_can_be_set_to_any_word(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    (job_id,) = sandbox.seed_jobs(1)
    clock.seconds = 0.1
    before = (await client.get(f"{JOBS}/{job_id}")).json()
    sandbox.set_status(job_id, "on-hold")
    clock.seconds = 7200
    after = (await client.get(f"{JOBS}/{job_id}")).json()
    assert (after["status"], after["created"]) == ("on-hold", before["created"])


def test_the_rest_of_a_life_can_be_scripted(clock: Clock) -> None:
    sandbox = Sandbox(clock=clock)
    (job_id,) = sandbox.seed_jobs(1, status="running")
    clock.seconds = 5
    sandbox.set_timeline(job_id, [(10, "failed"), (12, "released")])
    seen = []
    for clock.seconds in (14, 15, 17):
        seen.append(sandbox.job(job_id).status)
    assert seen == ["running", "failed", "released"]


def test_a_job_made_for_the_future_begins_with_its_first_status(clock: Clock) -> None:
    sandbox = Sandbox(clock=clock)
    (job_id,) = sandbox.seed_jobs(1, timeline=[(100, "created"), (200, "running")])
    assert sandbox.job(job_id).status == "created"
    sandbox.set_status(job_id, "rejected")
    clock.seconds = 100
    assert sandbox.job(job_id).status == "rejected"


@pytest.mark.parametrize("action", ["job", "forget"])
def test_an_unknown_job_is_named(action: str) -> None:
    with pytest.raises(KeyError, match=r"no job 'x'; `sandbox.jobs` shows"):
        getattr(Sandbox(), action)("x")


def test_the_status_of_an_unknown_job_cannot_be_set() -> None:
    with pytest.raises(KeyError, match="no job 'x'"):
        Sandbox().set_status("x", "running")
