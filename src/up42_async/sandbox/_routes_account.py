"""The routes of the account: its balance, its budgets, and EULAs."""

from collections.abc import Sequence

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from up42_async.sandbox import _answers
from up42_async.sandbox._answers import BadQuery
from up42_async.sandbox._budgets import STATUSES, Budget
from up42_async.sandbox._paging import flag_of, in_order, page_of, words_of
from up42_async.sandbox._scaled_clock import instant_of
from up42_async.sandbox._world import World

_BUDGETS = "/v2/budgets"
_BUDGET = f"{_BUDGETS}/{{budget_id}}"


def account_routes(world: World) -> Sequence[Route]:
    """Return the routes of the account."""
    endpoints = _Account(world)
    return [
        Route("/v2/payments/balances", endpoints.balance, methods=["GET"]),
        Route(_BUDGETS, endpoints.budgets, methods=["GET"]),
        Route(f"{_BUDGETS}/settings", endpoints.settings, methods=["GET"]),
        Route(_BUDGET, endpoints.budget, methods=["GET"]),
        Route(f"{_BUDGET}/usage", endpoints.usage, methods=["GET"]),
        Route("/v2/eulas/{eula_id}", endpoints.eula, methods=["GET"]),
    ]


class _Account:
    """Answers as the services around processing do.

    Args:
        world: The state of the sandbox.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def balance(self, request: Request) -> Response:
        text = request.query_params.get("balanceAt")
        try:
            instant = None if text is None else instant_of(text)
        except ValueError:
            return _answers.plain_error(400, f"balanceAt must be a timestamp with an offset, not {text!r}.")
        with self._world.lock:
            now = self._world.now()
            amount = self._world.ledger.available_at(now if instant is None else min(instant, now))
        return _answers.answer({"available": {"amount": amount, "unit": "CREDIT"}})

    async def budgets(self, request: Request) -> Response:
        query = request.query_params
        with self._world.lock:
            statuses = _statuses(query)
            chosen = [budget for budget in self._world.budgets.values() if budget.status in statuses]
            ordered = in_order(chosen, query, {"updatedAt": lambda budget: (budget.updated, budget.id)})
            with_usage = flag_of(query, "includeUsage")
            body = page_of(ordered, query, lambda budget: self._body(budget, with_usage=with_usage))
        return _answers.answer(body)

    def _body(self, budget: Budget, *, with_usage: bool) -> object:
        return budget.body(self._world.consumed(budget.id) if with_usage else None)

    async def budget(self, request: Request) -> Response:
        with self._world.lock:
            budget = self._world.budgets.get(request.path_params["budget_id"])
            if budget is None:
                return _no_budget()
            return _answers.answer(self._body(budget, with_usage=flag_of(request.query_params, "includeUsage")))

    async def usage(self, request: Request) -> Response:
        budget_id = request.path_params["budget_id"]
        with self._world.lock:
            if budget_id not in self._world.budgets:
                return _no_budget()
            return _answers.answer({"budgetId": budget_id, "consumedCredits": self._world.consumed(budget_id)})

    async def settings(self, _: Request) -> Response:
        world = self._world
        body = {"enforcementEnabled": world.budgets_enforced, "budgetSettingId": world.budget_setting_id}
        return _answers.answer(body)

    async def eula(self, request: Request) -> Response:
        eula = self._world.eulas.get(request.path_params["eula_id"])
        if eula is None:
            return _answers.plain_error(404, "EULA not found.")
        return _answers.answer(eula.body())


def _statuses(query: QueryParams) -> frozenset[str]:
    statuses = words_of(query, "status") or frozenset(STATUSES)
    if unknown := statuses - frozenset(STATUSES):
        raise BadQuery(f"status must be of {', '.join(STATUSES)}, not {', '.join(sorted(unknown))}.")
    return statuses


def _no_budget() -> Response:
    return _answers.plain_error(404, "Budget not found.")
