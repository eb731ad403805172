"""Track 300 processing jobs to their end with a few requests, and download the results.

    python -m up42_async.demo [directory]

It needs no account: it starts a sandbox, a local server that behaves like UP42, where an hour of processing takes half
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
from up42_async._client import display

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
class Tracked:
    """Jobs that were tracked to their end, and the time that took."""

    tracker: up42.JobTracker
    seconds: float
    """Real seconds."""
    single_requests: int
    """Requests that one GET for each job and minute would have sent."""


async def track_all(jobs: Sequence[up42.Job], minute: float) -> Tracked:
    """Track jobs to their end: a live board in a terminal, lines elsewhere.

    Args:
        jobs: The jobs.
        minute: Real seconds in which a minute of the sandbox passes.
    """
    started = time.monotonic()
    single_requests = 0
    tracker = up42.track(jobs, bar=True)
    async for _ in tracker:
        single_requests += 1 + int((time.monotonic() - started) / minute)
    return Tracked(tracker, time.monotonic() - started, single_requests)


def print_summary(tracked: Tracked, requests: int, console: Console) -> None:
    """Print how the jobs ended, the credits spent and the number of requests."""
    jobs = tracked.tracker.finished
    console.print()
    title = f"{display.counted(len(jobs), 'job')} in {tracked.seconds:.0f} s"
    ended = Table(title=title, title_justify="left", show_edge=False)
    ended.add_column("ended")
    ended.add_column("jobs", justify="right")
    ended.add_column("credits spent", justify="right")
    for status, number in tracked.tracker.counts.most_common():
        # the credits of a released job were given back: docs/platform.md, Credits
        spent = sum(job.credits or 0 for job in jobs if job.status == status and job.is_successful)
        ended.add_row(Text(status, style=COLOURS.get(status, "blue")), str(number), f"{spent:,}")
    console.print(ended)
    console.print(
        f"\n{requests} requests in all; one GET for each job and minute would have sent {tracked.single_requests:,}"
        f" ({tracked.single_requests / requests:.0f} times as many).",
        highlight=False,
    )


async def download_results(jobs: Sequence[up42.Job], directory: Path, console: Console) -> None:
    """Download the results of jobs, each file complete or not at all."""
    started = time.monotonic()
    files = await up42.download(jobs, directory, bar=console.is_terminal)
    sizes = [file.path.stat().st_size for file in files if file.path is not None]
    console.print(
        f"{len(sizes)} of {len(files)} files of {len(jobs)} jobs downloaded and verified:"
        f" {sum(sizes) / 1e6:.1f} MB in {time.monotonic() - started:.1f} s.",
        highlight=False,
    )


async def run(directory: Path, console: Console, *, number: int = JOBS, speed: float = SPEED) -> None:
    """Run the demo.

    Args:
        directory: Directory for the files.
        console: The output.
        number: Number of jobs, at least 1.
        speed: Seconds of the sandbox for each real second, above 0.
    """
    async with Sandbox(speed=speed, seed=42) as sandbox:
        sandbox.seed_jobs(number)
        console.print(
            f"The sandbox runs at {sandbox.endpoints.api}, with {display.counted(number, 'job')} under way.\n",
            highlight=False,
        )
        async with up42.Client(**sandbox.settings) as client:
            jobs = [job async for job in up42.Job.all(sort_by=up42.JobSorting.created.asc)]
            print_summary(await track_all(jobs, minute=60 / speed), client.statistics().requests, console)
            await download_results([job for job in jobs if job.is_successful][:RESULTS], directory, console)


def main(arguments: Sequence[str]) -> None:
    """Run the demo with the arguments of the command line."""
    about, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m up42_async.demo", description=about, epilog=more.split("\n\n")[-1])
    parser.add_argument("directory", nargs="?", type=Path, help="directory for the files; a temporary one if not given")
    directory: Path | None = parser.parse_args(arguments).directory
    with tempfile.TemporaryDirectory() as place:
        anyio.run(run, directory or Path(place), Console())


if __name__ == "__main__":
    main(sys.argv[1:])
