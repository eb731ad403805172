"""Send requests and read the answers: the one place where the errors of httpcore and httpx become ours.

Every exchange has a connection of its own (see `_connections`), and runs in a task group of its own, so that
`task.cancel()` reaches httpcore as anyio's kind of cancellation, which it can stand.

httpx comes in only with a transport of the user's, which takes the place of the connections. Its client is not used: it
follows redirects, keeps cookies and logs whole URLs, none of which is wanted.
"""

import functools
import math
from collections.abc import AsyncIterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import anyio.lowlevel

from up42_async import _clock
from up42_async._config import Limits, Timeouts
from up42_async._errors import (
    APIError,
    ConnectionFailedError,
    ConnectionLostError,
    RequestTimeoutError,
    UnexpectedResponseError,
    Up42Error,
)
from up42_async._http.bodies import Gunzip, Plain, Unreadable
from up42_async._http.messages import ApiResponse, Message, SendState
from up42_async._http.transport import CLOSING_TIME, Answer, Connections, close

if TYPE_CHECKING:
    import httpx

BATCH: Final = 2**20
"""Bytes of a file that are handed over together: handing over each piece costs several times what receiving it does."""

BATCH_TIME: Final = 1.0
"""Seconds after which what came of a file is handed over, however little it is."""

# httpcore's errors and httpx's, which a transport of the user's raises, have the same names
_BEFORE_SENDING: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})
_REFUSED_BY_US: Final = frozenset({"UnsupportedProtocol", "LocalProtocolError"})
_QUOTING_HEADERS: Final = frozenset({"LocalProtocolError", "UnicodeError"})
_UNTRUSTED: Final = frozenset({"SSLCertVerificationError"})
_TIMEOUTS: Final = frozenset({"TimeoutException"})
_PATIENCE: Final[Mapping[str, str]] = {
    "ConnectTimeout": "no connection within {0.connect:g} s",
    "ReadTimeout": "silence for {0.read:g} s",
    "WriteTimeout": "the server took nothing of the request for {0.write:g} s",
    "PoolTimeout": "no free connection within {0.pool:g} s",
}
_CLOSED: Final = "the client was closed before the request was answered; make a new client"


class BodyWriter(Protocol):
    """Takes a file piece by piece. It never raises: it keeps what went wrong to itself, and wants no more."""

    async def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Look at the head of the answer; return whether the body is wanted. Header names are in lower case."""
        ...

    async def write(self, chunks: list[bytes]) -> bool:
        """Take a batch of the body; return whether more is wanted."""
        ...


class Connector(Protocol):
    """Where exchanges get their connections from."""

    traces: bool
    """Whether a `trace` among the extensions is told when the first byte of a request leaves."""

    @property
    def is_open(self) -> bool:
        """Whether there may be connections that nobody has closed yet."""
        ...

    async def prepare(self, message: Message, extensions: dict[str, Any]) -> Any:
        """Put a message into the form that is asked."""
        ...

    async def take(self, request: Any, *, fresh: bool = False) -> Any:
        """Lend what a request is sent on, a new one where that is asked for."""
        ...

    async def give_back(self, connection: Any, *, well: bool) -> None:
        """Take back what was lent, to be closed unless the exchange ended well."""
        ...

    async def close_idle(self, since: float) -> None:
        """Close what has been idle since some moment, or longer."""
        ...


class UsersTransport:
    """An httpx transport of the user's in place of connections: it proves nothing, and is the user's to close."""

    traces = False
    is_open = False

    def __init__(self, transport: "httpx.AsyncBaseTransport") -> None:
        """Send nothing yet."""
        self._transport = transport

    async def prepare(self, message: Message, extensions: dict[str, Any]) -> "httpx.Request":
        """Put a message into httpx's form.

        Raises:
            Exception: Whatever httpx raises for a URL or headers that cannot be used.
        """
        import httpx

        return httpx.Request(
            message.method, message.url, headers=message.headers, content=message.body, extensions=extensions
        )

    async def take(self, request: "httpx.Request", *, fresh: bool = False) -> "UsersTransport":
        """Lend the transport."""
        del request, fresh
        return self

    async def ask(self, request: "httpx.Request") -> Answer:
        """Send a request, and read the head of the answer."""
        import httpx

        response = await self._transport.handle_async_request(request)
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            message = f"the transport answered with a {type(stream).__name__}, which cannot be read asynchronously"
            raise TypeError(message)
        return Answer(response.status_code, dict(response.headers.items()), stream)

    async def give_back(self, connection: "UsersTransport", *, well: bool) -> None:
        """Do nothing: the transport has its own way with connections."""

    async def close_idle(self, since: float) -> None:
        """Do nothing, either."""


class Lane:
    """Requests of one kind on connections of their own: exchanges begin and end here."""

    def __init__(
        self, *, timeouts: Timeouts, limits: Limits, foreign: "httpx.AsyncBaseTransport | None", keep: bool = True
    ) -> None:
        """Open nothing yet; there are as many connections as exchanges at once, which is for the caller to limit.

        Args:
            timeouts: How long an exchange may take.
            limits: How large an answer may be.
            foreign: A transport of the user's, instead of ours.
            keep: Whether connections serve more than one request. The server cannot have closed a fresh one meanwhile.
        """
        self._timeouts = timeouts
        self._body_limit = limits.max_response_bytes
        self._connections: Connector = Connections(keep=keep) if foreign is None else UsersTransport(foreign)
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False
        self._ended: anyio.Event | None = None

    @property
    def is_open(self) -> bool:
        """Whether there may be connections that nobody has closed yet."""
        return self._connections.is_open

    async def send(self, message: Message) -> ApiResponse:
        """Send a request and read the whole answer.

        Raises:
            TransportError: No answer came; `ConnectionFailedError` when the request certainly never arrived.
            UnexpectedResponseError: The answer is too large, or packed in a way that was not asked for.
            ConfigurationError: The proxy or certificate variables of the environment cannot be used.
            RuntimeError: The client was closed.
        """
        return await self._exchange(message, None)

    async def fetch(self, message: Message, writer: BodyWriter) -> ApiResponse:
        """Send a request and hand the answer to a writer while it comes, however long that takes.

        Args:
            message: The request.
            writer: What takes the answer.

        Returns:
            The answer, without its body.

        Raises:
            TransportError: No answer came, or it broke off; the writer has what came of it.
            ConfigurationError: The proxy or certificate variables of the environment cannot be used.
            RuntimeError: The client was closed.
        """
        return await self._exchange(message, writer)

    async def aclose(self) -> None:
        """End what is under way, and close the connections; each exchange closes its own."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        await self._connections.close_idle(math.inf)
        if self._scopes:
            self._ended = anyio.Event()
            with anyio.move_on_after(CLOSING_TIME + self._timeouts.cancel_grace, shield=True):
                await self._ended.wait()

    async def _exchange(self, message: Message, writer: BodyWriter | None) -> ApiResponse:
        if self._closed:
            raise RuntimeError(_CLOSED)
        exchange = Exchange(message, self._connections, self._timeouts, self._body_limit, writer)
        group = anyio.create_task_group()
        try:
            async with group:
                self._scopes.add(group.cancel_scope)  # on trio there is none before
                group.start_soon(exchange.run)
                if exchange.over is not None:
                    group.start_soon(exchange.hurry_when_cancelled, exchange.over)
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
        connections: Connector,
        timeouts: Timeouts,
        body_limit: int,
        writer: BodyWriter | None = None,
    ) -> None:
        """Prepare; nothing is sent yet."""
        self._message = message
        self._connections = connections
        self._timeouts = timeouts
        self._body_limit = body_limit
        self._writer = writer
        self._is_prepared = False
        self._reply: ApiResponse | None = None
        self._error: Exception | None = None
        self._scope = anyio.CancelScope()
        self.over = None if message.state is None else anyio.Event()
        """Happens at the end of an exchange that is not to be cut off in the middle."""

    def result(self) -> ApiResponse:
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
                self._scope.deadline = started + (self._timeouts.total if self._writer is None else math.inf)
                self._reply = await self._talk()
        except Exception as error:  # noqa: BLE001 - whatever a transport raises ends here, as one of our errors
            self._error = self._translate(error)
        finally:
            if self.over is not None:
                self.over.set()
        if self._scope.cancelled_caught and self._error is None:
            seconds = self._scope.deadline - started
            self._error = RequestTimeoutError(f"no whole answer within {seconds:.3g} s", request=self._message.label)

    async def hurry_when_cancelled(self, over: anyio.Event) -> None:
        """Bound the wait for the answer once the caller is cancelled; `run` itself is shielded after the first byte."""
        try:
            await over.wait()
        finally:
            self._scope.deadline = min(self._scope.deadline, _clock.now() + self._timeouts.cancel_grace)

    async def _talk(self) -> ApiResponse:
        request = await self._connections.prepare(self._message, self._extensions())
        self._is_prepared = True
        state = self._message.state
        if state is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            await self._open_receipt(state)
        reply = await self._on_a_connection(request)
        if state is not None:
            state.response = reply
        return reply

    async def _on_a_connection(self, request: Any) -> ApiResponse:
        connection = await self._connections.take(request, fresh=self._message.fresh)
        well = False
        try:
            answer: Answer = await connection.ask(request)
            try:
                body = await self._take(answer)
                well = await _ends_well(answer.body)
            finally:
                if not well:
                    await close(answer.body)
        finally:
            await self._connections.give_back(connection, well=well)
        return ApiResponse(status=answer.status, headers=answer.headers, body=body)

    async def _take(self, answer: Answer) -> bytes:
        if self._writer is None:
            return await self._read(answer)
        if await self._writer.begin(answer.status, answer.headers):
            await _pour(answer.body, self._writer)
        return b""

    async def _read(self, answer: Answer) -> bytes:
        """Read an answer to its end, inflating it ourselves so that a few kilobytes cannot become gigabytes.

        One that is too large is cut off by cancellation, not by leaving the loop: httpcore nests generators, which only
        end, and in the right order, when the innermost one does.

        Raises:
            UnexpectedResponseError: The answer is packed in a way that was not asked for, or broken.
        """
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity", "gzip"}:
            raise self._unexpected(answer, f"a body in an encoding that was not asked for ({encoding[:40]!r})")
        body = Gunzip(self._body_limit) if encoding == "gzip" else Plain(self._body_limit)
        async for chunk in answer.body:
            try:
                body.feed(chunk)
            except Unreadable as error:
                self._error = self._error or self._unexpected(answer, str(error), transient=error.transient)
                self._scope.cancel()
        if self._error is not None:  # all of it had come already, so nothing was left to cut off
            raise self._error
        try:
            return body.finish()
        except Unreadable as error:
            raise self._unexpected(answer, str(error), transient=error.transient) from None

    def _unexpected(self, answer: Answer, what: str, *, transient: bool = False) -> UnexpectedResponseError:
        message = f"status {answer.status} with {what}"
        return UnexpectedResponseError(message, request=self._message.label, transient=transient)

    def _extensions(self) -> dict[str, Any]:
        times = self._timeouts
        extensions: dict[str, Any] = {
            "timeout": {"connect": times.connect, "read": times.read, "write": times.write, "pool": times.pool}
        }
        if self._message.state is not None and self._connections.traces:
            extensions["trace"] = functools.partial(self._trace, self._message.state)
        return extensions

    async def _open_receipt(self, state: SendState) -> None:
        state.response, state.sent = None, False
        if not self._connections.traces:
            await self._may_leave(state)  # a transport of the user's gives no proof, so it counts as sent

    async def _may_leave(self, state: SendState) -> None:
        """Note that the server may act on the request from now on; what has to be done before that is not cut off."""
        self._scope.shield = True
        if state.before_send is not None:
            await state.before_send()
        state.sent = True

    async def _trace(self, state: SendState, event: str, details: Mapping[str, Any]) -> None:
        """Note the moment from which the server may act: httpcore tells before the first byte of the request leaves."""
        # a CONNECT only asks a proxy for a way to the server
        if event.endswith("send_request_headers.started") and details["request"].method != b"CONNECT":
            await self._may_leave(state)

    def _translate(self, error: Exception) -> Exception:
        """Turn whatever a transport raised into one of our errors, without the URL and headers it may hold."""
        if isinstance(error, Up42Error):
            return error
        reason, label = self._reason(error), self._message.label
        failure: APIError
        if self._certainly_unsent(error):
            permanent = not self._is_prepared or _is(error, _REFUSED_BY_US) or _distrusts_certificate(error)
            failure = ConnectionFailedError(f"not sent: {reason}", request=label, permanent=permanent)
        elif _is(error, _TIMEOUTS):
            failure = RequestTimeoutError(f"no answer in time: {reason}", request=label)
        else:
            failure = ConnectionLostError(f"the connection broke: {reason}", request=label)
        # an error that quotes a header may quote the token
        failure.__cause__ = None if _is(error, _QUOTING_HEADERS) else error
        return failure

    def _reason(self, error: Exception) -> str:
        """Say what happened in the words of the first error of the chain that has some, never in those of a header."""
        name = type(error).__name__
        if name in _PATIENCE:
            return _PATIENCE[name].format(self._timeouts)
        words = (str(cause) for cause in _chain(error) if str(cause) and isinstance(cause, Exception))
        return name if _is(error, _QUOTING_HEADERS) else next(words, name)

    def _certainly_unsent(self, error: Exception) -> bool:
        """Return whether no byte of the request has left: shown by the trace, or else by how it failed."""
        if not self._is_prepared:
            return True
        if not self._connections.traces:
            return False
        if self._message.state is not None:
            return not self._message.state.sent
        return _is(error, _BEFORE_SENDING | _REFUSED_BY_US)


async def _ends_well(body: Any) -> bool:
    """Close a body that has been read; return whether that went well: if not, what was read is good all the same."""
    try:
        await body.aclose()
    except Exception:  # noqa: BLE001 - a transport may raise anything
        return False
    return True


async def _pour(stream: AsyncIterable[bytes], writer: BodyWriter) -> None:
    """Hand a stream to a writer in batches, until it ends or the writer wants no more; also what came before it broke.

    Cancellation must reach the stream, as when an answer is read, so it never ends the handing over.
    """
    batch: list[bytes] = []
    size, due = 0, _clock.now() + BATCH_TIME
    with anyio.CancelScope() as scope:
        try:
            async for chunk in stream:
                batch.append(chunk)
                size += len(chunk)
                if size >= BATCH or _clock.now() >= due:
                    if not await _hand_over(batch, writer):
                        scope.cancel()
                    batch, size, due = [], 0, _clock.now() + BATCH_TIME
        except Exception:
            await _hand_over(batch, writer)
            raise
    if not scope.cancel_called:
        await _hand_over(batch, writer)


async def _hand_over(batch: list[bytes], writer: BodyWriter) -> bool:
    more = True
    with anyio.CancelScope(shield=True):
        more = not batch or await writer.write(batch)
    return more  # noqa: RET504 - type checkers know that a scope may swallow what is raised inside it


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is(error: BaseException, names: frozenset[str]) -> bool:
    """Return whether an error is of a kind, by name: so nothing needs to be imported to tell."""
    return not names.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _distrusts_certificate(error: BaseException) -> bool:
    return any(_is(cause, _UNTRUSTED) for cause in _chain(error))
