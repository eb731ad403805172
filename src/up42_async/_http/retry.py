"""Decide whether a failed request is sent again, and when: pure, with the numbers of `backoff`."""

from collections.abc import Generator

import attrs
import backoff

from up42_async._config import RetryPolicy
from up42_async._errors import APIError, ConnectionFailedError, RateLimitError, StatusError


def is_retryable(error: APIError, *, idempotent: bool) -> bool:
    """Return whether a failed request may be sent again, and whether that can help.

    Args:
        error: How it failed. Of a request that is not idempotent, only two failures prove that it was not processed:
            a connection that could not be opened, and 429.
        idempotent: Whether sending it twice changes nothing.
    """
    return error.transient and (idempotent or isinstance(error, ConnectionFailedError | RateLimitError))


class RetryBudget:
    """Keep an outage from multiplying the load: a fixed number of retries, and a share of all requests.

    Being told to slow down (429) is no outage: those retries are paced by the server and cost nothing here.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        """Start with the whole fixed number."""
        self._share = policy.budget_share
        self._left = float(policy.budget)
        self._most = max(1.0, self._left)

    def deposit(self) -> None:
        """Note a request that was answered."""
        self._left = min(self._most, self._left + self._share)

    def try_withdraw(self) -> bool:
        """Take one retry, if one is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def waits(policy: RetryPolicy) -> Generator[float, None, None]:
    """Yield how many seconds to wait before each further try: exponential with full jitter."""
    numbers = backoff.expo(base=2, factor=policy.wait_initial, max_value=policy.wait_max)
    next(numbers)  # backoff's generators say nothing the first time
    yield from map(backoff.full_jitter, numbers)


@attrs.define
class RetryState:
    """The tries at one call: how many there were, since when, and how long to wait before the next."""

    policy: RetryPolicy
    budget: RetryBudget
    started: float
    tries: int = 0
    _waits: Generator[float, None, None] = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: waits(self.policy), takes_self=True)
    )

    def next_delay(self, error: APIError, *, idempotent: bool, now: float) -> float | None:
        """Return how long to wait before the next try, None when there is to be none.

        Args:
            error: How the last try failed.
            idempotent: Whether sending the request twice changes nothing.
            now: Monotonic time in seconds, on the clock of `started`.
        """
        error.tries, error.elapsed = self.tries, now - self.started
        if self.tries >= self.policy.attempts or not is_retryable(error, idempotent=idempotent):
            return None
        # the jitter comes on top of what the server asks for: those it sent away together shall not return together
        pause = next(self._waits) + ((error.retry_after or 0.0) if isinstance(error, StatusError) else 0.0)
        if error.elapsed + pause > self.policy.timeout:
            return None
        return pause if isinstance(error, RateLimitError) or self.budget.try_withdraw() else None
