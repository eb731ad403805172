"""Compare the records of the server with those of the clients."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from tests.chaos.client_state import KEPT, WAYS_TO_KNOW
from tests.chaos.run import Outcome

MEMORY: Final = 32 * 2**20
"""Bytes by which memory may grow in a run."""
_SHOWN: Final = 5


@attrs.frozen(kw_only=True)
class Check:
    """One line of the checks."""

    what: str
    server: str
    """The platform's figure, or the required one."""
    clients: str
    """The clients' figure, or the one that was found."""
    passed: bool
    details: Sequence[str] = ()
    """The differences."""


def checks(outcome: Outcome) -> list[Check]:
    """Return the checks of a run.

    Args:
        outcome: The records of both sides.
    """
    return [*_jobs(outcome), *_credits(outcome), *_states(outcome), *_files(outcome), *_leftovers(outcome)]


def _jobs(outcome: Outcome) -> Iterator[Check]:
    state, server = outcome.state, outcome.server
    unknown = sorted(server.jobs.keys() - state.known.keys())
    invented = sorted(state.known.keys() - server.jobs.keys())
    details = [f"unknown to the clients: {id_} ({server.jobs[id_].title})" for id_ in unknown]
    details += [f"unknown to the server: {id_} ({state.titles[id_]}, {state.known[id_]})" for id_ in invented]
    yield _equal("Jobs executed, and known", len(server.jobs), len(state.known), details)
    made = Counter(job.title for job in server.jobs.values())
    yield _none("Calls that made more than one job", [title for title in made if made[title] > state.calls[title]])
    yield _none("Jobs given to two calls", state.taken_twice)
    kept = {id_ for id_, how in state.known.items() if how == KEPT}
    yield _equal(
        "Jobs of cancelled callers, and named in the log", len(kept), len(kept & state.logged), kept - state.logged
    )


def _credits(outcome: Outcome) -> Iterator[Check]:
    state, server = outcome.state, outcome.server
    spent = sum(job.credits or 0 for job in state.finished.values() if job.is_successful)
    yield _equal("Credits captured, and sum of the jobs known", server.captured, spent)
    yield _equal("Credits still withheld", server.withheld, 0)
    prices = Counter[str]()
    for job in server.jobs.values():
        prices[job.title] += job.price
    passed = [titles[0] for cap, titles in state.caps if sum(prices[title] for title in set(titles)) > cap]
    yield _none("Limits on credits passed", passed)


def _states(outcome: Outcome) -> Iterator[Check]:
    state, server = outcome.state, outcome.server
    finished = {id_: job.status for id_, job in state.finished.items()}
    differ = [
        f"{id_}: {job.status} at the server, {finished.get(id_)} at the client"
        for id_, job in server.jobs.items()
        if finished.get(id_) != job.status
    ]
    yield _equal("Statuses, and equal ones", len(server.jobs), len(server.jobs) - len(differ), differ)
    yield _none("Jobs missing from complete listings", ["some"] * state.not_listed)
    yield _none("Jobs that came twice in a listing", ["some"] * state.listed_twice)


def _files(outcome: Outcome) -> Iterator[Check]:
    state, server = outcome.state, outcome.server
    stored = {(id_, name): digest for id_, job in server.jobs.items() for name, digest in job.files.items()}
    whole = {place for place, digests in state.seen.items() if digests == {stored.get(place)}}
    details = [f"{id_}/{name}" for id_, name in sorted(stored.keys() ^ whole)]
    yield _equal("Files of results, and whole ones", len(stored), len(whole), details)
    broken = [f"{id_}/{name}" for (id_, name), digests in state.seen.items() if digests != {stored.get((id_, name))}]
    yield _none("Files that were ever seen and not whole", broken)
    yield _none("Parts left beside whole files", state.parts_left)
    yield _equal("Tokens sent to the host of the files", server.strangers, 0)


def _leftovers(outcome: Outcome) -> Iterator[Check]:
    state, left = outcome.state, outcome.leaks
    yield _none("Errors that are none of the library's", state.unexpected)
    yield _none("Errors inside the sandbox", outcome.server.crashes)
    yield _equal("Jobs not brought to their end in time", 0, outcome.left)
    yield _equal("Descriptors left open", 0, left.descriptors)
    yield _equal("Tasks left running", 0, left.tasks)
    yield _equal("Slots and connections left taken", 0, left.in_use)
    alive = [f"{number} x {name}" for name, number in left.objects.items()]
    yield _equal("Objects of the library still alive", 0, sum(left.objects.values()), alive)
    mebibytes = left.memory / 2**20
    yield Check(
        what="Growth of memory, MiB",
        server=f"below {MEMORY // 2**20}",
        clients=f"{mebibytes:.1f}",
        passed=left.memory < MEMORY,
    )


def _equal(what: str, server: int, clients: int, details: Sequence[str] | set[str] = ()) -> Check:
    return Check(
        what=what,
        server=f"{server:,}",
        clients=f"{clients:,}",
        passed=server == clients and not details,
        details=sorted(details)[:_SHOWN],
    )


def _none(what: str, found: Sequence[str]) -> Check:
    return _equal(what, 0, len(found), found)


def ways_to_know(outcome: Outcome) -> dict[str, int]:
    """Return for each way in which clients learn of a job how many jobs they learned of in it."""
    counts = Counter(outcome.state.known.values())
    return {way: counts[way] for way in WAYS_TO_KNOW}
