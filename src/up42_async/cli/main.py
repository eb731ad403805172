"""The entry point of the command `up42`."""

import importlib.util
import sys


def main() -> None:
    """Run the command `up42` with the arguments of the process, and end the process with its exit code."""
    if importlib.util.find_spec("typer") is None:
        sys.stderr.write("up42: the command needs typer; pip install 'up42-async[cli]'\n")
        raise SystemExit(2)
    try:
        from up42_async.cli.application import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    app(prog_name="up42")
