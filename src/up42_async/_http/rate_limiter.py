"""Pace the requests of one client: a token bucket, and one pause for all when the server asks for it."""

import anyio

from up42_async import _clock
from up42_async._config import Limits


class RateLimiter:
    """Let requests through at a bounded rate.

    The bucket is kept as one number, the moment at which it will be full again, so a request costs a comparison and no
    timer runs.
    """

    def __init__(self, limits: Limits, closing: anyio.Event) -> None:
        self._interval = 1 / limits.requests_per_second
        self._depth = limits.burst / limits.requests_per_second
        self._closing = closing
        self._turn = anyio.Lock(fast_acquire=True)
        self._full_at = self._paused_until = float("-inf")

    async def acquire(self) -> None:
        """Wait until one more request may be sent; returns at once when the client is closing.

        Only the first task in line waits for the bucket, and takes from it when it goes on: a task that is cancelled in
        line has taken nothing.
        """
        async with self._turn:
            # a request may be sent as long as the bucket would be full again within `depth` seconds
            while (seconds := self._full_at + self._interval - self._depth - (now := _clock.now())) > 0:
                if await _clock.wait_for(self._closing, seconds):
                    return
            self._full_at = max(self._full_at, now) + self._interval

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, and no burst after it.

        Args:
            seconds: How long, in seconds from now.
        """
        self._paused_until = max(self._paused_until, _clock.now() + seconds)
        self._full_at = max(self._full_at, self._paused_until + self._depth)

    def paused_for(self) -> float:
        """Return how many seconds of the longest pause are left; 0 or less when there is none."""
        # outside of an event loop there is no clock to compare with, and no task waits
        return self._paused_until - _clock.now() if self._paused_until > float("-inf") else 0.0
