"""Show the number of jobs of each status: a live board in a terminal, a table in a notebook, lines elsewhere."""

import importlib
import importlib.util
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import anyio
import attrs

from up42_async import _clock
from up42_async._bulk import TaskGroup
from up42_async._client import display
from up42_async._jobs.models import JobStatus

R = TypeVar("R")

REFRESH: Final = 0.25
"""Seconds between two pictures of a live board or a table."""
LINE_EVERY: Final = 5.0
"""Seconds between two lines where there is nothing to draw on."""

_COLOURS: Final = {"captured": "green", "successful": "green", "released": "red", "failed": "red", "running": "cyan"}
_ORDER: Final = {status.value: position for position, status in enumerate(JobStatus)}
_WIDTH: Final = 40


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BoardState:
    """What a board shows."""

    counts: Mapping[str, int]
    """Jobs by status."""
    ended: int
    """Jobs whose wait has ended."""
    total: int
    requests: int
    """Requests that the client has sent."""

    @property
    def rows(self) -> list[tuple[str, int]]:
        """The counts in the order of the statuses; unknown statuses without characters that would upset a terminal."""
        ordered = sorted(self.counts.items(), key=lambda row: (_ORDER.get(row[0], len(_ORDER)), row[0]))
        return [(display.word(status), number) for status, number in ordered]

    @property
    def sent(self) -> str:
        """The number of requests, in words."""
        return display.counted(self.requests, "request")

    def line(self, elapsed: float) -> str:
        """Return the state as a line of text."""
        counts = ", ".join(f"{number} {status}" for status, number in self.rows)
        return f"{elapsed:6.1f} s  {self.ended}/{self.total} finished  {self.sent}  ({counts})"

    def html(self) -> str:
        """Return the state as an HTML table."""
        rows = "".join(
            f"<tr><td style='text-align: left'>{display.cell(status)}</td><td>{number}</td></tr>"
            for status, number in self.rows
        )
        done = f"<tr><th style='text-align: left'>finished</th><th>{self.ended} of {self.total}</th></tr>"
        return f"<table>{rows}{done}</table>"


class _Surface(Protocol):
    """Where a board is drawn."""

    every: float

    def begin(self) -> None:
        """Start drawing."""

    def draw(self, state: BoardState, elapsed: float) -> None:
        """Show a state."""

    def end(self, state: BoardState, elapsed: float) -> None:
        """Stop drawing; when the wait for all jobs has ended, leave the last state visible."""


class Board:
    """Draws while the caller waits for jobs, and never between two waits."""

    def __init__(self, state: Callable[[], BoardState]) -> None:
        """Choose where to draw; nothing is drawn yet.

        Args:
            state: Returns what to show.

        Raises:
            RuntimeError: Standard error is a terminal, and `rich` is not installed.
        """
        self._state = state
        self._surface = _surface()
        self._started: float | None = None

    async def during(self, wait: Callable[[], Awaitable[R]]) -> R:
        """Draw until a wait ends, and return its result.

        Args:
            wait: Waits for jobs.
        """
        if self._started is None:
            self._started = _clock.now()
        results: list[R] = []
        drawing = anyio.CancelScope()
        self._surface.begin()
        try:
            async with TaskGroup() as group:
                group.start_soon(self._draw, drawing)
                try:
                    results.append(await wait())
                finally:
                    drawing.cancel()
        finally:
            self._surface.end(self._state(), self._elapsed())
        return results[0]

    async def _draw(self, scope: "anyio.CancelScope") -> None:
        with scope:
            while True:
                self._surface.draw(self._state(), self._elapsed())
                await anyio.sleep(self._surface.every)

    def _elapsed(self) -> float:
        return _clock.now() - (self._started or 0.0)


def _surface() -> _Surface:
    if (show := _notebook_display()) is not None:
        return _Notebook(show)
    if not sys.stderr.isatty():
        return _Lines()
    if importlib.util.find_spec("rich") is None:
        raise RuntimeError("a board needs rich: `pip install 'up42-async[progress]'`, or leave out bar=True")
    return _Terminal()


def _notebook_display() -> Any:
    """Return IPython's `display` in a notebook, None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    return importlib.import_module("IPython.display").display


class _Lines:
    """Writes a line to standard error, at most one every 5 seconds."""

    every = LINE_EVERY

    def __init__(self) -> None:
        self._written = ""
        self._next = 0.0

    def begin(self) -> None:
        """Write nothing."""

    def draw(self, state: BoardState, elapsed: float) -> None:
        """Write a line, unless the last one is less than 5 seconds old or the same."""
        if elapsed >= self._next:
            self._write(state, elapsed)

    def end(self, state: BoardState, elapsed: float) -> None:
        """Write the last line, when the wait for all jobs has ended."""
        if state.ended == state.total:
            self._write(state, elapsed)

    def _write(self, state: BoardState, elapsed: float) -> None:
        what = state.line(0)
        if what != self._written:
            self._written, self._next = what, elapsed + LINE_EVERY
            sys.stderr.write(f"{state.line(elapsed)}\n")
            sys.stderr.flush()


class _Notebook:
    """Shows one table, and updates it."""

    every = REFRESH

    def __init__(self, show: Any) -> None:
        self._show = show
        self._handle: Any = None
        self._shown = ""

    def begin(self) -> None:
        """Draw nothing."""

    def draw(self, state: BoardState, elapsed: float) -> None:  # noqa: ARG002 - a table shows no time
        """Show the table the first time, and update it when the state has changed."""
        picture = state.html()
        if picture == self._shown:
            return
        self._shown, content = picture, {"text/html": picture, "text/plain": state.line(0)}
        if self._handle is None:
            self._handle = self._show(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def end(self, state: BoardState, elapsed: float) -> None:
        """Show the last state."""
        self.draw(state, elapsed)


class _Terminal:
    """Draws at the foot of the terminal; text that the program prints to it appears above."""

    every = REFRESH

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=sys.stderr)
        self._live: Any = None

    def begin(self) -> None:
        """Start drawing, in this task and never in a thread."""
        from rich.live import Live

        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def draw(self, state: BoardState, elapsed: float) -> None:
        """Draw the state."""
        self._live.update(_picture(state, elapsed), refresh=True)

    def end(self, state: BoardState, elapsed: float) -> None:
        """Remove the live board, and print the last state when the wait for all jobs has ended."""
        self._live.stop()
        if state.ended == state.total:
            self._console.print(_picture(state, elapsed))


def _picture(state: BoardState, elapsed: float) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for status, number in state.rows:
        colour = _COLOURS.get(status, "blue")
        bar = ProgressBar(total=state.total, completed=number, width=_WIDTH, complete_style=colour)
        table.add_row(Text(status, style=colour), f"{number}", bar)
    total = Table.grid()
    total.add_row(ProgressBar(total=state.total, completed=state.ended, width=_WIDTH + 18))
    line = f"{state.ended} of {state.total} finished   {elapsed:.0f} s   {state.sent}"
    total.add_row(Text(line, style="bold"))
    return Group(table, Text(), total)
