"""The sandbox's clock, and timestamps in the platform's format."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000
"""Instants are whole nanoseconds since 1970, because the platform's timestamps may have nine digits."""


class ScaledClock:
    """The clock of the sandbox: another clock, `speed` times as fast.

    Args:
        source: Returns seconds that never decrease, as `time.monotonic` does.
        speed: Sandbox seconds for each second of the source, above 0.
    """

    def __init__(self, source: Callable[[], float], speed: float) -> None:
        self._source = source
        self._speed = speed
        self._started = source()
        self._epoch = time.time_ns()
        self._ahead = 0

    def elapsed(self) -> float:
        """Return the seconds of the source since the sandbox was made, not scaled."""
        return self._source() - self._started

    def now(self) -> int:
        """Return the instant at the sandbox: it starts at the wall clock's and runs `speed` times as fast."""
        return self._epoch + int(self.elapsed() * self._speed * SECOND) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the sandbox's time ahead by a number of sandbox seconds; `elapsed` does not change."""
        self._ahead += round(seconds * SECOND)

    def http_date(self, ahead: float = 0.0) -> str:
        """Return the Date header of an instant some seconds ahead of now."""
        return http_date(self.now() + round(ahead * SECOND))


def http_date(instant: int) -> str:
    """Write an instant as headers do."""
    return formatdate(instant // SECOND, usegmt=True)


def moment_of(instant: int) -> datetime:
    """Return an instant as a datetime in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=instant // 1000)


def cut_to_digits(instant: int, digits: int) -> int:
    """Round an instant down to the fractional digits of a timestamp."""
    return instant - instant % int(10 ** (9 - digits))


def timestamp(instant: int, digits: int) -> str:
    """Write an instant with 0 to 9 fractional digits and a final `Z`."""
    seconds, nanoseconds = divmod(instant, SECOND)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}"[: digits + 1] if digits else ""
    return f"{whole}{fraction}Z"


def instant_of(text: str) -> int:
    """Read a timestamp as RFC 3339 has it.

    Raises:
        ValueError: The text is not a timestamp, or has no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} says no offset from UTC.")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
