"""Jobs: one, all that match, and the wait for one."""

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
from up42_async._errors import Up42Error
from up42_async._jobs import filters, listing
from up42_async._jobs.id_queries import MAX_IDS, ById
from up42_async._jobs.job_state import JobState
from up42_async._jobs.models import (
    SETTLING_STATUSES,
    TERMINAL_STATUSES,
    JobMetadata,
    JobStatus,
    SortingField,
    ValidationError,
)
from up42_async._jobs.parsing import misfit, one, read, read_one, warn_of
from up42_async._jobs.poller import Poller, Waiting
from up42_async._jobs.polling_state import Timings
from up42_async._storage import job_results
from up42_async._storage.items import Items

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
        self.finished: list[Job] = list(finished)
        self.unfinished: list[Job | str] = list(unfinished)
        self.reasons: dict[str, str] = dict(reasons or {})
        self.job = job


@attrs.define(repr=False, slots=False)
class Job(JobState):
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
        warn_of(misfit(job, None))
        return job

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
        request, asked_at = one(wanted), _clock.now()
        job = read_one(Job, client, await client._session.call(request), request, wanted)
        if job.status in SETTLING_STATUSES:
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
        arrange = None if sort_by is None else filters.sorter(sort_by)
        return listing.IdPager(client, partial(read_job, client), wanted, limit=limit, key=_id_of, arrange=arrange)

    def raise_for_status(self) -> "Job":
        """Raise unless the job was successful; return it otherwise.

        Raises:
            JobFailedError: It failed.
            UnfinishedJob: It is still under way.
        """
        if self.is_successful:
            return self
        if self.status in TERMINAL_STATUSES or self.status in SETTLING_STATUSES:
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
        request, asked_at = one(self.id), _clock.now()
        newer = read_one(type(self), client, await client._session.call(request), request, self.id)
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
        waiting: Waiting[Job] = Waiting(
            current_client(self._client),
            JobPoller,
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
            resume: Whether to keep what came of a file that broke off, as `name.part`, and continue it the next time.

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


Job._names = tuple(field.name for field in attrs.fields(Job))

read_job: Final = partial(read, Job)
"""Makes a job of what UP42 sent."""


class JobPoller(Poller[Job]):
    """Everybody who waits for jobs of one client."""

    def __init__(self, client: Client) -> None:
        """Set up polling of jobs, as the client's settings have it.

        Args:
            client: Whom to ask with.
        """
        by_id = ById(client, partial(read_job, client), _id_of)
        super().__init__(by_id.ask, MAX_IDS, timings=Timings(settle=client._polling.settle))
