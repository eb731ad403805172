"""Kill a run with a journal many times, start it again until it is complete, and count what was paid.

python -m tests.chaos.killed_runs --seed 7

The run is a program in a process of its own, which SIGKILL ends at random times, also between a request and its
response. Meanwhile responses are lost, and requests refused with 429. The server keeps running and records executions.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import attrs

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import REFERENCE_ASSET, Sandbox, faults

SPEED: Final = 200.0
ITEM_FILES: Final = ("a", "b")
RECOVER: Final = 3.0
"""Seconds for which the client looks for a lost job: the query is delayed by hundreds of requests before it."""
BACKENDS: Final = ("asyncio", "trio")


@attrs.frozen(kw_only=True)
class Plan:
    """The size of the run, and how often it is killed."""

    seed: int = 0
    templates: int = 200
    duplicates: int = 20
    """Number of these templates that are equal to another one."""
    kills: int = 20
    with_pipeline: bool = False
    shortest: float = 0.5
    """Shortest time from a start to its kill, in seconds; Python and the library need a part of it to start."""
    longest: float = 2.5
    """Longest time from a start to its kill, in seconds."""


@attrs.define
class Outcome:
    """The counts of one run."""

    plan: Plan
    starts: int = 0
    killed: int = 0
    executions: list[int] = attrs.field(factory=list)
    """Executions at the server after the complete run, and after one more start with `retry_uncertain=True`."""
    spent: int = 0
    max_credits: int = 0
    results: list[dict[str, Any]] = attrs.field(factory=list)
    """Title, job id and error name of each template, from the complete run."""
    final: list[dict[str, Any]] = attrs.field(factory=list)
    """Title, job id and error name of each template, from the start with `retry_uncertain=True`."""
    touched: list[str] = attrs.field(factory=list)
    """Files that were complete at a kill, and were written again after it."""
    broken: list[str] = attrs.field(factory=list)
    """Files that are missing, unexpected, or of another size than at the server."""
    fetched_again: int = 0
    """Requests to the file server in one more start, when all files were downloaded."""

    def problems(self) -> list[str]:
        """Return which promises were broken."""
        number = self.plan.templates
        jobs = [row["job"] for row in self.results if row["job"] is not None]
        unknown = [row for row in self.results if row["job"] is None and row["error"] != "ExecutionUncertainError"]
        checks = {
            f"{self.executions[0]} executions for {number} templates": self.executions[0] > number,
            f"one job for two templates: {Counter(jobs).most_common(1)}": len(jobs) != len(set(jobs)),
            f"neither a job nor uncertain: {unknown[:3]}": bool(unknown),
            f"{self.executions[1]} executions after retry_uncertain": self.executions[1] != number,
            f"no job after retry_uncertain: {self.final[:3]}": any(row["job"] is None for row in self.final),
            f"{self.spent} credits spent, {self.max_credits} allowed": self.spent > self.max_credits,
            f"written again: {self.touched[:3]}": bool(self.touched),
            f"not whole: {self.broken[:3]}": bool(self.broken),
            f"{self.fetched_again} files fetched again": bool(self.fetched_again),
            f"{self.killed} kills": self.killed < self.plan.kills,
        }
        return [what for what, is_wrong in checks.items() if is_wrong]


def run(plan: Plan, place: Path) -> Outcome:
    """Start and kill the program as often as planned, let it complete, and compare the records.

    Args:
        plan: The size of the run.
        place: A directory for the journal and the files.
    """
    outcome = Outcome(plan)
    chance = random.Random(plan.seed)  # noqa: S311 - a seed repeats a run
    with Sandbox(speed=SPEED, failure_rate=0, balance=10**9, seed=plan.seed, latency=0.02) as sandbox:
        task = _task(plan, sandbox, place)
        outcome.max_credits = task["max_credits"]
        sandbox.faults.add(faults.LoseAnswer(), path=".*/execution", probability=0.05)
        sandbox.faults.add(faults.Status(429, retry_after=0), path=".*/execution", probability=0.05)
        whole: dict[Path, tuple[int, int]] = {}
        while outcome.killed < plan.kills:
            ended = _start(task, outcome, chance.uniform(plan.shortest, plan.longest))
            outcome.touched += _touched(whole, sandbox, place)
            if ended is not None:
                break
        outcome.results = _start(task, outcome) or []
        outcome.executions.append(len(sandbox.executions))
        sandbox.faults.clear()
        outcome.final = _start({**task, "retry_uncertain": True}, outcome) or []
        outcome.touched += _touched(whole, sandbox, place)
        outcome.executions.append(len(sandbox.executions))
        outcome.spent = sum(execution.price for execution in sandbox.executions)
        if plan.with_pipeline:
            fetched = sandbox.count(origin="files")
            _start(task, outcome)
            outcome.fetched_again = sandbox.count(origin="files") - fetched
            outcome.broken = _broken(sandbox, place)
    return outcome


def _task(plan: Plan, sandbox: Sandbox, place: Path) -> dict[str, Any]:
    (item,) = sandbox.items_of(REFERENCE_ASSET)
    titles = [f"trees {number}" for number in range(plan.templates - plan.duplicates)]
    titles += titles[: plan.duplicates]
    random.Random(plan.seed).shuffle(titles)  # noqa: S311 - a seed repeats a run
    settings = sandbox.settings
    polling = settings["polling"]
    return {
        "credentials": dict(sandbox.credentials),
        "endpoints": {"api": sandbox.endpoints.api, "auth": sandbox.endpoints.auth},
        "polling": {name: getattr(polling, name) for name in ("wait", "retries", "settle", "recover", "visible")},
        "item": item,
        "titles": titles,
        "place": str(place),
        "with_pipeline": plan.with_pipeline,
        "max_credits": plan.templates * anyio.run(_price, sandbox, item),
        "retry_uncertain": False,
    }


async def _price(sandbox: Sandbox, item: str) -> int:
    async with up42.Client(**sandbox.settings):
        return (await DetectionTreesSpacept(title="trees", item=item).evaluate()).cost.credits


def _start(task: dict[str, Any], outcome: Outcome, seconds: float | None = None) -> list[dict[str, Any]] | None:
    """Start the program, and kill it after some seconds if given; return its results, or None if it was killed."""
    outcome.starts += 1
    backend = BACKENDS[outcome.starts % 2]
    command = [sys.executable, "-m", "tests.chaos.killed_runs", "--run", json.dumps({**task, "backend": backend})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:  # noqa: S603 - our own program
        if seconds is not None:
            time.sleep(seconds)
            if program.poll() is None:
                program.kill()
                outcome.killed += 1
                return None
        output = program.communicate(timeout=300)[0]
    if program.returncode:
        raise RuntimeError(f"the run ended with {program.returncode}")
    results: list[dict[str, Any]] = json.loads(output)
    return results


def _files(place: Path) -> list[Path]:
    return [path for path in (place / "results").rglob("*") if path.is_file() and not path.name.startswith(".")]


def _touched(whole: dict[Path, tuple[int, int]], sandbox: Sandbox, place: Path) -> list[str]:
    """Return the complete files that were written again or removed, and add newly complete files to `whole`."""
    now = {path: path.stat() for path in _files(place)}
    touched = [
        str(path)
        for path, known in whole.items()
        if path not in now or (now[path].st_ino, now[path].st_mtime_ns) != known
    ]
    for path, status in now.items():
        if status.st_size == _sizes(sandbox, path.parent.name).get(path.name):
            whole[path] = (status.st_ino, status.st_mtime_ns)
    return touched


def _sizes(sandbox: Sandbox, job_id: str) -> dict[str, int]:
    return {file.name: file.size for file in sandbox.results_of(job_id)} if job_id in sandbox.jobs else {}


def _broken(sandbox: Sandbox, place: Path) -> list[str]:
    wanted = {(job_id, name): size for job_id in sandbox.jobs for name, size in _sizes(sandbox, job_id).items()}
    found = {(path.parent.name, path.name): path.stat().st_size for path in _files(place)}
    executed = {execution.job_id for execution in sandbox.executions}
    wanted = {key: size for key, size in wanted.items() if key[0] in executed}
    return [str(key) for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]


async def program(task: dict[str, Any]) -> None:
    """Run the program that is killed, as a user would write it.

    Args:
        task: Settings and templates, as `_task` returns them, with the event loop.
    """
    templates = [DetectionTreesSpacept(title=title, item=task["item"]) for title in task["titles"]]
    polling: dict[str, Any] = {**task["polling"], "recover": RECOVER}
    client = up42.Client(
        **task["credentials"],
        endpoints=up42.Endpoints(**task["endpoints"]),
        polling=up42.Polling(**polling),
        retry=up42.RetryPolicy(wait_initial=0.05),
    )
    place = Path(task["place"])
    terms: dict[str, Any] = {
        "journal": place / "run.db",
        "max_credits": task["max_credits"],
        "retry_uncertain": task["retry_uncertain"],
    }
    results: Sequence[Any]
    async with client:
        if task["with_pipeline"]:
            results = await up42.pipeline(templates, place / "results", max_running=40, **terms)
        else:
            results = await up42.execute(templates, **terms)
    rows = [
        {
            "title": result.template.title,
            "job": None if result.job is None else result.job.id,
            "error": None if result.error is None else type(result.error).__name__,
        }
        for result in results
    ]
    print(json.dumps(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the counts, and return 0 if no promise was broken, else 1.

    Args:
        arguments: Command-line arguments; those of this process by default.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.killed_runs", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a run")
    parser.add_argument("--run", help="be the program that is killed; used internally")
    given = parser.parse_args(arguments)
    if given.run is not None:
        task = json.loads(given.run)
        anyio.run(program, task, backend=task["backend"])
        return 0
    failed = False
    for with_pipeline in (False, True):
        with tempfile.TemporaryDirectory() as place:
            outcome = run(Plan(seed=given.seed, with_pipeline=with_pipeline), Path(place))
        problems = outcome.problems()
        failed |= bool(problems)
        verb = "pipeline" if with_pipeline else "execute"
        uncertain = sum(row["job"] is None for row in outcome.results)
        print(
            f"{verb}, seed {given.seed}: {outcome.plan.templates} templates, {outcome.killed} kills in"
            f" {outcome.starts} starts; {outcome.executions[0]} executions, {uncertain} uncertain,"
            f" {outcome.executions[1]} after retry_uncertain; {outcome.spent} of {outcome.max_credits} credits"
        )
        print(*problems, sep="\n", file=sys.stderr, end="\n" if problems else "")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
