"""Requests and secrets as values, their ids and queries, and the `httpx.Request`s made of them.

The repr of a secret is masked, so that no traceback with local variables shows it.
"""

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final, Literal, NoReturn
from urllib.parse import quote, quote_plus, urlencode

import attrs

from up42_async._config import VERSION, Timeouts
from up42_async._errors import APIError, ConnectionFailedError, UnexpectedResponseError

USER_AGENT: Final = f"up42-async/{VERSION}"

FRESH: Final = "up42_async.fresh"
"""Request extension: True where the request needs a new connection."""

LONGEST_ID: Final = 256
"""Most characters of an id in a path; UP42's own ids are UUIDs or short names."""

# JSON can hold half of a surrogate pair, which can neither be encoded nor printed
# two alternatives, since for a single set `re` builds a table of 65,536 characters
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]|[\ud800-\udfff]+")
_HTTPX = frozenset({"httpx", "httpx2"})

_TELLING: Final = 8
"""A text that holds so many consecutive characters of a secret repeats it."""

_SHORTEST: Final = 4
"""A secret with fewer characters is not looked for: any text may hold them by chance."""


class Secret:
    """A password, token or signed URL; only the code that writes it into a request or parses it calls `reveal`."""

    __slots__ = ("_parts", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._parts: frozenset[str] | None = None

    @classmethod
    def of(cls, value: str | None) -> "Secret | None":
        """Return a value as a secret, None for None."""
        return None if value is None else cls(value)

    def reveal(self) -> str:
        """Return the secret itself; keep it out of local variables."""
        return self._value

    def appears_in(self, text: str) -> bool:
        """Return whether a text holds 8 consecutive characters of the secret, or all of one of 4 to 7.

        Args:
            text: Text of a server, such as the body of an error, which may repeat what was sent. The time grows with
                its length: 64 kB take 10 ms.
        """
        if len(self._value) < _SHORTEST:
            return False
        if self._parts is None:
            value = self._value  # as it is, and as forms and JSON encode it
            forms = {value, quote_plus(value), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
            self._parts = frozenset(
                form[start : start + _TELLING] for form in forms for start in range(max(1, len(form) - _TELLING + 1))
            )
        return any(
            text[start : start + length] in self._parts
            for length in {len(part) for part in self._parts}
            for start in range(len(text) - length + 1)
        )

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


NO_SECRET: Final = Secret("")
"""For a request without a secret; it appears in no text."""


class SecretBytes(bytes):
    """A secret as bytes, for the `target` extension of httpx, which takes only bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretBytes(b'***')"


@attrs.frozen(kw_only=True)
class ApiRequest:
    """A request to the API, without host and token."""

    method: str
    path: str
    """Path below the API host, ids already quoted."""
    query: str = ""
    """Encoded query, without the question mark."""
    json: Any = attrs.field(default=None, repr=False)
    """Body; None for no body."""
    idempotent: bool = True
    """Whether the request may be sent twice; an execution may not, since each one is paid."""
    empty_ok: bool = False
    """Whether an empty body is a valid answer; otherwise it is taken for a proxy's, and the request sent again."""
    was_executed: Callable[[APIError], bool] = attrs.field(default=lambda _: False, repr=False, eq=False)
    """Returns whether the request was executed although this error came, so that it must not be sent again."""
    host: Literal["api", "auth"] = "api"
    """Which of UP42's hosts gets the request."""

    def __str__(self) -> str:
        """Return method and path; messages and logs show nothing else of a request."""
        return f"{self.method} {self.path}"

    @property
    def body(self) -> bytes:
        """The encoded body; empty for no body."""
        return b"" if self.json is None else json.dumps(self.json, allow_nan=False).encode()


def segment(value: object, name: str = "id") -> str:
    """Quote an id so that it is exactly one segment of a path.

    Args:
        value: The id.
        name: Name of the argument in the error.

    Raises:
        TypeError: The id is not a string.
        ValueError: It is empty, longer than 256 characters, `"."`, `".."`, or not printable.
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
    """Quote an id of an answer as `segment` does; one that cannot be an id is an error of the server.

    Raises:
        UnexpectedResponseError: It cannot be an id.
    """
    try:
        return segment(value, name)
    except (TypeError, ValueError) as error:
        raise UnexpectedResponseError(f"an answer whose {error}", request=str(request)) from None


def check_answered_id(what: str, came: str, asked: str, request: ApiRequest) -> None:
    """Check that the id in an answer is the one that was asked for; upper and lower case count as equal.

    Raises:
        UnexpectedResponseError: It is another id, as when a cache mixes answers up.
    """
    if came.casefold() != asked.casefold():
        message = f"an answer about {what} {came!r:.80} instead of {asked!r:.80}"
        raise UnexpectedResponseError(message, request=str(request), transient=True)


def query(parameters: Mapping[str, str | int | float | Iterable[str] | None]) -> str:
    """Encode query parameters as UP42 reads them: a list is joined by commas, None is left out."""
    pairs = [(name, _query_value(value)) for name, value in parameters.items() if value is not None]
    return urlencode(pairs)


def _query_value(value: str | float | Iterable[str]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ",".join(value)


def printable(text: str, longest: int) -> str:
    """Return text of a server for a message: shortened, and without control characters."""
    return _UNPRINTABLE.sub(" ", text[:longest])


class RequestBuilder:
    """Builds the `httpx.Request`s of one client: adds the headers of every request, and reveals secrets.

    Nothing of the AsyncClient is merged in: no auth, headers, parameters, cookies, base URL or timeout.
    """

    def __init__(self, http_client: object, timeouts: Timeouts) -> None:
        """Find out whether the AsyncClient is one of httpx or of httpx2, which have request classes of their own.

        Raises:
            TypeError: It is not an `AsyncClient` of httpx or httpx2.
        """
        self._httpx = _httpx_of(http_client)
        self._stream = type("Upload", (self._httpx.ByteStream,), {"__aiter__": lambda stream: Pieces(iter(stream))})
        self._timeouts = {step: getattr(timeouts, step) for step in ("connect", "read", "write", "pool")}

    def build(
        self,
        method: str,
        url: str | Secret,
        headers: Mapping[str, str | Secret],
        body: bytes | Secret = b"",
        *,
        fresh: bool = False,
    ) -> Any:
        """Return an `httpx.Request`.

        Args:
            method: HTTP method.
            url: The URL. The query of a secret one is kept from httpx, which logs URLs and passes them to whatever
                instruments it; the server gets the whole URL by the `target` extension.
            headers: Headers beside the `User-Agent`.
            body: Content; empty for no body.
            fresh: Whether to open a new connection: one that was kept may be the cause of the last error.

        Raises:
            ConnectionFailedError: httpx cannot build the request.
        """
        extensions: dict[str, Any] = {"timeout": dict(self._timeouts)}
        if fresh:
            extensions[FRESH] = True
        try:
            return self._revealed(method, url, headers, body, extensions)
        except Exception as error:  # noqa: BLE001 - of several kinds; its message and frames may hold a secret
            reason = type(error).__name__
        # raised after the `except` block, so that the error does not become its context
        raise ConnectionFailedError(f"not sent: httpx cannot build the request ({reason})", permanent=True)

    def _revealed(
        self,
        method: str,
        url: str | Secret,
        headers: Mapping[str, str | Secret],
        body: bytes | Secret,
        extensions: dict[str, Any],
    ) -> Any:
        """Reveal the secrets here, since no error of ours keeps this frame."""
        if isinstance(url, Secret):
            url, extensions["target"] = _split_target(url)
        content = body.reveal().encode() if isinstance(body, Secret) else body
        given = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"}
        given |= {name: value.reveal() if isinstance(value, Secret) else value for name, value in headers.items()}
        request = self._httpx.Request(method, url, headers=given, content=content or None, extensions=extensions)
        request.stream = self._stream(content)
        return request


class Pieces(AsyncIterator[bytes]):
    """The pieces of a body. httpx has an async generator, of which trio warns when it is not read to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise StopAsyncIteration


def _httpx_of(http_client: object) -> ModuleType:
    """Return the module to which an AsyncClient belongs: httpx or httpx2."""
    for kind in type(http_client).__mro__:
        module = kind.__module__.partition(".")[0]
        if kind.__name__ == "AsyncClient" and module in _HTTPX:
            return sys.modules[module]
    given = type(http_client).__name__
    message = f"http_client must be an httpx.AsyncClient, not a {given}; a transport goes inside one: transport=..."
    raise TypeError(message)


def _split_target(url: Secret) -> tuple[str, SecretBytes]:
    """Return a URL without its query, and its path with the query."""
    shown, question, query = url.reveal().partition("?")
    path = shown.partition("://")[2].partition("/")[2]
    return shown, SecretBytes(f"/{path}{question}{query}".encode("ascii"))
