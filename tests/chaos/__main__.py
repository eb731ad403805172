"""Run both loops at once, print the checks, and write the page.

python -m tests.chaos --seed 7
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import SystemRandom

from tests.chaos.checks import Check, checks, ways_to_know
from tests.chaos.plan import Plan
from tests.chaos.run import Outcome, run

BACKENDS = ("asyncio", "trio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 0 if every check passed, else 1.

    Args:
        arguments: Command-line arguments; those of this process by default.
    """
    given = _parser().parse_args(arguments)
    plan = Plan.draw(given.seed, given.seconds)
    print(f"Chaos run with seed {plan.seed}: {plan.seconds:g} s of faults, on {' and '.join(given.loops)} at once.")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(given.loops), mp_context=context) as processes:
        outcomes = list(processes.map(run, given.loops, [plan] * len(given.loops)))
    all_checks = [checks(outcome) for outcome in outcomes]
    for outcome, lines in zip(outcomes, all_checks, strict=True):
        show(outcome, lines)
    if given.report is not None:
        from tests.chaos.report import write_report  # noqa: PLC0415 - only a page needs matplotlib

        write_report(outcomes, given.report)
    if all(line.passed for lines in all_checks for line in lines):
        print("Every check passed.")
        return 0
    print(f"A check failed. The same faults again: nox -s chaos -- --seed {plan.seed}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s chaos --", description=__doc__)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000), help="repeats a run")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long things go wrong")
    parser.add_argument("--loops", nargs="+", choices=BACKENDS, default=BACKENDS, help="asyncio, trio, or both")
    parser.add_argument("--report", type=Path, help="the page to write, with a picture beside it")
    return parser


def show(outcome: Outcome, lines: Sequence[Check]) -> None:
    """Print the checks of one loop.

    Args:
        outcome: The records of both sides.
        lines: The checks.
    """
    state, server = outcome.state, outcome.server
    calls = f"{state.attempts.total():,} calls, {state.cancelled.total():,} cancelled"
    requests = f"{server.requests:,} requests, {sum(server.hits.values()):,} of them hit"
    print(f"\n{outcome.backend}, {outcome.seconds:.0f} s: {calls}; {requests}")
    print(f"  known: {ways_to_know(outcome)}")
    print(f"  errors: {dict(state.errors.most_common())}")
    print(f"  {'':55} {'server':>9} {'clients':>9}")
    for line in lines:
        print(f"  {line.what:55} {line.server:>9} {line.clients:>9}  {'' if line.passed else 'FAILED'}")
        for detail in line.details:
            print(f"      {detail}")


if __name__ == "__main__":
    sys.exit(main())
