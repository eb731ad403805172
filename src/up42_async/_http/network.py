"""Read all that has come over TLS at once, instead of one record of 16 KiB for each turn of the event loop.

For a large file that is a third less work. Everything else is httpcore's own, on either loop. These classes fit its
interface without being derived from it, since importing httpcore takes long (it imports trio) and is put off until the
first connection is opened.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import anyio

if TYPE_CHECKING:
    import ssl

    import httpcore

_RECORD: Final = 2**14
"""Bytes in a TLS record at the most."""


class DrainingBackend:
    """Opens connections as another backend does, and has them drained."""

    def __init__(self, backend: "httpcore.AsyncNetworkBackend") -> None:
        """Open nothing yet.

        Args:
            backend: What opens the connections.
        """
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "DrainingStream":
        """Open a connection."""
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return DrainingStream(stream)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


class DrainingStream:
    """A connection that hands over everything that has been received."""

    def __init__(self, stream: "httpcore.AsyncNetworkStream") -> None:
        """Read nothing yet.

        Args:
            stream: The connection.
        """
        self._stream = stream
        self._tls: ssl.SSLObject | None = stream.get_extra_info("ssl_object")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the same
        """Wait for something, and return it with what has come behind it."""
        first = await self._stream.read(max_bytes, timeout)
        return first if self._tls is None or not first else b"".join([first, *_records(self._tls)])

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's interface
        """Send bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: "ssl.SSLContext",
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> "DrainingStream":
        """Begin to encrypt.

        A connection that is cancelled meanwhile is closed, which httpcore leaves to the garbage collector.
        """
        try:
            return DrainingStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)


def _records(tls: "ssl.SSLObject") -> list[bytes]:
    """Return the records that have come already; what is wrong with the next one shows when it is waited for."""
    import ssl

    records: list[bytes] = []
    try:
        while record := tls.read(_RECORD):
            records.append(record)
    except ssl.SSLError:
        pass
    return records
