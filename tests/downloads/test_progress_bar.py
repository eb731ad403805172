"""The progress of downloads in a terminal, in a notebook, and as lines of text."""

import io
import sys
from collections.abc import Iterator
from types import ModuleType

import anyio
import pytest
import rich
from rich.console import Console

from up42_async._downloads.progress import ProgressTracker, ProgressWatch
from up42_async._downloads.progress_bar import show_bar


@pytest.fixture
def screen() -> Iterator[io.StringIO]:
    """Yield the output of rich's console."""
    before = rich.get_console().__dict__
    screen = io.StringIO()
    yield screen
    rich.get_console().__dict__ = before


async def shown(console: Console, *, files: int = 2, redraw: float = 0.001) -> None:
    """Show the progress of some files; the last of them fails."""
    rich.get_console().__dict__ = console.__dict__
    tracker = ProgressTracker()
    tasks = [tracker.add_task(f"{number}.tif", None, 1_000_000) for number in range(files)]
    async with anyio.create_task_group() as group:
        group.start_soon(show_bar, ProgressWatch(tracker), redraw)
        for task in tasks:
            task.update(1_000_000, 1_000_000)
            await anyio.sleep(0.01)
            task.finish(is_complete=task is not tasks[-1])
        tracker.found_all()
        tracker.close()


async def test_a_terminal_shows_a_bar_that_is_redrawn(screen: io.StringIO) -> None:
    await shown(Console(file=screen, force_terminal=True, width=100))
    assert "1/2 files, 1 failed" in screen.getvalue()
    assert "\x1b[" in screen.getvalue()


async def test_without_a_terminal_a_line_is_printed_from_time_to_time(screen: io.StringIO) -> None:
    await shown(Console(file=screen, force_terminal=False, width=100), files=20)
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("0/20+ files, ")
    assert lines[-1] == "19/20 files, 1 failed, 20.0 of 20.0 MB"
    assert len(lines) < 5


async def test_an_unchanged_line_is_not_repeated(screen: io.StringIO) -> None:
    rich.get_console().__dict__ = Console(file=screen, force_terminal=False).__dict__
    tracker = ProgressTracker()
    tracker.found_all()
    tracker.close()
    await show_bar(ProgressWatch(tracker), 0.001)
    assert screen.getvalue().splitlines() == ["0/0 files, 0.0 of 0.0 MB"]


@pytest.mark.parametrize("has_widgets", [False, True])
async def test_a_notebook_shows_a_bar_only_where_it_has_widgets(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, has_widgets: bool
) -> None:
    drawn: list[str] = []
    display = ModuleType("IPython.display")
    display.display = lambda thing: drawn.append(str(thing))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    bars: list[object] = []
    monkeypatch.setattr("up42_async._downloads.progress_bar._show_bar", lambda *given: _note(bars, given))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: has_widgets or None)
    console = Console(file=screen, force_jupyter=True)
    monkeypatch.setattr(console, "print", drawn.append)
    await shown(console)
    assert bool(bars) is has_widgets
    assert (drawn[-1:] == ["1/2 files, 1 failed, 2.0 of 2.0 MB"]) is not has_widgets


async def _note(bars: list[object], given: object) -> None:
    bars.append(given)
