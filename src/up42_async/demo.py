"""Show the main job: follow 300 processing jobs to their end with a handful of requests, and bring results home.

    python -m up42_async.demo [directory]

It needs no account: it starts an UP42 of its own on this machine (the sandbox), where an hour of processing takes half
a minute. Without a directory the files go to a temporary one, which is removed at the end.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import attrs

import up42_async as up42

try:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from up42_async.sandbox import Sandbox
except ImportError as _error:
    _message = "The demo needs the sandbox and rich: python -m pip install 'up42-async[progress,sandbox]'"
    if __name__ == "__main__":
        sys.exit(_message)
    raise ImportError(_message, name=_error.name) from _error

JOBS: Final = 300
SPEED: Final = 120.0
"""Seconds of the sandbox for each real second: an hour of processing takes 30 seconds."""
RESULTS: Final = 60
"""Jobs whose results are downloaded."""

COLOURS: Final = {"captured": "green", "successful": "green", "released": "red", "failed": "red", "running": "cyan"}


@attrs.frozen
class Followed:
    """Jobs that were tracked to their end, and what that took."""

    tracker: up42.JobTracker
    seconds: float
    single_requests: int
    """Requests that one GET a job and minute would have used."""


async def follow(jobs: Sequence[up42.Job], minute: float) -> Followed:
    """Track jobs to their end, showing how it goes: a board in a terminal, lines elsewhere.

    Args:
        jobs: The jobs.
        minute: Seconds of this demo that a minute at UP42 takes.
    """
    started = time.monotonic()
    single_requests = 0
    tracker = up42.track(jobs, bar=True)
    async for _ in tracker:
        single_requests += 1 + int((time.monotonic() - started) / minute)
    return Followed(tracker, time.monotonic() - started, single_requests)


def summarise(followed: Followed, requests: int, console: Console) -> None:
    """Say how the jobs ended, and what it cost in requests."""
    jobs = followed.tracker.finished
    console.print()
    ended = Table(title=f"{len(jobs)} jobs in {followed.seconds:.0f} s", title_justify="left", show_edge=False)
    ended.add_column("ended")
    ended.add_column("jobs", justify="right")
    ended.add_column("credits spent", justify="right")
    for status, number in followed.tracker.counts.most_common():
        # the credits of a released job were given back: docs/platform.md, Credits
        spent = sum(job.credits or 0 for job in jobs if job.status == status and job.is_successful)
        ended.add_row(Text(status, style=COLOURS.get(status, "blue")), str(number), str(spent))
    console.print(ended)
    console.print(
        f"\n{requests} requests in all; one GET a job and minute would have used {followed.single_requests}"
        f" ({followed.single_requests / requests:.0f} times as many).",
        highlight=False,
    )


async def bring_home(jobs: Sequence[up42.Job], directory: Path, console: Console) -> None:
    """Download the results of jobs, each file whole or not at all."""
    started = time.monotonic()
    files = await up42.download(jobs, directory, bar=console.is_terminal)
    sizes = [file.path.stat().st_size for file in files if file.path is not None]
    console.print(
        f"{len(sizes)} of {len(files)} files of {len(jobs)} jobs downloaded and verified:"
        f" {sum(sizes) / 1e6:.1f} MB in {time.monotonic() - started:.1f} s, in {directory}.",
        highlight=False,
        soft_wrap=True,
    )


async def run(directory: Path, console: Console, *, number: int = JOBS, speed: float = SPEED) -> None:
    """Run the demo.

    Args:
        directory: Where the files go.
        console: Where to show it.
        number: Jobs to follow, at least 1.
        speed: Seconds of the sandbox for each real second, above 0.
    """
    async with Sandbox(speed=speed, seed=42) as sandbox:
        sandbox.seed_jobs(number)
        console.print(
            f"An UP42 of our own at {sandbox.endpoints.api}, with {number} jobs under way.\n", highlight=False
        )
        async with up42.Client(**sandbox.settings) as client:
            jobs = [job async for job in up42.Job.all(sort_by=up42.JobSorting.created.asc)]
            summarise(await follow(jobs, minute=60 / speed), client.statistics().requests, console)
            await bring_home([job for job in jobs if job.is_successful][:RESULTS], directory, console)


def main(arguments: Sequence[str]) -> None:
    """Run the demo as the command line says."""
    about, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m up42_async.demo", description=about, epilog=more.split("\n\n")[-1])
    parser.add_argument("directory", nargs="?", type=Path, help="where the files go; a temporary one if not given")
    directory: Path | None = parser.parse_args(arguments).directory
    with tempfile.TemporaryDirectory() as place:
        anyio.run(run, directory or Path(place), Console())


if __name__ == "__main__":
    main(sys.argv[1:])
