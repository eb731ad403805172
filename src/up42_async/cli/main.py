"""The command `up42` where its extra may be missing."""

import importlib.util
import sys


def main() -> None:
    """Run the command `up42` with the arguments of the process, and end the process with its exit code."""
    if importlib.util.find_spec("typer") is None:
        sys.stderr.write("up42: the command needs typer; pip install 'up42-async[cli]'\n")
        raise SystemExit(2)
    from up42_async.cli.application import app

    app(prog_name="up42")
