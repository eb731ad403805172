"""Everything goes wrong at once for some seconds, and at the end the books of both sides agree all the same."""

from pathlib import Path

import attrs
import pytest

from benchmarks.faults import run as faults
from benchmarks.faults.ledger import ledger
from benchmarks.faults.plan import Plan
from benchmarks.faults.report import write_report
from benchmarks.faults.run import Outcome
from benchmarks.faults.troubles import TROUBLES
from up42_async._jobs import job, poller
from up42_async._processing import execution

SECONDS = 2.5


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """Run once on each loop, with few buyers, and sooner looks at what may be lost or finished than in real life."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "BUYERS", 6)
        patch.setattr(execution, "LOOKS", (0.05, 0.1, 0.2, 0.4, 0.8))
        for module in (poller, job):
            patch.setattr(module, "SETTLE", 0.3)
        return faults.run(request.param, Plan.draw(11, SECONDS, clients=1, speed=3600))


def test_the_books_of_both_sides_agree(outcome: Outcome) -> None:
    assert [line for line in ledger(outcome) if not line.balances] == []
    assert outcome.truth.jobs
    assert sum(outcome.truth.hits.values()) > 0


def test_a_ledger_that_does_not_balance_says_what_is_missing(outcome: Outcome) -> None:
    job_id, server_job = next(iter(outcome.truth.jobs.items()))
    wrong = attrs.evolve(server_job, status="paused", files={"lost.tif": "0"})
    truth = attrs.evolve(outcome.truth, jobs={**outcome.truth.jobs, job_id: wrong, "unheard-of": server_job})
    books = attrs.evolve(outcome.books, unexpected=["KeyError()"])
    lines = {line.what: line for line in ledger(attrs.evolve(outcome, truth=truth, books=books, left=1))}
    assert {what for what, line in lines.items() if not line.balances} >= {
        "Jobs executed, and known",
        "Statuses, and equal ones",
        "Files of results, and whole ones",
        "Errors that are none of the library's",
        "Jobs not brought to their end in time",
    }
    assert any("unheard-of" in detail for detail in lines["Jobs executed, and known"].details)
    assert any(job_id in detail for detail in lines["Statuses, and equal ones"].details)


def test_the_page_has_every_line_and_every_trouble(outcome: Outcome, tmp_path: Path) -> None:
    write_report([outcome], tmp_path / "docs" / "reliability.md")
    page = (tmp_path / "docs" / "reliability.md").read_text(encoding="utf-8")
    picture = (tmp_path / "docs" / "reliability.svg").read_text(encoding="utf-8")
    assert "(reliability.svg)" in page
    assert all(line.what in page for line in ledger(outcome))
    assert all(name in page and name in picture for name in TROUBLES)


def test_a_seed_repeats_the_plan() -> None:
    assert Plan.draw(7, 60) == Plan.draw(7, 60)
    assert Plan.draw(7, 60) != Plan.draw(8, 60)


def test_every_trouble_comes_and_ends_in_time() -> None:
    plan = Plan.draw(7, 60)
    assert {spell.trouble for spell in plan.spells} == set(TROUBLES)
    assert all(0 <= spell.start < spell.end <= plan.seconds for spell in plan.spells)
    assert plan.active(plan.seconds) == frozenset()
