"""Filters in CQL2-JSON, https://docs.ogc.org/is/21-065r2: comparisons of properties, and what joins them."""

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from up42_async.sandbox._scaled_clock import instant_of

Properties = Mapping[str, Any]
Truth = bool | None
"""None where a property is missing: neither true nor false, as in SQL."""
Condition = Callable[[Properties], Truth]
Value = Callable[[Properties], Any]

_SHORT_NAMES = {
    "job_id": "up42-system:job_id",
    "asset_id": "up42-system:asset_id",
    "account_id": "up42-system:account_id",
    "workspace_id": "up42-system:workspace_id",
    "source": "up42-system:source",
    "order_id": "up42-order:id",
    "product_id": "up42-product:product_id",
    "collection_name": "up42-product:collection_name",
    "modality": "up42-product:modality",
    "title": "up42-user:title",
    "tags": "up42-user:tags",
}
_INSTANTS = frozenset({"datetime", "created", "updated"})
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {"=": eq, "<>": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_DEEPEST = 20


class BadFilter(ValueError):
    """Say what is wrong with a filter."""


def full_name(name: str) -> str:
    """Return the name that a property has in an item, given one of those that the platform takes."""
    name = name.removeprefix("properties.")
    return _SHORT_NAMES.get(name, name)


def condition(expression: Any, depth: int = 0) -> Condition:
    """Read a filter.

    Args:
        expression: The decoded JSON.
        depth: How many others it is in.

    Returns:
        What tells whether properties meet it; `id` and `collection` count among them.

    Raises:
        BadFilter: It is none, or uses what the platform does not know.
    """
    if not isinstance(expression, dict) or not isinstance(arguments := expression.get("args"), list):
        raise BadFilter("A filter is an object with op and args.")
    if depth > _DEEPEST:
        raise BadFilter(f"A filter goes at most {_DEEPEST} levels deep.")
    operator = str(expression.get("op"))
    if operator in {"and", "or", "not"}:
        return _joined(operator, [condition(argument, depth + 1) for argument in arguments])
    if operator in _COMPARISONS and len(arguments) == 2:  # noqa: PLR2004 - both sides
        return _compared(_COMPARISONS[operator], *map(_value, arguments))
    if operator == "in" and len(arguments) == 2 and isinstance(arguments[1], list):  # noqa: PLR2004 - what, in what
        return _among(_value(arguments[0]), [_value(option) for option in arguments[1]])
    if operator == "like" and len(arguments) == 2 and isinstance(arguments[1], str):  # noqa: PLR2004 - what, like what
        return _like(_value(arguments[0]), arguments[1])
    if operator == "isNull" and len(arguments) == 1:
        value = _value(arguments[0])
        return lambda properties: value(properties) is None
    raise BadFilter(f"The operator {operator!r} is not known with {len(arguments)} such args.")


def _value(expression: Any) -> Value:
    if isinstance(expression, dict):
        name = expression.get("property")
        if isinstance(name, str):
            return _property(full_name(name))
        text = expression.get("timestamp", expression.get("date"))
        if isinstance(text, str):
            instant = _instant(text)
            return lambda _: instant
    if not isinstance(expression, str | int | float):
        raise BadFilter("An argument is a property, a timestamp, a text, a number, true or false.")
    return lambda _: expression


def _property(name: str) -> Value:
    if name in _INSTANTS:
        return lambda properties: instant_of(properties[name])
    return lambda properties: properties.get(name)


def _instant(text: str) -> int:
    try:
        return instant_of(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise BadFilter(f"{text!r} is no timestamp.") from error


def _compared(operator: Callable[[Any, Any], bool], left: Value, right: Value) -> Condition:
    def compare(properties: Properties) -> Truth:
        sides = _alike(left(properties), right(properties))
        return None if sides is None else operator(*sides)

    return compare


def _alike(one: Any, other: Any) -> tuple[Any, Any] | None:
    """Return two values that can be compared; None if they cannot."""
    if isinstance(one, int) and isinstance(other, str):
        return _alike_instants(one, other)
    if isinstance(one, str) and isinstance(other, int):
        swapped = _alike_instants(other, one)
        return None if swapped is None else (swapped[1], swapped[0])
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return (one, other) if numbers or (isinstance(one, str) and isinstance(other, str)) else None


def _alike_instants(instant: int, text: str) -> tuple[int, int] | None:
    try:
        return instant, instant_of(text)
    except ValueError:
        return None


def _among(value: Value, options: list[Value]) -> Condition:
    return _joined("or", [_compared(eq, value, option) for option in options])


def _like(value: Value, pattern: str) -> Condition:
    """Match a text with a pattern: `%` is any text, `_` any one character, and a backslash takes that away."""
    special = {"%": ".*", "_": "."}
    parts = (part.group() for part in re.finditer(r"\\.|.", pattern, re.DOTALL))
    regex = re.compile("".join(special.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)

    def match(properties: Properties) -> Truth:
        text = value(properties)
        return regex.fullmatch(text) is not None if isinstance(text, str) else None

    return match


def _joined(operator: str, parts: list[Condition]) -> Condition:
    if operator == "not" and len(parts) == 1:
        return lambda properties: None if (truth := parts[0](properties)) is None else not truth
    if operator == "not" or not parts:
        raise BadFilter(f"The operator {operator!r} does not take {len(parts)} args.")
    decisive = operator == "or"

    def join(properties: Properties) -> Truth:
        truths = {part(properties) for part in parts}
        return decisive if decisive in truths else None if None in truths else not decisive

    return join


def required_values(expression: Any, name: str) -> frozenset[str] | None:
    """Return the texts of which a property must have one to meet a filter, as far as that is plain to see.

    Args:
        expression: A filter that `condition` has read.
        name: The property's full name.

    Returns:
        The texts; None if the filter does not plainly say.
    """
    arguments = expression["args"]
    if expression["op"] == "and":
        found = (required_values(argument, name) for argument in arguments)
        return next((values for values in found if values is not None), None)
    if expression["op"] not in {"=", "in"} or not isinstance(arguments[0], dict):
        return None
    values = arguments[1] if isinstance(arguments[1], list) else [arguments[1]]
    plain = full_name(str(arguments[0].get("property"))) == name and all(isinstance(value, str) for value in values)
    return frozenset(values) if plain else None
