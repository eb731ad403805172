"""Work on many items at once, and its end when the caller leaves, fails or is cancelled."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import pytest

from up42_async._bulk import MAX_CONCURRENT, BulkOperation

pytestmark = pytest.mark.virtual_time

Work = Callable[[int], Awaitable[str]]


class RecordedOperation(BulkOperation[int, str]):
    """Call a coroutine function with each number, and record how many calls ran at once."""

    def __init__(self, numbers: list[int], work: Work) -> None:
        super().__init__(numbers, "sleep")
        self._do = work
        self.busy = self.most_busy = 0

    async def _work_on(self, position: int, item: int) -> None:
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            self._record(position, await self._do(item))
        finally:
            self.busy -= 1


async def sleep(seconds: int) -> str:
    await anyio.sleep(seconds)
    return str(seconds)


class Fatal(BaseException):
    """A base exception, as KeyboardInterrupt is."""


async def test_results_are_yielded_as_they_complete_and_listed_in_the_given_order() -> None:
    async with RecordedOperation([3, 1, 2], sleep) as outcomes:
        assert [outcome async for outcome in outcomes] == ["1", "2", "3"]
    assert outcomes.results == ["3", "1", "2"]
    assert await RecordedOperation([3, 1, 2], sleep) == ["3", "1", "2"]


async def test_the_number_of_items_worked_on_at_once_is_bounded() -> None:
    handle = RecordedOperation([1] * (3 * MAX_CONCURRENT), sleep)
    await handle
    assert handle.most_busy == MAX_CONCURRENT
    assert anyio.current_time() == pytest.approx(3)


async def test_leaving_early_cancels_the_remaining_work_and_keeps_the_results_so_far() -> None:
    async with RecordedOperation([1, 2, 1000], sleep) as outcomes:
        async for _ in outcomes:
            break
        await anyio.sleep(2)
    assert outcomes.busy == 0
    assert outcomes.results == ["1", "2"]
    assert [outcome async for outcome in outcomes] == ["2"]
    assert anyio.current_time() == pytest.approx(3)


async def test_an_error_raised_in_the_block_is_raised_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        async with RecordedOperation([1000], sleep):
            raise ZeroDivisionError


async def test_an_error_of_the_work_is_raised_unchanged_and_does_not_cancel_the_caller() -> None:
    async def work(number: int) -> str:
        await anyio.sleep(number)
        raise KeyError(number)

    async def wait_and_look() -> None:
        async with RecordedOperation([1, 1, 1000], work) as outcomes:
            await anyio.sleep(10)
            assert outcomes.busy == 0
            await anext(outcomes)

    with pytest.raises(KeyError, match="1"):
        await wait_and_look()


async def test_a_base_exception_is_raised_unchanged() -> None:
    async def work(_: int) -> str:
        raise Fatal

    with pytest.raises(Fatal):
        await RecordedOperation([1], work)


async def test_several_base_exceptions_are_raised_as_a_group() -> None:
    async def work(_: int) -> str:
        try:
            await anyio.sleep(1)
        finally:
            raise Fatal

    with pytest.raises(BaseExceptionGroup) as caught:
        await RecordedOperation([1, 1], work)
    assert [type(error) for error in caught.value.exceptions] == [Fatal, Fatal]


@pytest.mark.parametrize("awaited", [True, False], ids=["awaited", "block"])
async def test_cancelling_the_caller_cancels_the_work(awaited: bool) -> None:
    handle = RecordedOperation([1, 1000], sleep)
    with anyio.move_on_after(5) as scope:
        if awaited:
            await handle
        async with handle:
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert (handle.busy, handle.results) == (0, ["1"])


async def test_a_cancelled_wait_for_a_result_can_be_repeated() -> None:
    async with RecordedOperation([10, 20], sleep) as outcomes:
        with anyio.move_on_after(1):
            await anext(outcomes)
        assert [outcome async for outcome in outcomes] == ["10", "20"]


async def test_blocks_can_be_nested() -> None:
    async with RecordedOperation([5], sleep) as outer, RecordedOperation([1], sleep) as inner:
        assert await anext(inner) == "1"
        assert await anext(outer) == "5"


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("times", [1, 2])
async def test_a_task_cancelled_by_asyncio_leaves_no_other_task(times: int) -> None:
    handle = RecordedOperation([1, 1000], sleep)

    async def run() -> None:
        async with handle:
            await asyncio.sleep(1000)

    before = asyncio.all_tasks()
    task = asyncio.create_task(run())
    await asyncio.sleep(5)
    for _ in range(times):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (handle.busy, handle.results, asyncio.all_tasks()) == (0, ["1"], before)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_timeout_of_asyncio_around_the_block_raises_its_timeout_error() -> None:
    async def run() -> None:
        async with asyncio.timeout(5), RecordedOperation([1000], sleep) as outcomes:
            await anext(outcomes)

    with pytest.raises(TimeoutError):
        await run()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    await asyncio.sleep(1)


async def test_an_async_generator_around_a_block_can_be_closed() -> None:
    handle = RecordedOperation([1, 1000], sleep)

    async def results() -> AsyncGenerator[str]:
        async with handle as outcomes:
            async for outcome in outcomes:
                yield outcome

    generator = results()
    assert await anext(generator) == "1"
    await generator.aclose()
    assert handle.busy == 0


async def test_dropping_a_used_batch_gives_no_warning() -> None:
    await RecordedOperation([1], sleep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


# Used as a coroutine


def sleepers() -> RecordedOperation:
    return RecordedOperation([1, 2], sleep)


async def test_a_batch_runs_as_a_task_of_any_task_group() -> None:
    results: list[list[str]] = []
    async with anyio.create_task_group() as group:
        group.start_soon(sleepers)
        group.start_soon(collect, sleepers(), results)
    assert results == [["1", "2"]]


async def collect(work: Awaitable[list[str]], results: list[list[str]]) -> None:
    results.append(await work)


async def test_asyncio_accepts_a_batch_as_a_coroutine_and_can_cancel_it(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("asyncio's own tasks")
    assert await asyncio.create_task(sleepers()) == ["1", "2"]
    assert await asyncio.gather(sleepers(), sleepers()) == [["1", "2"]] * 2
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sleepers())
    assert task.result() == ["1", "2"]
    work = RecordedOperation([1, 1000], sleep)
    task = asyncio.create_task(work)
    await asyncio.sleep(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.results == ["1"]
    with pytest.raises(RuntimeError, match="begun already"):
        await work


async def test_a_task_cancelled_before_it_starts_does_nothing(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("asyncio's own tasks")
    work = sleepers()
    task = asyncio.create_task(work)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.results == []
    work.close()


async def test_a_cancel_scope_inside_the_task_of_a_batch_cancels_it(anyio_backend_name: str) -> None:
    """Anyio reads the state of a task's coroutine before it cancels the task, so a batch needs these attributes too."""
    if anyio_backend_name == "trio":
        pytest.skip("asyncio's own tasks")

    async def work(_: int) -> str:
        with anyio.move_on_after(1):
            await anyio.sleep(1000)
        return "moved on"

    assert await asyncio.create_task(RecordedOperation([1], work)) == ["moved on"]
    assert anyio.current_time() == pytest.approx(1)


async def test_a_batch_closed_before_it_starts_gives_no_warning() -> None:
    work = sleepers()
    assert (work.cr_running, work.cr_suspended, work.cr_frame) == (False, False, None)
    work.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del work
        gc.collect()


def test_a_batch_can_be_created_outside_an_event_loop() -> None:
    assert asyncio.run(RecordedOperation([0], sleep)) == ["0"]
