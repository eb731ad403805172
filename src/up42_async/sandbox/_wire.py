"""TCP connections that can be closed, reset, or written to past HTTP."""

import asyncio
import logging
import socket
import struct
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from up42_async.sandbox._traffic import Traffic

_LINGER_AND_RESET = struct.pack("ii", 1, 0)
_logger = logging.getLogger("up42_async.sandbox")


class Connection:
    """The server's end of one TCP connection; to be used on the server's loop only.

    Args:
        number: 1 for the first connection of the sandbox.
        transport: The connection.
    """

    def __init__(self, number: int, transport: asyncio.Transport) -> None:
        self.number = number
        self.peer_port: int = int(transport.get_extra_info("peername")[1])
        self._transport = transport

    @property
    def is_lost(self) -> bool:
        """Return whether either side has closed it."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Write bytes that need not be HTTP."""
        self._transport.write(data)

    def close(self) -> None:
        """Close it after all bytes are sent: the peer sees a FIN."""
        self._transport.close()

    def reset(self) -> None:
        """Reset it at once: the peer sees an RST, unless it has closed the connection itself."""
        raw = cast("socket.socket", self._transport.get_extra_info("socket"))
        if raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
        self._transport.abort()


class WireProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it; each request knows the connection it came on.

    Args:
        config: uvicorn's settings, with the application.
        server_state: What uvicorn shares between connections.
        traffic: Counts the connections.
        keep_alive: Seconds after which an idle connection is closed.
        loop: The server's loop.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        traffic: Traffic,
        keep_alive: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._traffic = traffic
        self.logger = _logger
        self.access_log = False
        self.timeout_keep_alive = cast("int", keep_alive)  # uvicorn only hands it to loop.call_later
        self.connection: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and make it known to the requests that will come on it."""
        stream = cast("asyncio.Transport", transport)
        super().connection_made(stream)
        self.connection = Connection(self._traffic.connection_opened(), stream)
        self.app_state = {"connection": self.connection}
        if self._traffic.connections_to_reset > 0:
            self._traffic.connections_to_reset -= 1
            self.connection.reset()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the end of the connection."""
        super().connection_lost(exc)
        self._traffic.connection_closed()

    def drop(self, *, reset: bool) -> None:
        """Close or reset the connection, also in the middle of a request."""
        if not self.connection.is_lost:
            self.connection.reset() if reset else self.connection.close()


def connection_of(scope: Any) -> Connection | None:
    """Return the connection a request came on; there is none when the application is called without a server."""
    connection: Connection | None = scope.get("state", {}).get("connection")
    return connection
