"""Bring one file home: whole, or not at all.

One file, from the outside in:

    run            until it is whole: as often as the client's policy allows, and as long as every try brings it further
    _try           a slot, a signed URL of its own, and what came of it
    _receive       one answer of the storage host
    Intake         what takes the bytes: one batch is written by a thread while the next is received
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import anyio.abc
import anyio.to_thread

from up42_async import _clock
from up42_async._client import Client
from up42_async._config import VERSION
from up42_async._downloads.checksums import Checksum, read_multihash
from up42_async._downloads.file_names import name_in_url, names_of
from up42_async._downloads.part_file import PartFile, is_whole
from up42_async._downloads.progress import Meter
from up42_async._downloads.response_headers import NOT_THAT_RANGE, PART_OF, WHOLE, FileHead, read_head, refusal
from up42_async._downloads.signed_urls import RemoteFile, check_signed_url, signed_url_request
from up42_async._errors import (
    APIError,
    ConnectionLostError,
    UnexpectedResponseError,
    Up42Error,
)
from up42_async._http.messages import Message

logger = logging.getLogger("up42_async")

T = TypeVar("T")

PROGRESS: Final = 2**20
"""Bytes that a try must have brought for the tries to be counted anew."""


class DownloadError(Up42Error):
    """A file could not be had, or not whole. What was there before is as it was.

    Attributes:
        file: What the file is called.
        path: Where it would have been, None when that was not known yet.
        received: Bytes that are kept in `name.part`, to go on from the next time; 0 when nothing is left behind.
    """

    def __init__(self, message: str, *, file: str = "", path: Path | None = None, received: int = 0) -> None:
        """Say which file, and why."""
        super().__init__(message)
        self.file = file
        self.path = path
        self.received = received


class Transfer:
    """One file on its way from a storage host to the disk."""

    def __init__(
        self, client: Client, file: RemoteFile, choose: Callable[[Sequence[str]], Path], *, resume: bool, meter: Meter
    ) -> None:
        """Ask for nothing yet.

        Args:
            client: Whom to ask with.
            file: What to bring.
            choose: Returns where it goes, given what the server calls it, the best name first.
            resume: Whether to go on from what an earlier run left, and to leave what another run can go on from.
            meter: Where to say how far it has come.
        """
        self.file = file
        self.meter = meter
        self.checksum: Checksum | None = read_multihash(file.checksum)
        self._client = client
        self._choose = choose
        self._resume = resume
        self._part: PartFile | None = None
        self._path: Path | None = None
        self._furthest = 0
        self._was_corrupt = False
        self._threads = anyio.CapacityLimiter(1)

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
            with anyio.CancelScope(shield=True):
                await self.in_thread(self._put_away)
            self.meter.end(is_whole=is_whole)
        return path

    async def in_thread(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Do work that blocks, after what is being done for this file already."""
        return await anyio.to_thread.run_sync(functools.partial(work, *arguments, **options), limiter=self._threads)

    async def _until_whole(self) -> Path:
        attempts = self._client._session.new_retry_state()
        while True:
            attempts.tries += 1
            try:
                return await self._try()
            except APIError as error:
                if self._came_further():
                    attempts = self._client._session.new_retry_state()
                    continue
                pause = attempts.next_delay(error, idempotent=True, now=_clock.now())
                if pause is None:
                    raise self._failure(str(error)) from error
            except OSError as error:
                self._resume = False  # nothing is left behind on a disk that is full
                raise self._failure(error.strerror or type(error).__name__) from error
            logger.info("%s did not come whole and is asked for again", self.meter.name)
            await self._client._session.pause(pause)

    def _came_further(self) -> bool:
        """Return whether the file came further than ever: then going on is worth it, however often that was tried."""
        received = 0 if self._part is None else self._part.received
        if received < self._furthest + PROGRESS:
            return False
        self._furthest = received
        return True

    async def _try(self) -> Path:
        async with self._client._session.file_slots:
            url = await self._signed_url()
            if name_in_url(url) is not None:
                path, _ = await self.place(names_of(url, None, self.file.key))
                if await self.is_here(path, self.file.size, None):
                    return path
            return await self._receive(url)

    async def _signed_url(self) -> str:
        """Ask for a signed URL, a new one each time: they are valid for a short while only."""
        try:
            request = signed_url_request(self.file, api=self._client._session.api)
            answer = await self._client._session.call(request)
            url = answer.get("url") if isinstance(answer, dict) else None
            return check_signed_url(url, api=self._client._session.api, request=request)
        except APIError as error:
            raise self._failure(str(error)) from error  # the client has tried as often as it makes sense

    async def place(self, names: Sequence[str]) -> tuple[Path, PartFile]:
        """Choose where the file goes, once, and open its part there.

        Args:
            names: What the server calls it, the best name first.

        Raises:
            OSError: It cannot be made.
        """
        if self._path is None or self._part is None:
            self._path = self._choose(names)
            self.meter.name = self._path.name
            self._part = PartFile(self._path, self.file.source, self.checksum)
            await self.in_thread(self._part.open, resume=self._resume)
        return self._path, self._part

    async def restart(self) -> None:
        """Throw away what has come so far, since it is of no use."""
        if self._part is not None:
            await self.in_thread(self._part.restart)

    async def is_here(self, path: Path, size: int | None, modified: float | None) -> bool:
        """Return whether the whole file is in its place already, from an earlier run.

        Args:
            path: Its place.
            size: Its length in bytes, None when that is not known.
            modified: When it was last changed, in seconds since 1970; None when that is not known.
        """
        if size is None or not await self.in_thread(
            is_whole, path, size=size, checksum=self.checksum, modified=modified
        ):
            return False
        self._resume = False
        self.meter.show(size, size)
        return True

    async def _receive(self, url: str) -> Path:
        """Fetch what is missing, and judge what came."""
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            intake = Intake(self, group, url)
            try:
                await self._client._session.fetch(self._message(url, intake.host), intake)
            except Exception as error:  # noqa: BLE001 - raised below, outside of the group, which would wrap it
                failure = error
        failure = intake.problem or failure
        if failure is not None:
            raise failure
        if intake.is_here:
            return intake.at
        await self._finish(intake.part, intake.modified)
        return intake.at

    def _message(self, url: str, host: str) -> Message:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"up42-async/{VERSION}"}
        if self._part is not None and self._part.can_go_on:
            headers |= {"Range": f"bytes={self._part.received}-", "If-Range": str(self._part.etag)}
        return Message(label=f"GET file from {host}", method="GET", url=url, headers=headers)

    async def _finish(self, part: PartFile, modified: float | None) -> None:
        """Put the file in its place when it is whole.

        Raises:
            ConnectionLostError: It is not, and going on may help.
            UnexpectedResponseError: What came is not the file.
        """
        if part.total is not None and part.received < part.total:
            message = f"the file broke off after {part.received} of {part.total} bytes"
            raise ConnectionLostError(message)
        problem = self._wrong_size(part) or await self.in_thread(part.problem)
        if problem is not None:
            await self.restart()
            transient, self._was_corrupt = not self._was_corrupt, True
            raise UnexpectedResponseError(f"the file came, but {problem}", transient=transient)
        await self.in_thread(part.commit, modified)

    def _wrong_size(self, part: PartFile) -> str | None:
        expected = self.file.size if part.total is None else part.total
        if expected is not None and part.received != expected:
            return f"it has {part.received} bytes instead of {expected}"
        return None

    def _put_away(self) -> None:
        if self._part is not None:
            self._part.put_away(keep=self._resume)

    def _failure(self, why: str) -> DownloadError:
        part = self._part
        kept = part.received if part is not None and self._resume and part.can_go_on else 0
        left = f"; {kept} bytes are kept, and the next download goes on from there" if kept else ""
        return DownloadError(f"{self.meter.name}: {why}{left}", file=self.meter.name, path=self._path, received=kept)


class Intake:
    """Takes the answer of a storage host: one batch is written by a thread while the next is received."""

    def __init__(self, transfer: Transfer, group: anyio.abc.TaskGroup, url: str) -> None:
        """Take nothing yet.

        Args:
            transfer: The file's transfer.
            group: Where the writing runs.
            url: Where the file comes from.
        """
        self.host = urlsplit(url).hostname or ""
        self.is_here = False
        self.problem: Exception | None = None
        self.modified: float | None = None
        self._transfer = transfer
        self._group = group
        self._url = url
        self._place: tuple[Path, PartFile] | None = None
        self._written = anyio.Event()
        self._written.set()

    @property
    def at(self) -> Path:
        """Where the file goes, once it is known."""
        return self._placed()[0]

    @property
    def part(self) -> PartFile:
        """What is being written, once it is known."""
        return self._placed()[1]

    def _placed(self) -> tuple[Path, PartFile]:
        return cast("tuple[Path, PartFile]", self._place)

    async def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Decide whether the body is wanted: not when it is no file, or one that is here already."""
        try:
            if status not in {WHOLE, PART_OF}:
                raise refusal(status, headers, self.host)
            return await self._prepare(read_head(status, headers))
        except (OSError, APIError) as error:
            self.problem = error
            if status in {PART_OF, NOT_THAT_RANGE}:
                await self._transfer.restart()
            return False

    async def _prepare(self, head: FileHead) -> bool:
        transfer = self._transfer
        self._place = path, part = await transfer.place(names_of(self._url, head.disposition, transfer.file.key))
        self.modified = head.modified
        self._check_length(head)
        if not head.start:
            self.is_here = await transfer.is_here(path, head.total, head.modified)
            if self.is_here:
                return False
            await transfer.in_thread(part.restart, head.etag, head.total)
        elif (head.start, head.etag, head.total) != (part.received, part.etag, part.total):
            message = "the file has changed since its first part came"
            raise UnexpectedResponseError(message, transient=True)
        transfer.meter.show(part.received, part.total)
        return True

    def _check_length(self, head: FileHead) -> None:
        size = self._transfer.file.size
        if size is not None and head.total is not None and size != head.total:
            message = f"the storage host has {head.total} bytes, and UP42 says that there are {size}"
            raise UnexpectedResponseError(message)
        if not head.ends_by_itself and size is None and self._transfer.checksum is None:
            message = "nobody says how long the file is, so that it could not be told from a piece of it"
            raise UnexpectedResponseError(message)

    async def write(self, chunks: list[bytes]) -> bool:
        """Wait until the batch before is written, and have this one written while the next is received."""
        await self._written.wait()
        if self.problem is not None:
            return False
        self._written = anyio.Event()
        self._group.start_soon(self._write, self.part, chunks)
        return True

    async def _write(self, part: PartFile, chunks: list[bytes]) -> None:
        try:
            await self._transfer.in_thread(part.write, chunks)
            self._transfer.meter.show(part.received, part.total)
            if part.total is not None and part.received > part.total:
                await self._transfer.restart()
                message = "more bytes came than were announced"
                self.problem = UnexpectedResponseError(message, transient=True)
        except OSError as error:
            self.problem = error
        finally:
            self._written.set()
