"""Send requests on one `httpx.AsyncClient`, ours or the user's: how a request is built, and which are under way."""

import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

import anyio
import anyio.lowlevel

from up42_async import _clock
from up42_async._config import VERSION, Limits, Timeouts
from up42_async._errors import ConnectionFailedError
from up42_async._http.exchange import CLOSED, AsyncClientLike, BodyWriter, Exchange, SendState
from up42_async._http.responses import ApiResponse
from up42_async._http.secrets import Secret, SecretBytes
from up42_async._http.transport import CLOSING_TIME, FRESH

USER_AGENT: Final = f"up42-async/{VERSION}"

_HTTPX: Final = frozenset({"httpx", "httpx2"})


def httpx_of(http_client: object) -> ModuleType:
    """Return the module whose classes a client takes: httpx or httpx2.

    Args:
        http_client: The client.

    Raises:
        TypeError: It is not an asynchronous client of either.
    """
    for kind in type(http_client).__mro__:
        module = kind.__module__.partition(".")[0]
        if kind.__name__ == "AsyncClient" and module in _HTTPX:
            return sys.modules[module]
    given = type(http_client).__name__
    message = f"http_client must be an httpx.AsyncClient, not a {given}; a transport goes inside one: transport=..."
    raise TypeError(message)


class Sender:
    """Sends the requests of one client on its `httpx.AsyncClient`; exchanges begin and end here."""

    def __init__(self, http_client: AsyncClientLike, *, timeouts: Timeouts, limits: Limits) -> None:
        """Open nothing yet.

        Args:
            http_client: What sends; how much at once is for the caller to limit.
            timeouts: How long an exchange may take.
            limits: How large a response may be.

        Raises:
            TypeError: It is not an asynchronous client of httpx or httpx2.
        """
        self.http_client = http_client
        self._httpx = httpx_of(http_client)
        self._upload = type("Upload", (self._httpx.ByteStream,), {"__aiter__": _pieces_of})
        self._timeouts = timeouts
        self._body_limit = limits.max_response_bytes
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False
        self._ended: anyio.Event | None = None

    def request(
        self,
        method: str,
        url: str | Secret,
        headers: Mapping[str, str | Secret],
        body: bytes | Secret | None = None,
        *,
        fresh: bool = False,
    ) -> Any:
        """Return an `httpx.Request`: the one place where headers are put together and secrets are revealed.

        Of the user's client nothing is merged in: no auth, headers, parameters, cookies, base URL or timeout.

        Args:
            method: HTTP method.
            url: Where to. Of a secret one httpx is shown no query, since it logs URLs and hands them to what watches
                it; the server gets it whole by the `target` extension.
            headers: What is sent beside the `User-Agent`.
            body: Content, None for none.
            fresh: Whether it needs a new connection, since one that was kept may be what broke the last try.

        Raises:
            ConnectionFailedError: httpx cannot send it.
        """
        times = self._timeouts
        extensions: dict[str, Any] = {
            "timeout": {"connect": times.connect, "read": times.read, "write": times.write, "pool": times.pool}
        }
        if fresh:
            extensions[FRESH] = True
        try:
            if isinstance(url, Secret):
                shown, extensions["target"] = _split_target(url)
            else:
                shown = url
            content = body.reveal().encode() if isinstance(body, Secret) else body
            request = self._httpx.Request(
                method,
                shown,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", **_revealed(headers)},
                content=content,
                extensions=extensions,
            )
            request.stream = self._upload(content or b"")
            return request  # noqa: TRY300 - there is nothing to do else
        except Exception as error:  # noqa: BLE001 - several kinds; its words and frames may hold a secret
            reason = type(error).__name__
        # raised out here, so that the error does not come along as its context
        raise ConnectionFailedError(f"not sent: httpx cannot build the request ({reason})", permanent=True)

    async def send(
        self,
        request: Any,
        *,
        label: str,
        secret: Secret | None = None,
        state: SendState | None = None,
        writer: BodyWriter | None = None,
        attempt: int = 1,
    ) -> ApiResponse:
        """Send a request and read the whole response, or hand its body to a writer, however long that takes.

        Args:
            request: From `request`.
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
        exchange = Exchange(
            self.http_client,
            request,
            label,
            self._timeouts,
            self._body_limit,
            secret,
            state=state,
            writer=writer,
        )
        return await self._run(exchange, attempt)

    async def aclose(self) -> None:
        """End what is under way; the AsyncClient itself is for its owner to close."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        if self._scopes:
            self._ended = anyio.Event()
            with anyio.move_on_after(CLOSING_TIME + self._timeouts.cancel_grace, shield=True):
                await self._ended.wait()

    async def _run(self, exchange: "Exchange", attempt: int) -> ApiResponse:
        if self._closed:
            raise RuntimeError(CLOSED)
        if self.http_client.is_closed:
            raise RuntimeError("the AsyncClient given as http_client is closed; close it after the client that uses it")
        started = _clock.now()
        group = anyio.create_task_group()
        try:
            async with group:
                self._scopes.add(group.cancel_scope)  # on trio there is none before
                group.start_soon(exchange.run)
                if exchange.over is not None:
                    group.start_soon(exchange.hurry_when_cancelled, exchange.over)
        finally:
            exchange.log(attempt, _clock.now() - started)
            self._scopes.discard(group.cancel_scope)
            if self._ended is not None and not self._scopes:
                self._ended.set()
        return exchange.result()


class _Pieces(AsyncIterator[bytes]):
    """The body of a request; httpx's own is an async generator, of which trio complains when sending breaks off."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise StopAsyncIteration


def _pieces_of(stream: Iterable[bytes]) -> _Pieces:
    return _Pieces(iter(stream))


def _revealed(headers: Mapping[str, str | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in headers.items()}


def _split_target(url: Secret) -> tuple[str, SecretBytes]:
    """Return a URL without its query, and the path with it."""
    shown, _, query = url.reveal().partition("?")
    path = shown.partition("://")[2].partition("/")[2]
    return shown, SecretBytes(f"/{path}?{query}".encode("ascii") if query else f"/{path}".encode("ascii"))
