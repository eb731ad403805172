"""Run a process on many items, and hand each result to a Dask cluster, whose workers read the pixels.

    python examples/dask_pipeline.py                        # with a sandbox and a cluster on this machine
    python examples/dask_pipeline.py tcp://10.0.0.5:8786    # with a cluster of yours, whose workers see the same files

One process talks to UP42: it executes, tracks and downloads. The workers get items and paths, never credentials.
Back-pressure goes both ways: at most MAX_RUNNING jobs are under way at UP42, and at most MAX_READING results wait for
the workers; while they do, no further result is taken. When a worker dies, Dask gives its task to another.
"""

# Dask and odc-stac are installed where this runs, not where types are checked.
# pyright: reportMissingImports=false, reportUnknownParameterType=false

import csv
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
from distributed import Client as DaskClient
from distributed import LocalCluster

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import Sandbox

IMAGES = 20
MAX_CREDITS = 50_000
MAX_RUNNING = 10
MAX_READING = 4
COLUMNS = ("job", "item", "asset", "height", "width", "mean")


def read_pixels(job_id: str, items: Sequence[dict[str, Any]], paths: dict[str, dict[str, str]], table: str) -> int:
    """Read the files of one job in a worker, write its part of the table, and return the number of rows.

    The part is named by the job, and renamed when it is complete: when a worker dies and its task is run again, there
    is still one part.
    """
    import odc.stac  # noqa: PLC0415 - in the worker only
    import pystac  # noqa: PLC0415 - the same

    rows = []
    for content in items:
        for key, path in sorted(paths.get(content["id"], {}).items()):
            image = {**content["assets"][key], "href": Path(path).as_uri()}
            item = pystac.Item.from_dict({**content, "assets": {"image": image}, "links": []})
            pixels = odc.stac.load([item])["image"].isel(time=0)
            rows.append((job_id, item.id, key, *pixels.shape, float(pixels.mean())))
    part = Path(table) / f"{job_id}.csv"
    with tempfile.NamedTemporaryFile("w", dir=table, newline="", delete=False) as file:
        csv.writer(file).writerows(rows)
    os.replace(file.name, part)  # noqa: PTH105 - in one step
    return len(rows)


async def templates() -> AsyncIterator[DetectionTreesSpacept]:
    """Yield a template for each item in storage."""
    async for item in up42.search_items(max_items=IMAGES):
        yield DetectionTreesSpacept(title=f"Trees of {item.id}", item=item)


async def run(cluster: DaskClient, directory: Path) -> Path:
    """Execute, track and download, and hand the files of each job to the cluster as soon as they are complete.

    Args:
        cluster: A Dask client that was made with `asynchronous=True`.
        directory: Directory for files, journal and table; the workers must reach it by the same path.

    Returns:
        The table.
    """
    parts = directory / "table"
    parts.mkdir(parents=True, exist_ok=True)
    free = anyio.Semaphore(MAX_READING)  # without it, results would pile up before slow workers

    async def read(job: up42.Job, files: Sequence[up42.ResultFile], title: str) -> None:
        try:
            items = [item.to_dict(transform_hrefs=False) async for item in job.items()]
            paths: dict[str, dict[str, str]] = {}
            for file in files:
                paths.setdefault(str(file.item_id), {})[str(file.asset_key)] = str(file.path)
            rows = await cluster.submit(read_pixels, job.id, items, paths, str(parts), pure=False, retries=3)
            print(f"{title}: rows in the table: {rows}")
        finally:
            free.release()

    async with (
        anyio.create_task_group() as reading,
        up42.pipeline(
            templates(),
            directory / "files",
            journal=directory / "run.db",
            max_credits=MAX_CREDITS,
            max_running=MAX_RUNNING,
            media_types=["image/tiff"],
        ) as batch,
    ):
        async for result in batch:
            if result.error is not None or result.job is None:
                print(f"{result.template.title}: {result.error}")
                continue
            await free.acquire()
            reading.start_soon(read, result.job, result.files, result.template.title)
    return _joined(parts, directory / "trees.csv")


def _joined(parts: Path, table: Path) -> Path:
    with table.open("w", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for part in sorted(parts.glob("*.csv")):
            file.write(part.read_text())
    return table


async def main() -> None:
    """Run on a sandbox, with the given scheduler or with two workers on this machine."""
    with tempfile.TemporaryDirectory() as place, Sandbox(speed=600, failure_rate=0.0) as sandbox:
        sandbox.add_assets(IMAGES)
        async with up42.Client(**sandbox.settings):
            if len(sys.argv) > 1:
                async with DaskClient(sys.argv[1], asynchronous=True) as cluster:
                    table = await run(cluster, Path(place))
            else:
                async with (
                    LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, asynchronous=True) as local,
                    DaskClient(local, asynchronous=True) as cluster,
                ):
                    table = await run(cluster, Path(place))
            print(table.read_text())


if __name__ == "__main__":
    anyio.run(main)
