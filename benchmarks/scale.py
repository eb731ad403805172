"""How much to measure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes and numbers of rounds: all of it, or a quick look."""

    name: str
    rounds: int
    """Rounds of what is over in a second or two."""
    few: int
    """Rounds of what takes longer."""
    jobs: int
    many_jobs: int
    calls: int
    burst: int
    tracked: tuple[int, ...]
    tracked_for: tuple[float, float]
    """Between these, in seconds, the jobs end."""
    templates: int
    file: int
    """Bytes of the file that is downloaded."""
    modelled: tuple[int, ...]
    """Jobs that the library itself tracks in virtual time."""
    polled: tuple[int, ...]
    """Recorded jobs that are replayed at once."""


FULL: Final = Scale(
    name="full",
    rounds=5,
    few=2,
    jobs=10_000,
    many_jobs=100_000,
    calls=1000,
    burst=500,
    tracked=(100, 500, 2000),
    tracked_for=(2.0, 15.0),
    templates=200,
    file=1_000_000_000,
    modelled=(100, 1000, 3000),
    polled=(1, 10, 100, 500, 2000, 10_000),
)
QUICK: Final = Scale(
    name="quick",
    rounds=2,
    few=1,
    jobs=2000,
    many_jobs=6000,
    calls=300,
    burst=300,
    tracked=(200,),
    tracked_for=(1.0, 4.0),
    templates=30,
    file=60_000_000,
    modelled=(100, 1000),
    polled=(10, 500),
)
