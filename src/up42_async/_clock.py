"""Know the time: the only module that reads a clock or sleeps, so that tests can put days into milliseconds.

It also reads the moments in UP42's JSON.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import anyio


def now() -> float:
    """Return the monotonic time of the running event loop, in seconds since an arbitrary moment."""
    return anyio.current_time()


def wall() -> float:
    """Return the time of day, in seconds since 1970: it may jump, and unlike `now` goes on while a machine sleeps."""
    return time.time()


async def sleep(seconds: float) -> None:
    """Wait.

    Args:
        seconds: How long, in seconds; 0 or less only lets the other tasks run.
    """
    await anyio.sleep(max(0.0, seconds))


async def wait_for(event: anyio.Event, seconds: float) -> bool:
    """Wait until an event happens or the time is up, whichever comes first.

    Args:
        event: What to wait for.
        seconds: How long to wait at the most.

    Returns:
        Whether the event has happened.
    """
    with anyio.move_on_after(max(0.0, seconds)):
        await event.wait()
    return event.is_set()


def timestamp(value: Any) -> dt.datetime:
    """Read a timestamp as an aware datetime in UTC.

    UP42 sends 0 to 9 fractional digits and `Z` or an offset; all of it is exact to the microsecond.

    Raises:
        ValueError: It is no timestamp.
    """
    try:
        return in_utc(dt.datetime.fromisoformat(value))
    except TypeError:
        message = f"{value!r} is not a timestamp"
        raise ValueError(message) from None


def as_text(moment: dt.datetime) -> str:
    """Return a moment as UP42 reads it in queries and bodies: in UTC, with `Z`.

    Raises:
        ValueError: It lies outside the years 2 to 9998.
    """
    return in_utc(moment).isoformat().replace("+00:00", "Z")


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return the same instant in UTC, where one without an offset is already.

    Raises:
        ValueError: It lies outside the years 2 to 9998. The first and the last year that Python knows are left out so
            that times can be added to the result.
    """
    if not 2 <= moment.year <= 9998:  # noqa: PLR2004 - see above
        raise ValueError("a timestamp before the year 2 or after 9998")
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
