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

COLUMNS: Final = ("jobID", "processID", "status", "title", "credits", "created", "finished")

OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to write the rows.")]
SuitedOutputOption = Annotated[
    Format | None,
    typer.Option("--output", "-o", help="How to write the rows: by default a table on a terminal, NDJSON elsewhere."),
]
WaitOption = Annotated[
    str | None, typer.Option(envvar="UP42_WAIT", help="Seconds (or 10s, 2m) between two queries, or `adaptive`.")
]
IdsArgument = Annotated[list[str], typer.Argument(help="Job ids, or - to read them from stdin.", metavar="ID...|-")]


def row_of(job: up42.Job) -> dict[str, Any]:
    """Return a job as UP42 sends it, with its title and credits at hand for tables."""
    return {**job.to_metadata(), "title": job.definition.get("inputs", {}).get("title"), "credits": job.credits}


@app.command("list")
def list_jobs(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option(help="Only these statuses; may be given several times.")] = None,
    process: Annotated[list[str] | None, typer.Option(help="Only these processes; may be given several times.")] = None,
    since_: Annotated[
        str | None, typer.Option("--since", help="Only jobs created since: a period (7d, 12h) or an ISO date.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at the most.")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """List jobs, the newest first; one request for every 500."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        earliest = None if since_ is None else since(since_, dt.datetime.now(dt.UTC))
        workspace_id = settings.workspace_id
        found = up42.Job.all(
            process_id=process,
            workspace_id=workspace_id,
            status=statuses_of(status or ()),
            sort_by=up42.JobSorting.created.desc,
            page_size=None if limit is None else min(limit, 500),
            client=client,
        )
        jobs = found if earliest is None else _Since(found, earliest)
        await write_all(jobs, output, row=row_of, columns=COLUMNS, limit=limit)
        return GOOD

    run(settings, work)


class _Since(AsyncIterator[up42.Job]):
    """The jobs of a list, newest first, down to a moment."""

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
        rows = [row_of(job) async for job in up42.Job.all(ids=wanted, client=client)]
        write(rows, output, columns=COLUMNS)
        missing = [id_ for id_ in wanted if id_ not in {row["jobID"] for row in rows}]
        for id_ in missing:
            typer.echo(f"up42: there is no job {id_} in this account", err=True)
        return FAILED if missing else GOOD

    run(settings, work)


@app.command("track")
def track_jobs(
    context: typer.Context,
    ids: IdsArgument,
    wait: WaitOption = None,
    timeout: Annotated[str | None, typer.Option(help="Stop after a period such as 90s, 2h, 1d.")] = None,
    until: Annotated[list[str] | None, typer.Option(help="Also stop at these statuses, such as running.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first job that fails.")] = False,
) -> None:
    """Wait until jobs are finished: a live board on a terminal, else a line of NDJSON for each change.

    Ends with 0 when all jobs were successful (or reached a status of --until), and with 1 otherwise.
    """
    settings: Settings = context.obj
    with reporting():
        wanted = ids_of(ids)
        stops = statuses_of(until or ()) or []
        schedule = schedule_of(wait)
    named = f"up42: interrupted; these jobs may be under way at UP42: {' '.join(wanted)}"
    interruption = Interruption(lambda: named)  # until it is known how they are doing

    async def work(client: up42.Client) -> int:
        board = shows_board(settings)
        tracker = up42.track(wanted, wait=schedule, until=stops or None, bar=board, client=client)
        interruption.words = lambda: _still_under_way(tracker)
        with anyio.move_on_after(None if timeout is None else seconds_of(timeout)) as scope:
            try:
                async for job in tracker if board else tracker.updates():
                    if not board:
                        write_line(row_of(job))
                    if fail_fast and _has_failed(job, stops):
                        break
            except up42.UnfinishedJob as error:
                typer.echo(f"up42: {error}", err=True)
        if scope.cancelled_caught:
            say(f"up42: the time is up; {_still_under_way(tracker)}", settings)
        good = not tracker.unfinished and not any(_has_failed(job, stops) for job in tracker.finished)
        return GOOD if good else FAILED

    run(settings, work, interruption)


def shows_board(settings: Settings) -> bool:
    """Return whether to show people a board, and not lines to a program."""
    return sys.stdout.isatty() and not settings.quiet


def _has_failed(job: up42.Job, stops: list[up42.JobStatus]) -> bool:
    """Return whether a job has ended without a result, and not at a status at which the caller wished to stop."""
    return job.is_finished and not job.is_successful and job.status not in stops


def _still_under_way(tracker: up42.JobTracker) -> str:
    ids = [job if isinstance(job, str) else job.id for job in tracker.unfinished]
    return f"{counted(len(ids), 'still under way')} at UP42: {' '.join(ids)}" if ids else "all jobs are finished"


@app.command("download")
def download_jobs(
    context: typer.Context,
    ids: IdsArgument,
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Where the files go, a directory a job.")],
    key: Annotated[list[str] | None, typer.Option(help="Only assets with these keys.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only assets with one of these roles, such as data.")] = None,
    media_type: Annotated[list[str] | None, typer.Option(help="Only these media types, such as image/tiff.")] = None,
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack archives.")] = False,
    output: SuitedOutputOption = None,
) -> None:
    """Bring the files of jobs home, each whole or not at all; the same line again fetches only what is missing."""
    settings: Settings = context.obj
    format_ = suited(output)
    with reporting():
        wanted = ids_of(ids)

    words = f"up42: interrupted; {' '.join(wanted)}: the same line fetches what is missing"

    async def work(client: up42.Client) -> int:
        jobs = [job async for job in up42.Job.all(ids=wanted, client=client)]
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
        return FAILED if any(file.error is not None for file in batch.results) else GOOD

    run(settings, work, Interruption(lambda: words))


def _row_of_file(file: up42.ResultFile) -> dict[str, Any]:
    unpacked = [str(path) for path in file.unpacked]
    return {"jobID": file.job_id, "key": file.key, "path": str(file.path), "unpacked": unpacked}
