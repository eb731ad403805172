"""How long to wait before a job is asked for again, along its age: fitted to what 432 recorded jobs did.

Half of them ended within 66 seconds, and one in six never: a share of the age finds the first ones soon and asks seldom
for the last.
"""

from typing import Final

SHORTEST: Final = 5.0
"""Seconds between two queries for a young job."""
DOUBLINGS: Final = 7
"""How often the interval doubles until it is the longest: 640 seconds."""

_SHARE_WHEN_YOUNG: Final = 0.1
_SHARE: Final = 0.05
_MINUTE: Final = 60.0


def interval(age: float) -> float:
    """Return the seconds between two queries for a job: 5, or so often doubled, up to 640.

    It is at most a tenth of the age up to a minute, and a twentieth beyond, so that an end is noticed within a minute
    or 5 % of the age, whichever is more. It is also the spacing of the grid on which these queries are due: each
    spacing holds all moments of the next one, so that jobs of different ages still meet.

    Args:
        age: Seconds since the job was created.
    """
    limit = max(min(age * _SHARE_WHEN_YOUNG, _MINUTE), age * _SHARE)
    doublings = 0
    while doublings < DOUBLINGS and SHORTEST * 2 ** (doublings + 1) <= limit:
        doublings += 1
    return SHORTEST * float(2**doublings)
