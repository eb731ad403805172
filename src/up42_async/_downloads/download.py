"""Bring one file: whole, or not at all.

One file, from the outside in:

    run            until it is whole: as often as the client's policy allows, and as long as every try brings it further
    _try           a slot, a signed URL of its own, and what came of it
    _receive       one answer of the storage host, or several where it redirects
    _fetch         one answer, taken by a `DownloadWriter`; given up when it comes so slowly that others should go first
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

FURTHER: Final = 2**20
"""Bytes that a try must have brought for the tries to be counted anew."""

MOST_REDIRECTS: Final = 5
"""Redirects of storage hosts that are followed, one after the other."""

_LOOKS: Final = 10
_MOST_WITHOUT_GAIN: Final = 2


class DownloadError(Up42Error):
    """A file could not be had, or not whole. What was there before is as it was.

    Attributes:
        file: What the file is called.
        path: Where it would have been, None when that was not known yet.
        received: Bytes that are kept in `name.part`, which the next download continues; 0 when nothing is left behind.
    """

    def __init__(self, message: str, *, file: str = "", path: Path | None = None, received: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.path = path
        self.received = received


class DownloadErrorGroup(ExceptionGroup[Up42Error], DownloadError):
    """Several files of one call could not be had: an exception group that is also a `DownloadError`.

    `except DownloadError` catches one failed file and several; `except* DownloadError` sees each. The errors are in
    `exceptions`, in the order of the files.
    """

    def __new__(cls, message: str, errors: Sequence[Up42Error]) -> Self:
        return super().__new__(cls, message, errors)

    def __init__(self, message: str, errors: Sequence[Up42Error]) -> None:
        DownloadError.__init__(self, message)
        self.args: tuple[Any, ...] = (message, list(errors))  # what copies and pickles are made of

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Return a group of the same kind, as `split` and `except*` need it."""
        return DownloadErrorGroup(self.message, excs)


class FileDownload:
    """One file on its way from a storage host to the disk."""

    def __init__(self, client: Client, destination: Destination, progress: ProgressTask, *, timings: Timings) -> None:
        """Prepare; nothing is asked yet.

        Args:
            client: The client to ask with.
            destination: The file, and where it goes.
            progress: Is told how far it has come.
            timings: How slow a file may be while others wait.
        """
        self._session = client._session
        self._destination = destination
        self._file = destination.file
        self._progress = progress
        self._timings = timings
        self._furthest = 0
        self._was_corrupt = False
        self._without_gain = 0
        self._received_before = 0

    async def run(self) -> Path:
        """Bring the file, in a task that is not cancelled by asyncio itself: a child of a task group.

        Returns:
            Where it is.

        Raises:
            DownloadError: It could not be had, or not whole.
        """
        is_whole = False
        try:
            path = await self._until_whole()
            is_whole = True
        finally:
            # closing a file is short, and a part that is not closed would stay locked
            with anyio.CancelScope(shield=True):
                await self._destination.run(self._destination.put_away)
            self._progress.finish(is_whole=is_whole)
        return path

    async def _until_whole(self) -> Path:
        attempts = self._session.new_retry_state()
        while True:
            attempts.tries += 1
            try:
                path = await self._try()
            except APIError as error:
                if self._came_further():
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
                attempts.tries -= 1  # it gave its slot to others, which is no failure
                continue
            logger.info("%s did not come whole and is asked for again", self._destination.name)
            await self._session.pause(pause)

    def _came_further(self) -> bool:
        """Return whether the file came further than ever: then going on is worth it, however often that was tried."""
        if self._destination.received < self._furthest + FURTHER:
            return False
        self._furthest = self._destination.received
        return True

    async def _try(self) -> Path | None:
        """Try once; None when the file gave its slot to others that wait.

        Raises:
            APIError: It did not come whole.
            OSError: It cannot be written.
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
        """Ask for a signed URL, a new one for each try: they are valid for a short while only."""
        try:
            return await ask_signed_url(self._session, self._file)
        except APIError as error:
            raise self._failure(str(error)) from error  # the client has tried as often as it makes sense

    async def _receive(self, url: Secret) -> Path | None:
        """Fetch what is missing, from wherever the storage host redirects to, and judge what came."""
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
        """Return where a redirect leads, which must be as good as a signed URL."""
        about = ApiRequest(method="GET", path=f"file from {host_of(url)}")
        return check_signed_url(_joined(url, location), api=self._session.api, request=about)

    async def _fetch(self, url: Secret, *, named_by: Secret) -> DownloadWriter | None:
        """Fetch one answer; None when it came so slowly that others should go first."""
        watched, watching = anyio.CancelScope(), anyio.CancelScope()
        async with TaskGroup() as group:
            writer = DownloadWriter(self._destination, named_by, group, self._progress, host=host_of(url))
            group.start_soon(self._exchange, url, writer, watched, watching)
            group.start_soon(self._give_way, writer, watched, watching)
        if writer.problem is not None:
            raise writer.problem
        return None if watched.cancelled_caught else writer

    async def _exchange(
        self, url: Secret, writer: DownloadWriter, watched: anyio.CancelScope, watching: anyio.CancelScope
    ) -> None:
        try:
            with watched:
                await self._session.fetch(url, self._headers(), writer, label=f"GET file from {host_of(url)}")
        except Exception as error:  # noqa: BLE001 - raised outside of the group, which would wrap it
            writer.problem = writer.problem or error
        finally:
            watching.cancel()

    async def _give_way(self, writer: DownloadWriter, watched: anyio.CancelScope, watching: anyio.CancelScope) -> None:
        """Cancel a fetch that comes slowly while others wait for a slot.

        One that cannot be continued loses what came, and a silent one gains nothing: those give way twice at the most,
        so that files which take turns come to an end.
        """
        timings, slots = self._timings, self._session.file_slots
        samples: deque[int] = deque(maxlen=_LOOKS + 1)
        with watching:
            while True:
                samples.append(writer.taken)
                gained = samples[-1] - samples[0]
                is_slow = len(samples) > _LOOKS and gained < timings.slow_rate * timings.slow_time
                if is_slow and slots.statistics().tasks_waiting and self._may_give_way():
                    logger.info("%s comes slowly and lets other files come first", self._destination.name)
                    watched.cancel()
                    return
                await _clock.sleep(timings.slow_time / _LOOKS)

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
        """Put the file in its place when it is whole.

        Raises:
            ConnectionLostError: It is not, and going on may help.
            UnexpectedResponseError: What came is not the file.
        """
        destination = self._destination
        if writer.is_here:
            return self._here(writer.length)
        problem = await writer.content_problem()
        if problem is not None:
            await destination.run(destination.restart)
            # damage on the way is repaired by fetching once more; what is wrong twice is wrong in storage
            transient, self._was_corrupt = not self._was_corrupt, True
            raise UnexpectedResponseError(f"the file came, but {problem}", transient=transient)
        await destination.run(destination.part.commit, writer.modified)
        return self._here(destination.received)

    def _failure(self, why: str) -> DownloadError:
        destination = self._destination
        name, kept = destination.name, destination.kept
        left = f"; {kept} bytes are kept, and the next download continues there" if kept else ""
        return DownloadError(f"{name}: {why}{left}", file=name, path=destination.path, received=kept)


def _joined(url: Secret, location: Secret) -> Secret | None:
    """Return the target of a redirect, None when there is none that can be read."""
    try:
        return Secret(urljoin(url.reveal(), location.reveal())) if location.reveal() else None
    except ValueError:
        return None
