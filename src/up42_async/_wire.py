"""Speak UP42's language: requests, answers, links and timestamps as values and pure functions."""

import contextlib
import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal
from urllib.parse import SplitResult, quote, quote_plus, urlencode, urlsplit

import attrs

from up42_async import _clock
from up42_async._errors import (
    AuthError,
    Forbidden,
    ForeignLink,
    NotFound,
    RateLimited,
    ServerError,
    StatusError,
    UnexpectedResponse,
)

LONGEST_ID: Final = 256
"""Characters of an id in a path at the most; UP42's own are UUIDs or short names."""

# half of a surrogate pair stands for no character: JSON can bring it, but it can neither be sent nor printed
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_LINKS = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_PORTS = {"https": 443, "http": 80}


@attrs.frozen(kw_only=True)
class Request:
    """What to ask of the API: no host, no token, and whether it may be asked twice."""

    method: str
    path: str
    """Path below the API host, ids already quoted."""
    query: str = ""
    """Encoded query, without the question mark."""
    json: Any = attrs.field(default=None, repr=False)
    """Body, None for none."""
    repeatable: bool = True
    """Whether sending it twice changes nothing; an execution would be paid twice."""
    host: Literal["api", "auth"] = "api"
    """Which of UP42's hosts to ask."""

    def __str__(self) -> str:
        """Return method and path, which is all that messages and logs say of a request."""
        return f"{self.method} {self.path}"

    @property
    def body(self) -> bytes | None:
        """The encoded body."""
        return None if self.json is None else json.dumps(self.json, allow_nan=False).encode()


@attrs.frozen(kw_only=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Header names are in lower case."""
    body: bytes = attrs.field(repr=False)


@attrs.define(kw_only=True)
class Receipt:
    """What is known of a request that must not be sent twice, while it is under way and ever after."""

    sent: bool = False
    """Whether bytes of it may have left, so that the server may act on it."""
    reply: Reply | None = None
    """The answer, even when whoever asked was cancelled meanwhile."""


@attrs.frozen(kw_only=True)
class Message:
    """An HTTP request as it goes on the wire, with the token if it gets one."""

    label: str
    """What errors call it: method and path."""
    method: str
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    receipt: Receipt | None = None
    """Given for a request that must not be sent twice; filled in while it is under way."""
    fresh: bool = False
    """Whether it needs a new connection, since one that was kept too long may be what broke the last try."""


def segment(value: object, name: str = "id") -> str:
    """Quote an id so that it is exactly one segment of a path.

    Args:
        value: The id.
        name: What it is called in the error.

    Raises:
        TypeError: It is not a string.
        ValueError: It cannot be an id.
    """
    if not isinstance(value, str):
        message = f"{name} must be a string, not {type(value).__name__}"
        raise TypeError(message)
    if not value or value in {".", ".."} or len(value) > LONGEST_ID or _UNPRINTABLE.search(value):
        shown = value if len(value) <= LONGEST_ID else value[:20] + "..."
        message = f"{name} {shown!r} cannot be right: expected 1 to {LONGEST_ID} printable characters, not '.' or '..'"
        raise ValueError(message)
    return quote(value, safe="")


def query(parameters: Mapping[str, str | int | float | Iterable[str] | None]) -> str:
    """Encode query parameters the way UP42 reads them: lists comma-joined, None left out.

    Args:
        parameters: Values by name.
    """
    pairs = [(name, _query_value(value)) for name, value in parameters.items() if value is not None]
    return urlencode(pairs)


def _query_value(value: str | float | Iterable[str]) -> str:
    return str(value) if isinstance(value, str | int | float) else ",".join(value)


def follow(link: object, *, api: str, request: Request) -> Request:
    """Turn a link in an answer into a request to the API host, whatever host the link names.

    UP42's next links are relative; samples of its STAC storage show absolute ones, some of them with plain `http://`.
    Only path and query are ever taken over, so the token cannot leave for another host.

    Args:
        link: The link as it stands in the answer.
        api: Base URL of the API.
        request: The request that brought the link, for the error.

    Raises:
        ForeignLink: The link leads to another host.
    """
    home = urlsplit(api)
    try:
        parts = _split(link)
        relative = not parts.scheme and not parts.netloc
        at_home = relative or _same_host(parts, home)
    except ValueError:
        message = "an answer held a link that cannot be read; it was not followed"
        raise ForeignLink(message, request=str(request)) from None
    if not at_home or not parts.path.startswith("/"):
        host = _printable(parts.hostname or "somewhere else", 255)
        message = f"an answer held a link that leads away from UP42, to {host}; it was not followed"
        raise ForeignLink(message, request=str(request))
    path = parts.path.removeprefix(home.path) if not relative else parts.path
    return Request(method="GET", path=path, query=parts.query)


def _split(link: object) -> SplitResult:
    if not isinstance(link, str) or not link or _NOT_IN_LINKS.search(link):
        message = "not a link"
        raise ValueError(message)
    return urlsplit(link)


def _same_host(link: SplitResult, home: SplitResult) -> bool:
    if "@" in link.netloc or link.hostname != home.hostname or link.scheme not in _PORTS:
        return False
    port = _PORTS[link.scheme] if link.port is None else link.port
    home_port = home.port or _PORTS[home.scheme]
    downgraded = (link.scheme, port, home.scheme, home_port) == ("http", 80, "https", 443)
    return downgraded or (link.scheme, port) == (home.scheme, home_port)


def timestamp(value: Any) -> dt.datetime:
    """Read a timestamp as an aware datetime in UTC.

    UP42 sends 0 to 9 fractional digits and `Z` or an offset; all of it is exact to the microsecond.

    Raises:
        ValueError: It is no timestamp.
    """
    try:
        return in_utc(dt.datetime.fromisoformat(value))
    except TypeError:
        message = f"{value!r} is not a timestamp"
        raise ValueError(message) from None


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return the same instant in UTC, where one without an offset is already.

    Raises:
        ValueError: It would lie outside the years 1 to 9999.
    """
    if moment.tzinfo is dt.UTC or moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        message = "a timestamp before the year 1 or after 9999"
        raise ValueError(message) from None


def http_date(value: str | None) -> dt.datetime | None:
    """Read the date of an HTTP header, None when there is none that can be read."""
    import email.utils

    try:
        moment = email.utils.parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long an answer asks to wait.

    Args:
        headers: Of the answer: `retry-after` in seconds or as a date, and `date`, so that our own clock may be wrong.

    Returns:
        Seconds to wait, 0 or more; None when the header is missing or says nothing that can be used.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    until = http_date(value)
    if until is None:
        return None
    now = http_date(headers.get("date"))
    if now is None:  # our own clock knows fractions, the server's date was cut to whole seconds
        now = dt.datetime.fromtimestamp(_clock.wall() - 1, dt.UTC)
    return max(0.0, (until - now).total_seconds())


def _refuse_constant(word: str) -> None:
    message = f"{word} is not JSON"
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json(body: bytes) -> Any:
    """Decode JSON, strictly: no NaN, no Infinity.

    Raises:
        ValueError: It is not JSON.
    """
    with contextlib.suppress(ValueError, RecursionError):
        return _DECODER.decode(body.decode("utf-8"))
    # raised out here, since the decoder's own error holds the whole body and would come along as its context
    message = "not JSON"
    raise ValueError(message)


def decode(reply: Reply, request: Request, *, secret: str = "") -> Any:
    """Return the JSON of an answer, or raise what the answer means.

    Args:
        reply: The answer.
        request: What was asked, for the error.
        secret: The password or token that was sent with it, which the error never repeats.

    Returns:
        The decoded body; None when it is empty.

    Raises:
        StatusError: The server refused; the subclass says in which way.
        UnexpectedResponse: The answer is neither a refusal nor JSON.
    """
    if not 200 <= reply.status < 300:  # noqa: PLR2004 - the definition of success in HTTP
        raise refusal(reply, request, secret)
    if not reply.body:
        return None
    try:
        return parse_json(reply.body)
    except ValueError:
        kind = _printable(reply.headers.get("content-type", "no content type").partition(";")[0], 80)
        message = f"status {reply.status} with a body that is not JSON ({len(reply.body)} bytes, {kind})"
        raise UnexpectedResponse(message, request=str(request), transient=True) from None


def refusal(reply: Reply, request: Request, secret: str = "") -> StatusError | UnexpectedResponse:
    """Return the error that a status outside 200 to 299 stands for."""
    if reply.status < 400:  # noqa: PLR2004 - redirects and what else is neither success nor refusal
        host = _host_of(reply.headers.get("location", ""))
        message = f"status {reply.status} instead of an answer: a redirect to {host}, which was not followed"
        return UnexpectedResponse(message, request=str(request))
    payload = _json_or_none(reply.body)
    code, detail = _reason(payload)
    if secret and _repeats(reply.body, secret):
        code, detail, payload = (code if code and code.isidentifier() else None), None, None
    kind = _KINDS.get(reply.status, ServerError if reply.status >= 500 else StatusError)  # noqa: PLR2004
    wait = retry_after(reply.headers)
    asks = None if wait is None else f"(the server asks to wait {wait:g} s)"
    words = " ".join(word for word in (_MEANINGS.get(reply.status), detail or code, asks) if word)
    return kind(
        f"status {reply.status}: {words}" if words else f"status {reply.status}",
        request=str(request),
        status=reply.status,
        code=code,
        detail=detail,
        payload=payload,
        retry_after=wait,
    )


_KINDS: Final = {401: AuthError, 403: Forbidden, 404: NotFound, 429: RateLimited}
_MEANINGS: Final = {
    401: "the token was not accepted, not even a new one.",
    403: "the account's plan or role does not allow this.",
    404: "no such thing, or not visible to this account.",
    429: "too many requests; try again later.",
}


def _host_of(location: str) -> str:
    try:
        return _printable(urlsplit(location).hostname or ("the same host" if location else "nowhere"), 255)
    except ValueError:
        return "an unreadable address"


def _json_or_none(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:
        return None


def _reason(payload: Any) -> tuple[str | None, str | None]:
    """Take the server's words from the three shapes of error bodies that UP42 has, and Keycloak's own."""
    if not isinstance(payload, dict):
        return None, None
    inner = payload.get("error")
    source = inner if isinstance(inner, dict) else payload
    code = _first_text(source, "code", "title", "error")
    detail = _first_text(source, "detail", "message", "error_description", "schema-error", "title")
    return code, detail


def _repeats(body: bytes, secret: str) -> bool:
    """Return whether an answer holds what was sent with the request, as the error answers of some proxies do."""
    forms = {quote_plus(secret), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return any(form.encode() in body for form in forms)


def _first_text(source: dict[str, Any], *names: str) -> str | None:
    for name in names:
        value = source.get(name)
        if isinstance(value, str | int) and str(value).strip():
            return _printable(str(value), 500)
    return None


def _printable(text: str, longest: int) -> str:
    """Make words of the server's fit for a message."""
    return _UNPRINTABLE.sub(" ", text[:longest])
