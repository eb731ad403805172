"""The schedule by which the status of jobs is queried, and the checks of its arguments."""

from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol, cast

import attrs

from up42_async._config.arguments import Attribute, integer, is_integer, is_real, real

ADAPTIVE: Final = "adaptive"

Wait = float | Literal["adaptive"] | Callable[[], Iterator[float | None]]
"""Seconds between two queries for a job, "adaptive" for what fits its age, or a callable that returns a generator."""

LONGEST_WAIT: Final = 1e9
"""Most seconds between two queries: thirty years, finite so that it can be added to a time."""


def checked_wait(value: object) -> Wait:
    """Return the argument `wait`, checked.

    Raises:
        TypeError: It is not a number, "adaptive" or a callable.
        ValueError: It is a number that is not from 0 to 1e9, or another string than "adaptive".
    """
    if callable(value):
        return cast("Callable[[], Iterator[float | None]]", value)
    if isinstance(value, str):
        if value != ADAPTIVE:
            raise ValueError(f'wait must be a number of seconds, "{ADAPTIVE}" or a callable, not {value!r:.80}')
        return ADAPTIVE
    return checked_interval(value)


def checked_interval(value: object) -> float:
    """Return the seconds between two queries, checked.

    Raises:
        TypeError: The value is not a number.
        ValueError: It is not from 0 to 1e9.
    """
    return real(value, "wait", least=0, most=LONGEST_WAIT, unit="seconds")


def checked_retries(value: object) -> int:
    """Return the most queries for a job, checked.

    Raises:
        TypeError: The value is not a whole number.
        ValueError: It is less than 1.
    """
    return integer(value, "retries", least=1, unit="queries")


def _is_wait(instance: object, attribute: Attribute, value: object) -> None:
    object.__setattr__(instance, attribute.name, checked_wait(value))


_SECONDS: Final = is_real(least=0, most=LONGEST_WAIT, unit="seconds")


class PollingLike(Protocol):
    """Any object with the fields of `Polling`, such as the sandbox's own."""

    @property
    def wait(self) -> Wait:
        """Seconds between two queries for a job, "adaptive", or a callable that returns a generator."""
        ...

    @property
    def retries(self) -> int:
        """Most queries for a job."""
        ...

    @property
    def settle(self) -> float:
        """Seconds after which an unchanged SUCCESSFUL or FAILED is final."""
        ...

    @property
    def recover(self) -> float:
        """Seconds for which the client looks for a lost job."""
        ...

    @property
    def visible(self) -> float:
        """Seconds for which the client waits until results are visible."""
        ...


@attrs.frozen(kw_only=True)
class Polling:
    """The schedule of `track` when it is called without one, and the longest waits for other things of UP42.

    By default, as in up42-py, a job is queried every 60 seconds for 3 days.
    """

    wait: Wait = attrs.field(default=60.0, validator=_is_wait)
    """Seconds between two queries for a job, from 0 to 1e9; `"adaptive"` for 5 to 640, growing with the age of the
    job; or a callable without arguments that returns a generator of seconds."""
    retries: int = attrs.field(default=60 * 24 * 3, validator=is_integer(least=1, unit="queries"))
    """Most queries for a job, at least 1; 4320 queries every 60 seconds are 3 days."""
    settle: float = attrs.field(default=5.0, validator=_SECONDS)
    """Seconds after which an unchanged SUCCESSFUL or FAILED is final, from 0 to 1e9; the credits of 527 recorded jobs
    were captured or released within 1.8 seconds."""
    recover: float = attrs.field(default=60.0, validator=_SECONDS)
    """Seconds, from 0 to 1e9, for which the client looks for the job of an execution whose answer was lost."""
    visible: float = attrs.field(default=15.0, validator=_SECONDS)
    """Seconds, from 0 to 1e9, for which the client waits until the results of a finished job are visible."""


def checked_polling(given: object) -> Polling:
    """Return the argument `polling`, checked: any object with the fields of `Polling`.

    Raises:
        TypeError: The object lacks a field, or one is of the wrong type.
        ValueError: A field is out of range.
    """
    if isinstance(given, Polling):
        return given
    names = [field.name for field in attrs.fields(Polling)]
    if not all(hasattr(given, name) for name in names):
        raise TypeError(f"polling must be Polling(...) or have its fields {', '.join(names)}, not {given!r:.80}")
    return Polling(**{name: getattr(given, name) for name in names})
