"""Open a client once, and use it in every task of its event loop."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

import up42_async as up42
from up42_async import Client, set_default_client
from up42_async._client import current_client


def client_for(name: str) -> Client:
    return Client(username=name, password="canary")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG, logger="up42_async"):
        yield


async def test_the_default_is_current_in_every_task_and_context() -> None:
    client = client_for("a")
    found: list[Client] = []

    async def ask() -> None:
        found.append(current_client())

    set_default_client(client)
    await ask()
    async with anyio.create_task_group() as group:
        group.start_soon(ask)
    contextvars.Context().run(lambda: found.append(current_client()))
    assert found == [client] * 3
    await client.aclose()


async def test_a_default_that_was_set_in_another_task_counts() -> None:
    client = client_for("a")

    async def open_it() -> None:
        set_default_client(client)

    async with anyio.create_task_group() as group:
        group.start_soon(open_it)
    assert current_client() is client
    await client.aclose()


async def test_the_argument_takes_precedence_over_the_block_and_the_block_over_the_default() -> None:
    given = client_for("given")
    default = client_for("default")
    set_default_client(default)
    async with client_for("entered") as entered:
        assert current_client() is entered
        assert current_client(given) is given
    assert current_client() is default
    await default.aclose()
    await given.aclose()


async def test_none_removes_the_default() -> None:
    client = client_for("a")
    set_default_client(client)
    set_default_client(None)
    with pytest.raises(RuntimeError, match=r"`up42_async.set_default_client\(client\)`"):
        current_client()
    await client.aclose()


async def test_a_second_default_replaces_the_first_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = client_for("a"), client_for("b")
    set_default_client(first)
    set_default_client(first)
    assert caplog.messages == []
    set_default_client(second)
    assert current_client() is second
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "replaces <" in caplog.text
    assert "canary" not in caplog.text
    await first.aclose()
    await second.aclose()


async def test_a_closed_client_is_no_longer_the_default(caplog: pytest.LogCaptureFixture) -> None:
    first, second = client_for("a"), client_for("b")
    set_default_client(first)
    await first.aclose()
    with pytest.raises(RuntimeError, match="no UP42 client"):
        current_client()
    with pytest.raises(RuntimeError, match="this client is closed"):
        set_default_client(first)
    set_default_client(second)
    assert caplog.messages == []
    assert current_client() is second
    await second.aclose()


async def test_only_a_client_can_be_the_default() -> None:
    with pytest.raises(TypeError, match=r"client must be an up42_async\.Client, not a str"):
        set_default_client("client")  # type: ignore[arg-type]


def test_a_default_belongs_to_a_running_event_loop() -> None:
    with pytest.raises(RuntimeError, match="needs a running event loop"):
        set_default_client(client_for("a"))
    with pytest.raises(RuntimeError, match="no UP42 client"):
        current_client()


def test_two_loops_in_two_threads_never_mix() -> None:
    found: dict[str, Client] = {}
    both_set = threading.Barrier(2, timeout=10)

    async def use(name: str) -> None:
        client = client_for(name)
        set_default_client(client)
        both_set.wait()
        found[name] = current_client()
        both_set.wait()
        await client.aclose()

    threads = [threading.Thread(target=asyncio.run, args=(use(name),)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert found["a"] is not found["b"]


async def test_the_default_of_a_loop_takes_precedence_over_a_block_of_another_loop() -> None:
    found: list[Client] = []

    async def use() -> None:
        found.append(current_client())
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await up42.Job.get("job")
        client = client_for("inner")
        set_default_client(client)
        found.append(current_client())
        await client.aclose()

    async with client_for("outer") as outer:
        await anyio.to_thread.run_sync(asyncio.run, use())  # a thread has a copy of the context
        assert current_client() is outer
    assert found[0] is outer
    assert found[1] is not outer


async def test_a_client_of_another_loop_is_refused() -> None:
    made: list[Client] = []

    async def make() -> None:
        made.append(client_for("a"))

    elsewhere = threading.Thread(target=asyncio.run, args=(make(),))
    elsewhere.start()
    await anyio.to_thread.run_sync(elsewhere.join)
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        up42.set_default_client(made[0])
