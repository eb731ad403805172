"""One run of a function for all tasks that wait for its result."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from up42_async import _clock
from up42_async._client.services import CachedCall
from up42_async._errors import ServerError, Up42Error
from up42_async._http.single_flight import SingleFlight

pytestmark = pytest.mark.virtual_time


class Work:
    """Take a second, then give the next of the outcomes."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.results = list(outcomes)
        self.begun = 0

    async def __call__(self) -> str:
        self.begun += 1
        await anyio.sleep(1)
        outcome = self.results.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def gather(run: Callable[[], Awaitable[str]], count: int) -> list[str | Exception]:
    """Run tasks together; return what each got."""
    outcomes: list[str | Exception] = []

    async def one() -> None:
        try:
            outcomes.append(await run())
        except Exception as error:  # noqa: BLE001 - what tasks get is what is looked at
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return outcomes


async def test_tasks_that_call_while_the_work_runs_share_its_result() -> None:
    flight, work = SingleFlight[str](), Work("first", "second")
    assert await gather(lambda: flight.run(work), 200) == ["first"] * 200
    assert await flight.run(work) == "second"
    assert work.begun == 2


async def test_a_flight_is_busy_only_while_the_work_runs() -> None:
    flight = SingleFlight[str]()
    assert not flight.busy
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flight.run, Work("done"))
        await anyio.sleep(0.5)
        assert flight.busy
    assert not flight.busy


async def test_each_caller_of_a_failed_run_gets_its_own_copy_of_the_error() -> None:
    flight, work = SingleFlight[str](), Work(ServerError("down", status=503, retry_after=2.0))
    errors = await gather(lambda: flight.run(work), 200)
    assert work.begun == 1
    assert len({id(error) for error in errors}) == 200
    assert {(type(error), str(error), error.retry_after) for error in errors if isinstance(error, ServerError)} == {
        (ServerError, "down", 2.0)
    }
    leader, *others = errors
    assert all(isinstance(error, ServerError) and error.__cause__ is leader for error in others)


async def test_after_a_failure_the_function_runs_again() -> None:
    flight, work = SingleFlight[str](), Work(Up42Error("down"), "up")
    await gather(lambda: flight.run(work), 3)
    assert await flight.run(work) == "up"


async def test_a_failure_serves_callers_that_began_before_it() -> None:
    flight, work = SingleFlight[str](), Work(Up42Error("down"), "up")
    began = _clock.now()
    await gather(lambda: flight.run(work), 3)
    errors = await gather(lambda: flight.run(work, since=began), 3)
    assert [str(error) for error in errors] == ["down"] * 3
    assert len({id(error) for error in errors}) == 3
    await anyio.sleep(1)
    assert await flight.run(work, since=_clock.now()) == "up"
    assert (work.begun, flight._failure) == (2, None)


async def test_when_the_first_task_is_cancelled_the_next_one_starts_the_work_again() -> None:
    flight, work = SingleFlight[str](), Work("done")
    async with anyio.create_task_group() as tasks:
        leader = anyio.CancelScope()

        async def lead() -> None:
            with leader:
                await flight.run(work)

        tasks.start_soon(lead)
        await anyio.sleep(0.5)
        tasks.start_soon(_expect_done, flight, work, 20)
        await anyio.sleep(0.1)
        leader.cancel()
    assert work.begun == 2
    assert not flight.busy


async def _expect_done(flight: SingleFlight[str], work: Work, count: int) -> None:
    assert await gather(lambda: flight.run(work), count) == ["done"] * count


async def test_cancelling_a_waiting_task_affects_no_other() -> None:
    flight, work = SingleFlight[str](), Work("done")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_expect_done, flight, work, 3)
        await anyio.sleep(0.1)
        with pytest.raises(TimeoutError), anyio.fail_after(0.1):
            await flight.run(work)
    assert work.begun == 1


async def test_an_error_of_the_caller_is_not_given_to_other_tasks() -> None:
    flight, work = SingleFlight[str](), Work(RuntimeError("closed"), "done")
    outcomes = await gather(lambda: flight.run(work), 5)
    assert [repr(one) for one in outcomes] == ["RuntimeError('closed')", *["'done'"] * 4]


async def test_a_cached_call_is_made_once() -> None:
    once, work = CachedCall[str](), Work("known")
    assert await gather(lambda: once.get(work), 20) == ["known"] * 20
    started = _clock.now()
    assert await once.get(work) == "known"
    assert (_clock.now(), work.begun) == (started, 1)


async def test_a_cached_call_that_failed_is_made_again() -> None:
    once, work = CachedCall[str](), Work(Up42Error("down"), "known")
    with pytest.raises(Up42Error, match="down"):
        await once.get(work)
    assert await once.get(work) == "known"


async def test_a_negative_result_is_not_cached_for_later_callers() -> None:
    once, work = CachedCall[str](), Work("not yet", "accepted")
    answers = [await once.get(work, keep=lambda fact: fact == "accepted") for _ in range(3)]
    assert answers == ["not yet", "accepted", "accepted"]
