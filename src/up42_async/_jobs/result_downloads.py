"""Bring home the results of many jobs, while they become known and while the caller's own code runs."""

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import attrs

from up42_async._bulk import BulkOperation
from up42_async._client import Client, current_client
from up42_async._downloads.directory import Downloads, sharing_names
from up42_async._downloads.download import DownloadError
from up42_async._downloads.file_names import safe_name, with_digest
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.progress import ProgressTracker, ProgressWatch
from up42_async._downloads.progress_bar import check_installed, show_bar
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import Up42Error
from up42_async._jobs.job import Job
from up42_async._storage.job_results import ResultFiles, result_files

_FILES: Final = 2**32


@attrs.frozen(kw_only=True)
class ResultFile:
    """One file of a job's result: where it is, or why it did not come."""

    job_id: str
    """The job."""
    item_id: str | None = None
    """The STAC item that the file belongs to; None when it never came to files."""
    asset_key: str | None
    """The key of the asset in its item; None when it never came to files."""
    path: Path | None = None
    """Where it is, whole; None when it did not come."""
    unpacked: tuple[Path, ...] = ()
    """The files of the archive, when it was unpacked."""
    error: Up42Error | None = None
    """Why it did not come; None when it is here."""

    @property
    def key(self) -> str | None:
        """Another name of `asset_key`."""
        return self.asset_key


class DownloadBatch(BulkOperation[Job | str, ResultFile]):
    """The results of many jobs on their way; see `download`."""

    def __init__(
        self,
        jobs: Iterable[Job | str] | AsyncIterable[Job | str],
        directory: Path,
        options: DownloadOptions,
        client: Client | None,
        *,
        bar: bool,
    ) -> None:
        """Prepare; see `download`."""
        super().__init__((), "download")
        self._open = 1  # until the last file of the last job
        self._jobs = jobs
        self._directory = directory
        self._options = options
        self._client = client
        self._bar = bar
        self._tracker = ProgressTracker()

    def progress(self) -> ProgressWatch:
        """Return an async iterator over how far all files have come, which ends with them.

        It gives the newest state each time, so that a slow reader never lags behind. It costs no requests.
        """
        return ProgressWatch(self._tracker)

    async def _work_on_all(self) -> None:
        source = _Source(self._jobs)
        try:
            async with anyio.create_task_group() as group:
                if self._bar:
                    group.start_soon(show_bar, self.progress(), self._options.timings.redraw)
                await self._with_workers(source)
        finally:
            self._failure = self._failure or source.error
            self._open = 0
            self._tracker.close()
            self._announce()

    async def _with_workers(self, source: "_Source") -> None:
        async with anyio.create_task_group() as workers:
            for _ in range(self._options.max_jobs):
                workers.start_soon(self._work_from, source)
        self._tracker.close()

    async def _work_from(self, source: "_Source") -> None:
        while (found := await source.next(self._tracker)) is not None:
            await self._work_on(*found)

    async def _work_on(self, position: int, item: Job | str) -> None:
        """Bring the files of one job."""
        job_id = item if isinstance(item, str) else item.id
        try:
            downloads = self._downloads(job_id, self._client_for(item))
            found = await self._files_of(item, downloads)
        except Up42Error as error:
            self._tracker.found()
            self._record(position * _FILES, ResultFile(job_id=job_id, asset_key=None, error=error))
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
            self._fail(error)
        else:
            self._tracker.found()
            first = position * _FILES
            for number, unreadable in enumerate(found.errors, start=len(found.files)):
                self._record(first + number, ResultFile(job_id=job_id, asset_key=None, error=unreadable))
            async with anyio.create_task_group() as group:
                for number, shares_name in enumerate(sharing_names(found.files)):
                    bring = partial(self._bring, downloads, found.files[number], job_id, shares_name=shares_name)
                    group.start_soon(bring, first + number)

    def _client_for(self, item: Job | str) -> Client:
        return current_client(self._client or (None if isinstance(item, str) else item.client))

    def _downloads(self, job_id: str, client: Client) -> Downloads:
        name = safe_name(job_id)
        directory = self._directory / (name if name == job_id else with_digest(name or "job", job_id))
        return Downloads(client, directory, self._options, progress=self._tracker)

    async def _files_of(self, item: Job | str, downloads: Downloads) -> ResultFiles:
        """Return which files of a job are wanted, and make sure that they have a place to go to.

        Raises:
            Up42Error: They could not be had, for one because the job failed or is still under way.
        """
        job = await Job.get(item, client=downloads.client) if isinstance(item, str) else item
        url = job.raise_for_status().collection_url
        found = await result_files(downloads.client, url, self._options)
        if await anyio.Path(downloads.directory).is_symlink():
            message = f"{downloads.directory} is a symbolic link, and nothing is put behind it"
            raise DownloadError(message)
        return found

    async def _bring(
        self, downloads: Downloads, file: RemoteFile, job_id: str, position: int, *, shares_name: bool
    ) -> None:
        result = ResultFile(job_id=job_id, item_id=file.item_id, asset_key=file.key)
        try:
            here = await downloads.fetch(file, job_id=job_id, shares_name=shares_name)
        except Up42Error as error:
            self._record(position, attrs.evolve(result, error=error))
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
            self._fail(error)
        else:
            self._record(position, attrs.evolve(result, path=here.path, unpacked=here.unpacked))


class _Source:
    """The jobs as they become known, each taken by one worker."""

    def __init__(self, jobs: Iterable[Job | str] | AsyncIterable[Job | str]) -> None:
        self.error: Exception | None = None
        self._jobs: Iterator[Job | str] | AsyncIterator[Job | str] = (
            aiter(jobs) if isinstance(jobs, AsyncIterable) else iter(jobs)
        )
        self._taken = 0
        self._is_over = False
        self._lock = anyio.Lock()

    async def next(self, tracker: ProgressTracker) -> tuple[int, Job | str] | None:
        """Return the next job and its position, None when there are no more.

        Args:
            tracker: Is told that the files of a job will be looked up, or that there are no more jobs.
        """
        async with self._lock:
            if self._is_over:
                return None
            try:
                job = await anext(self._jobs) if isinstance(self._jobs, AsyncIterator) else next(self._jobs)
            except (StopAsyncIteration, StopIteration):
                self._is_over = True
            except Exception as error:  # noqa: BLE001 - raised when the files of the jobs before have come
                self.error, self._is_over = error, True
            else:
                self._taken += 1
                tracker.expect()
                return self._taken - 1, job
            tracker.found()
            return None


def download(
    jobs: Iterable[Job | str] | AsyncIterable[Job | str],
    directory: str | os.PathLike[str],
    *,
    keys: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
    media_types: Iterable[str] | None = None,
    unpack: bool = False,
    resume: bool = True,
    bar: bool = False,
    client: Client | None = None,
) -> DownloadBatch:
    """Bring home the results of many jobs, each file whole and verified, or not at all.

    `await download(...)` gives all files in the order of the jobs. `async with download(...) as files:` with
    `async for file in files:` gives each as it lands, while your own code runs; leaving the block early stops what is
    under way. A file that does not come is a `ResultFile` with an error, and keeps no other from coming.

    Costs for each job one request for every 100 items (and one for the job, when it is given by id), and two for each
    file. At most `Limits.max_downloads` files come at once, on connections of their own.

    Args:
        jobs: Jobs or job ids; of an async iterable such as `track(jobs)` each result comes as soon as it is there.
        directory: Where to put them: each job's files go into a directory with the job's id, made when it is missing.
        keys: Only the assets with these keys.
        roles: Only the assets with one of these roles, such as `"data"`.
        media_types: Only the assets of these media types, such as `"image/tiff"`, whatever parameters they have.
        unpack: Whether to unpack archives (`.zip`, `.tgz`, `.tar.gz`, `.tar`), each into a directory beside it.
        resume: Whether to keep what came of a file that broke off, as `name.part`, and go on from there the next time.
        bar: Whether to show a progress bar, in a terminal or notebook; needs `up42-async[progress]`.
        client: The client to use; else the one a job came from, else the current one.

    Raises:
        RuntimeError: A bar is wanted, and `rich` is not installed.
        TypeError: `jobs` is one job instead of several.
    """
    if isinstance(jobs, str | Job):
        raise TypeError(
            "download() takes many jobs; for one there is `await job.download(directory)`, or download([job], ...)"
        )
    if bar:
        check_installed()
    options = DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume)
    return DownloadBatch(jobs, Path(directory), options, client, bar=bar)
