"""Download the results of many jobs, also of jobs that finish while other results are downloaded."""

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
    """The downloads of the results of many jobs; `download` returns it."""

    _function = "download"

    def _job_id(self, source: Job | str) -> str:
        if not isinstance(source, str | Job):
            raise TypeError(f"jobs must be jobs or their ids, not {source!r:.80}")
        return source if isinstance(source, str) else source.id

    async def _files_of(self, source: Job | str) -> SourceFiles:
        """Return the wanted files of a job, and check its directory.

        Raises:
            Up42Error: A request failed, the job is not successful, or its directory is a symbolic link.
        """
        client = current_client(self._client or (None if isinstance(source, str) else source.client))
        downloads = self._downloads(self._job_id(source), client)
        job = await Job.get(source, client=client) if isinstance(source, str) else source
        url = job._result_url  # noqa: SLF001 - private to users, not to this folder
        found = await result_files(downloads, url or job.raise_for_status().collection_url)
        if await anyio.Path(downloads.directory).is_symlink():
            message = f"{downloads.directory} is a symbolic link, which is not followed; remove it"
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
    """Download the results of many jobs, each file complete and verified, or not at all.

    `await download(...)` returns all files in the order of the jobs. `async with download(...) as files:` with
    `async for file in files:` returns each when it is complete, while your own code runs; leaving the block early stops
    the downloads. A file that fails is a `ResultFile` with an error, and does not stop the others.

    For each job, one request for every 100 items (and one for the job, when it is given by id), and two for each file.
    At most `Limits.max_downloads` files are downloaded at once, on connections of their own.

    Args:
        jobs: Jobs or job ids. Of an async iterable such as `track(jobs)`, each job is downloaded when it is yielded.
        directory: Directory for the files: those of each job go into a directory in it, named by the job's id and made
            when it is missing.
        keys: Only the assets with these keys.
        roles: Only the assets with one of these roles, such as `"data"`.
        media_types: Only the assets of these media types, such as `"image/tiff"`, whatever parameters they have.
        unpack: Whether to unpack archives (`.zip`, `.tgz`, `.tar.gz`, `.tar`), each into a directory beside it.
        resume: Whether to keep an incomplete file as `name.part`, which the next download continues.
        bar: Whether to show a progress bar, in a terminal or notebook; needs `up42-async[progress]`.
        client: The client to use; else that of a job, else the current one.

    Raises:
        RuntimeError: A bar needs `rich`, which is not installed.
        TypeError: `jobs` is one job instead of several, or `keys`, `roles` or `media_types` is no list of strings.
    """
    if isinstance(jobs, str | Job):
        raise TypeError(
            "download() takes many jobs; for one there is `await job.download(directory)`, or download([job], ...)"
        )
    options = DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume)
    return JobDownloads(jobs, directory, options, client, bar=bar)
