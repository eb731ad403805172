"""A run with a journal that is killed at random times and started again pays for nothing twice."""

from pathlib import Path

import pytest

from tests.chaos.killed_runs import Plan, run

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("with_pipeline", [False, True])
def test_a_run_that_is_killed_pays_for_nothing_twice(tmp_path: Path, *, with_pipeline: bool) -> None:
    plan = Plan(seed=11, templates=40, duplicates=4, kills=3, with_pipeline=with_pipeline, longest=1.2)
    outcome = run(plan, tmp_path)
    assert outcome.problems() == []


def test_problems_names_every_broken_promise(tmp_path: Path) -> None:
    outcome = run(Plan(seed=12, templates=2, duplicates=0, kills=0), tmp_path)
    assert outcome.problems() == []
    outcome.executions = [3, 3]
    outcome.results[1]["job"] = outcome.results[0]["job"]
    outcome.spent += 10**6
    assert len(outcome.problems()) == 4
