"""What to ask of the API: requests as values; ids in paths and in answers; query parameters; links to follow."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import attrs

from up42_async._errors import APIError, UnexpectedResponseError, UntrustedURLError

LONGEST_ID: Final = 256
"""Characters of an id in a path at the most; UP42's own are UUIDs or short names."""

# half of a surrogate pair stands for no character: JSON can bring it, but it can neither be sent nor printed
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_LINKS = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_PORTS = {"https": 443, "http": 80}
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = _READS | {"DELETE", "PATCH", "POST", "PUT"}
_PATH = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")


@attrs.frozen(kw_only=True)
class ApiRequest:
    """What to ask of the API: no host, no token, and whether it may be asked twice."""

    method: str
    path: str
    """Path below the API host, ids already quoted."""
    query: str = ""
    """Encoded query, without the question mark."""
    json: Any = attrs.field(default=None, repr=False)
    """Body, None for none."""
    idempotent: bool = True
    """Whether sending it twice changes nothing; an execution would be paid twice."""
    empty_ok: bool = False
    """Whether an answer without a body is one; else it is a proxy's, and the request is retried."""
    was_executed: Callable[[APIError], bool] | None = attrs.field(default=None, repr=False, eq=False)
    """Tells of a refusal whether it was executed all the same, so that it is not sent again."""
    host: Literal["api", "auth"] = "api"
    """Which of UP42's hosts to ask."""

    def __str__(self) -> str:
        """Return method and path, which is all that messages and logs say of a request."""
        return f"{self.method} {self.path}"

    @property
    def body(self) -> bytes | None:
        """The encoded body."""
        return None if self.json is None else json.dumps(self.json, allow_nan=False).encode()


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


def answered_segment(value: object, name: str, request: ApiRequest) -> str:
    """Quote an id that came in an answer, and so is the server's fault where it cannot be one.

    Args:
        value: The id.
        name: What it is called in the error.
        request: The request that brought it, for the error.

    Raises:
        UnexpectedResponseError: It cannot be an id.
    """
    try:
        return segment(value, name)
    except (TypeError, ValueError) as error:
        raise UnexpectedResponseError(f"an answer whose {error}", request=str(request)) from None


def check_answered_id(what: str, came: str, asked: str, request: ApiRequest) -> None:
    """Make sure that an answer is about what was asked for; ids are the same in capitals.

    Args:
        what: What it is about.
        came: The id in the answer.
        asked: The id that was asked for.
        request: What was asked, for the error.

    Raises:
        UnexpectedResponseError: It is about something else, as when a cache mixes answers up.
    """
    if came.casefold() != asked.casefold():
        message = f"an answer about {what} {came!r:.80} instead of {asked!r:.80}"
        raise UnexpectedResponseError(message, request=str(request), transient=True)


def query(parameters: Mapping[str, str | int | float | Iterable[str] | None]) -> str:
    """Encode query parameters the way UP42 reads them: lists comma-joined, None left out.

    Args:
        parameters: Values by name.
    """
    pairs = [(name, _query_value(value)) for name, value in parameters.items() if value is not None]
    return urlencode(pairs)


def _query_value(value: str | float | Iterable[str]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ",".join(value)


def plain_request(method: object, path: object, *, params: Mapping[str, Any] | None, json: Any) -> ApiRequest:
    """Return a request for what has no name in this library.

    Args:
        method: HTTP method; only reads (GET, HEAD, OPTIONS) count as idempotent.
        path: Path on the API host, ids quoted.
        params: Query parameters.
        json: Body, None for none.

    Raises:
        TypeError: A method or path that is no string.
        ValueError: A method that is none, or a path that is not one on the API host and nothing else.
    """
    if not isinstance(method, str) or not isinstance(path, str):
        raise TypeError(f"method and path must be strings, not {type(method).__name__} and {type(path).__name__}")
    if method.upper() not in _METHODS:
        raise ValueError(f"method {method[:20]!r} is not one of {', '.join(sorted(_METHODS))}")
    segments = path.lower().replace("%2e", ".").split("/")
    if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(segments):
        raise ValueError(
            f"path {path[:80]!r} cannot be right: expected '/v2/...', quoted where needed, without host, '.', '..' and"
            " query (give `params=`)"
        )
    return ApiRequest(
        method=method.upper(),
        path=path,
        query=query(params or {}),
        json=json,
        idempotent=method.upper() in _READS,
        empty_ok=True,
    )


def follow(link: object, *, api: str, request: ApiRequest) -> ApiRequest:
    """Turn a link in an answer into a GET request to the API host, whatever host the link names.

    UP42's next links are relative; samples of its STAC storage show absolute ones, some of them with plain `http://`.
    Only path and query are ever taken over, so the token cannot leave for another host.

    Args:
        link: The link as it stands in the answer; one that is a query only has the path of the request.
        api: Base URL of the API.
        request: The request that brought the link.

    Raises:
        UntrustedURLError: The link leads to another host.
    """
    home = urlsplit(api)
    try:
        parts = _split(link)
        is_relative = not parts.scheme and not parts.netloc and parts.path[:1] in {"", "/"}
        is_home = is_relative or _same_host(parts, home)
    except ValueError:
        message = "an answer held a link that cannot be read; it was not followed"
        raise UntrustedURLError(message, request=str(request)) from None
    if not is_home:
        where = printable(parts.hostname or "nowhere", 255)
        message = f"an answer held a link to {where}, which is not UP42's {home.hostname}; it was not followed"
        raise UntrustedURLError(message, request=str(request))
    path = parts.path.removeprefix(home.path) if parts.path.startswith(f"{home.path}/") else parts.path
    return ApiRequest(method="GET", path=path or request.path, query=parts.query)


def _split(link: object) -> SplitResult:
    if not isinstance(link, str) or not link or _NOT_IN_LINKS.search(link):
        raise ValueError("not a link")
    return urlsplit(link)


def _same_host(link: SplitResult, home: SplitResult) -> bool:
    if "@" in link.netloc or link.hostname != home.hostname or link.scheme not in _PORTS:
        return False
    port = _PORTS[link.scheme] if link.port is None else link.port
    home_port = home.port or _PORTS[home.scheme]
    downgraded = (link.scheme, port, home.scheme, home_port) == ("http", 80, "https", 443)
    return downgraded or (link.scheme, port) == (home.scheme, home_port)


def printable(text: str, longest: int) -> str:
    """Make words of the server's fit for a message."""
    return _UNPRINTABLE.sub(" ", text[:longest])
