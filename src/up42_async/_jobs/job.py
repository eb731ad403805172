"""A job: fetch one, list many, track it, and get its results."""

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
from up42_async._jobs.parsing import job_request, read, read_one, unreadable_error, warn_of
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

    Jobs are equal when all their fields are, and hashed by their id. A field that cannot be read in UP42's record is
    None, whatever its type says here, and named in the log once.
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
    """Keys of its record that this version of the library does not know, with their values; `==` ignores them."""

    def __hash__(self) -> int:
        """Return the hash of the id."""
        return hash(self.id)

    @staticmethod
    def from_metadata(metadata: JobMetadata, *, client: Client | None = None) -> "Job":
        """Return the job of its metadata; no request.

        Args:
            metadata: The job as UP42 sends it. Unknown keys are kept in `extra`; a field that cannot be read is None,
                with one warning in the log.
            client: The client to use for this job from now on; else the current one.

        Raises:
            UnexpectedResponseError: It is not an object, or has no id or no status.
        """
        job = read_job(client, metadata)
        warn_of(unreadable_error(job, None))
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
            APIError: The request failed; the subclass says how.
            TypeError: The ID is not a string, or was given twice or not at all.
            ValueError: The ID is empty, `"."` or `".."`, longer than 256 characters, or not printable.
            RuntimeError: There is no client, or it is closed.
        """
        wanted = id if job_id is None else job_id
        if wanted is None or (job_id is not None and id is not None):
            raise TypeError("Job.get() takes the ID of one job: Job.get(job_id)")
        client = current_client(client)
        request, asked_at = job_request(wanted), _clock.now()
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
        """List jobs: an async iterator, which requests a page when the one before is used up.

        One request for every `page_size` jobs, or for fewer when the server gives fewer; with `ids` one for every 100
        of them. An entry that cannot be read does not hide the others: it is in the iterator's `errors`, and once in
        the log.
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
            ValueError: A filter out of its range, such as an empty ID, or a field by which `ids` cannot be sorted.
            APIError: (While listing) a request failed; the next step sends it again.
            RuntimeError: There is no client, or (while listing) it is closed.
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
        """Return the job if it was successful, and raise otherwise; no request.

        Raises:
            JobFailedError: It ended without results.
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
            APIError: The request failed; the subclass says how.
            RuntimeError: There is no client, or it is closed.
        """
        client = current_client(self._client)
        request, asked_at = job_request(self.id), _clock.now()
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

        The first query is sent at once, then one every `wait` seconds; a request asks for up to 100 jobs of the client
        that are tracked at the same time. A job that failed does not raise: see `status`, `errors` and
        `raise_for_status()`. Cancelling the wait does not touch the job.

        Args:
            wait: Seconds between two queries, from 0 to 1e9; or a callable without arguments that returns a generator
                of them, such as `functools.partial(backoff.expo, max_value=60)`; or `"adaptive"`, as in `track`. Left
                out, the client's (`Client(polling=...)`): 60.
            retries: Most queries, 1 or more. Left out, the client's: 4320, which take 3 days at 60 seconds.
            until: Statuses that end the wait as well, such as `[JobStatus.RUNNING]`, also when the job has passed them
                between two queries.
            stalled_after: Seconds without a new `status` or `updated`, counted from the first query of this wait, after
                which the wait ends; None for never. RUNNING for a day is real, and one recorded job in six never ended.
            bar: Whether to show the status while waiting, as `track` does.

        Raises:
            UnfinishedJob: The queries are used up, the job has stalled, or UP42 refuses to answer for it: 401 or 403
                twice, at least 10 seconds apart, or 404 for 5 minutes.
            RuntimeError: There is no client, it was closed meanwhile, or `rich` is missing for a board in a terminal.
            TypeError: An argument of the wrong type.
            ValueError: An argument out of its range.
        """
        waiting: Waiting[Job] = Waiting(
            current_client(self._client),
            job_poller,
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
        """Fetch the STAC collection of the results; one request, and a few more while it is not visible yet.

        Returns:
            The collection; None unless the job was successful.

        Raises:
            NotFoundError: It is still not visible after 15 seconds (`Polling.visible`).
            APIError: The request failed; the subclass says how.
            RuntimeError: There is no client, or it is closed.
        """
        return await job_results.result_collection(current_client(self._client), self._result_url)

    def items(self) -> Items:
        """List the STAC items of the results; one request for every 100 items.

        While there are none yet, they are requested again for up to 15 seconds (`Polling.visible`). A job that was not
        successful has no items, and costs no request. The list's `errors` has one error for each item that could not be
        read.

        Raises:
            APIError: (While listing) a request failed; the next step sends it again.
            RuntimeError: There is no client, or (while listing) it is closed.
            UnexpectedResponseError: `collection_url` is not the URL of a collection.
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
        """Download the files of the results: each complete and verified, or not at all.

        One request for every 100 items and two for each file. A download that broke off before is continued.

        Args:
            directory: Directory for the files; made when it is missing.
            keys: Only the assets with these keys.
            roles: Only the assets with one of these roles, such as `"data"`.
            media_types: Only the assets of these media types, such as `"image/tiff"`, whatever parameters they have.
            unpack: Whether to unpack archives, each into a directory beside it.
            resume: Whether to keep an incomplete file as `name.part`, which the next download continues.

        Returns:
            The files, in the order of item ids and asset keys.

        Raises:
            JobFailedError: The job ended without results.
            UnfinishedJob: It is still under way.
            DownloadError: A file failed; the others were downloaded. Several are a `DownloadErrorGroup`.
            APIError: A request for the items failed; the subclass says how.
            RuntimeError: There is no client, or it is closed.
            TypeError: `keys`, `roles` or `media_types` is no list of strings.
        """
        options = DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume)
        url = self.raise_for_status().collection_url
        return await job_results.download_result(current_client(self._client), url, directory, options)


Job._names = tuple(field.name for field in attrs.fields(Job))

read_job: Final = partial(read, Job)
"""Returns the job of its metadata."""


def job_poller(client: Client) -> Poller[Job]:
    """Return a poller for the jobs of a client; each client has one (`Client._service`)."""
    by_id = ById(client, partial(read_job, client), _id_of)
    return Poller(by_id.ask, MAX_IDS, timings=Timings(settle=client._polling.settle))
