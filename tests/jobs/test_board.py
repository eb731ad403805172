"""`bar=True`: a live board in a terminal, a table in a notebook, lines elsewhere, drawn while the caller waits."""

import importlib.util
import io
import re
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest

from tests.job_platform import JobPlatform
from up42_async import Job, UnfinishedJob, track
from up42_async._jobs import board
from up42_async._jobs.board import BoardState

pytestmark = pytest.mark.virtual_time

LIVES = {"a": [(0, "running"), (100, "captured")], "b": [(0, "accepted"), (50, "running"), (170, "released")]}


@pytest.fixture
def platform() -> JobPlatform:
    platform = JobPlatform()
    for id_, life in LIVES.items():
        platform.live(id_, life)
    return platform


class Terminal(io.StringIO):
    """Records what is written to a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    # not sys.stderr itself, which pytest puts back before the test begins
    monkeypatch.setattr(board, "sys", SimpleNamespace(stderr=terminal, modules=sys.modules))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return terminal


class Notebook:
    """Stands in for IPython in a notebook, and records what is displayed and updated."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, content: dict[str, str], **_: Any) -> "Notebook":
        self.shown.append(content)
        return self

    update = display


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    notebook = Notebook()
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=None)  # type: ignore[attr-defined]
    display.display = notebook.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return notebook


async def test_without_a_terminal_each_change_prints_a_line(
    platform: JobPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    async with platform.client():
        await track(["a", "b"], bar=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert [re.split("  +", line.strip(), maxsplit=1)[1] for line in err.splitlines()] == [
        "0/2 finished  0 requests  (2 unknown)",
        "0/2 finished  1 request  (1 accepted, 1 running)",
        "0/2 finished  2 requests  (2 running)",
        "1/2 finished  3 requests  (1 running, 1 captured)",
        "2/2 finished  4 requests  (1 captured, 1 released)",
    ]


async def test_lines_continue_across_the_steps_of_an_iteration(
    platform: JobPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    async with platform.client():
        async for job in track(["a", "b"], bar=True):
            lines = capsys.readouterr().err.splitlines()
            assert ("2/2 finished" in lines[-1]) == (job.id == "b")


async def test_lines_keep_a_minimum_interval_however_short_the_steps(
    platform: JobPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [platform.live(f"quick-{n}", [(0, "running"), (n + 1.5, "captured")]) for n in range(3)]
    async with platform.client():
        assert len([job async for job in track(ids, wait=1, bar=True)]) == 3
    first, last = capsys.readouterr().err.splitlines()
    assert ("0/3 finished" in first, "3/3 finished" in last) == (True, True)


async def test_a_terminal_shows_a_board_and_keeps_its_last_state(platform: JobPlatform, terminal: Terminal) -> None:
    threads = set(threading.enumerate())
    async with platform.client():
        job = platform.job("a")
        await job.track(bar=True)
        assert set(threading.enumerate()) <= threads
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "0 of 1 finished" in text
    assert "1 of 1 finished   120 s   3 requests" in text.rstrip().splitlines()[-1]
    assert "\x1b[?25h" in terminal.getvalue().rsplit("\x1b[?25l", 1)[-1]  # the cursor is back


async def test_nothing_is_drawn_between_two_steps(platform: JobPlatform, terminal: Terminal) -> None:
    async with platform.client():
        async for _ in track(["a", "b"], bar=True):
            drawn = terminal.getvalue()
            sys.stdout.write("a line of the program's own")
            await anyio.sleep(30)
            assert terminal.getvalue() == drawn
            assert "\x1b[?25h" in drawn.rsplit("\x1b[?25l", 1)[-1]


async def test_a_board_ends_when_its_wait_is_cancelled_or_fails(platform: JobPlatform, terminal: Terminal) -> None:
    async with platform.client() as client:
        with anyio.move_on_after(20):
            await track(["a", "b"], bar=True)
        assert "\x1b[?25h" in terminal.getvalue().rsplit("\x1b[?25l", 1)[-1]
        with pytest.raises(UnfinishedJob):
            await track(["a", "b"], retries=1, wait=5, bar=True)
        await client.aclose()
        with pytest.raises(RuntimeError, match="closed while jobs were tracked"):
            await track(["a", "b"], client=client, bar=True)


async def test_a_notebook_shows_the_board_as_a_table(platform: JobPlatform, notebook: Notebook) -> None:
    async with platform.client():
        async for _ in track(["a", "b"], bar=True):
            pass
    first, last = notebook.shown[0]["text/html"], notebook.shown[-1]["text/html"]
    assert "<td style='text-align: left'>unknown</td><td>2</td>" in first
    assert re.findall(r">(\w+)</td><td>(\d+)</td>", last) == [("captured", "1"), ("released", "1")]
    assert ">2 of 2</th>" in last
    assert len(notebook.shown) == 5
    assert "2/2 finished" in notebook.shown[-1]["text/plain"]


async def test_ipython_in_a_terminal_is_a_terminal(
    platform: JobPlatform, notebook: Notebook, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    async with platform.client():
        await track(["a"], bar=True)
    assert notebook.shown == []
    assert "finished" in terminal.getvalue()


async def test_a_board_in_a_terminal_without_rich_is_refused_at_once(
    platform: JobPlatform, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    async with platform.client():
        job: Job = platform.job("a")
        with pytest.raises(RuntimeError, match=r"a board needs rich: `pip install 'up42-async\[progress\]'`"):
            track(["a"], bar=True)
        with pytest.raises(RuntimeError, match="leave out bar=True"):
            await job.track(bar=True)
    assert (terminal.getvalue(), platform.requests) == ("", 0)


async def test_a_job_that_is_already_finished_shows_no_board(platform: JobPlatform, terminal: Terminal) -> None:
    platform.live("done", [(0, "captured")])
    async with platform.client():
        await platform.job("done").track(bar=True)
    assert terminal.getvalue() == ""


def test_statuses_are_in_the_order_of_a_jobs_life_and_unknown_ones_last() -> None:
    state = BoardState(counts={"paused": 1, "captured": 2, "unknown": 1, "created": 3}, ended=2, total=7, requests=1)
    assert [status for status, _ in state.rows] == ["created", "captured", "paused", "unknown"]
