"""Run a process on 200 images under one limit on credits, and follow the jobs to their end.

    python examples/batch_execute.py

It starts an UP42 of its own on this machine (the sandbox), where an hour of processing takes a few seconds. To make it
less easy, the connection breaks on every tenth execution, just when the answer should come. Each is paid once all the
same.
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
MOST_CREDITS = 20_000
SPEED = 600  # an hour of processing takes 6 seconds
MINUTE = 60 / SPEED  # a minute at UP42, in seconds of this example


async def price(templates: Sequence[DetectionShipsAirbus]) -> None:
    """Check all templates, and find out what they would cost."""
    started = time.monotonic()
    await up42.evaluate(templates)
    valid = [template for template in templates if template.is_valid]
    total = sum(template.cost.credits for template in valid)
    print(f"{len(valid)} of {len(templates)} templates are valid; all of them would cost {total:,} credits", end="")
    print(f" ({time.monotonic() - started:.1f} s).")


async def buy(templates: Sequence[DetectionShipsAirbus]) -> list[up42.Job]:
    """Execute as many as the limit allows, saying now and then how far it has come; return the jobs."""
    print(f"Executing them, for {MOST_CREDITS:,} credits at the most:")
    spent = 0
    jobs: list[up42.Job] = []
    errors: Counter[str] = Counter()
    found = 0
    async with up42.execute(templates, max_credits=MOST_CREDITS) as outcomes:
        async for outcome in outcomes:
            if outcome.job is None:
                errors[type(outcome.error).__name__] += 1
                continue
            jobs.append(outcome.job)
            spent += outcome.template.cost.credits
            found += outcome.recovered
            if len(jobs) % 25 == 0:
                print(f"  {len(jobs):3d} jobs for {spent:6,} credits")
    print(f"  {len(jobs):3d} jobs for {spent:6,} credits; {found} answers were lost, and their jobs found")
    print("".join(f"  {number:3d} x {name}\n" for name, number in errors.items()), end="")
    return jobs


async def follow(jobs: Sequence[up42.Job]) -> None:
    """Track all jobs to their end."""
    print(f"Following {len(jobs)} jobs:")
    printed = time.monotonic()
    async for _ in up42.track(jobs, wait=MINUTE):
        finished = sum(job.is_finished for job in jobs)
        if time.monotonic() - printed > 1 or finished == len(jobs):
            printed = time.monotonic()
            counts = Counter(job.status.value for job in jobs)
            print(f"  {finished:3d} finished  ({', '.join(f'{number} {word}' for word, number in counts.items())})")


async def main() -> None:
    """Run the example."""
    logging.getLogger("up42_async").setLevel(logging.ERROR)  # it would warn of each answer that is lost
    with Sandbox(speed=SPEED, seed=7) as sandbox:
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints) as client:
            items = f"{sandbox.endpoints.api}/v2/assets/stac/collections/harbours/items"
            templates = [
                DetectionShipsAirbus(title=f"Ships {number}", item=f"{items}/{number}") for number in range(IMAGES)
            ]
            await price(templates)
            sandbox.faults.add(faults.LoseAnswer(), path="/v2/processing/processes/.*/execution", probability=0.1)
            jobs = await buy(templates)
            print(f"  {len(sandbox.executions):3d} executions counted by UP42")
            await follow(jobs)
            # the credits of a released job were given back
            credits_spent = sum(job.credits or 0 for job in jobs if job.is_successful)
            print(f"{credits_spent:,} credits spent, {client.statistics().requests} requests made.")


if __name__ == "__main__":
    anyio.run(main)
