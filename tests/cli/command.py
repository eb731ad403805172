"""Run the command `up42` on a sandbox: in this process, in one of its own, or on a terminal."""

import os
import pty
import select
import subprocess
import sys
import time
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


# gives the process the terminal that its Ctrl-C comes from
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "up42_async", *sys.argv[1:]])
"""
CTRL_C = b"\x03"


def on_a_terminal(
    sandbox: Sandbox, *words: str, press_at: str | None = None, more: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run the command on a pseudo-terminal; return its exit code and what it showed.

    Args:
        sandbox: Where to.
        words: The arguments of the command.
        press_at: Press Ctrl-C once these words are shown.
        more: More variables of its environment.
    """
    master, slave = pty.openpty()
    env = {**os.environ, **environment(sandbox), "TERM": "xterm", "COLUMNS": "100", "LINES": "30", **(more or {})}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _TAKE_TERMINAL, *words],
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        ready, _, _ = select.select([master], [], [], 0.1)
        try:
            piece = os.read(master, 65_536) if ready else b""
        except OSError:  # the command has closed its side
            break
        shown += piece
        if press_at is not None and press_at.encode() in shown:
            os.write(master, CTRL_C)
            press_at = None
        if not ready and process.poll() is not None:
            break
    code = process.wait(timeout=20)
    os.close(master)  # not before: it would hang up on the command
    return code, shown.decode(errors="replace")
