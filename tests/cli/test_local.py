"""`up42 sandbox`, `up42 completion`, and the command without its extras."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.command import on_a_terminal, run
from up42_async.cli import main
from up42_async.cli.application import app
from up42_async.sandbox import Sandbox

UP42 = [sys.executable, "-m", "up42_async"]


@pytest.mark.parametrize("export", [[], ["--export"]])
def test_a_sandbox_prints_what_points_another_terminal_at_it(export: list[str]) -> None:
    with subprocess.Popen(  # noqa: S603
        [*UP42, "sandbox", "--speed", "600", "--jobs", "2", *export],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        exports = dict(line.removeprefix("export ").rstrip().replace("'", "").split("=", 1) for line in lines)
        env = {**os.environ, **exports}
        listed = subprocess.run([*UP42, "jobs", "list", "-o", "json"], env=env, capture_output=True, check=False)  # noqa: S603
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert len(json.loads(listed.stdout)) == 2
    assert process.returncode == 130
    assert said.endswith("the sandbox has ended\n")
    assert ("paste these lines" in said) is not bool(export)


def test_a_port_that_is_taken_is_wrong_usage(sandbox: Sandbox) -> None:
    port = sandbox.endpoints.api.rpartition(":")[2]
    done = run(sandbox, "sandbox", "--port", port)
    assert done.exit_code == 2
    assert done.stderr.startswith("up42: ")


def test_a_sandbox_without_its_extra_says_what_to_install(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = run(sandbox, "sandbox")
    assert done.exit_code == 2
    assert "pip install 'up42-async[sandbox]'" in done.stderr


def test_the_command_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert "pip install 'up42-async[cli]'" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell: str) -> None:
    done = CliRunner().invoke(app, ["completion", shell])
    assert done.exit_code == 0
    assert "_UP42_COMPLETE" in done.stdout


def test_bash_completes_commands(tmp_path: Path) -> None:
    script = tmp_path / "up42"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m up42_async "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    asked = (
        'eval "$(up42 completion bash)"; COMP_WORDS=(up42 jobs tr); COMP_CWORD=2; _up42_completion up42;'
        " echo ${COMPREPLY[@]}"
    )
    env = {**os.environ, "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    done = subprocess.run(["/bin/bash", "-c", asked], env=env, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.stdout.split() == ["track"], done.stderr


def test_no_arguments_show_the_commands() -> None:
    done = CliRunner().invoke(app, [])
    for command in ("auth", "jobs", "run", "journal", "balance", "sandbox"):
        assert command in done.output


def test_a_terminal_shows_a_board_while_jobs_are_tracked(sandbox: Sandbox) -> None:
    ids = sandbox.seed_jobs(3)
    code, shown = on_a_terminal(sandbox, "jobs", "track", *ids)
    assert code == 0, shown
    assert "3" in shown
    assert "\x1b[" in shown  # it is drawn in place
    assert '"jobID"' not in shown


def test_a_terminal_shows_a_table_of_jobs(sandbox: Sandbox) -> None:
    (id_,) = sandbox.seed_jobs(1, status="captured")
    code, shown = on_a_terminal(sandbox, "jobs", "list")
    assert code == 0
    assert id_ in shown  # whole, so that it can be copied


def test_files_are_shown_as_a_table_on_a_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    (id_,) = sandbox.seed_jobs(1, status="captured")
    code, shown = on_a_terminal(sandbox, "jobs", "download", id_, "-d", str(tmp_path))
    assert code == 0
    assert re.search(r"jobID +key +path", re.sub(r"\x1b\[[\d;?]*\w", "", shown))
    assert '{"jobID"' not in shown
