"""Budgets: limits on what the executions that name them may spend."""

from collections.abc import Mapping
from random import Random
from typing import Any, Literal

import attrs

from up42_async.sandbox._account import draw_id
from up42_async.sandbox._scaled_clock import SECOND, timestamp

BudgetStatus = Literal["ACTIVE", "INACTIVE"]
STATUSES: tuple[BudgetStatus, ...] = ("ACTIVE", "INACTIVE")

_DIGITS = 6
_DAY = 24 * 3600 * SECOND
_SEEDED_LIMIT = 10_000
_SEEDED: tuple[tuple[str, BudgetStatus, int], ...] = (("This year", "ACTIVE", 30), ("Last year", "INACTIVE", 395))
"""Name, status, and age in days."""


@attrs.define(kw_only=True, eq=False)
class Budget:
    """One budget.

    Args:
        id: Its id.
        name: Its name.
        description: What it is for.
        external_id: The user's own id for it.
        status: Whether it is in force.
        created_by: The id of the user who made it.
        created: When, in nanoseconds since 1970.
        updated: When it was last changed.
        spend_limit: Credits that may be spent; None for any number.
        valid: From when until when it is in force; None for always.
    """

    id: str
    name: str
    description: str | None
    external_id: str | None
    status: BudgetStatus
    created_by: str
    created: int
    updated: int
    spend_limit: int | None
    valid: tuple[int, int] | None

    def body(self, consumed: int | None) -> dict[str, Any]:
        """Return it as the platform answers it.

        Args:
            consumed: Credits spent or withheld; None to leave the usage out.
        """
        body: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "externalId": self.external_id,
            "status": self.status,
            "createdBy": self.created_by,
            "createdAt": timestamp(self.created, _DIGITS),
            "updatedAt": timestamp(self.updated, _DIGITS),
            "spendLimit": self.spend_limit,
            "validityPeriod": self._period(),
        }
        return body if consumed is None else {**body, **self._usage(consumed)}

    def _period(self) -> Mapping[str, str] | None:
        if self.valid is None:
            return None
        start, end = self.valid
        return {"startDate": timestamp(start, _DIGITS), "endDate": timestamp(end, _DIGITS)}

    def _usage(self, consumed: int) -> Mapping[str, Any]:
        limit = self.spend_limit
        return {
            "consumedCredits": consumed,
            "remainingCredits": None if limit is None else limit - consumed,
            "usagePercentage": round(100 * consumed / limit, 2) if limit else None,
        }


def seeded_budgets(random: Random, user_id: str, now: int) -> dict[str, Budget]:
    """Return the two budgets that a sandbox begins with, by id: one in force, and one of last year."""
    made = [
        Budget(
            id=draw_id(random),
            name=name,
            description=f"The budget {name!r} of the sandbox.",
            external_id=None,
            status=status,
            created_by=user_id,
            created=now - age * _DAY,
            updated=now - age * _DAY,
            spend_limit=_SEEDED_LIMIT,
            valid=(now - age * _DAY, now + (365 - age) * _DAY),
        )
        for name, status, age in _SEEDED
    ]
    return {budget.id: budget for budget in made}
