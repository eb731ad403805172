"""Follow 300 processing jobs to their end with a handful of requests, watch, and bring some of the results home.

    python examples/batch_track.py [directory]

It starts an UP42 of its own on this machine (the sandbox), where an hour of processing takes half a minute. Without a
directory the files go to a temporary one, which is removed at the end.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

import up42_async as up42
from up42_async.sandbox import Sandbox

JOBS = 300
SPEED = 120  # an hour of processing takes 30 seconds
MINUTE = 60 / SPEED  # a minute at UP42, in seconds of this demo
RESULTS = 60  # jobs whose results are downloaded
LINE_EVERY = 3.0  # seconds between two lines where there is no terminal to draw on

COLOURS = {"captured": "green", "successful": "green", "released": "red", "failed": "red", "running": "cyan"}
ORDER = [status.value for status in up42.JobStatus]


@attrs.define
class Board:
    """What is known so far, and how to show it."""

    client: up42.Client
    jobs: Sequence[up42.Job]
    started: float = attrs.field(factory=time.monotonic)
    single_requests: int = 0
    """Requests that one GET a job and minute would have used up to now."""

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    @property
    def counts(self) -> Counter[str]:
        """Jobs by status."""
        return Counter(job.status.value for job in self.jobs)

    @property
    def finished(self) -> int:
        """Jobs that are finished."""
        return sum(job.is_finished for job in self.jobs)

    def note(self, job: up42.Job) -> None:
        """Count what a job that has just finished would have cost alone."""
        if job.is_finished:
            self.single_requests += 1 + int(self.elapsed / MINUTE)

    def line(self) -> str:
        """Return the state as a line of text."""
        counts = ", ".join(f"{number} {status}" for status, number in self._sorted_counts())
        requests = self.client.statistics().requests
        done = f"{self.finished:3d}/{len(self.jobs)} finished"
        return f"{self.elapsed:5.1f} s  {done}  {requests:3d} requests  ({counts})"

    def __rich__(self) -> Group:
        """Return the state as a picture."""
        table = Table.grid(padding=(0, 2))
        for status, number in self._sorted_counts():
            colour = COLOURS.get(status, "blue")
            bar = ProgressBar(total=len(self.jobs), completed=number, width=40, complete_style=colour)
            table.add_row(Text(status, style=colour), f"{number:3d}", bar)
        statistics = self.client.statistics()
        total = Table.grid()
        total.add_row(ProgressBar(total=len(self.jobs), completed=self.finished, width=58))
        total.add_row(
            f"[bold]{self.finished} of {len(self.jobs)} finished   {self.elapsed:.0f} s   "
            f"{statistics.requests} requests   {statistics.in_flight} in flight"
        )
        return Group(table, Text(), total)

    def _sorted_counts(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda entry: ORDER.index(entry[0]))


async def follow(jobs: Sequence[up42.Job], board: Board, console: Console) -> None:
    """Track jobs to their end, showing how it goes."""
    printed = 0.0
    with Live(board, console=console, refresh_per_second=8, transient=True, auto_refresh=console.is_terminal):
        async for job in up42.track(jobs, wait=MINUTE).updates():
            board.note(job)
            if not console.is_terminal and board.elapsed >= printed + LINE_EVERY:
                printed = board.elapsed
                console.print(board.line(), highlight=False, soft_wrap=True)


def summarise(board: Board, console: Console) -> None:
    """Say what came of it, and what it cost in requests."""
    outcomes = Table(title=f"{len(board.jobs)} jobs in {board.elapsed:.0f} s", title_justify="left", show_edge=False)
    outcomes.add_column("outcome")
    outcomes.add_column("jobs", justify="right")
    outcomes.add_column("credits", justify="right")
    for status, number in board.counts.most_common():
        credits_used = sum(job.credits or 0 for job in board.jobs if job.status.value == status)
        outcomes.add_row(Text(status, style=COLOURS.get(status, "blue")), str(number), str(credits_used))
    console.print(outcomes)
    requests = board.client.statistics().requests
    console.print(
        f"\n{requests} requests in all; one GET a job and minute would have used {board.single_requests}"
        f" ({board.single_requests / requests:.0f} times as many).",
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


async def main(directory: Path) -> None:
    """Run the demo."""
    console = Console()
    async with Sandbox(speed=SPEED, seed=42) as sandbox:
        sandbox.seed_jobs(JOBS)
        console.print(f"An UP42 of our own at {sandbox.endpoints.api}, with {JOBS} jobs under way.\n", highlight=False)
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints) as client:
            jobs = [job async for job in up42.Job.all(sort_by=up42.JobSorting.created.asc)]
            board = Board(client, jobs)
            await follow(jobs, board, console)
            summarise(board, console)
            await bring_home([job for job in jobs if job.is_successful][:RESULTS], directory, console)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(main, Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            anyio.run(main, Path(place))
