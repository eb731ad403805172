"""Faults of the platform: odd jobs and items in good answers, other jobs, other times and prices."""

import gzip
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import attrs

from up42_async.sandbox import _answers
from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Exchange, Reply, reply_of
from up42_async.sandbox._scaled_clock import SECOND, instant_of, timestamp

REMOVED: Final = "sandbox:removed"
"""The value that removes a key, in the changes of `ChangeJobs` and `ChangeItems`."""

Changes = Mapping[str, Any]

_LISTS = ("jobs", "features", "content", "processes", "collections")
_INSTANTS = ("created", "started", "finished", "updated")
_DIGITS = 6

ODD_JOBS: Mapping[str, Changes] = {
    "no-created": {"created": REMOVED},
    "year-9999": {"created": "9999-12-31T23:59:59-12:00"},
    "no-timestamp": {"updated": "yesterday"},
    "number-for-timestamp": {"created": 1_700_000_000},
    "no-process": {"processID": REMOVED},
    "nan-credits": {"creditConsumption": {"credits": math.nan}},
    "huge-credits": {"creditConsumption": {"credits": 10**310}},
    "text-credits": {"creditConsumption": "many"},
    "text-results": {"results": "soon"},
    "text-errors": {"results": {"collection": None, "errors": "many"}},
    "no-definition": {"definition": None},
    "upper-case-status": {"status": "CAPTURED"},
    "unknown-keys": {"progress": 50, "queue": {"position": 3}},
}
"""Changes for `ChangeJobs`, by what they make odd."""

ODD_ITEMS: Mapping[str, Changes] = {
    "no-datetime": {"properties": {"datetime": None}},
    "bad-datetime": {"properties": {"datetime": "yesterday"}},
    "nan": {"properties": {"gsd": math.nan}},
    "no-properties": {"properties": REMOVED},
    "no-geometry": {"geometry": None, "bbox": REMOVED},
    "no-assets": {"assets": REMOVED},
    "text-links": {"links": "none"},
    "link-without-href": {"links": [{"rel": "license"}]},
    "asset-without-href": {"assets": {"note": {"title": "not ready yet"}}},
    "asset-elsewhere": {"assets": {"elsewhere": {"href": "https://files.example.com/image.tif", "roles": ["data"]}}},
    "asset-in-s3": {"assets": {"bucket": {"href": "s3://bucket/image.tif", "roles": ["data"]}}},
    "asset-relative": {"assets": {"relative": {"href": "./image.tif", "roles": ["data"]}}},
    "text-roles": {"assets": {"roles": {"href": "https://files.example.com/a.tif", "roles": "data"}}},
    "number-type": {"assets": {"type": {"href": "https://files.example.com/a.tif", "type": 5}}},
}
"""Changes for `ChangeItems`, by what they make odd."""


def _merge(target: dict[str, Any], changes: Changes) -> None:
    """Change an object: nested objects are merged, all other values replaced."""
    for name, value in changes.items():
        if value == REMOVED:
            target.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value


@attrs.frozen
class ChangeJobs:
    """Do the work, and change jobs of the answer, in lists and alone.

    Args:
        changes: New values by key; objects are merged, `REMOVED` removes a key. `ODD_JOBS` has examples.
        ids: Which jobs; None for all.
        only_first: Change the first of these in each answer only.
    """

    changes: Changes = attrs.field(validator=checks.mapping)
    ids: Collection[str] | None = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.strings))
    only_first: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and change the jobs."""
        return (await act()).rewritten(_changer(_jobs_in, "jobID", self.ids, self.changes, only_first=self.only_first))


@attrs.frozen
class ChangeItems:
    """Do the work, and change STAC items of the answer, in pages and alone.

    Args:
        changes: New values by key; objects are merged, `REMOVED` removes a key. `ODD_ITEMS` has examples.
        ids: Which items; None for all.
        only_first: Change the first of these in each answer only.
    """

    changes: Changes = attrs.field(validator=checks.mapping)
    ids: Collection[str] | None = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.strings))
    only_first: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and change the items."""
        return (await act()).rewritten(_changer(_items_in, "id", self.ids, self.changes, only_first=self.only_first))


def _changer(
    entries_in: Callable[[Any], Iterator[dict[str, Any]]],
    key: str,
    ids: Collection[str] | None,
    changes: Changes,
    *,
    only_first: bool,
) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        chosen = [entry for entry in entries_in(body) if ids is None or entry[key] in ids]
        for entry in chosen[:1] if only_first else chosen:
            _merge(entry, changes)
        return body

    return change


def _jobs_in(body: Any) -> Iterator[dict[str, Any]]:
    for job in body.get("jobs", [body]):
        if "jobID" in job:
            yield job


def _items_in(body: Any) -> Iterator[dict[str, Any]]:
    for item in body.get("features", [body]):
        if item.get("type") == "Feature":
            yield item


class AddEntries:
    """Do the work, and add invalid entries at the start of each list of the answer.

    Args:
        *entries: The entries, as JSON; None, 5, "text", {} and [] if none are given.
    """

    def __init__(self, *entries: Any) -> None:
        self.entries: tuple[Any, ...] = entries or (None, 5, "text", {}, [])

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and add them to every list of jobs, items, budgets, assets, processes or collections."""
        return (await act()).rewritten(self._change)

    def _change(self, body: Any) -> Any:
        for name in _LISTS:
            if isinstance(body.get(name), list):
                body[name] = [*self.entries, *body[name]]
        return body


@attrs.frozen
class ManyEntries:
    """Answer with a page of very many entries, compressed to few bytes.

    Args:
        number: The number of entries; at least 1.
        entry: Each of them, as JSON.
        name: The list they are in.
    """

    number: int = attrs.field(default=1_000_000, validator=checks.whole(1))
    entry: Any = attrs.field(factory=dict)
    name: str = attrs.field(default="jobs", kw_only=True, validator=checks.one_of(*_LISTS))

    async def apply(self, _: Exchange, __: Act) -> Reply:
        """Answer without acting."""
        content = _many(self.name, json.dumps(self.entry, separators=(",", ":")), self.number)
        return reply_of(200, _answers.JSON, content, (b"content-encoding", b"gzip"))


@lru_cache(maxsize=4)
def _many(name: str, entry: str, number: int) -> bytes:
    entries = f"{entry},".encode() * (number - 1) + entry.encode()
    return gzip.compress(b'{"%b":[%b],"links":[]}' % (name.encode(), entries), 6, mtime=0)


@attrs.frozen
class OtherJob:
    """Answer a request for one job with another job, as a faulty cache does; lists are not changed.

    Args:
        job_id: The id of the other job.
    """

    job_id: str = attrs.field(validator=checks.text)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and answer with the other job."""
        world = exchange.world
        with world.lock:
            other = json.loads(world.job(self.job_id).body_at(world.now()))
        return (await act()).rewritten(lambda body: other if "jobID" in body else body)


@attrs.frozen
class ShiftTimes:
    """Do the work, and move the timestamps of all jobs in the answer, as clocks that differ do.

    Args:
        seconds: Seconds later; earlier if negative.
    """

    seconds: float = attrs.field(validator=checks.real(-1e9))

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and move the timestamps."""
        return (await act()).rewritten(self._change)

    def _change(self, body: Any) -> Any:
        for job in _jobs_in(body):
            job |= {name: self._shifted(job[name]) for name in _INSTANTS if job.get(name)}
        return body

    def _shifted(self, text: str) -> str:
        return timestamp(instant_of(text) + round(self.seconds * SECOND), _DIGITS)


@attrs.frozen
class RaisePrice:
    """Answer a request for a price, and then raise the price of that process, so that executing costs more.

    Args:
        factor: The factor of the price from then on; above 0.
    """

    factor: float = attrs.field(default=10.0, validator=checks.real(0, above=True))

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and raise the price; requests for anything else pass."""
        reply = await act()
        *_, process_id, last = exchange.path.split("/")
        world = exchange.world
        if last == "cost" and process_id in world.rates:
            with world.lock:
                world.rates[process_id] = math.ceil(world.rates[process_id] * self.factor)
        return reply
