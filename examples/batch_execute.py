"""Run a process on 200 images under one limit on credits, and track the jobs to their end.

    python examples/batch_execute.py

It starts a sandbox, a local server that behaves like UP42, on which an hour of processing takes six seconds. In one of
ten executions the connection breaks before the response arrives; each execution is paid for once all the same.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence

import anyio

import up42_async as up42
from up42_async.processing_templates import DetectionShipsAirbus
from up42_async.sandbox import Sandbox, faults

IMAGES = 200
MAX_CREDITS = 20_000
SPEED = 600  # an hour of processing takes 6 seconds


async def evaluate(templates: Sequence[DetectionShipsAirbus]) -> None:
    """Check all templates, and print their price."""
    started = time.monotonic()
    batch = up42.evaluate(templates)
    await batch
    valid = sum(template.is_valid for template in templates)
    print(f"{valid} of {len(templates)} templates are valid; all of them would cost {batch.credits:,} credits", end="")
    print(f" ({time.monotonic() - started:.1f} s).")


async def execute(templates: Sequence[DetectionShipsAirbus]) -> list[up42.Job]:
    """Execute as many templates as the limit allows, print the progress, and return the jobs."""
    print(f"Executing them, for at most {MAX_CREDITS:,} credits:")
    jobs: list[up42.Job] = []
    errors: Counter[str] = Counter()
    spent = recovered = 0
    async with up42.execute(templates, max_credits=MAX_CREDITS) as batch:
        async for result in batch:
            if result.job is None:
                errors[type(result.error).__name__] += 1
                continue
            jobs.append(result.job)
            spent += result.template.cost.credits
            recovered += result.recovered
            if len(jobs) % 25 == 0:
                print(f"  {len(jobs):3d} jobs for {spent:6,} credits")
    print(f"  {len(jobs):3d} jobs for {spent:6,} credits; {recovered} responses were lost, and their jobs found")
    print("".join(f"  {number:3d} x {name}\n" for name, number in errors.items()), end="")
    return jobs


async def track(jobs: Sequence[up42.Job]) -> None:
    """Track all jobs to their end, and print once a second how many are finished."""
    print(f"Tracking {len(jobs)} jobs:")
    tracker = up42.track(jobs, wait=60 / SPEED)
    printed = time.monotonic()
    async for _ in tracker:
        if time.monotonic() - printed > 1:
            printed = time.monotonic()
            show(tracker)
    show(tracker)


def show(tracker: up42.JobTracker) -> None:
    """Print how many jobs are finished, and how many have each status."""
    counts = ", ".join(f"{number} {status}" for status, number in tracker.counts.items())
    print(f"  {len(tracker.finished):3d} finished  ({counts})")


async def main() -> None:
    """Run the example."""
    logging.getLogger("up42_async").setLevel(logging.ERROR)  # without this, each lost response is a warning
    async with (
        Sandbox(speed=SPEED, seed=7) as sandbox,
        up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints) as client,
    ):
        items = f"{sandbox.endpoints.api}/v2/assets/stac/collections/harbours/items"
        templates = [
            DetectionShipsAirbus(title=f"Ships {number}", item=f"{items}/{number}") for number in range(IMAGES)
        ]
        await evaluate(templates)
        sandbox.faults.add(faults.LoseAnswer(), path="/v2/processing/processes/.*/execution", probability=0.1)
        jobs = await execute(templates)
        print(f"  {len(sandbox.executions):3d} executions counted by the sandbox")
        await track(jobs)
        # the credits of a released job were given back
        credits_spent = sum(job.credits or 0 for job in jobs if job.is_successful)
        print(f"{credits_spent:,} credits spent, {client.statistics().requests} requests sent.")


if __name__ == "__main__":
    anyio.run(main)
