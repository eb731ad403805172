"""The virtual clock of tests that are marked ``virtual_time``."""

import time

import anyio
import anyio.abc
import pytest

THREE_DAYS = 3 * 24 * 3600


@pytest.mark.virtual_time
async def test_three_days_of_sleep_pass_in_milliseconds() -> None:
    started, began = anyio.current_time(), time.perf_counter()
    await anyio.sleep(THREE_DAYS)
    assert anyio.current_time() - started == pytest.approx(THREE_DAYS)
    assert time.perf_counter() - began < 30


@pytest.mark.virtual_time
async def test_three_days_in_steps_of_a_minute_lose_no_time() -> None:
    started = anyio.current_time()
    for _ in range(THREE_DAYS // 60):
        await anyio.sleep(60)
    assert anyio.current_time() - started == pytest.approx(THREE_DAYS)


@pytest.mark.virtual_time
async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, anyio.current_time() - started))

    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for seconds in (3600, 0.001, 60, 0):
            tasks.start_soon(sleep, seconds)
    assert [seconds for seconds, _ in woken] == [0, 0.001, 60, 3600]
    assert [at for _, at in woken] == pytest.approx([0, 0.001, 60, 3600])


@pytest.mark.virtual_time
async def test_a_deadline_passes_in_virtual_time() -> None:
    started = anyio.current_time()
    with pytest.raises(TimeoutError), anyio.fail_after(90):
        await anyio.sleep_forever()
    assert anyio.current_time() - started == pytest.approx(90)


@pytest.mark.virtual_time
async def test_the_clock_does_not_advance_while_tasks_exchange_items() -> None:
    started = anyio.current_time()
    send, receive = anyio.create_memory_object_stream[int](0)

    async def produce(stream: anyio.abc.ObjectSendStream[int]) -> None:
        async with stream:
            for number in range(100):
                await stream.send(number)

    async with anyio.create_task_group() as tasks, receive:
        tasks.start_soon(produce, send)
        assert [number async for number in receive] == list(range(100))
    assert anyio.current_time() == started


@pytest.mark.parametrize("_again", [1, 2])
@pytest.mark.virtual_time
async def test_each_test_has_a_clock_of_its_own(_again: int) -> None:
    assert anyio.current_time() < 1
    await anyio.sleep(THREE_DAYS)


async def test_tests_without_the_mark_run_in_real_time() -> None:
    began = time.perf_counter()
    await anyio.sleep(0.005)
    assert time.perf_counter() - began >= 0.004


@pytest.fixture
async def sleepy() -> float:
    await anyio.sleep(60)
    return anyio.current_time()


@pytest.mark.virtual_time
async def test_async_fixtures_share_the_clock_of_their_test(sleepy: float) -> None:
    assert sleepy == pytest.approx(60, abs=1)
    assert anyio.current_time() >= sleepy


@pytest.mark.virtual_time
async def test_each_backend_runs_its_own_event_loop(anyio_backend_name: str) -> None:
    import sniffio  # noqa: PLC0415

    assert sniffio.current_async_library() == anyio_backend_name
