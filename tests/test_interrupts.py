"""A base exception is raised unchanged by every verb, not in a group: trio raises Ctrl-C in whichever task runs."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from up42_async import Client, Job, download, track
from up42_async._jobs.id_queries import ById
from up42_async.sandbox import Sandbox, faults


class InterruptError(BaseException):
    """Stands in for KeyboardInterrupt, which asyncio raises out of its event loop instead of leaving it in the task."""


class Interrupting(httpx.AsyncHTTPTransport):
    """A transport that raises InterruptError once, at a request to a path that matches `at`."""

    def __init__(self) -> None:
        super().__init__()
        self.at = "$^"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if re.search(self.at, request.url.path):
            self.at = "$^"
            raise InterruptError
        return await super().handle_async_request(request)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=6000) as running:
        yield running


@pytest.fixture
def wire() -> Interrupting:
    return Interrupting()


@pytest.fixture
async def job(sandbox: Sandbox, wire: Interrupting) -> AsyncIterator[Job]:
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    async with httpx.AsyncClient(transport=wire) as http_client, Client(**sandbox.settings, http_client=http_client):
        yield await Job.get(job_id)


async def listed(_: Job, __: Path) -> None:
    async for _ in Job.all():
        pass


VERBS: dict[str, Callable[[Job, Path], Awaitable[object]]] = {
    "Job.get": lambda job, _: Job.get(job.id),
    "Job.all": listed,
    "track": lambda job, _: track([job.id]),
    "track with a board": lambda job, _: track([job.id], bar=True),
    "job.download": lambda job, place: job.download(place),
    "download": lambda job, place: download([job], place),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_base_exception_is_raised_unchanged_by_every_verb(
    job: Job, wire: Interrupting, tmp_path: Path, verb: str
) -> None:
    wire.at = faults.FILES if "download" in verb else "/jobs"
    with pytest.raises(InterruptError):
        await VERBS[verb](job, tmp_path)


async def test_a_base_exception_is_raised_unchanged_by_concurrent_requests() -> None:
    async def interrupted() -> None:
        raise InterruptError

    async def answered() -> None:
        """Return at once, as a request that was answered."""

    with pytest.raises(InterruptError):
        await ById._together([interrupted, answered])
