"""Validation of inputs: first against the schema of the process, then of the items they name."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from up42_async.sandbox._processes import Process

_ITEM_PATH = re.compile(r"/v2/assets/stac/collections/[^/]+/items/(?P<item_id>[^/]+)")
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


class SchemaError(Exception):
    """A body does not match the schema of the process."""


@attrs.frozen(kw_only=True)
class Finding:
    """A problem of an input that matches the schema."""

    name: str
    message: str
    path: str

    def body(self) -> dict[str, Any]:
        """Return an entry of `errors`; `path` is there because the platform's entries may have further keys."""
        return {"name": self.name, "message": self.message, "path": self.path}


def checked_inputs(process: Process, body: Any) -> dict[str, Any]:
    """Return the inputs of a body that matches the schema of the process.

    Raises:
        SchemaError: The body does not match; the message has the place.
    """
    if not isinstance(body, dict) or not isinstance(inputs := body.get("inputs"), dict):
        raise SchemaError("$: an object with an object 'inputs' is required")
    for name, described in process.inputs.items():
        if name in inputs:
            _check(inputs[name], described.schema, f"$.inputs.{name}")
        elif described.required:
            raise SchemaError(f"$.inputs: required property '{name}' not found")
    for name in inputs:
        if name not in process.inputs:
            raise SchemaError(f"$.inputs: property '{name}' is not defined in the schema")
    return inputs


def _check(value: Any, schema: Mapping[str, Any], path: str) -> None:
    if not _TYPES[schema["type"]](value):
        raise SchemaError(f"{path}: {type(value).__name__} found, {schema['type']} expected")
    _check_bounds(value, schema, path)
    if schema.get("format") == "uri" and not urlsplit(value).netloc:
        raise SchemaError(f"{path}: does not match the uri pattern")
    for position, element in enumerate(value if isinstance(value, list) else ()):
        _check(element, schema["items"], f"{path}[{position}]")
    for name in schema.get("required", ()):
        if name not in value:
            raise SchemaError(f"{path}: required property '{name}' not found")
        _check(value[name], schema["properties"][name], f"{path}.{name}")


def _check_bounds(value: Any, schema: Mapping[str, Any], path: str) -> None:
    size = len(value) if isinstance(value, str | list) else value
    for key in ("minLength", "minItems", "minimum"):
        if key in schema and size < schema[key]:
            raise SchemaError(f"{path}: {key} is {schema[key]}")
    for key in ("maxLength", "maximum"):
        if key in schema and size > schema[key]:
            raise SchemaError(f"{path}: {key} is {schema[key]}")


def item_urls(process: Process, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the path and the URL of each STAC item among inputs that match the schema."""
    for name, described in process.inputs.items():
        value = inputs.get(name)
        if described.schema.get("format") == "uri":
            yield f"inputs.{name}", str(value)
        elif described.schema.get("items", {}).get("format") == "uri":
            yield from ((f"inputs.{name}[{position}]", url) for position, url in enumerate(value or ()))


def findings(process: Process, inputs: Mapping[str, Any], unsuitable: Mapping[str, str]) -> list[Finding]:
    """Return the problems of inputs that match the schema.

    Args:
        process: The process they are for.
        inputs: What `checked_inputs` returned.
        unsuitable: Why an item cannot be processed, by its id.
    """
    found = []
    for path, url in item_urls(process, inputs):
        match = _ITEM_PATH.fullmatch(urlsplit(url).path)
        if match is None:
            message = "The input is not the self link of a STAC item in storage."
            found.append(Finding(name="InvalidItem", message=message, path=path))
        elif (reason := unsuitable.get(match["item_id"])) is not None:
            found.append(Finding(name="UnsuitableItem", message=reason, path=path))
    return found
