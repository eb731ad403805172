"""Bring the files of many items or jobs, while these become known and while the caller's own code runs."""

import abc
import html
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import anyio
import attrs

from up42_async._bulk import BulkOperation
from up42_async._downloads.directory import Downloads
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.progress import ProgressTracker, ProgressWatch
from up42_async._downloads.progress_bar import show_bar
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import Up42Error
from up42_async._http.readable_list import ReadableList

SourceT = TypeVar("SourceT")

_FILES: Final = 2**32
"""Positions that each source has, so that all results can be put in the order of the sources."""

_MOST_ROWS: Final = 50


@attrs.frozen(kw_only=True)
class ResultFile:
    """One file of a download: where it is, or why it did not come."""

    job_id: str | None
    """The job whose result it is part of; None for an item that is no job's, or that could not be read."""
    item_id: str | None = None
    """The STAC item that the file belongs to; None when it never came to files."""
    asset_key: str | None = None
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


@attrs.frozen(kw_only=True)
class SourceFiles:
    """The files of one job or item."""

    downloads: Downloads
    """Where they go."""
    files: list[RemoteFile]
    shares_name: list[bool]
    """For each file, whether one before it has the same key."""
    errors: list[Any] = attrs.field(factory=list)
    """One error for each item whose files are not known."""


class DownloadBatch(BulkOperation[Any, ResultFile]):
    """Files on their way; see `download` and `download_items`."""

    def __init__(
        self, sources: Iterable[Any] | AsyncIterable[Any], options: DownloadOptions, verb: str, *, bar: bool
    ) -> None:
        super().__init__((), verb)
        self._open = 1  # until the last file of the last source
        self._sources = sources
        self._options = options
        self._bar = bar
        self._tracker = ProgressTracker()

    def progress(self) -> ProgressWatch:
        """Return an async iterator over how far all files have come, which ends with them.

        It gives the newest state each time, so that a slow reader never lags behind. It costs no requests.
        """
        return ProgressWatch(self._tracker)

    def __repr__(self) -> str:
        """Return how many files are here."""
        progress = self._tracker.value()
        under_way = "" if progress.is_complete and not progress.active else ", more to come"
        return f"<DownloadBatch: {progress.files_done} files here, {self._failed()} failed{under_way}>"

    def _repr_html_(self) -> str:
        """Return a table of the files, for notebooks."""
        results = self.results
        rows = "".join(map(_row, results[:_MOST_ROWS]))
        more = f"<p>... and {len(results) - _MOST_ROWS} more</p>" if len(results) > _MOST_ROWS else ""
        head = "".join(f"<th>{name}</th>" for name in ("job", "item", "asset", "file"))
        return f"<p>{html.escape(repr(self)[1:-1])}</p><table><tr>{head}</tr>{rows}</table>{more}"

    def _failed(self) -> int:
        return sum(result.error is not None for result in self.results)

    @abc.abstractmethod
    def _job_id(self, source: Any) -> str | None:
        """Return the job to which a source belongs, None when it belongs to none."""

    @abc.abstractmethod
    async def _files_of(self, source: Any) -> SourceFiles:
        """Return which files of a source are wanted, and where they go.

        Raises:
            Up42Error: They are not known, for one because the job failed or is still under way.
        """

    async def _work_on_all(self) -> None:
        source = _Queue(self._sources)
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

    async def _with_workers(self, queue: "_Queue[Any]") -> None:
        async with anyio.create_task_group() as workers:
            for _ in range(self._options.max_jobs):
                workers.start_soon(self._work_from, queue)
        self._record_unreadable(queue.taken * _FILES)
        self._tracker.close()

    def _record_unreadable(self, first: int) -> None:
        """Note what a list left out since it could not be read, such as an item of a search."""
        errors = self._sources.unreadable if isinstance(self._sources, ReadableList) else []
        for position, error in enumerate(errors, start=first):
            self._record(position, ResultFile(job_id=None, error=error))

    async def _work_from(self, queue: "_Queue[Any]") -> None:
        while (found := await queue.next(self._tracker)) is not None:
            await self._work_on(*found)

    async def _work_on(self, position: int, item: Any) -> None:
        """Bring the files of one source."""
        first = position * _FILES
        try:
            job_id = self._job_id(item)
            found = await self._files_of(item)
        except Up42Error as error:
            self._tracker.found()
            self._record(first, ResultFile(job_id=self._job_id(item), error=error))
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
            self._fail(error)
        else:
            self._tracker.found()
            for number, unreadable in enumerate(found.errors, start=len(found.files)):
                self._record(first + number, ResultFile(job_id=job_id, error=unreadable))
            await self._bring_all(found, job_id, first)

    async def _bring_all(self, found: SourceFiles, job_id: str | None, first: int) -> None:
        async with anyio.create_task_group() as group:
            for number, file in enumerate(found.files):
                fetch = partial(found.downloads.fetch, file, job_id=job_id, shares_name=found.shares_name[number])
                result = ResultFile(job_id=job_id, item_id=file.item_id, asset_key=file.key)
                group.start_soon(self._bring, first + number, result, fetch)

    async def _bring(self, position: int, result: ResultFile, fetch: Any) -> None:
        try:
            here = await fetch()
        except Up42Error as error:
            self._record(position, attrs.evolve(result, error=error))
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised where the caller waits
            self._fail(error)
        else:
            self._record(position, attrs.evolve(result, path=here.path, unpacked=here.unpacked))


class _Queue(Generic[SourceT]):
    """The sources as they become known, each taken by one worker."""

    def __init__(self, sources: Iterable[SourceT] | AsyncIterable[SourceT]) -> None:
        self.error: Exception | None = None
        self._sources: Iterator[SourceT] | AsyncIterator[SourceT] = (
            aiter(sources) if isinstance(sources, AsyncIterable) else iter(sources)
        )
        self.taken = 0
        self._is_over = False
        self._lock = anyio.Lock()

    async def next(self, tracker: ProgressTracker) -> tuple[int, SourceT] | None:
        """Return the next source and its position, None when there are no more.

        Args:
            tracker: Is told that the files of a source will be looked up, or that there are no more sources.
        """
        async with self._lock:
            if self._is_over:
                return None
            try:
                sources = self._sources
                source = await anext(sources) if isinstance(sources, AsyncIterator) else next(sources)
            except (StopAsyncIteration, StopIteration):
                self._is_over = True
            except Exception as error:  # noqa: BLE001 - raised when the files of the sources before have come
                self.error, self._is_over = error, True
            else:
                self.taken += 1
                tracker.expect()
                return self.taken - 1, source
            tracker.found()
            return None


def _row(result: ResultFile) -> str:
    what = f"{type(result.error).__name__}: {result.error}" if result.error else result.path
    cells = (result.job_id, result.item_id, result.asset_key, what)
    return "<tr>" + "".join(f"<td>{html.escape('' if cell is None else str(cell))}</td>" for cell in cells) + "</tr>"
