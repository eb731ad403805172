"""Draw the ledger over time as an SVG, with nothing but text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.faults.plan import Plan
from benchmarks.faults.run import Outcome
from benchmarks.faults.troubles import TROUBLES

WIDTH: Final = 860
LEFT: Final = 150
RIGHT: Final = 20
TOP: Final = 58
PANEL: Final = 170
GAP: Final = 44
ROW: Final = 17

INK: Final = "#24292f"
FAINT: Final = "#d8dee4"
SERVER: Final = "#b3261e"
KNOWN: Final = "#0b57d0"
FINISHED: Final = "#2e7d32"
TROUBLE: Final = "#e8a33d"

Points = Sequence[tuple[float, float]]


def picture(outcomes: Sequence[Outcome]) -> str:
    """Return an SVG: for each loop the jobs over time, and below them which trouble came when.

    Args:
        outcomes: One for each loop, of the same plan.
    """
    plan = outcomes[0].plan
    longest = max(outcome.seconds for outcome in outcomes)

    def across(moment: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(moment, 0.0), longest) / longest

    rows_at = TOP + len(outcomes) * (PANEL + GAP)
    height = rows_at + ROW * len(TROUBLES) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f'<g font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_legend(),
    ]
    for position, outcome in enumerate(outcomes):
        parts += _panel(outcome, TOP + position * (PANEL + GAP), across)
    parts += _rows(plan, rows_at, across)
    parts += _axis(longest, height - 24, across)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _legend() -> Iterator[str]:
    title = "Jobs while everything goes wrong: executed, known and finished"
    yield f'<text x="{LEFT}" y="20" font-size="15" font-weight="bold">{title}</text>'
    words = [(SERVER, "executed at the server"), (KNOWN, "known to the clients"), (FINISHED, "finished")]
    for number, (colour, word) in enumerate(words):
        x = LEFT + 200 * number
        yield f'<line x1="{x}" y1="38" x2="{x + 24}" y2="38" stroke="{colour}" stroke-width="3"/>'
        yield f'<text x="{x + 30}" y="42">{word}</text>'


def _panel(outcome: Outcome, top: float, across: Callable[[float], float]) -> Iterator[str]:
    books, truth = outcome.books, outcome.truth
    most = max(len(truth.jobs), 1)

    def up(number: float) -> float:
        return top + PANEL - PANEL * min(number / most, 1.0)

    yield f'<text x="{LEFT - 12}" y="{top + 12}" text-anchor="end" font-weight="bold">{outcome.backend}</text>'
    for number in (0, most):
        yield f'<text x="{LEFT - 12}" y="{up(number) + (28 if number else 4):.1f}" text-anchor="end">{number:,}</text>'
        yield f'<line x1="{LEFT}" y1="{up(number):.1f}" x2="{WIDTH - RIGHT}" y2="{up(number):.1f}" stroke="{FAINT}"/>'
    end = across(outcome.plan.seconds)
    yield f'<line x1="{end:.1f}" y1="{top}" x2="{end:.1f}" y2="{top + PANEL}" stroke="{INK}" stroke-dasharray="3 4"/>'
    yield f'<text x="{end + 6:.1f}" y="{top + PANEL - 8}">the troubles are over</text>'
    last = outcome.seconds
    executed = [*((one.moment, one.executed) for one in truth.samples), (last, len(truth.jobs))]
    known = [*((one.moment, one.known) for one in books.moments), (last, len(books.known))]
    finished = [*((one.moment, one.finished) for one in books.moments), (last, len(books.finished))]
    for colour, points in ((SERVER, executed), (KNOWN, known), (FINISHED, finished)):
        yield _curve([(across(moment), up(number)) for moment, number in points], colour)


def _curve(points: Points, colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(points))
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'


def _thinned(points: Points) -> Iterator[tuple[float, float]]:
    """Leave out the points between two of the same height."""
    for position, point in enumerate(points):
        around = points[max(position - 1, 0) : position + 2]
        if len(around) < 3 or len({y for _, y in around}) > 1:  # noqa: PLR2004 - a neighbour on each side
            yield point


def _rows(plan: Plan, top: float, across: Callable[[float], float]) -> Iterator[str]:
    for number, name in enumerate(TROUBLES):
        y = top + number * ROW
        yield f'<text x="{LEFT - 12}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
        yield f'<line x1="{LEFT}" y1="{y + 8}" x2="{WIDTH - RIGHT}" y2="{y + 8}" stroke="{FAINT}"/>'
        for spell in plan.spells:
            if spell.trouble == name:
                x, end = across(spell.start), across(spell.end)
                yield f'<rect x="{x:.1f}" y="{y + 2}" width="{end - x:.1f}" height="{ROW - 5}" fill="{TROUBLE}"/>'


def _axis(longest: float, y: float, across: Callable[[float], float]) -> Iterator[str]:
    for seconds in range(0, int(longest) + 1, 30):
        yield f'<text x="{across(seconds):.1f}" y="{y + 14}" text-anchor="middle">{seconds} s</text>'
