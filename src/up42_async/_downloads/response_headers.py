"""Read the headers of a storage host's answer: how long the file is, which version of it, where its bytes begin."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs

from up42_async._errors import APIError, RateLimitError, ServerError, StatusError, UnexpectedResponseError
from up42_async._http.responses import http_date, retry_after

REDIRECTS: Final = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)

_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
# Google's storage says 400 or 403 of a signed URL that has expired, others what they say of a file that is gone
_EXPIRED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.GONE,
    }
)
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_MOST_DIGITS: Final = 18
# https://www.iana.org/assignments/http-parameters; any other word ("utf-8", "none", "aws-chunked") is no coding
_CODINGS: Final = frozenset(
    {"br", "compress", "x-compress", "dcb", "dcz", "deflate", "exi", "gzip", "x-gzip", "pack200-gzip", "zstd"}
)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class FileHead:
    """What is known of a file before its bytes come."""

    start: int
    """Where in the file the bytes begin."""
    total: int | None
    """Length of the whole file, None when it is not said."""
    ends_by_itself: bool
    """Whether the end of the file is told from a connection that breaks."""
    etag: str | None
    """Its version, None when it has none that stands for exactly these bytes."""
    modified: float | None
    """When it was last changed, in seconds since 1970."""
    disposition: str | None
    """The header that says what it is called."""
    codings: tuple[str, ...] = ()
    """Content codings to undo, in the order in which they were applied."""
    media_type: str = ""
    """What the storage host says the file is, without parameters and in lower case; empty when it does not say."""

    @property
    def is_page(self) -> bool:
        """Whether it is a page for a browser, such as a login or a captive portal."""
        return self.media_type in _HTML


def read_head(status: int, headers: Mapping[str, str]) -> FileHead:
    """Read the head of an answer that brings a file.

    Args:
        status: 200, or 206 for a part.
        headers: With names in lower case.

    Raises:
        UnexpectedResponseError: It does not say what it brings, or in a way that was not asked for.
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
    return FileHead(
        start=start,
        total=total,
        ends_by_itself=total is not None or "chunked" in headers.get("transfer-encoding", "").lower(),
        etag=etag if etag.startswith('"') and etag.isascii() and etag.isprintable() else None,
        modified=None if modified is None else modified.timestamp(),
        disposition=headers.get("content-disposition"),
        codings=_codings(headers.get("content-encoding", "")),
        media_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
    )


def refusal(status: int, headers: Mapping[str, str], host: str) -> APIError:
    """Return what an answer without a file means.

    Args:
        status: The status; neither 200, 206 nor a redirect.
        headers: With names in lower case.
        host: The storage host.
    """
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


def _codings(header: str) -> tuple[str, ...]:
    """Return the codings that a Content-Encoding names, in the order in which they were applied.

    Words that are no coding are left out: files are stored with `utf-8`, `none` or `aws-chunked` there, and their bytes
    are as they should be.
    """
    words = [word.strip().lower() for word in header.split(",")]
    return tuple(word for word in words if word in _CODINGS)


def _number(text: str | None) -> int | None:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if text is not None and is_number else None
