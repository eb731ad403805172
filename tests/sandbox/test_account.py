"""What surrounds a job: balances, budgets, EULAs, the list of processes, and the id of a request that failed."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.sandbox.asking import JOBS, TREES, Clock, executed, logged_in
from up42_async.sandbox import Sandbox, faults

BALANCES, BUDGETS, PROCESSES = "/v2/payments/balances", "/v2/budgets", "/v2/processing/processes"
COLOR = "true-color-conversion"  # always 5 credits
LIFE = [(0, "created"), (10, "accepted"), (20, "running"), (60, "successful"), (61, "captured")]
FAILURE = [*LIFE[:3], (60, "failed"), (61, "released")]


async def available(client: httpx.AsyncClient, **query: str) -> int:
    body = (await client.get(BALANCES, params=query)).raise_for_status().json()
    amount: int = body["available"].pop("amount")
    assert body == {"available": {"unit": "CREDIT"}}
    return amount


async def test_the_balance_says_what_a_new_execution_may_cost(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    sandbox.script_executions([LIFE, FAILURE])
    for _ in range(2):
        await executed(client, COLOR)
    seen = []
    for clock.seconds in (0, 30, 100):
        seen.append((await available(client), sandbox.balance.available))
    assert seen == [(999_990, 999_990), (999_990, 999_990), (999_995, 999_995)]


async def test_the_balance_of_an_earlier_moment_can_be_asked_for(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    sandbox.script_executions([FAILURE])
    clock.seconds = 100
    created = datetime.fromisoformat((await executed(client, COLOR))["created"])
    clock.seconds = 1000
    moments = [created + timedelta(seconds=seconds) for seconds in (-50, 30, 100, 10**7)]
    found = [await available(client, balanceAt=moment.isoformat()) for moment in moments]
    assert found == [1_000_000, 999_995, 1_000_000, 1_000_000]


async def test_a_moment_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get(BALANCES, params={"balanceAt": "yesterday"})
    assert (answer.status_code, "'yesterday'" in answer.json()["message"]) == (400, True)


async def budgets(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(BUDGETS, params=query)
    content: list[dict[str, Any]] = answer.raise_for_status().json()["content"]
    return content


async def test_a_sandbox_begins_with_two_budgets(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    this, last = await budgets(client)
    assert (this["name"], this["status"], last["name"], last["status"]) == (
        "This year", "ACTIVE", "Last year", "INACTIVE"
    )  # fmt: skip
    assert this.keys() == {
        *("id", "name", "description", "externalId", "status", "createdBy", "createdAt", "updatedAt"),
        *("spendLimit", "validityPeriod"),
    }
    assert (this["createdBy"], this["spendLimit"]) == (sandbox.workspace_id, 10_000)
    assert this["validityPeriod"]["startDate"] < this["validityPeriod"]["endDate"]
    assert list(sandbox.budgets) == [this["id"], last["id"]]


async def test_budgets_are_filtered_sorted_and_paged(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    for number in range(3):
        clock.seconds += 1
        sandbox.add_budget(f"budget {number}", status="INACTIVE" if number == 1 else "ACTIVE", external_id="mine")
    names = [budget["name"] for budget in await budgets(client)]
    assert names == ["budget 2", "budget 1", "budget 0", "This year", "Last year"]
    assert [one["name"] for one in await budgets(client, sort="updatedAt,asc")] == names[::-1]
    assert [one["name"] for one in await budgets(client, status="INACTIVE")] == ["budget 1", "Last year"]
    for both in ("ACTIVE,INACTIVE", ["ACTIVE", "INACTIVE"]):
        assert len(await budgets(client, status=both)) == 5
    pages = [(await client.get(BUDGETS, params={"page": page, "size": 2})).json() for page in range(4)]
    assert [budget["name"] for page in pages for budget in page["content"]] == names
    assert {(page["totalPages"], page["totalElements"], page["size"]) for page in pages} == {(3, 5, 2)}
    assert [(page["number"], page["first"], page["last"]) for page in pages] == [
        (0, True, False), (1, False, False), (2, False, True), (3, False, True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"status": "OPEN"}, "status"),
        ({"sort": "name,asc"}, "sort"),
        ({"sort": "updatedAt,up"}, "sort"),
        ({"includeUsage": "perhaps"}, "includeUsage"),
        ({"page": "-1"}, "page"),
        ({"size": "0"}, "size"),
    ],
)
async def test_a_list_of_budgets_that_cannot_be_is_refused(
    client: httpx.AsyncClient, query: dict[str, str], word: str
) -> None:
    answer = await client.get(BUDGETS, params=query)
    assert (answer.status_code, answer.json()["message"].startswith(word)) == (400, True)


async def test_an_execution_spends_from_the_budget_it_names(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock
) -> None:
    budget_id = sandbox.add_budget("trees", spend_limit=12)
    free_id = sandbox.add_budget("anything")
    sandbox.script_executions([LIFE, FAILURE, LIFE])
    jobs = [(await executed(client, COLOR, budgetId=budget_id))["jobID"] for _ in range(3)]
    await executed(client, COLOR, budgetId=free_id)
    usages = []
    for clock.seconds in (0, 30, 100):
        (one,) = [one for one in await budgets(client, includeUsage="True") if one["id"] == budget_id]
        usages.append((one["consumedCredits"], one["remainingCredits"], one["usagePercentage"]))
    assert usages == [(0, 12, 0), (10, 2, 83.33), (5, 7, 41.67)]
    assert [sandbox.job(job).status for job in jobs] == ["captured", "released", "rejected"]

    one = (await client.get(f"{BUDGETS}/{budget_id}", params={"includeUsage": "true"})).json()
    assert (one["consumedCredits"], one["description"], one["validityPeriod"]) == (5, None, None)
    assert "consumedCredits" not in (await client.get(f"{BUDGETS}/{budget_id}")).json()
    assert (await client.get(f"{BUDGETS}/{budget_id}/usage")).json() == {"budgetId": budget_id, "consumedCredits": 5}
    assert sandbox.budgets[budget_id].consumed == 5
    free = (await client.get(f"{BUDGETS}/{free_id}", params={"includeUsage": "true"})).json()
    assert (free["consumedCredits"], free["remainingCredits"], free["usagePercentage"]) == (5, None, None)
    assert await available(client) == 1_000_000 - 10


async def test_the_settings_say_whether_budgets_are_enforced(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    before = (await client.get(f"{BUDGETS}/settings")).json()
    sandbox.enforce_budgets(enabled=True)
    after = (await client.get(f"{BUDGETS}/settings")).json()
    assert (before["enforcementEnabled"], after["enforcementEnabled"]) == (False, True)
    assert before["budgetSettingId"] == after["budgetSettingId"]


@pytest.mark.parametrize("path", ["none", "none/usage"])
async def test_a_budget_that_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{BUDGETS}/{path}")
    assert (answer.status_code, answer.json()["message"]) == (404, "Budget not found.")


async def test_one_budget_takes_the_parameters_of_the_list(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{BUDGETS}/{next(iter(sandbox.budgets))}", params={"includeUsage": "2"})
    assert answer.status_code == 400


@pytest.mark.parametrize("arguments", [{"status": "OPEN"}, {"spend_limit": -1}])
def test_a_budget_that_cannot_be_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="A budget has a status of ACTIVE, INACTIVE and a spend_limit"):
        Sandbox().add_budget("x", **arguments)


async def test_all_processes_can_be_listed_in_pages(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.set_rate(TREES, 7)
    whole = (await client.get(PROCESSES)).json()
    assert (len(whole["processes"]), whole["links"]) == (17, [])
    trees = next(process for process in whole["processes"] if process["id"] == TREES)
    assert trees == (await client.get(f"{PROCESSES}/{TREES}")).json()
    seen: list[Any] = []
    path = f"{PROCESSES}?limit=5"
    while path:
        page = (await client.get(path)).json()
        seen += page["processes"]
        path = page["links"][0]["href"] if page["links"] else ""
    assert seen == whole["processes"]
    assert sandbox.count("GET", f"{PROCESSES}$") == 5


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"offset": "-1"}])
async def test_a_page_of_processes_that_cannot_be_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await client.get(PROCESSES, params=query)
    assert (answer.status_code, "limit must be" in answer.json()["detail"]) == (400, True)


async def test_an_error_of_the_platform_has_the_id_of_its_request(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    refused = [await client.get(f"{JOBS}/none"), await client.get("/v2/nothing"), await client.post(JOBS)]
    refused.append(await client.get(JOBS, headers={"authorization": "Bearer x"}))
    with sandbox.faults.during(faults.Status(500)):
        refused.append(await client.get(JOBS))
    ids = [answer.headers["x-request-id"] for answer in refused]
    assert len(set(ids)) == 5
    assert [record.request_id for record in sandbox.requests] == ids


async def test_no_other_answer_has_such_an_id(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answers = [await client.get(JOBS), await client.get("/nothing")]
    with sandbox.faults.during(faults.Status(502, "html")):
        answers.append(await client.get(JOBS))
    assert [(answer.status_code, answer.headers.get("x-request-id")) for answer in answers] == [
        (200, None), (404, None), (502, None)
    ]  # fmt: skip
    assert [record.request_id for record in sandbox.requests] == [None] * 3


async def test_the_eula_of_a_process_is_shown(clock: Clock) -> None:
    async with Sandbox(clock=clock, eula_accepted=False) as sandbox, logged_in(sandbox) as client:
        parameters = (await client.get(f"{PROCESSES}/{TREES}")).json()["additionalParameters"]["parameters"]
        (eula_id,) = next(one["value"] for one in parameters if one["name"] == "eula-id")
        eula = (await client.get(f"/v2/eulas/{eula_id}")).json()
        assert (eula["id"], eula["isAccepted"]) == (eula_id, False)
        sandbox.set_eula(TREES, accepted=True)
        assert (await client.get(f"/v2/eulas/{eula_id}")).json()["isAccepted"] is True
