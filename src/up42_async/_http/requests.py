"""What is sent: secrets and requests as values, ids and queries in them, and the `httpx.Request`s made of them.

Secrets do not show themselves: not in reprs, and so not in tracebacks with local variables.
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
"""Request extension: True where a connection that was used before may not serve."""

LONGEST_ID: Final = 256
"""Characters of an id in a path at the most; UP42's own are UUIDs or short names."""

# half of a surrogate pair stands for no character: JSON can bring it, but it can neither be sent nor printed
# two sets, since for one of them re builds a table of 65,536 characters
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]|[\ud800-\udfff]+")
_HTTPX = frozenset({"httpx", "httpx2"})

_TELLING: Final = 8
"""Consecutive characters of a secret that a text must not hold."""

_SHORTEST: Final = 4
"""Characters below which a secret cannot be told from the other words of a text."""


class Secret:
    """A password, token or signed URL; `reveal` is called where it is written into a request, and nowhere else."""

    __slots__ = ("_parts", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._parts: frozenset[str] | None = None

    @classmethod
    def of(cls, value: str | None) -> "Secret | None":
        """Return a value that the caller or the environment gave, or left out, as a secret."""
        return None if value is None else cls(value)

    def reveal(self) -> str:
        """Return the secret itself; keep it out of local variables."""
        return self._value

    def appears_in(self, text: str) -> bool:
        """Return whether a text holds 8 consecutive characters of the secret, or all of one of 4 to 7.

        Args:
            text: Words of a server, such as the body of an error, which may repeat what was sent. It is walked through
                once, character by character, so let it be short (64 kB take 10 ms).
        """
        if len(self._value) < _SHORTEST:
            return False
        if self._parts is None:
            value = self._value  # and as forms and JSON write it
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
"""For what is not sent with one; it appears in no text."""


class SecretBytes(bytes):
    """A secret as bytes, where httpx takes nothing else."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretBytes(b'***')"


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
    was_executed: Callable[[APIError], bool] = attrs.field(default=lambda _: False, repr=False, eq=False)
    """Tells of a refusal whether it was executed all the same, so that it is not sent again."""
    host: Literal["api", "auth"] = "api"
    """Which of UP42's hosts to ask."""

    def __str__(self) -> str:
        """Return method and path, which is all that messages and logs say of a request."""
        return f"{self.method} {self.path}"

    @property
    def body(self) -> bytes:
        """The encoded body, empty for none."""
        return b"" if self.json is None else json.dumps(self.json, allow_nan=False).encode()


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
    """Quote an id that came in the answer to a request, and so is the server's fault where it cannot be one.

    Raises:
        UnexpectedResponseError: It cannot be an id.
    """
    try:
        return segment(value, name)
    except (TypeError, ValueError) as error:
        raise UnexpectedResponseError(f"an answer whose {error}", request=str(request)) from None


def check_answered_id(what: str, came: str, asked: str, request: ApiRequest) -> None:
    """Make sure that the id that came in the answer to a request is the one that was asked for, but for capitals.

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


def printable(text: str, longest: int) -> str:
    """Make words of the server's fit for a message."""
    return _UNPRINTABLE.sub(" ", text[:longest])


class RequestBuilder:
    """Makes the `httpx.Request`s of one client: the one place where headers are put together and secrets are revealed.

    Of the user's client nothing is merged in: no auth, headers, parameters, cookies, base URL or timeout.
    """

    def __init__(self, http_client: object, timeouts: Timeouts) -> None:
        """Look which httpx the client is of that will send the requests.

        Raises:
            TypeError: It is not an asynchronous client of httpx or httpx2.
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
            url: Where to. Of a secret one httpx is shown no query, since it logs URLs and hands them to what watches
                it; the server gets it whole by the `target` extension.
            headers: What is sent beside the `User-Agent`.
            body: Content, if any.
            fresh: Whether it needs a new connection, since one that was kept may be what broke the last try.

        Raises:
            ConnectionFailedError: httpx cannot send it.
        """
        extensions: dict[str, Any] = {"timeout": dict(self._timeouts)}
        if fresh:
            extensions[FRESH] = True
        try:
            return self._revealed(method, url, headers, body, extensions)
        except Exception as error:  # noqa: BLE001 - several kinds; its words and frames may hold a secret
            reason = type(error).__name__
        # raised out here, so that the error does not come along as its context
        raise ConnectionFailedError(f"not sent: httpx cannot build the request ({reason})", permanent=True)

    def _revealed(
        self,
        method: str,
        url: str | Secret,
        headers: Mapping[str, str | Secret],
        body: bytes | Secret,
        extensions: dict[str, Any],
    ) -> Any:
        """Reveal what is secret, in no frame of an error of ours."""
        if isinstance(url, Secret):
            url, extensions["target"] = _split_target(url)
        content = body.reveal().encode() if isinstance(body, Secret) else body
        given = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"}
        given |= {name: value.reveal() if isinstance(value, Secret) else value for name, value in headers.items()}
        request = self._httpx.Request(method, url, headers=given, content=content or None, extensions=extensions)
        request.stream = self._stream(content)
        return request


class Pieces(AsyncIterator[bytes]):
    """The pieces of a body; httpx's own are an async generator, of which trio complains when sending breaks off."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise StopAsyncIteration


def _httpx_of(http_client: object) -> ModuleType:
    """Return the module whose classes a client takes: httpx or httpx2."""
    for kind in type(http_client).__mro__:
        module = kind.__module__.partition(".")[0]
        if kind.__name__ == "AsyncClient" and module in _HTTPX:
            return sys.modules[module]
    given = type(http_client).__name__
    message = f"http_client must be an httpx.AsyncClient, not a {given}; a transport goes inside one: transport=..."
    raise TypeError(message)


def _split_target(url: Secret) -> tuple[str, SecretBytes]:
    """Return a URL without its query, and the path with it."""
    shown, question, query = url.reveal().partition("?")
    path = shown.partition("://")[2].partition("/")[2]
    return shown, SecretBytes(f"/{path}{question}{query}".encode("ascii"))
