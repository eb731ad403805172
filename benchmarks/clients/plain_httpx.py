"""What one would write oneself with httpx: no retries, no token renewal, no pace."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from benchmarks.meter import Meter

_JOBS = "/v2/processing/jobs"
_TERMINAL = {"captured", "released", "invalid", "rejected", "unlicensed"}


@asynccontextmanager
async def connected(base: str, **settings: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """Ask for one short page, so that nothing is done for the first time while it is measured."""
    headers = {"Authorization": "Bearer benchmark"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, **settings) as client:
        (await client.get(_JOBS, params={"limit": 1})).json()
        yield client


async def listing(base: str, page_size: int | None = None) -> dict[str, Any]:
    """List all jobs as dictionaries."""
    async with connected(base) as client:
        with Meter() as meter:
            jobs = 0
            link: str | None = _JOBS if page_size is None else f"{_JOBS}?limit={page_size}"
            while link is not None:
                page = (await client.get(link)).raise_for_status().json()
                jobs += len(page["jobs"])
                link = next((one["href"] for one in page["links"] if one["rel"] == "next"), None)
    return meter.result(jobs=jobs)


async def calls(base: str, ids: list[str]) -> dict[str, Any]:
    """Ask for one job after the other."""
    async with connected(base) as client:
        with Meter() as meter:
            for id_ in ids:
                (await client.get(f"{_JOBS}/{id_}")).raise_for_status().json()
    return meter.result(calls=len(ids))


async def calls_at_a_time(base: str, ids: list[str], at_a_time: int = 20) -> dict[str, Any]:
    """Ask for jobs in some tasks, each one after the other."""

    async def ask(client: httpx.AsyncClient, share: list[str]) -> None:
        for id_ in share:
            (await client.get(f"{_JOBS}/{id_}")).raise_for_status().json()

    async with connected(base) as client:
        with Meter() as meter:
            await asyncio.gather(*(ask(client, ids[first::at_a_time]) for first in range(at_a_time)))
    return meter.result(calls=len(ids))


async def burst(base: str, ids: list[str], *, unlimited: bool = False) -> dict[str, Any]:
    """Ask for many jobs at once, with a client's default limits or without any."""

    async def get(client: httpx.AsyncClient, id_: str) -> None:
        (await client.get(f"{_JOBS}/{id_}")).raise_for_status().json()

    settings = {"limits": httpx.Limits()} if unlimited else {}
    async with connected(base, **settings) as client:
        with Meter() as meter:
            await asyncio.gather(*(get(client, id_) for id_ in ids))
    return meter.result(calls=len(ids))


async def track_gather(base: str, wait: float) -> dict[str, Any]:
    """Wait for all jobs by one request for each that is open, gathered every `wait` seconds."""
    noticed: dict[str, float] = {}

    async def look(client: httpx.AsyncClient, id_: str) -> None:
        job = (await client.get(f"{_JOBS}/{id_}")).raise_for_status().json()
        if job["status"] in _TERMINAL:
            noticed[id_] = time.monotonic()

    async with connected(base) as client:
        ids = [job["jobID"] for job in (await client.get(_JOBS, params={"limit": 10_000})).json()["jobs"]]
        with Meter() as meter:
            due = time.monotonic()
            while len(noticed) < len(ids):
                await asyncio.gather(*(look(client, id_) for id_ in ids if id_ not in noticed))
                due += wait
                await asyncio.sleep(max(0.0, due - time.monotonic()))
    return meter.result(noticed=noticed)
