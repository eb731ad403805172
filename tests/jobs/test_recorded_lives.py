"""Jobs with recorded lives are tracked until their last status: never less, and not much longer."""

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
    """The sandbox's own account of its jobs: their last status, and when a client may first know that it is the last.

    A job that hangs has no such moment.
    """

    statuses: dict[str, str]
    ends: dict[str, float]

    @classmethod
    def of(cls, sandbox: Sandbox) -> "Account":
        """Read the lives that the sandbox has drawn; all begin now."""
        account = cls({}, {})
        for job in sandbox.jobs.values():
            offset, status = job.timeline[-1]
            account.statuses[job.id] = status
            if status in TERMINAL or (status in SETTLING and not job.price):
                account.ends[job.id] = offset
            elif status in SETTLING:  # credits are due, and their capture never comes: the status has to stay
                account.ends[job.id] = offset + SETTLE
            else:
                account.ends[job.id] = math.inf
        return account


def longest_delay(wait: float | Literal["adaptive"], age: float) -> float:
    """Return how long after its end a job of this age is noticed at the latest."""
    interval = max(60, 0.05 * age) if wait == "adaptive" else wait
    return interval + SETTLE + SLACK


async def follow(number: int, wait: float | Literal["adaptive"], *, seed: int, seconds: float) -> None:
    """Track jobs for so long, and compare each with the sandbox's account."""
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
