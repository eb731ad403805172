"""Download one file: it is complete in the end, or absent.

The steps, from the outside in:

    run            tries until the file is complete, within the retry policy of the client; a try with progress is free
    _try           waits for a slot, looks for the file of an earlier run, and asks for a signed URL
    _receive       follows the redirects of the storage host, and finishes the file
    _fetch         requests the missing bytes once, and lets a `DownloadWriter` write them; ends a slow file early
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urljoin

import anyio

from up42_async import _clock
from up42_async._bulk import TaskGroup
from up42_async._client import Client
from up42_async._downloads.destination import Destination
from up42_async._downloads.file_names import name_in_url, names_of
from up42_async._downloads.options import Timings
from up42_async._downloads.progress import ProgressTask
from up42_async._downloads.signed_urls import ask_signed_url, check_signed_url, host_of
from up42_async._downloads.writer import DownloadWriter
from up42_async._errors import APIError, UnexpectedResponseError, Up42Error
from up42_async._http.requests import ApiRequest, Secret

logger = logging.getLogger("up42_async")

MIN_PROGRESS: Final = 2**20
"""Bytes that a failed try must have added to reset the retries."""

MOST_REDIRECTS: Final = 5
"""Redirects of a storage host that are followed in one try."""

_SAMPLES: Final = 10
_MOST_WITHOUT_GAIN: Final = 2


class DownloadError(Up42Error):
    """A file could not be downloaded completely. A file that had its name before is unchanged.

    Attributes:
        file: The name of the file; its asset key when the name is not known.
        path: The path of the file, None when its name is not known.
        received: Bytes kept in `name.part`, which the next download continues; 0 when there is no such file.
    """

    def __init__(self, message: str, *, file: str = "", path: Path | None = None, received: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.path = path
        self.received = received


class DownloadErrorGroup(ExceptionGroup[Up42Error], DownloadError):
    """Several files of one call failed: an exception group that is also a `DownloadError`.

    `except DownloadError` catches one failed file and several; `except* DownloadError` sees each. The errors are in
    `exceptions`, in the order of the files.
    """

    def __new__(cls, message: str, errors: Sequence[Up42Error]) -> Self:
        return super().__new__(cls, message, errors)

    def __init__(self, message: str, errors: Sequence[Up42Error]) -> None:
        DownloadError.__init__(self, message)
        self.args: tuple[Any, ...] = (message, list(errors))  # copies and pickles are made of these

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Return a group of the same kind; called by `split` and `except*`."""
        return DownloadErrorGroup(self.message, excs)


class FileDownload:
    """The download of one file from a storage host to the disk."""

    def __init__(self, client: Client, destination: Destination, progress: ProgressTask, *, timings: Timings) -> None:
        """Prepare; nothing is sent.

        Args:
            client: The client to use.
            destination: The file, and where it goes.
            progress: Receives the number of bytes of the file.
            timings: The rate below which the file gives its slot to waiting ones.
        """
        self._session = client._session
        self._destination = destination
        self._file = destination.file
        self._progress = progress
        self._timings = timings
        self._most_received = 0
        self._was_corrupt = False
        self._without_gain = 0
        self._received_before = 0

    async def run(self) -> Path:
        """Download the file. Must run in a child task of a task group, since `Task.cancel` of asyncio ignores shields.

        Returns:
            The path of the file.

        Raises:
            DownloadError: The file could not be downloaded completely.
        """
        is_complete = False
        try:
            path = await self._until_complete()
            is_complete = True
        finally:
            # this is short, and a part file that stays open stays locked
            with anyio.CancelScope(shield=True):
                await self._destination.run(self._destination.put_away)
            self._progress.finish(is_complete=is_complete)
        return path

    async def _until_complete(self) -> Path:
        attempts = self._session.new_retry_state()
        while True:
            attempts.tries += 1
            try:
                path = await self._try()
            except APIError as error:
                if self._made_progress():
                    attempts = self._session.new_retry_state()
                    continue
                pause = attempts.next_delay(error, idempotent=True, now=_clock.now())
                if pause is None:
                    raise self._failure(str(error)) from error
            except OSError as error:
                self._destination.discard()
                raise self._failure(error.strerror or type(error).__name__) from error
            else:
                if path is not None:
                    return path
                attempts.tries -= 1  # it gave its slot to other files, which is no failure
                continue
            logger.info("%s was not downloaded completely; it is requested again", self._destination.name)
            await self._session.pause(pause)

    def _made_progress(self) -> bool:
        """Return whether at least 1 MiB was added to the most bytes so far, so that the retries begin anew."""
        if self._destination.received < self._most_received + MIN_PROGRESS:
            return False
        self._most_received = self._destination.received
        return True

    async def _try(self) -> Path | None:
        """Try once; return the path of the file, None when it was slow and gave its slot to waiting files.

        Raises:
            APIError: The file was not received completely.
            OSError: The file cannot be written.
        """
        async with self._session.file_slots:
            destination = self._destination
            await destination.run(destination.find)
            url = await self._signed_url()
            if name_in_url(url.reveal()) is not None:
                await destination.run(destination.open, names_of(url.reveal(), None, self._file.key))
                if await destination.run(destination.is_here, self._file.size, None):
                    return self._here(self._file.size)
            return await self._receive(url)

    def _here(self, size: int | None) -> Path:
        self._progress.name = self._destination.name
        self._progress.update(size or 0, size)
        return self._destination.part.target

    async def _signed_url(self) -> Secret:
        """Get a signed URL, a new one for each try, since it is valid for five minutes only."""
        try:
            return await ask_signed_url(self._session, self._file)
        except APIError as error:
            raise self._failure(str(error)) from error  # the client has retried this request already

    async def _receive(self, url: Secret) -> Path | None:
        """Fetch the missing bytes, through redirects of the storage host, and finish the file."""
        asked = url
        for _ in range(MOST_REDIRECTS + 1):
            writer = await self._fetch(asked, named_by=url)
            if writer is None:
                return None
            if writer.location is None:
                return await self._finish(writer)
            asked = self._redirected(asked, writer.location)
        message = f"the storage host redirected more than {MOST_REDIRECTS} times"
        raise UnexpectedResponseError(message)

    def _redirected(self, url: Secret, location: Secret) -> Secret:
        """Return the target of a redirect, which has to pass the checks of a signed URL."""
        about = ApiRequest(method="GET", path=f"file from {host_of(url)}")
        return check_signed_url(_joined(url, location), api=self._session.api, request=about)

    async def _fetch(self, url: Secret, *, named_by: Secret) -> DownloadWriter | None:
        """Send one request, and write its response; None when it was ended since other files wait for the slot."""
        fetching, watching = anyio.CancelScope(), anyio.CancelScope()
        async with TaskGroup() as group:
            writer = DownloadWriter(self._destination, named_by, group, self._progress, host=host_of(url))
            group.start_soon(self._exchange, url, writer, fetching, watching)
            group.start_soon(self._give_way, writer, fetching, watching)
        if writer.problem is not None:
            raise writer.problem
        return None if fetching.cancelled_caught else writer

    async def _exchange(
        self, url: Secret, writer: DownloadWriter, fetching: anyio.CancelScope, watching: anyio.CancelScope
    ) -> None:
        try:
            with fetching:
                await self._session.fetch(url, self._headers(), writer, label=f"GET file from {host_of(url)}")
        except Exception as error:  # noqa: BLE001 - raised after the group, which would cancel the writing of the last batch
            writer.problem = writer.problem or error
        finally:
            watching.cancel()

    async def _give_way(self, writer: DownloadWriter, fetching: anyio.CancelScope, watching: anyio.CancelScope) -> None:
        """Cancel a slow request while other files wait for a slot.

        A file that cannot be continued loses its bytes, and a request that hangs adds none: such a file gives way twice
        at most, so that files that take turns come to an end.
        """
        timings, slots = self._timings, self._session.file_slots
        samples: deque[int] = deque(maxlen=_SAMPLES + 1)
        with watching:
            while True:
                samples.append(writer.taken)
                gained = samples[-1] - samples[0]
                is_slow = len(samples) > _SAMPLES and gained < timings.slow_rate * timings.slow_time
                if is_slow and slots.statistics().tasks_waiting and self._may_give_way():
                    logger.info("%s is slow and gives its slot to waiting files", self._destination.name)
                    fetching.cancel()
                    return
                await anyio.sleep(timings.slow_time / _SAMPLES)

    def _may_give_way(self) -> bool:
        kept = self._destination.kept
        if kept <= self._received_before:
            self._without_gain += 1
        self._received_before = kept
        return self._without_gain <= _MOST_WITHOUT_GAIN

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        version = self._destination.version
        if version is not None:
            headers |= {"Range": f"bytes={self._destination.received}-", "If-Range": version}
        return headers

    async def _finish(self, writer: DownloadWriter) -> Path:
        """Verify the file, and rename the part file to it.

        Raises:
            ConnectionLostError: The rest of the file is missing.
            UnexpectedResponseError: The content is not that of the file.
        """
        destination = self._destination
        if writer.is_here:
            return self._here(writer.length)
        problem = await writer.content_problem()
        if problem is not None:
            await destination.run(destination.restart)
            # damage in transit is repaired by one more download; a file that is wrong twice is wrong in storage
            transient, self._was_corrupt = not self._was_corrupt, True
            raise UnexpectedResponseError(f"the file was received, but {problem}", transient=transient)
        await destination.run(destination.part.commit, writer.modified)
        return self._here(destination.received)

    def _failure(self, why: str) -> DownloadError:
        destination = self._destination
        name, kept = destination.name, destination.kept
        left = f"; {kept} bytes are kept, and the next download continues there" if kept else ""
        return DownloadError(f"{name}: {why}{left}", file=name, path=destination.path, received=kept)


def _joined(url: Secret, location: Secret) -> Secret | None:
    """Return the target of a redirect as an absolute URL; None when it is missing or unreadable."""
    try:
        return Secret(urljoin(url.reveal(), location.reveal())) if location.reveal() else None
    except ValueError:
        return None
