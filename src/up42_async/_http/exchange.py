"""One exchange: a request is sent on an `httpx.AsyncClient`, and its response read.

It runs in a task group of its own, so that `task.cancel()` reaches httpx as anyio's kind of cancellation, which
httpcore can stand. What the `trace` extension tells while the request is sent decides three things: whether it may have
left, whether cancelling may cut it off, and which socket is to be closed after a cancelled TLS handshake.
"""

import logging
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel
import attrs

from up42_async import _clock
from up42_async._config import Timeouts
from up42_async._errors import ConfigurationError, RequestTimeoutError, UnexpectedResponseError, Up42Error
from up42_async._http.error_mapping import is_named, is_refused_by_us, translate
from up42_async._http.responses import ApiResponse, Body, UnreadableBody
from up42_async._http.secrets import Secret
from up42_async._http.transport import PROXY, close

logger = logging.getLogger("up42_async.http")

BATCH: Final = 2**20
"""Bytes of a file that are handed over together: handing over each piece costs several times what receiving it does."""

BATCH_TIME: Final = 1.0
"""Seconds after which what came of a file is handed over, however little it is."""

_STATUS_ERRORS: Final = frozenset({"HTTPStatusError"})
# httpcore's pool loses a connection when a request is cancelled between one of these events and the next one
_CONNECTED: Final = ("connect_tcp.complete", "start_tls.complete", "connect_unix_socket.complete")
CLOSED: Final = "the client was closed before the request was answered; make a new client"


@attrs.define(kw_only=True)
class SendState:
    """What is known of a request that must not be sent twice, while it is under way and ever after."""

    before_send: Callable[[], Awaitable[None]] | None = attrs.field(default=None, repr=False)
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
    """Takes a file piece by piece. Must not raise: store the error and return False."""

    async def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Look at the head of the response; return whether the body is wanted."""
        ...

    async def write(self, chunks: list[bytes]) -> bool:
        """Take a batch of the body; return whether more is wanted."""
        ...


class Exchange:
    """One request and its response, in a task of its own."""

    def __init__(
        self,
        http_client: AsyncClientLike,
        request: Any,
        label: str,
        timeouts: Timeouts,
        body_limit: int,
        secret: Secret | None,
        *,
        state: SendState | None = None,
        writer: BodyWriter | None = None,
    ) -> None:
        self._http_client = http_client
        self._request = request
        self._label = label
        self._timeouts = timeouts
        self._body_limit = body_limit
        self._secret = secret
        self._state = state
        self._writer = writer
        self._response: ApiResponse | None = None
        self._error: Exception | None = None
        self._scope = anyio.CancelScope()
        self._is_traced = self._is_sent = False
        self._half_open: Any = None
        self.over = None if state is None else anyio.Event()
        """Set at the end of an exchange that is not to be cut off in the middle."""
        request.extensions["trace"] = self._trace

    def result(self) -> ApiResponse:
        """Return the response, or raise why there is none."""
        if self._error is not None:
            raise self._error
        if self._response is None:
            raise RuntimeError(CLOSED)
        return self._response

    def log(self, attempt: int, seconds: float) -> None:
        """Write one line at DEBUG: no query, no body, no secret.

        Args:
            attempt: Which try it was.
            seconds: How long it took.
        """
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
        try:
            with self._scope:
                # a file takes as long as it takes; silence ends it, by the read timeout
                self._scope.deadline = started + (self._timeouts.total if self._writer is None else math.inf)
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
        """Bound the wait for the response once the caller is cancelled; `run` itself is shielded after the first byte.

        Args:
            over: Set at the end of the exchange.
        """
        try:
            await over.wait()
        finally:
            self._scope.deadline = min(self._scope.deadline, _clock.now() + self._timeouts.cancel_grace)

    async def _talk(self) -> ApiResponse:
        state = self._state
        if state is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            # until a trace event shows better, it may leave at any moment
            state.response, state.sent = None, True
            self._scope.shield = True
        response = await self._head()
        well = False
        try:
            body = await self._take(response)
            well = await _ends_well(response)
        finally:
            if not well:
                await close(response)
        answer = ApiResponse(status=response.status_code, headers=response.headers, body=body)
        if state is not None:
            state.response = answer
        return answer

    async def _head(self) -> Any:
        """Send the request, and return the response as soon as its headers are there."""
        try:
            return await self._http_client.send(self._request, stream=True, auth=None, follow_redirects=False)
        except Exception as error:
            # `response.raise_for_status()` in a hook of the user's must not turn a refusal into a lost response
            response = getattr(error, "response", None) if is_named(error, _STATUS_ERRORS) else None
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

    async def _take(self, response: Any) -> bytes:
        if self._writer is None:
            return await self._read(response)
        if await self._writer.begin(response.status_code, response.headers):
            await _pour(_stream_of(response), self._writer)
        return b""

    async def _read(self, response: Any) -> bytes:
        """Read a response to its end, inflating it ourselves so that a few kilobytes cannot become gigabytes.

        One that is too large is cut off by cancellation, not by leaving the loop: httpcore nests generators, which only
        end, and in the right order, when the innermost one does.

        Raises:
            UnexpectedResponseError: The response is packed in a way that was not asked for, broken or too large.
        """
        if response.is_closed and not response.is_stream_consumed and not response.is_success:
            return b""  # a hook refused it unread
        body = Body(self._body_limit, packed=not response.is_stream_consumed and self._is_packed(response))
        problem: UnexpectedResponseError | None = None
        async for chunk in _stream_of(response):
            try:
                body.append(chunk)
            except UnreadableBody as error:
                problem = problem or self._unexpected(response, str(error), transient=error.transient)
                self._error = problem
                self._scope.cancel()
        if problem is not None:  # all of it had come already, so nothing was left to cut off
            raise problem
        try:
            return body.finish()
        except UnreadableBody as error:
            raise self._unexpected(response, str(error), transient=error.transient) from None

    def _is_packed(self, response: Any) -> bool:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip"}:
            echoes = self._secret is not None and self._secret.appears_in(encoding)
            quoted = "" if echoes else f" ({encoding[:40]!r})"
            raise self._unexpected(response, f"a body in an encoding that was not asked for{quoted}")
        return bool(encoding == "gzip")

    def _unexpected(self, response: Any, what: str, *, transient: bool = False) -> UnexpectedResponseError:
        message = f"status {response.status_code} with {what}"
        return UnexpectedResponseError(message, request=self._label, transient=transient)

    def _translated(self, error: Exception) -> Exception:
        # without a trace there is no proof; for what may be sent twice it is enough that httpx refused it
        if isinstance(error, ConfigurationError) and self._state is not None:
            self._state.sent = False  # it comes from our own transport, before anything is sent
        if isinstance(error, Up42Error):
            return error.with_traceback(None)
        unsent = (self._is_traced and not self._is_sent) or (self._state is None and is_refused_by_us(error))
        proxy = self._request.extensions.get(PROXY)
        return translate(
            error, label=self._label, sent=not unsent, timeouts=self._timeouts, proxy=proxy, secret=self._secret
        )


def _stream_of(response: Any) -> AsyncIterable[bytes]:
    """Return the body of a response, also one that a hook of the user's has read.

    Raises:
        ValueError: A hook closed the response unread.
    """
    if response.is_stream_consumed:
        return _Content(response.content)
    if response.is_closed:
        raise ValueError("a hook of the AsyncClient closed the response before it was read")
    stream: AsyncIterable[bytes] = response.stream
    return stream


class _Content(AsyncIterable[bytes]):
    """A body that is there already, httpx having undone its encoding."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


async def _ends_well(response: Any) -> bool:
    """Close a response that has been read; return whether that went well. What was read is good in any case."""
    try:
        await response.aclose()
    except Exception:  # noqa: BLE001 - a transport may raise anything
        return False
    return True


async def _pour(stream: AsyncIterable[bytes], writer: BodyWriter) -> None:
    """Hand a stream to a writer in batches, until it ends or the writer wants no more; also what came before it broke.

    Cancellation must reach the stream, as when a response is read, so it never ends the handing over.
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
