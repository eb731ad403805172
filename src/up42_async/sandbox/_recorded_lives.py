"""Lives as 863 real jobs were recorded (`docs/platform.md`): most end within minutes, some never end."""

from collections.abc import Sequence
from random import Random
from typing import Generic, TypeVar

import attrs

from up42_async.sandbox import _recorded_times
from up42_async.sandbox._lifecycle import (
    ACCEPTED,
    CAPTURED,
    CREATED,
    FAILED,
    INVALID,
    LICENSED,
    RELEASED,
    RUNNING,
    SUCCESSFUL,
    VALID,
    Steps,
    scripted,
)
from up42_async.sandbox._lives import Life, resting
from up42_async.sandbox._scaled_clock import SECOND

_RESTARTED = "restarted"
_WITH_CREDITS = (
    *[CAPTURED] * 196,
    *[SUCCESSFUL] * 2,
    *[RELEASED] * 64,
    *[RUNNING] * 38,
    *[_RESTARTED] * 11,
    *[ACCEPTED] * 13,
    *[VALID] * 3,
    CREATED,
)
_WITHOUT_CREDITS = (*[SUCCESSFUL] * 37, *[FAILED] * 14, *[RUNNING] * 4, _RESTARTED, *[ACCEPTED] * 4)
_REFUSED = (INVALID,) * 44
"""The statuses of the 432 recorded jobs more than a week after their creation; those under way then never end."""

_RESTARTED_WITH_COLLECTION = 2 / 12
_RELEASED_WITH_COLLECTION = 1 / 132
_ACCEPTED_SECONDS = (0.55, 2.45)
_VALID_SECONDS = (0.14, 1.67)
_FIRST_START_SECONDS = (5.0, 20.0)
_LICENSED_AT, _VALID_AT = 0.1, 0.3
"""Where on the way to the status that ends the checks the others begin; the records do not say."""
_STRATA = 200

T = TypeVar("T")


class Deck(Generic[T]):
    """Deals cards in random order, all of them once before any comes again, so that shares are exact.

    Args:
        random: Shuffles the cards.
        cards: The cards.
    """

    def __init__(self, random: Random, cards: Sequence[T]) -> None:
        self._random = random
        self._cards = cards
        self._left: list[T] = []

    def deal(self) -> T:
        """Return the next card."""
        if not self._left:
            self._left = self._random.sample(self._cards, len(self._cards))
        return self._left.pop()


class Times:
    """Draws times from a quantile table: stratified, so that the quantiles of many are those of the table.

    Args:
        random: The generator.
        table: Quantiles at equal steps from the smallest to the largest, in seconds, all above 0.
    """

    def __init__(self, random: Random, table: Sequence[float]) -> None:
        self._random = random
        self._table = table
        self._strata = Deck(random, range(_STRATA))

    def draw(self) -> float:
        """Return a number of seconds."""
        position = (self._strata.deal() + self._random.random()) / _STRATA * (len(self._table) - 1)
        index = int(position)
        low, high = self._table[index], self._table[index + 1]
        return float(low * (high / low) ** (position - index))  # times are spread evenly by order of magnitude


class RecordedLives:
    """Draws lives as they were recorded: shares of endings, queue and run times, restarts, jobs that hang for ever.

    Args:
        random: The generator.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._with_credits = Deck(random, _WITH_CREDITS)
        self._without_credits = Deck(random, _WITHOUT_CREDITS)
        every = [(status, False) for status in (*_WITH_CREDITS, *_REFUSED)]
        self._all = Deck(random, [*every, *((status, True) for status in _WITHOUT_CREDITS)])
        self._queue = Times(random, _recorded_times.QUEUE)
        self._run = Times(random, _recorded_times.RUN)
        self._clearing = Times(random, _recorded_times.CLEARING)
        self._invalidation = Times(random, _recorded_times.INVALIDATION)
        self._acceptance = Times(random, _recorded_times.ACCEPTANCE)
        self._hanging_queue = Times(random, _recorded_times.HANGING_QUEUE)
        self._first_finish = Times(random, _recorded_times.FIRST_FINISH)
        self._restart = Times(random, _recorded_times.RESTART)

    def executed(self, start: int, price: int) -> Life:
        """Draw a life from those of recorded jobs that passed all checks, with or without credits."""
        deck = self._with_credits if price else self._without_credits
        return self._life(start, deck.deal(), is_free=price == 0)

    def seeded(self, start: int, price: int) -> Life:
        """Draw a life from those of all recorded jobs."""
        if price == 0:
            return self.executed(start, price)
        status, is_free = self._all.deal()
        return self._life(start, status, is_free=is_free)

    def refused(self, start: int, status: str) -> Life:
        """Draw a life that ends at a check: within a second most often, after hours at times."""
        return self._life(start, status, is_free=False) if status == INVALID else resting(self._random, start, status)

    def _life(self, start: int, status: str, *, is_free: bool) -> Life:
        if status == _RESTARTED:
            return self._restarted(start, is_free=is_free)
        timeline = scripted(start, self._steps(status))
        shows_collection = status == RELEASED and self._random.random() < _RELEASED_WITH_COLLECTION
        return Life(timeline=timeline, is_free=is_free, shows_collection=shows_collection)

    def _steps(self, status: str) -> Steps:
        if status == CREATED:
            return [(0.0, CREATED)]
        if status == VALID:
            return _checked(VALID, self._random.uniform(*_VALID_SECONDS))
        if status == INVALID:
            return _checked(INVALID, self._invalidation.draw())
        if status == ACCEPTED:
            return _checked(ACCEPTED, self._acceptance.draw())
        accepted = _checked(ACCEPTED, self._random.uniform(*_ACCEPTED_SECONDS))
        if status == RUNNING:
            return [*accepted, (self._hanging_queue.draw(), RUNNING)]
        started = self._queue.draw()
        finished = started + self._run.draw()
        steps = [*accepted, (started, RUNNING), (finished, FAILED if status in {FAILED, RELEASED} else SUCCESSFUL)]
        return steps if status in {FAILED, SUCCESSFUL} else [*steps, (finished + self._clearing.draw(), status)]

    def _restarted(self, start: int, *, is_free: bool) -> Life:
        """Draw a job that ran, was started again, and then hangs, as all recorded ones of this kind do."""
        finished = self._first_finish.draw()
        started = min(self._random.uniform(*_FIRST_START_SECONDS), finished / 2)
        again = finished + self._restart.draw()
        accepted = _checked(ACCEPTED, self._random.uniform(*_ACCEPTED_SECONDS))
        timeline = scripted(start, [*accepted, (started, RUNNING), (again, RUNNING)])
        return Life(
            timeline=attrs.evolve(timeline, first_finish=start + round(finished * SECOND)),
            is_free=is_free,
            shows_collection=self._random.random() < _RESTARTED_WITH_COLLECTION,
        )


def _checked(status: str, seconds: float) -> Steps:
    """Return the steps from the creation to the status that ends the checks after a number of seconds."""
    steps = [(0.0, CREATED), (_LICENSED_AT * seconds, LICENSED)]
    if status == ACCEPTED:
        steps.append((_VALID_AT * seconds, VALID))
    return [*steps, (seconds, status)]
