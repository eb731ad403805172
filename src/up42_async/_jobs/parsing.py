"""The record of a job as UP42 sends it: requested, read, and written again.

Lists have thousands of jobs, so a usual record is read by one function that calls nothing of ours. In any other record
each field is read on its own: a record with an id and a status can always be read.
"""

import datetime as dt
import logging
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

from up42_async._client import Client
from up42_async._client.pagination import Page, Pager, next_page
from up42_async._client.readable_list import MOST_MALFORMED
from up42_async._clock import in_utc, timestamp
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, check_answered_id, segment
from up42_async._jobs.models import JobMetadata, JobStatus, ValidationError

logger = logging.getLogger("up42_async")

PATH: Final = "/v2/processing/jobs"

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
_KNOWN: Final = frozenset(JobMetadata.__annotations__)
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
    dict[str, Any],
]
"""The attributes of a job in the order of the reference, and the keys of its record that are unknown."""

Unreadable: TypeAlias = Mapping[str, str]
"""Why fields of a record could not be read, by the names of the fields."""

CREDITS: Final = "creditConsumption"

_NONE: Final[Unreadable] = {}
_WRONG: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


def job_fields(metadata: Any) -> tuple[JobFields, Unreadable]:
    """Return the fields of a job, and why some of them could not be read; these are None.

    Args:
        metadata: The decoded JSON.

    Raises:
        ValueError: It is not an object, or has no id or no status.
    """
    try:
        return _usual(metadata), _NONE
    except _WRONG:
        return _by_field(metadata)


def _usual(metadata: Any) -> JobFields:
    """Read a record in which every field can be read."""
    try:
        fields = _FIELDS(metadata)
    except KeyError:
        metadata = {**_MAY_BE_MISSING, **metadata}
        fields = _FIELDS(metadata)
    process_id, id_, account_id, workspace_id, definition, word, created, updated, results, used, began, ended = fields
    if not (type(process_id) is type(id_) is type(account_id) is str and type(definition) is dict):
        raise TypeError
    collection_url, errors = (results.get("collection"), results.get("errors")) if results else (None, None)
    if not (type(workspace_id) is str or workspace_id is None) or not (
        type(collection_url) is str or collection_url is None
    ):
        raise TypeError
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
        _errors(errors) if errors else None,
        credits,
        began,
        ended,
        {} if len(metadata) == len(_KNOWN) else {key: metadata[key] for key in metadata if key not in _KNOWN},
    )


def _by_field(metadata: Any) -> tuple[JobFields, Unreadable]:
    """Read each field on its own; one that cannot be read is None."""
    if not isinstance(metadata, dict):
        raise ValueError(f"{metadata!r:.80} is no object")  # noqa: TRY004 - one error for every unreadable record
    unreadable: dict[str, str] = {}

    def read(name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
        try:
            return reader(value)
        except _WRONG as problem:
            unreadable[name] = str(problem)
            return None

    id_, status = read("jobID", metadata.get("jobID"), _text), read("status", metadata.get("status"), _status)
    if unreadable:
        raise ValueError("; ".join(f"{name}: {problem}" for name, problem in unreadable.items()))
    results = read("results", metadata.get("results"), _object_or_none) or {}
    used = read(CREDITS, metadata.get("creditConsumption"), _object_or_none) or {}
    fields = (
        read("processID", metadata.get("processID"), _text),
        id_,
        read("accountID", metadata.get("accountID"), _text),
        read("workspaceID", metadata.get("workspaceID"), _text_or_none),
        read("definition", metadata.get("definition"), _object),
        status,
        read("created", metadata.get("created"), timestamp),
        read("updated", metadata.get("updated"), timestamp),
        read("results.collection", results.get("collection"), _text_or_none),
        read("results.errors", results.get("errors"), _errors),
        read(CREDITS, used.get("credits"), lambda value: value and _credits(value)),
        read("started", metadata.get("started"), lambda value: timestamp(value) if value else None),
        read("finished", metadata.get("finished"), lambda value: timestamp(value) if value else None),
        {key: value for key, value in metadata.items() if key not in _KNOWN},
    )
    return fields, unreadable


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no string")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.80} is no object")
    return value


def _object_or_none(value: Any) -> dict[str, Any] | None:
    return None if value is None else _object(value)


def _status(value: Any) -> JobStatus:
    return JobStatus(_text(value))


def _errors(values: Any) -> list[ValidationError] | None:
    """Read the errors of a job; each may also be a string, and a single one may stand without a list."""
    if not isinstance(values, str | dict | list | None):
        raise TypeError(f"{values!r:.80} is no list of errors")
    entries = values if isinstance(values, list) else [values]
    return [_error(entry) for entry in entries if entry] or None


def _error(error: Any) -> ValidationError:
    if not isinstance(error, dict):
        return ValidationError(message=str(error), name="")
    return ValidationError(message=str(error.get("message") or ""), name=str(error.get("name") or ""))


def _credits(value: Any) -> int:
    """Read a number of credits; they are money, so only a whole number is accepted."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_CREDITS or value % 1:
        message = f"{value!r} is not a number of credits"
        raise ValueError(message)
    return int(value)


def job_request(job_id: object) -> ApiRequest:
    """Return the request for one job.

    Raises:
        TypeError: The id is not a string.
        ValueError: The id is empty, or cannot stand in a path: see `segment`.
    """
    return ApiRequest(method="GET", path=f"{PATH}/{segment(job_id, 'job id')}")


class Readable(Protocol):
    """What lists need of a job."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def _unreadable(self) -> Unreadable | None:
        """Why fields of its record could not be read; None when all could."""
        ...


T = TypeVar("T")
JobT = TypeVar("JobT", bound=Readable)
Read = Callable[[Any, ApiRequest], T]
"""Returns the job of its metadata; the request is for errors."""


def read(kind: Callable[..., T], client: Client | None, metadata: Any, request: ApiRequest | None = None) -> T:
    """Return the job of its metadata.

    Args:
        kind: The class of jobs; its fields are `JobFields`.
        client: The client that the job is to use; None for the current one.
        metadata: The decoded JSON.
        request: The request, for errors.

    Raises:
        UnexpectedResponseError: It is not an object, or has no id or no status.
    """
    try:
        fields, unreadable = job_fields(metadata)
    except ValueError as error:
        id_ = metadata.get("jobID") if isinstance(metadata, dict) else None
        message = f"job {id_!r:.80} cannot be read: {error!s:.200}"
        raise UnexpectedResponseError(message, request=str(request or "")) from None
    job: Any = kind(*fields)
    job._client = client
    if unreadable:
        job._unreadable = unreadable
    return cast("T", job)


def read_one(kind: Callable[..., JobT], client: Client, metadata: Any, request: ApiRequest, job_id: str) -> JobT:
    """Return the job that UP42 sent for one id, and log a warning for fields that cannot be read.

    Raises:
        UnexpectedResponseError: It is another job, not an object, or has no id or no status.
    """
    job = read(kind, client, metadata, request)
    check_answered_id("job", job.id, job_id, request)
    warn_of(unreadable_error(job, request))
    return job


def unreadable_error(job: Readable, request: ApiRequest | None) -> UnexpectedResponseError | None:
    """Return the error that names the fields of a job that could not be read; None when all could."""
    if not job._unreadable:
        return None
    fields = "; ".join(f"{name}: {problem}" for name, problem in job._unreadable.items())
    message = f"job {job.id!r:.80} has fields that cannot be read and are None: {fields:.300}"
    return UnexpectedResponseError(message, request=str(request or ""))


def warn_of(error: UnexpectedResponseError | None) -> None:
    """Log an error as a warning; None is not logged."""
    if error is not None:
        logger.warning("%s", error)


def page_of(
    read: Read[T],
    api: str,
    errors: list[UnexpectedResponseError],
    answer: Any,
    request: ApiRequest,
) -> Page[T]:
    """Read a page of jobs.

    Args:
        read: Returns the job of its metadata.
        api: Base URL of the API, for the next link.
        errors: Gets one error for each entry that cannot be read.
        answer: The decoded answer.
        request: The request for this page.

    Raises:
        UnexpectedResponseError: The answer has no list of jobs, or more than 100 entries of it cannot be read.
    """
    entries = answer.get("jobs", ...) if isinstance(answer, dict) else ...
    if not isinstance(entries, list | None):
        raise UnexpectedResponseError("an answer without a list of jobs", request=str(request))
    jobs, malformed = [], 0
    for entry in entries or ():
        try:
            jobs.append(read(entry, request))
        except UnexpectedResponseError as error:
            malformed += 1
            if malformed > MOST_MALFORMED:
                message = f"a page with more than {MOST_MALFORMED} jobs that cannot be read, the last: {error}"
                raise UnexpectedResponseError(message, request=str(request)) from None
            errors.append(error)
            warn_of(error)
    return Page(items=jobs, next=next_page(answer, api, request))


class JobPager(Pager[T]):
    """Iterates over a list of jobs; when the server refuses the page size, the list is requested without one."""

    def __init__(
        self,
        client: Client,
        read: Read[T],
        query: Callable[..., str],
        *,
        limit: int | None,
        key: Callable[[T], Hashable],
        errors: list[UnexpectedResponseError] | None = None,
    ) -> None:
        """Begin the list at its first page.

        Args:
            client: Sends the requests.
            read: Returns the job of its metadata.
            query: Returns the query of the list for a `limit`: jobs a page, None for the server's default.
            limit: Jobs a page; None for the server's default.
            key: Returns the id of a job.
            errors: Gets one error for each entry that cannot be read.
        """

        def first(limit: int | None) -> ApiRequest:
            return ApiRequest(method="GET", path=PATH, query=query(limit=limit))

        super().__init__(
            client._session,
            first(limit),
            partial(page_of, read, client._session.api, [] if errors is None else errors),
            key=key,
            without_limit=None if limit is None else partial(first, None),
        )


def job_metadata(fields: Mapping[str, Any]) -> JobMetadata:
    """Return the record of a job as UP42 sends it: ready for JSON, timestamps in UTC with microseconds and `Z`.

    Args:
        fields: The attributes of the job, by name.
    """
    errors = fields["errors"] and [{"message": error.message, "name": error.name} for error in fields["errors"]]
    url, credits = fields["collection_url"], fields["credits"]
    record: JobMetadata = {
        "processID": fields["process_id"],
        "jobID": fields["id"],
        "accountID": fields["account_id"],
        "workspaceID": fields["workspace_id"],
        "definition": fields["definition"],
        "results": {"collection": url, "errors": errors} if url or errors else None,
        "creditConsumption": None if credits is None else {"credits": credits},
        "status": str(fields["status"]),
        "created": _written(fields["created"]),
        "started": _written(fields["started"]),
        "finished": _written(fields["finished"]),
        "updated": _written(fields["updated"]),
    }
    return cast("JobMetadata", {**fields["extra"], **record})


def _written(moment: dt.datetime | None) -> Any:
    return moment and moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
