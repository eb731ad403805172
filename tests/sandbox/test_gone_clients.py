"""Clients who go in mid-request or mid-answer: nothing is done for half a request, and nobody complains."""

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from up42_async.sandbox import Sandbox, faults
from up42_async.sandbox._app import CountingApp
from up42_async.sandbox._wire import Connection

EXECUTION = "/v2/processing/processes/detection-trees-spacept/execution"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def token_of(sandbox: Sandbox) -> str:
    form = {**sandbox.credentials, "grant_type": "password", "client_id": "up42-sdk"}
    token: str = httpx.post(f"{sandbox.endpoints.auth}/token", data=form).json()["access_token"]
    return token


@pytest.mark.parametrize("is_faulty", [False, True], ids=["", "with a fault"])
def test_half_an_execution_is_none(sandbox: Sandbox, is_faulty: bool, caplog: pytest.LogCaptureFixture) -> None:
    if is_faulty:
        sandbox.faults.add(faults.LoseAnswer(), path=EXECUTION)
    head = f"POST {EXECUTION}?workspaceId=w HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token_of(sandbox)}\r\n"
    where = urlsplit(sandbox.endpoints.api)
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(f'{head}Content-Length: 100\r\n\r\n{{"inputs": '.encode())
        wait_until(lambda: sandbox.in_flight == 1)
    wait_until(lambda: sandbox.in_flight == 0)
    assert sandbox.executions == ()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_file_that_breaks_off_at_our_end_is_no_error(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    asset_id = sandbox.add_asset(size=200_000_000, checksum=False)
    headers = {"Authorization": f"Bearer {token_of(sandbox)}"}
    url = httpx.post(f"{sandbox.endpoints.api}/v2/assets/{asset_id}/download-url", headers=headers).json()["url"]
    with httpx.stream("GET", url) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        sandbox.drop_connections(reset=True)
        with pytest.raises(httpx.TransportError):
            deque(pieces, maxlen=0)
    wait_until(lambda: sandbox.in_flight == 0)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


class ClosedTransport:
    """Stands for a connection whose socket the loop has closed already."""

    def __init__(self) -> None:
        self.aborted = 0
        self._socket = socket.socket()
        self._socket.close()

    def get_extra_info(self, name: str) -> Any:
        return self._socket if name == "socket" else ("127.0.0.1", 1)

    def abort(self) -> None:
        self.aborted += 1


def test_a_connection_that_is_gone_can_be_reset() -> None:
    transport = ClosedTransport()
    Connection(1, cast("Any", transport)).reset()
    assert transport.aborted == 1


async def test_what_still_comes_of_a_client_that_has_gone_is_passed_over(sandbox: Sandbox) -> None:
    coming: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        raise NotImplementedError

    path = {"path": "/x", "raw_path": b"/x", "query_string": b""}
    scope: Scope = {"type": "http", "method": "GET", "headers": [], "extensions": {}, **path}
    await CountingApp(app, "api", sandbox._traffic, sandbox._world)(scope, receive, send)
    assert coming == []
    assert sandbox.in_flight == 0
