"""Decide whether and when a failed request is sent again, without I/O; `backoff` computes the delays."""

from collections.abc import Generator
from typing import Final

import backoff

from up42_async._config import RetryPolicy
from up42_async._errors import APIError, ConnectionFailedError, RateLimitError, StatusError

MOST_SAVED: Final = 10
"""A budget grows to at most so many times its size at the start."""


def is_retryable(error: APIError, *, idempotent: bool) -> bool:
    """Return whether a failed request may be sent again, and may then succeed.

    Args:
        error: The error of the last try. For a request that is not idempotent only two errors prove that it was not
            processed: a connection that could not be opened, and 429.
        idempotent: Whether the request may be sent twice.
    """
    return error.transient and (idempotent or isinstance(error, ConnectionFailedError | RateLimitError))


class RetryBudget:
    """The retries that a client has left, so that an outage does not multiply the load on the server.

    It starts with `RetryPolicy.budget` and earns `RetryPolicy.budget_share` by each success. Retries after a 429 cost
    nothing, since the server sets their pace; nor do those in an outage, which the circuit breaker paces.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._share = policy.budget_share
        self._left = float(policy.budget)
        self._most = max(1.0, MOST_SAVED * self._left)

    def deposit(self) -> None:
        """Add the share of a retry that a success earns."""
        self._left = min(self._most, self._left + self._share)

    def try_withdraw(self) -> bool:
        """Take one retry; return False when none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def delays(policy: RetryPolicy, *, least: float = 0.0) -> Generator[float, None, None]:
    """Yield the seconds to wait before each further try: exponential, with jitter so that clients do not retry at once.

    Args:
        policy: Holds the first and the longest delay.
        least: Share of each delay that is not random, from 0 (full jitter) to 1.
    """
    numbers = backoff.expo(base=2, factor=policy.wait_initial, max_value=policy.wait_max)
    next(numbers)  # the first value of backoff's generators is None
    yield from (number * least + backoff.full_jitter(number * (1 - least)) for number in numbers)


class RetryState:
    """The tries of one call: their number, when they began, and the delay before the next."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, *, started: float) -> None:
        """Count no try yet; `started` is when the call began. All times here are monotonic, in seconds."""
        self.started: Final = started
        self.tries = 0
        self.last: APIError | None = None
        """The error of the last try."""
        self._policy = policy
        self._budget = budget
        self._first_try, self._is_begun = started, False
        self._delays = delays(policy)

    def begin(self, now: float) -> None:
        """Start `RetryPolicy.timeout` unless it runs already: the time that a call waits for a slot does not count."""
        if not self._is_begun:
            self._first_try, self._is_begun = now, True

    @property
    def deadline(self) -> float:
        """Time after which no further try begins."""
        return self._first_try + self._policy.timeout

    def next_delay(self, error: APIError, *, idempotent: bool, now: float, free: bool = False) -> float | None:
        """Return the seconds to wait before the next try, None when the request must not be sent again.

        Args:
            error: The error of the last try.
            idempotent: Whether the request may be sent twice.
            now: Monotonic time in seconds.
            free: Whether the retry costs no budget.
        """
        self.last = error
        error.tries, error.elapsed = self.tries, now - self._first_try
        if self.tries >= self._policy.attempts or not is_retryable(error, idempotent=idempotent):
            return None
        # the jitter is added to `Retry-After`, so that clients that were refused together do not return together
        delay = next(self._delays) + ((error.retry_after or 0.0) if isinstance(error, StatusError) else 0.0)
        if now + delay > self.deadline:
            return None
        return delay if free or isinstance(error, RateLimitError) or self._budget.try_withdraw() else None
