"""The balance of the account, and the request for it: the code behind `Client.balance`."""

import datetime as dt
from typing import Any

import attrs

from up42_async._clock import as_text
from up42_async._config.arguments import is_number, moment
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, query


@attrs.frozen(kw_only=True)
class Balance:
    """The credits that an account has left; a snapshot, which is out of date after the next execution."""

    credits: float
    """Credits available. It is not documented whether the credits withheld for running jobs are among them."""
    unit: str = "CREDIT"
    """Unit of the credits, as UP42 names it."""


def balance_request(at: dt.datetime | None) -> ApiRequest:
    """Return the request for a balance.

    Args:
        at: Time of the balance; one without time zone counts as UTC. None for now.

    Raises:
        TypeError: `at` is not a datetime.
        ValueError: It lies outside the years 2 to 9998.
    """
    wanted = None if at is None else as_text(moment(at, "at"))
    return ApiRequest(method="GET", path="/v2/payments/balances", query=query({"balanceAt": wanted}))


def read_balance(answer: Any, request: ApiRequest) -> Balance:
    """Read the answer to `balance_request`.

    Args:
        answer: The decoded body.
        request: The request, for the error.

    Raises:
        UnexpectedResponseError: The answer holds no balance.
    """
    available = answer.get("available") if isinstance(answer, dict) else None
    content = available if isinstance(available, dict) else {}
    amount, unit = content.get("amount"), content.get("unit", "CREDIT")
    if not is_number(amount) or not isinstance(unit, str):
        raise UnexpectedResponseError("an answer without a balance (`available`)", request=str(request))
    return Balance(credits=amount, unit=unit)
