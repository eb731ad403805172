"""UP42's own blocking library, pointed at the server of the benchmark."""

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["UP42_DISABLE_VERSION_CHECK"] = "true"  # else importing it asks PyPI

import pystac
import up42  # pyright: ignore[reportMissingImports]
from up42 import host, utils  # pyright: ignore[reportMissingImports]
from up42 import processing_templates as templates  # pyright: ignore[reportMissingImports]

from benchmarks.meter import Meter

_THREADS = 32


def _connect(base: str) -> None:
    """Log in and ask for one short page, so that nothing is done for the first time while it is measured."""

    def endpoint(path: str) -> str:
        return base + path

    host.endpoint = endpoint
    host.token_endpoint = lambda: f"{base}/auth/token"
    host.user_info_endpoint = lambda: f"{base}/auth/userinfo"
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it complains about each connection beyond its ten
    up42.authenticate(username="benchmark", password="benchmark")  # noqa: S106 - the server takes any
    next(iter(up42.Job.all(page_size=1)), None)


def listing(base: str, page_size: int | None = None) -> dict[str, Any]:
    """List all jobs."""
    _connect(base)
    with Meter() as meter:
        jobs = sum(1 for _ in up42.Job.all(page_size=page_size))
    return meter.result(jobs=jobs)


def calls(base: str, ids: list[str]) -> dict[str, Any]:
    """Ask for one job after the other."""
    _connect(base)
    with Meter() as meter:
        for id_ in ids:
            up42.Job.get(id_)
    return meter.result(calls=len(ids))


def burst(base: str, ids: list[str]) -> dict[str, Any]:
    """Ask for many jobs in 32 threads."""
    _connect(base)
    with Meter() as meter, ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(up42.Job.get, ids))
    return meter.result(calls=len(ids))


def track_threads(base: str, wait: float) -> dict[str, Any]:
    """Wait for each job in a thread of its own."""
    _connect(base)
    jobs = list(up42.Job.all(page_size=1000))
    noticed: dict[str, float] = {}
    with Meter() as meter:
        threads = [threading.Thread(target=_follow(job, wait, noticed)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return meter.result(noticed=noticed)


def track_pool(base: str, wait: float) -> dict[str, Any]:
    """Wait for the jobs in 32 threads, each of which takes the next job when its own is finished."""
    _connect(base)
    jobs = list(up42.Job.all(page_size=1000))
    noticed: dict[str, float] = {}
    with Meter() as meter, ThreadPoolExecutor(_THREADS) as pool:
        for job in jobs:
            pool.submit(_follow(job, wait, noticed))
    return meter.result(noticed=noticed)


def _follow(job: Any, wait: float, noticed: dict[str, float]) -> Callable[[], None]:
    def follow() -> None:
        job.track(wait=wait)
        noticed[job.id] = time.monotonic()

    return follow


def execute(base: str, number: int, threads: int) -> dict[str, Any]:
    """Check, price and run some templates, in some threads."""
    _connect(base)
    item = pystac.Item("i", None, None, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), {})
    item.set_self_href(f"{base}/v2/assets/stac/collections/c/items/i")

    def run(position: int) -> Any:
        template = templates.DetectionTreesSpacept(title=f"Trees {position}", item=item)
        return template.execute() if template.is_valid else None

    with Meter() as meter, ThreadPoolExecutor(threads) as pool:
        jobs = list(pool.map(run, range(number)))
    return meter.result(jobs=sum(job is not None for job in jobs))


def download(base: str, names: list[str], directory: str) -> dict[str, Any]:
    """Fetch files, each in a thread of its own."""
    _connect(base)
    session = up42.base.workspace.session

    def fetch(name: str) -> None:
        url = session.post(host.endpoint(f"/v2/assets/{name}/download-url")).json()["url"]
        utils.ImageFile(url, file_name=name).download(directory)

    with Meter() as meter, ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(fetch, names))
    return meter.result(files=len(names))
