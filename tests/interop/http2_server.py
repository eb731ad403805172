"""A server that speaks HTTP/2 over TLS and answers each request with the same JSON."""

import contextlib
import json
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.abc
import attrs
import pytest
from anyio.streams.tls import TLSListener

from tests.raw_server import GONE, UNTRUSTED


@attrs.define
class HTTP2Server:
    """What was asked of it, and whether it hangs up on the requests to some path before it answers."""

    url: str = ""
    paths: list[str] = attrs.field(factory=list)
    hangs_up_on: str = "?"

    async def handle(self, stream: anyio.abc.ByteStream) -> None:
        events = pytest.importorskip("h2.events")
        settings = pytest.importorskip("h2.config").H2Configuration(client_side=False)
        connection = pytest.importorskip("h2.connection").H2Connection(settings)
        connection.initiate_connection()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_close, stream)
            stack.enter_context(contextlib.suppress(*GONE))
            await stream.send(connection.data_to_send())
            while True:
                for event in connection.receive_data(await stream.receive()):
                    if isinstance(event, events.RequestReceived):
                        path = dict(event.headers)[b":path"].decode()
                        self.paths.append(path)
                        if path.endswith(self.hangs_up_on):
                            await stream.aclose()
                    elif isinstance(event, events.StreamEnded):
                        body = json.dumps({"access_token": "token", "expires_in": 300, "id": 1}).encode()
                        headers = [(":status", "200"), ("content-type", "application/json")]
                        connection.send_headers(event.stream_id, headers)
                        connection.send_data(event.stream_id, body, end_stream=True)
                await stream.send(connection.data_to_send())


async def _close(stream: anyio.abc.ByteStream) -> None:
    with anyio.CancelScope(shield=True), contextlib.suppress(*GONE):
        await stream.aclose()


@contextlib.asynccontextmanager
async def http2_server() -> AsyncGenerator[HTTP2Server]:
    """Run a server for the length of a block."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(UNTRUSTED)
    context.set_alpn_protocols(["h2"])
    tcp: Any = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    server = HTTP2Server(url=f"https://127.0.0.1:{tcp.extra(anyio.abc.SocketAttribute.local_port)}")
    async with TLSListener(tcp, context, standard_compatible=False) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.handle)
        yield server
        group.cancel_scope.cancel()
