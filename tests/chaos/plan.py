"""The times of all faults, drawn from a seed, so that a run can be repeated."""

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
"""The shortest and the longest duration of a fault, as fractions of the run."""


@attrs.frozen(kw_only=True)
class Spell:
    """A period of one kind of fault."""

    fault: str
    """Its name in `FAULTS`."""
    start: float
    """Seconds from the start of the run."""
    end: float
    """Seconds from the start of the run."""


@attrs.frozen(kw_only=True)
class Plan:
    """The faults of one run, and their times."""

    seed: int
    """The seed of the faults, cancellations and workloads."""
    seconds: float
    """How long faults happen; after that, running work is completed without faults."""
    clients: int
    """Number of clients, each with tasks of its own."""
    speed: float
    """Seconds on the platform for each real second."""
    executors: int
    """Number of tasks that execute templates, for each client."""
    polling: up42.Polling
    """Polling settings of the clients."""
    spells: tuple[Spell, ...]
    """Periods of faults, by start."""

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
        """Draw a plan in which each fault has two periods, at random times, so that several faults overlap.

        Args:
            seed: Any number.
            seconds: How long faults happen, above 0.
            clients: Number of clients, at least 1.
            executors: Number of tasks that execute templates, for each client, at least 1.
            speed: Seconds on the platform for each real second, above 0.
            polling: Polling settings of the clients.
        """
        dice = Random(f"plan {seed}")  # noqa: S311 - repeatable on purpose, no secret
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
        """Return the names of the faults that are active at a time.

        Args:
            moment: Seconds from the start of the run.
        """
        return frozenset(spell.fault for spell in self.spells if spell.start <= moment < spell.end)


def _spell(dice: Random, name: str, seconds: float) -> Spell:
    length = seconds * dice.uniform(SHORTEST, LONGEST) * FAULTS[name].length
    start = dice.uniform(0.02 * seconds, seconds - length)
    return Spell(fault=name, start=start, end=start + length)
