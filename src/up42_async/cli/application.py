"""All commands, and the options given before them."""

from pathlib import Path
from typing import Annotated, Final

import typer

import up42_async as up42
from up42_async.cli import account, jobs, local, runs, storage
from up42_async.cli.settings import Region, Settings

app: Final = typer.Typer(
    help="Price and run UP42 processes, track jobs, and download results. Only `up42 run` spends credits.",
    epilog="Credentials come from UP42_USERNAME and UP42_PASSWORD, or from --cfg-file. Without an account, begin with"
    " `up42 sandbox`. Exit codes: 0 good, 1 a job or UP42 failed, 2 wrong usage, 130 Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables
)
app.add_typer(account.auth, name="auth")
app.add_typer(account.processes, name="processes")
app.add_typer(jobs.app, name="jobs")
app.command("run")(runs.run_process)
app.add_typer(runs.journal, name="journal")
app.add_typer(storage.assets, name="assets")
app.add_typer(storage.items, name="items")
app.command("balance")(account.balance)
app.add_typer(account.budgets, name="budgets")
app.command("sandbox")(local.sandbox)
app.command("completion")(local.completion)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"up42-async {up42.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    cfg_file: Annotated[
        Path | None,
        typer.Option(
            envvar="UP42_CFG_FILE", help='JSON file with the credentials: {"username": "...", "password": "..."}.'
        ),
    ] = None,
    region: Annotated[Region, typer.Option(envvar="UP42_REGION", help="Region of the account.")] = Region.EU,
    workspace: Annotated[
        str | None,
        typer.Option(envvar="UP42_WORKSPACE_ID", help="Id of the workspace in which jobs are created and listed."),
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(envvar="UP42_API_URL", help="Address of another API, such as that of a sandbox; needs --auth."),
    ] = None,
    auth: Annotated[
        str | None, typer.Option(envvar="UP42_AUTH_URL", help="Address of another login; needs --api.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors on stderr.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show each request on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has printed it
    context.obj = Settings(
        cfg_file=cfg_file, region=region, workspace_id=workspace, api=api, auth=auth, quiet=quiet, verbose=verbose
    )
