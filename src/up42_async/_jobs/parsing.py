"""Read the metadata of a job: what UP42 sends becomes what a job is made of, or an error that says why it cannot.

A list has thousands of jobs, so what is as usual is taken without a call to anything of ours.
"""

import datetime as dt
from operator import itemgetter
from typing import Any, Final, TypeAlias

from up42_async._http.dates import in_utc
from up42_async._jobs.models import JobStatus, ValidationError

_FIELDS: Final = itemgetter(
    "processID",
    "jobID",
    "accountID",
    "workspaceID",
    "definition",
    "status",
    "created",
    "updated",
    "results",
    "creditConsumption",
    "started",
    "finished",
)
_MAY_BE_MISSING: Final = dict.fromkeys(("workspaceID", "results", "creditConsumption", "started", "finished"))
_STATUSES: Final = {status.value: status for status in JobStatus}
_UTC: Final = dt.UTC
_PARSED: Final = dt.datetime.fromisoformat
_MOST_CREDITS: Final = 10**15

JobFields: TypeAlias = tuple[
    str,
    str,
    str,
    str | None,
    dict[str, Any],
    JobStatus,
    dt.datetime,
    dt.datetime,
    str | None,
    list[ValidationError] | None,
    int | None,
    dt.datetime | None,
    dt.datetime | None,
]
"""The attributes of a job as the reference has them, in its order."""


def job_fields(metadata: Any) -> JobFields:
    """Return what a job is made of.

    Args:
        metadata: The decoded JSON.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: Something that every job has is missing or makes no sense.
    """
    try:
        fields = _FIELDS(metadata)
    except KeyError:
        fields = _FIELDS({**_MAY_BE_MISSING, **metadata})
    process_id, id_, account_id, workspace_id, definition, word, created, updated, results, used, began, ended = fields
    if not (type(process_id) is type(id_) is type(account_id) is str and type(definition) is dict):
        raise TypeError("an id is no string, or the definition is no object")
    collection_url, errors = (results.get("collection"), results.get("errors")) if results else (None, None)
    if not (type(workspace_id) is str or workspace_id is None) or not (
        type(collection_url) is str or collection_url is None
    ):
        raise TypeError("the workspace or the URL of the results is no string")
    credits = used.get("credits") if used else None
    if credits is not None and not (type(credits) is int and 0 <= credits < _MOST_CREDITS):
        credits = _credits(credits)
    created, updated = _PARSED(created), _PARSED(updated)
    if not created.tzinfo is updated.tzinfo is _UTC:
        created, updated = in_utc(created), in_utc(updated)
    began, ended = _PARSED(began) if began else None, _PARSED(ended) if ended else None
    if not (began or created).tzinfo is (ended or created).tzinfo is _UTC:
        began, ended = began and in_utc(began), ended and in_utc(ended)
    return (
        process_id,
        id_,
        account_id,
        workspace_id,
        definition,
        _STATUSES.get(word) or JobStatus(word),
        created,
        updated,
        collection_url,
        [_error(error) for error in errors] if errors else None,
        credits,
        began,
        ended,
    )


def _error(error: Any) -> ValidationError:
    return ValidationError(message=str(error.get("message") or ""), name=str(error.get("name") or ""))


def _credits(value: Any) -> int:
    """Read a number of credits: they are money, so nothing but a whole number will do."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_CREDITS or value % 1:
        message = f"{value!r} is not a number of credits"
        raise ValueError(message)
    return int(value)
