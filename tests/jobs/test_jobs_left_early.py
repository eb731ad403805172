"""Leaving `async for job in Job.all()` early in every way: no request stays in flight, and the list can continue."""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
import pytest

from tests.job_answers import JOBS, collect
from up42_async import Client, Job, JobSorting
from up42_async.sandbox import Sandbox, faults

JOBS_THERE = 60


class Interrupted(Exception):
    """An error raised by the user's code."""


@contextlib.asynccontextmanager
async def slow_list() -> AsyncGenerator[tuple[Sandbox, Client, list[str]]]:
    """Run a sandbox whose pages after the first are slow, with 20 jobs a page."""
    async with (
        Sandbox(page_size_max=20) as sandbox,
        Client(**sandbox.credentials, endpoints=sandbox.endpoints) as client,
    ):
        seeded = sandbox.seed_jobs(JOBS_THERE, spread=6000)[::-1]
        sandbox.faults.add(faults.Delay(0.1), path=JOBS, query="cursor", times=1)
        yield sandbox, client, seeded


async def assert_nothing_is_left(client: Client, jobs: AsyncIterator[Job], seen: list[str], seeded: list[str]) -> None:
    """Check that no request is in flight, that the list continues where it stopped, and that the client works."""
    assert client.statistics().in_flight == 0
    assert seen + [job.id async for job in jobs] == seeded
    assert [job.id async for job in Job.all()] == seeded


async def take(
    jobs: AsyncIterator[Job], seen: list[str], *, number: int = JOBS_THERE, error: type[Exception] | None = None
) -> None:
    """Take some jobs, or all there are; leave the loop by `break` or by an error."""
    async for job in jobs:
        seen.append(job.id)
        if len(seen) == number and error is not None:
            raise error
        if len(seen) == number:
            break


async def test_break_leaves_nothing_behind() -> None:
    async with slow_list() as (sandbox, client, seeded):
        jobs, seen = Job.all(), list[str]()
        await take(jobs, seen, number=3)
        assert sandbox.count("GET", JOBS) == 1
        await assert_nothing_is_left(client, jobs, seen, seeded)


async def test_an_exception_is_raised_unchanged_and_leaves_nothing_behind() -> None:
    async with slow_list() as (_, client, seeded):
        jobs, seen = Job.all(), list[str]()
        with pytest.raises(Interrupted):
            await take(jobs, seen, number=23, error=Interrupted)
        await assert_nothing_is_left(client, jobs, seen, seeded)


async def test_cancellation_during_a_request_leaves_nothing_behind() -> None:
    async with slow_list() as (_, client, seeded):
        jobs, seen = Job.all(), list[str]()
        await take(jobs, seen, number=20)
        with anyio.move_on_after(0.02) as scope:
            await take(jobs, seen)
        assert (scope.cancelled_caught, len(seen)) == (True, 20)
        await assert_nothing_is_left(client, jobs, seen, seeded)


async def test_a_timeout_of_the_caller_is_raised_unchanged() -> None:
    async with slow_list() as (_, client, seeded):
        jobs, seen = Job.all(), list[str]()
        await take(jobs, seen, number=20)
        with pytest.raises(TimeoutError), anyio.fail_after(0.02):
            await take(jobs, seen)
        await assert_nothing_is_left(client, jobs, seen, seeded)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_cancellation_by_asyncio_leaves_nothing_behind() -> None:
    async with slow_list() as (_, client, seeded):
        jobs, seen = Job.all(), list[str]()
        await take(jobs, seen, number=20)
        tasks = asyncio.all_tasks()
        task = asyncio.create_task(take(jobs, seen))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == tasks
        await assert_nothing_is_left(client, jobs, seen, seeded)


async def test_a_task_that_fails_leaves_the_rest_to_the_tasks_that_share_its_list() -> None:
    async with slow_list() as (_, client, seeded):
        jobs, first, second = Job.all(), list[str](), list[str]()
        await take(jobs, first, number=20)
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0.02):
                group.start_soon(take, jobs, second)
                await take(jobs, first)
        assert [*first, *second] == seeded
        assert (client.statistics().in_flight, len(first)) == (0, 20)


async def test_tasks_that_share_a_list_get_each_job_once() -> None:
    async with slow_list() as (sandbox, _, seeded):
        jobs, seen = Job.all(), list[Job]()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(collect, jobs, seen)
        assert sorted(job.id for job in seen) == sorted(seeded)
        assert sandbox.count("GET", JOBS) == 3


async def test_many_lists_at_once_each_give_every_job() -> None:
    async with slow_list() as (_, client, seeded):
        lists: list[list[Job]] = [[] for _ in range(20)]
        async with anyio.create_task_group() as group:
            for seen in lists:
                group.start_soon(collect, Job.all(), seen)
        assert [[job.id for job in seen] for seen in lists] == [seeded] * 20
        assert client.statistics().in_flight == 0


async def test_the_client_works_after_many_lists_were_left_early() -> None:
    async with slow_list() as (sandbox, client, seeded):
        sandbox.faults.add(faults.Delay(0.004), path=JOBS)
        for turn in range(40):
            with anyio.move_on_after(0.0005 * turn):
                await take(Job.all(), [])
        sandbox.faults.clear()
        jobs = Job.all()
        await assert_nothing_is_left(client, jobs, [], seeded)
        assert sandbox.connections.open <= 20


async def test_dropping_a_list_causes_no_warning() -> None:
    async with slow_list():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            jobs = Job.all()
            await anext(jobs)
            del jobs
            gc.collect()


async def test_a_list_of_a_closed_client_is_an_error() -> None:
    async with slow_list() as (_, client, seeded):
        jobs, seen = Job.all(), list[str]()
        await take(jobs, seen, number=20)
        await client.aclose()
        with pytest.raises(RuntimeError, match="this client is closed"):
            await take(jobs, seen)
        assert seen == seeded[:20]


@pytest.mark.parametrize("sort", [False, True])
async def test_a_list_by_ids_continues_where_it_was_left(sort: bool) -> None:
    async with slow_list() as (_, client, seeded):
        jobs: AsyncIterator[Job] = Job.all(ids=seeded, sort_by=JobSorting.created if sort else None)
        seen: list[str] = []
        with anyio.move_on_after(0.05):
            await take(jobs, seen)
        await assert_nothing_is_left(client, jobs, seen, seeded)
