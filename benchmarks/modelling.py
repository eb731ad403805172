"""Track very many jobs for three days in virtual time, and compute when the rate limit of UP42 would be reached."""

import math
import random
import time
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.findings import Findings, Table, Target
from benchmarks.rounds import work
from benchmarks.scale import Scale

WAIT: Final = 60.0
DAYS: Final = 3.0
MEDIAN_LIFE: Final = 25 * 60.0
AT_ONCE: Final = 100
PLATFORM_RATE: Final = 100
OUR_RATE: Final = 50
NUMBERS: Final = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)


def lives(number: int, seed: int = 42) -> list[float]:
    """Draw how long jobs take, in seconds: half of them less than 25 minutes, few hours, none more than three days."""
    draw = random.Random(seed)  # noqa: S311 - how long jobs take, not a secret
    return [min(draw.lognormvariate(math.log(MEDIAN_LIFE), 1.0), DAYS * 86_400 - WAIT) for _ in range(number)]


def queries(life: float) -> int:
    """Return how often a job is asked for: at once, and then every minute until its end is seen."""
    return 1 + math.ceil(life / WAIT)


def together(lives_: list[float]) -> int:
    """Return the requests when all that are open are asked for together, 100 at a time."""
    asked = sorted(map(queries, lives_))
    total = finished = 0
    for tick in range(1, asked[-1] + 1):
        total += math.ceil((len(asked) - finished) / AT_ONCE)
        while finished < len(asked) and asked[finished] == tick:
            finished += 1
    return total


def measure(scale: Scale) -> Findings:
    """Compute the model, and run the library itself in virtual time where that takes seconds."""
    rows: list[list[str]] = []
    facts: dict[str, dict[str, float]] = {"a request a job": {}, "together": {}, "the library": {}}
    agrees = True
    for number in NUMBERS:
        drawn = lives(number)
        apart, joined = sum(map(queries, drawn)), together(drawn)
        seen: dict[str, Any] | None = None
        if number in scale.modelled:
            started = time.perf_counter()
            seen = work("virtual", "track", number=number)
            seen["seconds"] = time.perf_counter() - started
            facts["the library"][str(number)] = seen["requests"]
            agrees = agrees and abs(seen["requests"] - joined) <= max(2, 0.02 * joined)
        facts["a request a job"][str(number)] = apart
        facts["together"][str(number)] = joined
        rows.append(
            [
                f"{number:,}",
                f"{apart:,}",
                f"{joined:,}",
                f"{apart / joined:.0f}",
                f"{number / WAIT:,.1f}",
                f"{math.ceil(number / AT_ONCE) / WAIT:,.2f}",
                _counted(seen) if seen else "",
            ]
        )
    columns = [
        "jobs",
        "a request a job",
        "100 a request",
        "times fewer",
        "requests/s, a request a job",
        "requests/s, 100 a request",
        "the library, counted",
    ]
    reached = (
        f"A request a job reaches the platform's {PLATFORM_RATE} requests/s at {PLATFORM_RATE * WAIT:,.0f} open"
        f" jobs even when they are spread evenly over the minute, and at {PLATFORM_RATE:,} when they start together."
        f" A hundred a request would reach it at {PLATFORM_RATE * WAIT * AT_ONCE:,.0f}; up42-async never does, since"
        f" it sends {OUR_RATE} a second at the most: from {OUR_RATE * WAIT * AT_ONCE:,.0f} open jobs on, a round"
        " takes longer than the minute."
    )
    target = Target(
        what="Requests the library made in virtual time, against the model",
        bound="within 2 %",
        seen="yes" if agrees else "no",
        met=agrees,
        why="",
    )
    return Findings(
        title="Three days in virtual time",
        how=(
            "All jobs start together and are asked for every 60 s until they end: half of them within 25 minutes,"
            f" the last within three days (lognormal, sigma 1). {reached}"
        ),
        tables=[Table(caption="Requests until all jobs are finished", columns=columns, rows=rows)],
        targets=[target],
        facts={"requests": facts},
    )


def _counted(seen: Mapping[str, Any]) -> str:
    spent = f"{seen['days']:.1f} days in {seen['seconds']:.0f} s, memory grew by {seen['grown'] / 1e6:.0f} MB"
    return f"{seen['requests']:,} ({spent})"
