"""Bring the results of many jobs, while they become known and while the caller's own code runs."""

import os
from collections.abc import AsyncIterable, Iterable

import anyio

from up42_async._client import Client, current_client
from up42_async._downloads.directory import Downloads, SourceFiles
from up42_async._downloads.download import DownloadError
from up42_async._downloads.file_names import safe_name, with_digest
from up42_async._downloads.options import DownloadOptions
from up42_async._jobs.job import Job
from up42_async._storage.download_batch import DownloadBatch
from up42_async._storage.job_results import result_files


class JobDownloads(DownloadBatch):
    """The results of many jobs on their way; see `download`."""

    _function = "download"

    def _job_id(self, source: Job | str) -> str:
        if not isinstance(source, str | Job):
            raise TypeError(f"jobs must be jobs or their ids, not {source!r:.80}")
        return source if isinstance(source, str) else source.id

    async def _files_of(self, source: Job | str) -> SourceFiles:
        """Return which files of a job are wanted, and make sure that they have a place to go to.

        Raises:
            Up42Error: They could not be had, for one because the job failed or is still under way.
        """
        client = current_client(self._client or (None if isinstance(source, str) else source.client))
        downloads = self._downloads(self._job_id(source), client)
        job = await Job.get(source, client=client) if isinstance(source, str) else source
        found = await result_files(downloads, job.raise_for_status().collection_url)
        if await anyio.Path(downloads.directory).is_symlink():
            message = f"{downloads.directory} is a symbolic link, and nothing is put behind it"
            raise DownloadError(message)
        return found

    def _downloads(self, job_id: str, client: Client) -> Downloads:
        name = safe_name(job_id)
        directory = self._directory / (name if name == job_id else with_digest(name or "job", job_id))
        return Downloads(client, directory, self._options, progress=self._tracker)


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
    """Bring the results of many jobs, each file whole and verified, or not at all.

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
        resume: Whether to keep what came of a file that broke off, as `name.part`, and continue it the next time.
        bar: Whether to show a progress bar, in a terminal or notebook; needs `up42-async[progress]`.
        client: The client to use; else the one a job came from, else the current one.

    Raises:
        RuntimeError: A bar is wanted, and `rich` is not installed.
        TypeError: `jobs` is one job instead of several, or `keys`, `roles` or `media_types` is no list of strings.
    """
    if isinstance(jobs, str | Job):
        raise TypeError(
            "download() takes many jobs; for one there is `await job.download(directory)`, or download([job], ...)"
        )
    options = DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume)
    return JobDownloads(jobs, directory, options, client, bar=bar)
