"""`up42 sandbox` and `up42 completion`: the commands that need no account."""

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
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    speed: Annotated[
        float, typer.Option(help="Sandbox seconds for each real second, above 0: at 60 an hour takes a minute.")
    ] = 60.0,
    jobs: Annotated[int, typer.Option(min=0, help="Number of jobs at the start, all under way.")] = 20,
    assets: Annotated[
        int, typer.Option(min=0, help="Number of assets at the start, besides the one of the examples.")
    ] = 0,
    export: Annotated[bool, typer.Option("--export", help="Print only the export lines and how to end it.")] = False,
) -> None:
    """Run a sandbox, a local server that behaves like UP42, until Ctrl-C; nothing there costs credits.

    It prints export lines. Pasted into another terminal, they make `up42` use the sandbox there.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        typer.echo("up42: the sandbox needs starlette and uvicorn; pip install 'up42-async[sandbox]'", err=True)
        raise typer.Exit(USAGE)
    from up42_async.sandbox import Sandbox  # not before it is known that the extra is installed

    with reporting(Interruption(lambda: "up42: the sandbox has ended")):
        running = Sandbox(port=port, speed=speed)
        try:
            running.start()
        except OSError as error:
            raise ValueError(error.strerror) from None
        try:
            running.seed_jobs(jobs)
            running.add_assets(assets)
            for line in _exports(running):
                typer.echo(line)
            if not export:
                typer.echo("up42: the sandbox is running; paste these lines into another terminal", err=True)
            typer.echo("up42: Ctrl-C ends it", err=True)
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
    shell: Annotated[Shell, typer.Argument(help="The shell to complete for.")],
) -> None:
    """Print the script that lets a shell complete `up42`: append it to ~/.bashrc or ~/.zshrc."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    typer.echo(get_completion_script(prog_name="up42", complete_var="_UP42_COMPLETE", shell=shell.value))
