"""One request and its answer as values, so that a fault can come between them."""

import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import anyio
import attrs
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from up42_async.sandbox._wire import Connection, connection_of
from up42_async.sandbox._world import World

Headers = tuple[tuple[bytes, bytes], ...]


class ConnectionLost(ConnectionResetError):
    """A fault breaks the connection, but the application was called without a server, so there is no connection."""


class _Enough(Exception):
    """Stops an application that has produced as much of the answer as is needed."""


class Exchange:
    """One request that a fault has hit.

    Args:
        scope: ASGI's description of the request.
        receive: Gives its body.
        send: Takes its answer.
        world: The state of the sandbox.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, world: World) -> None:
        self.scope: Scope = scope
        self.send: Send = send
        self.world = world
        self.most: int | None = None
        """Bytes of the answer after which `act` may stop; None for the whole answer."""
        self._receive = receive
        self._body: bytes | None = None

    @property
    def connection(self) -> Connection | None:
        """Return the connection of the request; None without a server."""
        return connection_of(self.scope)

    @property
    def path(self) -> str:
        """Return the path as it was sent."""
        return raw_path(self.scope)

    def set_header(self, name: bytes, value: bytes | None) -> None:
        """Replace a header of the request, or remove it with None."""
        kept = [header for header in self.scope["headers"] if header[0] != name]
        self.scope = {**self.scope, "headers": kept if value is None else [*kept, (name, value)]}

    def header(self, name: bytes) -> bytes | None:
        """Return a header of the request."""
        return header_of(self.scope["headers"], name)

    @property
    def query(self) -> str:
        """Return the query as it was sent."""
        return raw_query(self.scope)

    async def body(self) -> bytes:
        """Read the whole body, once.

        Raises:
            ClientDisconnect: The client closed the connection before the end of the body; nothing must be done.
        """
        if self._body is None:
            parts, more = [], True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(parts)
        return self._body

    async def act(self, app: ASGIApp) -> "Reply":
        """Let the application do the work, and return its answer instead of sending it.

        The answer is held in memory, up to about `most` bytes.
        """
        body = await self.body()
        given = False
        size = 0
        messages: list[Message] = []

        async def receive() -> Message:
            nonlocal given
            if given:
                return await self._receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            nonlocal size
            messages.append(message)
            size += len(message.get("body", b""))
            if self.most is not None and size >= self.most and message.get("more_body", False):
                raise _Enough

        with suppress(_Enough):
            await app(self.scope, receive, keep)
        start, *rest = messages
        content = b"".join(message.get("body", b"") for message in rest)
        return Reply(status=start["status"], headers=tuple(start.get("headers", ())), body=content)

    async def send_head(self, reply: "Reply") -> None:
        """Send the status and the headers of an answer."""
        await self.send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})

    async def lose(self, *, reset: bool) -> None:
        """Close or reset the connection and wait until it is gone.

        Raises:
            ConnectionLost: There is no server, and so no connection.
        """
        connection = self._wire()
        await self.body()  # with unread bytes the system would send RST in place of FIN
        if reset:
            connection.reset()
        else:
            connection.close()
        await self.wait_for_disconnect()

    async def write_raw(self, data: bytes, *, reset: bool) -> None:
        """Write bytes past HTTP, then close or reset the connection."""
        connection = self._wire()
        await self.body()
        connection.write(data)
        await anyio.sleep(0.001 if reset else 0)  # an RST discards bytes that are not sent yet
        await self.lose(reset=reset)

    async def wait_for_disconnect(self) -> None:
        """Wait until the connection is closed; without a server for ever, until the caller cancels."""
        if self.connection is None:
            await anyio.sleep_forever()
        await self.body()  # after it nothing can come but the disconnect
        await self._receive()

    def _wire(self) -> Connection:
        if self.connection is None:
            raise ConnectionLost(f"A fault of the sandbox lost the connection of {self.scope['method']} {self.path}.")
        return self.connection


def header_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the first header with a name in lower case."""
    return next((value for key, value in headers if key == name), None)


def raw_path(scope: Scope) -> str:
    """Return the path of a request as it was sent."""
    return bytes(scope["raw_path"]).decode("latin-1")


def raw_query(scope: Scope) -> str:
    """Return the query of a request as it was sent."""
    return bytes(scope["query_string"]).decode("latin-1")


Delivery = Callable[[Exchange, "Reply"], Awaitable[None]]
Act = Callable[[], Awaitable["Reply"]]


async def whole(exchange: Exchange, reply: "Reply") -> None:
    """Send an answer as it is."""
    await exchange.send_head(reply)
    await exchange.send({"type": "http.response.body", "body": reply.body})


@attrs.frozen(kw_only=True)
class Reply:
    """An answer, and how it is delivered."""

    status: int
    headers: Headers
    body: bytes
    delivery: Delivery = whole

    def with_body(self, body: bytes, *more: tuple[bytes, bytes]) -> "Reply":
        """Return the answer with another body, the right Content-Length, and more headers."""
        kept = tuple(header for header in self.headers if header[0] != b"content-length")
        length = (b"content-length", str(len(body)).encode())
        return attrs.evolve(self, headers=(*kept, length, *more), body=body)

    @property
    def is_file(self) -> bool:
        """Return whether the answer is a file."""
        return self.header(b"accept-ranges") is not None

    def header(self, name: bytes) -> bytes | None:
        """Return a header of the answer."""
        return header_of(self.headers, name)

    def with_header(self, name: bytes, value: bytes | None) -> "Reply":
        """Return the answer with a header replaced, or removed with None."""
        kept = tuple(header for header in self.headers if header[0] != name)
        return attrs.evolve(self, headers=kept if value is None else (*kept, (name, value)))

    def rewritten(self, change: Callable[[Any], Any]) -> "Reply":
        """Return the answer with its JSON changed; errors, files and answers that are not JSON stay as they are."""
        is_success = 200 <= self.status < 300  # noqa: PLR2004 - what HTTP calls success
        try:
            body = json.loads(self.body) if is_success and not self.is_file else None
        except ValueError:
            return self
        return self if body is None else self.with_body(json.dumps(change(body), separators=(",", ":")).encode())


def reply_of(status: int, content_type: str, body: bytes, *more: tuple[bytes, bytes]) -> Reply:
    """Return a new answer, with its Content-Type if it has a body."""
    headers = () if not body else ((b"content-type", content_type.encode()),)
    return Reply(status=status, headers=headers, body=b"").with_body(body, *more)
