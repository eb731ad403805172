"""Map a Prefect task over items: each task executes one template and downloads its files.

    python examples/prefect_flow.py     # on the sandbox

Each task opens a client of its own in its event loop, from settings that can be pickled. For thousands of items, one
task that runs `up42.pipeline` does the same with a fraction of the requests: see `examples/dask_pipeline.py`.
"""

# Prefect is installed where this runs, not where types are checked; `submit` comes from its decorator.
# pyright: reportMissingImports=false, reportFunctionMemberAccess=false

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from prefect import flow, task

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import Sandbox

ITEMS = 4

MakeClient = Callable[[], up42.Client]


# no retries: each would execute again, and the library itself retries what is safe to retry
@task(retries=0)  # type: ignore[untyped-decorator]
def detect_trees(make_client: MakeClient, url: str, directory: str) -> dict[str, Any]:
    """Execute a template once, and download its files."""
    return anyio.run(detect, make_client, url, directory)


async def detect(make_client: MakeClient, url: str, directory: str) -> dict[str, Any]:
    """Do the work of one task, with a client of its own."""
    async with make_client():
        template = DetectionTreesSpacept(title=f"Trees of {url.rpartition('/')[2]}", item=url)
        job = await (await template.execute(max_credits=1000)).track()
        files = await job.download(directory) if job.is_successful else []
        return {"job": job.id, "status": job.status.value, "files": [str(path) for path in files]}


@flow  # type: ignore[untyped-decorator]
def detect_everywhere(make_client: MakeClient, urls: list[str], directory: str) -> list[dict[str, Any]]:
    """Detect trees in all items at once."""
    futures = [detect_trees.submit(make_client, url, directory) for url in urls]
    return [future.result() for future in futures]


def run(sandbox: Sandbox, directory: Path) -> list[dict[str, Any]]:
    """Run the flow on items of a sandbox; for your account give `cfg_file=...` and the same limits to the client."""
    urls = [url for asset in sandbox.add_assets(ITEMS) for url in sandbox.items_of(asset)][:ITEMS]
    make_client = functools.partial(up42.Client, **sandbox.settings, limits=up42.Limits().split(ITEMS))
    results: list[dict[str, Any]] = detect_everywhere(make_client, urls, str(directory))
    return results


def main() -> None:
    """Run the flow, and print the result of each item."""
    with tempfile.TemporaryDirectory() as place, Sandbox(speed=600, failure_rate=0.0) as sandbox:
        for result in run(sandbox, Path(place)):
            print(f"{result['job']}: {result['status']}, {len(result['files'])} files")


if __name__ == "__main__":
    main()
