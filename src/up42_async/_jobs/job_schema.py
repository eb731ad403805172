"""The schema of a job for pydantic (and FastAPI), in plain dictionaries: pydantic may not be installed."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from up42_async._errors import UnexpectedResponseError
from up42_async._jobs.models import JobMetadata

T = TypeVar("T")

_TEXT: Final = {"type": "string"}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_ERROR: Final = {"type": "object", "properties": {"name": _TEXT, "message": _TEXT}}
_PROPERTIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "processID": _TEXT,
    "jobID": _TEXT,
    "accountID": _TEXT,
    "workspaceID": _TEXT,
    "definition": {"type": "object", "additionalProperties": True},
    "results": {
        "type": "object",
        "properties": {
            "collection": {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]},
            "errors": {"anyOf": [{"type": "array", "items": _ERROR}, {"type": "null"}]},
        },
    },
    "creditConsumption": {"type": "object", "properties": {"credits": {"type": "integer", "minimum": 0}}},
    "status": _TEXT,
    "created": _MOMENT,
    "started": _MOMENT,
    "finished": _MOMENT,
    "updated": _MOMENT,
}
_NULLABLE: Final = frozenset({"workspaceID", "results", "creditConsumption", "started", "finished"})

JOB_SCHEMA: Final[Mapping[str, Any]] = {
    "title": "Job",
    "description": "A job in UP42, as its API sends it.",
    "type": "object",
    "properties": {
        name: {"anyOf": [schema, {"type": "null"}]} if name in _NULLABLE else schema
        for name, schema in _PROPERTIES.items()
    },
    "required": [name for name in _PROPERTIES if name not in _NULLABLE],
}
"""The JSON schema of a job's record."""


def core_schema(kind: type[T], read: Callable[[Any], T], write: Callable[[Any], JobMetadata]) -> dict[str, Any]:
    """Return the core schema from which pydantic builds a validator and a serializer.

    Args:
        kind: The class of jobs.
        read: Returns the job of a record; raises `UnexpectedResponseError` when the record cannot be read.
        write: Returns the record of a job.
    """

    def validate(value: Any) -> T:
        try:
            return value if isinstance(value, kind) else read(value)
        except UnexpectedResponseError as error:
            raise ValueError(str(error)) from None  # pydantic turns it into its ValidationError

    return {
        "type": "function-plain",
        "function": {"type": "no-info", "function": validate},
        "serialization": {"type": "function-plain", "function": write, "return_schema": {"type": "any"}},
    }
