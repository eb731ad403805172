"""How a sandbox begins, refuses, breaks off and ends."""

import asyncio
import contextlib
import datetime as dt
import gc
import socket
import threading
import time
from email.utils import parsedate_to_datetime

import anyio
import httpx
import pytest
import trio

from tests.sandbox.asking import JOBS, Clock, executed, logged_in, until
from up42_async.sandbox import Sandbox, faults


def status_of(url: str) -> int:
    return httpx.get(url, trust_env=False).status_code


def read_answer(raw: socket.socket) -> None:
    received = b""
    while not received.endswith(b"}"):
        received += raw.recv(65536)


async def test_serves_over_a_real_socket_inside_async_with() -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client:
        assert (await client.get(JOBS)).json() == {"jobs": [], "links": []}
        assert sandbox.endpoints.api.startswith("http://127.0.0.1:")


def test_serves_inside_with() -> None:
    with Sandbox() as sandbox:
        assert status_of(sandbox.endpoints.api) == 404


def test_one_sandbox_serves_two_kinds_of_loops() -> None:
    with Sandbox() as sandbox:

        async def ask() -> int:
            async with logged_in(sandbox) as client:
                return (await client.get(JOBS)).status_code

        assert (asyncio.run(ask()), trio.run(ask)) == (200, 200)


def test_two_sandboxes_live_side_by_side() -> None:
    with Sandbox(seed=1) as one, Sandbox(seed=2) as other:
        one.seed_jobs(3)
        assert (len(one.jobs), len(other.jobs)) == (3, 0)
        assert one.endpoints != other.endpoints
        assert one.workspace_id != other.workspace_id
        assert one.account_id != other.account_id


def test_takes_the_port_it_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Sandbox(port=port) as sandbox:
        assert sandbox.endpoints.api == f"http://127.0.0.1:{port}"


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot use port {port} of 127.0.0.1; 0 takes a free one"):
            Sandbox(port=port).start()


def test_starting_twice_is_refused() -> None:
    with Sandbox() as sandbox, pytest.raises(RuntimeError, match="serves already"):
        sandbox.start()


def test_stopping_twice_does_nothing_and_it_can_be_started_again() -> None:
    sandbox = Sandbox()
    sandbox.seed_jobs(1)
    sandbox.stop()
    for _ in range(2):
        with sandbox:
            assert status_of(sandbox.endpoints.api) == 404
        sandbox.stop()
    assert len(sandbox.jobs) == 1


@pytest.mark.parametrize("action", ["stop_listening", "start_listening", "drop_connections"])
def test_what_needs_a_server_says_how_to_start_one(action: str) -> None:
    with pytest.raises(RuntimeError, match="start it with `with`, `async with` or `start\\(\\)`"):
        getattr(Sandbox(), action)()


def test_nothing_is_left_when_it_has_ended() -> None:
    with Sandbox() as sandbox:
        assert "up42-sandbox" in [thread.name for thread in threading.enumerate()]
    assert "up42-sandbox" not in [thread.name for thread in threading.enumerate()]
    gc.collect()  # a socket or loop left open would warn here, and warnings are errors
    with pytest.raises(httpx.ConnectError):
        status_of(sandbox.endpoints.api)


async def test_ends_in_the_middle_of_an_answer() -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client:
        sandbox.faults.add(faults.Hang())

        async def ask() -> None:
            with pytest.raises(httpx.HTTPError):
                await client.get(JOBS)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(until, lambda: sandbox.count() > 0)
            sandbox.stop()


def test_ends_while_nobody_reads_an_answer() -> None:
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())
        sandbox.faults.add(faults.RawAnswer(bytes(10_000_000), acts=False))
        for client in connected(stack, sandbox, 3):
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: sandbox.count() == 3)
        sandbox.stop()
        gc.collect()  # a connection left open would warn here, and warnings are errors


def test_ends_while_connections_are_accepted() -> None:
    for _ in range(5):
        with contextlib.ExitStack() as stack:
            sandbox = stack.enter_context(Sandbox())
            others = threading.Thread(target=connected, args=(stack, sandbox, 1000))
            others.start()
            until(lambda sandbox=sandbox: sandbox.connections.opened > 10)  # type: ignore[misc]
            sandbox.stop()
            others.join()
    gc.collect()


def connected(stack: contextlib.ExitStack, sandbox: Sandbox, number: int) -> list[socket.socket]:
    """Connect so many times, or until nobody accepts any more."""
    address, clients = ("127.0.0.1", int(sandbox.files_url.rsplit(":", 1)[1])), list[socket.socket]()
    with contextlib.suppress(OSError):
        for _ in range(number):
            clients.append(stack.enter_context(socket.create_connection(address, timeout=5)))
    return clients


async def test_refuses_connections_while_not_listening_and_keeps_its_port(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.stop_listening()
    sandbox.stop_listening()
    with pytest.raises(httpx.ConnectError):
        await client.get(JOBS)
    sandbox.start_listening()
    sandbox.start_listening()
    assert (await client.get(JOBS)).status_code == 200


async def test_open_connections_may_go_on_while_new_ones_are_refused(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.stop_listening(drop_connections=False)
    assert (await client.get(JOBS)).status_code == 200
    with pytest.raises(httpx.ConnectError):
        await anyio.to_thread.run_sync(status_of, sandbox.endpoints.api)


@pytest.mark.parametrize("reset", [False, True])
def test_drops_open_connections(reset: bool) -> None:
    with Sandbox() as sandbox:
        port = int(sandbox.endpoints.api.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            read_answer(raw)
            sandbox.drop_connections(reset=reset)
            sandbox.drop_connections(reset=reset)
            if reset:
                with pytest.raises(ConnectionResetError):
                    raw.recv(1)
            else:
                assert raw.recv(1) == b""


async def test_resets_as_many_new_connections_as_asked(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.drop_connections()
    sandbox.reset_next_connections(2)
    for _ in range(2):
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            await client.get(JOBS)
    assert (await client.get(JOBS)).status_code == 200


async def test_closes_connections_that_idle_too_long() -> None:
    async with Sandbox(keep_alive=0.01) as sandbox, logged_in(sandbox):
        await anyio.to_thread.run_sync(until, lambda: sandbox.connections.open == 0)
        assert sandbox.connections.open == 0


async def test_the_latency_is_added_to_every_answer() -> None:
    async with Sandbox(latency=0.02) as sandbox, logged_in(sandbox) as client:
        began = time.perf_counter()
        await client.get(JOBS)
        assert time.perf_counter() - began >= 0.02


async def test_the_date_of_an_answer_is_the_time_that_jobs_live_by(clock: Clock) -> None:
    async with Sandbox(clock=clock, speed=60) as sandbox, logged_in(sandbox) as client:
        clock.seconds = 120
        job = await executed(client)
        date = parsedate_to_datetime((await client.get(JOBS)).headers["date"])
        assert abs(date - dt.datetime.fromisoformat(job["created"])) <= dt.timedelta(seconds=1)
        assert abs(date - dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)) < dt.timedelta(seconds=30)


@pytest.mark.parametrize(
    "settings",
    [
        {"speed": 0},
        {"speed": float("inf")},
        {"port": -1},
        {"port": 65536},
        {"ending": "somewhere"},
        {"lives": "long"},
        {"control_port": 65536},
        {"failure_rate": 1.1},
        {"page_size_default": 0},
        {"page_size_max": 0},
        {"ids_max": 0},
        {"ids_max_status": 500},
        {"ids_page_size_max": 0},
        {"token_lifetime": 0},
        {"files_port": 65536},
        {"signed_url_lifetime": 0},
        {"results_delay": -1},
        {"bandwidth": 0},
        {"balance": -1},
        {"latency": -0.1},
        {"keep_alive": 0},
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(settings: dict[str, object]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=name):
        Sandbox(**settings)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_the_same_seed_gives_the_same_jobs(clock: Clock) -> None:
    one, other, third = (Sandbox(clock=clock, seed=seed) for seed in (7, 7, 8))
    for sandbox in (one, other, third):
        sandbox.seed_jobs(5)

    def lives(sandbox: Sandbox) -> list[object]:
        return [(job.id, job.process_id, job.timeline) for job in sandbox.jobs.values()]

    assert lives(one) == lives(other)
    assert lives(one) != lives(third)
