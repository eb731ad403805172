"""Measure checking, pricing and running many templates."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.findings import Findings, Result, table
from benchmarks.rounds import Server, measured
from benchmarks.scale import Scale

LATENCY = 0.05

VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "up42-py, one after the other": ("up42_py", {"threads": 1}),
    "up42-py, 20 threads": ("up42_py", {"threads": 20}),
    "up42-async, its pace lifted": ("ours", {"paced": False}),
    "up42-async, 50 requests a second": ("ours", {"paced": True}),
}


def measure(scale: Scale) -> Findings:
    """Measure how long it takes, and what it costs."""
    samples: dict[str, list[Result]] = {label: [] for label in VARIANTS}
    with Server(latency=LATENCY) as server:
        for label, (client, order) in VARIANTS.items():
            server.control("jobs", number=0)
            samples[label].append(measured(server, client, "execute", number=scale.templates, **order))
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
        tables=[compared],
        targets=[],
        facts={},
    )
