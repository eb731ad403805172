"""Write the report page of a run."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from tests.chaos.checks import Check, checks, ways_to_know
from tests.chaos.faults import FAULTS
from tests.chaos.pictures import draw_checks, draw_hits, draw_jobs
from tests.chaos.run import Outcome

_LIBRARIES = ("anyio", "httpcore", "httpx", "trio")

INTRODUCTION = """\
# Reliability

This page is written by `nox -s chaos`, which anyone can run; do not edit it.

Clients on asyncio and on trio work against the [sandbox](tutorial.md) while everything goes wrong at once. They
execute templates (one, many, many in a block that is left early, the same thing twice at once), list jobs, track them
in every way there is, and download the results. Connections break, answers are lost, logins fail, lists shift while
they are read, files come in pieces, and about a tenth of all calls is cancelled, in each way that the loop has. Then
the faults end, what is under way is brought to its end, and what the server knows is compared with what the
clients know.
"""


def write_report(outcomes: Sequence[Outcome], page: Path) -> None:
    """Write the page, and the pictures beside it.

    Args:
        outcomes: One for each event loop.
        page: The file to write; the names of the pictures begin with its name.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(_page(outcomes, page.stem)), encoding="utf-8")
    draw_jobs(outcomes, page.with_name(f"{page.stem}-jobs.svg"))
    draw_checks(outcomes, page.with_name(f"{page.stem}-checks.svg"))
    draw_hits(outcomes, page.with_name(f"{page.stem}-hits.svg"))


def _page(outcomes: Sequence[Outcome], stem: str) -> Iterator[str]:
    yield INTRODUCTION
    yield from _summary(outcomes)
    yield "## The checks\n"
    yield from _checks(outcomes)
    yield f"\n![What the server and the clients say, beside each other]({stem}-checks.svg)\n"
    yield f"![Jobs executed, known and finished over time, and which fault came when]({stem}-jobs.svg)\n"
    yield "## What went wrong\n"
    yield f"![Requests and connections hit by each fault]({stem}-hits.svg)\n"
    yield from _faults(outcomes)
    yield "\n## How jobs came to be known\n"
    yield from _counts("Jobs", [ways_to_know(outcome) for outcome in outcomes], outcomes)
    yield "\n## Calls\n"
    yield from _counts("Calls", [outcome.state.attempts for outcome in outcomes], outcomes)
    yield ""
    yield from _counts("Cancelled by", [outcome.state.cancelled for outcome in outcomes], outcomes)
    yield ""
    yield from _counts("Errors, calls and files", [outcome.state.errors for outcome in outcomes], outcomes)
    yield ""


def _summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    plan = outcomes[0].plan
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    versions = f"Python {platform.python_version()}, {libraries}"
    requests = sum(outcome.server.requests for outcome in outcomes)
    hits = sum(sum(outcome.server.hits.values()) for outcome in outcomes)
    calls = sum(outcome.state.attempts.total() for outcome in outcomes)
    cancelled = sum(outcome.state.cancelled.total() for outcome in outcomes)
    yield f"This run: {plan.seconds:g} s of faults, {plan.clients} clients on each loop; {versions}."
    yield f"{calls:,} calls, {cancelled:,} of them cancelled; {requests:,} requests, {hits:,} of them hit by a fault."
    yield f"The same faults and cancellations again: `nox -s chaos -- --seed {plan.seed}`. Which request meets which"
    yield "fault depends on the order in which they arrive, so that the figures differ a little.\n"


def _checks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    heads = " | ".join(f"{outcome.backend}: server | clients" for outcome in outcomes)
    yield f"| | {heads} | |"
    yield f"|---|{'---:|---:|' * len(outcomes)}---|"
    for lines in zip(*(checks(outcome) for outcome in outcomes), strict=True):
        cells = " | ".join(f"{line.server} | {line.clients}" for line in lines)
        yield f"| {_name(lines)} | {cells} | {'passed' if all(line.passed for line in lines) else '**failed**'} |"


def _name(lines: Sequence[Check]) -> str:
    names = dict.fromkeys(line.what for line in lines)
    return " / ".join(names)


def _faults(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"| fault | what happens | {' | '.join(f'hit, {outcome.backend}' for outcome in outcomes)} |"
    yield f"|---|---|{'---:|' * len(outcomes)}"
    about = {"always": "a little of everything, all the time"}
    about.update({name: fault.what for name, fault in FAULTS.items()})
    for name, what in about.items():
        hits = " | ".join(f"{outcome.server.hits[name]:,}" for outcome in outcomes)
        yield f"| {name} | {what} | {hits} |"


def _counts(what: str, counts: Sequence[Mapping[str, int]], outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"| {what} | {' | '.join(outcome.backend for outcome in outcomes)} |"
    yield f"|---|{'---:|' * len(outcomes)}"
    for name in dict.fromkeys(name for one in counts for name in one):
        yield f"| {name} | {' | '.join(f'{one.get(name, 0):,}' for one in counts)} |"
