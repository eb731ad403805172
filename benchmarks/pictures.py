"""Draw what the benchmarks found: requests against jobs, how soon the end of a job is noticed, and CPU side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from benchmarks.charts import COLOURS, GREEN, picture
from benchmarks.findings import Findings

MOST_TABLES: Final = 4
"""How many tables one picture shows."""


@attrs.frozen
class Picture:
    """One picture of the page."""

    benchmark: str
    """The benchmark below whose title it stands."""
    name: str
    """Ends the name of its file."""
    caption: str
    draw: Callable[[Findings, Path], None]


def draw_requests(findings: Findings, file: Path) -> None:
    """Draw requests until all jobs are finished against the number of jobs, both logarithmic."""
    facts: Mapping[str, Mapping[str, float]] = findings["facts"]["requests"]
    names = {
        "a request a job": "a request a job (up42-py)",
        "together": "up42-async, model",
        "the library": "up42-async, counted",
    }
    with picture(file) as (axes,):
        for (fact, label), colour, marker in zip(names.items(), COLOURS, "os^", strict=False):
            points = sorted((float(number), requests) for number, requests in facts[fact].items())
            axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, label=label)
        axes.set_title("Requests until all jobs are finished, asked for every 60 s")
        axes.set_xlabel("jobs")
        axes.set_ylabel("requests")
        axes.legend(loc="upper left")


def draw_delay(findings: Findings, file: Path) -> None:
    """Draw which share of the ends of jobs was noticed how soon."""
    facts: Mapping[str, Sequence[float]] = findings["facts"]["delays"]
    with picture(file) as (axes,):
        for (label, delays), colour in zip(facts.items(), COLOURS, strict=False):
            shares = [(position + 1) / len(delays) for position in range(len(delays))]
            axes.step(delays, shares, where="post", color=colour, label=label)
        axes.set_title("From the end of a job to its notice, asked for every second")
        axes.set_xlabel("seconds")
        axes.set_ylabel("share of the jobs noticed by then")
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
        axes.legend(loc="lower right")


def draw_run(findings: Findings, file: Path) -> None:
    """Draw a run over time: how many jobs had ended, and how many of them each variant had noticed."""
    facts: Mapping[str, Sequence[float]] = findings["facts"]["run"]
    with picture(file) as (axes,):
        ended = facts["ended"]
        axes.fill_between(
            ended, range(1, len(ended) + 1), step="post", color=GREEN, alpha=0.15, label="ended at the server"
        )
        variants = {label: moments for label, moments in facts.items() if label != "ended"}
        for (label, moments), colour in zip(variants.items(), COLOURS, strict=False):
            axes.step(moments, range(1, len(moments) + 1), where="post", color=colour, label=f"noticed by {label}")
        axes.set_title("One run over time")
        axes.set_xlabel("seconds")
        axes.set_ylabel("jobs")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left")


def draw_cpu(findings: Findings, file: Path) -> None:
    """Draw CPU seconds of each variant, side by side, for the first tables that have them."""
    tables = [table for table in findings["tables"] if "CPU" in table["columns"]][:MOST_TABLES]
    with picture(file, len(tables), size=(8.6, 1.5 * len(tables))) as axes:
        for one, table in zip(axes, tables, strict=True):
            column = table["columns"].index("CPU")
            labels = [row[0] for row in table["rows"]]
            values = [float(row[column].split()[0]) for row in table["rows"]]
            one.barh(labels, values, height=0.6, color=COLOURS[: len(labels)])
            one.invert_yaxis()
            one.set_title(table["caption"])
            one.set_xlim(right=max(values) * 1.15)
            for row, value in enumerate(values):
                one.annotate(f"{value:.3g} s", (value, row), xytext=(4, 0), textcoords="offset points", va="center")
        axes[-1].set_xlabel("CPU, seconds")


PICTURES: Final = (
    Picture("calling", "calls", "CPU of calls, side by side", draw_cpu),
    Picture("listing", "listing", "CPU of listing, side by side", draw_cpu),
    Picture("tracking", "delay", "From the end of a job to its notice", draw_delay),
    Picture("tracking", "run", "A run over time", draw_run),
    Picture("modelling", "requests", "Requests against number of jobs", draw_requests),
)
