"""The statuses of a job, and its timeline: the instants at which they begin."""

from bisect import bisect_right
from collections.abc import Collection, Sequence

import attrs

from up42_async.sandbox._scaled_clock import SECOND

Steps = Sequence[tuple[float, str]]
"""Offsets in sandbox seconds from an instant, not decreasing, each with the status that begins there."""

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

PATHS: dict[str, tuple[str, ...]] = {
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
"""The statuses on the way to each status."""


@attrs.frozen
class Timeline:
    """The statuses of a job over time.

    Args:
        instants: When each status begins, in nanoseconds since 1970, not decreasing.
        statuses: The statuses, in the order of the instants.
        first_finish: When the first run of a restarted job finished. Such a job is RUNNING twice; the platform was
            recorded to keep the `finished` of the first run when it sets the `started` of the second.
    """

    instants: tuple[int, ...]
    statuses: tuple[str, ...]
    first_finish: int | None = None

    def index_at(self, now: int) -> int:
        """Return the position of the status at an instant; 0 before the first instant."""
        return max(bisect_right(self.instants, now) - 1, 0)

    def started_by(self, index: int) -> int | None:
        """Return when the last run up to this position began; None if there is none."""
        return next(reversed(self._instants_of({RUNNING}, index)), None)

    def finished_by(self, index: int) -> int | None:
        """Return when the job ended up to this position, or its first run if it was restarted; None if neither has."""
        runs = self._instants_of({RUNNING}, index)
        return next(iter(self._instants_of(ENDED, index)), self.first_finish if len(runs) > 1 else None)

    def _instants_of(self, wanted: Collection[str], index: int) -> list[int]:
        reached = zip(self.instants[: index + 1], self.statuses, strict=False)
        return [instant for instant, status in reached if status in wanted]

    def changed(self, now: int, status: str) -> "Timeline":
        """Return the timeline up to now, followed by one last status."""
        return self.continued(now, [(0.0, status)])

    def continued(self, now: int, steps: "Steps") -> "Timeline":
        """Return the timeline up to now, followed by steps whose offsets count from now."""
        kept = self.index_at(now) + 1
        future = scripted(max(now, self.instants[0]), steps)
        instants, statuses = (*self.instants[:kept], *future.instants), (*self.statuses[:kept], *future.statuses)
        return Timeline(instants, statuses, self.first_finish)

    def steps(self) -> "Steps":
        """Return offsets in seconds from the first instant, with the statuses."""
        first = self.instants[0]
        offsets = ((instant - first) / SECOND for instant in self.instants)
        return tuple(zip(offsets, self.statuses, strict=True))


def scripted(start: int, steps: Steps) -> Timeline:
    """Build a timeline from exact steps.

    Args:
        start: The instant from which the offsets count.
        steps: Pairs of offset (sandbox seconds from the start, not decreasing) and status; at least one.

    Raises:
        ValueError: There is no step, or an offset is smaller than the one before it.
    """
    offsets = [offset for offset, _ in steps]
    if not steps or offsets != sorted(offsets):
        raise ValueError(f"A timeline needs at least one (offset, status), offsets never falling; got {steps!r}.")
    return Timeline(tuple(start + round(offset * SECOND) for offset in offsets), tuple(status for _, status in steps))
