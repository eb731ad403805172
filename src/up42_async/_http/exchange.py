"""One exchange: a request is sent on an `httpx.AsyncClient`, ours or the user's, and its response read.

It runs in a task group of its own, so that `task.cancel()` reaches httpx as anyio's kind of cancellation, which
httpcore can stand. What the `trace` extension tells while the request is sent decides three things: whether it may have
left, whether cancelling may cut it off, and which socket is to be closed after a cancelled TLS handshake.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import anyio
import attrs

from up42_async import _clock
from up42_async._bulk import lone
from up42_async._config import Limits, Timeouts
from up42_async._errors import ConfigurationError, RequestTimeoutError, Up42Error
from up42_async._http.error_mapping import is_named, is_refused_by_us, translate
from up42_async._http.requests import Pieces, RequestBuilder, Secret
from up42_async._http.responses import ApiResponse, Body
from up42_async._http.transport import CLOSING_TIME, PROXY, close

logger = logging.getLogger("up42_async.http")

# httpcore's pool loses a connection when a request is cancelled between one of these events and the next one
_CONNECTED: Final = ("connect_tcp.complete", "start_tls.complete", "connect_unix_socket.complete")
_CLOSED: Final = "the client was closed before the request was answered; make a new client"


@attrs.define(kw_only=True, eq=False, repr=False)
class SendState:
    """What is known of a request that must not be sent twice, while it is under way and ever after."""

    before_send: Callable[[], Awaitable[None]] | None = None
    """Awaited before each exchange begins; when it raises, nothing is sent, and its error is that of the call."""
    sent: bool = False
    """Whether bytes of it may have left, so that the server may act on it."""
    response: ApiResponse | None = None
    """The response, even when the caller was cancelled meanwhile."""


class AsyncClientLike(Protocol):
    """What of an `httpx.AsyncClient` is used: an `httpx2.AsyncClient` has it, too."""

    @property
    def is_closed(self) -> bool:
        """Whether it can send no more."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...

    async def send(self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...) -> Any:
        """Send a request as it is."""
        ...


class BodyWriter(Protocol):
    """Takes a response in the caller's own way."""

    async def take(self, status: int, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> None:
        """Take the body while it comes, or leave it unread; nothing may be raised but what the body raises."""
        ...


class Sender:
    """Sends the requests of one client on its `httpx.AsyncClient`, and ends them when the client is closed.

    How many are sent at once is for the caller to limit.
    """

    def __init__(self, http_client: AsyncClientLike, *, timeouts: Timeouts, limits: Limits) -> None:
        """Open nothing yet.

        Raises:
            TypeError: `http_client` is not an asynchronous client of httpx or httpx2.
        """
        self.http_client = http_client
        self.timeouts = timeouts
        self.body_limit = limits.max_response_bytes
        self.build = RequestBuilder(http_client, timeouts).build
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False
        self._ended: anyio.Event | None = None

    async def send(
        self,
        request: Any,
        *,
        label: str,
        secret: Secret,
        state: SendState | None = None,
        writer: BodyWriter | None = None,
        attempt: int = 1,
    ) -> ApiResponse:
        """Send a request and read the whole response, or hand it to a writer, however long that takes.

        Args:
            request: From `build`.
            label: What errors call it: method and path.
            secret: What it carries and no error may repeat.
            state: Given, and filled in, for a request that must not be sent twice.
            writer: What takes the body while it comes; the response then has none.
            attempt: Which try this is, for the log.

        Raises:
            TransportError: No response came, or it broke off; `ConnectionFailedError` when the request certainly never
                arrived.
            UnexpectedResponseError: The response is too large, or packed in a way that was not asked for.
            ConfigurationError: The proxy or certificate variables of the environment cannot be used.
            RuntimeError: The client was closed.
        """
        if state is not None and state.before_send is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            with anyio.CancelScope(shield=True):
                await state.before_send()
        if self._closed:
            raise RuntimeError(_CLOSED)
        if self.http_client.is_closed:
            raise RuntimeError("the AsyncClient given as http_client is closed; close it after the client that uses it")
        exchange = Exchange(self, request, label, secret, state, writer)
        started = _clock.now()
        group = anyio.create_task_group()
        try:
            async with group:
                self._scopes.add(group.cancel_scope)  # on trio there is none before
                group.start_soon(exchange.run)
                if exchange.over is not None:
                    group.start_soon(exchange.hurry_when_cancelled, exchange.over)
        except BaseExceptionGroup as failures:
            raise lone(failures) from None
        finally:
            exchange.log(attempt, _clock.now() - started)
            self._scopes.discard(group.cancel_scope)
            if self._ended is not None and not self._scopes:
                self._ended.set()
        return exchange.result()

    async def aclose(self) -> None:
        """End what is under way; the AsyncClient itself is for its owner to close."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        if self._scopes:
            self._ended = anyio.Event()
            with anyio.move_on_after(CLOSING_TIME + self.timeouts.cancel_grace, shield=True):
                await self._ended.wait()


class Exchange:
    """One request and its response, in a task of its own."""

    def __init__(
        self,
        sender: Sender,
        request: Any,
        label: str,
        secret: Secret,
        state: SendState | None,
        writer: BodyWriter | None,
    ) -> None:
        self._sender = sender
        self._request = request
        self._label = label
        self._secret = secret
        self._state = state
        self._writer = writer
        self._response: ApiResponse | None = None
        self._error: Exception | None = None
        self._scope = anyio.CancelScope()
        self.over = None if state is None else anyio.Event()
        """Set at the end of an exchange that is not to be cut off in the middle."""
        self._is_traced = self._is_sent = False
        self._half_open: Any = None
        request.extensions["trace"] = self._trace

    def result(self) -> ApiResponse:
        """Return the response, or raise why there is none."""
        if self._error is not None:
            raise self._error
        if self._response is None:
            raise RuntimeError(_CLOSED)
        return self._response

    def log(self, attempt: int, seconds: float) -> None:
        """Write one line at DEBUG: no query, no body, no secret."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        outcome: object = "cancelled"
        if self._response is not None:
            outcome = self._response.status
        elif self._error is not None:
            outcome = type(self._error).__name__
        path = self._request.url.raw_path.partition(b"?")[0].decode("ascii")
        logger.debug("%s %s %s try %d %.0f ms", self._request.method, path, outcome, attempt, seconds * 1000)

    async def run(self) -> None:
        """Send, read and keep what came of it; never raises for what goes wrong outside of this program."""
        started = _clock.now()
        # a file takes as long as it takes; silence ends it, by the read timeout
        seconds = self._sender.timeouts.total if self._writer is None else math.inf
        try:
            with self._scope:
                self._scope.deadline = started + seconds
                self._response = await self._talk()
        except Exception as error:  # noqa: BLE001 - whatever a transport or hook raises ends here, as one of our errors
            self._error = self._translated(error)
        finally:
            if self._half_open is not None:
                await close(self._half_open)  # httpcore leaves it to the garbage collector
            if self.over is not None:
                self.over.set()
        if self._scope.cancelled_caught and self._error is None:
            seconds = self._scope.deadline - started
            self._error = RequestTimeoutError(f"no whole answer within {seconds:.3g} s", request=self._label)

    async def hurry_when_cancelled(self, over: anyio.Event) -> None:
        """Bound the wait for the response once the caller is cancelled: `run` is shielded after the first byte."""
        try:
            await over.wait()
        finally:
            self._scope.deadline = min(self._scope.deadline, _clock.now() + self._sender.timeouts.cancel_grace)

    async def _talk(self) -> ApiResponse:
        state = self._state
        if state is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            # until a trace event shows better, it may leave at any moment
            state.response, state.sent = None, True
            self._scope.shield = True
        response = await self._head()
        try:
            body = await self._body(response)
        except BaseException:
            await close(response)
            raise
        with contextlib.suppress(Exception):  # a transport may raise anything, and what was read is good in any case
            await response.aclose()
        answer = ApiResponse(status=response.status_code, headers=response.headers, body=body)
        if state is not None:
            state.response = answer
        return answer

    async def _head(self) -> Any:
        """Send the request, and return the response as soon as its headers are there."""
        try:
            return await self._sender.http_client.send(self._request, stream=True, auth=None, follow_redirects=False)
        except Exception as error:
            # `response.raise_for_status()` in a hook of the user's must not turn a refusal into a lost response
            response = getattr(error, "response", None) if is_named(error, "HTTPStatusError") else None
            if response is None:
                raise
        return response

    async def _trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Note how far the sending has come, as httpcore tells it before and after each step."""
        if self._is_sent:
            return
        self._is_traced = True
        if event.endswith("send_request_headers.started"):
            self._half_open = None
            # a CONNECT only asks a proxy for a way to the server
            self._is_sent = getattr(details.get("request"), "method", None) != b"CONNECT"
            if self._is_sent:
                self._request.extensions.pop("trace", None)  # what follows is not needed, and telling it costs
        elif event.endswith("connect_tcp.complete"):
            self._half_open = details.get("return_value")
        elif event.endswith("start_tls.complete"):
            self._half_open = None
        if self._state is not None:
            self._state.sent = self._is_sent
        self._scope.shield = (self._state is not None and self._is_sent) or event.endswith(_CONNECTED)

    async def _body(self, response: Any) -> bytes:
        """Read a response to its end, or have the writer do it.

        One that is too large is cut off by cancellation, not by leaving the loop: httpcore nests generators, which only
        end, and in the right order, when the innermost one does.

        Raises:
            UnexpectedResponseError: The response is packed in a way that was not asked for, broken or too large.
        """
        stream = _Stream(response)
        if self._writer is not None:
            await self._writer.take(response.status_code, response.headers, stream)
            return b""
        if response.is_closed and not response.is_stream_consumed and not response.is_success:
            return b""  # a hook refused it unread
        # what a hook has read, httpx has inflated
        encoding = "" if response.is_stream_consumed else response.headers.get("content-encoding", "")
        body = Body(
            response.status_code, encoding, limit=self._sender.body_limit, label=self._label, secret=self._secret
        )
        async for chunk in stream:
            self._error = body.append(chunk)
            if self._error is not None:
                self._scope.cancel()
        return body.finish()

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, ConfigurationError) and self._state is not None:
            self._state.sent = False  # it comes from our own transport, before anything is sent
        if isinstance(error, Up42Error):
            return error.with_traceback(None)
        # without a trace there is no proof; for what may be sent twice it is enough that httpx refused it
        unsent = (self._is_traced and not self._is_sent) or (self._state is None and is_refused_by_us(error))
        return translate(
            error,
            label=self._label,
            sent=not unsent,
            timeouts=self._sender.timeouts,
            proxy=self._request.extensions.get(PROXY),
            secret=self._secret,
        )


class _Stream(AsyncIterable[bytes]):
    """The body of a response, also one that a hook of the user's has read."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand on what httpx iterates over, since a generator around it would have to be ended, too.

        Raises:
            ValueError: A hook closed the response unread.
        """
        if self._response.is_stream_consumed:
            return Pieces(iter([self._response.content]))
        if self._response.is_closed:
            raise ValueError("a hook of the AsyncClient closed the response before it was read")
        iterator: AsyncIterator[bytes] = self._response.stream.__aiter__()
        return iterator
