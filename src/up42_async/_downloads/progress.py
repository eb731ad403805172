"""The progress of downloads: values, and an iterator that waits for the next one."""

import anyio
import attrs


@attrs.frozen(kw_only=True)
class FileProgress:
    """The progress of one file."""

    name: str
    """The name of the file; its asset key until the name is known."""
    job_id: str | None
    """The job whose result the file is part of; None for an item that is no job's."""
    bytes_done: int
    """Bytes downloaded, with those of earlier runs."""
    bytes_total: int | None
    """Length of the whole file in bytes, None while it is not known."""


@attrs.frozen(kw_only=True)
class DownloadProgress:
    """The progress of all files of a download."""

    files_done: int
    """Complete files."""
    files_failed: int
    """Failed files."""
    files_known: int
    """Files known so far; more become known while `is_complete` is False."""
    is_complete: bool
    """Whether all files are known."""
    bytes_done: int
    """Bytes downloaded of all files."""
    bytes_total: int | None
    """Length of all files together in bytes, None while that of one is not known."""
    active: tuple[FileProgress, ...]
    """The files that are being downloaded."""


class ProgressTask:
    """The progress of one file, updated by its download."""

    def __init__(self, tracker: "ProgressTracker", name: str, job_id: str | None, total: int | None) -> None:
        self._tracker = tracker
        self.name = name
        self.job_id = job_id
        self.done: int = 0
        self.total = total
        self.is_active: bool = False

    def update(self, done: int, total: int | None) -> None:
        """Set the number of bytes.

        Args:
            done: Bytes downloaded, with those of earlier runs.
            total: Length of the whole file in bytes, None when it is not known.
        """
        self.done, self.total, self.is_active = done, total, True
        self._tracker.announce()

    def finish(self, *, is_complete: bool) -> None:
        """Count the file as complete or failed."""
        self.is_active = False
        if is_complete:
            self.total = self.done
        self._tracker.count(is_complete=is_complete)

    def value(self) -> FileProgress:
        """Return the progress of the file."""
        return FileProgress(name=self.name, job_id=self.job_id, bytes_done=self.done, bytes_total=self.total)


class ProgressTracker:
    """The progress of many files together."""

    def __init__(self) -> None:
        self._tasks: list[ProgressTask] = []
        self._done = self._failed = 0
        self._searches = 0
        self._is_listed = False
        self.is_over: bool = False
        """Whether the download has ended."""
        self._changed = anyio.Event()
        self.version: int = 0

    def add_task(self, name: str, job_id: str | None = None, total: int | None = None) -> ProgressTask:
        """Return the progress of one more file.

        Args:
            name: The asset key of the file, until its name is known.
            job_id: The job whose result the file is part of.
            total: Length of the file in bytes, None when it is not known.
        """
        task = ProgressTask(self, name, job_id, total)
        self._tasks.append(task)
        self.announce()
        return task

    def announce(self) -> None:
        """Wake all tasks that wait for a change."""
        self.version += 1
        self._changed.set()
        self._changed = anyio.Event()

    def count(self, *, is_complete: bool) -> None:
        """Count a file as complete or failed."""
        self._done += is_complete
        self._failed += not is_complete
        self.announce()

    def expect(self) -> None:
        """Count a job or item whose files are being listed, until `found` is called."""
        self._searches += 1

    def found(self) -> None:
        """Count a job or item whose files have been listed."""
        self._searches -= 1
        self.announce()

    def found_all(self) -> None:
        """Note that no more jobs or items follow."""
        self._is_listed = True
        self.announce()

    def close(self) -> None:
        """Note that the download has ended."""
        self.is_over = True
        self.announce()

    async def change(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def value(self) -> DownloadProgress:
        """Return the progress of all files."""
        is_complete = self._is_listed and not self._searches
        totals = [task.total for task in self._tasks]
        known = [total for total in totals if total is not None]
        return DownloadProgress(
            files_done=self._done,
            files_failed=self._failed,
            files_known=len(self._tasks),
            is_complete=is_complete,
            bytes_done=sum(task.done for task in self._tasks),
            bytes_total=sum(known) if is_complete and len(known) == len(totals) else None,
            active=tuple(task.value() for task in self._tasks if task.is_active),
        )


class ProgressWatch:
    """An async iterator over the progress: the newest state each time, so that a slow reader never lags behind."""

    def __init__(self, tracker: ProgressTracker) -> None:
        self._tracker = tracker
        self._seen = -1
        self._is_last = False

    def __aiter__(self) -> "ProgressWatch":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> DownloadProgress:
        """Return the progress after the next change.

        Raises:
            StopAsyncIteration: The last state has been returned.
        """
        while self._tracker.version == self._seen and not self._tracker.is_over:
            await self._tracker.change()
        if self._is_last:
            raise StopAsyncIteration
        self._seen, self._is_last = self._tracker.version, self._tracker.is_over
        return self._tracker.value()
