"""`up42 sandbox` and `up42 completion`: what needs no account."""

import enum
import importlib.util
import time
from typing import Annotated, Any

import typer

from up42_async.cli.running import USAGE, Interruption, reporting


class Shell(enum.StrEnum):
    """Shells that completion can be printed for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; a free one when left out.")] = 0,
    speed: Annotated[float, typer.Option(help="Sandbox seconds for each real second.")] = 60.0,
    jobs: Annotated[int, typer.Option(min=0, help="How many jobs it begins with.")] = 20,
    assets: Annotated[int, typer.Option(min=0, help="How many assets it begins with, beside the reference's.")] = 0,
    export: Annotated[
        bool, typer.Option("--export", help="Print shell lines that point `up42` at it, for another terminal.")
    ] = False,
) -> None:
    """Run an UP42 of your own on this machine until Ctrl-C; nothing there costs anything."""
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        typer.echo("up42: the sandbox needs its server; pip install 'up42-async[sandbox]'", err=True)
        raise typer.Exit(USAGE)
    from up42_async.sandbox import Sandbox  # the extra may be missing

    with reporting(Interruption(lambda: "the sandbox has ended")):
        running = Sandbox(port=port, speed=speed)
        try:
            running.start()
        except OSError as error:
            raise ValueError(str(error)) from None
        try:
            running.seed_jobs(jobs)
            running.add_assets(assets)
            for line in _exports(running):
                typer.echo(line)
            if not export:
                typer.echo("an UP42 of your own is running; paste these lines into another terminal", err=True)
            typer.echo("Ctrl-C ends it", err=True)
            while True:
                time.sleep(3600)
        finally:
            running.stop()


def _exports(running: Any) -> list[str]:
    variables = {
        "UP42_USERNAME": running.credentials["username"],
        "UP42_PASSWORD": running.credentials["password"],
        "UP42_API_URL": running.endpoints.api,
        "UP42_AUTH_URL": running.endpoints.auth,
        "UP42_WAIT": f"{running.settings['polling'].wait:g}",
    }
    return [f"export {name}='{value}'" for name, value in variables.items()]


def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell.")],
) -> None:
    """Print what makes a shell complete `up42`; append it to ~/.bashrc, ~/.zshrc or the like."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    typer.echo(get_completion_script(prog_name="up42", complete_var="_UP42_COMPLETE", shell=shell.value))
