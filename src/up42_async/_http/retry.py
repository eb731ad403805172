"""Decide whether a failed request is sent again, and when: pure, with the numbers of `backoff`."""

from collections.abc import Generator
from typing import Final

import backoff

from up42_async._config import RetryPolicy
from up42_async._errors import APIError, ConnectionFailedError, RateLimitError, StatusError

MOST_SAVED: Final = 10
"""How many times the retries of the start can be saved up at the most."""


def is_retryable(error: APIError, *, idempotent: bool) -> bool:
    """Return whether a failed request may be sent again, and whether that can help.

    Args:
        error: How it failed. Of a request that is not idempotent, only two failures prove that it was not processed:
            a connection that could not be opened, and 429.
        idempotent: Whether sending it twice changes nothing.
    """
    return error.transient and (idempotent or isinstance(error, ConnectionFailedError | RateLimitError))


class RetryBudget:
    """Keep an outage from multiplying the load: some retries at the start, and a share of all that succeeded.

    Being told to slow down (429) is no outage: those retries are paced by the server and cost nothing here. Nor do
    the probes of an outage, which are paced by the circuit breaker.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._share = policy.budget_share
        self._left = float(policy.budget)
        self._most = max(1.0, MOST_SAVED * self._left)

    def deposit(self) -> None:
        """Earn a share of a retry, for a request that succeeded."""
        self._left = min(self._most, self._left + self._share)

    def try_withdraw(self) -> bool:
        """Take one retry; return False when there is none."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def delays(policy: RetryPolicy, *, least: float = 0.0) -> Generator[float, None, None]:
    """Yield how many seconds to wait before each further try: exponential, and random so that callers spread.

    Args:
        policy: Has the bounds.
        least: Part of each number that is not random, from 0 (full jitter) to 1.
    """
    numbers = backoff.expo(base=2, factor=policy.wait_initial, max_value=policy.wait_max)
    next(numbers)  # backoff's generators say nothing the first time
    yield from (number * least + backoff.full_jitter(number * (1 - least)) for number in numbers)


class RetryState:
    """The tries at one call: how many there were, since when, and how long to wait before the next."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, *, started: float) -> None:
        """Count no try yet; the call began at `started`, in monotonic seconds, as are all times here."""
        self.started: Final = started
        self.tries = 0
        self.last: APIError | None = None
        """How the last try failed."""
        self._policy = policy
        self._budget = budget
        self._first_try, self._is_begun = started, False
        self._delays = delays(policy)

    def begin(self, now: float) -> None:
        """Start the time that the policy gives, unless it runs already: the call may have waited long for a slot."""
        if not self._is_begun:
            self._first_try, self._is_begun = now, True

    @property
    def deadline(self) -> float:
        """Until when another try may begin."""
        return self._first_try + self._policy.timeout

    def next_delay(self, error: APIError, *, idempotent: bool, now: float, free: bool = False) -> float | None:
        """Return how many seconds to wait before the next try, None when there is to be none.

        Args:
            error: How the last try failed.
            idempotent: Whether sending the request twice changes nothing.
            now: Monotonic time in seconds.
            free: Whether a retry costs no budget, since others see to the load.
        """
        self.last = error
        error.tries, error.elapsed = self.tries, now - self._first_try
        if self.tries >= self._policy.attempts or not is_retryable(error, idempotent=idempotent):
            return None
        # the jitter comes on top of what the server asks for: those it sent away together shall not return together
        delay = next(self._delays) + ((error.retry_after or 0.0) if isinstance(error, StatusError) else 0.0)
        if now + delay > self.deadline:
            return None
        return delay if free or isinstance(error, RateLimitError) or self._budget.try_withdraw() else None
