"""`python -m up42_async.demo`: its output with and without a terminal, its arguments, and missing extras."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from up42_async import demo


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
async def test_the_demo_tracks_all_jobs_and_downloads_results(terminal: bool, tmp_path: Path) -> None:
    shown = io.StringIO()
    await demo.run(tmp_path, Console(file=shown, force_terminal=terminal, width=100), number=12, speed=3600.0)
    text = shown.getvalue()
    assert "with 12 jobs under way" in text
    assert "12 jobs in" in text
    assert "downloaded and verified" in text
    assert [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".tif")]


async def test_credits_of_released_jobs_are_not_shown_as_spent(tmp_path: Path) -> None:
    shown = io.StringIO()
    await demo.run(tmp_path, Console(file=shown, width=100), number=40, speed=3600.0)
    spent = {
        line.split()[0]: int(line.split()[4].replace(",", "")) for line in shown.getvalue().splitlines() if "│" in line
    }
    assert spent["released"] == 0
    assert spent["captured"] > 0


def test_without_its_extras_the_demo_says_what_to_install() -> None:
    code = "import sys; sys.modules['rich'] = None; import up42_async.demo"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert "python -m pip install 'up42-async[progress,sandbox]'" in done.stderr


def test_the_demo_run_without_its_extras_prints_one_line() -> None:
    code = "import runpy, sys; sys.modules['rich'] = None; runpy.run_module('up42_async.demo', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    wanted = "The demo needs the sandbox and rich: python -m pip install 'up42-async[progress,sandbox]'\n"
    assert (done.returncode, done.stderr) == (1, wanted)


def test_help_is_shown_and_not_taken_for_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        demo.main(["--help"])
    assert caught.value.code == 0
    assert "Track 300 processing jobs" in capsys.readouterr().out


def test_the_command_line_names_the_directory_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    async def run(directory: Path, _: Console) -> None:
        asked.append(directory)

    monkeypatch.setattr(demo, "run", run)
    demo.main([str(tmp_path)])
    demo.main([])
    assert asked[0] == tmp_path
    assert asked[1] != tmp_path
    assert not asked[1].exists()  # a temporary directory, gone at the end
