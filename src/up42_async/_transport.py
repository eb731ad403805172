"""Send bytes and read them: the only module that does, and the one place where httpx's errors become ours.

httpx's pool loses a connection for ever when a request is cancelled at the wrong moment, and with 20 requests at once
it takes three times the CPU for each. So its transports are used with room for one connection each, one for every
request that the limiters of the client let in; one whose exchange did not end well is closed. Every exchange runs in a
task group of its own, so that `task.cancel()` reaches httpx as anyio's kind of cancellation, which it can stand.

They are used without httpx's client: that follows redirects, keeps cookies and logs whole URLs, none of which is
wanted.
"""

import contextlib
import functools
import math
import os
import ssl
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel
import attrs
import httpx

from up42_async import _clock
from up42_async._bodies import Gunzip, Plain, Unreadable
from up42_async._config import Limits, Timeouts
from up42_async._errors import (
    ConnectionFailed,
    ConnectionLost,
    RequestFailed,
    RequestTimedOut,
    SettingsUnusable,
    UnexpectedResponse,
)
from up42_async._network import DrainingBackend
from up42_async._wire import Receipt, Reply

KEEPALIVE_EXPIRY: Final = 5.0
"""Seconds an idle connection is kept; above a server's own limit, requests would meet connections that just closed."""

CLOSING_TIME: Final = 2.0
"""Seconds that closing connections may take."""

BATCH: Final = 2**20
"""Bytes of a file that are handed over together: handing over each piece costs several times what receiving it does."""

BATCH_TIME: Final = 1.0
"""Seconds after which what came of a file is handed over, however little it is."""

_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_CERTIFICATE_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_BEFORE_SENDING: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_REFUSED_BY_US: Final = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError)
_PATIENCE: Final[Mapping[type[Exception], str]] = {
    httpx.ConnectTimeout: "no connection within {0.connect:g} s",
    httpx.ReadTimeout: "silence for {0.read:g} s",
    httpx.WriteTimeout: "the server took nothing of the request for {0.write:g} s",
    httpx.PoolTimeout: "no free connection within {0.pool:g} s",
}
_CLOSED: Final = "the client was closed before the request was answered; make a new client"


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


class Sink(Protocol):
    """Takes a file piece by piece. It never raises: it keeps what went wrong to itself, and wants no more."""

    async def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Look at the head of the answer; return whether the body is wanted. Header names are in lower case."""
        ...

    async def write(self, chunks: list[bytes]) -> bool:
        """Take a batch of the body; return whether more is wanted."""
        ...


@attrs.define(eq=False)
class Connection:
    """An httpx transport with room for one connection, and what it leads to."""

    transport: httpx.AsyncBaseTransport
    route: tuple[str, str, int | None]
    idle_since: float = 0.0


class Connections:
    """Connections of one kind, each for one exchange at a time, so that nobody ever queues inside httpx."""

    def __init__(self, *, keep: bool, foreign: httpx.AsyncBaseTransport | None) -> None:
        """Open nothing yet.

        Args:
            keep: Whether a connection serves more than one exchange.
            foreign: A transport of the user's, which is used for all of them and is the user's to close.
        """
        self._keep = keep
        self._foreign = foreign
        self._idle: deque[Connection] = deque()
        self._lent = 0

    @property
    def is_open(self) -> bool:
        """Whether there may be some that nobody has closed yet."""
        return bool(self._idle or self._lent)

    def take(self, url: httpx.URL, *, fresh: bool = False) -> Connection:
        """Lend a connection: the one that was used last, since the server has least likely closed it, or a new one.

        Args:
            url: What it is for.
            fresh: Whether to open a new one in any case.

        Raises:
            SettingsUnusable: The proxy or certificate variables of the environment cannot be used.
        """
        route = (url.scheme, url.host, url.port)
        kept = () if fresh else reversed(self._idle)
        connection = next((one for one in kept if one.route == route), None)
        if connection is None:
            connection = Connection(self._foreign or _httpx_transport(_proxy_for(url), keep=self._keep), route)
        else:
            self._idle.remove(connection)
        self._lent += 1
        return connection

    async def give_back(self, connection: Connection, *, well: bool) -> None:
        """Keep a connection for the next exchange, or close it when this one did not end well."""
        self._lent -= 1
        if self._foreign is not None:
            return
        if well and self._keep:
            connection.idle_since = _clock.now()
            self._idle.append(connection)
            await self.close_idle(connection.idle_since - KEEPALIVE_EXPIRY)
        else:
            await _close(connection.transport)

    async def close_idle(self, since: float) -> None:
        """Close what has been idle since some moment, or longer."""
        while self._idle and self._idle[0].idle_since <= since:
            await _close(self._idle.popleft().transport)


class Lane:
    """Requests of one kind on connections of their own: exchanges begin and end here."""

    def __init__(
        self, *, timeouts: Timeouts, limits: Limits, foreign: httpx.AsyncBaseTransport | None, keep: bool = True
    ) -> None:
        """Open nothing yet; there are as many connections as exchanges at once, which is for the caller to limit.

        Args:
            timeouts: How long an exchange may take.
            limits: How large an answer may be.
            foreign: A transport of the user's, instead of ours.
            keep: Whether connections serve more than one request. The server cannot have closed a fresh one meanwhile.
        """
        self._timeouts = timeouts
        self._body_limit = limits.body
        self._connections = Connections(keep=keep, foreign=foreign)
        self._traced = foreign is None
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False
        self._ended: anyio.Event | None = None

    @property
    def is_open(self) -> bool:
        """Whether there may be connections that nobody has closed yet."""
        return self._connections.is_open

    async def send(self, message: Message) -> Reply:
        """Send a request and read the whole answer.

        Raises:
            TransportError: No answer came; `ConnectionFailed` when the request certainly never arrived.
            UnexpectedResponse: The answer is too large, or packed in a way that was not asked for.
            SettingsUnusable: The proxy or certificate variables of the environment cannot be used.
            RuntimeError: The client was closed.
        """
        return await self._exchange(message, None)

    async def fetch(self, message: Message, sink: Sink) -> Reply:
        """Send a request and hand the answer to a sink while it comes, however long that takes.

        Args:
            message: The request.
            sink: What takes the answer.

        Returns:
            The answer, without its body.

        Raises:
            TransportError: No answer came, or it broke off; the sink has what came of it.
            SettingsUnusable: The proxy or certificate variables of the environment cannot be used.
            RuntimeError: The client was closed.
        """
        return await self._exchange(message, sink)

    async def aclose(self) -> None:
        """End what is under way, and close the connections; each exchange closes its own."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        await self._connections.close_idle(math.inf)
        if self._scopes:
            self._ended = anyio.Event()
            with anyio.move_on_after(CLOSING_TIME + self._timeouts.answer, shield=True):
                await self._ended.wait()

    async def _exchange(self, message: Message, sink: Sink | None) -> Reply:
        if self._closed:
            raise RuntimeError(_CLOSED)
        exchange = Exchange(message, self._connections, self._timeouts, self._body_limit, sink, traced=self._traced)
        group = anyio.create_task_group()
        try:
            async with group:
                self._scopes.add(group.cancel_scope)  # on trio there is none before
                group.start_soon(exchange.run)
                if message.receipt is not None:
                    group.start_soon(exchange.hurry_when_cancelled)
        finally:
            self._scopes.discard(group.cancel_scope)
            if self._closed:
                await self._after_closing()
        return exchange.result()

    async def _after_closing(self) -> None:
        """Close what was given back meanwhile, and tell `aclose` when nobody is left."""
        await self._connections.close_idle(math.inf)
        if self._ended is not None and not self._scopes:
            self._ended.set()


class Exchange:
    """One request and its answer, in a task of its own."""

    def __init__(
        self,
        message: Message,
        connections: Connections,
        timeouts: Timeouts,
        body_limit: int,
        sink: Sink | None = None,
        *,
        traced: bool,
    ) -> None:
        """Prepare; nothing is sent yet."""
        self._message = message
        self._connections = connections
        self._timeouts = timeouts
        self._body_limit = body_limit
        self._sink = sink
        self._traced = traced
        self._reply: Reply | None = None
        self._error: Exception | None = None
        self._scope = anyio.CancelScope()
        self._over = anyio.Event()

    def result(self) -> Reply:
        """Return the answer, or raise why there is none."""
        if self._error is not None:
            raise self._error
        if self._reply is None:
            raise RuntimeError(_CLOSED)
        return self._reply

    async def run(self) -> None:
        """Send, read and remember what came of it; never raises for what the world does."""
        started = _clock.now()
        try:
            with self._scope:
                # a file takes as long as it takes; silence ends it, by the transport's own timeout
                self._scope.deadline = started + (self._timeouts.attempt if self._sink is None else math.inf)
                self._reply = await self._talk()
        except Exception as error:  # noqa: BLE001 - whatever a transport raises ends here, as one of our errors
            self._error = self._translate(error)
        finally:
            self._over.set()
        if self._scope.cancelled_caught:
            seconds = self._scope.deadline - started
            self._error = RequestTimedOut(f"no whole answer within {seconds:.3g} s", request=self._message.label)

    async def hurry_when_cancelled(self) -> None:
        """Bound the wait for the answer once the caller is cancelled; `run` itself is shielded after the first byte."""
        try:
            await self._over.wait()
        finally:
            self._scope.deadline = min(self._scope.deadline, _clock.now() + self._timeouts.answer)

    async def _talk(self) -> Reply:
        receipt, request = self._message.receipt, self._request()
        if receipt is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._open_receipt(receipt)
        reply = await self._on_a_connection(request)
        if receipt is not None:
            receipt.reply = reply
        return reply

    async def _on_a_connection(self, request: httpx.Request) -> Reply:
        connection, well = self._connections.take(request.url, fresh=self._message.fresh), False
        try:
            response = await connection.transport.handle_async_request(request)
            try:
                body = await self._take(response)
            finally:
                await _close(response.stream)
            well = True
        finally:
            await self._connections.give_back(connection, well=well)
        return Reply(status=response.status_code, headers=dict(response.headers.items()), body=body)

    def _request(self) -> httpx.Request:
        message = self._message
        request = httpx.Request(
            message.method, message.url, headers=message.headers, content=message.body, extensions=self._extensions()
        )
        if message.body is not None:
            request.stream = _Upload(message.body)
        return request

    async def _take(self, response: httpx.Response) -> bytes:
        if self._sink is None:
            return await _read(response, self._body_limit, self._message.label)
        if await self._sink.begin(response.status_code, dict(response.headers.items())):
            await _pour(_stream(response), self._sink)
        return b""

    def _extensions(self) -> dict[str, Any]:
        times = self._timeouts
        extensions: dict[str, Any] = {
            "timeout": {"connect": times.connect, "read": times.read, "write": times.write, "pool": times.pool}
        }
        if self._message.receipt is not None and self._traced:
            extensions["trace"] = functools.partial(self._trace, self._message.receipt)
        return extensions

    def _open_receipt(self, receipt: Receipt) -> None:
        receipt.reply = None
        receipt.sent = not self._traced  # a transport of the user's gives no proof, so it counts as sent
        self._scope.shield = receipt.sent

    async def _trace(self, receipt: Receipt, event: str, details: Mapping[str, Any]) -> None:
        """Note the moment from which the server may act: httpcore tells before the first byte of the request leaves."""
        # a CONNECT only asks a proxy for a way to the server
        if event.endswith("send_request_headers.started") and details["request"].method != b"CONNECT":
            receipt.sent = True
            self._scope.shield = True

    def _translate(self, error: Exception) -> Exception:
        """Turn whatever a transport raised into one of our errors, without the URL and headers it may hold."""
        if isinstance(error, RequestFailed | SettingsUnusable):
            return error
        reason, label = self._reason(error), self._message.label
        failure: RequestFailed
        if self._certainly_unsent(error):
            permanent = isinstance(error, _REFUSED_BY_US) or _distrusts_certificate(error)
            failure = ConnectionFailed(f"not sent: {reason}", request=label, permanent=permanent)
        elif isinstance(error, httpx.TimeoutException):
            failure = RequestTimedOut(f"no answer in time: {reason}", request=label)
        else:
            failure = ConnectionLost(f"the connection broke: {reason}", request=label)
        failure.__cause__ = None if _quotes_header(error) else error
        return failure

    def _reason(self, error: Exception) -> str:
        """Say what happened in the words of the first error of the chain that has some, never in those of a header."""
        if type(error) in _PATIENCE:
            return _PATIENCE[type(error)].format(self._timeouts)
        words = (str(cause) for cause in _chain(error) if str(cause) and isinstance(cause, Exception))
        return type(error).__name__ if _quotes_header(error) else next(words, type(error).__name__)

    def _certainly_unsent(self, error: Exception) -> bool:
        """Return whether no byte of the request has left: shown by the trace, or else by how it failed."""
        if not self._traced:
            return False
        if self._message.receipt is not None:
            return not self._message.receipt.sent
        return isinstance(error, _BEFORE_SENDING + _REFUSED_BY_US)


class _Upload(httpx.ByteStream):
    """The body of a request, in one piece.

    httpx hands it out by a generator, which trio complains about when sending breaks off.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(iter(self))


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def _close(closable: Any) -> None:
    """Close connections in a bounded time, whoever is cancelled meanwhile; one that cannot be closed is lost anyway."""
    with anyio.move_on_after(CLOSING_TIME, shield=True), contextlib.suppress(Exception):
        await closable.aclose()


async def _read(response: httpx.Response, limit: int, label: str) -> bytes:
    """Read an answer to its end, inflating it ourselves so that a few kilobytes cannot become gigabytes.

    Raises:
        UnexpectedResponse: The answer is too large, or packed in a way that was not asked for.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        message = f"status {response.status_code} with a body in an encoding that was not asked for ({encoding[:40]!r})"
        raise UnexpectedResponse(message, request=label)
    body = Gunzip(limit) if encoding == "gzip" else Plain(limit)
    try:
        await _feed(body, _stream(response))
        return body.finish()
    except Unreadable as error:
        message = f"status {response.status_code} with {error}"
        raise UnexpectedResponse(message, request=label, transient=error.transient) from None


async def _feed(body: Plain, stream: httpx.AsyncByteStream) -> None:
    """Read a stream to its end, or until the body has had enough.

    The loop is then ended by cancellation instead of being left: httpx nests generators, which only end, and in the
    right order, when the innermost one does.
    """
    problem: Unreadable | None = None
    with anyio.CancelScope() as scope:
        async for chunk in stream:
            try:
                body.feed(chunk)
            except Unreadable as error:
                problem = error
                scope.cancel()
    if problem is not None:
        raise problem


async def _pour(stream: httpx.AsyncByteStream, sink: Sink) -> None:
    """Hand a stream to a sink in batches, to its end or until the sink has had enough; also what came before it broke.

    Cancellation must reach the stream, as in `_feed`, so it never ends the handing over.
    """
    batch: list[bytes] = []
    size, due = 0, _clock.now() + BATCH_TIME
    with anyio.CancelScope() as scope:
        try:
            async for chunk in stream:
                batch.append(chunk)
                size += len(chunk)
                if size >= BATCH or _clock.now() >= due:
                    if not await _hand_over(batch, sink):
                        scope.cancel()
                    batch, size, due = [], 0, _clock.now() + BATCH_TIME
        except Exception:
            await _hand_over(batch, sink)
            raise
    if not scope.cancel_called:
        await _hand_over(batch, sink)


async def _hand_over(batch: list[bytes], sink: Sink) -> bool:
    more = True
    with anyio.CancelScope(shield=True):
        more = not batch or await sink.write(batch)
    return more  # noqa: RET504 - type checkers know that a scope may swallow what is raised inside it


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        message = f"the transport answered with a {type(stream).__name__}, which cannot be read asynchronously"
        raise TypeError(message)
    return stream


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _quotes_header(error: BaseException) -> bool:
    """Return whether an error repeats a header of the request, which may be the token."""
    return isinstance(error, httpx.LocalProtocolError | UnicodeError)


def _distrusts_certificate(error: BaseException) -> bool:
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _chain(error))


def _proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment asks for, read by the standard library's rules."""
    proxies = urllib.request.getproxies()
    if not proxies or urllib.request.proxy_bypass(url.host):
        return None
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _httpx_transport(proxy: str | None, *, keep: bool) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=int(keep), keepalive_expiry=KEEPALIVE_EXPIRY)
    try:
        transport = httpx.AsyncHTTPTransport(
            verify=_shared_ssl_context(*_certificate_settings()), limits=limits, proxy=proxy
        )
    except (ValueError, httpx.InvalidURL, ImportError):
        names = [name for name in _PROXY_VARIABLES if os.environ.get(name)]
        source = " or ".join(names) or "the system settings"
        message = f"the proxy in {source} cannot be used; give http://host:port or unset it"
        raise SettingsUnusable(message) from None
    # httpcore takes a backend of ours by its public interface, but httpx does not hand one on
    pool: Any = transport._pool  # noqa: SLF001 - see above
    pool._network_backend = DrainingBackend(pool._network_backend)  # noqa: SLF001 - see above
    return transport


def _certificate_settings() -> tuple[str | None, str | None]:
    return os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None


@functools.lru_cache(maxsize=4)
def _shared_ssl_context(file: str | None, directory: str | None) -> ssl.SSLContext:
    """Return the TLS settings that all clients share: making them costs 150 times what making a client does."""
    try:
        _check_directories("" if file else directory or "")  # OpenSSL does not complain about one that is missing
        return httpx.create_ssl_context()
    except OSError:
        names = [name for name in _CERTIFICATE_VARIABLES if os.environ.get(name)]
        message = f"the files named by {' and '.join(names)} cannot be used; correct or unset the variable"
        raise SettingsUnusable(message) from None


def _check_directories(directories: str) -> None:
    if directories and not any(Path(one).is_dir() for one in directories.split(os.pathsep)):
        raise NotADirectoryError
