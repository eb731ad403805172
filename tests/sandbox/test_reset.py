"""Settings for a client, and going back to the beginning."""

import httpx
import pytest

from tests.sandbox.asking import ITEM, JOBS, REFERENCE, STAC, TREES, executed, found, listed, logged_in
from up42_async.sandbox import REFERENCE_JOB, Sandbox, SandboxPolling, faults


@pytest.mark.parametrize("speed", [1, 600])
def test_settings_have_everything_for_a_client_and_poll_by_the_clock_of_the_sandbox(speed: int) -> None:
    with Sandbox(speed=speed) as sandbox:
        settings = sandbox.settings
        assert settings.keys() == {"username", "password", "endpoints", "polling"}
        assert settings["endpoints"] == sandbox.endpoints
        assert {name: settings[name] for name in ("username", "password")} == sandbox.credentials
        assert settings["polling"] == SandboxPolling(
            wait=60 / speed, retries=4320, settle=5 / speed, recover=60 / speed, visible=15 / speed
        )


async def test_a_reset_brings_back_the_beginning_while_serving(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    beginning = (sandbox.account_id, sandbox.workspace_id, sandbox.stored_file(REFERENCE).item_id)
    first = sandbox.seed_jobs(3)
    sandbox.add_assets(2)
    sandbox.deposit(5)
    sandbox.set_rate(TREES, 9)
    sandbox.set_eula(TREES, accepted=False)
    sandbox.refuse_item(ITEM.rpartition("/")[2])
    sandbox.script_executions([[(0, "paused")]])
    sandbox.faults.add(faults.Status(503), path="/v2/nothing")
    sandbox.forget(REFERENCE_JOB)
    await client.patch(sandbox.items_of(REFERENCE)[0], json={"up42-user:title": "Paris"})
    await executed(client)
    sandbox.reset_next_connections(5)

    sandbox.reset()

    assert (sandbox.jobs, sandbox.executions, sandbox.asset_ids()) == ({}, (), [REFERENCE])
    assert (sandbox.requests, sandbox.logins, sandbox.balance.balance) == ((), 0, 1_000_000)
    assert (sandbox.account_id, sandbox.workspace_id, sandbox.stored_file(REFERENCE).item_id) == beginning
    assert (await client.get("/v2/nothing")).status_code == 404
    assert await listed(client) == []
    assert (await client.get(f"{JOBS}/{REFERENCE_JOB}")).json()["status"] == "captured"
    assert [item["properties"]["up42-user:title"] for item in await found(client)] == ["London"]
    async with httpx.AsyncClient(base_url=sandbox.endpoints.api, trust_env=False) as other:
        assert (await other.get(STAC)).status_code == 401  # a new connection is taken, and not reset
    job = await executed(client)
    assert (job["status"], sandbox.job(job["jobID"]).price) == ("created", sandbox.executions[0].price)
    assert sandbox.executions[0].price < 102  # one credit for each square kilometre again
    sandbox.reset()
    assert sandbox.seed_jobs(3) == first


async def test_a_reset_draws_faults_from_the_seed_anew(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    seen = []
    for _ in range(2):
        sandbox.faults.add(faults.Status(503), probability=0.5)
        seen.append([(await client.get(JOBS)).status_code for _ in range(20)])
        sandbox.reset()
    assert seen[0] == seen[1]
    assert {200, 503} == set(seen[0])


async def test_a_reset_keeps_the_clock_the_tokens_and_the_server() -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client:
        endpoints = sandbox.endpoints
        sandbox.reset()
        assert (await client.get(JOBS)).status_code == 200
        assert sandbox.endpoints == endpoints
