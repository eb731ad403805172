"""Time: the only module that reads a clock or sleeps, so that tests can replace the clock and take no time.

It also reads and writes the timestamps of UP42's JSON.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import anyio


def now() -> float:
    """Return the monotonic time of the running event loop in seconds, from an arbitrary start."""
    return anyio.current_time()


def wall() -> float:
    """Return the system time in seconds since 1970; it may jump, and unlike `now` goes on while the machine sleeps."""
    return time.time()


async def sleep(seconds: float) -> None:
    """Wait for some seconds; 0 or less only lets the other tasks run."""
    await anyio.sleep(max(0.0, seconds))


async def wait_for(event: anyio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than some seconds; return whether it was set.

    Args:
        event: The event.
        seconds: How long to wait at most, in seconds; 0 or less only lets the other tasks run.
    """
    with anyio.move_on_after(max(0.0, seconds)):
        await event.wait()
    return event.is_set()


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
