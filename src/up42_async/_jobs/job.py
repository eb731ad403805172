"""Jobs: one, all that match, and the wait for one."""

import copy
import datetime as dt
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import attrs
import pystac

from up42_async import _clock
from up42_async._client import Client, current_client
from up42_async._config import Wait
from up42_async._downloads.options import DownloadOptions
from up42_async._errors import UnexpectedResponseError, Up42Error
from up42_async._http.messages import ApiRequest
from up42_async._jobs import filters, job_display, job_schema, listing
from up42_async._jobs.id_queries import ById
from up42_async._jobs.models import (
    SETTLING_STATUSES,
    SUCCESSFUL_STATUSES,
    TERMINAL_STATUSES,
    JobMetadata,
    JobSorting,
    JobStatus,
    SortingField,
    ValidationError,
)
from up42_async._jobs.parsing import CREDITS, Misfits, job_fields, job_metadata
from up42_async._jobs.poller import Poller
from up42_async._jobs.polling_state import AT_ONCE, Phase, Timings
from up42_async._jobs.waiting import Waiting
from up42_async._storage import job_results
from up42_async._storage.items import Items

_TERMINAL = frozenset(TERMINAL_STATUSES)
_SETTLING = frozenset(SETTLING_STATUSES)
_SORTED_BY: Final = {
    JobSorting.process_id.name: attrgetter("process_id"),
    JobSorting.status.name: attrgetter("status.value"),
    JobSorting.created.name: attrgetter("created"),
    JobSorting.credits.name: attrgetter("credits"),
}
_TIMES: Final = frozenset({"created", "updated", "finished"})
_ROUNDING: Final = 0.001
"""Seconds by which the clock of the loop may wake early."""
_id_of: Final[Callable[["Job"], str]] = attrgetter("id")


class JobFailedError(Up42Error):
    """A job ended without a result.

    Attributes:
        job: The job; `job.status` and `job.errors` say why.
    """

    def __init__(self, message: str, *, job: "Job | None" = None) -> None:
        """Say which job failed."""
        super().__init__(message)
        self.job = job


class UnfinishedJob(Up42Error):
    """Jobs were not finished when the wait for them ended; they go on at UP42.

    Attributes:
        finished: The jobs that are finished.
        unfinished: The jobs that are not, by id where nothing else is known: `track()` takes them as they are.
        reasons: Why the wait ended, by job id.
        job: The job, when the wait was for a single one whose state is known.
    """

    def __init__(
        self,
        message: str,
        *,
        finished: "Sequence[Job]" = (),
        unfinished: "Sequence[Job | str]" = (),
        reasons: Mapping[str, str] | None = None,
        job: "Job | None" = None,
    ) -> None:
        """Say which jobs are not finished, and why the wait ended."""
        super().__init__(message)
        self.finished = list(finished)
        self.unfinished = list(unfinished)
        self.reasons = dict(reasons or {})
        self.job = job


class _Unlisted:
    """What a job has besides its fields: no attrs fields, so that `attrs.asdict` and `==` leave them alone."""

    _client: Client | None = None
    _misfits: Misfits | None = None
    """What did not fit in its record, by field."""
    _settling_since: float | None = None
    """When SUCCESSFUL or FAILED was first seen, on the clock of the loop; minus infinity once it is the end."""


@attrs.define(repr=False, slots=False)
class Job(_Unlisted):
    """A job in UP42: a process that runs, or ran, on some inputs.

    Jobs are equal when all their fields are, and hashed by their id. A field that UP42's record has in no readable form
    is None (and named in the log once), whatever its type says here.
    """

    process_id: str
    """The process ID in a name format."""
    id: str
    """The job ID."""
    account_id: str
    """The account ID."""
    workspace_id: str | None
    """The workspace ID."""
    definition: dict[str, Any]
    """The inputs and other parameters used to execute the job."""
    status: JobStatus
    """The job status."""
    created: dt.datetime
    """When the job was created (aware, UTC)."""
    updated: dt.datetime
    """When the job was last updated (aware, UTC)."""
    collection_url: str | None = None
    """The URL of the resulting STAC collection. A restarted or released job may have one too: `status` says whether
    there are results."""
    errors: list[ValidationError] | None = None
    """What was wrong with the inputs, when the status is INVALID; a job that failed gives no reason."""
    credits: int | None = None
    """The price in credits, 0 or more, from ACCEPTED on. Spent for good only when the job was successful: a RELEASED
    job keeps its credits, which were given back."""
    started: dt.datetime | None = None
    """When the job was started (aware, UTC)."""
    finished: dt.datetime | None = None
    """When the job was finished (aware, UTC). A job that was restarted may have it while it is RUNNING."""
    extra: dict[str, Any] = attrs.field(factory=dict, eq=False)
    """Keys of its record that this version of the library does not know, as they came; equality leaves them out."""

    def __hash__(self) -> int:
        """Return the hash of the id."""
        return hash(self.id)

    def __repr__(self) -> str:
        """Return the job in one line of at most 200 characters."""
        names = ("id", "process_id", "status", "updated", "credits")
        return job_display.line("Job", [(name, getattr(self, name)) for name in names])

    def _repr_html_(self) -> str:
        """Return the job as a table, for notebooks."""
        errors = "; ".join(f"{error.name}: {error.message}" for error in self.errors or ()) or None
        names = ("id", "process_id", "status", "created", "started", "finished", "updated", "credits", "collection_url")
        return job_display.table([*((name, getattr(self, name)) for name in names), ("errors", errors)])

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        """Tell pydantic how to read and write a job."""
        return job_schema.core_schema(cls, partial(read_job, None), cls.to_metadata)

    @classmethod
    def __get_pydantic_json_schema__(cls, _core_schema: Any, _handler: Any) -> dict[str, Any]:
        """Tell pydantic what the record of a job looks like."""
        return dict(job_schema.JOB_SCHEMA)

    @staticmethod
    def from_metadata(metadata: JobMetadata, *, client: Client | None = None) -> "Job":
        """Make a job of its metadata.

        Args:
            metadata: The job as UP42 sends it. Keys that are not known are kept in `extra`; a field that does not fit
                is None, with one warning in the log.
            client: The client to use for this job from now on; else the current one.

        Raises:
            UnexpectedResponseError: It has no id or no status.
        """
        job = read_job(client, metadata)
        listing.warn_of(listing.misfit(job, None))
        return job

    def to_metadata(self) -> JobMetadata:
        """Return the job as UP42 sends it, ready for JSON: the inverse of `from_metadata`.

        The keys are UP42's, and those of `extra`. Timestamps are in UTC, with microseconds and `Z`; `results` and
        `creditConsumption` are None when there is nothing in them.
        """
        return job_metadata({name: getattr(self, name) for name in _STATE})

    @classmethod
    async def get(
        cls,
        job_id: str | None = None,
        *,
        client: Client | None = None,
        id: str | None = None,  # noqa: A002 - so the reference's examples have it
    ) -> "Job":
        """Fetch one job by its ID, with one request.

        Args:
            job_id: The job ID.
            client: The client to use; else the current one.
            id: Another name of `job_id`.

        Raises:
            NotFoundError: There is no such job in this account.
            APIError: It could not be asked for.
            TypeError: The ID is not a string, or given not once.
            ValueError: It cannot be an ID.
        """
        wanted = id if job_id is None else job_id
        if wanted is None or (job_id is not None and id is not None):
            raise TypeError("Job.get() takes the ID of one job: Job.get(job_id)")
        client = current_client(client)
        request, asked_at = listing.one(wanted), _clock.now()
        job = read_one(client, await client._session.call(request), request, wanted)
        job._look(asked_at, client._polling.settle)
        return job

    @staticmethod
    def all(
        process_id: Iterable[str] | None = None,
        workspace_id: str | None = None,
        status: Iterable[JobStatus] | None = None,
        min_duration: int | None = None,
        max_duration: int | None = None,
        sort_by: SortingField | None = None,
        ids: Iterable[str] | None = None,
        *,
        page_size: int | None = None,
        client: Client | None = None,
    ) -> "listing.JobList[Job]":
        """List jobs: an async iterator, which asks for a page when the one before is used up.

        What cannot be read does not hide the other jobs: it is in the iterator's `errors`, and once in the log. One
        request for every 500 jobs, or however many the server gives at once; with `ids` one for every 100 of them.
        A list that changes while it is read never repeats a job. An empty list as a filter matches nothing and costs no
        request.

        Args:
            process_id: Only jobs of any of these processes.
            workspace_id: Only jobs of this workspace; else of the whole account.
            status: Only jobs with any of these statuses.
            min_duration: Only jobs that ran at least so many seconds.
            max_duration: Only jobs that ran at most so many seconds.
            sort_by: The order, one of `JobSorting`; `.asc` and `.desc` choose the direction.
            ids: Only jobs with these IDs, in this order unless `sort_by` is given. IDs that do not exist are left out.
            page_size: Jobs a page, 1 or more; 500 unless given. The server may give fewer.
            client: The client to use; else the current one.

        Raises:
            TypeError: A filter of the wrong type, such as one string where a list of them is expected.
            ValueError: A filter that cannot be right.
        """
        client = current_client(client)
        wanted = filters.checked(
            process_id=process_id,
            workspace_id=workspace_id,
            status=status,
            min_duration=min_duration,
            max_duration=max_duration,
            sort_by=sort_by,
            ids=ids,
        )
        limit = listing.PAGE_SIZE if page_size is None else filters.checked_page_size(page_size)
        if wanted.ids is None and not wanted.match_nothing:
            return listing.Pages(client, partial(read_job, client), wanted, limit=limit, key=_id_of)
        arrange = None if sort_by is None else _sorter(sort_by)
        return listing.IdPager(client, partial(read_job, client), wanted, limit=limit, key=_id_of, arrange=arrange)

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

        So it is after a terminal status, and after SUCCESSFUL or FAILED where no credits are due. Where they are,
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
        if self.status in _TERMINAL or self.status in _SETTLING:
            end = self.finished or self.updated
        elif self._client is not None:
            end = self._client._session.server_time()
        else:
            end = dt.datetime.fromtimestamp(_clock.wall(), dt.UTC)
        return max(end - self.created, dt.timedelta(0))

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
        """Whether credits are to be captured or released: it has some, or those that it has could not be read."""
        return self.credits is not None or CREDITS in (self._misfits or ())

    def raise_for_status(self) -> "Job":
        """Raise unless the job was successful; return it otherwise.

        Raises:
            JobFailedError: It failed.
            UnfinishedJob: It is still under way.
        """
        if self.is_successful:
            return self
        if self.status in _TERMINAL or self.status in _SETTLING:
            why = "".join(f"; {error.name}: {error.message}" for error in self.errors or ())
            raise JobFailedError(f"job {self.id} ({self.process_id}) is {self.status.value}{why}", job=self)
        message = f"job {self.id} ({self.process_id}) is {self.status.value}; `await job.track()` waits for its end"
        raise UnfinishedJob(message, unfinished=[self], reasons={self.id: self.status.value}, job=self)

    async def refresh(self) -> "Job":
        """Fetch the state of the job into this object, with one request; returns the job itself.

        Raises:
            NotFoundError: There is no such job in this account.
            APIError: It could not be asked for.
        """
        client = current_client(self._client)
        request, asked_at = listing.one(self.id), _clock.now()
        newer = read_one(client, await client._session.call(request), request, self.id)
        self._update(newer, asked_at, client._polling.settle)
        return self

    async def track(
        self,
        wait: Wait | None = None,
        retries: int | None = None,
        *,
        until: Iterable[JobStatus] | None = None,
        stalled_after: float | None = None,
        bar: bool = False,
    ) -> "Job":
        """Wait until the job is finished, updating this object; returns the job itself.

        The job is asked for at once and then every `wait` seconds, together with all other jobs of the client that are
        waited for meanwhile. A job that failed is no exception: see `status`, `errors` and `raise_for_status()`.
        Cancelling the wait does not touch the job.

        Args:
            wait: Seconds between two queries, from 0 to 1e9; or a callable without arguments that returns a generator
                of them, such as `functools.partial(backoff.expo, max_value=60)`; or `"adaptive"`, as in `track`. Left
                out, the client's (`Client(polling=...)`): 60.
            retries: How often to ask at the most, 1 or more. Left out, the client's: 4320, with 60 seconds in between 3
                days.
            until: Statuses that end the wait as well, such as `[JobStatus.RUNNING]`, also when the job has passed them
                between two queries.
            stalled_after: Seconds without a new `status` or `updated`, counted from the first query of this wait, after
                which the wait ends; None for never. RUNNING for a day is real, and one recorded job in six never ended.
            bar: Whether to show the status meanwhile, as `track` does.

        Raises:
            UnfinishedJob: The queries are used up, the job has stalled, or UP42 refuses to answer for it: 401 or 403
                twice, at least 10 seconds apart, or 404 for 5 minutes.
            RuntimeError: The client was closed meanwhile.
            TypeError: A schedule of the wrong type.
            ValueError: A schedule that cannot be right.
        """
        waiting = waiting_for(
            current_client(self._client),
            {self.id: self},
            wait=wait,
            retries=retries,
            until=until,
            stalled_after=stalled_after,
            bar=bar,
        )
        state = await waiting.next_ended()
        if state is not None and state.reason is not None:
            message = (
                f"job {self.id}: {state.reason}; the job goes on at UP42, and `await job.track()` waits for it again"
            )
            raise UnfinishedJob(message, unfinished=[self], reasons={self.id: state.reason}, job=self)
        return self

    async def collection(self) -> pystac.Collection | None:
        """Fetch the STAC collection of the results; one request, a few more while it is not visible yet.

        Returns:
            The collection; None unless the job was successful.

        Raises:
            NotFoundError: It is still not visible after a quarter of a minute.
            APIError: It could not be asked for.
        """
        return await job_results.result_collection(current_client(self._client), self._result_url)

    def items(self) -> Items:
        """List the STAC items of the results, waiting a little while there are none yet; one request for 100 items.

        A job that was not successful has no items, and costs no request. `errors` has what could not be read.

        Raises:
            APIError: (While listing) they could not be asked for.
        """
        return job_results.result_items(current_client(self._client), self._result_url)

    async def download(
        self,
        directory: str | os.PathLike[str],
        *,
        keys: Iterable[str] | None = None,
        roles: Iterable[str] | None = None,
        media_types: Iterable[str] | None = None,
        unpack: bool = False,
        resume: bool = True,
    ) -> list[Path]:
        """Bring the files of the results: each whole and verified, or not at all.

        Costs one request for 100 items and two for each file. What broke off before is continued.

        Args:
            directory: Where to put them; made when it is missing.
            keys: Only the assets with these keys.
            roles: Only the assets with one of these roles, such as `"data"`.
            media_types: Only the assets of these media types, such as `"image/tiff"`, whatever parameters they have.
            unpack: Whether to unpack archives, each into a directory beside it.
            resume: Whether to keep what came of a file that broke off, as `name.part`, and go on from there the next
                time.

        Returns:
            The files, in the order of item ids and asset keys.

        Raises:
            JobFailedError: The job failed, so there is nothing to bring.
            UnfinishedJob: It is still under way.
            DownloadError: A file could not be had, or not whole; the others came all the same. Several are a
                `DownloadErrorGroup`.
            APIError: The items could not be asked for.
            TypeError: `keys`, `roles` or `media_types` is no list of strings.
        """
        options = DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume)
        url = self.raise_for_status().collection_url
        return await job_results.download_result(current_client(self._client), url, directory, options)

    @property
    def _result_url(self) -> str | None:
        """The collection of the results, None where the status says that there are none."""
        return self.collection_url if self.is_successful else None

    def _update(self, newer: "Job", asked_at: float, settle: float) -> None:
        """Take over everything from a newer state of the same job, and see whether it has settled.

        Args:
            newer: The newer state.
            asked_at: When it was asked for, on the clock of the loop.
            settle: Seconds that SUCCESSFUL or FAILED has to stay where credits are due.
        """
        if newer.status is not self.status:
            self._settling_since = None
        self._take_over(newer)
        self._look(asked_at, settle)

    def _take_over(self, other: "Job") -> None:
        """Become like another object for the same job."""
        for name in _STATE:
            setattr(self, name, getattr(other, name))
        self._client, self._misfits = other._client or self._client, other._misfits

    def _follow(self, other: "Job") -> None:
        """Become like another object for the same job, one that is looked at instead of this one."""
        self._take_over(other)
        self._settling_since = other._settling_since

    def _look(self, asked_at: float, settle: float) -> None:
        """Note when SUCCESSFUL or FAILED was first seen, and when it has stayed."""
        if self.status not in _SETTLING:
            return
        if self._settling_since is None:
            self._settling_since = asked_at
        if asked_at - self._settling_since >= settle - _ROUNDING:
            self._settling_since = AT_ONCE

    def __copy__(self) -> "Job":
        twin = attrs.evolve(self)
        twin._client, twin._misfits, twin._settling_since = self._client, self._misfits, self._settling_since
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> "Job":
        twin = copy.copy(self)
        for name in _STATE:
            setattr(twin, name, copy.deepcopy(getattr(self, name), memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Leave the client out: it holds a password, and connections that cannot be copied."""
        # moments of one loop's clock mean nothing to another, that a job has settled does
        settled = AT_ONCE if self._settling_since == AT_ONCE else None
        state = {name: getattr(self, name) for name in _STATE}
        return {**state, "_misfits": self._misfits, "_settling_since": settled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._client = None
        for name, value in state.items():
            setattr(self, name, value)


_STATE: Final = tuple(field.name for field in attrs.fields(Job))


def read_job(client: Client | None, metadata: Any, request: ApiRequest | None = None) -> Job:
    """Make a job of what UP42 sent.

    Args:
        client: The client the job came from.
        metadata: The decoded JSON.
        request: What was asked, for errors.

    Raises:
        UnexpectedResponseError: It has no id or no status.
    """
    try:
        fields, misfits = job_fields(metadata)
    except ValueError as error:
        id_ = metadata.get("jobID") if isinstance(metadata, dict) else None
        message = f"job {id_!r:.80} cannot be read: {error!s:.200}"
        raise UnexpectedResponseError(message, request=str(request or "")) from None
    job = Job(*fields)
    job._client = client
    if misfits:
        job._misfits = misfits
    return job


def read_one(client: Client, metadata: Any, request: ApiRequest, job_id: str) -> Job:
    """Make a job of what UP42 sent for one id, and warn of what does not fit in it.

    Raises:
        UnexpectedResponseError: It is another job, or has no id or no status.
    """
    job = read_job(client, metadata, request)
    listing.check_id(job.id, job_id, request)
    listing.warn_of(listing.misfit(job, request))
    return job


def _sorter(field: SortingField) -> Callable[[list[Job]], list[Job]]:
    """Return what sorts jobs that came in several lists.

    Raises:
        ValueError: They cannot be sorted by this field.
    """
    value = _SORTED_BY.get(field.name)
    if value is None:
        message = f"jobs with given ids can be sorted by one of {', '.join(_SORTED_BY)}, not by {field.name!r}"
        raise ValueError(message)
    return partial(filters.arranged, value=value, ascending=field.ascending)


class JobPoller(Poller[Job]):
    """Everybody who waits for jobs of one client."""

    def __init__(self, client: Client) -> None:
        """Ask for nothing yet.

        Args:
            client: Whom to ask with.
        """
        by_id = ById(client, partial(read_job, client), _id_of)
        super().__init__(by_id.ask, listing.MAX_IDS, timings=Timings(settle=client._polling.settle))


def waiting_for(client: Client, jobs: Mapping[str, Job | None], **how: Any) -> Waiting[Job]:
    """Return a wait for jobs, by the client's schedule where none is given.

    Args:
        client: Whom to ask with.
        jobs: The jobs by id, None where only the id is known.
        how: The schedule, what else ends the wait, and whether to show it, as `Waiting` takes them.

    Raises:
        TypeError: A schedule of the wrong type.
        ValueError: A schedule that cannot be right.
    """
    return Waiting(
        client._service(JobPoller), jobs, client._polling, requests=lambda: client.statistics().requests, **how
    )
