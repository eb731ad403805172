"""Budgets and the balance: what is left to spend."""

import copy
import datetime as dt
import pickle
from typing import Any

import pytest

from tests.storage_host import StorageHost
from up42_async import Balance, Budget, NotFoundError, UnexpectedResponseError, ValidityPeriod

BUDGETS = "/v2/budgets"
CONTENT = {
    "id": "b1",
    "name": "Trees",
    "description": "of the city",
    "externalId": "x1",
    "status": "ACTIVE",
    "createdBy": "u1",
    "createdAt": "2024-05-01T10:00:00.123456789Z",
    "updatedAt": "2024-05-02T12:00:00+02:00",
    "spendLimit": 1000,
    "validityPeriod": {"startDate": "2024-01-01", "endDate": "2024-12-31T23:59:59Z"},
    "consumedCredits": 250,
    "remainingCredits": 750,
    "usagePercentage": 25.0,
}


async def test_the_fields_of_a_budget_are_read_from_the_response(host: StorageHost) -> None:
    host.answers[f"GET {BUDGETS}/b1"] = CONTENT
    async with host.client() as client:
        budget = await Budget.get("b1", include_usage=True, client=client)
        assert await Budget.get("b1") == budget
    assert (budget.id, budget.name, budget.description, budget.external_id) == ("b1", "Trees", "of the city", "x1")
    assert (budget.status, budget.created_by, budget.spend_limit) == ("ACTIVE", "u1", 1000)
    assert budget.created_at == dt.datetime(2024, 5, 1, 10, 0, 0, 123456, dt.UTC)
    assert budget.updated_at == dt.datetime(2024, 5, 2, 10, tzinfo=dt.UTC)
    assert budget.validity_period == ValidityPeriod(
        start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC), end_date=dt.datetime(2024, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    )
    assert (budget.consumed_credits, budget.remaining_credits, budget.usage_percentage) == (250, 750, 25.0)
    assert budget.metadata == CONTENT
    assert host.queries[f"GET {BUDGETS}/b1"] == ["includeUsage=true", ""]


async def test_every_field_of_a_budget_but_its_id_is_optional(host: StorageHost) -> None:
    odd = {"id": "b1", "name": 7, "status": None, "createdAt": "soon", "spendLimit": "1", "validityPeriod": 7}
    host.answers[f"GET {BUDGETS}/b1"] = {**odd, "consumedCredits": 1e99}
    async with host.client():
        assert await Budget.get("b1") == Budget(id="b1", metadata={**odd, "consumedCredits": 1e99})


async def test_a_budget_can_be_pickled_and_copied_without_its_client(host: StorageHost) -> None:
    host.answers[f"GET {BUDGETS}/b1"] = CONTENT
    async with host.client():
        budget = await Budget.get("b1")
    assert "Client" not in repr(budget)
    for copied in (pickle.loads(pickle.dumps(budget)), copy.copy(budget), copy.deepcopy(budget)):  # noqa: S301
        assert copied == budget
        with pytest.raises(RuntimeError, match="no UP42 client"):
            await copied.usage()


async def test_budgets_are_listed_page_by_page(host: StorageHost) -> None:
    pages = iter([[{"id": "b1"}, {"id": "b2"}], [{"id": "b3"}]])
    host.answers[f"GET {BUDGETS}"] = lambda _: {"content": next(pages), "totalPages": 2}
    async with host.client() as client:
        budgets = Budget.all(["ACTIVE", "INACTIVE"], "updatedAt,desc", include_usage=True, page_size=2, client=client)
        assert [budget.id async for budget in budgets] == ["b1", "b2", "b3"]
    asked = "status=ACTIVE,INACTIVE&sort=updatedAt,desc&includeUsage=true&page={}&size=2"
    assert [query.replace("%2C", ",") for query in host.queries[f"GET {BUDGETS}"]] == [asked.format(0), asked.format(1)]


@pytest.mark.parametrize("total", [None, True, "2"])
async def test_a_list_without_a_number_of_pages_ends_with_an_empty_page(host: StorageHost, total: Any) -> None:
    pages = iter([[{"id": "b1"}], [{"id": "b2"}], []])
    host.answers[f"GET {BUDGETS}"] = lambda _: {"content": next(pages), "totalPages": total}
    async with host.client():
        assert [budget.id async for budget in Budget.all()] == ["b1", "b2"]


@pytest.mark.parametrize("answer", [7, [], {}, {"content": None}])
async def test_a_response_without_content_is_not_a_list(host: StorageHost, answer: Any) -> None:
    host.answers[f"GET {BUDGETS}"] = answer
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match="an answer without a list"):
            await anext(Budget.all())


async def test_an_unreadable_budget_is_an_error_and_the_others_are_returned(host: StorageHost) -> None:
    host.answers[f"GET {BUDGETS}"] = {"content": [{"id": "b1"}, {"name": "x"}, None, {"id": "b2"}], "totalPages": 1}
    async with host.client():
        budgets = Budget.all()
        assert [budget.id async for budget in budgets] == ["b1", "b2"]
    assert len(budgets.errors) == 2


@pytest.mark.parametrize(
    ("asked", "error"),
    [({"status": "ACTIVE"}, TypeError), ({"sort_by": ""}, ValueError), ({"page_size": 0}, ValueError)],
)
async def test_an_invalid_filter_is_refused_without_a_request(
    host: StorageHost, asked: dict[str, Any], error: type[Exception]
) -> None:
    async with host.client():
        with pytest.raises(error, match=next(iter(asked))):
            Budget.all(**asked)
    assert host.asked.total() == 0


async def test_a_budget_that_was_not_requested_is_an_error(host: StorageHost) -> None:
    host.answers[f"GET {BUDGETS}/b2"] = CONTENT
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match="budget 'b1' instead of 'b2'"):
            await Budget.get("b2")
        with pytest.raises(NotFoundError):
            await Budget.get("b3")


async def test_the_usage_of_a_budget_is_requested_by_each_call(host: StorageHost) -> None:
    host.answers[f"GET {BUDGETS}/b1"] = CONTENT
    host.answers[f"GET {BUDGETS}/b1/usage"] = {"budgetId": "b1", "consumedCredits": 300}
    async with host.client():
        budget = await Budget.get("b1")
        assert await budget.usage() == 300
        host.answers[f"GET {BUDGETS}/b1/usage"] = {"budgetId": "b1", "consumedCredits": "300"}
        with pytest.raises(UnexpectedResponseError, match="consumedCredits"):
            await budget.usage()


async def test_the_account_setting_shows_whether_budgets_are_enforced(host: StorageHost) -> None:
    host.answers[f"GET {BUDGETS}/settings"] = {"enforcementEnabled": True, "budgetSettingId": "s"}
    async with host.client() as client:
        assert await Budget.is_enforced(client=client) is True
        host.answers[f"GET {BUDGETS}/settings"] = {"enforcementEnabled": "yes"}
        with pytest.raises(UnexpectedResponseError, match="enforcementEnabled"):
            await Budget.is_enforced()


@pytest.mark.parametrize(
    ("at", "query"),
    [
        (None, ""),
        (dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))), "balanceAt=2024-05-01T10%3A00%3A00Z"),
        (dt.datetime(2024, 5, 1), "balanceAt=2024-05-01T00%3A00%3A00Z"),  # noqa: DTZ001 - counts as UTC
    ],
)
async def test_the_balance_is_the_number_of_credits_left(host: StorageHost, at: dt.datetime | None, query: str) -> None:
    host.answers["GET /v2/payments/balances"] = {"available": {"amount": 12.5, "unit": "CREDIT"}}
    async with host.client() as client:
        assert await client.balance(at) == Balance(credits=12.5, unit="CREDIT")
    assert host.queries["GET /v2/payments/balances"] == [query]


@pytest.mark.parametrize(
    "answer", [7, {}, {"available": 7}, {"available": {"amount": "7"}}, {"available": {"amount": 1, "unit": 7}}]
)
async def test_a_response_without_an_amount_is_not_a_balance(host: StorageHost, answer: Any) -> None:
    host.answers["GET /v2/payments/balances"] = answer
    async with host.client() as client:
        with pytest.raises(UnexpectedResponseError, match="an answer without a balance"):
            await client.balance()
        with pytest.raises(TypeError, match="at must be a datetime"):
            await client.balance("today")  # type: ignore[arg-type]
