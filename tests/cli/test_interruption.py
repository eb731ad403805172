"""Ctrl-C at any moment: exit code 130, no traceback, and the jobs under way named."""

import array
import fcntl
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO

import pytest

from tests.cli.command import on_a_terminal, started
from up42_async.sandbox import Sandbox, faults

pytestmark = pytest.mark.slow  # each test starts the command in a process of its own

# Stands for Ctrl-C while a module is loaded; the command goes on as if it had come from the terminal.
INTERRUPTED_AT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["up42", "--version"]
"""
BY_NAME = "from _up42_command import main; main()"
AS_A_MODULE = "sys.orig_argv = ['python', '-m', 'up42_async']; sys.argv = ['-m']; import up42_async"


@pytest.mark.parametrize("entry", [BY_NAME, AS_A_MODULE], ids=["up42", "python -m"])
@pytest.mark.parametrize("name", ["up42_async._client", "httpx", "pystac"])
def test_ctrl_c_while_the_package_is_imported_exits_with_130(entry: str, name: str) -> None:
    code = INTERRUPTED_AT.format(name=name) + entry
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("name", ["typer", "rich.table", "up42_async.cli.jobs"])
def test_ctrl_c_while_the_command_is_imported_exits_with_130(name: str) -> None:
    code = INTERRUPTED_AT.format(name=name) + BY_NAME
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ctrl_c_before_the_first_request_names_the_given_jobs() -> None:
    start = INTERRUPTED_AT.format(name="anyio._backends._asyncio")
    code = f"{start}\nsys.argv = ['up42', 'jobs', 'track', 'one', 'two']; {BY_NAME}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    said = "up42: interrupted; these jobs may be under way at UP42: one two\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_ctrl_c_after_the_work_keeps_its_exit_code() -> None:
    code = "import atexit, os, signal, sys; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))"
    entry = f"{code}; sys.argv = ['up42', '--version']; {BY_NAME}"
    done = subprocess.run([sys.executable, "-c", entry], capture_output=True, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"up42-async ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("jobs", "track", "{id}"), "up42: interrupted; 1 job is still under way at UP42: {id}"),
        (
            ("jobs", "download", "{id}", "-d", "{directory}"),
            "up42: interrupted; the same command downloads what is missing of {id}",
        ),
        (("jobs", "list"), ""),
        (("balance",), ""),
    ],
    ids=["track", "download", "list", "balance"],
)
def test_ctrl_c_during_a_slow_login_exits_with_130(
    sandbox: Sandbox, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (id_,) = sandbox.seed_jobs(1, status="running")
    login = sandbox.faults.add(faults.Hang(), path=faults.LOGIN)
    with started(sandbox, *(word.format(id=id_, directory=tmp_path) for word in words)) as process:
        wait_for_login(sandbox)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip(), login.hits) == (130, "", said.format(id=id_), 1)


def wait_for_login(sandbox: Sandbox) -> None:
    until = time.monotonic() + 30
    while not sandbox.count("POST") and time.monotonic() < until:
        time.sleep(0.01)


def test_ctrl_c_on_a_terminal_names_the_jobs_that_continue(sandbox: Sandbox) -> None:
    (id_,) = sandbox.seed_jobs(1, status="running")
    code, shown = on_a_terminal(sandbox, "jobs", "track", id_, press_at="0 of 1 finished")
    assert code == 130
    assert "Traceback" not in shown
    assert f"1 job is still under way at UP42: {id_}" in shown


def test_ctrl_c_pressed_several_times_exits_with_130(sandbox: Sandbox) -> None:
    (id_,) = sandbox.seed_jobs(1, status="running")
    with started(sandbox, "jobs", "track", id_) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == f"up42: interrupted; 1 job is still under way at UP42: {id_}\n"


def wait_until_read(pipe: IO[str]) -> None:
    """Wait until the other end has taken what was written."""
    until, unread = time.monotonic() + 30, array.array("i", [1])
    while unread[0] and time.monotonic() < until:
        time.sleep(0.01)
        fcntl.ioctl(pipe, termios.FIONREAD, unread)


def test_ctrl_c_ends_the_wait_for_ids_on_stdin(sandbox: Sandbox) -> None:
    with started(sandbox, "jobs", "track", "-") as process:
        assert process.stdin is not None
        process.stdin.write("11111111-1111-1111-1111-111111111111\n")
        process.stdin.flush()
        wait_until_read(process.stdin)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "")
