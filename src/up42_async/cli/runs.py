"""`up42 run` and `up42 journal`: execute each item once, and show what a run has executed."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import typer

import up42_async as up42
from up42_async import processing_templates
from up42_async._client import display
from up42_async.cli.arguments import pairs_of, schedule_of
from up42_async.cli.jobs import OutputOption, SuitedOutputOption, WaitOption
from up42_async.cli.output import Format, suited, write, write_line
from up42_async.cli.run_items import templates_of
from up42_async.cli.running import FAILED, GOOD, USAGE, Interruption, counted, reporting, run, run_without_client, say
from up42_async.cli.settings import Settings

journal: Final = typer.Typer(help="Show what a run has executed and spent.", no_args_is_help=True)

COLUMNS: Final = ("title", "jobID", "status", "credits", "error")
ENTRIES: Final = ("title", "process_id", "state", "job_id", "status", "credits", "error")
PRICES: Final = ("title", "credits", "error")
_UNDER_WAY: Final = frozenset({"executing", "running"})


def run_process(
    context: typer.Context,
    process: Annotated[str, typer.Argument(help="Process id, such as detection-trees-spacept.")],
    items: Annotated[
        str,
        typer.Option(
            help="File with items, or - for stdin: a URL a line, JSON, NDJSON, GeoJSON, or CSV with a column `item`."
        ),
    ],
    journal_: Annotated[
        Path | None,
        typer.Option(
            "--journal", help="File that records the run, so that the same command goes on; required unless --dry-run."
        ),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Input of all executions, name=value; repeat it for several.")
    ] = None,
    max_credits: Annotated[
        float | None,
        typer.Option(min=0, help="Credits that the whole run may spend; required unless --yes or --dry-run."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Spend credits without a limit.")] = False,
    wait: WaitOption = None,
    max_running: Annotated[
        int | None, typer.Option(min=1, help="At most this many jobs under way at UP42 at once; no limit by default.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", help="Directory for the results; without it they are not downloaded."),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Id of the budget that the executions count against.")] = None,
    retry_uncertain: Annotated[
        bool,
        typer.Option("--retry-uncertain", help="Execute again what may have been executed; it may cost credits twice."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Execute again what ended without a result; costs credits anew.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only validate and price; nothing is executed and no credits are spent.")
    ] = False,
    output: SuitedOutputOption = None,
) -> None:
    """Execute a process on many items, each once, and wait for the results. This spends credits.

    After an interruption or a crash, the same command goes on where it stopped, and executes nothing twice.
    """
    settings: Settings = context.obj
    format_ = suited(output)
    if not dry_run and max_credits is None and not yes:
        typer.echo(
            "up42: this spends credits; give --max-credits N, or --yes for no limit, or --dry-run for the price",
            err=True,
        )
        raise typer.Exit(USAGE)
    if not dry_run and journal_ is None:
        typer.echo("up42: give --journal FILE, so that the run can go on if it is interrupted", err=True)
        raise typer.Exit(USAGE)
    interruption = Interruption(lambda: _under_way(journal_))

    with reporting(interruption):
        schedule = schedule_of(wait)
        templates = templates_of(process, items, pairs_of(param or ()), settings.workspace_id)

    async def work(client: up42.Client) -> int:
        if dry_run:
            return await _price(client, templates, format_, settings)
        batch = up42.pipeline(
            templates,
            directory,
            journal=journal_,
            max_credits=max_credits,
            max_running=max_running,
            wait=schedule,
            budget_id=budget,
            retry_uncertain=retry_uncertain,
            retry_failed=retry_failed,
            bar=sys.stderr.isatty() and not settings.quiet,
            client=client,
        )
        rows = []
        async with batch as results:
            async for result in results:
                rows.append(_row_of(result))
                if format_ is Format.NDJSON:
                    write_line(rows[-1])
        if format_ is not Format.NDJSON:
            write(rows, format_, columns=COLUMNS)
        say(f"up42: {_counted(batch.counts)}; {display.counted(batch.spent, 'credit')} spent", settings)
        return FAILED if any(row["error"] is not None or row["failed"] for row in rows) else GOOD

    run(settings, work, interruption)


async def _price(
    client: up42.Client, templates: Sequence[processing_templates.JobTemplate], output: Format, settings: Settings
) -> int:
    rows: list[dict[str, Any]] = []
    for template in await up42.evaluate(templates, client=client):
        reasons = "; ".join(sorted(f"{error.name}: {error.message}" for error in template.errors)) or None
        credits_ = template.cost.credits if template.is_valid else None
        rows.append({"title": template.inputs.get("title"), "credits": credits_, "error": reasons})
    write(rows, output, columns=PRICES)
    total = sum(row["credits"] or 0 for row in rows)
    balance = await client.balance()
    say(
        f"up42: {display.counted(total, 'credit')} in all; the account has {balance.credits:,}. Nothing was executed",
        settings,
    )
    return FAILED if any(row["error"] for row in rows) else GOOD


def _row_of(result: up42.PipelineResult[Any]) -> dict[str, Any]:
    job = result.job
    return {
        "title": result.template.inputs.get("title"),
        "jobID": None if job is None else job.id,
        "status": None if job is None else job.status.value,
        "credits": None if job is None else job.credits,
        "failed": job is None or not job.is_successful,
        "files": [str(file.path) for file in result.files if file.path is not None],
        "error": None if result.error is None else str(result.error),
    }


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing was done"


def _under_way(path: Path | None) -> str:
    """Return what the journal says is still under way at UP42 after an interruption."""
    if path is None or not path.exists():
        return "up42: interrupted; nothing was executed"
    with up42.Journal(path) as opened:
        entries = [entry for entry in opened.entries() if entry.state in _UNDER_WAY]
    jobs = [entry.job_id for entry in entries if entry.job_id is not None]
    unknown = len(entries) - len(jobs)
    lost = f"; whether {display.counted(unknown, 'more execution')} reached UP42 is not known yet" if unknown else ""
    names = f": {' '.join(jobs)}" if jobs else ""
    going_on = f"{counted(len(jobs), 'under way')} at UP42{names}{lost}"
    return f"up42: interrupted; {going_on}. The same command goes on from {path}"


@journal.command("show")
def show(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File of the journal.")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Show the executions of a run, their states and the credits spent, also while it is running; no requests."""
    settings: Settings = context.obj

    async def work() -> int:
        if not file.exists():
            raise ValueError(f"there is no journal {file}; give the FILE of `up42 run --journal FILE`")
        with up42.Journal(file) as opened:
            entries, spent, counts = opened.entries(), opened.spent, opened.counts
        rows = [{"title": entry.inputs.get("title"), **attrs.asdict(entry)} for entry in entries]
        write(rows, output, columns=ENTRIES)
        say(f"up42: {_counted(counts)}; {display.counted(spent, 'credit')} spent", settings)
        return GOOD

    run_without_client(settings, work)
