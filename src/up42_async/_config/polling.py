"""When jobs are asked for: the schedule that a client holds, and the checks of one that is given to `track`."""

from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol, cast

import attrs

from up42_async._config.arguments import Attribute, integer, is_integer, is_real, real

ADAPTIVE: Final = "adaptive"

Wait = float | Literal["adaptive"] | Callable[[], Iterator[float | None]]
"""Seconds between two queries for a job, "adaptive" for what fits its age, or a callable that returns a generator."""

LONGEST_WAIT: Final = 1e9
"""Seconds between two queries at the most: thirty years, finite so that it can be added to a time."""


def checked_wait(value: object) -> Wait:
    """Return what says how long to wait between two queries.

    Raises:
        TypeError: It is neither a number nor callable.
        ValueError: It is a number, but not from 0 to 1e9, or another word than "adaptive".
    """
    if callable(value):
        return cast("Callable[[], Iterator[float | None]]", value)
    if isinstance(value, str):
        if value != ADAPTIVE:
            raise ValueError(f'wait must be a number of seconds, "{ADAPTIVE}" or a callable, not {value!r:.80}')
        return ADAPTIVE
    return checked_interval(value)


def checked_interval(value: object) -> float:
    """Return the seconds between two queries.

    Raises:
        TypeError: They are no number.
        ValueError: They are not from 0 to 1e9.
    """
    return real(value, "wait", least=0, most=LONGEST_WAIT, unit="seconds")


def checked_retries(value: object) -> int:
    """Return how often a job is asked for at the most.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is less than 1.
    """
    return integer(value, "retries", least=1, unit="queries")


def _is_wait(instance: object, attribute: Attribute, value: object) -> None:
    object.__setattr__(instance, attribute.name, checked_wait(value))


_SECONDS: Final = is_real(least=0, most=LONGEST_WAIT, unit="seconds")


class PollingLike(Protocol):
    """Anything that says when jobs are asked for, such as `Polling` or the sandbox's own."""

    @property
    def wait(self) -> Wait:
        """Seconds between two queries for a job, or what makes a generator of them."""
        ...

    @property
    def retries(self) -> int:
        """How often a job is asked for at the most."""
        ...

    @property
    def settle(self) -> float:
        """Seconds after which SUCCESSFUL or FAILED, still the same, is the end."""
        ...

    @property
    def recover(self) -> float:
        """Seconds for which a lost job is looked for."""
        ...

    @property
    def visible(self) -> float:
        """Seconds that results may take to become visible."""
        ...


@attrs.frozen(kw_only=True)
class Polling:
    """When jobs are asked for: the schedule of `track` where none is given, and how long other waits for UP42 last.

    The reference's schedule is the default: every 60 seconds for 3 days.
    """

    wait: Wait = attrs.field(default=60.0, validator=_is_wait)
    """Seconds between two queries for a job, from 0 to 1e9; `"adaptive"` for 5 to 640, along its age; or a callable
    without arguments that returns a generator of seconds."""
    retries: int = attrs.field(default=60 * 24 * 3, validator=is_integer(least=1, unit="queries"))
    """How often a job is asked for at the most, 1 or more; at 60 seconds 4320 queries are 3 days."""
    settle: float = attrs.field(default=5.0, validator=_SECONDS)
    """Seconds after which SUCCESSFUL or FAILED, still the same, is the end of a job: credits are captured or released
    within 1.8 seconds (of 527 recorded jobs)."""
    recover: float = attrs.field(default=60.0, validator=_SECONDS)
    """Seconds for which the job of an execution whose answer was lost is looked for."""
    visible: float = attrs.field(default=15.0, validator=_SECONDS)
    """Seconds that the results of a job may take to become visible once it has ended."""

    @classmethod
    def of(cls, given: object) -> "Polling":
        """Return the schedule that anything with these fields names.

        Raises:
            TypeError: It lacks a field, or one is of the wrong kind.
            ValueError: A field cannot be right.
        """
        names = [field.name for field in attrs.fields(cls)]
        if isinstance(given, cls):
            return given
        if not all(hasattr(given, name) for name in names):
            raise TypeError(f"polling must be Polling(...) or have its fields {', '.join(names)}, not {given!r:.80}")
        return cls(**{name: getattr(given, name) for name in names})
