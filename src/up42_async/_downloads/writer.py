"""Read one response of a storage host: decide by its headers whether it is the file, and write its body to the part.

A thread writes one batch while the next one is received. `DownloadWriter` verifies the media type, version, range and
length of the response; `PartFile` verifies the checksum of the file.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final

import anyio
import attrs

from up42_async import _clock
from up42_async._downloads.content_codings import Decoder
from up42_async._downloads.destination import Destination
from up42_async._downloads.file_names import names_of
from up42_async._downloads.progress import ProgressTask
from up42_async._errors import (
    APIError,
    ConnectionLostError,
    RateLimitError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._http.requests import Secret
from up42_async._http.responses import http_date, retry_after

BATCH: Final = 2**20
"""Bytes that are written together: a call of a thread for each chunk costs several times what receiving it does."""

BATCH_TIME: Final = 1.0
"""Seconds after which the received bytes are written, however few they are."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Google's storage answers 400 or 403 for an expired signed URL; other hosts use the statuses of a missing file
_EXPIRED: Final = frozenset({400, 401, 403, 404, 410})
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
# https://www.iana.org/assignments/http-parameters; any other word ("utf-8", "none", "aws-chunked") is no coding
_CODINGS: Final = frozenset(
    {"br", "compress", "x-compress", "dcb", "dcz", "deflate", "exi", "gzip", "x-gzip", "pack200-gzip", "zstd"}
)
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_HTML_SUFFIXES: Final = frozenset({".html", ".htm", ".xhtml"})
_BINARY_SUFFIXES: Final = frozenset({".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".zip", ".tgz", ".gz", ".tar"})
_GZIP_SUFFIXES: Final = (".gz", ".tgz")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class FileHead:
    """The headers of a response with a file, or with the rest of one."""

    start: int
    """Offset in the file of the first byte of the body."""
    total: int | None
    """Length of the whole file in bytes, None when the response does not state it."""
    ends_by_itself: bool
    """Whether the end of the body can be told from a broken connection."""
    etag: str | None
    """The strong ETag of the file; None when it has none, or a weak one."""
    modified: float | None
    """When the file was last changed, in seconds since 1970."""
    disposition: str | None
    """The Content-Disposition, which may name the file."""
    codings: tuple[str, ...] = ()
    """Content codings to decode, in the order in which they were applied."""
    media_type: str = ""
    """The media type, without parameters and in lower case; empty when the response does not state it."""


def read_head(status: int, headers: Mapping[str, str]) -> FileHead:
    """Read the headers of a response with a file.

    Args:
        status: 200, or 206 for a part.
        headers: The headers, with names in lower case.

    Raises:
        UnexpectedResponseError: It is a part without a readable range, or one that does not reach the end of the file.
    """
    start, total = 0, _number(headers.get("content-length"))
    if status == HTTPStatus.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(headers.get("content-range", "").strip())
        start, end, total = (0, 0, 0) if found is None else (int(group) for group in found.groups())
        if not start <= end == total - 1:
            message = f"status {status} with a part of the file that was not asked for"
            raise UnexpectedResponseError(message, transient=True)
    modified = http_date(headers.get("last-modified"))
    etag = headers.get("etag", "").strip()
    codings = (word.strip().lower() for word in headers.get("content-encoding", "").split(","))
    return FileHead(
        start=start,
        total=total,
        ends_by_itself=total is not None or "chunked" in headers.get("transfer-encoding", "").lower(),
        etag=etag if etag.startswith('"') and etag.isascii() and etag.isprintable() else None,
        modified=None if modified is None else modified.timestamp(),
        disposition=headers.get("content-disposition"),
        codings=tuple(word for word in codings if word in _CODINGS),
        media_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def _refusal(status: int, headers: Mapping[str, str], host: str) -> APIError:
    """Return the error for a response that is neither a file nor a redirect."""
    request = f"GET file from {host}"
    if status in _EXPIRED:
        message = f"status {status}: the signed URL has expired, or the file is gone"
        return UnexpectedResponseError(message, request=request, transient=True)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return UnexpectedResponseError(f"status {status}: the file has changed", request=request, transient=True)
    kind: type[StatusError] = ServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else StatusError
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = RateLimitError
    return kind(f"status {status}", request=request, status=status, retry_after=retry_after(headers))


class DownloadWriter:
    """Writes one response to the part file. It keeps its error in `problem`, since `take` must not raise."""

    def __init__(
        self, destination: Destination, url: Secret, group: anyio.abc.TaskGroup, progress: ProgressTask, *, host: str
    ) -> None:
        """Prepare for a response.

        Args:
            destination: Where the file goes.
            url: The signed URL, which may name the file.
            group: The task group in which batches are written.
            progress: Receives the number of bytes after each batch.
            host: Name of the storage host, for errors.
        """
        self.problem: Exception | None = None
        self.is_here = False
        """Whether an earlier run has fetched the complete file, so that the body was not read."""
        self.location: Secret | None = None
        """The `Location` of a redirect; None for any other response."""
        self.modified: float | None = None
        self.taken = 0
        """Bytes of the body received so far, before decoding."""
        self.length: int | None = None
        """Length of the whole file in bytes, None when it is not known."""
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
        """Write the body as it arrives, if it is the file and the file is not here yet."""
        if await self._begin(status, headers):
            await pour(body, self.write)

    async def _begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Return whether the body is to be read; if so, its part file is open."""
        if status in _REDIRECTS:
            self.location = Secret(headers.get("location", ""))
            return False
        try:
            if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                raise _refusal(status, headers, self._host)
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
        # `a.tar.gz` with Content-Encoding gzip was compressed once, before it was stored: it stays as it is
        is_gzip_file = names[0].lower().endswith(_GZIP_SUFFIXES)
        self._decoder = Decoder(head.codings) if head.codings and not is_gzip_file else None
        self._check_length(head)
        part = destination.part
        self._progress.name = destination.name
        self.length = destination.file.size if self._decoder else head.total
        if not head.start:
            self.is_here = await destination.run(destination.is_here, self.length, head.modified)
            if self.is_here:
                return False
            # a range counts encoded bytes, and the part holds decoded ones, so such a file cannot be continued
            version = (None, None) if self._decoder else (head.etag, head.total)
            await destination.run(part.restart, *version)
        elif self._decoder or (head.start, head.etag, head.total) != (part.received, part.etag, part.total):
            message = "the file has changed since its first part was received"
            raise UnexpectedResponseError(message, transient=True)
        self._progress.update(part.received, part.total)
        return True

    def _check_type(self, head: FileHead, name: str) -> None:
        """Refuse an HTML page, such as a login page or a captive portal, in place of an image or an archive.

        Raises:
            UnexpectedResponseError: The response is such a page.
        """
        expected, suffix = self._destination.file.media_type, PurePosixPath(name.lower()).suffix
        is_other = "html" not in expected.lower() if expected else suffix in _BINARY_SUFFIXES
        is_unverified = self._destination.checksum is None
        if head.media_type in _HTML and is_other and suffix not in _HTML_SUFFIXES and is_unverified:
            message = f"the storage host sent an HTML page ({head.media_type}) instead of the file"
            raise UnexpectedResponseError(message, transient=True)

    def _check_length(self, head: FileHead) -> None:
        size, part = self._destination.file.size, self._destination.part
        if self._decoder:
            # `file:size` may be the encoded length or the decoded one
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
        """Begin to write a batch, once the batch before it is written; return whether more is wanted."""
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
        message = "more bytes were received than announced"
        self.problem = UnexpectedResponseError(message, transient=True)

    async def content_problem(self) -> str | None:
        """Return why the file is wrong, now that the response has ended; None when it is complete and right.

        Raises:
            ConnectionLostError: The rest of the file is missing; another request can bring it.
            UnexpectedResponseError: The Content-Encoding ended too early.
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
    """Write a body in batches until it ends or `write` wants no more; also write the bytes before a body broke off.

    A cancellation interrupts the reading of the body, as it must, but never the writing of a batch.

    Args:
        body: The chunks of the body.
        write: Writes a batch, and returns whether more is wanted.
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
