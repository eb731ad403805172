"""Run a process on 40 images, from templates to files; kill the program in the middle, and start it again.

    python examples/full_pipeline.py [DIRECTORY]

It starts a sandbox, a local server that behaves like UP42, on which an hour of processing takes six seconds. The run
has a process of its own. When some results are complete, that process is killed, as by a power cut. Started again, it
reads its journal, continues with the jobs that were made, and pays for nothing twice. An execution that was under way
at that moment may be reported as uncertain: see docs/runs.md.
"""

import multiprocessing
import sys
import tempfile
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import anyio

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import Sandbox

IMAGES = 40
MAX_CREDITS = 50_000
MAX_RUNNING = 20
SPEED = 600  # an hour of processing takes 6 seconds
JOURNAL = "trees.db"


async def run(settings: dict[str, Any], items: list[str], directory: Path) -> None:
    """Do all of the work; this is what a user writes."""
    templates = [DetectionTreesSpacept(title=f"Trees {number}", item=item) for number, item in enumerate(items)]
    async with (
        up42.Client(**settings),
        up42.pipeline(
            templates, directory, journal=directory / JOURNAL, max_credits=MAX_CREDITS, max_running=MAX_RUNNING
        ) as batch,
    ):
        async for result in batch:
            print(f"  {result.template.title}: {result.error or f'{len(result.files)} files'}", flush=True)
    counts = ", ".join(f"{number} {stage}" for stage, number in batch.counts.items() if number)
    print(f"  {counts}; {batch.spent:,} credits spent", flush=True)


def start(settings: dict[str, Any], items: list[str], directory: Path) -> SpawnProcess:
    """Start the run in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=anyio.run, args=(run, settings, items, directory))
    process.start()
    return process


def main(directory: Path) -> None:
    """Run the example."""
    with Sandbox(speed=SPEED, seed=4) as sandbox:
        items = [sandbox.items_of(asset_id)[0] for asset_id in sandbox.add_assets(IMAGES)]
        settings = dict(sandbox.settings)
        print(f"A run over {IMAGES} items:", flush=True)
        process = start(settings, items, directory)
        with up42.Journal(directory / JOURNAL) as journal:
            while process.is_alive() and journal.counts.get("done", 0) < IMAGES // 5:
                time.sleep(0.01)
            process.kill()
            process.join()
            print(f"Killed. The journal says: {journal.counts}, {journal.spent:,} credits spent")
        print("The same program again:", flush=True)
        process = start(settings, items, directory)
        process.join()
        executions = len(sandbox.executions)
        print(f"{executions} executions counted by the sandbox for {IMAGES} templates")
        if process.exitcode or executions > IMAGES:
            sys.exit("the run failed, or something was paid for twice")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
