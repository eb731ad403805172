"""One exchange: send a request on an `httpx.AsyncClient`, ours or the user's, and read its response.

It runs in a task group of its own, so that asyncio's `task.cancel()` reaches httpx as a cancellation of anyio, after
which httpcore cleans up. The events of the `trace` extension decide three things: whether the request may have left,
whether a cancellation may end it, and which socket must be closed after a cancelled TLS handshake.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
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
    """How far a request that must not be sent twice has come; kept up to date while it is sent."""

    before_send: Callable[[], Awaitable[None]] | None = None
    """Awaited before each exchange; when it raises, nothing is sent, and the call raises its error."""
    sent: bool = False
    """Whether bytes of the request may have left, so that the server may act on it."""
    response: ApiResponse | None = None
    """The response, even when the caller was cancelled meanwhile."""


class AsyncClientLike(Protocol):
    """The part of an `httpx.AsyncClient` that is used; an `httpx2.AsyncClient` has it, too."""

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...

    async def send(self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...) -> Any:
        """Send a request without changing it."""
        ...


class BodyWriter(Protocol):
    """Takes the body of a response as it arrives."""

    async def take(self, status: int, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> None:
        """Take the body, or leave it unread; must not raise anything but the errors of `body`."""
        ...


class Sender:
    """Sends the requests of one client on its `httpx.AsyncClient`, and cancels them when the client is closed.

    The caller limits how many are sent at once.
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
        """Send a request and read the whole response, within `Timeouts.total`; a writer has no such bound.

        Args:
            request: A request made by `build`.
            label: Name of the request in errors: method and path.
            secret: The secret that the request carries, which no error may repeat.
            state: For a request that must not be sent twice: kept up to date while it is sent.
            writer: Takes the body as it arrives; the response then has none.
            attempt: Number of the try, from 1, for the log.

        Raises:
            TransportError: No response came, or it broke off; `ConnectionFailedError` when the request certainly never
                arrived.
            UnexpectedResponseError: The body is too large, broken, or in an encoding that was not asked for.
            ConfigurationError: The proxy or certificate variables of the environment cannot be used.
            RuntimeError: The client, or the AsyncClient given to it, was closed.
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
        group = anyio.create_task_group()
        try:
            async with group:
                self._scopes.add(group.cancel_scope)  # on trio there is none before
                group.start_soon(exchange.run)
                if exchange.over is not None:
                    group.start_soon(exchange.end_soon_when_cancelled, exchange.over)
        except BaseExceptionGroup as failures:  # as `_bulk.TaskGroup` does, which would cost each call more
            raise lone(failures) from None
        finally:
            exchange.log(attempt)
            self._scopes.discard(group.cancel_scope)
            if self._ended is not None and not self._scopes:
                self._ended.set()
        return exchange.result()

    async def aclose(self) -> None:
        """Cancel the exchanges and wait for their end, bounded; the AsyncClient itself stays open."""
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
        self._started = _clock.now()
        # a file may take any time; a server that is silent is noticed by the read timeout
        seconds = sender.timeouts.total if writer is None else math.inf
        self._scope = anyio.CancelScope(deadline=self._started + seconds)
        self.over = None if state is None else anyio.Event()
        """Set at the end of an exchange that must not be cancelled once the request was sent."""
        self._is_traced = self._is_sent = False
        self._half_open: Any = None
        request.extensions["trace"] = self._trace

    def result(self) -> ApiResponse:
        """Return the response, or raise the error in its place."""
        if self._error is not None:
            raise self._error
        if self._response is None:
            raise RuntimeError(_CLOSED)
        return self._response

    def log(self, attempt: int) -> None:
        """Write one line at DEBUG, without query, body and secret."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        outcome: object = "cancelled"
        if self._response is not None:
            outcome = self._response.status
        elif self._error is not None:
            outcome = type(self._error).__name__
        path = self._request.url.raw_path.partition(b"?")[0].decode("ascii")
        milliseconds = (_clock.now() - self._started) * 1000
        logger.debug("%s %s %s try %d %.0f ms", self._request.method, path, outcome, attempt, milliseconds)

    async def run(self) -> None:
        """Send the request and keep its response, or keep the error in its place: no `Exception` is raised."""
        try:
            with self._scope:
                self._response = await self._send_and_read()
        except Exception as error:  # noqa: BLE001 - transports and hooks raise anything; it becomes one of our errors
            self._error = self._translated(error)
        finally:
            if self._half_open is not None:
                await close(self._half_open)  # httpcore does not close it
            if self.over is not None:
                self.over.set()
        if self._scope.cancelled_caught and self._error is None:
            seconds = self._scope.deadline - self._started
            self._error = RequestTimeoutError(f"no complete answer within {seconds:.3g} s", request=self._label)

    async def end_soon_when_cancelled(self, over: anyio.Event) -> None:
        """Bound the wait for the response when the caller is cancelled: `run` is shielded once bytes were sent."""
        try:
            await over.wait()
        finally:
            self._scope.deadline = min(self._scope.deadline, _clock.now() + self._sender.timeouts.cancel_grace)

    async def _send_and_read(self) -> ApiResponse:
        state = self._state
        if state is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            # until a trace event says otherwise, bytes may have left
            state.response, state.sent = None, True
            self._scope.shield = True
        response = await self._send()
        try:
            body = await self._body(response)
        except BaseException:
            await close(response)
            raise
        with contextlib.suppress(Exception):  # a transport may raise anything, and the body is whole already
            await response.aclose()
        answer = ApiResponse(status=response.status_code, headers=response.headers, body=body)
        if state is not None:
            state.response = answer
        return answer

    async def _send(self) -> Any:
        """Send the request, and return the response as soon as its headers are there."""
        try:
            return await self._sender.http_client.send(self._request, stream=True, auth=None, follow_redirects=False)
        except Exception as error:
            # `response.raise_for_status()` in a hook of the user must not turn an error status into a lost response
            response = getattr(error, "response", None) if is_named(error, "HTTPStatusError") else None
            if response is None:
                raise
        return response

    async def _trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Note how far the request has come; httpcore calls this before and after each step."""
        if self._is_sent:
            return
        self._is_traced = True
        if event.endswith("send_request_headers.started"):
            self._half_open = None
            # a CONNECT only asks a proxy for a connection to the server
            self._is_sent = getattr(details.get("request"), "method", None) != b"CONNECT"
            if self._is_sent:
                self._request.extensions.pop("trace", None)  # later events are not needed, and each costs time
        elif event.endswith("connect_tcp.complete"):
            self._half_open = details.get("return_value")
        elif event.endswith("start_tls.complete"):
            self._half_open = None
        if self._state is not None:
            self._state.sent = self._is_sent
        self._scope.shield = (self._state is not None and self._is_sent) or event.endswith(_CONNECTED)

    async def _body(self, response: Any) -> bytes:
        """Read a response to its end, or let the writer read it.

        A body that is too large is ended by cancellation, not by leaving the loop: httpcore nests async generators,
        which end in the right order only when the innermost one ends.

        Raises:
            UnexpectedResponseError: The body is too large, broken, or in an encoding that was not asked for.
        """
        stream = _pieces_of(response)
        if self._writer is not None:
            await self._writer.take(response.status_code, response.headers, stream)
            return b""
        # httpx has decompressed what a hook has read
        encoding = "" if response.is_closed else response.headers.get("content-encoding", "")
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
            self._state.sent = False  # our own transport raises it, before anything is sent
        if isinstance(error, Up42Error):
            return error.with_traceback(None)
        # only a trace proves that nothing was sent; for a request that may be sent twice, httpx's refusal is enough
        unsent = (self._is_traced and not self._is_sent) or (self._state is None and is_refused_by_us(error))
        return translate(
            error,
            label=self._label,
            host=self._request.url.netloc.decode("ascii"),
            sent=not unsent,
            timeouts=self._sender.timeouts,
            proxy=self._request.extensions.get(PROXY),
            secret=self._secret,
        )


def _pieces_of(response: Any) -> AsyncIterable[bytes]:
    """Return the body of a response, which a hook of the user may have read or closed.

    The stream of httpx is returned as it is, since a generator around it would have to be closed, too.

    Raises:
        ValueError: A hook closed the response of a success unread.
    """
    if response.is_stream_consumed:
        return Pieces(iter([response.content]))
    if not response.is_closed:
        stream: AsyncIterable[bytes] = response.stream
        return stream
    if response.is_success:
        raise ValueError("a hook of the AsyncClient closed the response before it was read")
    return Pieces(iter(()))
