"""Decide whether and when a failed request is sent again, without I/O; `backoff` computes the delays."""

from collections.abc import Callable, Generator

import attrs
import backoff

from up42_async._config import RetryPolicy
from up42_async._errors import APIError, ConnectionFailedError, RateLimitError, StatusError


def is_retryable(error: APIError, *, idempotent: bool) -> bool:
    """Return whether a failed request may be sent again, and may then succeed.

    Args:
        error: The error of the last try. For a request that is not idempotent only two errors prove that it was not
            processed: a connection that could not be opened, and 429.
        idempotent: Whether the request may be sent twice.
    """
    return error.transient and (idempotent or isinstance(error, ConnectionFailedError | RateLimitError))


def delays(policy: RetryPolicy, *, least: float = 0.0) -> Generator[float, None, None]:
    """Yield the seconds to wait before each further try: exponential, with jitter so that clients do not retry at once.

    Args:
        policy: Holds the first and the longest delay.
        least: Share of each delay that is not random, from 0 (full jitter) to 1.
    """
    numbers = backoff.expo(base=2, factor=policy.wait_initial, max_value=policy.wait_max)
    next(numbers)  # the first value of backoff's generators is None
    yield from (number * least + backoff.full_jitter(number * (1 - least)) for number in numbers)


@attrs.define(kw_only=True, eq=False)
class RetryState:
    """The tries of one call: their number, when they began, and the delay before the next."""

    policy: RetryPolicy
    try_withdraw: Callable[[], bool]
    """Takes one retry from the client's budget; returns False when none is left."""
    started: float
    """When the call began; all times here are monotonic, in seconds."""
    began: float | None = None
    """When it first had a slot, and `RetryPolicy.timeout` began; None for when the call began."""
    tries: int = 0
    last: APIError | None = None
    """The error of the last try."""
    _delays: Generator[float, None, None] | None = None

    @property
    def deadline(self) -> float:
        """Time after which no further try begins."""
        return self._first_try + self.policy.timeout

    @property
    def _first_try(self) -> float:
        return self.started if self.began is None else self.began

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
        if self.tries >= self.policy.attempts or not is_retryable(error, idempotent=idempotent):
            return None
        if self._delays is None:
            self._delays = delays(self.policy)
        # the jitter is added to `Retry-After`, so that clients that were refused together do not return together
        delay = next(self._delays) + ((error.retry_after or 0.0) if isinstance(error, StatusError) else 0.0)
        if now + delay > self.deadline:
            return None
        return delay if free or isinstance(error, RateLimitError) or self.try_withdraw() else None
