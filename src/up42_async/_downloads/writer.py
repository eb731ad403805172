"""Take the answer of a storage host, and write it: one batch by a thread while the next is received."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final

import anyio

from up42_async import _clock
from up42_async._downloads.content_codings import Decoder
from up42_async._downloads.destination import Destination
from up42_async._downloads.file_names import names_of
from up42_async._downloads.progress import ProgressTask
from up42_async._downloads.response_headers import REDIRECTS, FileHead, read_head, refusal
from up42_async._errors import APIError, ConnectionLostError, UnexpectedResponseError
from up42_async._http.requests import Secret

_NO_PAGES: Final = frozenset({".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".zip", ".tgz", ".gz", ".tar"})
_PAGES: Final = frozenset({".html", ".htm", ".xhtml"})
_PACKED: Final = (".gz", ".tgz")


BATCH: Final = 2**20
"""Bytes that are handed over together: handing over each piece costs several times what receiving it does."""

BATCH_TIME: Final = 1.0
"""Seconds after which what came is handed over, however little it is."""


class DownloadWriter:
    """Writes one answer to the part file. What went wrong is kept in `problem`, since a writer must not raise."""

    def __init__(
        self, destination: Destination, url: Secret, group: anyio.abc.TaskGroup, progress: ProgressTask, *, host: str
    ) -> None:
        """Prepare for an answer.

        Args:
            destination: Where the file goes.
            url: The signed URL, which may name the file.
            group: Where the writing runs.
            progress: Is told how far the file has come.
            host: The storage host, for errors.
        """
        self.problem: Exception | None = None
        self.is_here = False
        """Whether the file was in its place already, so that no body was asked for."""
        self.location: Secret | None = None
        """Where the answer redirects to."""
        self.modified: float | None = None
        self.taken = 0
        """Bytes of the body so far, as they came."""
        self.length: int | None = None
        """Length of the whole file in bytes, None when that is not known."""
        self._destination = destination
        self._url = url
        self._group = group
        self._progress = progress
        self._host = host
        self._decoder: Decoder | None = None
        self._total: int | None = None
        self._most: int | None = None
        self._written = anyio.Event()
        self._written.set()

    async def take(self, status: int, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> None:
        """Take an answer while it comes, if its body is wanted."""
        if await self.begin(status, headers):
            await pour(body, self.write)

    async def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Decide whether the body is wanted: not when it is no file, or one that is here already."""
        if status in REDIRECTS:
            self.location = Secret(headers.get("location", ""))
            return False
        try:
            if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                raise refusal(status, headers, self._host)
            return await self._prepare(read_head(status, headers))
        except (OSError, APIError) as error:
            self.problem = error
            if status in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
                await self._destination.run(self._destination.restart)
            return False

    async def _prepare(self, head: FileHead) -> bool:
        destination = self._destination
        names = names_of(self._url.reveal(), head.disposition, destination.file.key)
        self._check_type(head, names[0])
        await destination.run(destination.open, names)
        self.modified = head.modified
        # a packed file that also claims to be packed on the wire is packed once: it is kept as it lies in storage
        is_packed = names[0].lower().endswith(_PACKED)
        self._decoder = Decoder(head.codings) if head.codings and not is_packed else None
        self._check_length(head)
        part = destination.part
        self._progress.name = destination.name
        self.length = destination.file.size if self._decoder else head.total
        if not head.start:
            self.is_here = await destination.run(destination.is_here, self.length, head.modified)
            if self.is_here:
                return False
            # bytes of an inflated file are not those that a range counts, so it cannot be continued
            version = (None, None) if self._decoder else (head.etag, head.total)
            await destination.run(part.restart, *version)
        elif self._decoder or (head.start, head.etag, head.total) != (part.received, part.etag, part.total):
            message = "the file has changed since its first part came"
            raise UnexpectedResponseError(message, transient=True)
        self._progress.update(part.received, part.total)
        return True

    def _check_type(self, head: FileHead, name: str) -> None:
        """Refuse a page for browsers (a login, a captive portal) in place of an image or an archive.

        Raises:
            UnexpectedResponseError: It is one.
        """
        expected, ending = self._destination.file.media_type, PurePosixPath(name.lower()).suffix
        is_other = "html" not in expected.lower() if expected else ending in _NO_PAGES
        if head.is_page and is_other and ending not in _PAGES and self._destination.checksum is None:
            message = f"a page ({head.media_type}) came instead of the file"
            raise UnexpectedResponseError(message, transient=True)

    def _check_length(self, head: FileHead) -> None:
        size, part = self._destination.file.size, self._destination.part
        if self._decoder:
            # `file:size` may be the length as the file lies in storage
            self._total, self._most = head.total, None if size == head.total else size
            return
        if size is not None and head.total is not None and size != head.total:
            message = f"the storage host has {head.total} bytes, and UP42 says that there are {size}"
            raise UnexpectedResponseError(message)
        if not head.ends_by_itself and size is None and self._destination.checksum is None:
            message = (
                "the server sent no Content-Length and the item has no file:size or checksum, so a truncated download"
                " could not be detected"
            )
            raise UnexpectedResponseError(message)
        self._total = head.total
        known = size if head.total is None else head.total
        self._most = None if known is None else known - (part.received if head.start else 0)

    async def write(self, chunks: list[bytes]) -> bool:
        """Wait until the batch before is written, and have this one written while the next is received."""
        await self._written.wait()
        self.taken += sum(map(len, chunks))
        if self.problem is None and self._decoder is None and self._most is not None and self.taken > self._most:
            await self._refuse_more()
        if self.problem is not None:
            return False
        self._written = anyio.Event()
        self._group.start_soon(self._write, chunks)
        return True

    async def _write(self, chunks: list[bytes]) -> None:
        destination = self._destination
        try:
            await destination.run(self._store, chunks)
            self._progress.update(destination.part.received, destination.part.total)
            if self._decoder and self._most is not None and destination.part.received > self._most:
                await self._refuse_more()
        except (OSError, APIError) as error:
            self.problem = error
        finally:
            self._written.set()

    def _store(self, chunks: list[bytes]) -> None:
        part = self._destination.part
        if self._decoder is None:
            part.write(chunks)
            return
        for chunk in chunks:
            for piece in self._decoder.feed(chunk):
                part.write([piece])
                if self._most is not None and part.received > self._most:
                    return

    async def _refuse_more(self) -> None:
        await self._destination.run(self._destination.restart)
        message = "more bytes came than were announced"
        self.problem = UnexpectedResponseError(message, transient=True)

    async def content_problem(self) -> str | None:
        """Say what is wrong with what came, now that the answer has ended; None when it is the file.

        Raises:
            ConnectionLostError: Some of it is missing, and may still come.
            UnexpectedResponseError: It is broken.
        """
        if self._decoder is not None:
            self._decoder.finish()
        part, size = self._destination.part, self._destination.file.size
        if part.total is not None and part.received < part.total:
            raise ConnectionLostError(f"the file broke off after {part.received} of {part.total} bytes")
        if size is not None and part.received != size and not (self._decoder and self._total == size):
            return f"it has {part.received} bytes instead of {size}"
        return await self._destination.run(part.problem)


async def pour(body: AsyncIterable[bytes], write: Callable[[list[bytes]], Awaitable[bool]]) -> None:
    """Hand a body over in batches, until it ends or no more is wanted; also what came before it broke.

    Cancellation must reach the body, as when a response is read, so it never ends the handing over.

    Args:
        body: What comes.
        write: Takes a batch, and returns whether more is wanted.
    """
    batch: list[bytes] = []
    size, due = 0, _clock.now() + BATCH_TIME
    with anyio.CancelScope() as scope:
        try:
            async for chunk in body:
                batch.append(chunk)
                size += len(chunk)
                if size >= BATCH or _clock.now() >= due:
                    if not await _hand_over(batch, write):
                        scope.cancel()
                    batch, size, due = [], 0, _clock.now() + BATCH_TIME
        except Exception:
            await _hand_over(batch, write)
            raise
    if not scope.cancel_called:
        await _hand_over(batch, write)


async def _hand_over(batch: list[bytes], write: Callable[[list[bytes]], Awaitable[bool]]) -> bool:
    more = True
    with anyio.CancelScope(shield=True):
        more = not batch or await write(batch)
    return more  # noqa: RET504 - type checkers know that a scope may swallow what is raised inside it
