"""Hold requests back: at the pace of this client, while UP42 asks for it (429), and during outages of its services."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import anyio

from up42_async import _clock
from up42_async._config import Limits, RetryPolicy
from up42_async._errors import APIError, ConnectionFailedError, RateLimitError, StatusError
from up42_async._http.requests import ApiRequest
from up42_async._http.retry import delays

FAILURES_IN_A_ROW: Final = 3
"""Failures without a success between them that make an outage; one odd job that always fails makes none."""


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
        """Send nothing for some seconds, and no burst after them."""
        self._paused_until = max(self._paused_until, _clock.now() + seconds)
        self._full_at = max(self._full_at, self._paused_until + self._depth)

    def paused_for(self) -> float:
        """Return how many seconds of the longest pause are left; 0 or less when there is none."""
        # outside of an event loop there is no clock to compare with, and no task waits
        return self._paused_until - _clock.now() if self._paused_until > float("-inf") else 0.0


class _Service:
    """A service whose last requests have failed."""

    def __init__(self) -> None:
        self.last = ""
        """What the last failure said."""
        self.failures = 0
        self.began = _clock.now()
        self.probe_delays: Generator[float, None, None] | None = None
        """Set while it has an outage."""
        self.next_probe = 0.0
        self.over = anyio.Event()
        self.turns = {True: anyio.Lock(), False: anyio.Lock()}
        """Those who wait, in two lines: requests that may be sent twice, and executions."""

    def schedule_probe(self, probe_delays: Generator[float, None, None]) -> None:
        """Set when the next probe is due."""
        self.next_probe = max(self.next_probe, _clock.now() + next(probe_delays))


class CircuitBreaker:
    """Hold back the calls to a service of UP42 during its outage: one at a time probes, the others wait.

    Without it a moment of 503 would fail all calls that wait for a slot: each would fail at once and hand its slot to
    the next, and the retry budget would be gone with the first twenty.

    Each service (`/v2/processing`, `/v2/assets` ...) has an outage of its own, so that one does not stop the others.
    A probe is due after `RetryPolicy.wait_initial`, then after twice that, up to `wait_max`, less up to a half at
    random; by that clock alone, so that a probe that hangs or is cancelled does not hold up the next.

    A request that must not be sent twice would be lost as a probe, so it lets those pass that may: it is due
    `wait_initial` later, and by then any other that waits has taken the probe.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failing: dict[str, _Service] = {}

    def is_open(self, request: ApiRequest) -> bool:
        """Return whether the service of a request has an outage."""
        service = self._failing.get(_name(request))
        return service is not None and service.probe_delays is not None

    def allows(self, request: ApiRequest) -> bool:
        """Return whether a request may be sent now; during an outage this takes the probe that is due."""
        service = self._failing.get(_name(request))
        if service is None or service.probe_delays is None:
            return True
        if _clock.now() < self._due(service, request):
            return False
        service.schedule_probe(service.probe_delays)
        return True

    def record(self, request: ApiRequest, outcome: object) -> None:
        """Note how a request ended: with an answer, or the error in its place.

        Errors that pass make an outage, but for 429: then UP42 is up, and its pace is another matter.
        """
        if not isinstance(outcome, APIError) or not outcome.transient or isinstance(outcome, RateLimitError):
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
        """Wait until `allows` may say yes, the caller holding no slot; return False when the deadline comes first."""
        service = self._failing.get(_name(request))
        if service is None:
            return True
        with anyio.CancelScope(deadline=deadline) as scope:
            async with service.turns[request.idempotent]:  # only the first in line watches the clock
                while not service.over.is_set() and (left := self._due(service, request) - _clock.now()) > 0:
                    await _clock.wait_for(service.over, left)
        return not scope.cancelled_caught

    def given_up(self, request: ApiRequest) -> ConnectionFailedError:
        """Return the error for a call that waited in vain for the end of an outage."""
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
    """Return the beginning of a path, which names the service that answers: `/v2/processing`."""
    return "/".join(request.path.split("/", 3)[:3])
