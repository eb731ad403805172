"""How far downloads have come: values to look at, and an iterator that waits for the next one."""

import anyio
import attrs


@attrs.frozen(kw_only=True)
class FileProgress:
    """How far one file has come."""

    name: str
    """What the file is called; its asset key until its name is known."""
    job_id: str | None
    """The job whose result it is part of."""
    bytes_done: int
    """Bytes that are here."""
    bytes_total: int | None
    """Bytes of the whole file, None while that is not known."""


@attrs.frozen(kw_only=True)
class DownloadProgress:
    """How far all files of a download have come."""

    files_done: int
    """Files that are here, whole."""
    files_failed: int
    """Files that could not be had."""
    files_known: int
    """Files that are known so far; more become known as long as `is_complete` is False."""
    is_complete: bool
    """Whether all files are known."""
    bytes_done: int
    """Bytes that are here, of all files."""
    bytes_total: int | None
    """Bytes of all files together, None as long as one of them is not known."""
    active: tuple[FileProgress, ...]
    """The files that are under way now."""


class ProgressTask:
    """How far one file has come, as its download says."""

    def __init__(self, tracker: "ProgressTracker", name: str, job_id: str | None, total: int | None) -> None:
        self._tracker = tracker
        self.name = name
        self.job_id = job_id
        self.done: int = 0
        self.total = total
        self.is_active: bool = False

    def update(self, done: int, total: int | None) -> None:
        """Say how far it has come.

        Args:
            done: Bytes that are here.
            total: Bytes of the whole file, None when that is not known.
        """
        self.done, self.total, self.is_active = done, total, True
        self._tracker.announce()

    def finish(self, *, is_whole: bool) -> None:
        """Say that it is here, or that it will not come."""
        self.is_active = False
        if is_whole:
            self.total = self.done
        self._tracker.count(is_whole=is_whole)

    def value(self) -> FileProgress:
        """Return how far it has come."""
        return FileProgress(name=self.name, job_id=self.job_id, bytes_done=self.done, bytes_total=self.total)


class ProgressTracker:
    """The progress of many files together."""

    def __init__(self) -> None:
        self._tasks: list[ProgressTask] = []
        self._done = self._failed = 0
        self._searches = 0
        self._is_listed = False
        self.is_over: bool = False
        """Whether nothing will change any more."""
        self._changed = anyio.Event()
        self.version: int = 0

    def add_task(self, name: str, job_id: str | None = None, total: int | None = None) -> ProgressTask:
        """Return what counts for one more file.

        Args:
            name: What the file is called until its name is known.
            job_id: The job whose result it is part of.
            total: Its length in bytes, None when that is not known.
        """
        task = ProgressTask(self, name, job_id, total)
        self._tasks.append(task)
        self.announce()
        return task

    def announce(self) -> None:
        """Wake all that wait for a change."""
        self.version += 1
        self._changed.set()
        self._changed = anyio.Event()

    def count(self, *, is_whole: bool) -> None:
        """Count a file that has ended."""
        self._done += is_whole
        self._failed += not is_whole
        self.announce()

    def expect(self) -> None:
        """Say that the files of a job or item are looked up, until `found` is called for it."""
        self._searches += 1

    def found(self) -> None:
        """Say that these files are known."""
        self._searches -= 1
        self.announce()

    def found_all(self) -> None:
        """Say that there are no more jobs or items whose files could be looked up."""
        self._is_listed = True
        self.announce()

    def close(self) -> None:
        """Say that nothing will change any more."""
        self.is_over = True
        self.announce()

    async def change(self) -> None:
        """Wait until something changes."""
        await self._changed.wait()

    def value(self) -> DownloadProgress:
        """Return how far all files have come."""
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
    """Iterate over how far downloads have come: the newest state each time, so that a slow reader never lags behind."""

    def __init__(self, tracker: ProgressTracker) -> None:
        self._tracker = tracker
        self._seen = -1
        self._is_last = False

    def __aiter__(self) -> "ProgressWatch":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> DownloadProgress:
        """Wait until something has changed.

        Raises:
            StopAsyncIteration: The last state has been returned.
        """
        while self._tracker.version == self._seen and not self._tracker.is_over:
            await self._tracker.change()
        if self._is_last:
            raise StopAsyncIteration
        self._seen, self._is_last = self._tracker.version, self._tracker.is_over
        return self._tracker.value()
