"""Jobs that replay recorded statuses are tracked until their last status, and not much longer."""

import math
from typing import Literal

import anyio
import attrs
import httpx
import pytest

from up42_async import Client, Polling, track
from up42_async._config import Limits
from up42_async.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

HOUR = 3600.0
SETTLE = 5.0
TERMINAL = {"captured", "released", "invalid", "rejected", "unlicensed"}
SETTLING = {"successful", "failed"}
SLACK = 0.1
"""Seconds within which queries that start together share a request."""


@attrs.define
class Account:
    """The sandbox's record of its jobs: their last status, and the earliest time a client can know that it is the last.

    A job that never ends has no such time.
    """

    statuses: dict[str, str]
    ends: dict[str, float]

    @classmethod
    def of(cls, sandbox: Sandbox) -> "Account":
        """Read the statuses that the sandbox has drawn for its jobs; all begin now."""
        account = cls({}, {})
        for job in sandbox.jobs.values():
            offset, status = job.timeline[-1]
            account.statuses[job.id] = status
            if status in TERMINAL or (status in SETTLING and not job.price):
                account.ends[job.id] = offset
            elif status in SETTLING:  # credits are due but never captured: the status has to stay for SETTLE seconds
                account.ends[job.id] = offset + SETTLE
            else:
                account.ends[job.id] = math.inf
        return account


def longest_delay(wait: float | Literal["adaptive"], age: float) -> float:
    """Return the longest time between the end of a job of this age and its notice, in seconds."""
    interval = max(60, 0.05 * age) if wait == "adaptive" else wait
    return interval + SETTLE + SLACK


async def follow(number: int, wait: float | Literal["adaptive"], *, seed: int, seconds: float) -> None:
    """Track jobs for this number of seconds, and compare each with the sandbox's record."""
    sandbox = Sandbox(clock=anyio.current_time, lives="recorded", seed=seed, token_lifetime=1e9)
    start, ids = anyio.current_time(), sandbox.seed_jobs(number)
    account, noticed = Account.of(sandbox), dict[str, float]()
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as http_client,
        Client(
            **sandbox.credentials,
            endpoints=sandbox.endpoints,
            polling=Polling(wait=wait, settle=SETTLE),
            limits=Limits(requests_per_second=10_000),
            http_client=http_client,
        ),
    ):
        tracker = track(ids)
        with anyio.move_on_after(seconds):
            async for job in tracker:
                noticed[job.id] = anyio.current_time() - start
                assert job.status == account.statuses[job.id]
    early = {id_: at for id_, at in noticed.items() if at < account.ends[id_] - 0.001}
    assert early == {}
    ended = {id_: end for id_, end in account.ends.items() if end + longest_delay(wait, end) < seconds}
    late = {id_ for id_, end in ended.items() if noticed.get(id_, math.inf) - end > longest_delay(wait, end)}
    assert late == set()
    assert {job.id for job in tracker.finished} == noticed.keys()
    hanging = {id_ for id_, end in account.ends.items() if end == math.inf}
    assert len(hanging) >= number // 10
    assert hanging <= {job if isinstance(job, str) else job.id for job in tracker.unfinished}
    assert len(ended) >= number // 2


@pytest.mark.parametrize("wait", [60, "adaptive"])
async def test_each_job_is_tracked_until_its_end_and_not_much_longer(wait: float | Literal["adaptive"]) -> None:
    await follow(216, wait, seed=1, seconds=HOUR)


@pytest.mark.slow
@pytest.mark.parametrize(("wait", "seconds"), [(60, HOUR / 4), ("adaptive", HOUR / 4)])
async def test_each_of_ten_thousand_jobs_is_tracked_until_its_end_and_not_much_longer(
    wait: float | Literal["adaptive"], seconds: float
) -> None:
    await follow(10_000, wait, seed=7, seconds=seconds)
