"""Draw from a seed which troubles come when, so that a run can be repeated."""

from random import Random
from typing import Final

import attrs

from benchmarks.faults.troubles import TROUBLES

CLIENTS: Final = 3
SPEED: Final = 360.0
"""An hour of processing takes ten seconds."""
SHORTEST: Final = 0.04
LONGEST: Final = 0.1
"""How long a trouble lasts, in parts of the run."""


@attrs.frozen(kw_only=True)
class Spell:
    """A time in which one kind of trouble comes."""

    trouble: str
    """Its name in `TROUBLES`."""
    start: float
    """Seconds from the beginning of the run."""
    end: float
    """The same."""


@attrs.frozen(kw_only=True)
class Plan:
    """What goes wrong in one run, and when."""

    seed: int
    """What it was drawn from; cancellations and workloads are drawn from it, too."""
    seconds: float
    """How long things go wrong; what is under way then is brought to its end in peace."""
    clients: int
    """How many clients there are, each with a crowd of its own."""
    speed: float
    """Seconds of the platform for each of ours."""
    spells: tuple[Spell, ...]
    """In the order in which they begin."""

    @classmethod
    def draw(cls, seed: int, seconds: float, *, clients: int = CLIENTS, speed: float = SPEED) -> "Plan":
        """Draw one: each trouble comes at least twice, at times of its own, so that several are there at once.

        Args:
            seed: Any number.
            seconds: How long things go wrong, above 0.
            clients: How many clients there are, at least 1.
            speed: Seconds of the platform for each of ours, above 0.
        """
        dice = Random(f"plan {seed}")  # noqa: S311 - idempotent on purpose, no secret
        spells = [_spell(dice, name, seconds) for name in sorted(TROUBLES) for _ in range(2)]
        return cls(
            seed=seed,
            seconds=seconds,
            clients=clients,
            speed=speed,
            spells=tuple(sorted(spells, key=lambda spell: spell.start)),
        )

    def active(self, moment: float) -> frozenset[str]:
        """Return the troubles that are there at a moment.

        Args:
            moment: Seconds from the beginning of the run.
        """
        return frozenset(spell.trouble for spell in self.spells if spell.start <= moment < spell.end)


def _spell(dice: Random, name: str, seconds: float) -> Spell:
    length = seconds * dice.uniform(SHORTEST, LONGEST) * TROUBLES[name].length
    start = dice.uniform(0.02 * seconds, seconds - length)
    return Spell(trouble=name, start=start, end=start + length)
