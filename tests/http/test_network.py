"""What reading over TLS promises: what is here comes at once, and nothing of it is lost."""

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import httpcore
import pytest

from tests.raw_server import UNTRUSTED
from up42_async._http.messages import Message
from up42_async._http.network import DrainingBackend
from up42_async._http.transport import Connections

CONTENT = os.urandom(300_000)
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()


@contextmanager
def serving(*, tls: bool, content: bytes = CONTENT) -> Generator[int]:
    """Answer one request with a file, and close the connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(UNTRUSTED)

    def serve() -> None:
        plain, _ = server.accept()
        with plain, contextlib.suppress(OSError):  # the client may go away at any time
            connection = context.wrap_socket(plain, server_side=True) if tls else plain
            with connection:
                connection.recv(65536)
                connection.sendall(HEAD + content)
                if isinstance(connection, ssl.SSLSocket):
                    connection.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.fixture
def pool() -> httpcore.AsyncConnectionPool:
    """Return a pool."""
    plain: Any = httpcore.AnyIOBackend()
    backend: Any = DrainingBackend(plain)
    context = ssl.create_default_context(cafile=str(UNTRUSTED))
    return httpcore.AsyncConnectionPool(ssl_context=context, network_backend=backend)


@pytest.mark.parametrize("tls", [True, False])
async def test_a_body_comes_whole(pool: httpcore.AsyncConnectionPool, tls: bool) -> None:
    with serving(tls=tls) as port:
        async with pool:
            answer = await pool.request("GET", f"{'https' if tls else 'http'}://127.0.0.1:{port}/")
    assert answer.content == CONTENT


async def test_records_that_have_come_are_read_together(pool: httpcore.AsyncConnectionPool) -> None:
    with serving(tls=True) as port:
        async with pool, pool.stream("GET", f"https://127.0.0.1:{port}/") as answer:
            await anyio.sleep(0.05)
            sizes = [len(chunk) async for chunk in answer.aiter_stream()]
    assert max(sizes) > 2**14
    assert sum(sizes) == len(CONTENT)


async def test_a_connection_that_ends_too_early_is_noticed(pool: httpcore.AsyncConnectionPool) -> None:
    with serving(tls=True, content=CONTENT[:1000]) as port:
        async with pool:
            with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)):
                await pool.request("GET", f"https://127.0.0.1:{port}/")


async def test_a_connection_that_is_not_trusted_is_closed() -> None:
    plain: Any = httpcore.AnyIOBackend()
    with serving(tls=True) as port:
        stream = await DrainingBackend(plain).connect_tcp("127.0.0.1", port)
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(ssl.create_default_context(), "127.0.0.1")
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x")


async def test_retries_of_the_pool_can_wait() -> None:
    started = anyio.current_time()
    plain: Any = httpcore.AnyIOBackend()
    await DrainingBackend(plain).sleep(0.002)
    assert anyio.current_time() - started >= 0.002


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:1"])
async def test_the_client_reads_that_way(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    connections = Connections(keep=True)
    request = await connections.prepare(Message(label="GET /", method="GET", url="https://up42.test/", headers={}), {})
    connection = await connections.take(request)
    assert isinstance(connection.carrier._network_backend, DrainingBackend)
