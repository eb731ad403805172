"""Faults of the connection, as a raw socket or httpx sees them."""

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import pytest

from tests.sandbox.asking import ITEM, JOBS, TREES, executed, form, logged_in, until
from up42_async.sandbox import Sandbox, faults
from up42_async.sandbox._wire import Connection

EXECUTION = f"/v2/processing/processes/{TREES}/execution"


@contextmanager
def posted(sandbox: Sandbox) -> Generator[socket.socket]:
    """Log in, send an execution over a plain socket, and yield it."""
    token = httpx.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox)).json()["access_token"]
    body = f'{{"inputs": {{"title": "T", "item": "{ITEM}"}}}}'
    head = f"POST {EXECUTION}?workspaceId=w HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    with socket.create_connection(("127.0.0.1", int(sandbox.endpoints.api.rsplit(":", 1)[1])), timeout=5) as raw:
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        yield raw


def raw_exchange(sandbox: Sandbox) -> bytes:
    """Execute over a plain socket, and return every byte that comes until the connection ends."""
    received = b""
    with posted(sandbox) as raw:
        while part := raw.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    ("fault", "executions"),
    [(faults.LoseAnswer(), 1), (faults.DropConnection(), 0)],
)
def test_a_fin_ends_the_connection_without_an_answer(fault: faults.Kind, executions: int) -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(fault, path=EXECUTION)
        assert raw_exchange(sandbox) == b""
        assert len(sandbox.executions) == executions


@pytest.mark.parametrize(
    ("fault", "executions"),
    [
        (faults.LoseAnswer(reset=True), 1),
        (faults.DropConnection(reset=True), 0),
    ],
)
def test_an_rst_breaks_the_connection_without_an_answer(fault: faults.Kind, executions: int) -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(fault, path=EXECUTION)
        with pytest.raises(ConnectionResetError):
            raw_exchange(sandbox)
        assert len(sandbox.executions) == executions


def test_a_truncated_body_is_shorter_than_announced() -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(faults.Truncate(keep=10), path=EXECUTION)
        head, _, body = raw_exchange(sandbox).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 ")
        assert (len(body), b"content-length: 10\r\n" in head) == (10, False)
        assert len(sandbox.executions) == 1


def test_a_truncated_chunked_body_lacks_its_end() -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(faults.Truncate(keep=10, chunked=True), path=EXECUTION)
        head, _, body = raw_exchange(sandbox).partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"content-length" not in head
        assert (body[:3], body[-2:], len(body)) == (b"a\r\n", b"\r\n", 15)


def test_a_truncated_body_may_end_in_an_rst() -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(faults.Truncate(reset=True), path=EXECUTION)
        with pytest.raises(ConnectionResetError):
            raw_exchange(sandbox)


@pytest.mark.parametrize(("acts", "executions"), [(False, 0), (True, 1)])
def test_a_raw_answer_is_sent_as_it_is(acts: bool, executions: int) -> None:
    half_a_head = b"HTTP/1.1 200 OK\r\ncontent-"
    with Sandbox() as sandbox:
        sandbox.faults.add(faults.RawAnswer(half_a_head, acts=acts), path=EXECUTION)
        assert raw_exchange(sandbox) == half_a_head
        assert len(sandbox.executions) == executions


LOST: list[tuple[faults.Kind, type[Exception] | tuple[type[Exception], ...]]] = [
    (faults.LoseAnswer(), httpx.RemoteProtocolError),
    (faults.LoseAnswer(reset=True), httpx.ReadError),
    (faults.DropConnection(), httpx.RemoteProtocolError),
    (faults.DropConnection(reset=True), httpx.ReadError),
    (faults.Hang(), httpx.ReadTimeout),
    (faults.Hang(acts=False), httpx.ReadTimeout),
    (faults.Truncate(), httpx.RemoteProtocolError),
    (faults.Truncate(chunked=True), httpx.RemoteProtocolError),
    (faults.RawAnswer(), httpx.RemoteProtocolError),
    (faults.RawAnswer(b"", reset=True), httpx.ReadError),
]


@pytest.mark.parametrize(("fault", "error"), LOST, ids=str)
async def test_httpx_sees_what_a_fault_promises_and_can_go_on(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: faults.Kind, error: Any
) -> None:
    patience = httpx.Timeout(10, read=0.05 if isinstance(fault, faults.Hang) else 10)
    with sandbox.faults.during(fault), pytest.raises(error):
        await client.get(JOBS, timeout=patience)
    assert (await client.get(JOBS)).status_code == 200


async def test_a_post_whose_body_was_not_read_yet_still_gets_a_fin(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    with sandbox.faults.during(faults.DropConnection()), pytest.raises(httpx.RemoteProtocolError):
        await client.post(EXECUTION, content=b"x" * 1_000_000)
    assert sandbox.requests[-1].body_size == 1_000_000


@pytest.mark.virtual_time
@pytest.mark.parametrize("before", [True, False])
async def test_a_delay_is_before_or_after_the_work(before: bool) -> None:
    sandbox = Sandbox(clock=anyio.current_time)
    sandbox.faults.add(faults.Delay(10, before=before), path=EXECUTION)
    async with logged_in(sandbox, httpx.ASGITransport(sandbox.app)) as client:
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(executed, client)
            await anyio.sleep(5)
            assert len(sandbox.executions) == (0 if before else 1)
        assert anyio.current_time() - began == pytest.approx(10, abs=0.1)
    assert len(sandbox.executions) == 1


async def test_a_dripped_body_comes_whole_but_slowly(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Drip(0.001))
    began = time.perf_counter()
    assert (await client.get(JOBS)).json() == {"jobs": [], "links": []}
    assert time.perf_counter() - began >= 0.001 * len(b'{"jobs":[],"links":[]}')


async def test_dripping_ends_when_the_client_leaves(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(1)
    sandbox.faults.add(faults.Drip(0.01, size=2))
    with pytest.raises(httpx.ReadTimeout):
        await client.get(JOBS, timeout=httpx.Timeout(10, read=0.005))
    await anyio.to_thread.run_sync(until, lambda: sandbox.in_flight == 0)


def test_an_endless_body_ends_with_the_connection() -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(faults.Endless(), path=EXECUTION)
        with posted(sandbox) as raw:
            received = 0
            while received < 5_000_000:
                received += len(raw.recv(65536))
        until(lambda: sandbox.in_flight == 0)


@pytest.mark.parametrize(
    "fault",
    [
        faults.LoseAnswer(),
        faults.LoseAnswer(reset=True),
        faults.DropConnection(),
        faults.Truncate(),
        faults.RawAnswer(),
        faults.Endless(),
    ],
    ids=str,
)
async def test_in_process_a_lost_connection_is_an_exception(fault: faults.Kind) -> None:
    sandbox = Sandbox()
    async with logged_in(sandbox, httpx.ASGITransport(sandbox.app)) as client:
        sandbox.faults.add(fault, path=EXECUTION)
        with pytest.raises(faults.ConnectionLost, match=f"lost the connection of POST {EXECUTION}"):
            await executed(client)
    assert len(sandbox.executions) == (1 if isinstance(fault, faults.LoseAnswer | faults.Truncate) else 0)


def test_a_request_that_breaks_off_before_its_end_is_not_acted_on(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(faults.Delay(0), path=EXECUTION)
        with socket.create_connection(("127.0.0.1", int(sandbox.endpoints.api.rsplit(":", 1)[1])), timeout=5) as raw:
            raw.sendall(f"POST {EXECUTION} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
            until(lambda: sandbox.in_flight == 1)
        until(lambda: sandbox.in_flight == 0)
        assert (sandbox.executions, sandbox.requests[-1].status) == ((), None)
    assert caplog.records == []


async def test_a_connection_that_is_gone_can_be_reset_all_the_same() -> None:
    class Gone:
        aborted = False

        def get_extra_info(self, name: str) -> Any:
            with socket.socket() as closed:
                return closed if name == "socket" else ("127.0.0.1", 1)

        def abort(self) -> None:
            self.aborted = True

    gone = Gone()
    Connection(1, gone).reset()  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert gone.aborted


async def test_in_process_hanging_ends_with_the_patience_of_the_caller() -> None:
    sandbox = Sandbox()
    async with logged_in(sandbox, httpx.ASGITransport(sandbox.app)) as client:
        sandbox.faults.add(faults.Hang())
        with anyio.move_on_after(0.01) as scope:
            await client.get(JOBS)
    assert scope.cancelled_caught


@pytest.mark.virtual_time
async def test_in_process_delays_pass_in_virtual_time() -> None:
    sandbox = Sandbox(clock=anyio.current_time, latency=10)
    async with logged_in(sandbox, httpx.ASGITransport(sandbox.app)) as client:
        (job_id,) = sandbox.seed_jobs(1, timeline=[(0, "running"), (3600, "captured")])
        sandbox.faults.add(faults.Delay(3600))
        sandbox.faults.add(faults.Drip(1, size=100))
        began = anyio.current_time()
        assert (await client.get(f"{JOBS}/{job_id}")).json()["status"] == "running"
        assert anyio.current_time() - began > 3610
        assert sandbox.job(job_id).status == "captured"
