"""`up42 jobs`: list, get, track and download."""

import datetime as dt
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer

import up42_async as up42
from up42_async.cli.arguments import ids_of, schedule_of, seconds_of, since, statuses_of
from up42_async.cli.output import Format, suited, write, write_all, write_line
from up42_async.cli.running import FAILED, GOOD, Interruption, counted, reporting, run, say
from up42_async.cli.settings import Settings

app: Final = typer.Typer(help="List, get, track and download jobs.", no_args_is_help=True)

COLUMNS: Final = ("jobID", "status", "processID", "title", "credits", "created", "finished")

OutputOption = Annotated[Format, typer.Option("--output", "-o", help="Format of the rows on stdout.")]
SuitedOutputOption = Annotated[
    Format | None,
    typer.Option(
        "--output", "-o", help="Format of the rows on stdout; by default a table on a terminal, NDJSON elsewhere."
    ),
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        envvar="UP42_WAIT",
        help="Time between two queries (10s, 2m), or `adaptive`: by the age of the jobs; 60s by default.",
    ),
]
IdsArgument = Annotated[
    list[str], typer.Argument(help="Job ids; - reads them from stdin, also from jobs as JSON.", metavar="ID...|-")
]


def row_of(job: up42.Job) -> dict[str, Any]:
    """Return a job as UP42 sends it, with its title and credits added for tables."""
    return {**job.to_metadata(), "title": job.definition.get("inputs", {}).get("title"), "credits": job.credits}


@app.command("list")
def list_jobs(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option(help="Only jobs with this status; repeat it for several.")] = None,
    process: Annotated[
        list[str] | None, typer.Option(help="Only jobs of this process id; repeat it for several.")
    ] = None,
    since_: Annotated[
        str | None, typer.Option("--since", help="Only jobs created since a period ago (12h, 7d) or an ISO date.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many jobs; all by default.")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """List jobs, the newest first; one request for every 500."""
    settings: Settings = context.obj
    with reporting():
        earliest = None if since_ is None else since(since_, dt.datetime.now(dt.UTC))
        statuses = statuses_of(status or ())

    async def work(client: up42.Client) -> int:
        found = up42.Job.all(
            process_id=process,
            workspace_id=settings.workspace_id,
            status=statuses,
            sort_by=up42.JobSorting.created.desc,
            page_size=None if limit is None else min(limit, 500),
            client=client,
        )
        jobs = found if earliest is None else _Since(found, earliest)
        if not await write_all(jobs, output, row=row_of, columns=COLUMNS, limit=limit):
            say("up42: no jobs match", settings)
        return GOOD

    run(settings, work)


class _Since(AsyncIterator[up42.Job]):
    """The jobs of a list, the newest first, until one was created before `earliest`."""

    def __init__(self, jobs: AsyncIterator[up42.Job], earliest: dt.datetime) -> None:
        self._jobs = jobs
        self._earliest = earliest

    async def __anext__(self) -> up42.Job:
        job = await anext(self._jobs)
        if isinstance(job.created, dt.datetime) and job.created < self._earliest:  # None where it cannot be read
            raise StopAsyncIteration
        return job


@app.command("get")
def get_jobs(context: typer.Context, ids: IdsArgument, output: OutputOption = Format.JSON) -> None:
    """Get jobs by their ids; one request for every 100."""
    settings: Settings = context.obj
    with reporting():
        wanted = ids_of(ids)

    async def work(client: up42.Client) -> int:
        jobs = await _found(wanted, client)
        write(map(row_of, jobs), output, columns=COLUMNS)
        return GOOD if len(jobs) == len(wanted) else FAILED

    run(settings, work)


async def _found(ids: list[str], client: up42.Client) -> list[up42.Job]:
    """Return the jobs that exist, and name the other ids on stderr."""
    jobs = [job async for job in up42.Job.all(ids=ids, client=client)]
    for id_ in ids:
        if id_ not in {job.id for job in jobs}:
            typer.echo(f"up42: there is no job {id_} in this account", err=True)
    return jobs


@app.command("track")
def track_jobs(
    context: typer.Context,
    ids: IdsArgument,
    wait: WaitOption = None,
    timeout: Annotated[
        str | None, typer.Option(help="Stop after a period such as 90s, 2h or 1d; the jobs go on at UP42.")
    ] = None,
    until: Annotated[
        list[str] | None, typer.Option(help="Also count this status as the end of a job; repeat it for several.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop tracking when the first job fails; the others go on at UP42.")
    ] = False,
) -> None:
    """Wait until jobs are finished: a live board on a terminal, else a line of NDJSON for each change.

    The exit code is 0 when all jobs were successful (or reached a status of --until), and 1 otherwise.
    """
    settings: Settings = context.obj
    with reporting():
        wanted = ids_of(ids)
        stops = statuses_of(until or ()) or []
        schedule, seconds = schedule_of(wait), None if timeout is None else seconds_of(timeout)
    named = f"up42: interrupted; these jobs may be under way at UP42: {' '.join(wanted)}"
    interruption = Interruption(lambda: named)  # until the first answer

    async def work(client: up42.Client) -> int:
        board = shows_board(settings)
        tracker = up42.track(wanted, wait=schedule, until=stops or None, bar=board, client=client)
        interruption.words = lambda: f"up42: interrupted; {_still_under_way(tracker)}"
        with anyio.move_on_after(seconds) as scope:
            try:
                async for job in tracker if board else tracker.updates():
                    if not board:
                        write_line(row_of(job))
                    if fail_fast and _has_failed(job, stops):
                        break
            except up42.UnfinishedJob as error:
                for id_, reason in error.reasons.items():
                    typer.echo(f"up42: job {id_}: {reason}", err=True)
        if scope.cancelled_caught:
            say(f"up42: stopped after {timeout}; {_still_under_way(tracker)}", settings)
        good = not tracker.unfinished and not any(_has_failed(job, stops) for job in tracker.finished)
        return GOOD if good else FAILED

    run(settings, work, interruption)


def shows_board(settings: Settings) -> bool:
    """Return whether to show a board: on a terminal, unless `--quiet` is given."""
    return sys.stdout.isatty() and not settings.quiet


def _has_failed(job: up42.Job, stops: list[up42.JobStatus]) -> bool:
    """Return whether a job has ended without a result and not at a status of `--until`."""
    return job.is_finished and not job.is_successful and job.status not in stops


def _still_under_way(tracker: up42.JobTracker) -> str:
    ids = [job if isinstance(job, str) else job.id for job in tracker.unfinished]
    return f"{counted(len(ids), 'still under way')} at UP42: {' '.join(ids)}" if ids else "all jobs are finished"


@app.command("download")
def download_jobs(
    context: typer.Context,
    ids: IdsArgument,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="Directory for the files; each job gets a directory in it.")
    ],
    key: Annotated[list[str] | None, typer.Option(help="Only the asset with this key; repeat it for several.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="Only assets with this role, such as data; repeat it for several.")
    ] = None,
    media_type: Annotated[
        list[str] | None,
        typer.Option(help="Only assets of this media type, such as image/tiff; repeat it for several."),
    ] = None,
    unpack: Annotated[bool, typer.Option("--unpack", help="Also unpack zip and tgz archives.")] = False,
    output: SuitedOutputOption = None,
) -> None:
    """Download the results of jobs, each file complete or not at all; the same command downloads what is missing."""
    settings: Settings = context.obj
    format_ = suited(output)
    with reporting():
        wanted = ids_of(ids)

    words = f"up42: interrupted; the same command downloads what is missing of {' '.join(wanted)}"

    async def work(client: up42.Client) -> int:
        jobs = await _found(wanted, client)
        bar = sys.stderr.isatty() and not settings.quiet
        batch = up42.download(
            jobs, directory, keys=key, roles=role, media_types=media_type, unpack=unpack, bar=bar, client=client
        )
        async with batch as files:
            async for file in files:
                if file.error is not None:
                    typer.echo(f"up42: job {file.job_id}: {file.error}", err=True)
                elif format_ is Format.NDJSON:
                    write_line(_row_of_file(file))
        if format_ is not Format.NDJSON:
            here = [_row_of_file(file) for file in batch.results if file.error is None]
            write(here, format_, columns=("jobID", "key", "path"))
        complete = len(jobs) == len(wanted) and all(file.error is None for file in batch.results)
        return GOOD if complete else FAILED

    run(settings, work, Interruption(lambda: words))


def _row_of_file(file: up42.ResultFile) -> dict[str, Any]:
    unpacked = [str(path) for path in file.unpacked]
    return {"jobID": file.job_id, "key": file.key, "path": str(file.path), "unpacked": unpacked}
