"""The balance of the account: what is left to spend, and the request for it. `Client.balance` returns it."""

import datetime as dt
from typing import Any

import attrs

from up42_async._clock import as_text
from up42_async._config.arguments import is_number, moment
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, query


@attrs.frozen(kw_only=True)
class Balance:
    """What an account had left at one moment; a snapshot, which goes stale with the next execution."""

    credits: float
    """Credits available. No source says whether those withheld for jobs under way are among them."""
    unit: str = "CREDIT"
    """Their unit, in UP42's words."""


def balance_request(at: dt.datetime | None) -> ApiRequest:
    """Return the request for a balance.

    Args:
        at: The moment whose balance is wanted; one without time zone counts as UTC. None for now.

    Raises:
        TypeError: It is no datetime.
    """
    wanted = None if at is None else as_text(moment(at, "at"))
    return ApiRequest(method="GET", path="/v2/payments/balances", query=query({"balanceAt": wanted}))


def read_balance(answer: Any, request: ApiRequest) -> Balance:
    """Read the answer to `balance_request`.

    Args:
        answer: The decoded body.
        request: What was asked, for the error.

    Raises:
        UnexpectedResponseError: It holds no balance.
    """
    available = answer.get("available") if isinstance(answer, dict) else None
    content = available if isinstance(available, dict) else {}
    amount, unit = content.get("amount"), content.get("unit", "CREDIT")
    if not is_number(amount) or not isinstance(unit, str):
        raise UnexpectedResponseError("an answer without a balance (`available`)", request=str(request))
    return Balance(credits=amount, unit=unit)
