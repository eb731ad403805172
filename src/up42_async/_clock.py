"""Time: the clocks that all other modules read, and the timestamps of UP42's JSON."""

import datetime as dt
import time
from typing import Any

import anyio

now = anyio.current_time
"""Monotonic time of the running event loop in seconds, from an arbitrary start; tests run on a loop that skips time."""

wall = time.time
"""System time in seconds since 1970; it may jump, and unlike `now` goes on while the machine sleeps."""


def timestamp(value: Any) -> dt.datetime:
    """Read a timestamp as an aware datetime in UTC, exact to the microsecond.

    UP42 sends 0 to 9 fractional digits, and `Z` or an offset (`docs/platform.md`).

    Raises:
        ValueError: The value is not a timestamp, or lies outside the years 2 to 9998.
    """
    try:
        return in_utc(dt.datetime.fromisoformat(value))
    except TypeError:
        message = f"{value!r:.80} is not a timestamp"
        raise ValueError(message) from None


def as_text(moment: dt.datetime) -> str:
    """Return a datetime as UP42 reads it in queries and bodies: in UTC, with `Z`.

    Raises:
        ValueError: It lies outside the years 2 to 9998.
    """
    return in_utc(moment).isoformat().replace("+00:00", "Z")


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return a datetime in UTC; one without a time zone counts as UTC.

    Raises:
        ValueError: It lies outside the years 2 to 9998. The first and the last year of Python are refused so that time
            can be added to the result.
    """
    if not 2 <= moment.year <= 9998:  # noqa: PLR2004 - see above
        raise ValueError(f"{moment} lies before the year 2 or after 9998")
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
