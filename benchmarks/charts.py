"""Draw the pictures of the documentation in one style: SVG with real text, identical for identical figures."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#24292f"
FAINT: Final = "#d8dee4"
RED: Final = "#b3261e"
BLUE: Final = "#0b57d0"
GREEN: Final = "#2e7d32"
AMBER: Final = "#e8a33d"
PURPLE: Final = "#6f42a8"
COLOURS: Final = (RED, BLUE, GREEN, PURPLE, AMBER)

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "up42-async",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def picture(
    file: Path, rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8.6, 4.2)
) -> Generator[list[Axes]]:
    """Give the axes of a new picture, row by row, and write the picture at the end of the block.

    Args:
        file: Where it goes, ending in `.svg`.
        rows: Rows of axes.
        columns: Axes in a row.
        size: Width and height in inches.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        made = figure.subplots(rows, columns, squeeze=False)
        yield [axes for row in made for axes in row]
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
