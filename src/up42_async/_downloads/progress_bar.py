"""Show how far downloads have come, in a terminal or a notebook, with `rich` (extra `progress`)."""

import importlib.util
from typing import TYPE_CHECKING, Final

from up42_async import _clock
from up42_async._downloads.progress import DownloadProgress, ProgressWatch

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PAUSE: Final = 0.1
"""Seconds between two looks."""


def check_installed() -> None:
    """Make sure that a bar can be shown.

    Raises:
        RuntimeError: `rich` is not installed.
    """
    if importlib.util.find_spec("rich") is None:
        raise RuntimeError("a progress bar needs rich: `pip install 'up42-async[progress]'`, or leave out bar=True")


async def show_bar(watch: ProgressWatch) -> None:
    """Show a bar until all files have come; it is drawn by this task, and never by a thread.

    Args:
        watch: What to show.
    """
    with _bar() as bar:
        task = bar.add_task("files", total=None)
        async for progress in watch:
            _draw(bar, task, progress)
            await _clock.sleep(PAUSE)


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
    known = progress.files_known if progress.is_complete else f"{progress.files_known}+"
    failed = f", {progress.files_failed} failed" if progress.files_failed else ""
    bar.update(
        task,
        description=f"{progress.files_done}/{known} files{failed}",
        completed=progress.bytes_done,
        total=progress.bytes_total,
        refresh=True,
    )
