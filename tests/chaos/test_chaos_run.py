"""The records of server and clients agree after some seconds of many faults at once."""

from pathlib import Path

import attrs
import pytest

import up42_async as up42
from tests.chaos.checks import checks
from tests.chaos.faults import FAULTS
from tests.chaos.plan import Plan
from tests.chaos.run import Outcome, run

SECONDS = 6.0
SOON = up42.Polling(settle=0.3, recover=1.6)

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """Run once on each event loop, with few callers and with shorter polling times than the defaults.

    If a busy machine executed no job in that time, run again for longer.
    """

    def run_for(seconds: float) -> Outcome:
        return run(request.param, Plan.draw(11, seconds, clients=1, executors=6, speed=3600, polling=SOON))

    outcome = run_for(SECONDS)
    return outcome if outcome.server.jobs else run_for(5 * SECONDS)


def test_the_records_of_server_and_clients_agree(outcome: Outcome) -> None:
    assert [check for check in checks(outcome) if not check.passed] == []
    assert outcome.server.jobs
    assert sum(outcome.server.hits.values()) > 0


def test_a_failed_check_names_what_is_missing(outcome: Outcome) -> None:
    job_id, server_job = next(iter(outcome.server.jobs.items()))
    wrong = attrs.evolve(server_job, status="paused", files={"lost.tif": "0"})
    server = attrs.evolve(outcome.server, jobs={**outcome.server.jobs, job_id: wrong, "unheard-of": server_job})
    state = attrs.evolve(outcome.state, unexpected=["KeyError()"])
    found = {check.what: check for check in checks(attrs.evolve(outcome, server=server, state=state, left=1))}
    assert {what for what, check in found.items() if not check.passed} >= {
        "Jobs executed, and known",
        "Statuses, and equal ones",
        "Files of results, and whole ones",
        "Errors that are none of the library's",
        "Jobs not brought to their end in time",
    }
    assert any("unheard-of" in detail for detail in found["Jobs executed, and known"].details)
    assert any(job_id in detail for detail in found["Statuses, and equal ones"].details)


def test_the_page_has_every_check_and_every_fault_and_its_pictures(outcome: Outcome, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are drawn where matplotlib is installed: nox -s chaos")
    from tests.chaos.report import write_report  # noqa: PLC0415 - it needs matplotlib

    write_report([outcome], tmp_path / "docs" / "reliability.md")
    page = (tmp_path / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert all(check.what in page for check in checks(outcome))
    assert all(name in page for name in FAULTS)
    for name in ("jobs", "checks", "hits"):
        picture = tmp_path / "docs" / f"reliability-{name}.svg"
        assert picture.name in page
        assert "<svg" in picture.read_text(encoding="utf-8")


def test_a_seed_repeats_the_plan() -> None:
    assert Plan.draw(7, 60) == Plan.draw(7, 60)
    assert Plan.draw(7, 60) != Plan.draw(8, 60)


def test_every_fault_begins_and_ends_within_the_run() -> None:
    plan = Plan.draw(7, 60)
    assert {spell.fault for spell in plan.spells} == set(FAULTS)
    assert all(0 <= spell.start < spell.end <= plan.seconds for spell in plan.spells)
    assert plan.active(plan.seconds) == frozenset()
