"""Write what a run came to, for readers of the documentation."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.faults.ledger import Line, ledger, ways_to_know
from benchmarks.faults.picture import picture
from benchmarks.faults.run import Outcome
from benchmarks.faults.troubles import TROUBLES

_LIBRARIES = ("anyio", "httpcore", "httpx", "trio")

INTRODUCTION = """\
# Reliability

This page is written by `nox -s faults`, which anyone can run; do not edit it.

Clients on asyncio and on trio work against the [sandbox](tutorial.md) while everything goes wrong at once. They
execute templates (one, many, many in a block that is left early, the same thing twice at once), list jobs, track them
in every way there is, and download the results. Connections break, answers are lost, logins fail, lists shift while
they are read, files come in pieces, and about a tenth of all calls is cancelled, in each way that the loop has. Then
the troubles end, what is under way is brought to its end, and the books of both sides are compared.
"""


def write_report(outcomes: Sequence[Outcome], page: Path) -> None:
    """Write the page, and the picture beside it.

    Args:
        outcomes: One for each loop.
        page: Where it goes; the picture has the same name and ends in `.svg`.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    drawing = page.with_suffix(".svg")
    drawing.write_text(picture(outcomes), encoding="utf-8")
    page.write_text("\n".join(_page(outcomes, drawing.name)), encoding="utf-8")


def _page(outcomes: Sequence[Outcome], drawing: str) -> Iterator[str]:
    yield INTRODUCTION
    yield from _summary(outcomes)
    yield "## The ledger\n"
    yield from _ledger(outcomes)
    yield f"\n![Jobs executed, known and finished over time, and which trouble came when]({drawing})\n"
    yield "## What went wrong\n"
    yield from _troubles(outcomes)
    yield "\n## How jobs came to be known\n"
    yield from _counts("Jobs", [ways_to_know(outcome) for outcome in outcomes], outcomes)
    yield "\n## Calls\n"
    yield from _counts("Calls", [outcome.books.attempts for outcome in outcomes], outcomes)
    yield ""
    yield from _counts("Cancelled by", [outcome.books.cancelled for outcome in outcomes], outcomes)
    yield ""
    yield from _counts("Errors, calls and files", [outcome.books.errors for outcome in outcomes], outcomes)
    yield ""


def _summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    plan = outcomes[0].plan
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    versions = f"Python {platform.python_version()}, {libraries}"
    requests = sum(outcome.truth.requests for outcome in outcomes)
    hits = sum(sum(outcome.truth.hits.values()) for outcome in outcomes)
    calls = sum(outcome.books.attempts.total() for outcome in outcomes)
    cancelled = sum(outcome.books.cancelled.total() for outcome in outcomes)
    yield f"This run: {plan.seconds:g} s of troubles, {plan.clients} clients on each loop; {versions}."
    yield f"{calls:,} calls, {cancelled:,} of them cancelled; {requests:,} requests, {hits:,} of them hit by a trouble."
    yield f"The same troubles and cancellations again: `nox -s faults -- --seed {plan.seed}`. Which request meets which"
    yield "fault depends on the order in which they arrive, so that the figures differ a little.\n"


def _ledger(outcomes: Sequence[Outcome]) -> Iterator[str]:
    heads = " | ".join(f"{outcome.backend}: server | clients" for outcome in outcomes)
    yield f"| | {heads} | |"
    yield f"|---|{'---:|---:|' * len(outcomes)}---|"
    for lines in zip(*(ledger(outcome) for outcome in outcomes), strict=True):
        cells = " | ".join(f"{line.server} | {line.clients}" for line in lines)
        yield f"| {_name(lines)} | {cells} | {'balances' if all(line.balances for line in lines) else '**does not**'} |"


def _name(lines: Sequence[Line]) -> str:
    names = dict.fromkeys(line.what for line in lines)
    return " / ".join(names)


def _troubles(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"| trouble | what happens | {' | '.join(f'hit, {outcome.backend}' for outcome in outcomes)} |"
    yield f"|---|---|{'---:|' * len(outcomes)}"
    about = {"always": "a little of everything, all the time"}
    about.update({name: trouble.what for name, trouble in TROUBLES.items()})
    for name, what in about.items():
        hits = " | ".join(f"{outcome.truth.hits[name]:,}" for outcome in outcomes)
        yield f"| {name} | {what} | {hits} |"


def _counts(what: str, counts: Sequence[Mapping[str, int]], outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"| {what} | {' | '.join(outcome.backend for outcome in outcomes)} |"
    yield f"|---|{'---:|' * len(outcomes)}"
    for name in dict.fromkeys(name for one in counts for name in one):
        yield f"| {name} | {' | '.join(f'{one.get(name, 0):,}' for one in counts)} |"
