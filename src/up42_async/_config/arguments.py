"""Check arguments: one policy for numbers, strings and lists of strings.

A value of the wrong type is a `TypeError`, one out of range a `ValueError`; both name the argument and show the value.
A number is any `numbers.Integral` or `numbers.Real`, such as NumPy's, except a bool; it is returned as `int` or
`float`. A single string is refused where a list of strings is wanted, since its characters would be the entries.
"""

import datetime as dt
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeGuard, cast

import attrs

Attribute: TypeAlias = "attrs.Attribute[Any]"
Validator: TypeAlias = Callable[[Any, Attribute, Any], None]

_LARGEST: Final = 1e18


def integer(value: object, name: str, *, least: int, most: int | None = None, unit: str = "") -> int:
    """Return a whole number as an `int`.

    Args:
        value: The argument.
        name: Its name in the error.
        least: The smallest number allowed.
        most: The largest number allowed, None for no bound.
        unit: What is counted, for the error.

    Raises:
        TypeError: The value is not a whole number.
        ValueError: It is out of bounds.
    """
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    message = f"{name} must be a whole number {f'of {unit} ' if unit else ''}{bounds}, not {value!r:.80}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message)
    number = int(value)
    if number < least or (most is not None and number > most):
        raise ValueError(message)
    return number


def real(
    value: object,
    name: str,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    unit: str = "",
) -> float:
    """Return a number as an `int` or `float`; NaN is refused, and infinity unless `least` or `above` is given.

    Args:
        value: The argument.
        name: Its name in the error.
        least: The smallest number allowed.
        above: The number must be greater than this.
        most: The largest number allowed.
        unit: What is measured, for the error.

    Raises:
        TypeError: The value is not a number.
        ValueError: It is out of bounds.
    """
    is_bounded = max(least, above) > -math.inf
    noun = f"number of {unit}" if unit else "number"
    wanted = f"{noun} {_bounds(least, above, most)}" if is_bounded else f"finite {noun}"
    message = f"{name} must be a {wanted}, not {value!r:.80}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message)
    number = _plain(value)
    if not (least <= number <= most and (number > above or above == -math.inf)):  # NaN compares as False
        raise ValueError(message)
    if not is_bounded and abs(number) == math.inf:
        raise ValueError(message)
    return number


def _plain(value: numbers.Real) -> float:
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        return float(value)
    except OverflowError:  # a fraction of thousands of digits
        return math.nan


def _bounds(least: float, above: float, most: float) -> str:
    if above > -math.inf:
        return f"above {above:g}"
    return f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"


def moment(value: object, name: str) -> dt.datetime:
    """Return a datetime.

    Args:
        value: The argument.
        name: Its name in the error.

    Raises:
        TypeError: The value is not a datetime.
    """
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a datetime, not {value!r:.80}")
    return value


def string(value: object, name: str) -> str:
    """Return a string that is not empty.

    Args:
        value: The argument.
        name: Its name in the error.

    Raises:
        TypeError: The value is not a string.
        ValueError: It is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r:.80}")
    if not value:
        raise ValueError(f"{name} must not be an empty string")
    return value


def strings(values: object, name: str) -> list[str]:
    """Return a list of strings, none of them empty.

    Args:
        values: A list or any other iterable but a single string.
        name: Name of the argument in the error.

    Raises:
        TypeError: The value is a single string, not an iterable, or holds a value that is not a string.
        ValueError: It holds an empty string.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        hint = f"; write [{values!r:.80}]" if isinstance(values, str) else f", not {values!r:.80}"
        raise TypeError(f"{name} must be a list of strings{hint}")
    return [string(value, f"{name}[{position}]") for position, value in enumerate(values)]


def joinable(values: object, name: str) -> list[str]:
    """Return a list of strings that UP42 takes joined by commas.

    Args:
        values: A list or any other iterable but a single string.
        name: Name of the argument in the error.

    Raises:
        TypeError: The value is a single string, not an iterable, or holds a value that is not a string.
        ValueError: It holds an empty string, or one with a comma.
    """
    listed = strings(values, name)
    for value in listed:
        if "," in value:
            raise ValueError(f"{name} must not hold a comma: {value!r:.80}; give a list of several")
    return listed


def optional(check: Callable[..., Any], value: object, name: str, **more: Any) -> Any:
    """Return None for None, and the result of a check for any other value.

    Args:
        check: One of the functions above.
        value: The argument.
        name: Its name in the error.
        more: Further arguments of the check.
    """
    return None if value is None else check(value, name, **more)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value of an answer is a number that can be a count or an amount.

    Args:
        value: Decoded JSON; a bool, NaN, infinity and numbers from 1e18 on are refused.
    """
    return type(value) in {int, float} and -_LARGEST < cast("float", value) < _LARGEST


def is_integer(*, least: int, most: int | None = None, unit: str = "") -> Validator:
    """Return an attrs validator for a whole number, which also converts it to `int`.

    Args:
        least: The smallest number allowed.
        most: The largest number allowed, None for no bound.
        unit: What is counted, for the error.
    """
    return _validator(integer, least=least, most=most, unit=unit)


def is_real(**bounds: Any) -> Validator:
    """Return an attrs validator for a number, which also converts it to `int` or `float`.

    Args:
        bounds: Bounds and unit, the arguments of `real`.
    """
    return _validator(real, **bounds)


def _validator(check: Callable[..., Any], **bounds: Any) -> Validator:
    def validate(instance: object, attribute: Attribute, value: object) -> None:
        # not a converter, which does not know the name of its field: mypy refuses attrs.Converter(takes_field=True)
        object.__setattr__(instance, attribute.name, check(value, attribute.name, **bounds))

    return validate
