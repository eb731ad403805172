"""Detect trees in one image: check, price, run and follow a job.

    python examples/detect_trees.py

It starts an UP42 of its own on this machine (the sandbox), where an hour of processing takes a few seconds. With the
URL of an item in your storage, and UP42_USERNAME and UP42_PASSWORD set, it runs on your account, and spends up to 150
credits:

    python examples/detect_trees.py https://api.up42.com/v2/assets/stac/collections/.../items/...
"""

import contextlib
import sys
from collections.abc import AsyncGenerator

import anyio

import up42_async as up42
from up42_async import processing_templates
from up42_async.sandbox import Sandbox

SPEED = 600  # an hour of processing takes 6 seconds
MOST_CREDITS = 150


@contextlib.asynccontextmanager
async def connect() -> AsyncGenerator[tuple[str, float]]:
    """Open a client, on an account or on a sandbox; give an item's URL and the seconds between two looks at a job."""
    if len(sys.argv) > 1:
        async with up42.Client():
            yield sys.argv[1], 60
        return
    with Sandbox(speed=SPEED, failure_rate=0, seed=7) as sandbox:
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints):
            yield f"{sandbox.endpoints.api}/v2/assets/stac/collections/uk/items/richmond-park", 60 / SPEED


async def main() -> None:
    """Run the example."""
    async with connect() as (item_url, wait):
        template = processing_templates.DetectionTreesSpacept(title="Detect trees over UK", item=item_url)
        await template.evaluate()
        if not template.is_valid:
            for error in template.errors:
                print(f"{error.name}: {error.message}")
            return
        print(f"It would cost {template.cost.credits} credits for {template.cost.size} {template.cost.unit}.")

        try:
            job = await template.execute(max_credits=MOST_CREDITS)
        except up42.CostLimitExceeded as error:
            print(error)
            return
        print(f"Job {job.id}")
        async for update in up42.track([job], wait=wait).updates():
            print(f"  {update.updated:%H:%M:%S}  {update.status.value}")
        print(f"{job.credits} credits spent. Results: {job.collection_url}")


if __name__ == "__main__":
    anyio.run(main)
