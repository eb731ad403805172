"""The way of a job through its statuses, drawn once when the job is made and then only looked up."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal

import attrs

from up42_async.sandbox._scaled_clock import SECOND
from up42_async.sandbox._settings import Ending

Steps = Sequence[tuple[float, str]]
"""Offsets in sandbox seconds from some instant, never falling, each with the status that begins there."""

Outcome = Literal["success", "failure", "invalid", "rejected", "unlicensed"]

CREATED, LICENSED, VALID, ACCEPTED, RUNNING = "created", "licensed", "valid", "accepted", "running"
SUCCESSFUL, CAPTURED, FAILED, RELEASED = "successful", "captured", "failed", "released"
INVALID, REJECTED, UNLICENSED = "invalid", "rejected", "unlicensed"

STATUSES = (
    CREATED,
    LICENSED,
    UNLICENSED,
    VALID,
    INVALID,
    ACCEPTED,
    REJECTED,
    RUNNING,
    SUCCESSFUL,
    FAILED,
    CAPTURED,
    RELEASED,
)
SUCCEEDED = frozenset({SUCCESSFUL, CAPTURED})
REFUSED = frozenset({INVALID, REJECTED, UNLICENSED})
ENDED = SUCCEEDED | REFUSED | {FAILED, RELEASED}

_PATHS: dict[str, tuple[str, ...]] = {
    CREATED: (CREATED,),
    UNLICENSED: (CREATED, UNLICENSED),
    LICENSED: (CREATED, LICENSED),
    INVALID: (CREATED, LICENSED, INVALID),
    VALID: (CREATED, LICENSED, VALID),
    REJECTED: (CREATED, LICENSED, VALID, REJECTED),
    ACCEPTED: (CREATED, LICENSED, VALID, ACCEPTED),
    RUNNING: (CREATED, LICENSED, VALID, ACCEPTED, RUNNING),
    SUCCESSFUL: (CREATED, LICENSED, VALID, ACCEPTED, RUNNING, SUCCESSFUL),
    CAPTURED: (CREATED, LICENSED, VALID, ACCEPTED, RUNNING, SUCCESSFUL, CAPTURED),
    FAILED: (CREATED, LICENSED, VALID, ACCEPTED, RUNNING, FAILED),
    RELEASED: (CREATED, LICENSED, VALID, ACCEPTED, RUNNING, FAILED, RELEASED),
}
_CHECK_SECONDS = (0.5, 3.0)
_QUEUE_SECONDS = (5.0, 60.0)
_CLEARING_SECONDS = (5.0, 40.0)
_PROCESSING_MEDIAN_SECONDS = 15 * 60.0
_PROCESSING_SPREAD = 0.6
_PROCESSING_LIMITS = (2 * 60.0, 50 * 60.0)

LONGEST = 3600 * SECOND
"""No life takes longer: with checks, queue and clearing, the longest processing stays below it."""


@attrs.frozen
class Timeline:
    """Say which status a job has at which instant."""

    instants: tuple[int, ...]
    statuses: tuple[str, ...]

    def index_at(self, now: int) -> int:
        """Return the position of the status that holds now; before the first instant that is the first one."""
        return max(bisect_right(self.instants, now) - 1, 0)

    def started_by(self, index: int) -> int | None:
        """Return when the job began to run, if it has by the status at this position."""
        return self._first({RUNNING}, index)

    def finished_by(self, index: int) -> int | None:
        """Return when the job came to its end, if it has by the status at this position."""
        return self._first(ENDED, index)

    def _first(self, wanted: Iterable[str], index: int) -> int | None:
        reached = zip(self.instants[: index + 1], self.statuses, strict=False)
        return next((instant for instant, status in reached if status in wanted), None)

    def changed(self, now: int, status: str) -> "Timeline":
        """Return the same past with another status from now on, and nothing after it."""
        return self.continued(now, [(0.0, status)])

    def continued(self, now: int, steps: "Steps") -> "Timeline":
        """Return the same past with other steps from now on; their offsets count from now."""
        kept = self.index_at(now) + 1
        future = scripted(max(now, self.instants[0]), steps)
        return Timeline((*self.instants[:kept], *future.instants), (*self.statuses[:kept], *future.statuses))

    def steps(self) -> "Steps":
        """Return it as offsets in seconds from its first instant, with the statuses."""
        first = self.instants[0]
        offsets = ((instant - first) / SECOND for instant in self.instants)
        return tuple(zip(offsets, self.statuses, strict=True))


def scripted(start: int, steps: Steps) -> Timeline:
    """Build a timeline from exact steps.

    Args:
        start: The instant from which the offsets count.
        steps: Pairs of offset (sandbox seconds from the start, not falling) and status; at least one.

    Raises:
        ValueError: There is no step, or an offset is smaller than the one before it.
    """
    offsets = [offset for offset, _ in steps]
    if not steps or offsets != sorted(offsets):
        raise ValueError(f"A timeline needs at least one (offset, status), offsets never falling; got {steps!r}.")
    return Timeline(tuple(start + round(offset * SECOND) for offset in offsets), tuple(status for _, status in steps))


def draw(random: Random, start: int, outcome: Outcome, ending: Ending) -> Timeline:
    """Draw a whole life from the generator: seconds of checks, a short queue, minutes of processing."""
    return resting(random, start, _final_status(random, outcome, ending))


def resting(random: Random, start: int, status: str) -> Timeline:
    """Draw a life that leads to this status, through all that come before it, and then stays there."""
    path = _PATHS.get(status, (*_PATHS[RUNNING], status))
    offset, steps = 0.0, [(0.0, path[0])]
    for step in path[1:]:
        offset += _seconds_before(random, step)
        steps.append((offset, step))
    return scripted(start, steps)


def _final_status(random: Random, outcome: Outcome, ending: Ending) -> str:
    if outcome in REFUSED:
        return outcome
    goes_on = random.random() < 0.5 if ending == "mixed" else ending == "captured"  # noqa: PLR2004 - one of two ends
    if outcome == "success":
        return CAPTURED if goes_on else SUCCESSFUL
    return RELEASED if goes_on else FAILED


def _seconds_before(random: Random, status: str) -> float:
    if status == RUNNING:
        return random.uniform(*_QUEUE_SECONDS)
    if status in {CAPTURED, RELEASED}:
        return random.uniform(*_CLEARING_SECONDS)
    if status in {SUCCESSFUL, FAILED}:
        shortest, longest = _PROCESSING_LIMITS
        drawn = _PROCESSING_MEDIAN_SECONDS * random.lognormvariate(0.0, _PROCESSING_SPREAD)
        return min(max(drawn, shortest), longest)
    return random.uniform(*_CHECK_SECONDS)
