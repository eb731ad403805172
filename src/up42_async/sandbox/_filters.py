"""Filters in CQL2-JSON, https://docs.ogc.org/is/21-065r2; the package `cql2` matches them with items."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cql2

from up42_async.sandbox._scaled_clock import instant_of

_SHORT_NAMES = {
    "job_id": "up42-system:job_id",
    "asset_id": "up42-system:asset_id",
    "account_id": "up42-system:account_id",
    "workspace_id": "up42-system:workspace_id",
    "source": "up42-system:source",
    "order_id": "up42-order:id",
    "product_id": "up42-product:product_id",
    "data_product_id": "up42-product:product_id",
    "collection_name": "up42-product:collection_name",
    "modality": "up42-product:modality",
    "title": "up42-user:title",
    "tags": "up42-user:tags",
}
_INSTANTS = frozenset({"datetime", "created", "updated"})
_OPERATORS = frozenset(
    "and or not = <> < <= > >= between in like isNull casei accenti "
    "a_contains a_containedBy a_equals a_overlaps s_intersects s_within s_contains s_disjoint "
    "t_after t_before t_during t_equals t_intersects".split()
)
_DEEPEST = 20
_WORDS = frozenset({"op", "type", "interval"})
_SAMPLES = {"timestamp": "2024-01-01T00:00:00Z", "date": "2024-01-01"}


class BadFilter(ValueError):
    """The filter is not one that the platform takes; the message says why."""


def full_name(name: str) -> str:
    """Return the name that a property has in an item.

    Args:
        name: The same, or the short name that the platform takes in its place, such as `job_id`.
    """
    name = name.removeprefix("properties.")
    return _SHORT_NAMES.get(name, name)


class Filter:
    """One filter.

    Args:
        expression: The decoded JSON.

    Raises:
        BadFilter: It is not CQL2-JSON, or uses an operator that the platform does not have.
    """

    def __init__(self, expression: Any) -> None:
        self._json = _normalized(expression)
        try:
            _validate(json.dumps(_shape(self._json)))
            self._expression = cql2.Expr(self._json)
        except Exception as error:  # cql2 raises plain exceptions beside its own, and dumps its whole schema in them
            raise BadFilter(f"The filter is not CQL2-JSON: {json.dumps(expression)[:200]}") from error

    def matches(self, item: Mapping[str, Any]) -> bool:
        """Return whether a STAC item meets the filter; a comparison with a property it lacks is not met."""
        try:
            return self._expression.matches(dict(item))
        except Exception:  # noqa: BLE001 - cql2 has no other word for "neither true nor false", SQL's unknown
            return False

    def required_values(self, name: str) -> frozenset[str] | None:
        """Return the values of which a property must have one to meet the filter; None where that is not obvious.

        Args:
            name: The property's full name.
        """
        return _required_values(self._json, name)


@lru_cache(maxsize=256)
def _validate(shape: str) -> None:
    """Check the shape of a filter by the schema of CQL2; once for each shape, because that takes 20 ms.

    Raises:
        cql2.ValidationError: It is not valid.
    """
    cql2.Expr(shape).validate()


def _shape(node: Any) -> Any:
    """Return a filter with the same value for all values of a kind, on which its validity does not depend."""
    if isinstance(node, list):
        return [_shape(element) for element in node]
    if isinstance(node, dict):
        return {key: _SAMPLES.get(key, value if key in _WORDS else _shape(value)) for key, value in node.items()}
    if isinstance(node, bool) or node is None:
        return node
    return "text" if isinstance(node, str) else 1


def _normalized(node: Any, depth: int = 0) -> Any:
    """Return a filter with full names of properties, and with timestamps where it compares instants."""
    if depth > _DEEPEST:
        raise BadFilter(f"A filter may be nested at most {_DEEPEST} levels deep.")
    if depth == 0 and not (isinstance(node, dict) and "op" in node):
        raise BadFilter("A filter is an object with op and args.")
    if not isinstance(node, dict):
        return [_normalized(element, depth + 1) for element in node] if isinstance(node, list) else node
    if isinstance(node.get("property"), str):
        return {"property": full_name(node["property"])}
    if "op" not in node:
        return _timestamp(node) if "timestamp" in node else node
    if node["op"] not in _OPERATORS:
        raise BadFilter(f"The operator {node['op']!r} is not supported; there are {', '.join(sorted(_OPERATORS))}.")
    arguments = _normalized(node.get("args"), depth + 1)
    if isinstance(arguments, list) and any(_is_instant(argument) for argument in arguments):
        arguments = [_timestamp(argument) for argument in arguments]
    return {"op": node["op"], "args": arguments}


def _is_instant(argument: Any) -> bool:
    return isinstance(argument, dict) and argument.get("property") in _INSTANTS


def _timestamp(argument: Any) -> Any:
    """Return a date or a plain string as the timestamp it stands for: cql2 compares strings letter by letter."""
    text = argument.get("timestamp", argument.get("date")) if isinstance(argument, dict) else argument
    if not isinstance(text, str):
        return argument
    text = text if re.search("[Tt ]", text) else f"{text}T00:00:00Z"
    try:
        instant_of(text)
    except ValueError as error:
        raise BadFilter(f"{text!r} is not a timestamp with an offset.") from error
    return {"timestamp": text}


def _required_values(expression: Mapping[str, Any], name: str) -> frozenset[str] | None:
    operator, arguments = expression["op"], expression["args"]
    if operator == "and":
        found = (_required_values(argument, name) for argument in arguments)
        return next((values for values in found if values is not None), None)
    if operator not in {"=", "in"} or arguments[0] != {"property": name}:
        return None
    values = arguments[1] if isinstance(arguments[1], list) else [arguments[1]]
    return frozenset(values) if all(isinstance(value, str) for value in values) else None
