"""Know jobs: one, all that match, and many until they are finished."""

import copy
import datetime as dt
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
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
from up42_async._jobs import filters, listing
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
from up42_async._jobs.parsing import job_fields
from up42_async._jobs.poller import SETTLE, Progress, Tracker, Watcher
from up42_async._storage import job_results

_TERMINAL = frozenset(TERMINAL_STATUSES)
_SETTLING = frozenset(SETTLING_STATUSES)
_SORTED_BY: Final = {
    JobSorting.process_id.name: attrgetter("process_id"),
    JobSorting.status.name: attrgetter("status.value"),
    JobSorting.created.name: attrgetter("created"),
    JobSorting.credits.name: attrgetter("credits"),
}
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


@attrs.define
class Job:
    """A job in UP42: a process that runs, or ran, on some inputs."""

    process_id: str
    """The process ID in a name format."""
    id: str
    """The job ID."""
    account_id: str
    """The account ID."""
    workspace_id: str | None
    """The workspace ID."""
    definition: dict[str, Any] = attrs.field(repr=False)
    """The inputs and other parameters used to execute the job."""
    status: JobStatus
    """The job status."""
    created: dt.datetime
    """When the job was created (aware, UTC)."""
    updated: dt.datetime
    """When the job was last updated (aware, UTC)."""
    collection_url: str | None = None
    """The URL of the resulting STAC collection, once there is one."""
    errors: list[ValidationError] | None = None
    """Job errors."""
    credits: int | None = None
    """The job cost, in credits."""
    started: dt.datetime | None = None
    """When the job was started (aware, UTC)."""
    finished: dt.datetime | None = None
    """When the job was finished (aware, UTC)."""
    _client: Client | None = attrs.field(default=None, repr=False, eq=False)
    _settled: bool = attrs.field(default=False, repr=False, eq=False, init=False)
    _settling_since: float | None = attrs.field(default=None, repr=False, eq=False, init=False)

    @staticmethod
    def from_metadata(metadata: JobMetadata, *, client: Client | None = None) -> "Job":
        """Make a job of its metadata.

        Args:
            metadata: The job as UP42 sends it. Keys that are not known are ignored.
            client: The client to use for this job from now on; else the current one.

        Raises:
            UnexpectedResponseError: Something that every job has is missing or makes no sense.
        """
        return read_job(client, metadata, None)

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
        if (job_id is None) == (id is None):
            message = "Job.get() takes the ID of one job: Job.get(job_id)"
            raise TypeError(message)
        client = current_client(client)
        request = listing.one(id if job_id is None else job_id)
        job = read_job(client, await client._session.call(request), request)
        job._look()  # noqa: SLF001 - its own class
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
    ) -> "AsyncIterator[Job]":
        """List jobs: an async iterator, which asks for a page when the one before is used up.

        One request for every 500 jobs, or however many the server gives at once; with `ids` one for every 100 of them.
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
            return listing.pager(client, _reader(client), wanted, limit=limit, key=_id_of)
        arrange = None if sort_by is None else _sorter(sort_by)
        return listing.IdPager(client, _reader(client), wanted, limit=limit, key=_id_of, arrange=arrange)

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

        So it is after a terminal status, and after SUCCESSFUL or FAILED that `track` or `refresh` still found unchanged
        some seconds after they first saw it: on one generation of the platform these two are the end, on another
        CAPTURED and RELEASED follow.
        """
        return self.status in _TERMINAL or self._settled

    @property
    def progress(self) -> Progress:
        """How near the end it is, for the tracker."""
        if self.is_finished:
            return Progress.FINISHED
        return Progress.SETTLING if self.status in _SETTLING else Progress.UNDER_WAY

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
        request = listing.one(self.id)
        self.update(read_job(client, await client._session.call(request), request))
        self._look()
        return self

    async def track(self, wait: Wait | None = None, retries: int | None = None) -> "Job":
        """Wait until the job is finished, updating this object; returns the job itself.

        The job is asked for at once and then every `wait` seconds, together with all other jobs of the client that are
        waited for meanwhile. A job that failed is no exception: see `status`, `errors` and `raise_for_status()`.
        Cancelling the wait does not touch the job.

        Args:
            wait: Seconds between two queries, from 0 to 1e9; or a callable without arguments that returns a generator
                of them, such as `functools.partial(backoff.expo, max_value=60)`. Left out, the client's
                (`Client(polling=...)`): 60.
            retries: How often to ask at the most, 1 or more. Left out, the client's: 4320, with 60 seconds in between 3
                days.

        Raises:
            UnfinishedJob: The queries are used up, or UP42 refuses to answer for this job.
            RuntimeError: The client was closed meanwhile.
        """
        watcher = watcher_of(current_client(self._client), {self.id: self}, wait=wait, retries=retries)
        watch = await watcher.next_of(watcher.ended)
        if watch is not None and watch.reason is not None:
            message = (
                f"job {self.id}: {watch.reason}; the job goes on at UP42, and `await job.track()` waits for it again"
            )
            raise UnfinishedJob(message, unfinished=[self], reasons={self.id: watch.reason}, job=self)
        return self

    async def collection(self) -> pystac.Collection | None:
        """Fetch the STAC collection of the results; one request, a few more while it is not visible yet.

        Returns:
            The collection; None when the job has none, because it is not finished or failed.

        Raises:
            NotFoundError: It is still not visible after a quarter of a minute.
            APIError: It could not be asked for.
        """
        return await job_results.result_collection(current_client(self._client), self.collection_url)

    def items(self) -> AsyncIterator[pystac.Item]:
        """List the STAC items of the results, waiting a little while there are none yet; one request for 100 items.

        A job without results has no items, and costs no request.

        Raises:
            APIError: (While listing) they could not be asked for.
        """
        return job_results.result_items(current_client(self._client), self.collection_url)

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

    def update(self, newer: "Job") -> None:
        """Take over everything from a newer state of the same job.

        Args:
            newer: The newer state.
        """
        if newer.status is not self.status:
            self._settling_since, self._settled = None, False
        for name in _STATE:
            setattr(self, name, getattr(newer, name))
        self._client = newer.client or self._client

    def settle(self) -> None:
        """Note that SUCCESSFUL or FAILED is the end of this job."""
        self._settled = True

    def _look(self) -> None:
        """Note when SUCCESSFUL or FAILED was first seen, and when it has stayed."""
        if self.status not in _SETTLING:
            return
        now = _clock.now()
        if self._settling_since is None:
            self._settling_since = now
        self._settled = self._settled or now - self._settling_since >= SETTLE

    def __copy__(self) -> "Job":
        twin = attrs.evolve(self)
        twin._settled, twin._settling_since = self._settled, self._settling_since  # noqa: SLF001 - its own class
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> "Job":
        twin = copy.copy(self)
        for name in _STATE:
            setattr(twin, name, copy.deepcopy(getattr(self, name), memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Leave the client out: it holds a password, and connections that cannot be copied."""
        return {name: getattr(self, name) for name in (*_STATE, "_settled")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._client, self._settling_since = None, None
        for name, value in state.items():
            setattr(self, name, value)


_STATE: Final = tuple(field.name for field in attrs.fields(Job) if not field.name.startswith("_"))


def read_job(client: Client | None, metadata: Any, request: ApiRequest | None) -> Job:
    """Make a job of what UP42 sent.

    Args:
        client: The client the job came from.
        metadata: The decoded JSON.
        request: What was asked, for errors.

    Raises:
        UnexpectedResponseError: Something that every job has is missing or makes no sense.
    """
    try:
        return Job(*job_fields(metadata), client)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        id_ = metadata.get("jobID") if isinstance(metadata, dict) else None
        message = f"job {id_!r:.80} cannot be read: {what:.200}"
        raise UnexpectedResponseError(message, request=str(request or "")) from None


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


def _reader(client: Client) -> listing.Read[Job]:
    return partial(read_job, client)


class Schedule(Tracker[Job]):
    """The jobs of one client that are waited for, by whomever."""

    def __init__(self, client: Client) -> None:
        """Begin with nobody waiting."""
        super().__init__(listing.ById(client, _reader(client), _id_of).ask, listing.MOST_IDS)


def watcher_of(
    client: Client, jobs: Mapping[str, Job | None], *, wait: Wait | None, retries: int | None
) -> Watcher[Job]:
    """Return what waits for jobs, by the client's schedule where none is given.

    Args:
        client: Whom to ask with.
        jobs: The jobs by id, None where only the id is known.
        wait: Seconds between two queries, or what makes a generator of them; None for the client's.
        retries: How often to ask for each job at the most; None for the client's.

    Raises:
        TypeError: A schedule of the wrong type.
        ValueError: A schedule that cannot be right.
    """
    polling = client._polling
    return Watcher(
        client._service(Schedule),
        jobs,
        wait=polling.wait if wait is None else wait,
        retries=polling.retries if retries is None else retries,
    )
