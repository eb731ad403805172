"""The values of jobs: statuses, sorting fields, and the types of their metadata."""

import enum
import logging
from typing import Any, Final, TypedDict

import attrs

logger = logging.getLogger("up42_async")

_LONGEST_WORD: Final = 100


class JobStatus(enum.StrEnum):
    """The status of a job: a string, so that `job.status == "captured"`, `f"{job.status}"` and JSON work.

    created -> licensed | unlicensed -> valid | invalid -> accepted | rejected -> running -> successful -> captured, or
    failed -> released. A status that UP42 adds later is kept as it is: `JobStatus("paused") == "paused"`; its
    `is_known` is False.
    """

    CREATED = "created"
    """Created, not validated yet."""
    LICENSED = "licensed"
    """The EULA of the process has been accepted; validation is next."""
    UNLICENSED = "unlicensed"
    """The EULA has not been accepted, so the job ends here. Accept it in the console or by the API; execute again."""
    VALID = "valid"
    """Validated."""
    INVALID = "invalid"
    """Validation failed. Correct the inputs, and execute again."""
    ACCEPTED = "accepted"
    """Accepted; the credits are withheld until the job has ended."""
    REJECTED = "rejected"
    """The account's balance is too low. Top it up, and execute again."""
    RUNNING = "running"
    """In progress."""
    SUCCESSFUL = "successful"
    """Completed; the results are in storage."""
    FAILED = "failed"
    """Failed."""
    CAPTURED = "captured"
    """Completed, the results are in storage, and the withheld credits have been deducted."""
    RELEASED = "released"
    """Failed, and the withheld credits have been released."""

    @classmethod
    def _missing_(cls, value: object) -> "JobStatus | None":
        if not isinstance(value, str) or len(value) > _LONGEST_WORD:
            return None
        known = cls._value2member_map_.get(value.strip().lower())
        if isinstance(known, cls) and known.is_known:
            return known
        logger.warning("UP42 used an unknown job status: %r; a job that has it counts as unfinished", value)
        status = str.__new__(cls, value)
        status._name_ = value.upper()
        status._value_ = value
        cls._value2member_map_[value] = status  # the same word gives the same object from now on
        return status

    @property
    def is_known(self) -> bool:
        """Whether this version of the library knows the status."""
        return type(self).__members__.get(self.name) is self


TERMINAL_STATUSES: Final = (
    JobStatus.CAPTURED,
    JobStatus.RELEASED,
    JobStatus.INVALID,
    JobStatus.REJECTED,
    JobStatus.UNLICENSED,
)
"""Statuses that a job never leaves."""

SETTLING_STATUSES: Final = (JobStatus.SUCCESSFUL, JobStatus.FAILED)
"""Statuses that are the last where no credits are due, and the last but one where credits are due."""

SUCCESSFUL_STATUSES: Final = (JobStatus.SUCCESSFUL, JobStatus.CAPTURED)
"""Statuses of a job whose results are in storage."""

_BEFORE: Final = {
    JobStatus.LICENSED: JobStatus.CREATED,
    JobStatus.UNLICENSED: JobStatus.CREATED,
    JobStatus.VALID: JobStatus.LICENSED,
    JobStatus.INVALID: JobStatus.LICENSED,
    JobStatus.ACCEPTED: JobStatus.VALID,
    JobStatus.REJECTED: JobStatus.VALID,
    JobStatus.RUNNING: JobStatus.ACCEPTED,
    JobStatus.SUCCESSFUL: JobStatus.RUNNING,
    JobStatus.FAILED: JobStatus.RUNNING,
    JobStatus.CAPTURED: JobStatus.SUCCESSFUL,
    JobStatus.RELEASED: JobStatus.FAILED,
}
"""The status before each status."""


def passed(status: JobStatus) -> frozenset[JobStatus]:
    """Return the statuses that a job has had when it has this one, this one included."""
    before = _BEFORE.get(status)
    return frozenset({status}) if before is None else passed(before) | {status}


class JobResults(TypedDict, total=False):
    """Results of a job, as UP42 sends them."""

    collection: str | None
    """URL of the resulting STAC collection."""
    errors: list[dict[str, Any]] | None
    """Errors, each with `name` and `message`."""


class JobMetadata(TypedDict):
    """A job, as UP42 sends it."""

    processID: str
    jobID: str
    accountID: str
    workspaceID: str | None
    definition: dict[str, Any]
    results: JobResults | None
    creditConsumption: dict[str, Any] | None
    status: str
    created: str
    started: str | None
    finished: str | None
    updated: str


@attrs.frozen
class ValidationError:
    """An error that UP42 found in a job or in inputs; a value, not an exception."""

    message: str
    """The message of the error."""
    name: str
    """The name of the error."""


@attrs.frozen
class SortingField:
    """A field to sort jobs by, and the direction."""

    name: str
    """Name of the field at UP42."""
    ascending: bool = True
    """Whether the order is ascending."""

    @property
    def asc(self) -> "SortingField":
        """The same field, ascending."""
        return SortingField(self.name, ascending=True)

    @property
    def desc(self) -> "SortingField":
        """The same field, descending."""
        return SortingField(self.name, ascending=False)

    def __str__(self) -> str:
        """Return the field and the direction as UP42's query has them."""
        return f"{self.name},{'asc' if self.ascending else 'desc'}"


class JobSorting:
    """The fields that jobs can be sorted by, each in its default direction; `.asc` and `.desc` choose another."""

    process_id: Final = SortingField("processID")
    """By process ID, ascending."""
    status: Final = SortingField("status", ascending=False)
    """By status, descending."""
    created: Final = SortingField("created", ascending=False)
    """By creation date, descending."""
    credits: Final = SortingField("creditConsumption.credits", ascending=False)
    """By credit consumption, descending."""
