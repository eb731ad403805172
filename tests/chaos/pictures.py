"""Draw the charts of a run: jobs and faults over time, the checks of both sides, and the requests that faults hit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes

from benchmarks.charts import AMBER, BLUE, COLOURS, GREEN, INK, RED, picture
from tests.chaos.checks import Check, checks
from tests.chaos.faults import FAULTS
from tests.chaos.run import Outcome

_ROW: Final = 0.24
"""Height of one line of a chart, in inches."""


def draw_jobs(outcomes: Sequence[Outcome], file: Path) -> None:
    """Draw the numbers of executed, known and finished jobs over time on each event loop, and the periods of faults.

    Args:
        outcomes: One for each event loop, of the same plan.
        file: The picture to write.
    """
    size = (8.6, 2.4 * len(outcomes) + _ROW * len(FAULTS) + 0.6)
    with picture(file, len(outcomes) + 1, size=size) as axes:
        longest = max(outcome.seconds for outcome in outcomes)
        for one, outcome in zip(axes, outcomes, strict=False):
            _jobs(one, outcome)
            one.set_xlim(0, longest)
        _faults(axes[-1], outcomes[0], longest)


def _jobs(axes: Axes, outcome: Outcome) -> None:
    state, server, end = outcome.state, outcome.server, outcome.seconds
    executed = [*((one.moment, one.executed) for one in server.samples), (end, len(server.jobs))]
    known = [*((one.moment, one.known) for one in state.moments), (end, len(state.known))]
    finished = [*((one.moment, one.finished) for one in state.moments), (end, len(state.finished))]
    lines = [
        ("executed at the server", RED, executed),
        ("known to the clients", BLUE, known),
        ("finished", GREEN, finished),
    ]
    for label, colour, points in lines:
        moments, numbers = zip(*points, strict=True)
        axes.plot(moments, numbers, color=colour, linewidth=1.8, label=label)
    axes.axvline(outcome.plan.seconds, color=INK, linewidth=1, linestyle=(0, (3, 4)))
    axes.annotate("the faults are over", (outcome.plan.seconds, 0), xytext=(4, 6), textcoords="offset points")
    axes.set_title(f"Jobs while everything goes wrong, {outcome.backend}")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center right")


def _faults(axes: Axes, outcome: Outcome, longest: float) -> None:
    names = list(FAULTS)
    for spell in outcome.plan.spells:
        axes.barh(names.index(spell.fault), spell.end - spell.start, left=spell.start, height=0.6, color=AMBER)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, longest)
    axes.set_xlabel("seconds")
    axes.set_title("Which fault came when")


def draw_checks(outcomes: Sequence[Outcome], file: Path) -> None:
    """Draw the server's and the clients' figures of each check, side by side for each event loop.

    Args:
        outcomes: One for each loop.
        file: The picture to write.
    """
    counted = [[check for check in checks(outcome) if _is_count(check)] for outcome in outcomes]
    size = (8.6, 2 * _ROW * len(counted[0]) + 1.0)
    with picture(file, 1, len(outcomes), size=size) as axes:
        for one, outcome, lines in zip(axes, outcomes, counted, strict=True):
            _pairs(one, lines)
            one.set_title(outcome.backend)
        for one in axes[1:]:
            one.set_yticklabels([])
        axes[-1].legend(loc="lower right")


def _is_count(check: Check) -> bool:
    return check.server.replace(",", "").isdigit()


def _pairs(axes: Axes, lines: Sequence[Check]) -> None:
    server = [int(line.server.replace(",", "")) for line in lines]
    clients = [int(line.clients.replace(",", "")) for line in lines]
    rows = range(len(lines))
    axes.barh([row - 0.19 for row in rows], server, height=0.36, color=RED, label="server, or what must be")
    axes.barh([row + 0.19 for row in rows], clients, height=0.36, color=BLUE, label="clients, or what was found")
    for row, line in enumerate(lines):
        right = max(server[row], clients[row])
        words = f"{line.server} = {line.clients}" if line.passed else f"{line.server} ≠ {line.clients}"
        axes.annotate(words, (max(right, 1), row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, max([*server, *clients, 10]) * 100)
    axes.set_xticks([])
    axes.set_yticks(rows, [line.what for line in lines])
    axes.invert_yaxis()


def draw_hits(outcomes: Sequence[Outcome], file: Path) -> None:
    """Draw how many requests each fault has hit.

    Args:
        outcomes: One for each loop.
        file: The picture to write.
    """
    names = sorted(outcomes[0].server.hits, key=lambda name: sum(one.server.hits[name] for one in outcomes))
    with picture(file, size=(8.6, _ROW * len(names) + 1.2)) as (axes,):
        left = [0] * len(names)
        for outcome, colour in zip(outcomes, COLOURS, strict=False):
            hits = [outcome.server.hits[name] for name in names]
            axes.barh(names, hits, left=left, height=0.6, color=colour, label=outcome.backend)
            left = [before + more for before, more in zip(left, hits, strict=True)]
        axes.set_title("Requests and connections hit by each fault")
        axes.legend(loc="lower right")
