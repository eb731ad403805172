"""Detect trees in one image: find it in storage, check the price, run the process, and download the result.

    python examples/detect_trees.py

It starts a sandbox, a local server that behaves like UP42, on which an hour of processing takes six seconds. With the
id of an asset in your storage, and with UP42_USERNAME and UP42_PASSWORD set, it runs on your account and spends up to
150 credits:

    python examples/detect_trees.py 68567134-27ad-7bd7-4b65-d61adb11fc78
"""

import contextlib
import sys
import tempfile
from collections.abc import AsyncGenerator

import anyio

import up42_async as up42
from up42_async import processing_templates
from up42_async.sandbox import REFERENCE_ASSET, Sandbox

SPEED = 600  # an hour of processing takes 6 seconds
MAX_CREDITS = 150


@contextlib.asynccontextmanager
async def connect() -> AsyncGenerator[str]:
    """Open a client for your account or for a sandbox, and yield the id of an asset there."""
    if len(sys.argv) > 1:
        async with up42.Client():
            yield sys.argv[1]
    else:
        async with Sandbox(speed=SPEED, failure_rate=0, seed=7) as sandbox, up42.Client(**sandbox.settings):
            yield REFERENCE_ASSET


async def main() -> None:
    """Run the example."""
    async with connect() as asset_id:
        asset = await up42.initialize_asset(asset_id)
        items = await asset.stac_items()
        template = processing_templates.DetectionTreesSpacept(title="Detect trees over UK", item=items[0])
        await template.evaluate()
        if not template.is_valid:
            for error in template.errors:
                print(f"{error.name}: {error.message}")
            return
        print(f"It would cost {template.cost.credits} credits for {template.cost.size} {template.cost.unit}.")

        try:
            job = await template.execute(max_credits=MAX_CREDITS)
        except up42.CostLimitError as error:
            print(error)
            return
        print(f"Job {job.id}")
        async for update in up42.track([job]).updates():
            print(f"  {update.updated:%H:%M:%S}  {update.status.value}")
        if not job.is_successful:
            print(f"The job is {job.status}, so its credits were given back.")
            return
        print(f"{job.credits or 0} credits spent.")

        with tempfile.TemporaryDirectory() as directory:
            for path in await job.download(directory):
                print(f"  {path.name}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    anyio.run(main)
