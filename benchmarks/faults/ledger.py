"""Compare both sides, line by line."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from benchmarks.faults.books import KEPT, WAYS_TO_KNOW
from benchmarks.faults.run import Outcome

MEMORY: Final = 32 * 2**20
"""Bytes by which memory may grow in a run."""
_SHOWN: Final = 5


@attrs.frozen(kw_only=True)
class Line:
    """One line of the ledger."""

    what: str
    server: str
    """What the platform says, or what must be."""
    clients: str
    """What the clients say, or what was found."""
    balances: bool
    details: Sequence[str] = ()
    """What does not agree."""


def ledger(outcome: Outcome) -> list[Line]:
    """Return the ledger of a run.

    Args:
        outcome: Both sides' books.
    """
    return [*_jobs(outcome), *_credits(outcome), *_states(outcome), *_files(outcome), *_leftovers(outcome)]


def _jobs(outcome: Outcome) -> Iterator[Line]:
    books, truth = outcome.books, outcome.truth
    unknown = sorted(truth.jobs.keys() - books.known.keys())
    invented = sorted(books.known.keys() - truth.jobs.keys())
    details = [f"unknown to the clients: {id_} ({truth.jobs[id_].title})" for id_ in unknown]
    details += [f"unknown to the server: {id_} ({books.titles[id_]}, {books.known[id_]})" for id_ in invented]
    yield _equal("Jobs executed, and known", len(truth.jobs), len(books.known), details)
    made = Counter(job.title for job in truth.jobs.values())
    yield _none("Calls that made more than one job", [title for title in made if made[title] > books.calls[title]])
    yield _none("Jobs given to two calls", books.taken_twice)
    kept = {id_ for id_, how in books.known.items() if how == KEPT}
    yield _equal(
        "Jobs of cancelled callers, and named in the log", len(kept), len(kept & books.logged), kept - books.logged
    )


def _credits(outcome: Outcome) -> Iterator[Line]:
    books, truth = outcome.books, outcome.truth
    spent = sum(job.credits or 0 for job in books.finished.values() if job.is_successful)
    yield _equal("Credits captured, and sum of the jobs known", truth.captured, spent)
    yield _equal("Credits still withheld", truth.withheld, 0)
    prices = Counter[str]()
    for job in truth.jobs.values():
        prices[job.title] += job.price
    passed = [titles[0] for cap, titles in books.caps if sum(prices[title] for title in set(titles)) > cap]
    yield _none("Limits on credits passed", passed)


def _states(outcome: Outcome) -> Iterator[Line]:
    books, truth = outcome.books, outcome.truth
    finished = {id_: job.status for id_, job in books.finished.items()}
    differ = [
        f"{id_}: {job.status} at the server, {finished.get(id_)} at the client"
        for id_, job in truth.jobs.items()
        if finished.get(id_) != job.status
    ]
    yield _equal("Statuses, and equal ones", len(truth.jobs), len(truth.jobs) - len(differ), differ)
    yield _none("Jobs missing from complete listings", ["some"] * books.not_listed)
    yield _none("Jobs that came twice in a listing", ["some"] * books.listed_twice)


def _files(outcome: Outcome) -> Iterator[Line]:
    books, truth = outcome.books, outcome.truth
    stored = {(id_, name): digest for id_, job in truth.jobs.items() for name, digest in job.files.items()}
    whole = {place for place, digests in books.seen.items() if digests == {stored.get(place)}}
    details = [f"{id_}/{name}" for id_, name in sorted(stored.keys() ^ whole)]
    yield _equal("Files of results, and whole ones", len(stored), len(whole), details)
    broken = [f"{id_}/{name}" for (id_, name), digests in books.seen.items() if digests != {stored.get((id_, name))}]
    yield _none("Files that were ever seen and not whole", broken)
    yield _none("Parts left beside whole files", books.parts_left)
    yield _equal("Tokens sent to the host of the files", truth.strangers, 0)


def _leftovers(outcome: Outcome) -> Iterator[Line]:
    books, left = outcome.books, outcome.leaks
    yield _none("Errors that are none of the library's", books.unexpected)
    yield _none("Errors inside the sandbox", outcome.truth.crashes)
    yield _equal("Jobs not brought to their end in time", 0, outcome.left)
    yield _equal("Descriptors left open", 0, left.descriptors)
    yield _equal("Tasks left running", 0, left.tasks)
    yield _equal("Slots and connections left taken", 0, left.in_use)
    alive = [f"{number} x {name}" for name, number in left.objects.items()]
    yield _equal("Objects of the library still alive", 0, sum(left.objects.values()), alive)
    mebibytes = left.memory / 2**20
    yield Line(
        what="Growth of memory, MiB",
        server=f"below {MEMORY // 2**20}",
        clients=f"{mebibytes:.1f}",
        balances=left.memory < MEMORY,
    )


def _equal(what: str, server: int, clients: int, details: Sequence[str] | set[str] = ()) -> Line:
    return Line(
        what=what,
        server=f"{server:,}",
        clients=f"{clients:,}",
        balances=server == clients and not details,
        details=sorted(details)[:_SHOWN],
    )


def _none(what: str, found: Sequence[str]) -> Line:
    return _equal(what, 0, len(found), found)


def ways_to_know(outcome: Outcome) -> dict[str, int]:
    """Return how many jobs came to be known in which way."""
    counts = Counter(outcome.books.known.values())
    return {way: counts[way] for way in WAYS_TO_KNOW}
