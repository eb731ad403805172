"""Limit the load on UP42: the rate of requests, the pause after a 429, the retries, and the calls during an outage."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import anyio

from up42_async import _clock
from up42_async._config import Limits, RetryPolicy
from up42_async._errors import APIError, ConnectionFailedError, RateLimitError, StatusError
from up42_async._http.requests import ApiRequest
from up42_async._http.retry import delays

MOST_SAVED: Final = 10
"""A retry budget grows to at most so many times its size at the start."""

FAILURES_IN_A_ROW: Final = 3
"""Failures in a row, without a success between them, that count as an outage."""


class RateLimiter:
    """A token bucket: requests are sent at a bounded rate, and a burst after a quiet time.

    Its state is one number, the time at which the bucket will be full again, so no timer is needed.
    """

    def __init__(self, limits: Limits, closing: anyio.Event) -> None:
        self._interval = 1 / limits.requests_per_second
        self._depth = limits.burst / limits.requests_per_second
        self._closing = closing
        self._line = anyio.Lock(fast_acquire=True)
        self._full_at = self._paused_until = float("-inf")

    async def acquire(self) -> None:
        """Wait until one more request may be sent; return at once when the client is closed.

        Only the first task in line waits for the bucket, and takes from it when the wait is over: a task that is
        cancelled in line has taken nothing.
        """
        async with self._line:
            # a request may be sent when the bucket will then be full again within `depth` seconds
            while (seconds := self._full_at + self._interval - self._depth - (now := _clock.now())) > 0:
                with anyio.move_on_after(seconds):
                    await self._closing.wait()
                    return
            self._full_at = max(self._full_at, now) + self._interval

    def pause(self, seconds: float) -> None:
        """Let no request through for some seconds, and no burst after them."""
        self._paused_until = max(self._paused_until, _clock.now() + seconds)
        self._full_at = max(self._full_at, self._paused_until + self._depth)

    def paused_for(self) -> float:
        """Return how many seconds of the pause are left; 0 or less when there is none."""
        # a client that never paused may be asked outside of an event loop, where there is no clock
        return self._paused_until - _clock.now() if self._paused_until > float("-inf") else 0.0


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


class _Service:
    """A service of UP42 whose last requests failed."""

    def __init__(self) -> None:
        self.last = ""
        """Message of the last failure."""
        self.failures = 0
        self.began = _clock.now()
        self.probe_delays: Generator[float, None, None] | None = None
        """Delays between the probes of an outage; None without one."""
        self.next_probe = 0.0
        self.over = anyio.Event()
        self.lines = {True: anyio.Lock(), False: anyio.Lock()}
        """Two lines of waiting calls: idempotent requests (True), and the others (False)."""

    def schedule_probe(self, probe_delays: Generator[float, None, None]) -> None:
        """Set the time of the next probe."""
        self.next_probe = max(self.next_probe, _clock.now() + next(probe_delays))


class CircuitBreaker:
    """Delays the calls to a service of UP42 during an outage: one at a time is sent as a probe, the others wait.

    Without it a short 503 would fail all calls that wait for a slot: each would fail at once and release its slot to
    the next, and the first twenty would use up the retry budget.

    Each service (`/v2/processing`, `/v2/assets` ...) has outages of its own, so that one does not stop the others.
    A probe is due after `RetryPolicy.wait_initial`, then after twice that, up to `wait_max`, less a random part of up
    to a half. Only the time counts, so that a probe that hangs or is cancelled does not delay the next.

    A request that must not be sent twice should not be a probe: it is due `wait_initial` later, so that an idempotent
    request that waits is sent before it.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failing: dict[str, _Service] = {}

    def is_open(self, request: ApiRequest) -> bool:
        """Return whether the service of a request has an outage."""
        service = self._failing.get(_name(request))
        return service is not None and service.probe_delays is not None

    def allows(self, request: ApiRequest) -> bool:
        """Return whether a request may be sent now; during an outage this makes it the probe that is due."""
        service = self._failing.get(_name(request)) if self._failing else None
        if service is None or service.probe_delays is None:
            return True
        if _clock.now() < self._due(service, request):
            return False
        service.schedule_probe(service.probe_delays)
        return True

    def record(self, request: ApiRequest, outcome: object) -> None:
        """Note how a request ended: with an answer, or with the error in its place.

        Transient errors count as failures, except for 429: a service that sends it is up.
        """
        if not isinstance(outcome, APIError) or not outcome.transient or isinstance(outcome, RateLimitError):
            if self._failing:
                self._end(_name(request))
            return
        service = self._failing.setdefault(_name(request), _Service())
        service.last, service.failures = str(outcome), service.failures + 1
        if service.failures >= FAILURES_IN_A_ROW and service.probe_delays is None:
            service.probe_delays = delays(self._policy, least=0.5)
            service.schedule_probe(service.probe_delays)
        if isinstance(outcome, StatusError) and outcome.retry_after is not None:
            asked = min(outcome.retry_after, self._policy.max_retry_after)
            service.next_probe = max(service.next_probe, _clock.now() + asked)

    async def wait(self, request: ApiRequest, deadline: float) -> bool:
        """Wait until `allows` may return True; return False when the deadline comes first. The caller holds no slot."""
        service = self._failing.get(_name(request))
        if service is None:
            return True
        with anyio.CancelScope(deadline=deadline) as scope:
            async with service.lines[request.idempotent]:  # only the first in line waits for the time
                while not service.over.is_set() and (left := self._due(service, request) - _clock.now()) > 0:
                    with anyio.move_on_after(left):
                        await service.over.wait()
        return not scope.cancelled_caught

    def outage_error(self, request: ApiRequest) -> ConnectionFailedError:
        """Return the error for a call whose deadline came before the end of an outage."""
        service = self._failing.get(_name(request))
        said = "" if service is None else f" for {_clock.now() - service.began:.0f} s, last with: {service.last}"
        return ConnectionFailedError(f"not sent: {_name(request)} has been failing{said}", request=str(request))

    def close(self) -> None:
        """Wake all waiters; called when the client closes."""
        for name in list(self._failing):
            self._end(name)

    def _due(self, service: _Service, request: ApiRequest) -> float:
        return service.next_probe if request.idempotent else service.next_probe + self._policy.wait_initial

    def _end(self, name: str) -> None:
        if (ended := self._failing.pop(name, None)) is not None:
            ended.over.set()


def _name(request: ApiRequest) -> str:
    """Return the first two segments of a path, which name the service: `/v2/processing`."""
    return "/".join(request.path.split("/", 3)[:3])
