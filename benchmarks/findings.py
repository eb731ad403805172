"""Summarise measurements: medians, ratios with their spread, and targets."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict

Result = Mapping[str, Any]
Samples = Mapping[str, Sequence[Result]]
"""What each variant measured, round by round; round n of one belongs to round n of the other."""

_MEGABYTE: Final = 1e6


class Table(TypedDict):
    """A table of the report."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


class Target(TypedDict):
    """A target, with the value that was measured."""

    what: str
    bound: str
    seen: str
    met: bool
    why: str
    """What is known of the reason, should it be missed."""


class Findings(TypedDict):
    """The results of one benchmark."""

    title: str
    how: str
    tables: list[Table]
    targets: list[Target]
    facts: dict[str, Any]


MEASURES: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "cpu": ("CPU", lambda value: f"{value:.3g} s"),
    "wall": ("wall", lambda value: f"{value:.3g} s"),
    "grown": ("memory grown by", lambda value: f"{value / _MEGABYTE:.1f} MB"),
    "peak": ("memory", lambda value: f"{value / _MEGABYTE:.0f} MB"),
    "requests": ("requests", lambda value: f"{value:.0f}"),
    "connections": ("connections", lambda value: f"{value:.0f}"),
    "median": ("delay, median", lambda value: f"{value:.2f} s"),
    "p95": ("delay, 95 %", lambda value: f"{value:.2f} s"),
}


def middle(results: Sequence[Result], name: str) -> float:
    """Return the median of one measure."""
    return statistics.median(float(result[name]) for result in results)


def ratios(these: Sequence[Result], those: Sequence[Result], name: str) -> list[float]:
    """Return by how many times one is more than the other, round by round, from the least to the most."""
    return sorted(one[name] / max(other[name], 1e-9) for one, other in zip(these, those, strict=False))


def spread(values: Sequence[float]) -> str:
    """Return a median, with the least and the most where there are several."""
    shown = f"{statistics.median(values):.3g}"
    return shown if len(values) == 1 else f"{shown} ({min(values):.3g} to {max(values):.3g})"


def table(
    caption: str, samples: Samples, reference: str, *, compared: Sequence[str], shown: Sequence[str] = ()
) -> Table:
    """Compare variants with one of them.

    Args:
        caption: What the table shows.
        samples: What each variant measured.
        reference: The variant the others are compared with.
        compared: Measures to give with their ratio to the reference.
        shown: Measures to give as they are.
    """
    columns = [""]
    for name in compared:
        columns += [MEASURES[name][0], f"{MEASURES[name][0]}, times {reference}"]
    columns += [MEASURES[name][0] for name in shown]
    if any("server_cpu" in one for results in samples.values() for one in results):
        columns.append("server busy")
    rows = [[label, *_cells(results, samples[reference], compared, shown)] for label, results in samples.items()]
    return Table(caption=caption, columns=columns, rows=rows)


def _cells(
    results: Sequence[Result], reference: Sequence[Result], compared: Sequence[str], shown: Sequence[str]
) -> list[str]:
    cells: list[str] = []
    for name in compared:
        cells += [MEASURES[name][1](middle(results, name)), spread(ratios(results, reference, name))]
    cells += [MEASURES[name][1](middle(results, name)) for name in shown]
    if "server_cpu" in results[0]:
        busy = statistics.median(result["server_cpu"] / result["wall"] for result in results)
        cells.append(f"{busy:.0%} of the time")
    return cells


def at_most(what: str, bound: float, values: Sequence[float], *, why: str = "") -> Target:
    """Judge the median of some ratios that must not be more than a bound."""
    met = statistics.median(values) <= bound
    return Target(what=what, bound=f"at most {bound:g}", seen=spread(values), met=met, why=why)


def at_least(what: str, bound: float, values: Sequence[float], *, why: str = "") -> Target:
    """Judge the median of some ratios that must not be less than a bound."""
    met = statistics.median(values) >= bound
    return Target(what=what, bound=f"at least {bound:g}", seen=spread(values), met=met, why=why)
