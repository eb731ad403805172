"""What a job does without a request: how it is shown, copied and written, and when it is finished."""

import copy
import datetime as dt
import functools
from typing import Any, ClassVar, Final, Self

from up42_async import _clock
from up42_async._client import Client, display
from up42_async._jobs import job_schema
from up42_async._jobs.models import (
    SETTLING_STATUSES,
    SUCCESSFUL_STATUSES,
    TERMINAL_STATUSES,
    JobMetadata,
    JobStatus,
    ValidationError,
)
from up42_async._jobs.parsing import CREDITS, Unreadable, job_metadata, read
from up42_async._jobs.polling_state import AT_ONCE, ROUNDING, Phase

_TERMINAL = frozenset(TERMINAL_STATUSES)
_SETTLING = frozenset(SETTLING_STATUSES)
_TIMES: Final = frozenset({"created", "updated", "finished"})
_CLEARING: Final = 2.0
"""Seconds after its end within which a job's credits are captured or released: at most 1.8 (recorded)."""


class JobState:
    """The part of `Job` that sends no requests; `Job` has the fields.

    Its private attributes are no attrs fields, so `attrs.asdict` and `==` leave them out.
    """

    id: str
    status: JobStatus
    created: dt.datetime
    updated: dt.datetime
    finished: dt.datetime | None
    credits: int | None
    errors: list[ValidationError] | None
    collection_url: str | None

    _names: ClassVar[tuple[str, ...]] = ()
    """Names of the fields of the subclass."""
    _client: Client | None = None
    _unreadable: Unreadable | None = None
    """Why fields of its record could not be read; None when all could."""
    _settling_since: float | None = None
    """When SUCCESSFUL or FAILED was first seen, by the clock of the event loop; minus infinity once it is the last."""
    _had_credits: bool = False
    """Whether an earlier state of the job had credits."""

    def __repr__(self) -> str:
        """Return the job in one line of at most 200 characters."""
        return display.attributes(self, "id", "process_id", "status", "updated", "credits")

    def _repr_html_(self) -> str:
        """Return the job as a table, for notebooks."""
        errors = "; ".join(f"{error.name}: {error.message}" for error in self.errors or ()) or None
        names = ("id", "process_id", "status", "created", "started", "finished", "updated", "credits", "collection_url")
        return display.table([*((name, getattr(self, name)) for name in names), ("errors", errors)])

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        """Return the schema by which pydantic reads and writes a job."""
        return job_schema.core_schema(cls, functools.partial(read, cls, None), cls.to_metadata)

    @classmethod
    def __get_pydantic_json_schema__(cls, _core_schema: Any, _handler: Any) -> dict[str, Any]:
        """Return the JSON schema of a job for pydantic."""
        return dict(job_schema.JOB_SCHEMA)

    @property
    def client(self) -> Client | None:
        """The client of this job; None when it has none, and the current client is used."""
        return self._client

    @property
    def is_successful(self) -> bool:
        """Whether the results are in storage: the status is SUCCESSFUL or CAPTURED."""
        return self.status in SUCCESSFUL_STATUSES

    @property
    def is_finished(self) -> bool:
        """Whether the status is the last one; no request.

        A terminal status is the last one. SUCCESSFUL and FAILED are when no credits are due. Credits are due when the
        job has or had some, and, since a FAILED job shows none, also in the first 2 seconds after it failed, by UP42's
        clock. Then CAPTURED or RELEASED follows within 1.8 seconds (recorded, `docs/platform.md`). In a few jobs it
        never follows: they are finished when `track` or `refresh` finds the same status at least 5 seconds
        (`Polling.settle`) after it was first seen.
        """
        return self._phase is Phase.FINISHED

    @property
    def age(self) -> dt.timedelta:
        """The time since the job was created, or from then to its end when it has ended; no request.

        It is measured by UP42's clock when the client has had an answer with a date, else by this machine's. It is zero
        when a time in UP42's record cannot be read. One recorded job in six had not ended after a week.
        """
        if not _TIMES.isdisjoint(self._unreadable or ()):
            return dt.timedelta(0)
        has_ended = self.status in _TERMINAL or self.status in _SETTLING
        end = (self.finished or self.updated) if has_ended else self._time()
        return max(end - self.created, dt.timedelta(0))

    def _time(self) -> dt.datetime:
        """Return the time of day, by UP42's clock where it is known."""
        if self._client is not None:
            return self._client._session.server_time()
        return dt.datetime.fromtimestamp(_clock.wall(), dt.UTC)

    @property
    def _known_age(self) -> float | None:
        is_known = self._client is not None and self._client._session.knows_server_time
        return self.age.total_seconds() if is_known else None

    @property
    def _phase(self) -> Phase:
        if self.status in _TERMINAL or self._settling_since == AT_ONCE:
            return Phase.FINISHED
        if self.status not in _SETTLING:
            return Phase.UNDER_WAY
        return Phase.SETTLING if self._owes_credits else Phase.FINISHED

    @property
    def _owes_credits(self) -> bool:
        """Whether credits are still to be captured or released: the job has or had some, or they could not be read.

        A job that has just failed may show none though they will be released.
        """
        if self.credits is not None or self._had_credits or CREDITS in (self._unreadable or ()):
            return True
        return self.status is JobStatus.FAILED and self._has_just_changed

    @property
    def _has_just_changed(self) -> bool:
        """Whether it was updated less than 2 seconds ago by UP42's clock; False where that is not known."""
        if self._client is None or not self._client._session.knows_server_time or "updated" in (self._unreadable or ()):
            return False
        return (self._time() - self.updated).total_seconds() < _CLEARING

    def to_metadata(self) -> JobMetadata:
        """Return the job as UP42 sends it, ready for JSON: the inverse of `from_metadata`; no request.

        The keys are UP42's and those of `extra`. Timestamps are in UTC, with microseconds and `Z`; `results` and
        `creditConsumption` are None when they would be empty.
        """
        return job_metadata({name: getattr(self, name) for name in self._names})

    @property
    def _result_url(self) -> str | None:
        """URL of the collection of the results; None unless the status says that there are results."""
        return self.collection_url if self.is_successful else None

    def _update(self, newer: Self, asked_at: float, settle: float) -> None:
        """Take over a newer state of the same job, and decide whether SUCCESSFUL or FAILED is its last status.

        Args:
            newer: The newer state.
            asked_at: When the query was sent, by the clock of the event loop.
            settle: Seconds for which SUCCESSFUL or FAILED must stay where credits are due.
        """
        if newer.status is not self.status:
            self._settling_since = None
        if self.credits is not None:
            self._had_credits = True
        self._take_over(newer)
        if self.status in _SETTLING:
            self._look(asked_at, settle)

    def _take_over(self, other: Self) -> None:
        """Take over the state of another object for the same job, but not when its status was first seen."""
        client, settling_since = other._client or self._client, self._settling_since
        vars(self).update(vars(other))  # one step: this runs for each job at each query
        self._client, self._unreadable, self._settling_since = client, other._unreadable, settling_since

    def _follow(self, other: Self) -> None:
        """Take over everything from another object for the same job, which is polled instead of this one."""
        self._take_over(other)
        self._settling_since = other._settling_since

    def _look(self, asked_at: float, settle: float) -> None:
        """Note when SUCCESSFUL or FAILED was first seen, and whether it has stayed; called in these statuses only."""
        if self._settling_since is None:
            self._settling_since = asked_at
        if asked_at - self._settling_since >= settle - ROUNDING:
            self._settling_since = AT_ONCE

    def __copy__(self) -> Self:
        duplicate = object.__new__(type(self))
        vars(duplicate).update(vars(self))
        return duplicate

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        duplicate = copy.copy(self)
        for name in self._names:
            setattr(duplicate, name, copy.deepcopy(getattr(self, name), memo))
        return duplicate

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the client, which holds a password and connections that cannot be pickled."""
        state = {name: value for name, value in vars(self).items() if name != "_client"}
        if self._settling_since != AT_ONCE:  # the clock of one event loop means nothing in another
            state.pop("_settling_since", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
