"""What an execution costs."""

import numbers
from typing import Any

import attrs

from up42_async._client import display
from up42_async._config.arguments import is_number
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest


def _optional_float(value: float | None) -> float | None:
    # attrs.converters.optional(float) makes inspect read the signature of float with a tokenizer, 2 ms at import
    return None if value is None else float(value)


@attrs.frozen(order=False)
class Cost:
    """The price of an execution; it compares with numbers and other costs by its credits: `template.cost <= 100`."""

    strategy: str
    """What the price depends on, in UP42's words, such as `area`."""
    credits: int
    """The price, in credits."""
    size: float | None = attrs.field(default=None, converter=_optional_float)
    """The amount that is processed, in `unit`; None when the price does not depend on it."""
    unit: str | None = None
    """The unit of `size`, such as `SQ_KM`."""

    def __lt__(self, other: "Cost | float") -> bool:
        """Return whether this is cheaper."""
        price = _credits_of(other)
        return NotImplemented if price is None else self.credits < price

    def __le__(self, other: "Cost | float") -> bool:
        """Return whether this is no dearer."""
        price = _credits_of(other)
        return NotImplemented if price is None else self.credits <= price

    def __gt__(self, other: "Cost | float") -> bool:
        """Return whether this is dearer."""
        price = _credits_of(other)
        return NotImplemented if price is None else self.credits > price

    def __ge__(self, other: "Cost | float") -> bool:
        """Return whether this is no cheaper."""
        price = _credits_of(other)
        return NotImplemented if price is None else self.credits >= price

    def __repr__(self) -> str:
        """Return the price in one line of at most 200 characters."""
        return display.attributes(self, "strategy", "credits", "size", "unit")

    def _repr_html_(self) -> str:
        """Return the price in one line, for notebooks."""
        size = "" if self.size is None else f" for {self.size:g} {self.unit or ''}".rstrip()
        price = display.counted(self.credits, "credit")
        return f"<p><b>{price}</b>{display.cell(size)} ({display.cell(self.strategy)})</p>"


def _credits_of(other: object) -> Any:
    if isinstance(other, Cost):
        return other.credits
    return other if isinstance(other, numbers.Real) else None


def read_cost(answer: Any, request: ApiRequest) -> Cost:
    """Read a price.

    Args:
        answer: The decoded response.
        request: The request, for the error.

    Raises:
        UnexpectedResponseError: There is no price, or it is negative, infinite or no whole number of credits.
    """
    content: dict[str, Any] = answer if isinstance(answer, dict) else {}
    strategy, unit, size = content.get("pricingStrategy"), content.get("unit"), content.get("totalSize")
    price: Any = content.get("totalCredits")
    fits = is_number(price) and price >= 0 and price % 1 == 0
    fits = fits and isinstance(strategy, str) and isinstance(unit, str | None)
    if not fits or not (size is None or (is_number(size) and size >= 0)):
        message = "an answer without a price that can be used; nothing was bought"
        raise UnexpectedResponseError(message, request=str(request))
    return Cost(str(strategy), int(price), size, unit)
