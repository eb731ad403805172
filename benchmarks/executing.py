"""Measure checking, pricing and running many templates."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.findings import Findings, Result, Samples, Target, at_most, ratios, table
from benchmarks.rounds import Server, measured
from benchmarks.scale import Scale

LATENCY = 0.05

VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "up42-py, one after the other": ("up42_py", {"threads": 1}),
    "up42-py, 20 threads": ("up42_py", {"threads": 20}),
    "up42-async, its pace lifted": ("ours", {"paced": False}),
    "up42-async, 50 requests a second": ("ours", {"paced": True}),
}

PLAIN: Final = "without a journal"
JOURNALED: Final = "with a journal"
MOST_WALL: Final = 1.05
MOST_CPU: Final = 2.0
"""Milliseconds of CPU that a journal may cost an execution."""


def measure(scale: Scale) -> Findings:
    """Measure wall time and CPU time."""
    samples: dict[str, list[Result]] = {label: [] for label in VARIANTS}
    with Server(latency=LATENCY) as server:
        for label, (client, order) in VARIANTS.items():
            server.control("jobs", number=0)
            samples[label].append(measured(server, client, "execute", number=scale.templates, **order))
        journaled = _journaled(server, scale)
    caption = f"{scale.templates} templates of one process, {LATENCY * 1000:.0f} ms latency"
    compared = table(
        caption, samples, "up42-py, one after the other", compared=["wall", "requests", "cpu"], shown=["connections"]
    )
    return Findings(
        title="Executing templates",
        how=(
            "Each template is checked, priced and executed. up42-py asks for the process and its EULA for every"
            " template, up42-async once. Executions go out on connections that serve no other request, so that one"
            " that never arrived can be told from one that was processed: that costs a connection each."
        ),
        tables=[
            compared,
            table(f"{scale.templates} templates at the default pace", journaled, PLAIN, compared=["wall", "cpu"]),
        ],
        targets=_judged(journaled, scale.templates),
        facts={},
    )


def _journaled(server: Server, scale: Scale) -> Samples:
    """Execute with a journal and without, in turns."""
    samples: dict[str, list[Result]] = {PLAIN: [], JOURNALED: []}
    for _ in range(scale.rounds):
        for label, results in samples.items():
            server.control("jobs", number=0)
            order = {"number": scale.templates, "paced": True, "journaled": label == JOURNALED}
            results.append(measured(server, "ours", "execute", **order))
    return samples


def _judged(samples: Samples, number: int) -> list[Target]:
    pairs = zip(samples[JOURNALED], samples[PLAIN], strict=True)
    milliseconds = [1000 * (one["cpu"] - other["cpu"]) / number for one, other in pairs]
    return [
        at_most("wall time with a journal", MOST_WALL, ratios(samples[JOURNALED], samples[PLAIN], "wall")),
        at_most("CPU that a journal costs an execution, in ms", MOST_CPU, milliseconds),
    ]
