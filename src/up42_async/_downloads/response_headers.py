"""Read the head of a storage host's answer: how long the file is, which version of it, and from where on it comes."""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from up42_async._errors import APIError, RateLimitError, ServerError, StatusError, UnexpectedResponseError
from up42_async._http.dates import http_date, retry_after

WHOLE: Final = 200
PART_OF: Final = 206
NOT_THAT_RANGE: Final = 416

_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_EXPIRED: Final = frozenset({400, 401, 403, 404, 410})
_TOO_MANY: Final = 429


@attrs.frozen(kw_only=True)
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


def read_head(status: int, headers: Mapping[str, str]) -> FileHead:
    """Read the head of an answer that brings a file.

    Args:
        status: 200, or 206 for a part.
        headers: With names in lower case.

    Raises:
        UnexpectedResponseError: It does not say what it brings, or in a way that was not asked for.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        message = f"status {status} with a file in an encoding that was not asked for ({encoding[:40]!r})"
        raise UnexpectedResponseError(message)
    start, total = 0, _number(headers.get("content-length"))
    if status == PART_OF:
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
    )


def refusal(status: int, headers: Mapping[str, str], host: str) -> APIError:
    """Return what an answer without a file means.

    Args:
        status: The status; neither 200 nor 206.
        headers: With names in lower case.
        host: The storage host.
    """
    request = f"GET file from {host}"
    if status in _EXPIRED:
        message = f"status {status}: the signed URL has expired, or the file is gone"
        return UnexpectedResponseError(message, request=request, transient=True)
    if status == NOT_THAT_RANGE:
        return UnexpectedResponseError(f"status {status}: the file has changed", request=request, transient=True)
    if 300 <= status < 400:  # noqa: PLR2004 - what HTTP calls redirection
        return UnexpectedResponseError(f"status {status}: redirects of files are not followed", request=request)
    kind = RateLimitError if status == _TOO_MANY else ServerError if status >= 500 else StatusError  # noqa: PLR2004
    return kind(f"status {status}", request=request, status=status, retry_after=retry_after(headers))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None  # noqa: PLR2004
