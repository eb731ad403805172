"""`up42 auth`, `up42 processes`, `up42 balance` and `up42 budgets`."""

from typing import Annotated, Any, Final

import attrs
import typer

import up42_async as up42
from up42_async._client import display
from up42_async.cli.jobs import OutputOption
from up42_async.cli.output import Format, write, write_all, write_one
from up42_async.cli.running import GOOD, run, say
from up42_async.cli.settings import Settings

auth: Final = typer.Typer(help="Check credentials.", no_args_is_help=True)
processes: Final = typer.Typer(help="List processes; show the inputs and the price of one.", no_args_is_help=True)
budgets: Final = typer.Typer(help="List budgets.", no_args_is_help=True)

_EULA: Final = {None: "none", False: "not accepted: accept it in the UP42 console", True: "accepted"}


def row_of(value: Any) -> dict[str, Any]:
    """Return the public fields of a value by name."""
    row: dict[str, Any] = attrs.asdict(value, filter=lambda field, _: not field.name.startswith("_"))
    return row


@auth.command("check")
def check(context: typer.Context) -> None:
    """Log in, and print the id of the workspace in which jobs are created; 3 requests."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        typer.echo(await client.workspace_id())
        await client.balance()  # the API itself accepts the token, too
        say("up42: the credentials are accepted", settings)
        return GOOD

    run(settings, work)


@processes.command("list")
def list_processes(context: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """List the processes that can be run."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        await write_all(up42.Process.all(client=client), output, row=row_of, columns=("id", "title", "description"))
        return GOOD

    run(settings, work)


@processes.command("show")
def show_process(
    context: typer.Context,
    process: Annotated[str, typer.Argument(help="Process id, such as detection-trees-spacept.")],
    output: OutputOption = Format.JSON,
) -> None:
    """Show one process: its inputs with their schema, its price in credits, and its EULA."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        found = await up42.Process.get(process, client=client)
        if output is Format.TABLE:
            _show(found)
        else:
            write_one(row_of(found), output)
        return GOOD

    run(settings, work)


def _show(process: up42.Process) -> None:
    """Write two tables: the process, and its inputs; JSON has the whole schema of each input."""
    shown = {
        "id": process.id,
        "title": process.title,
        "description": process.description,
        "price": ", ".join(map(_price, process.prices)),
        "EULA": _EULA[process.eula_accepted],
    }
    write_one(shown, Format.TABLE)
    typer.echo()
    inputs = [
        {
            "input": one.name,
            "type": one.schema.get("type"),
            "required": "yes" if one.is_required else "no",
            "description": one.description,
        }
        for one in process.inputs.values()
    ]
    write(inputs, Format.TABLE, columns=("input", "type", "required", "description"))


def _price(price: up42.ProcessPrice) -> str:
    per_unit = f" per {price.unit}" if price.unit else ""
    return f"{display.counted(price.credits, 'credit')}{per_unit}"


def balance(context: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show how many credits the account has left."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        write_one(row_of(await client.balance()), output)
        return GOOD

    run(settings, work)


@budgets.command("list")
def list_budgets(
    context: typer.Context,
    usage: Annotated[bool, typer.Option("--usage", help="Also show the credits used of each, and those left.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the budgets of the account."""
    settings: Settings = context.obj

    async def work(client: up42.Client) -> int:
        found = up42.Budget.all(include_usage=usage, client=client)
        columns = ("id", "name", "status", "spend_limit", *(("consumed_credits", "remaining_credits") if usage else ()))
        if not await write_all(found, output, row=row_of, columns=columns):
            say("up42: the account has no budgets", settings)
        return GOOD

    run(settings, work)
