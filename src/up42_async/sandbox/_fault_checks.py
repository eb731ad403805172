"""Checks of the arguments of faults: a wrong kind of value is a TypeError, a wrong value a ValueError, both named."""

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import attrs

Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]
"""A validator of attrs, which is called with the new object, the field and its value."""


def _named(instance: Any, attribute: "attrs.Attribute[Any]") -> str:
    return f"{type(instance).__name__}: {attribute.name}"


def whole(least: int, most: int | None = None) -> Check:
    """Check for a whole number in a range."""

    def check(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        wanted = f"a whole number from {least}" + ("" if most is None else f" to {most}")
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{_named(instance, attribute)} must be {wanted}, not {value!r}.")
        if value < least or (most is not None and value > most):
            raise ValueError(f"{_named(instance, attribute)} must be {wanted}, not {value!r}.")

    return check


def real(least: float, *, above: bool = False) -> Check:
    """Check for a finite number from `least` on, or above it."""

    def check(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        wanted = f"a finite number {'above' if above else 'from'} {least:g}"
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{_named(instance, attribute)} must be {wanted}, not {value!r}.")
        if not least <= float(value) < float("inf") or (above and float(value) == least):
            raise ValueError(f"{_named(instance, attribute)} must be {wanted}, not {value!r}.")

    return check


def of_type(*types: type, words: str) -> Check:
    """Check for one of some types, which an error calls by these words."""

    def check(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if not isinstance(value, types):
            raise TypeError(f"{_named(instance, attribute)} must be {words}, not {value!r}.")

    return check


flag = of_type(bool, words="True or False")
text = of_type(str, words="a string")
octets = of_type(bytes, words="bytes")
mapping = of_type(Mapping, words="a mapping")


def header(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Check for a string that a header can hold."""
    text(instance, attribute, value)
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{_named(instance, attribute)} must be Latin-1 for a header, not {value!r}.") from None


def headers(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Check for a mapping of header names to values, or to None where a header goes."""
    mapping(instance, attribute, value)
    for name, content in value.items():
        header(instance, attribute, name)
        if content is not None:
            header(instance, attribute, content)


def strings(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Check for several strings; a single string is refused, since it would count as its letters."""
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if not several or not all(isinstance(element, str) for element in value):
        raise TypeError(f"{_named(instance, attribute)} must be a list of strings, not {value!r}.")


def one_of(*options: object) -> Check:
    """Check for one of some values."""

    def check(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if value not in options:
            named = ", ".join(repr(option) for option in options)
            raise ValueError(f"{_named(instance, attribute)} must be one of {named}, not {value!r}.")

    return check


def function(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Check for something that can be called."""
    if not callable(value):
        raise TypeError(f"{_named(instance, attribute)} must be a function, not {value!r}.")


def is_kind(value: object) -> bool:
    """Return whether a value can be a fault: an object with `async def apply(self, exchange, act)`, not a class."""
    return not isinstance(value, type) and callable(getattr(value, "apply", None))


def kind(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Check for another kind of fault."""
    if not is_kind(value):
        raise TypeError(f"{_named(instance, attribute)} must be a fault such as Status(503), not {value!r}.")


optional = attrs.validators.optional
