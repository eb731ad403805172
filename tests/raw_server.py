"""A server that sends and receives raw bytes, so that a test decides which fault happens, and when.

    async with serve(reset_after_request, answer({"id": 1})) as server: ...

Each connection, and each further request on it, takes the next act; the last act is repeated. An act is a coroutine
function that reads the request, or part of it, and writes any bytes.
"""

import contextlib
import gzip
import json
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import attrs
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from up42_async._client import Client
from up42_async._config import Endpoints, Limits

UNTRUSTED = Path(__file__).with_name("untrusted.pem")
"""A self-signed certificate for 127.0.0.1 and its key."""

GONE = (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError, OSError)


@attrs.frozen
class Seen:
    """A request that the server read."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@attrs.define
class Connection:
    """One connection of a client, as it is passed to an act."""

    server: "RawServer"
    stream: anyio.abc.ByteStream
    _reader: BufferedByteReceiveStream = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = BufferedByteReceiveStream(self.stream)

    async def read(self) -> Seen:
        """Read a whole request and add it to the server's `requests`."""
        head = (await self._reader.receive_until(b"\r\n\r\n", 2**17)).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        seen = Seen(
            method, target, headers, await self._reader.receive_exactly(int(headers.get("content-length", "0")))
        )
        self.server.requests.append(seen)
        return seen

    async def has_more(self) -> bool:
        """Wait for the first byte of another request; raise an error of `GONE` if the client closes instead."""
        if not self._reader.buffer:
            self._reader.feed_data(await self.stream.receive())
        return True

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


Act = Callable[[Connection], Awaitable[None]]


@attrs.define
class RawServer:
    """A server on the loopback interface, and its records."""

    acts: list[Act]
    scheme: str = "http"
    port: int = 0
    requests: list[Seen] = attrs.field(factory=list)
    accepted: int = 0
    """Number of connections accepted so far."""
    open: int = 0
    """Number of connections open now."""
    most_open: int = 0
    busy: int = 0
    """Number of acts running now."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def count(self, method: str, target: str) -> int:
        """Return the number of requests with this method and target."""
        return sum((seen.method, seen.target) == (method, target) for seen in self.requests)

    async def handle(self, stream: anyio.abc.ByteStream) -> None:
        self.accepted += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        connection = Connection(self, stream)
        try:
            with contextlib.suppress(*GONE):
                await self._perform(connection)
                while await connection.has_more():
                    await self._perform(connection)
        finally:
            self.open -= 1
            with anyio.CancelScope(shield=True), contextlib.suppress(*GONE):
                await stream.aclose()

    async def _perform(self, connection: Connection) -> None:
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        self.busy += 1
        try:
            await act(connection)
        finally:
            self.busy -= 1


@contextlib.asynccontextmanager
async def serve(
    *acts: Act, port: int = 0, tls: bool = False, wants_certificate: bool = False
) -> AsyncGenerator[RawServer]:
    """Run a server for the length of a block."""
    server = RawServer(list(acts), scheme="https" if tls else "http")
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    server.port = tcp.extra(anyio.abc.SocketAttribute.local_port)
    listener: anyio.abc.Listener[Any] = tcp
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(UNTRUSTED)
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(UNTRUSTED)
        listener = TLSListener(tcp, context, standard_compatible=False)
    try:
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, server.handle)
            try:
                yield server
            finally:
                group.cancel_scope.cancel()
    except ExceptionGroup as failures:  # raise the block's own error, not the task group's group
        raise failures.exceptions[0] from None


@contextlib.contextmanager
def refusing_port() -> Generator[int]:
    """Reserve a port that refuses connections until a server of the test listens on it."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that a server of ours may bind it, too
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def deaf_port() -> Generator[int]:
    """Reserve a port that answers no attempt to connect: its backlog is full and nothing is accepted."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def response(
    body: bytes, *, status: int = 200, headers: Iterable[tuple[str, str]] = (), length: int | None = None
) -> bytes:
    """Return the bytes of a response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(content: Any = None, *, status: int = 200, delay: float = 0.0, **headers: str) -> Act:
    """Answer with JSON; underscores in header names stand for hyphens."""
    fields = [("Content-Type", "application/json"), *((name.replace("_", "-"), text) for name, text in headers.items())]
    return raw(response(json.dumps(content).encode(), status=status, headers=fields), delay=delay)


def raw(data: bytes, *, delay: float = 0.0) -> Act:
    """Read the request and answer with these bytes."""

    async def act(connection: Connection) -> None:
        await connection.read()
        await anyio.sleep(delay)
        await connection.send(data)

    return act


def raw_and_close(data: bytes) -> Act:
    """Read the request, answer with these bytes, and close."""

    async def act(connection: Connection) -> None:
        await connection.read()
        await connection.send(data)
        await connection.stream.aclose()

    return act


def packed(body: bytes, encoding: str = "gzip") -> Act:
    """Answer with a body that is declared to be in some content encoding."""
    return raw(response(body, headers=[("Content-Encoding", encoding)]))


def gzipped(content: Any) -> Act:
    """Answer with valid gzipped JSON."""
    return packed(gzip.compress(json.dumps(content).encode()))


def endless(head: bytes, piece: bytes, pause: float = 0.0) -> Act:
    """Read the request and send an endless response."""

    async def act(connection: Connection) -> None:
        await connection.read()
        await connection.send(head)
        while True:
            await connection.send(piece)
            await anyio.sleep(pause)

    return act


async def hang(connection: Connection) -> None:
    """Read the request and never answer; end when the client closes the connection."""
    await connection.read()
    await connection.has_more()


async def ignore(connection: Connection) -> None:
    """Accept the connection, and read nothing."""
    connection.stream.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await anyio.sleep_forever()


async def close_at_once(connection: Connection) -> None:
    await connection.stream.aclose()


async def reset_at_once(connection: Connection) -> None:
    await connection.reset()


async def close_after_request(connection: Connection) -> None:
    await connection.read()
    await connection.stream.aclose()


async def reset_after_request(connection: Connection) -> None:
    await connection.read()
    await connection.reset()


def token(value: str = "token", **more: Any) -> Act:
    """Answer a login."""
    return answer({"access_token": value, "expires_in": 300, **more})


@attrs.frozen
class Platform:
    """A client, and the two servers that it uses as UP42."""

    client: Client
    api: RawServer
    auth: RawServer


@contextlib.asynccontextmanager
async def platform(*acts: Act, login: Act | None = None, **settings: Any) -> AsyncGenerator[Platform]:
    """Run an API server with these acts, a login server, and a client of both with practically no rate limit."""
    settings = {"password": "password", "limits": Limits(requests_per_second=1e6, burst=10**6), **settings}
    async with serve(*acts) as api, serve(login or token()) as auth:
        endpoints = Endpoints(api=api.url, auth=auth.url)
        async with Client("person@example.com", endpoints=endpoints, **settings) as client:
            yield Platform(client, api, auth)


def connections(up: Platform) -> list[Any]:
    """Return the idle connections to the API that the client, or the user's pool, keeps."""
    pool = getattr(getattr(up.client.http_client, "_transport", None), "_pool", None)
    if pool is not None:
        return [one for one in pool.connections if one._origin.port == up.api.port]
    port = str(up.api.port).encode()
    return [one for one in up.client._session._stack._idle if one.origin[1].endswith(port)]


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, for at most 30 seconds."""
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - no event is set when the condition becomes true
            await anyio.sleep(0.001)
