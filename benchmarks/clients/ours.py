"""This library."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs

import up42_async as up42
from benchmarks.attribution import Attribution
from benchmarks.meter import Meter
from up42_async.processing_templates import DetectionTreesSpacept

NO_PACE = up42.Limits(requests_per_second=1e6, burst=10**6)
"""What is measured is the cost of a request: the pace of 50 requests a second would only hide it."""


_BEAT = 0.002


@asynccontextmanager
async def connected(base: str, limits: up42.Limits = NO_PACE) -> AsyncGenerator[up42.Client]:
    """Log in and ask for one short page, so that nothing is done for the first time while it is measured."""
    endpoints = up42.Endpoints(api=base, auth=f"{base}/auth")
    async with up42.Client("benchmark", "benchmark", endpoints=endpoints, limits=limits) as client:
        async for _ in up42.Job.all(page_size=1):
            break
        yield client


async def listing(base: str, page_size: int | None = None) -> dict[str, Any]:
    """List all jobs."""
    async with connected(base):
        with Meter() as meter:
            jobs = 0
            async for _ in up42.Job.all(page_size=page_size):
                jobs += 1
    return meter.result(jobs=jobs)


async def listing_shares(base: str, page_size: int | None = None, repeat: int = 5) -> dict[str, Any]:
    """List all jobs some times, and say whose code it is that runs."""
    async with connected(base):
        with Attribution() as attribution:
            for _ in range(repeat):
                async for _job in up42.Job.all(page_size=page_size):
                    pass
    return attribution.result()


async def calls(base: str, ids: list[str]) -> dict[str, Any]:
    """Ask for one job after the other."""
    async with connected(base):
        with Meter() as meter:
            for id_ in ids:
                await up42.Job.get(id_)
    return meter.result(calls=len(ids))


async def calls_at_a_time(base: str, ids: list[str], at_a_time: int = 20) -> dict[str, Any]:
    """Ask for jobs in some tasks, each one after the other."""

    async def ask(share: list[str]) -> None:
        for id_ in share:
            await up42.Job.get(id_)

    async with connected(base):
        with Meter() as meter:
            await asyncio.gather(*(ask(ids[first::at_a_time]) for first in range(at_a_time)))
    return meter.result(calls=len(ids))


async def calls_shares(base: str, ids: list[str], repeat: int = 5) -> dict[str, Any]:
    """Ask for one job after the other, and say whose code it is that runs."""
    async with connected(base):
        with Attribution() as attribution:
            for id_ in ids * repeat:
                await up42.Job.get(id_)
    return attribution.result()


async def burst(base: str, ids: list[str], in_flight: int = NO_PACE.max_concurrency) -> dict[str, Any]:
    """Ask for many jobs at once."""
    async with connected(base, attrs.evolve(NO_PACE, max_concurrency=in_flight)):
        with Meter() as meter:
            await asyncio.gather(*(up42.Job.get(id_) for id_ in ids))
    return meter.result(calls=len(ids))


async def track_together(base: str, wait: float) -> dict[str, Any]:
    """Wait for all jobs by one `track()`."""
    async with connected(base, up42.Limits()):
        ids = [job.id async for job in up42.Job.all()]
        with Meter() as meter:
            noticed = {job.id: time.monotonic() async for job in up42.track(ids, wait=wait)}
    return meter.result(noticed=noticed)


async def track_apart(base: str, wait: float) -> dict[str, Any]:
    """Wait for each job in a task of its own."""
    noticed: dict[str, float] = {}

    async def follow(job: up42.Job) -> None:
        await job.track(wait=wait)
        noticed[job.id] = time.monotonic()

    async with connected(base, up42.Limits()):
        jobs = [job async for job in up42.Job.all()]
        with Meter() as meter:
            await asyncio.gather(*map(follow, jobs))
    return meter.result(noticed=noticed)


async def track_shares(base: str, wait: float) -> dict[str, Any]:
    """Wait for all jobs by one `track()`, and say whose code it is that runs."""
    async with connected(base, up42.Limits()):
        ids = [job.id async for job in up42.Job.all()]
        with Attribution() as attribution:
            await up42.track(ids, wait=wait)
    return attribution.result()


async def execute(base: str, number: int, *, paced: bool, journaled: bool = False) -> dict[str, Any]:
    """Check, price and run some templates, by one `execute()`, with a journal on disk or without."""
    item = f"{base}/v2/assets/stac/collections/c/items/i"
    templates = [DetectionTreesSpacept(title=f"Trees {position}", item=item) for position in range(number)]
    with tempfile.TemporaryDirectory() as place:
        journal = f"{place}/run.db" if journaled else None
        async with connected(base, up42.Limits() if paced else NO_PACE):
            with Meter() as meter:
                outcomes = await up42.execute(templates, journal=journal)
    return meter.result(jobs=sum(outcome.job is not None for outcome in outcomes))


async def download(base: str, job_id: str, directory: str) -> dict[str, Any]:
    """Bring the files of a job's result home."""
    async with connected(base):
        job = await up42.Job.get(job_id)
        with Meter() as meter:
            paths = await job.download(directory)
    return meter.result(files=len(paths))


async def download_lag(base: str, job_id: str, directory: str) -> dict[str, Any]:
    """Bring the files home while a heart beats every 2 ms, and say by how much it was ever late, then and before."""
    lags: list[float] = []
    quiet: list[float] = []

    async def beat(into: list[float]) -> None:
        while True:
            due = time.monotonic() + _BEAT
            await asyncio.sleep(_BEAT)
            into.append(time.monotonic() - due)

    async with connected(base):
        job = await up42.Job.get(job_id)
        # the first item that a process reads makes pystac look for its extensions, on the event loop, for 40 ms
        _ = [item async for item in job.items()]
        for pulse, work in ((quiet, asyncio.sleep(1.0)), (lags, job.download(directory))):
            heart = asyncio.create_task(beat(pulse))
            await work
            heart.cancel()
    lags.sort()
    return {"longest": lags[-1], "p99": lags[int(len(lags) * 0.99)], "beats": len(lags), "quiet": max(quiet)}
