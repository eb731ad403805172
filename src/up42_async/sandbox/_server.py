"""The HTTP server: uvicorn's protocol on a loop of its own, in a thread, so that it serves callers on any loop."""

import asyncio
import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from up42_async.sandbox._traffic import Traffic
from up42_async.sandbox._wire import WireProtocol

HOST = "127.0.0.1"
_BACKLOG = 2048
_LARGEST_HEAD = 1 << 20
"""Bytes; long lists of ids are refused by the platform's own rule, not by the parser."""
_ANSWER_SECONDS = 30.0
_ACCEPTING = 3
"""Turns of the loop in which a connection that is being accepted becomes one that can be dropped."""


class Origin:
    """Serves one application on one port, and keeps the port while not listening.

    Args:
        app: The application.
        port: The port; 0 takes a free one.
        traffic: Counts the connections.
        keep_alive: Seconds an idle connection is kept.
    """

    def __init__(self, app: ASGIApp, port: int, traffic: Traffic, keep_alive: float) -> None:
        self._traffic = traffic
        self._keep_alive = keep_alive
        self._config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            h11_max_incomplete_event_size=_LARGEST_HEAD,
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]

    @classmethod
    def several(cls, apps: Sequence[tuple[ASGIApp, int]], traffic: Traffic, keep_alive: float) -> "list[Origin]":
        """Create an origin for each application and port; if one fails, free the ports of the others.

        Raises:
            OSError: A port is taken.
        """
        origins: list[Origin] = []
        try:
            for app, port in apps:
                origins.append(cls(app, port, traffic, keep_alive))
        except OSError:
            for origin in origins:
                origin.give_back_port()
            raise
        return origins

    def give_back_port(self) -> None:
        """Free the port, before listening or after closing."""
        self._socket.close()

    @property
    def url(self) -> str:
        """Return the origin, without a final slash."""
        return f"http://{HOST}:{self.port}"

    async def listen(self) -> None:
        """Accept connections; also after `refuse`."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: self._protocol(loop), sock=self._socket, backlog=_BACKLOG)

    def _protocol(self, loop: asyncio.AbstractEventLoop) -> WireProtocol:
        return WireProtocol(self._config, self._state, self._traffic, self._keep_alive, loop)

    async def refuse(self) -> None:
        """Refuse new connections: the port stays bound, but nothing listens on it."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket = _bound(self.port)

    async def drop_connections(self, *, reset: bool) -> None:
        """Close or reset all connections."""
        for protocol in cast("list[WireProtocol]", list(self._state.connections)):
            protocol.drop(reset=reset)
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Close for good, also in the middle of an answer."""
        if self._server is not None:
            with contextlib.suppress(NotImplementedError):  # Windows; asyncio forgets what it accepts while closing
                asyncio.get_running_loop().remove_reader(self._socket)
            for _ in range(_ACCEPTING):
                await asyncio.sleep(0)
            self._server.close()
        self.give_back_port()
        await self.drop_connections(reset=False)
        for protocol in list(self._state.connections):  # an answer that is not read would keep the connection open
            protocol.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio looks for it: no delays
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"The sandbox cannot use port {port} of {HOST}; 0 takes a free one.") from error
    return bound


class Server:
    """Runs origins in a thread with an event loop of its own.

    Args:
        origins: What to serve; they share the thread.
    """

    def __init__(self, origins: Sequence[Origin]) -> None:
        self._origins = origins
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="up42-sandbox", daemon=True)

    def start(self) -> None:
        """Start the thread; return when connections are accepted."""
        self._thread.start()
        self.listen()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def listen(self) -> None:
        """Accept connections on all origins."""
        self._on_each(Origin.listen)

    def refuse(self) -> None:
        """Refuse new connections on all origins."""
        self._on_each(Origin.refuse)

    def drop_connections(self, *, reset: bool) -> None:
        """Close or reset all connections."""
        self._on_each(lambda origin: origin.drop_connections(reset=reset))

    def stop(self) -> None:
        """Close all origins; return when the thread has ended."""
        self._on_each(Origin.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _on_each(self, action: Callable[[Origin], Coroutine[Any, Any, None]]) -> None:
        for origin in self._origins:
            # In an empty context: the caller's may say that trio is running, and the server would believe it.
            submit = partial(asyncio.run_coroutine_threadsafe, action(origin), self._loop)
            contextvars.Context().run(submit).result(_ANSWER_SECONDS)
