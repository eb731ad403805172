"""Show the progress of downloads in a terminal or a notebook, with `rich` (extra `progress`)."""

import importlib.util
from typing import TYPE_CHECKING, Final

import anyio

from up42_async._downloads.progress import DownloadProgress, ProgressWatch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_LINES_APART: Final = 100
"""Redraws for each line that is printed where no bar can be drawn."""

_MEGABYTE: Final = 1e6


def check_installed() -> None:
    """Check that a bar can be shown.

    Raises:
        RuntimeError: `rich` is not installed.
    """
    if importlib.util.find_spec("rich") is None:
        raise RuntimeError("a progress bar needs rich: `pip install 'up42-async[progress]'`, or leave out bar=True")


async def show_bar(watch: ProgressWatch, redraw: float) -> None:
    """Show the progress until the download ends; this task draws it, no thread.

    In a terminal, and in a notebook with ipywidgets, it is a bar; elsewhere a line every 100 redraws.

    Args:
        watch: The progress.
        redraw: Seconds between two drawings.
    """
    import rich

    console = rich.get_console()
    if _can_redraw(console):
        await _show_bar(watch, redraw)
    else:
        await _show_lines(watch, redraw, console)


def _can_redraw(console: "Console") -> bool:
    if console.is_jupyter:  # here rich needs ipywidgets, and shows a warning without them
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal


async def _show_bar(watch: ProgressWatch, redraw: float) -> None:
    with _bar() as bar:
        task = bar.add_task("files", total=None)
        async for progress in watch:
            _draw(bar, task, progress)
            await anyio.sleep(redraw)


async def _show_lines(watch: ProgressWatch, redraw: float, console: "Console") -> None:
    shown = last = ""
    looks = 0
    async for progress in watch:
        last = _line(progress)
        if not looks % _LINES_APART:
            console.print(last)
            shown = last
        looks += 1
        await anyio.sleep(redraw)
    if last != shown:
        console.print(last)


def _bar() -> "Progress":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, auto_refresh=False)


def _draw(bar: "Progress", task: "TaskID", progress: DownloadProgress) -> None:
    bar.update(
        task,
        description=_files(progress),
        completed=progress.bytes_done,
        total=progress.bytes_total,
        refresh=True,
    )


def _files(progress: DownloadProgress) -> str:
    known = progress.files_known if progress.is_complete else f"{progress.files_known}+"
    failed = f", {progress.files_failed} failed" if progress.files_failed else ""
    return f"{progress.files_done}/{known} files{failed}"


def _line(progress: DownloadProgress) -> str:
    total = "" if progress.bytes_total is None else f" of {progress.bytes_total / _MEGABYTE:.1f}"
    return f"{_files(progress)}, {progress.bytes_done / _MEGABYTE:.1f}{total} MB"
