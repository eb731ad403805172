"""Jobs: the status of a job depends on the time at which it is read."""

import json
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from up42_async.sandbox import _lifecycle
from up42_async.sandbox._lifecycle import Timeline
from up42_async.sandbox._scaled_clock import cut_to_digits, timestamp

_WITH_CREDITS = frozenset({_lifecycle.ACCEPTED, _lifecycle.RUNNING, _lifecycle.RELEASED}) | _lifecycle.SUCCEEDED
"""The statuses in which recorded jobs had a creditConsumption; RELEASED keeps it although the credits went back."""
_FOREVER = 1 << 100


@attrs.define(kw_only=True, eq=False)
class Job:
    """One job.

    `body_at` and `status_at` are called far more often than a job changes, so their results are kept until the next
    change.
    """

    id: str
    process_id: str
    account_id: str
    workspace_id: str | None
    inputs: Mapping[str, Any]
    price: int
    collection_id: str
    collection_url: str
    digits: int
    timeline: Timeline
    errors: list[dict[str, Any]] = attrs.field(factory=list)
    shows_collection: bool = False
    """Whether it names its collection once it has a `finished`, even if it has not succeeded."""
    _since: int = attrs.field(default=0, init=False)
    _until: int = attrs.field(default=0, init=False)
    _index: int = attrs.field(default=0, init=False)
    _encoded: bytes | None = attrs.field(default=None, init=False)

    @property
    def created(self) -> int:
        """Return the instant of its creation, cut to the digits that its timestamps have."""
        return cut_to_digits(self.timeline.instants[0], self.digits)

    def reschedule(self, timeline: Timeline) -> None:
        """Give the job another timeline."""
        self.timeline = timeline
        self._since = self._until = 0

    def move(self, old_url: str, new_url: str) -> None:
        """Change the origin of its links."""
        self.collection_url = self.collection_url.replace(old_url, new_url, 1)
        self.inputs = {name: _moved(value, old_url, new_url) for name, value in self.inputs.items()}
        self._since = self._until = 0

    def index_at(self, now: int) -> int:
        """Return the position of the current status in the timeline."""
        if not self._since <= now < self._until:
            self._index = index = self.timeline.index_at(now)
            instants = self.timeline.instants
            self._since = instants[index] if index else 0
            self._until = instants[index + 1] if index + 1 < len(instants) else _FOREVER
            self._encoded = None
        return self._index

    def status_at(self, now: int) -> str:
        """Return the current status."""
        return self.timeline.statuses[self.index_at(now)]

    def has_settled(self, now: int) -> bool:
        """Return whether no further status follows."""
        return self.index_at(now) == len(self.timeline.statuses) - 1

    def credits_at(self, now: int) -> int | None:
        """Return its creditConsumption: the price from ACCEPTED on; None for a job without credits."""
        return self.price or None if self.status_at(now) in _WITH_CREDITS else None

    def duration_at(self, now: int) -> float | None:
        """Return how long it ran, in seconds, once it has finished."""
        index = self.index_at(now)
        started, finished = self.timeline.started_by(index), self.timeline.finished_by(index)
        return None if started is None or finished is None else (finished - started) / 1e9

    def body_at(self, now: int) -> bytes:
        """Return the job object as the platform answers it now."""
        index = self.index_at(now)
        if self._encoded is None:
            self._encoded = json.dumps(self._describe(index, now), separators=(",", ":")).encode()
        return self._encoded

    def _describe(self, index: int, now: int) -> dict[str, Any]:
        credits_now = self.credits_at(now)
        return {
            "processID": self.process_id,
            "jobID": self.id,
            "accountID": self.account_id,
            "workspaceID": self.workspace_id,
            "definition": {"inputs": self.inputs},
            "results": self._results(index),
            "creditConsumption": None if credits_now is None else {"credits": credits_now},
            "status": self.timeline.statuses[index],
            "created": self._timestamp(self.timeline.instants[0]),
            "started": self._timestamp(self.timeline.started_by(index)),
            "finished": self._timestamp(self.timeline.finished_by(index)),
            "updated": self._timestamp(self.timeline.instants[index]),
        }

    def _results(self, index: int) -> dict[str, Any] | None:
        status = self.timeline.statuses[index]
        if status in _lifecycle.SUCCEEDED or (self.shows_collection and self.timeline.finished_by(index) is not None):
            return {"collection": self.collection_url, "errors": None}
        if status == _lifecycle.INVALID:
            return {"collection": None, "errors": self.errors}
        return None

    def _timestamp(self, instant: int | None) -> str | None:
        return None if instant is None else timestamp(instant, self.digits)


def _moved(value: Any, old_url: str, new_url: str) -> Any:
    if isinstance(value, list):
        return [_moved(element, old_url, new_url) for element in value]
    return value.replace(old_url, new_url, 1) if isinstance(value, str) and value.startswith(old_url) else value


class JobStore:
    """Keeps jobs by id, by collection, and in the order of their creation."""

    def __init__(self) -> None:
        self._by_id: dict[str, Job] = {}
        self._by_collection: dict[str, Job] = {}
        self._order: list[tuple[int, str]] = []
        self._unlisted: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._by_id.values())

    def add(self, job: Job) -> None:
        """Keep a job."""
        self._by_id[job.id] = job
        self._by_collection[job.collection_id] = job
        insort(self._order, (job.created, job.id))

    def add_unlisted(self, job: Job) -> None:
        """Keep a job that can be read by its id, but is in no list and not counted."""
        self._unlisted[job.id] = job
        self._by_collection[job.collection_id] = job

    def move(self, old_url: str, new_url: str) -> None:
        """Change the origin of the links of all jobs."""
        for job in (*self._by_id.values(), *self._unlisted.values()):
            job.move(old_url, new_url)

    def get(self, job_id: str) -> Job | None:
        """Return the job with this id, if there is one."""
        return self._by_id.get(job_id) or self._unlisted.get(job_id)

    def of_collection(self, collection_id: str) -> Job | None:
        """Return the job whose results this collection holds, if there is one."""
        return self._by_collection.get(collection_id)

    def remove(self, job: Job) -> None:
        """Forget a job."""
        del self._by_collection[job.collection_id]
        if self._unlisted.pop(job.id, None) is not None:
            return
        del self._by_id[job.id]
        del self._order[bisect_left(self._order, (job.created, job.id))]

    def in_order(self, after: tuple[int, str] | None, *, descending: bool) -> Iterator[Job]:
        """Yield jobs by creation, after a (created, id) whose job need not exist any more."""
        order = self._order
        if descending:
            stop = len(order) if after is None else bisect_left(order, after)
            positions = range(stop - 1, -1, -1)
        else:
            start = 0 if after is None else bisect_left(order, (after[0], after[1] + "\0"))
            positions = range(start, len(order))
        return (self._by_id[order[position][1]] for position in positions)
