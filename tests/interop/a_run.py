"""A run from a template to files on disk, which is to be seen whole by whatever watches httpx."""

import contextlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

import up42_async as up42
from tests.http_clients import HTTP_CLIENTS, Maker
from up42_async import processing_templates
from up42_async.sandbox import REFERENCE_ASSET, Sandbox

each_way = pytest.mark.parametrize("way", HTTP_CLIENTS.values(), ids=HTTP_CLIENTS)


@contextlib.asynccontextmanager
async def using(way: Maker, sandbox: Sandbox) -> AsyncGenerator[up42.Client]:
    """Use a client for a sandbox, on the AsyncClient that a way makes."""
    async with contextlib.AsyncExitStack() as stack:
        http_client = way()
        if http_client is not None:
            await stack.enter_async_context(http_client)
        quick = up42.RetryPolicy(wait_initial=0.01, wait_max=0.1)
        client = up42.Client(**sandbox.settings, http_client=http_client, retry=quick)
        yield await stack.enter_async_context(client)


async def run(directory: Path) -> list[Path]:
    """Execute a template, follow its job and download the results; return the files."""
    (item,) = await (await up42.initialize_asset(REFERENCE_ASSET)).stac_items()
    job = await processing_templates.DetectionTreesSpacept(title="Trees", item=item).execute()
    await job.track(wait=0.01)
    return list(await job.download(directory))


def secrets(sandbox: Sandbox) -> Iterator[str]:
    """Return what must be seen by nobody: the password, and how a token and a signature begin."""
    yield sandbox.credentials["password"]
    yield "eyJ"
    yield "X-Goog-Signature"
    yield "signature="
