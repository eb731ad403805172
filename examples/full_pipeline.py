"""Go from 50 assets in storage to files on disk, with all stages at work at the same time.

    python examples/full_pipeline.py

It starts an UP42 of its own on this machine (the sandbox), where an hour of processing takes a few seconds. The results
of the first jobs are on disk long before the last job is finished.
"""

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import Sandbox

IMAGES = 50
MOST_CREDITS = 50_000
SPEED = 600  # an hour of processing takes 6 seconds
MINUTE = 60 / SPEED  # a minute at UP42, in seconds of this example


async def templates_for(asset_ids: Sequence[str]) -> list[DetectionTreesSpacept]:
    """Find the item of each asset, a few at a time, and make a template of it."""
    templates: list[DetectionTreesSpacept] = []

    async def make(asset_id: str) -> None:
        asset = await up42.initialize_asset(asset_id)
        templates.extend(
            DetectionTreesSpacept(title=f"Trees of {asset.title}", item=item) for item in await asset.stac_items()
        )

    async with anyio.create_task_group() as group:
        for asset_id in asset_ids:
            group.start_soon(make, asset_id)
    return templates


class Finished:
    """The jobs that are successful, each as soon as it is known, and how many are still under way."""

    def __init__(self, jobs: Sequence[up42.Job]) -> None:
        """Track the jobs."""
        self.under_way = len(jobs)
        self.failed = 0
        self._tracking = up42.track(jobs, wait=MINUTE)

    def __aiter__(self) -> AsyncIterator[up42.Job]:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> up42.Job:
        """Return the next one."""
        while True:
            job = await anext(self._tracking)
            self.under_way -= 1
            if job.is_successful:
                return job
            self.failed += 1


async def bring_home(jobs: Sequence[up42.Job], directory: Path) -> list[Path]:
    """Download each result as soon as its job is finished; return the files."""
    finished = Finished(jobs)
    paths: list[Path] = []
    before_the_last = 0
    async with up42.download(finished, directory) as files:
        async for file in files:
            if file.path is None:
                print(f"  {file.job_id}: {file.error}")
                continue
            paths.append(file.path)
            before_the_last += finished.under_way > 0
            if len(paths) % 20 == 1:
                print(f"  {len(paths):3d} files on disk, {finished.under_way:2d} jobs still under way")
    size = sum(path.stat().st_size for path in paths)
    print(
        f"  {len(paths):3d} files with {size:,} bytes on disk; {before_the_last} of them came before the last job ended"
    )
    print(f"  {finished.failed} jobs failed, and cost nothing")
    return paths


async def run(asset_ids: Sequence[str], directory: Path) -> list[Path]:
    """Find, check, execute, track and download."""
    templates = await templates_for(asset_ids)
    print(f"{len(templates)} items found; executing a process on each:")
    outcomes = await up42.execute(templates, max_credits=MOST_CREDITS)
    jobs = [outcome.job for outcome in outcomes if outcome.job is not None]
    print(f"{len(jobs)} jobs made; bringing home what they make:")
    return await bring_home(jobs, directory)


async def main(directory: Path) -> None:
    """Run the example."""
    started = time.monotonic()
    with Sandbox(speed=SPEED, seed=4) as sandbox:
        asset_ids = sandbox.add_assets(IMAGES)
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints) as client:
            await run(asset_ids, directory)
            print(f"{client.statistics().requests} requests to the API, {time.monotonic() - started:.1f} s")
        print(f"{sandbox.tokens_leaked} tokens sent to the storage host")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(main, Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            anyio.run(main, Path(place))
