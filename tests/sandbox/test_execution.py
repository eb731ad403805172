"""ExecutionBatch, the jobs they make, and what happens to the credits."""

from typing import Any

import httpx
import pytest

from tests.sandbox.asking import ITEM, JOBS, TREES, Clock, executed, listed, logged_in
from up42_async.sandbox import Sandbox

COLOR = "true-color-conversion"  # always 5 credits
BEGINNING = [(0, "created"), (1, "licensed"), (2, "valid"), (3, "accepted"), (4, "running")]
LIFE = [*BEGINNING, (64, "successful"), (70, "captured")]
FAILURE = [*BEGINNING, (64, "failed"), (70, "released")]


async def test_an_execution_makes_a_job(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    job = await executed(client, budgetId="budget")
    assert job == {
        "processID": TREES,
        "jobID": job["jobID"],
        "accountID": sandbox.account_id,
        "workspaceID": "workspace",
        "definition": {"inputs": {"title": "Trees", "item": ITEM}},
        "results": None,
        "creditConsumption": None,
        "status": "created",
        "created": job["created"],
        "started": None,
        "finished": None,
        "updated": job["created"],
    }
    (execution,) = sandbox.executions
    assert (execution.job_id, execution.process_id, execution.workspace_id) == (job["jobID"], TREES, "workspace")
    assert (execution.budget_id, execution.inputs) == ("budget", job["definition"]["inputs"])
    assert execution.price > 0
    assert execution.credits is None


async def test_the_workspace_must_be_named(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    body = {"inputs": {"title": "T", "item": ITEM}}
    answer = await client.post(f"/v2/processing/processes/{TREES}/execution", json=body)
    assert (answer.status_code, "workspaceId" in answer.json()["detail"]) == (400, True)
    assert sandbox.executions == ()


async def test_executing_twice_makes_two_jobs(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    one, other = await executed(client), await executed(client)
    assert one["jobID"] != other["jobID"]
    assert len(sandbox.executions) == 2


async def test_credits_are_withheld_when_accepted_and_captured_on_success(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    sandbox.script_executions([LIFE])
    job_id = (await executed(client, COLOR))["jobID"]
    seen = []
    for clock.seconds in (0, 3, 4, 64, 70):
        job = (await client.get(f"{JOBS}/{job_id}")).json()
        balance = sandbox.balance
        seen.append((job["status"], job["creditConsumption"], balance.withheld, balance.captured, balance.balance))
        assert balance.available == 1_000_000 - 5
    assert seen == [
        ("created", None, 0, 0, 1_000_000),
        ("accepted", {"credits": 5}, 5, 0, 1_000_000),
        ("running", {"credits": 5}, 5, 0, 1_000_000),
        ("successful", {"credits": 5}, 5, 0, 1_000_000),
        ("captured", {"credits": 5}, 0, 5, 999_995),
    ]
    assert sandbox.executions[0].credits == 5


async def test_credits_go_back_on_failure_and_a_released_job_keeps_saying_which(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    sandbox.script_executions([FAILURE])
    job_id = (await executed(client, COLOR))["jobID"]
    clock.seconds = 64
    assert (sandbox.balance.withheld, sandbox.job(job_id).status, sandbox.job(job_id).credits) == (5, "failed", None)
    clock.seconds = 70
    assert (sandbox.balance.withheld, sandbox.balance.available) == (0, 1_000_000)
    assert (await client.get(f"{JOBS}/{job_id}")).json()["creditConsumption"] == {"credits": 5}


@pytest.mark.parametrize(("ending", "failure_rate"), [("captured", 0), ("captured", 1), ("mixed", 0)])
async def test_jobs_without_credits_end_as_successful_or_failed(clock: Clock, ending: Any, failure_rate: int) -> None:
    async with (
        Sandbox(clock=clock, ending=ending, failure_rate=failure_rate, token_lifetime=1e6) as sandbox,
        logged_in(sandbox) as client,
    ):
        sandbox.set_rate(COLOR, 0)
        jobs = [(await executed(client, COLOR))["jobID"] for _ in range(10)]
        clock.seconds = 3600
        end = "failed" if failure_rate else "successful"
        assert {(sandbox.job(job).status, sandbox.job(job).credits) for job in jobs} == {(end, None)}


@pytest.mark.parametrize("status", ["created", "licensed", "valid", "invalid", "rejected", "unlicensed", "failed"])
async def test_no_credits_are_named_before_a_job_is_accepted_or_when_it_stays_failed(
    sandbox: Sandbox, client: httpx.AsyncClient, status: str
) -> None:
    (job_id,) = sandbox.seed_jobs(1, status=status)
    assert (await client.get(f"{JOBS}/{job_id}")).json()["creditConsumption"] is None


@pytest.mark.parametrize("status", ["accepted", "running", "successful", "captured", "released"])
async def test_credits_are_named_from_accepted_on(sandbox: Sandbox, client: httpx.AsyncClient, status: str) -> None:
    (job_id,) = sandbox.seed_jobs(1, status=status)
    answer = (await client.get(f"{JOBS}/{job_id}")).json()
    assert answer["creditConsumption"] == {"credits": sandbox.job(job_id).price}


@pytest.mark.parametrize(("status", "captured"), [("successful", 5), ("failed", 0)])
async def test_where_jobs_end_early_so_do_their_credits(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock, status: str, captured: int
) -> None:
    sandbox.script_executions([[*BEGINNING, (64, status)]])
    await executed(client, COLOR)
    clock.seconds = 64
    assert (sandbox.balance.withheld, sandbox.balance.captured) == (0, captured)


async def test_a_job_that_comes_back_takes_its_credits_along(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    sandbox.script_executions([LIFE])
    job_id = (await executed(client, COLOR))["jobID"]
    clock.seconds = 70
    assert sandbox.balance.captured == 5
    sandbox.set_status(job_id, "running")
    assert (sandbox.balance.captured, sandbox.balance.withheld) == (0, 5)


async def test_a_short_balance_rejects_the_job(clock: Clock) -> None:
    async with Sandbox(clock=clock, balance=12, token_lifetime=1_000_000) as sandbox, logged_in(sandbox) as client:
        jobs = [(await executed(client, COLOR))["jobID"] for _ in range(3)]
        clock.seconds = 3600
        assert [sandbox.job(job_id).status == "rejected" for job_id in jobs] == [False, False, True]
        assert sandbox.balance.available >= 2
        rejected = (await client.get(f"{JOBS}/{jobs[2]}")).json()
        assert (rejected["results"], rejected["creditConsumption"], rejected["started"]) == (None, None, None)
        assert rejected["finished"] == rejected["updated"]
        sandbox.deposit(5)
        await executed(client, COLOR)
        clock.seconds = 7200
        assert sandbox.job(sandbox.executions[-1].job_id).status in {"captured", "released"}


async def test_without_its_eula_a_job_is_unlicensed(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    sandbox.set_eula(TREES, accepted=False)
    job_id = (await executed(client))["jobID"]
    clock.seconds = 60
    assert sandbox.job(job_id).status == "unlicensed"
    assert (sandbox.balance.available, sandbox.executions[0].price) == (1_000_000, 0)


@pytest.mark.parametrize(
    ("inputs", "name"),
    [({"title": ""}, "InvalidSchema"), ({"title": "T", "item": "https://x/y"}, "InvalidItem"), ([], "InvalidSchema")],
)
async def test_with_wrong_inputs_a_job_is_invalid_and_says_why(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock, inputs: object, name: str
) -> None:
    job_id = (await executed(client, inputs=inputs))["jobID"]
    clock.seconds = 60
    job = (await client.get(f"{JOBS}/{job_id}")).json()
    assert (job["status"], job["results"]["collection"]) == ("invalid", None)
    assert [error["name"] for error in job["results"]["errors"]] == [name]
    assert sandbox.balance.available == 1_000_000


async def test_success_names_the_result_collection(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    sandbox.script_executions([LIFE])
    job_id = (await executed(client))["jobID"]
    clock.seconds = 63
    assert (await client.get(f"{JOBS}/{job_id}")).json()["results"] is None
    clock.seconds = 64
    url = f"{sandbox.endpoints.api}/v2/assets/stac/collections/{sandbox.job(job_id).collection_id}"
    assert (await client.get(f"{JOBS}/{job_id}")).json()["results"] == {"collection": url, "errors": None}
    found = sandbox._world.jobs.of_collection(sandbox.job(job_id).collection_id)
    assert found is not None
    assert found.id == job_id


async def test_scripts_are_for_accepted_executions_in_their_order(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script_executions([[(0, "running")], [(0, "paused")]])
    await executed(client, inputs={})
    first, second, third = [await executed(client) for _ in range(3)]
    assert (first["status"], second["status"], third["status"]) == ("running", "paused", "created")


async def test_a_script_that_falls_back_is_refused_at_once(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="offsets never falling"):
        sandbox.script_executions([LIFE, [(5, "created"), (4, "running")]])
    with pytest.raises(ValueError, match="needs at least one"):
        sandbox.script_executions([[]])


async def test_executed_jobs_are_in_the_list(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    job = await executed(client)
    assert await listed(client, workspaceId="workspace") == [job]
    assert await listed(client, workspaceId=sandbox.workspace_id) == []


async def test_a_forgotten_job_is_gone_but_its_execution_counts(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    job = await executed(client)
    sandbox.forget(job["jobID"])
    answer = await client.get(f"{JOBS}/{job['jobID']}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "The job does not exist.")
    assert (await listed(client), len(sandbox.executions)) == ([], 1)


async def test_every_third_job_fails_if_so_told(clock: Clock) -> None:
    sandbox = Sandbox(clock=clock, failure_rate=1 / 3)
    sandbox.seed_jobs(600)
    clock.seconds = 3700
    failed = sum(job.status == "released" for job in sandbox.jobs.values())
    assert 150 < failed < 250
    assert sandbox.balance.available == 1_000_000  # seeded jobs cost nothing
