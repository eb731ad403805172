"""The lives of jobs: short ones, the default, which all end; `_recorded_lives` has the other kind."""

from abc import abstractmethod
from random import Random
from typing import Protocol

import attrs

from up42_async.sandbox._lifecycle import (
    CAPTURED,
    FAILED,
    PATHS,
    RELEASED,
    RUNNING,
    SUCCESSFUL,
    Timeline,
    scripted,
)
from up42_async.sandbox._scaled_clock import SECOND
from up42_async.sandbox._settings import Ending

_CHECK_SECONDS = (0.5, 3.0)
_QUEUE_SECONDS = (5.0, 60.0)
_CLEARING_SECONDS = (0.07, 1.77)
"""From the end of processing to CAPTURED or RELEASED, as recorded."""
_PROCESSING_MEDIAN_SECONDS = 12 * 60.0
_PROCESSING_SPREAD = 0.4
_PROCESSING_LIMITS = (2 * 60.0, 30 * 60.0)

LONGEST = 3600 * SECOND
"""No short life takes longer."""


@attrs.frozen(kw_only=True)
class Life:
    """The life of one job.

    Args:
        timeline: Its statuses over time.
        is_free: Whether it costs no credits.
        shows_collection: Whether it names a collection without having succeeded, as a few recorded jobs do.
    """

    timeline: Timeline
    is_free: bool = False
    shows_collection: bool = False


class Lives(Protocol):
    """Draws the lives of jobs."""

    @abstractmethod
    def executed(self, start: int, price: int) -> Life:
        """Draw the life of an executed job that passes all checks.

        Args:
            start: The instant of its creation.
            price: Its price in credits.
        """

    @abstractmethod
    def seeded(self, start: int, price: int) -> Life:
        """Draw the life of a seeded job; the arguments are those of `executed`."""

    @abstractmethod
    def refused(self, start: int, status: str) -> Life:
        """Draw the life of a job that ends as INVALID, REJECTED or UNLICENSED."""


class ShortLives:
    """Draws lives that end within half an hour: seconds of checks, a short queue, minutes of processing.

    Args:
        random: The generator.
        ending: The last statuses of jobs with credits; jobs without credits end as SUCCESSFUL or FAILED.
        failure_rate: The share of jobs that fail.
    """

    def __init__(self, random: Random, ending: Ending, failure_rate: float) -> None:
        self._random = random
        self._ending = ending
        self._failure_rate = failure_rate

    def executed(self, start: int, price: int) -> Life:
        """Draw a life that ends as the settings require."""
        failed = self._random.random() < self._failure_rate
        is_cleared = self._random.random() < 0.5 if self._ending == "mixed" else self._ending == "captured"  # noqa: PLR2004 - one half
        if price == 0 or not is_cleared:
            return resting(self._random, start, FAILED if failed else SUCCESSFUL)
        return resting(self._random, start, RELEASED if failed else CAPTURED)

    def seeded(self, start: int, price: int) -> Life:
        """Draw the same."""
        return self.executed(start, price)

    def refused(self, start: int, status: str) -> Life:
        """Draw a few seconds of checks."""
        return resting(self._random, start, status)


def resting(random: Random, start: int, status: str) -> Life:
    """Draw a life that passes all statuses before a status, and keeps that one."""
    path = PATHS.get(status, (*PATHS[RUNNING], status))
    offset, steps = 0.0, [(0.0, path[0])]
    for step in path[1:]:
        offset += _seconds_before(random, step)
        steps.append((offset, step))
    return Life(timeline=scripted(start, steps))


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
