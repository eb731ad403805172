"""Whatever the server sends, a call returns readable jobs or raises an `Up42Error`."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.odd_answers import odd_platform
from up42_async import Job, JobList, JobStatus, Up42Error, track

ROUNDS = 40

CALLS: dict[str, Callable[[list[str]], Awaitable[Any]]] = {
    "Job.get": lambda ids: Job.get(ids[0]),
    "Job.all": lambda _: listed(Job.all(page_size=2)),
    "Job.all by id": lambda ids: listed(Job.all(ids=ids)),
    "track one": lambda ids: track(ids[:1], wait=0, retries=2),
    "track": lambda ids: track(ids, wait=0, retries=2),
}


async def listed(jobs: JobList[Job]) -> list[Job]:
    found = [job async for job in jobs]
    assert all(isinstance(error, Up42Error) for error in jobs.errors)
    return found


def are_jobs(value: Any) -> bool:
    """Return whether these are jobs, each of which can be shown, written and read again."""
    jobs = value if isinstance(value, list) else [value]
    return all(
        isinstance(job.id, str)
        and isinstance(job.status, JobStatus)
        and len(repr(job)) <= 200
        and job._repr_html_()
        and job.age.total_seconds() >= 0
        and Job.from_metadata(job.to_metadata()).status is job.status
        for job in jobs
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
async def test_odd_responses_give_jobs_or_an_up42_error(name: str) -> None:
    async with odd_platform() as odd:
        ids = odd.sandbox.seed_jobs(3, status="captured")
        await odd.attack(lambda: CALLS[name](ids), expected=are_jobs, rounds=ROUNDS)
