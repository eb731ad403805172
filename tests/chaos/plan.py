"""Draw from a seed which faults come when, so that a run can be repeated."""

from random import Random
from typing import Final

import attrs

import up42_async as up42
from tests.chaos.faults import FAULTS

CLIENTS: Final = 3
EXECUTORS: Final = 24
POLLING: Final = up42.Polling()
SPEED: Final = 360.0
"""An hour of processing takes ten seconds."""
SHORTEST: Final = 0.04
LONGEST: Final = 0.1
"""How long a fault lasts, in parts of the run."""


@attrs.frozen(kw_only=True)
class Spell:
    """A time in which one kind of fault comes."""

    fault: str
    """Its name in `FAULTS`."""
    start: float
    """Seconds from the beginning of the run."""
    end: float
    """The same."""


@attrs.frozen(kw_only=True)
class Plan:
    """The faults of one run, and their times."""

    seed: int
    """What it was drawn from; cancellations and workloads are drawn from it, too."""
    seconds: float
    """How long things go wrong; what is under way then is brought to its end undisturbed."""
    clients: int
    """How many clients there are, each with a crowd of its own."""
    speed: float
    """Seconds of the platform for each of ours."""
    executors: int
    """How many execute templates with each client, at the same time."""
    polling: up42.Polling
    """How soon clients look again at what may be lost or finished."""
    spells: tuple[Spell, ...]
    """In the order in which they begin."""

    @classmethod
    def draw(
        cls,
        seed: int,
        seconds: float,
        *,
        clients: int = CLIENTS,
        executors: int = EXECUTORS,
        speed: float = SPEED,
        polling: up42.Polling = POLLING,
    ) -> "Plan":
        """Draw one: each fault comes at least twice, at times of its own, so that several are there at once.

        Args:
            seed: Any number.
            seconds: How long things go wrong, above 0.
            clients: How many clients there are, at least 1.
            executors: How many execute templates with each client, at least 1.
            speed: Seconds of the platform for each of ours, above 0.
            polling: How soon clients look again at what may be lost or finished.
        """
        dice = Random(f"plan {seed}")  # noqa: S311 - idempotent on purpose, no secret
        spells = [_spell(dice, name, seconds) for name in sorted(FAULTS) for _ in range(2)]
        return cls(
            seed=seed,
            seconds=seconds,
            clients=clients,
            executors=executors,
            speed=speed,
            polling=polling,
            spells=tuple(sorted(spells, key=lambda spell: spell.start)),
        )

    def active(self, moment: float) -> frozenset[str]:
        """Return the faults that are there at a moment.

        Args:
            moment: Seconds from the beginning of the run.
        """
        return frozenset(spell.fault for spell in self.spells if spell.start <= moment < spell.end)


def _spell(dice: Random, name: str, seconds: float) -> Spell:
    length = seconds * dice.uniform(SHORTEST, LONGEST) * FAULTS[name].length
    start = dice.uniform(0.02 * seconds, seconds - length)
    return Spell(fault=name, start=start, end=start + length)
