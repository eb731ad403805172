"""Budgets: how many credits a group of people may spend, and how many it has spent."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from up42_async._client import Client, current_client, display
from up42_async._client.readable_list import ReadableList, entry_id, numbered_page
from up42_async._clock import timestamp
from up42_async._config.arguments import integer, is_number, joinable, optional, string
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, check_answered_id, query, segment

BUDGETS: Final = "/v2/budgets"

PAGE_SIZE: Final = 100
"""Budgets a page; UP42's own default is not documented."""


@attrs.frozen(kw_only=True)
class ValidityPeriod:
    """The time in which a budget can be used."""

    start_date: dt.datetime | None = None
    """The begin (aware, UTC); None where UP42 sends none."""
    end_date: dt.datetime | None = None
    """The end (aware, UTC); None where UP42 sends none."""


@attrs.frozen(kw_only=True)
class Budget:
    """A budget, as it was when it was asked for; `execute(..., budget_id=budget.id)` charges jobs to it."""

    id: str
    """Its id."""
    name: str | None = None
    """Its name."""
    description: str | None = None
    """Its description."""
    external_id: str | None = None
    """Its id in another system, set by the user."""
    status: str | None = None
    """`ACTIVE` or `INACTIVE`."""
    created_by: str | None = None
    """Id of the user who made it."""
    created_at: dt.datetime | None = None
    """When it was made (aware, UTC)."""
    updated_at: dt.datetime | None = None
    """When it was last changed (aware, UTC)."""
    spend_limit: float | None = None
    """Credits that may be spent; None for no limit."""
    validity_period: ValidityPeriod | None = None
    """When it can be used; None for always."""
    consumed_credits: float | None = None
    """Credits spent; only with `include_usage`."""
    remaining_credits: float | None = None
    """Credits left; only with `include_usage`, and a limit."""
    usage_percentage: float | None = None
    """Share of the limit that is spent, in percent; only with `include_usage`, and a limit."""
    metadata: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The whole record, as UP42 sent it."""
    _client: Client | None = attrs.field(default=None, alias="client", repr=False, eq=False)

    def __repr__(self) -> str:
        """Return the budget in one line of at most 200 characters."""
        return display.attributes(self, "id", "name", "status", "spend_limit", "remaining_credits")

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields without the client: copies and pickles use the current one."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.name != "_client"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_client": None}.items():
            object.__setattr__(self, name, value)

    @classmethod
    async def get(cls, budget_id: str, *, include_usage: bool = False, client: Client | None = None) -> "Budget":
        """Ask for a budget; one request.

        Args:
            budget_id: Its id.
            include_usage: Whether to ask also for the credits spent and left.
            client: The client to use; the current one when left out.

        Raises:
            NotFoundError: There is no such budget, or it belongs to another account.
            APIError: UP42 could not be asked.
            RuntimeError: There is no client.
            TypeError: The id is no string.
            ValueError: It cannot be an id.
        """
        user = current_client(client)
        request = ApiRequest(
            method="GET",
            path=f"{BUDGETS}/{segment(budget_id, 'budget_id')}",
            query=query({"includeUsage": "true" if include_usage else None}),
        )
        budget = _read_budget(await user._session.call(request), request, user)
        check_answered_id("budget", budget.id, budget_id, request)
        return budget

    @classmethod
    def all(
        cls,
        status: Iterable[str] | None = None,
        sort_by: str | None = None,
        include_usage: bool = False,  # noqa: FBT001, FBT002 - the official SDK has it in this place
        *,
        page_size: int = PAGE_SIZE,
        client: Client | None = None,
    ) -> "ReadableList[Budget]":
        """List budgets: an async iterator, whose `errors` has those that could not be read; one request for each page.

        Args:
            status: Only budgets of these statuses, `"ACTIVE"` or `"INACTIVE"`.
            sort_by: The order, such as `"updatedAt,desc"`; UP42 documents this field only.
            include_usage: Whether to ask also for the credits spent and left.
            page_size: Budgets a page, 1 or more.
            client: The client to use; the current one when left out.

        Raises:
            RuntimeError: There is no client.
            TypeError: A filter of the wrong type, such as a single string instead of a list of strings.
            ValueError: A filter out of its range.
        """
        user = current_client(client)
        parameters = {
            "status": optional(joinable, status, "status"),
            "sort": optional(string, sort_by, "sort_by"),
            "includeUsage": "true" if include_usage else None,
            "page": 0,
            "size": integer(page_size, "page_size", least=1, unit="budgets"),
        }
        return ReadableList(
            user._session,
            ApiRequest(method="GET", path=BUDGETS, query=query(parameters)),
            numbered_page,
            lambda content, request: _read_budget(content, request, user),
            key=entry_id,
        )

    @staticmethod
    async def is_enforced(*, client: Client | None = None) -> bool:
        """Return whether the account requires a budget for each execution; one request.

        Args:
            client: The client to use; the current one when left out.

        Raises:
            APIError: UP42 could not be asked.
            RuntimeError: There is no client.
        """
        request = ApiRequest(method="GET", path=f"{BUDGETS}/settings")
        answer = await current_client(client)._session.call(request)
        enforced = answer.get("enforcementEnabled") if isinstance(answer, dict) else None
        if not isinstance(enforced, bool):
            message = "an answer that does not say whether budgets are enforced (`enforcementEnabled`)"
            raise UnexpectedResponseError(message, request=str(request))
        return enforced

    async def usage(self) -> float:
        """Return the credits that are spent so far; one request.

        Raises:
            NotFoundError: The budget does not exist any more.
            APIError: UP42 could not be asked.
            RuntimeError: There is no client.
        """
        request = ApiRequest(method="GET", path=f"{BUDGETS}/{segment(self.id, 'budget id')}/usage")
        answer = await current_client(self._client)._session.call(request)
        consumed = answer.get("consumedCredits") if isinstance(answer, dict) else None
        if not is_number(consumed):
            message = "an answer without the credits that are spent (`consumedCredits`)"
            raise UnexpectedResponseError(message, request=str(request))
        return consumed


def _read_budget(content: Any, request: ApiRequest, client: Client) -> Budget:
    """Read a budget.

    Raises:
        UnexpectedResponseError: It has no id. Everything else may be missing, or odd and then None.
    """
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise UnexpectedResponseError("an answer that is no budget: it has no id", request=str(request))
    fields = {name: read(content.get(key)) for name, (key, read) in _FIELDS.items()}
    return Budget(id=content["id"], **fields, metadata=content, client=client)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return value if is_number(value) else None


def _moment(value: Any) -> dt.datetime | None:
    try:
        return timestamp(value)
    except ValueError:
        return None


def _period(value: Any) -> ValidityPeriod | None:
    if not isinstance(value, dict):
        return None
    return ValidityPeriod(start_date=_moment(value.get("startDate")), end_date=_moment(value.get("endDate")))


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "name": ("name", _text),
    "description": ("description", _text),
    "external_id": ("externalId", _text),
    "status": ("status", _text),
    "created_by": ("createdBy", _text),
    "created_at": ("createdAt", _moment),
    "updated_at": ("updatedAt", _moment),
    "spend_limit": ("spendLimit", _number),
    "validity_period": ("validityPeriod", _period),
    "consumed_credits": ("consumedCredits", _number),
    "remaining_credits": ("remainingCredits", _number),
    "usage_percentage": ("usagePercentage", _number),
}
"""The key in UP42's record, and how its value is read, by the field of a `Budget`."""
