"""Run the command `up42` on a sandbox, in this process or in one of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping

from typer.testing import CliRunner, Result

from up42_async.cli.application import app
from up42_async.sandbox import Sandbox


def environment(sandbox: Sandbox) -> dict[str, str]:
    """Return the variables that point the command at a sandbox."""
    return {
        "UP42_USERNAME": sandbox.credentials["username"],
        "UP42_PASSWORD": sandbox.credentials["password"],
        "UP42_API_URL": sandbox.endpoints.api,
        "UP42_AUTH_URL": sandbox.endpoints.auth,
        "UP42_WAIT": str(sandbox.settings["polling"].wait),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def run(sandbox: Sandbox, *words: str, stdin: str = "", more: Mapping[str, str] | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, list(words), input=stdin, env={**environment(sandbox), **(more or {})})


def started(sandbox: Sandbox, *words: str) -> "subprocess.Popen[str]":
    """Start the command in a process of its own, with pipes for what it reads and writes."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "up42_async", *words],
        env={**os.environ, **environment(sandbox)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
