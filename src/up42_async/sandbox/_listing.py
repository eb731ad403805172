"""The job list: filters, order, pages and the links between them."""

import heapq
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import attrs

from up42_async.sandbox._answers import BadQuery
from up42_async.sandbox._jobs import Job, JobStore
from up42_async.sandbox._settings import Settings

LIST_PATH = "/v2/processing/jobs"
_CREATED = "created"

Key = tuple[Any, str]

_SORT_KEYS: Mapping[str, Callable[[Job, int], Any]] = {
    "processID": lambda job, _: job.process_id,
    "status": lambda job, now: job.status_at(now),
    _CREATED: lambda job, _: job.created,
    "creditConsumption.credits": lambda job, now: -1 if (credit := job.credits_at(now)) is None else credit,
}
_SORT_TYPES: Mapping[str, type] = {"processID": str, "status": str, _CREATED: int, "creditConsumption.credits": int}
_OFFSET = "offset"


@attrs.frozen(kw_only=True)
class Listing:
    """The filters, order and page of one list request.

    A cursor is the sort key of the last job of the page before, so that jobs created or removed in between neither
    repeat nor hide others. Paging by `offset` does both; `faults.ShiftPages` uses it.
    """

    query: Mapping[str, str]
    workspace_id: str | None
    process_ids: frozenset[str] | None
    statuses: frozenset[str] | None
    ids: tuple[str, ...] | None
    min_duration: float | None
    max_duration: float | None
    limit: int
    sort_field: str
    descending: bool
    after: Key | None
    offset: int


def parse(query: Mapping[str, str], settings: Settings) -> Listing:
    """Read a query.

    Raises:
        BadQuery: A parameter is one that the platform refuses.
    """
    ids = _words(query, "ids")
    if ids is not None and settings.ids_max is not None and len(ids) > settings.ids_max:
        raise BadQuery(f"At most {settings.ids_max} ids can be asked for at once.", settings.ids_max_status)
    statuses, process_ids = _words(query, "status"), _words(query, "processId")
    field, descending = _sort(query)
    after, offset = _cursor(query, field)
    return Listing(
        query=query,
        workspace_id=query.get("workspaceId"),
        process_ids=None if process_ids is None else frozenset(process_ids),
        statuses=None if statuses is None else frozenset(statuses),
        ids=ids,
        min_duration=_seconds(query, "minDuration"),
        max_duration=_seconds(query, "maxDuration"),
        limit=_limit(query, settings, by_ids=ids is not None),
        sort_field=field,
        descending=descending,
        after=after,
        offset=offset,
    )


def _words(query: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(query[name].split(","))) if name in query else None


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    if name not in query:
        return None
    if not query[name].isdecimal():
        raise BadQuery(f"{name} must be a number of seconds, not {query[name]!r}.")
    return float(query[name])


def _limit(query: Mapping[str, str], settings: Settings, *, by_ids: bool) -> int:
    largest = settings.page_size_max
    text = query.get("limit", str(min(settings.page_size_default, largest)))
    if not text.isdecimal() or int(text) < 1:
        raise BadQuery(f"limit must be a whole number above 0, not {text!r}.")
    if settings.page_size_strict and int(text) > largest:
        raise BadQuery(f"limit must not be above {largest}, is {text}.")
    if by_ids and settings.ids_page_size_max is not None:
        largest = min(largest, settings.ids_page_size_max)
    return min(int(text), largest)


def _sort(query: Mapping[str, str]) -> tuple[str, bool]:
    field, _, order = query.get("sort", "created,desc").partition(",")
    if field not in _SORT_KEYS or order not in {"asc", "desc"}:
        raise BadQuery(f"sort must be <field>,<asc|desc> with a field of {', '.join(_SORT_KEYS)}.")
    return field, order == "desc"


def _cursor(query: Mapping[str, str], field: str) -> tuple[Key | None, int]:
    if "cursor" not in query:
        return None, 0
    try:
        sorted_by, value, job_id = json.loads(bytes.fromhex(query["cursor"]))
    except (ValueError, TypeError) as error:
        raise BadQuery("cursor is not one that this list has given out.") from error
    if sorted_by == _OFFSET and isinstance(value, int) and value >= 0:
        return None, value
    if sorted_by != field or not isinstance(value, _SORT_TYPES[field]) or not isinstance(job_id, str):
        raise BadQuery("cursor belongs to a list with another sort.")
    return (value, job_id), 0


def _link(query: Mapping[str, str], cursor: tuple[str, Any, str]) -> str:
    text = json.dumps(cursor, separators=(",", ":")).encode().hex()
    return f"{LIST_PATH}?{urlencode({**query, 'cursor': text}, safe=',')}"


def offset_of(query: Mapping[str, str]) -> int:
    """Return the offset in the cursor of a query; 0 if there is none."""
    try:
        sorted_by, value, _ = json.loads(bytes.fromhex(query.get("cursor", "")))
    except (ValueError, TypeError):
        return 0
    return value if sorted_by == _OFFSET and isinstance(value, int) else 0


def offset_link(query: Mapping[str, str], offset: int) -> str:
    """Return the relative link to the page that begins at an offset."""
    return _link(query, (_OFFSET, offset, ""))


def page(store: JobStore, listing: Listing, now: int) -> bytes:
    """Return the body of one page."""
    start = listing.offset
    found = list(islice(_ordered(store, listing, now), start, start + listing.limit + 1))
    jobs = found[: listing.limit]
    links = []
    if len(found) > len(jobs):
        cursor = (listing.sort_field, *_key(listing, jobs[-1], now))
        links.append({"rel": "next", "href": _link(listing.query, cursor)})
    head, tail = b'{"jobs":[', b'],"links":' + json.dumps(links).encode() + b"}"
    if not jobs:
        return head + tail
    pieces = [job.body_at(now) for job in jobs]
    pieces[0] = head + pieces[0]
    pieces[-1] += tail
    return b",".join(pieces)  # one copy: a page of 500 jobs is a third of a megabyte


def _key(listing: Listing, job: Job, now: int) -> Key:
    return _SORT_KEYS[listing.sort_field](job, now), job.id


def _ordered(store: JobStore, listing: Listing, now: int) -> Iterable[Job]:
    if listing.sort_field == _CREATED and listing.ids is None:
        in_order = store.in_order(listing.after, descending=listing.descending)
        return (job for job in in_order if _matches(listing, job, now))
    keyed = [(_key(listing, job, now), job) for job in _candidates(store, listing) if _matches(listing, job, now)]
    if listing.after is not None:
        keyed = [pair for pair in keyed if (pair[0] < listing.after) == listing.descending and pair[0] != listing.after]
    choose = heapq.nlargest if listing.descending else heapq.nsmallest
    wanted = listing.offset + listing.limit + 1
    return (job for _, job in choose(wanted, keyed, key=lambda pair: pair[0]))


def _candidates(store: JobStore, listing: Listing) -> Iterable[Job]:
    if listing.ids is None:
        return store
    return filter(None, map(store.get, listing.ids))


def _matches(listing: Listing, job: Job, now: int) -> bool:
    if listing.workspace_id is not None and job.workspace_id != listing.workspace_id:
        return False
    if listing.process_ids is not None and job.process_id not in listing.process_ids:
        return False
    if listing.statuses is not None and job.status_at(now) not in listing.statuses:
        return False
    return _lasted(listing, job, now)


def _lasted(listing: Listing, job: Job, now: int) -> bool:
    if listing.min_duration is None and listing.max_duration is None:
        return True
    duration = job.duration_at(now)
    if duration is None:
        return False
    longest = duration if listing.max_duration is None else listing.max_duration
    return (listing.min_duration or 0.0) <= duration <= longest
