"""Keep to a limit on credits, however many executions run at once: a price is reserved before anything is sent."""

import anyio

from up42_async._config import arguments
from up42_async._errors import Up42Error
from up42_async._processing.cost import Cost


class CostLimitError(Up42Error):
    """The price is above the limit, or above the price that was evaluated, so nothing was sent.

    Attributes:
        cost: The price.
        max_credits: The limit that was given, for many templates on the sum of their prices; None when there was none.
        evaluated: The price before it rose; None when it did not.
    """

    def __init__(
        self, message: str, *, cost: Cost | None = None, max_credits: float | None = None, evaluated: Cost | None = None
    ) -> None:
        """Say what would have cost how much."""
        super().__init__(message)
        self.cost = cost
        self.max_credits = max_credits
        self.evaluated = evaluated


class CreditBudget:
    """Credits that some executions may spend together."""

    def __init__(self, max_credits: float | None) -> None:
        """Take the limit.

        Args:
            max_credits: How many credits, None for any number.

        Raises:
            TypeError: It is not a number.
            ValueError: It is negative.
        """
        self.max_credits: float | None = (
            None if max_credits is None else arguments.real(max_credits, "max_credits", least=0, unit="credits")
        )
        self._spent = 0
        self._reserved = 0
        self._changed = anyio.Event()

    @property
    def spent(self) -> int:
        """Credits that were, or may have been, spent; reserved ones included."""
        return self._spent + self._reserved

    def spend(self, credits: int) -> None:
        """Count credits that an earlier run has spent.

        Args:
            credits: How many.
        """
        self._spent += credits

    def give_back(self, credits: int) -> None:
        """Count credits as not spent after all, because their job ended without a result.

        Args:
            credits: How many.
        """
        self._spent -= credits
        self._announce()

    async def reserve(self, cost: Cost, label: str) -> None:
        """Set the price of one execution aside until `commit`; while others may still give credits back, wait for them.

        Args:
            cost: The price.
            label: What is to be bought, for the error.

        Raises:
            CostLimitError: The price is above what is left for good.
        """
        while self.max_credits is not None and cost.credits + self.spent > self.max_credits:
            if cost.credits + self._spent > self.max_credits:
                raise self._refusal(cost, label, self.max_credits)
            await self._changed.wait()
        self._reserved += cost.credits

    def commit(self, reserved: Cost, spent: int) -> None:
        """Give back what was not spent of a price that was set aside; to be called once.

        Args:
            reserved: The price that was set aside.
            spent: The credits that were, or may have been, spent.
        """
        self._reserved -= reserved.credits
        self._spent += spent
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _refusal(self, cost: Cost, label: str, max_credits: float) -> CostLimitError:
        rest = f", of which {max(0, max_credits - self._spent):.15g} are left" if self._spent else ""
        message = f"{label} costs {cost.credits} credits; max_credits is {max_credits:.15g}{rest}. Nothing was sent"
        return CostLimitError(message, cost=cost, max_credits=max_credits)
