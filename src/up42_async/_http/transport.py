"""Keep connections, each for one exchange at a time, so that nobody ever queues for one.

httpcore's pool loses a connection for ever when a request is cancelled at the wrong moment, and with 20 requests at
once it takes three times the CPU for each. So its connections are used without it: as many as there are exchanges,
which is for the caller to limit, and one whose exchange did not end well is closed.

httpcore is imported when the first connection is needed, since importing it takes long (it imports trio).
"""

import contextlib
import importlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import attrs

from up42_async import _clock
from up42_async._http.environment import proxy_for, ssl_context
from up42_async._http.messages import Message
from up42_async._http.network import DrainingBackend

if TYPE_CHECKING:
    import httpcore

KEEPALIVE_EXPIRY: Final = 5.0
"""Seconds an idle connection is kept; above a server's own limit, requests would meet connections that just closed."""

CLOSING_TIME: Final = 2.0
"""Seconds that closing connections may take."""

_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))
_PORTS: Final = {b"https": 443, b"http": 80}


@attrs.frozen
class Answer:
    """The head of an answer, and the body as it comes."""

    status: int
    headers: Mapping[str, str]
    """Header names are in lower case."""
    body: AsyncIterable[bytes]


class Connection:
    """A connection to one origin, directly or through a proxy, and what is being asked on it."""

    def __init__(self, carrier: "httpcore.AsyncHTTPConnection | httpcore.AsyncConnectionPool", origin: object) -> None:
        """Open nothing yet.

        Args:
            carrier: What sends. A pool, as it is needed for a proxy, replaces what the server has closed by itself.
            origin: What it leads to.
        """
        self.carrier: Any = carrier
        self.origin = origin
        self.idle_since = 0.0
        self._shows_its_end = hasattr(carrier, "has_expired")

    @property
    def is_closed(self) -> bool:
        """Whether it was closed at the end of an exchange, as the server or the client wished."""
        return self._shows_its_end and bool(self.carrier.is_closed())

    @property
    def is_stale(self) -> bool:
        """Whether the server has closed it while it was idle; looking costs a question to the system."""
        return self._shows_its_end and bool(self.carrier.has_expired())

    async def ask(self, request: "httpcore.Request") -> Answer:
        """Send a request, and read the head of the answer."""
        response = await self.carrier.handle_async_request(request)
        return Answer(response.status, _merged(response.headers), response.stream)


class Connections:
    """Connections of one kind, opened when they are needed."""

    traces = True
    """Whether a `trace` among the extensions is told when the first byte of a request leaves."""

    def __init__(self, *, keep: bool) -> None:
        """Open nothing yet.

        Args:
            keep: Whether a connection serves more than one exchange.
        """
        self._keep = keep
        self._idle: deque[Connection] = deque()
        self._lent = 0
        self._ready: set[bool] = set()

    @property
    def is_open(self) -> bool:
        """Whether there may be some that nobody has closed yet."""
        return bool(self._idle or self._lent)

    async def prepare(self, message: Message, extensions: dict[str, Any]) -> "httpcore.Request":
        """Put a message into httpcore's form; the first time, load what it takes in a worker thread.

        Args:
            message: The message.
            extensions: Timeouts, and what is to be told of the sending.

        Raises:
            ValueError: Its URL cannot be used.
            TypeError: Its headers cannot be sent.
            ConfigurationError: The certificate variables of the environment cannot be used.
        """
        parts = urlsplit(message.url)
        tls = parts.scheme == "https"
        if tls not in self._ready:
            await anyio.to_thread.run_sync(_load, tls)
            self._ready.add(tls)
        import httpcore

        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        target = target if target.isascii() else quote(target, safe=_ASCII)
        url = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target)
        headers: list[tuple[bytes | str, bytes | str]] = [("Host", _host(url)), *message.headers.items()]
        if message.method != "GET":  # without a length some servers refuse even a body that is empty
            headers.append(("Content-Length", str(len(message.body or b""))))
        body = Upload(message.body)
        return httpcore.Request(message.method, url, headers=headers, content=body, extensions=extensions)

    async def take(self, request: "httpcore.Request", *, fresh: bool = False) -> Connection:
        """Lend a connection: the one that was used last, since the server has least likely closed it, or a new one.

        Args:
            request: What it is for.
            fresh: Whether to open a new one in any case. The one that was idle for longest makes room for it, so that
                there are never more than there were exchanges at once.

        Raises:
            ConfigurationError: The proxy or certificate variables of the environment cannot be used.
        """
        origin = request.url.origin
        connection: Connection | None = None
        if fresh:
            await self._make_room(origin)
        else:
            connection = await self._last_used(origin)
        connection = connection or _opened(origin)
        self._lent += 1
        return connection

    async def _last_used(self, origin: object) -> Connection | None:
        """Take out the connection to an origin that was used last, unless the server has closed it."""
        while (kept := self._pop(origin, reversed(self._idle))) is not None:
            if not kept.is_stale:
                return kept
            await close(kept.carrier)
        return None

    async def _make_room(self, origin: object) -> None:
        """Close the connection to an origin that was idle for longest."""
        oldest = self._pop(origin, self._idle)
        if oldest is not None:
            await close(oldest.carrier)

    def _pop(self, origin: object, idle: Iterable[Connection]) -> Connection | None:
        """Take out the first of the idle connections that leads to an origin."""
        found = next((one for one in idle if one.origin == origin), None)
        if found is not None:
            self._idle.remove(found)
        return found

    async def give_back(self, connection: Connection, *, well: bool) -> None:
        """Keep a connection for the next exchange, or close it when this one did not end well."""
        self._lent -= 1
        if well and self._keep and not connection.is_closed:
            connection.idle_since = _clock.now()
            self._idle.append(connection)
            await self.close_idle(connection.idle_since - KEEPALIVE_EXPIRY)
        else:
            await close(connection.carrier)

    async def close_idle(self, since: float) -> None:
        """Close what has been idle since some moment, or longer."""
        while self._idle and self._idle[0].idle_since <= since:
            await close(self._idle.popleft().carrier)


class Upload(AsyncIterable[bytes]):
    """The body of a request, in one piece.

    httpcore's own is handed out by a generator, which trio complains about when sending breaks off.
    """

    def __init__(self, body: bytes | None) -> None:
        """Take the body, None for none."""
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand it out anew."""
        return _Pieces(iter(() if self._body is None else (self._body,)))


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def close(closable: Any) -> None:
    """Close something in a bounded time, whoever is cancelled meanwhile; what cannot be closed is lost anyway.

    Args:
        closable: A connection, or the body of an answer.
    """
    with anyio.move_on_after(CLOSING_TIME, shield=True), contextlib.suppress(Exception):
        await closable.aclose()


def _load(tls: bool) -> None:  # noqa: FBT001 - a thread is given its arguments by position
    """Import httpcore and read the certificates: both take longer than an event loop may stand still."""
    importlib.import_module("httpcore")
    if tls:
        ssl_context()


def _opened(origin: "httpcore.Origin") -> Connection:
    import httpcore

    proxy = proxy_for(origin.scheme.decode(), origin.host.decode())
    trusted = ssl_context() if origin.scheme == b"https" else None
    plain: Any = httpcore.AnyIOBackend()  # its class is a conditional one, of which type checkers know little
    backend: Any = DrainingBackend(plain)
    if proxy is None:
        return Connection(httpcore.AsyncHTTPConnection(origin, trusted, network_backend=backend), origin)
    pool = httpcore.AsyncConnectionPool(trusted, proxy, max_connections=1, network_backend=backend)
    return Connection(pool, origin)


def _host(url: "httpcore.URL") -> bytes:
    host = b"[%b]" % url.host if b":" in url.host else url.host
    return host if url.port in {None, _PORTS.get(url.scheme)} else b"%b:%d" % (host, url.port)


def _merged(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name, those that come several times joined as HTTP has it."""
    merged: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
        merged[name] = f"{merged[name]}, {value}" if name in merged else value
    return merged


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
