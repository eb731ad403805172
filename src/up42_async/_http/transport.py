"""The transport of the default client: one stock httpx transport with one connection for each exchange under way.

httpcore's pool loses a connection for good when a request is cancelled at certain moments, and its cost grows with the
square of the requests under way (three times the CPU of a call at 20). A pool of one connection that serves one request
at a time does neither. The connection of an exchange that did not end well is closed. The caller limits how many
exchanges run at once.
"""

import contextlib
import functools
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable
from http.cookiejar import CookieJar
from typing import Any, Final

import anyio
import httpx

from up42_async import _clock
from up42_async._errors import ConfigurationError
from up42_async._http.environment import ProxySetting, proxy_for, ssl_context
from up42_async._http.requests import FRESH

KEEPALIVE_EXPIRY: Final = 5.0
"""Seconds an idle connection is kept; the longer it is, the more requests meet one that the server has closed."""

CLOSING_TIME: Final = 2.0
"""Most seconds that closing a connection may take."""

PROXY: Final = "up42_async.proxy"
"""Request extension: name of the proxy that is used, for errors."""

_ONE: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_EXPIRY)

Origin = tuple[bytes, bytes]


@functools.cache
def _trusts_nobody() -> ssl.SSLContext:
    """Return TLS settings for connections without TLS; without any httpx would read the certificates for nothing."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Connection:
    """A stock transport with one connection, which serves one exchange at a time and is kept for the next."""

    def __init__(self, transport: httpx.AsyncHTTPTransport, origin: Origin, proxy: ProxySetting | None) -> None:
        self.transport = transport
        self.origin = origin
        self.proxy = proxy
        self.idle_since = 0.0


class ConnectionStack(httpx.AsyncBaseTransport):
    """Sends each request on a connection of its own: the idle one that was used last, or a new one."""

    def __init__(self) -> None:
        self._idle: deque[Connection] = deque()
        self._lent = 0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether connections may still be open."""
        return bool(self._idle or self._lent)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its connection returns to the stack when the response is closed.

        Raises:
            httpx.TransportError: No response came.
            ConfigurationError: The proxy or certificate variables of the environment cannot be used.
        """
        connection = await self._take(request)
        if connection.proxy is not None:
            request.extensions[PROXY] = connection.proxy.label
        try:
            response = await connection.transport.handle_async_request(request)
        except BaseException:
            await self.give_back(connection, well=False)
            raise
        response.stream = _Body(response.stream, connection, self)
        return response

    async def aclose(self) -> None:
        """Close the idle connections; those in use are closed when they return."""
        self._closed = True
        await self._close_idle(float("inf"))

    async def _close_idle(self, since: float) -> None:
        """Close the connections that have been idle since a moment, or longer."""
        while self._idle and self._idle[0].idle_since <= since:
            await close(self._idle.popleft().transport)

    async def _take(self, request: httpx.Request) -> Connection:
        """Return a connection for one exchange: the one used last, which the server has least likely closed."""
        url = request.url
        origin = (url.raw_scheme, url.netloc)
        connection: Connection | None = None
        if request.extensions.get(FRESH):
            # closes the one idle for longest, so there are never more connections than there were exchanges at once
            if (oldest := self._pop(origin, self._idle)) is not None:
                await close(oldest.transport)
        else:
            connection = self._pop(origin, reversed(self._idle))
        if connection is None:
            connection = await _opened(url, origin)
        self._lent += 1
        return connection

    def _pop(self, origin: Origin, idle: Iterable[Connection]) -> Connection | None:
        found = next((one for one in idle if one.origin == origin), None)
        if found is not None:
            self._idle.remove(found)
        return found

    async def give_back(self, connection: Connection, *, well: bool) -> None:
        """Keep a connection for the next exchange; close it when the last one did not end well."""
        self._lent -= 1
        if not well or self._closed:
            await close(connection.transport)
            return
        connection.idle_since = _clock.now()
        self._idle.append(connection)
        await self._close_idle(connection.idle_since - KEEPALIVE_EXPIRY)


class _Body(httpx.AsyncByteStream):
    """The body of a response; its connection is kept only if it was read to its end."""

    def __init__(self, stream: Any, connection: Connection, stack: ConnectionStack) -> None:
        self._stream = stream
        self._connection = connection
        self._stack = stack
        self._is_whole = self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._is_whole = True

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        well = False
        try:
            await self._stream.aclose()
            well = self._is_whole
        finally:
            await self._stack.give_back(self._connection, well=well)


async def close(closable: Any) -> None:
    """Close a transport or response in a bounded time, also in a cancelled task; errors are ignored."""
    with anyio.move_on_after(CLOSING_TIME, shield=True), contextlib.suppress(Exception):
        await closable.aclose()


async def _opened(url: httpx.URL, origin: Origin) -> Connection:
    """Return a new connection, which opens with its first request."""
    setting = proxy_for(url.scheme, url.host)
    proxy_scheme = None if setting is None else setting.url.scheme
    trusted = await ssl_context() if "https" in {url.scheme, proxy_scheme} else _trusts_nobody()
    if setting is None:
        return Connection(httpx.AsyncHTTPTransport(verify=trusted, limits=_ONE), origin, None)
    proxy = httpx.Proxy(setting.url, ssl_context=trusted if proxy_scheme == "https" else None)
    try:
        return Connection(httpx.AsyncHTTPTransport(verify=trusted, limits=_ONE, proxy=proxy), origin, setting)
    except ImportError:
        problem = "is a SOCKS proxy, which needs one more package: pip install 'httpx[socks]'"
        raise ConfigurationError(f"the proxy in {setting.source} {problem}") from None


class _NoCookies(CookieJar):
    """Keeps no cookies, and does not spend time on looking for them."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Ignore the cookies of a response."""


def own_client(stack: ConnectionStack) -> httpx.AsyncClient:
    """Return the AsyncClient of a client without `http_client`."""
    return httpx.AsyncClient(transport=stack, cookies=_NoCookies())
