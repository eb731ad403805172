"""Decode responses, and decide whether an error status comes from UP42 or from a gateway in front of it.

The errors of UP42 are JSON objects. HTML, text, other JSON and empty bodies come from firewalls, load balancers and
proxies: their 401, 403 and 404 are not about a token, a role or a job, and may be gone with the next try.
Only this module decides it; the error keeps the decision (`from_platform`, `transient`) for all other code.
"""

import contextlib
import datetime as dt
import email.utils
import html
import json
import re
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from up42_async import _clock
from up42_async._clock import in_utc
from up42_async._errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._http.requests import NO_SECRET, ApiRequest, Secret, printable

MOST_VALUES: Final = 500_000
"""Most values in the JSON of one response: 48 kB of gzip can hold millions of lists, of 56 bytes each in memory."""

MOST_WIDE: Final = 8 * 2**20
"""Most bytes of JSON with a character beyond U+FFFF: for such text Python takes four bytes a character, twice."""

_MOST_OF_ERROR: Final = 64 * 2**10
"""Bytes of the body of an error that are read."""
_KEPT: Final = 4096
"""Characters of the body that the error keeps."""
_QUOTED: Final = 500
"""Characters of the body in a message."""

_GZIP: Final = 31
_HIDDEN: Final = "***"
_REQUEST_ID_HEADERS: Final = ("x-request-id", "x-correlation-id", "request-id", "x-trace-id", "cf-ray")
_WIDE: Final = re.compile(rb"[\xf0-\xf4]")  # in UTF-8 the first byte of a character beyond U+FFFF
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORD: Final = re.compile(r'"[\w-]{1,64}"')
_MARKUP: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^<>]*>", re.DOTALL | re.IGNORECASE)

_PLATFORMS: Final[Mapping[int, type[StatusError]]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.FORBIDDEN: PermissionDeniedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
}
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_MEANINGS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "the token was not accepted, not even a new one.",
    HTTPStatus.FORBIDDEN: "the account's plan or role does not allow this.",
    HTTPStatus.NOT_FOUND: "no such thing, or not visible to this account.",
    HTTPStatus.TOO_MANY_REQUESTS: "too many requests; try again later.",
}


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ApiResponse:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Header names are in lower case."""
    body: bytes


class Body:
    """The body of a response as it arrives. gzip is decompressed piece by piece: some kilobytes can be gigabytes."""

    def __init__(self, status: int, encoding: str, *, limit: int, label: str, secret: Secret) -> None:
        """Start empty; `limit` is in bytes, decompressed.

        Raises:
            UnexpectedResponseError: The encoding is neither gzip nor none.
        """
        self._status = status
        self._limit = limit
        self._label = label
        self._content = bytearray()
        self._is_empty = True
        self._problem: UnexpectedResponseError | None = None
        encoding = encoding.strip().lower()
        if encoding not in {"", "identity", "gzip"}:
            shown = _quoted(encoding, 40, secret)
            raise self._unreadable(f"a body in an encoding that was not asked for ({shown!r})", transient=False)
        self._inflater = zlib.decompressobj(_GZIP) if encoding == "gzip" else None

    def append(self, chunk: bytes) -> UnexpectedResponseError | None:
        """Add a piece; return the error once the body is too large or broken."""
        if self._problem is None:
            self._problem = self._add(chunk)
        return self._problem

    def finish(self) -> bytes:
        """Return the whole body; an empty one is empty in any encoding.

        Raises:
            UnexpectedResponseError: It is incomplete, broken or too large.
        """
        if self._problem is not None:  # found in the last piece, when there was nothing left to cancel
            raise self._problem
        if self._inflater is not None and not self._inflater.eof and not self._is_empty:
            raise self._broken()
        return bytes(self._content)

    def _add(self, chunk: bytes) -> UnexpectedResponseError | None:
        self._is_empty = self._is_empty and not chunk
        if self._inflater is not None:
            try:
                chunk = self._inflater.decompress(chunk, self._limit - len(self._content) + 1)
            except zlib.error:
                return self._broken()
            if self._inflater.unused_data:
                return self._broken()
        if len(self._content) + len(chunk) > self._limit:
            what = f"a body of more than {self._limit} bytes (Limits.max_response_bytes)"
            return self._unreadable(what, transient=False)
        self._content += chunk
        return None

    def _broken(self) -> UnexpectedResponseError:
        return self._unreadable("a broken gzip body", transient=True)

    def _unreadable(self, what: str, *, transient: bool) -> UnexpectedResponseError:
        message = f"status {self._status} with {what}"
        return UnexpectedResponseError(message, request=self._label, transient=transient)


class TooLargeError(ValueError):
    """JSON that would take too much time and memory."""


def parse_json(body: bytes) -> Any:
    """Decode JSON as Python's `json` does: NaN and Infinity are floats. A byte order mark is skipped.

    Raises:
        TooLargeError: It has more than 500,000 values, or more than 8 MiB with a character beyond U+FFFF.
        ValueError: It is not JSON.
    """
    # each value takes at least one character, so nothing is counted in a body that is short enough
    if len(body) > MOST_VALUES and body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise TooLargeError(f"more than {MOST_VALUES:,} values")
    if len(body) > MOST_WIDE and _WIDE.search(body):
        raise TooLargeError(f"more than {MOST_WIDE // 2**20} MiB of text in wide characters")
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(body.decode("utf-8-sig"))
    # raised after the `with` block: the error of the decoder holds the whole body, and would become its context
    raise ValueError("a body that is not JSON")


def decode(response: ApiResponse, request: ApiRequest, *, secret: Secret = NO_SECRET) -> Any:
    """Return the JSON of a response, or raise the error that it means.

    Args:
        response: The response.
        request: The request, for the error.
        secret: The password or token that was sent, which the error never repeats.

    Returns:
        The decoded body; None for an empty one that `request.empty_ok` allows.

    Raises:
        StatusError: An error status; the subclass says which.
        UnexpectedResponseError: A redirect, or a body that is not JSON.
    """
    if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        raise refusal(response, request, secret)
    if request.empty_ok and not response.body:
        return None
    try:
        return parse_json(response.body)
    except TooLargeError as error:
        problem, transient = str(error), False
    except ValueError as error:  # a page of a proxy or an empty body may be gone with the next try
        problem, transient = str(error) if response.body else "an empty body", True
    kind = _quoted(response.headers.get("content-type", "no content type").partition(";")[0], 80, secret)
    message = f"status {response.status} with {problem} ({len(response.body)} bytes, {kind})"
    raise UnexpectedResponseError(
        message, request=str(request), transient=transient, request_id=_request_id(response.headers, secret)
    )


def refusal(response: ApiResponse, request: ApiRequest, secret: Secret) -> StatusError | UnexpectedResponseError:
    """Return the error for a status outside 200 to 299."""
    status, request_id = response.status, _request_id(response.headers, secret)
    if status < HTTPStatus.BAD_REQUEST:
        host = _host_of(response.headers.get("location", ""), secret)
        message = f"status {status} instead of an answer: a redirect to {host}, which was not followed"
        return UnexpectedResponseError(message, request=str(request), request_id=request_id)
    text, payload = _read(response.body, secret)
    from_platform = isinstance(payload, dict)
    code, detail = _reason(payload) if from_platform else (None, _one_line(text))
    wait = retry_after(response.headers)
    return _kind(status, from_platform=from_platform)(
        _message(status, text, detail or code, wait, from_platform=from_platform),
        request=str(request),
        transient=True if _passes(status, from_platform=from_platform) else None,
        request_id=request_id,
        status=status,
        code=code,
        detail=detail,
        payload=payload,
        body=text[:_KEPT],
        from_platform=from_platform,
        retry_after=wait,
    )


def _kind(status: int, *, from_platform: bool) -> type[StatusError]:
    """Return the class for a status; 429 and 5xx mean the same from UP42 and from a gateway."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitError
    return _PLATFORMS.get(status, StatusError) if from_platform else StatusError


def _passes(status: int, *, from_platform: bool) -> bool:
    """Return whether the next try may bring another status, for a status below 500 that is not 429."""
    return status in _PASSING or (status in _PLATFORMS and not from_platform)


def _message(status: int, text: str, words: str | None, wait: float | None, *, from_platform: bool) -> str:
    whose = None if from_platform or status not in _PLATFORMS else "a gateway's answer, not UP42's own."
    meaning = whose or _MEANINGS.get(status)
    asks = None if wait is None else f"(the server asks to wait {wait:g} s)"
    empty = "(empty body)" if whose and not text else None
    said = " ".join(word for word in (meaning, words, empty, asks) if word)
    return f"status {status}: {said}" if said else f"status {status}"


def _read(body: bytes, secret: Secret) -> tuple[str, Any]:
    """Return the body of an error as text and as decoded JSON (None when it is no JSON), without the secret."""
    text = _without(secret, body[:_MOST_OF_ERROR].decode("utf-8-sig", "replace"))
    payload = None
    if len(body) <= _MOST_OF_ERROR:
        with contextlib.suppress(ValueError):
            payload = parse_json(text.encode())
    # JSON can write each character as an escape, so the secret may appear only in what was decoded
    if payload is not None and secret.appears_in(json.dumps(payload, ensure_ascii=False)):
        return _HIDDEN, None
    return text, payload


def _without(secret: Secret, text: str) -> str:
    """Return the text of an error without the secret; some proxies repeat the request in their errors.

    Where the text repeats it, all strings are masked but single words of JSON: the id of a job must stay readable, so
    that an execution is not sent again.
    """
    if not secret.appears_in(text):
        return text

    def mask(found: re.Match[str]) -> str:
        return found[0] if _WORD.fullmatch(found[0]) and not secret.appears_in(found[0]) else f'"{_HIDDEN}"'

    masked = _JSON_STRING.sub(mask, text)
    return _HIDDEN if secret.appears_in(masked) else masked


def _reason(payload: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the server's code and explanation, of the three forms of UP42's errors, of Keycloak's or of any other."""
    inner = payload.get("error")
    source = inner if isinstance(inner, dict) else payload
    code = _first_text(source, "code", "title", "error")
    sentence = _first_text(source, "detail", "message", "error_description", "schema-error", "title")
    parts = [source.get(name) for name in ("detail", "details", "message", "errors")]
    lists = [json.dumps(part, ensure_ascii=False) for part in parts if part and isinstance(part, list | dict)]
    words = ": ".join(part for part in (sentence, *lists) if part)
    if not words and code is None and payload:
        words = json.dumps(payload, ensure_ascii=False)
    return code, _one_line(words)


def _first_text(source: Mapping[str, Any], *names: str) -> str | None:
    values = (source.get(name) for name in names)
    return next(
        (_one_line(str(value)) for value in values if isinstance(value, str | int) and str(value).strip()), None
    )


def _one_line(text: str) -> str | None:
    """Return a text as one line of at most 500 characters, without markup; None when nothing is left."""
    plain = html.unescape(_MARKUP.sub(" ", text[:_KEPT])) if text.lstrip().startswith("<") else text[:_KEPT]
    return " ".join(printable(plain, _KEPT).split())[:_QUOTED] or None


def _quoted(text: str, longest: int, secret: Secret) -> str:
    """Return the value of a header for a message: shortened, and masked where it repeats the secret."""
    shown = printable(text, longest)
    return _HIDDEN if secret.appears_in(shown) else shown


def _request_id(headers: Mapping[str, str], secret: Secret) -> str | None:
    given = next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)
    return None if given is None else _quoted(given, 200, secret)


def _host_of(location: str, secret: Secret) -> str:
    try:
        if secret.appears_in(location[:_KEPT]):  # before `hostname`, which is in lower case
            return _HIDDEN
        return printable(urlsplit(location).hostname or ("the same host" if location else "nowhere"), 255)
    except ValueError:
        return "an unreadable address"


def http_date(value: str | None) -> dt.datetime | None:
    """Return the date of an HTTP header in UTC, None when it cannot be read."""
    try:
        return in_utc(email.utils.parsedate_to_datetime(value or ""))
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how long a response asks to wait.

    Args:
        headers: Headers of the response: `retry-after` in seconds or as a date; the latter counts from `date`, since
            our own clock may be wrong.

    Returns:
        Seconds to wait, 0 or more; None when the header is missing or cannot be read.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    until = http_date(value)
    if until is None:
        return None
    now = http_date(headers.get("date"))
    if now is None:  # the server cuts the date of `retry-after` to whole seconds, so one second is added
        now = dt.datetime.fromtimestamp(_clock.wall() - 1, dt.UTC)
    return max(0.0, (until - now).total_seconds())
