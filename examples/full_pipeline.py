"""Go from 40 assets in storage to files on disk, get killed in the middle, and go on with the same line.

    python examples/full_pipeline.py

It starts an UP42 of its own on this machine (the sandbox), where an hour of processing takes a few seconds, and the run
in a process of its own. When the first files have come, that process is killed without warning, as by a power cut. The
same program again asks the journal, goes on with the jobs that were made, and pays for nothing twice.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import Sandbox

IMAGES = 40
MOST_CREDITS = 50_000
MOST_RUNNING = 20
SPEED = 600  # an hour of processing takes 6 seconds


async def run(settings: dict[str, object], items: list[str], directory: Path) -> None:
    """Do all of the work; this is what a user writes."""
    templates = [DetectionTreesSpacept(title=f"Trees {number}", item=item) for number, item in enumerate(items)]
    client = up42.Client(
        str(settings["username"]),
        str(settings["password"]),
        endpoints=up42.Endpoints(api=str(settings["api"]), auth=str(settings["auth"])),
        polling=up42.Polling(wait=60 / SPEED, settle=5 / SPEED, recover=60 / SPEED, visible=15 / SPEED),
    )
    async with client:
        batch = up42.pipeline(
            templates,
            directory,
            journal=directory / "trees.db",
            max_credits=MOST_CREDITS,
            max_running=MOST_RUNNING,
        )
        async with batch:
            async for result in batch:
                what = result.error or f"{len(result.files)} files"
                print(f"  {result.template.title}: {what}", flush=True)
        counts = batch.counts
        print(f"  {counts['done']} done, {counts['failed']} failed, {batch.spent} credits spent", flush=True)


def start(settings: dict[str, object], items: list[str], directory: Path) -> "subprocess.Popen[str]":
    """Start the run in a process of its own."""
    task = json.dumps({"settings": settings, "items": items, "directory": str(directory)})
    return subprocess.Popen([sys.executable, __file__, "--run", task], text=True, stdout=subprocess.PIPE)  # noqa: S603


def kill_after(process: "subprocess.Popen[str]", lines: int) -> None:
    """Show what a run says, and kill it after some lines."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    for line in process.stdout:
        print(line, end="")
        lines -= 1
        if not lines:
            process.kill()
            break
    process.wait()
    process.stdout.close()


def show_to_the_end(process: "subprocess.Popen[str]") -> None:
    """Show what a run says until it is through."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    for line in process.stdout:
        print(line, end="")
    process.stdout.close()
    if process.wait():
        sys.exit(process.returncode)


def main(directory: Path) -> None:
    """Run the example."""
    started = time.monotonic()
    with Sandbox(speed=SPEED, seed=4) as sandbox:
        items = [sandbox.items_of(asset_id)[0] for asset_id in sandbox.add_assets(IMAGES)]
        endpoints = sandbox.endpoints
        settings: dict[str, object] = {**sandbox.credentials, "api": endpoints.api, "auth": endpoints.auth}
        print(f"A run over {IMAGES} items:")
        kill_after(start(settings, items, directory), lines=8)
        with up42.Journal(directory / "trees.db") as journal:
            print(f"Killed. The journal says: {journal.counts}, {journal.spent} credits spent")
        print("The same line again:")
        show_to_the_end(start(settings, items, directory))
        executions = len(sandbox.executions)
        print(f"{executions} executions at UP42 for {IMAGES} templates, {time.monotonic() - started:.1f} s")
        print(f"{sandbox.tokens_leaked} tokens sent to the storage host")
        if executions > IMAGES:
            sys.exit("something was paid for twice")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        given = json.loads(sys.argv[2])
        anyio.run(run, given["settings"], given["items"], Path(given["directory"]))
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
