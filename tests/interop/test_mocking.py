"""Mocks and recorders of httpx work without any setting: nothing goes past them to the network."""

import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.http_clients import Maker
from tests.interop.a_run import each_way, run, using
from up42_async import Client, Job
from up42_async.sandbox import Sandbox

API = "https://api.up42.com"
TOKEN = {"access_token": "token", "expires_in": 300}
JOB: dict[str, Any] = {
    "processID": "detection-trees-spacept",
    "jobID": "d290f1ee-6c54-4b01-90e6-d701748f0851",
    "accountID": "a",
    "workspaceID": "w",
    "definition": {"inputs": {"title": "Trees"}},
    "results": {"collection": None, "errors": None},
    "creditConsumption": {"credits": 1},
    "status": "running",
    "created": "2026-01-01T00:00:00Z",
    "updated": "2026-01-01T00:00:00Z",
    "started": None,
    "finished": None,
}


USERS_TEST = f"""
import httpx, pytest, up42_async

pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.mark.parametrize("own", [False, True])
async def test_a_job(httpx_mock, own):
    httpx_mock.add_response(method="POST", json={TOKEN!r})
    httpx_mock.add_response(url="{API}/v2/processing/jobs/{JOB["jobID"]}", json={JOB!r})
    async with up42_async.Client("a", "b", http_client=httpx.AsyncClient() if own else None):
        assert (await up42_async.Job.get("{JOB["jobID"]}")).status == "running"
    assert len(httpx_mock.get_requests()) == 2
"""


@each_way
async def test_respx_answers_in_the_place_of_up42(way: Maker) -> None:
    respx = pytest.importorskip("respx")
    async with respx.mock(assert_all_called=True) as router:
        router.post(url__regex=r".*/token").respond(json=TOKEN)
        route = router.get(f"{API}/v2/processing/jobs/{JOB['jobID']}").respond(json=JOB)
        async with Client("person", "password", http_client=way()):
            job = await Job.get(JOB["jobID"])
    assert (job.status, route.call_count) == ("running", 1)


async def test_pytest_httpx_answers_in_the_place_of_up42(tmp_path: Path) -> None:
    """It is a plugin, so the test of a user's runs in a pytest of its own."""
    pytest.importorskip("pytest_httpx")
    module = anyio.Path(tmp_path / "test_users.py")
    await module.write_text(USERS_TEST, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", str(module)]
    done = await anyio.run_process(command, cwd=tmp_path, check=False)
    assert "4 passed" in done.stdout.decode(), done.stdout.decode()


@each_way
async def test_vcrpy_records_a_run_and_plays_it_without_the_server(
    way: Maker, sandbox: Sandbox, tmp_path: Path
) -> None:
    vcr = pytest.importorskip("vcr")
    cassette = str(tmp_path / "cassette.yaml")
    recorder = vcr.VCR(filter_headers=["authorization"], filter_post_data_parameters=["password"])

    async def titles() -> list[str]:
        async with using(way, sandbox):
            return [job.status async for job in Job.all()]

    sandbox.seed_jobs(3)
    with recorder.use_cassette(cassette, record_mode="once"):
        recorded = await titles()
    sandbox.stop_listening()
    with recorder.use_cassette(cassette, record_mode="none") as played:
        assert await titles() == recorded
        assert played.all_played
    assert len(recorded) == 3
    assert sandbox.credentials["password"] not in await anyio.Path(cassette).read_text(encoding="utf-8")


class Whole(httpx.AsyncBaseTransport):
    """Gives a transport that looks at `request.url` alone the query of signed URLs: they stand in the extension."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = request.extensions.get("target")
        if target is not None:
            request.url = request.url.copy_with(raw_path=target)
        return await self._inner.handle_async_request(request)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the application of the sandbox runs on asyncio
async def test_the_sandbox_answers_without_a_server(anyio_backend: str, tmp_path: Path) -> None:
    del anyio_backend
    sandbox = Sandbox(speed=36_000, failure_rate=0.0)
    async with (
        httpx.AsyncClient(transport=Whole(httpx.ASGITransport(sandbox.app))) as http_client,
        Client(**sandbox.settings, http_client=http_client),
    ):
        assert await run(tmp_path)
