"""What a job is without asking UP42: how it is shown, compared, copied and written, and when it has ended."""

import copy
import datetime as dt
import functools
from typing import Any, ClassVar, Final, Self

from up42_async import _clock, _display
from up42_async._client import Client
from up42_async._jobs import job_schema
from up42_async._jobs.models import (
    SETTLING_STATUSES,
    SUCCESSFUL_STATUSES,
    TERMINAL_STATUSES,
    JobMetadata,
    JobStatus,
    ValidationError,
)
from up42_async._jobs.parsing import CREDITS, Misfits, job_metadata, read
from up42_async._jobs.polling_state import AT_ONCE, Phase

_TERMINAL = frozenset(TERMINAL_STATUSES)
_SETTLING = frozenset(SETTLING_STATUSES)
_TIMES: Final = frozenset({"created", "updated", "finished"})
_CLEARING: Final = 2.0
"""Seconds after its end within which a job's credits are captured or released: 1.8 at the most (recorded)."""
_ROUNDING: Final = 0.001
"""Seconds by which the clock of the loop may wake early."""


class JobState:
    """A job without its verbs; the subclass has the fields.

    What else it keeps are no attrs fields, so that `attrs.asdict` and `==` leave them alone.
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
    """The fields of the subclass."""
    _client: Client | None = None
    _misfits: Misfits | None = None
    """What did not fit in its record, by field."""
    _settling_since: float | None = None
    """When SUCCESSFUL or FAILED was first seen, on the clock of the loop; minus infinity once it is the end."""
    _had_credits: bool = False
    """Whether an earlier state of it had credits."""

    def __repr__(self) -> str:
        """Return the job in one line of at most 200 characters."""
        return _display.attributes(self, "id", "process_id", "status", "updated", "credits")

    def _repr_html_(self) -> str:
        """Return the job as a table, for notebooks."""
        errors = "; ".join(f"{error.name}: {error.message}" for error in self.errors or ()) or None
        names = ("id", "process_id", "status", "created", "started", "finished", "updated", "credits", "collection_url")
        return _display.table([*((name, getattr(self, name)) for name in names), ("errors", errors)])

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        """Tell pydantic how to read and write a job."""
        return job_schema.core_schema(cls, functools.partial(read, cls, None), cls.to_metadata)

    @classmethod
    def __get_pydantic_json_schema__(cls, _core_schema: Any, _handler: Any) -> dict[str, Any]:
        """Tell pydantic what the record of a job looks like."""
        return dict(job_schema.JOB_SCHEMA)

    @property
    def client(self) -> Client | None:
        """The client this job came from."""
        return self._client

    @property
    def is_successful(self) -> bool:
        """Whether the results are in storage."""
        return self.status in SUCCESSFUL_STATUSES

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen.

        So it is after a terminal status, and after SUCCESSFUL or FAILED where no credits are due (a FAILED job shows
        none: those that it had before are due, and any in its first 2 seconds by UP42's clock). Where they are,
        CAPTURED or RELEASED follows within 1.8 seconds (recorded); a few jobs stay as they are, and are finished when
        `track` or `refresh` still finds them so 5 seconds after they were first seen (`Polling.settle`).
        """
        return self._phase is Phase.FINISHED

    @property
    def age(self) -> dt.timedelta:
        """How long ago the job was created, by UP42's clock as far as it is known; up to its end where it has ended.

        One recorded job in six had not ended after a week: an age tells those from others that only take their time.
        It is zero where UP42's record has no time that can be read.
        """
        if not _TIMES.isdisjoint(self._misfits or ()):
            return dt.timedelta(0)
        has_ended = self.status in _TERMINAL or self.status in _SETTLING
        end = (self.finished or self.updated) if has_ended else self._time()
        return max(end - self.created, dt.timedelta(0))

    def _time(self) -> dt.datetime:
        """Return the time of day, by UP42's clock as far as it is known."""
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
        """Whether credits are to be captured or released: it has or had some, or those that it has could not be read.

        A job that has just failed may show none though they are about to be released.
        """
        if self.credits is not None or self._had_credits or CREDITS in (self._misfits or ()):
            return True
        return self.status is JobStatus.FAILED and self._has_just_changed

    @property
    def _has_just_changed(self) -> bool:
        """Whether it was updated less than 2 seconds ago, on UP42's clock; False where that is not known."""
        if self._client is None or not self._client._session.knows_server_time or "updated" in (self._misfits or ()):
            return False
        return (self._time() - self.updated).total_seconds() < _CLEARING

    def to_metadata(self) -> JobMetadata:
        """Return the job as UP42 sends it, ready for JSON: the inverse of `from_metadata`.

        The keys are UP42's, and those of `extra`. Timestamps are in UTC, with microseconds and `Z`; `results` and
        `creditConsumption` are None when there is nothing in them.
        """
        return job_metadata({name: getattr(self, name) for name in self._names})

    @property
    def _result_url(self) -> str | None:
        """The collection of the results, None where the status says that there are none."""
        return self.collection_url if self.is_successful else None

    def _update(self, newer: Self, asked_at: float, settle: float) -> None:
        """Take over everything from a newer state of the same job, and see whether it has settled.

        Args:
            newer: The newer state.
            asked_at: When it was asked for, on the clock of the loop.
            settle: Seconds that SUCCESSFUL or FAILED has to stay where credits are due.
        """
        if newer.status is not self.status:
            self._settling_since = None
        if self.credits is not None:
            self._had_credits = True
        self._take_over(newer)
        if self.status in _SETTLING:
            self._look(asked_at, settle)

    def _take_over(self, other: Self) -> None:
        """Become like another object for the same job."""
        client, settling_since = other._client or self._client, self._settling_since
        vars(self).update(vars(other))  # one step, since each query's answer for each job comes here
        self._client, self._misfits, self._settling_since = client, other._misfits, settling_since

    def _follow(self, other: Self) -> None:
        """Become like another object for the same job, one that is looked at instead of this one."""
        self._take_over(other)
        self._settling_since = other._settling_since

    def _look(self, asked_at: float, settle: float) -> None:
        """Note when SUCCESSFUL or FAILED was first seen, and when it has stayed; called in these statuses only."""
        if self._settling_since is None:
            self._settling_since = asked_at
        if asked_at - self._settling_since >= settle - _ROUNDING:
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
        """Leave the client out: it holds a password, and connections that cannot be copied."""
        state = {name: value for name, value in vars(self).items() if name != "_client"}
        if self._settling_since != AT_ONCE:  # moments of one loop's clock mean nothing to another
            state.pop("_settling_since", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
