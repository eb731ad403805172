"""Run both loops at once, print the ledger, and write it down.

python -m benchmarks.faults --seed 7
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import SystemRandom

from benchmarks.faults.ledger import Line, ledger, ways_to_know
from benchmarks.faults.plan import Plan
from benchmarks.faults.report import write_report
from benchmarks.faults.run import Outcome, run

BACKENDS = ("asyncio", "trio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 0 if every line balances, else 1.

    Args:
        arguments: Of the command line; those of this process if not given.
    """
    given = _parser().parse_args(arguments)
    plan = Plan.draw(given.seed, given.seconds)
    print(f"Fault run with seed {plan.seed}: {plan.seconds:g} s of troubles, on {' and '.join(given.loops)} at once.")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(given.loops), mp_context=context) as processes:
        outcomes = list(processes.map(run, given.loops, [plan] * len(given.loops)))
    ledgers = [ledger(outcome) for outcome in outcomes]
    for outcome, lines in zip(outcomes, ledgers, strict=True):
        show(outcome, lines)
    if given.report is not None:
        write_report(outcomes, given.report)
    if all(line.balances for lines in ledgers for line in lines):
        print("Every line balances.")
        return 0
    print(f"Not every line balances. To run this again: nox -s faults -- --seed {plan.seed}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s faults --", description=__doc__)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000), help="repeats a run")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long things go wrong")
    parser.add_argument("--loops", nargs="+", choices=BACKENDS, default=BACKENDS, help="asyncio, trio, or both")
    parser.add_argument("--report", type=Path, help="the page to write, with a picture beside it")
    return parser


def show(outcome: Outcome, lines: Sequence[Line]) -> None:
    """Print the ledger of one loop.

    Args:
        outcome: Both sides' books.
        lines: The ledger.
    """
    books, truth = outcome.books, outcome.truth
    print(f"\n{outcome.backend}, {outcome.seconds:.0f} s: {books.attempts.total():,} calls,", end=" ")
    print(
        f"{books.cancelled.total():,} cancelled; {truth.requests:,} requests, {sum(truth.hits.values()):,} of them hit"
    )
    print(f"  known: {ways_to_know(outcome)}")
    print(f"  errors: {dict(books.errors.most_common())}")
    print(f"  {'':55} {'server':>9} {'clients':>9}")
    for line in lines:
        print(f"  {line.what:55} {line.server:>9} {line.clients:>9}  {'' if line.balances else 'DOES NOT BALANCE'}")
        for detail in line.details:
            print(f"      {detail}")


if __name__ == "__main__":
    sys.exit(main())
