"""What the sandbox notes of what it was asked."""

import anyio
import attrs
import httpx
import pytest

from tests.sandbox.asking import JOBS, executed, logged_in
from up42_async.sandbox import Sandbox, faults
from up42_async.sandbox._exchange import Act, Exchange, Reply


async def test_each_request_is_noted(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await client.get(f"{JOBS}/a%2Fb", params={"x": "1,2"}, headers={"cookie": "a=b"})
    await executed(client)
    first, second = sandbox.requests
    assert (first.origin, first.method, first.path, first.query) == ("api", "GET", f"{JOBS}/a%2Fb", "x=1%2C2")
    assert (first.status, first.has_authorization, first.has_cookie, first.body_size) == (404, True, True, 0)
    assert (second.method, second.status, second.has_cookie) == ("POST", 201, False)
    assert second.body_size > 50
    assert first.connection_id == second.connection_id == 1
    assert first.peer_port == second.peer_port > 0


async def test_a_lost_answer_has_no_status(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    with sandbox.faults.during(faults.LoseAnswer()), pytest.raises(httpx.RemoteProtocolError):
        await client.get(JOBS)
    assert [record.status for record in sandbox.requests] == [None]


async def test_requests_are_counted_by_method_and_path(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    for path in (JOBS, JOBS, f"{JOBS}/one", "/v2/eulas/one"):
        await client.get(path)
    await executed(client)
    assert sandbox.count() == 5
    assert sandbox.count("get") == 4
    assert sandbox.count(path=JOBS) == 3
    assert sandbox.count(path=f"{JOBS}$") == 2
    assert sandbox.count("POST", r"/v2/processing/processes/[^/]+/execution") == 1
    sandbox.reset_counts()
    assert (sandbox.count(), sandbox.requests, len(sandbox.executions)) == (0, (), 1)


@attrs.frozen
class Together:
    """Answers nobody until so many have asked."""

    sandbox: Sandbox
    number: int

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        while self.sandbox.peak_in_flight < self.number:  # noqa: ASYNC110 - the sandbox has no event for it
            await anyio.sleep(0.001)
        return await act()


async def test_connections_and_requests_at_once_are_counted(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    assert (sandbox.connections.opened, sandbox.connections.open, sandbox.connections.peak) == (0, 1, 1)
    with sandbox.faults.during(Together(sandbox, 5)):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(client.get, JOBS)
    assert sandbox.peak_in_flight == 5
    assert (sandbox.connections.opened, sandbox.connections.peak) == (4, 5)
    sandbox.reset_counts()
    assert sandbox.peak_in_flight == 0
    assert sandbox.connections.peak == sandbox.connections.open == 5


async def test_in_process_there_is_no_connection() -> None:
    sandbox = Sandbox()
    async with logged_in(sandbox, httpx.ASGITransport(sandbox.app)) as client:
        await client.get(JOBS)
    (record,) = sandbox.requests
    assert (record.connection_id, record.peer_port, sandbox.connections.opened) == (0, 0, 0)
