"""Keep to a limit on credits, however many run at once: a price is reserved before anything is sent."""

import anyio
import attrs

from up42_async._errors import Up42Error
from up42_async._processing.cost import Cost


class CostLimitError(Up42Error):
    """The price is above the limit, so nothing was sent.

    Attributes:
        cost: The price.
        max_credits: The limit that was given: for many templates, on the sum of their prices.
    """

    def __init__(self, message: str, *, cost: Cost | None = None, max_credits: float = 0) -> None:
        """Say what would have cost how much."""
        super().__init__(message)
        self.cost = cost
        self.max_credits = max_credits


def check_max_credits(max_credits: object) -> None:
    """Refuse what is no limit.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative, or not a number (NaN).
    """
    if isinstance(max_credits, bool) or not isinstance(max_credits, int | float | None):
        message = f"max_credits must be a number of credits or None, not {max_credits!r}"
        raise TypeError(message)
    if max_credits is not None and not max_credits >= 0:
        message = f"max_credits must be at least 0, not {max_credits!r}"
        raise ValueError(message)


class Allowance:
    """Credits that some executions may spend together."""

    def __init__(self, max_credits: float | None) -> None:
        """Start with all of them.

        Args:
            max_credits: How many, None for any number.

        Raises:
            TypeError: It is not a number.
            ValueError: It is negative.
        """
        check_max_credits(max_credits)
        self._max_credits = max_credits
        self._spent = 0
        self._reserved = 0
        self._settled = anyio.Event()

    async def reserve(self, cost: Cost, label: str) -> "Reservation":
        """Set the price of one execution aside; while others may still give credits back, wait for them.

        Args:
            cost: The price.
            label: What is to be bought, for the error.

        Raises:
            CostLimitError: The price is above what is left for good.
        """
        while self._max_credits is not None and cost.credits + self._spent + self._reserved > self._max_credits:
            if cost.credits + self._spent > self._max_credits:
                raise self._refusal(cost, label, self._max_credits)
            await self._settled.wait()
        self._reserved += cost.credits
        return Reservation(self, cost.credits)

    def settle(self, reserved: int, spent: int) -> None:
        """Note what a reservation came to.

        Args:
            reserved: The credits that were set aside.
            spent: The credits that were, or may have been, spent.
        """
        self._reserved -= reserved
        self._spent += spent
        self._settled.set()
        self._settled = anyio.Event()

    def _refusal(self, cost: Cost, label: str, max_credits: float) -> CostLimitError:
        rest = f", of which {max(0, max_credits - self._spent):.15g} are left" if self._spent else ""
        message = f"{label} costs {cost.credits} credits; max_credits is {max_credits:.15g}{rest}. Nothing was sent"
        return CostLimitError(message, cost=cost, max_credits=max_credits)


@attrs.frozen
class Reservation:
    """Credits set aside for one execution."""

    _allowance: Allowance
    credits: int

    def settle(self, spent: int) -> None:
        """Give back what was not spent; to be called once.

        Args:
            spent: The credits that were, or may have been, spent.
        """
        self._allowance.settle(self.credits, spent)
