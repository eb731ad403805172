"""Download the files of many items or jobs, also of an async iterable, while the caller's own code runs."""

import abc
import os
from collections.abc import AsyncIterable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from up42_async._bulk import BulkOperation, TaskGroup
from up42_async._client import Client, display
from up42_async._client.readable_list import ReadableList
from up42_async._downloads.directory import SourceFiles
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.progress import ProgressTracker, ProgressWatch
from up42_async._downloads.progress_bar import check_installed, show_bar
from up42_async._errors import Up42Error

_FILES: Final = 2**32
"""Positions reserved for each source, so that the results can be sorted by source."""


@attrs.frozen(kw_only=True)
class ResultFile:
    """One file of a download: its path, or why it failed."""

    job_id: str | None
    """The job whose result the file is part of; None for an item that is no job's, or that could not be read."""
    item_id: str | None = None
    """The STAC item of the file; None when the files of the job or item could not be listed."""
    asset_key: str | None = None
    """The key of the asset in its item; None when the files of the job or item could not be listed."""
    path: Path | None = None
    """The path of the complete file; None when it failed."""
    unpacked: tuple[Path, ...] = ()
    """The paths of the archive's files, when it was unpacked."""
    error: Up42Error | None = None
    """Why the file failed; None when it is complete."""

    def __repr__(self) -> str:
        """Return the file and its error in one line of at most 200 characters."""
        values = [("job_id", self.job_id), ("asset_key", self.asset_key), ("path", self.path)]
        return display.line("ResultFile", [*values, ("error", display.error_words(self.error))])

    @property
    def key(self) -> str | None:
        """The same as `asset_key`."""
        return self.asset_key


class DownloadBatch(BulkOperation[Any, ResultFile]):
    """Downloads of many files; see `download` and `download_items`."""

    _function: ClassVar[str]
    """Name of the function that the user called, for errors."""

    def __init__(
        self,
        sources: Iterable[Any] | AsyncIterable[Any],
        directory: str | os.PathLike[str],
        options: DownloadOptions,
        client: Client | None,
        *,
        bar: bool,
    ) -> None:
        if bar:
            check_installed()
        super().__init__(sources, self._function)
        self._sources = sources
        self._directory = Path(directory)
        self._options = options
        self._workers = options.max_jobs
        self._client = client
        self._bar = bar
        self._tracker = ProgressTracker()

    def progress(self) -> ProgressWatch:
        """Return an async iterator over the progress, which gives the newest state each time; it costs no requests."""
        return ProgressWatch(self._tracker)

    def __repr__(self) -> str:
        """Return how many files are complete, and how many failed."""
        progress = self._tracker.value()
        under_way = "" if progress.is_complete and not progress.active else ", more to come"
        failed = sum(result.error is not None for result in self.results)
        return f"<DownloadBatch: {display.counted(progress.files_done, 'file')} here, {failed} failed{under_way}>"

    def _repr_html_(self) -> str:
        """Return a table of the files, for notebooks."""
        rows = [
            (one.job_id, one.item_id, one.asset_key, display.error_words(one.error) if one.error else one.path)
            for one in self.results
        ]
        return display.listing(repr(self)[1:-1], ("job", "item", "asset", "file"), rows)

    @abc.abstractmethod
    def _job_id(self, source: Any) -> str | None:
        """Return the id of the job of a source, None for an item that is no job's."""

    @abc.abstractmethod
    async def _files_of(self, source: Any) -> SourceFiles:
        """Return the wanted files of a source; an `Up42Error` says why they cannot be listed."""

    async def _work_on_all(self) -> None:
        async with TaskGroup() as group:
            if self._bar:
                group.start_soon(show_bar, self.progress(), self._options.timings.redraw)
            try:
                await super()._work_on_all()
                self._record_unreadable()
            finally:
                self._tracker.close()

    def _record_unreadable(self) -> None:
        """Record an error for each entry that the list of sources left out since it could not be read."""
        errors = self._sources.unreadable if isinstance(self._sources, ReadableList) else []
        for position, error in enumerate(errors, start=self._source.taken * _FILES):
            self._record(position, ResultFile(job_id=None, error=error))

    async def _work(self) -> None:
        await super()._work()
        self._tracker.found_all()  # other workers may still list the files of the sources they took

    async def _work_on(self, position: int, item: Any) -> None:
        """Download the files of one source."""
        first = position * _FILES
        self._tracker.expect()
        job_id = self._job_id(item)
        try:
            found = await self._files_of(item)
        except Up42Error as error:
            self._tracker.found()
            self._record(first, ResultFile(job_id=job_id, error=error))
        else:
            self._tracker.found()
            for number, unreadable in enumerate(found.errors, start=len(found.files)):
                self._record(first + number, ResultFile(job_id=job_id, error=unreadable))
            await self._download_all(found, job_id, first)

    async def _download_all(self, found: SourceFiles, job_id: str | None, first: int) -> None:
        shares_name = found.downloads.sharing_names(found.files)
        async with TaskGroup() as group:
            for number, file in enumerate(found.files):
                fetch = partial(found.downloads.fetch, file, job_id=job_id, shares_name=shares_name[number])
                result = ResultFile(job_id=job_id, item_id=file.item_id, asset_key=file.key)
                group.start_soon(self._download, first + number, result, fetch)

    async def _download(self, position: int, result: ResultFile, fetch: Any) -> None:
        try:
            here = await fetch()
        except Up42Error as error:
            self._record(position, attrs.evolve(result, error=error))
        except Exception as error:  # noqa: BLE001 - the mistake of the caller is raised where the caller waits
            self._fail(error)
        else:
            self._record(position, attrs.evolve(result, path=here.path, unpacked=here.unpacked))
