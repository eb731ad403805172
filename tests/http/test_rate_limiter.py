"""One rate limit for all tasks of a client, on a virtual clock."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from up42_async import _clock
from up42_async._config import Limits
from up42_async._http.throttling import RateLimiter

pytestmark = pytest.mark.virtual_time


async def acquire(gate: RateLimiter, times: list[float]) -> None:
    await gate.acquire()
    times.append(_clock.now())


async def acquire_at_once(gate: RateLimiter, count: int) -> list[float]:
    """Let tasks enter together; return when each got through, counted from now."""
    started, times = _clock.now(), list[float]()
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(acquire, gate, times)
    return [time - started for time in times]


def most_within(times: list[float], seconds: float) -> int:
    """Return how many of the times lie in the busiest window of this length."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


async def test_a_burst_is_sent_at_once_and_later_requests_at_the_rate() -> None:
    gate = RateLimiter(Limits(requests_per_second=50, burst=100), anyio.Event())
    times = await acquire_at_once(gate, 200)
    assert times[:100] == pytest.approx([0.0] * 100, abs=1e-9)
    assert times[100:] == pytest.approx([number / 50 for number in range(1, 101)])


async def test_a_quiet_time_fills_the_bucket_to_the_burst_only() -> None:
    gate = RateLimiter(Limits(requests_per_second=10, burst=5), anyio.Event())
    await acquire_at_once(gate, 20)
    await anyio.sleep(3600)
    assert sum(time < 0.001 for time in await acquire_at_once(gate, 20)) == 5


@given(
    burst=st.integers(1, 20),
    rate=st.floats(0.5, 500),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
@settings(max_examples=40)
async def test_no_time_window_has_more_than_the_burst_and_the_rate(
    burst: int, rate: float, pauses: list[float]
) -> None:
    gate, times = RateLimiter(Limits(requests_per_second=rate, burst=burst), anyio.Event()), list[float]()
    async with anyio.create_task_group() as tasks:
        for pause in pauses:
            tasks.start_soon(acquire, gate, times)
            await anyio.sleep(pause if pause > 1 else 0)
    for window in (0.1, 1.0, 10.0):
        assert most_within(times, window) <= burst + rate * window + 1e-6


async def test_tasks_pass_in_the_order_in_which_they_came() -> None:
    gate, order = RateLimiter(Limits(requests_per_second=10, burst=1), anyio.Event()), list[int]()

    async def enter_as(number: int) -> None:
        await anyio.sleep(number / 1000)
        await gate.acquire()
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in reversed(range(30)):
            tasks.start_soon(enter_as, number)
    assert order == list(range(30))


async def test_a_pause_delays_tasks_that_were_waiting_already() -> None:
    gate, times = RateLimiter(Limits(requests_per_second=10, burst=1), anyio.Event()), list[float]()
    started = _clock.now()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(acquire, gate, times)
        await anyio.sleep(0.05)
        gate.pause(2.0)
    assert times[0] == started
    assert min(times[1:]) >= started + 2.05


async def test_there_is_no_burst_after_a_pause() -> None:
    gate = RateLimiter(Limits(requests_per_second=10, burst=100), anyio.Event())
    gate.pause(2.0)
    times = await acquire_at_once(gate, 30)
    assert min(times) >= 2.0
    assert most_within(times, 1.0) <= 11


async def test_a_short_pause_does_not_end_a_longer_one() -> None:
    gate = RateLimiter(Limits(), anyio.Event())
    gate.pause(5.0)
    gate.pause(0.0)
    assert min(await acquire_at_once(gate, 1)) >= 5.0


async def test_cancelled_waits_use_no_permits() -> None:
    gate = RateLimiter(Limits(requests_per_second=10, burst=1), anyio.Event())
    await gate.acquire()
    for _ in range(100):
        with anyio.move_on_after(0.001):
            await acquire_at_once(gate, 20)
    assert max(await acquire_at_once(gate, 1)) <= 0.1 + 1e-9


async def test_closing_the_client_ends_all_waits_for_the_rate_limit() -> None:
    closing, times = anyio.Event(), list[float]()
    gate = RateLimiter(Limits(requests_per_second=0.001, burst=1), closing)
    started = _clock.now()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(acquire, gate, times)
        await anyio.sleep(1)
        closing.set()
    assert max(times) == pytest.approx(started + 1)


async def test_no_rate_limit_is_an_infinite_rate() -> None:
    assert (
        max(await acquire_at_once(RateLimiter(Limits(requests_per_second=float("inf"), burst=1), anyio.Event()), 500))
        == 0.0
    )


def test_a_rate_limiter_can_be_made_before_there_is_a_loop(anyio_backend_name: str) -> None:
    gate = RateLimiter(Limits(requests_per_second=10, burst=1), anyio.Event())
    assert max(anyio.run(acquire_at_once, gate, 1, backend=anyio_backend_name)) < 0.1
