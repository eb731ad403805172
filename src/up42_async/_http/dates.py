"""Read the timestamps of UP42's JSON and the dates of HTTP headers."""

import datetime as dt
import email.utils
from collections.abc import Mapping
from typing import Any

from up42_async import _clock


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


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return the same instant in UTC, where one without an offset is already.

    Raises:
        ValueError: It lies outside the years 2 to 9998. The first and the last year that Python knows are left out so
            that times can be added to the result.
    """
    if not 2 <= moment.year <= 9998:  # noqa: PLR2004 - see above
        raise ValueError("a timestamp before the year 2 or after 9998")
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def http_date(value: str | None) -> dt.datetime | None:
    """Read the date of an HTTP header, None when there is none that can be read."""
    try:
        return in_utc(email.utils.parsedate_to_datetime(value or ""))
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long an answer asks to wait.

    Args:
        headers: Of the answer: `retry-after` in seconds or as a date, and `date`, so that our own clock may be wrong.

    Returns:
        Seconds to wait, 0 or more; None when the header is missing or says nothing that can be used.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    until = http_date(value)
    if until is None:
        return None
    now = http_date(headers.get("date"))
    if now is None:  # our own clock knows fractions, the server's date was cut to whole seconds
        now = dt.datetime.fromtimestamp(_clock.wall() - 1, dt.UTC)
    return max(0.0, (until - now).total_seconds())
