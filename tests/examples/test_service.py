"""The service of the examples: no endpoint takes a client, many follow jobs at once, and a stop loses no execution."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from fastapi.testclient import TestClient

from tests.test_pytest_plugin import UNDER_ANYIO, UNDER_ASYNCIO, assert_passed, run
from up42_async.sandbox import REFERENCE_ASSET, Sandbox, faults

pytestmark = pytest.mark.slow  # real servers in processes of their own

APP = Path(__file__).parent.parent.parent / "examples" / "service" / "app.py"
CLIENTS = 300
ORDERS = 80


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("service_example", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


service = loaded()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=600, failure_rate=0.0) as running:
        yield running


@pytest.fixture
async def browser(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    app = service.create_app(**sandbox.settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield client


def order(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    return {"items": sandbox.items_of(REFERENCE_ASSET), "max_credits": 1000, **more}


async def test_an_order_is_executed_and_its_job_can_be_asked_for(sandbox: Sandbox, browser: httpx.AsyncClient) -> None:
    (placed,) = (await browser.post("/orders", json=order(sandbox))).json()
    assert placed["error"] is None
    answer = await browser.get(f"/jobs/{placed['job']}")
    assert answer.status_code == 200
    assert answer.json()["jobID"] == placed["job"]
    assert len(sandbox.executions) == 1


async def test_a_price_above_the_limit_is_the_error_of_its_item(sandbox: Sandbox, browser: httpx.AsyncClient) -> None:
    (placed,) = (await browser.post("/orders", json=order(sandbox, max_credits=1))).json()
    assert placed["job"] is None
    assert "max_credits is 1" in placed["error"]
    assert len(sandbox.executions) == 0


async def test_what_cannot_be_ordered_is_refused(sandbox: Sandbox, browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/orders", json=order(sandbox, process="nonsense"))).status_code == 422
    assert (await browser.post("/orders", json=order(sandbox, items=[]))).status_code == 422


async def test_a_job_that_does_not_exist_is_404_and_an_outage_502(sandbox: Sandbox, browser: httpx.AsyncClient) -> None:
    missing = "11111111-1111-1111-1111-111111111111"
    assert (await browser.get(f"/jobs/{missing}")).status_code == 404
    assert (await browser.get(f"/jobs/{missing}/events")).status_code == 404
    (id_,) = sandbox.seed_jobs(1)
    sandbox.faults.add(faults.Status(403), path=f"/v2/processing/jobs/{id_}")
    assert (await browser.get(f"/jobs/{id_}")).status_code == 502


async def test_a_job_is_followed_to_its_end(sandbox: Sandbox, browser: httpx.AsyncClient) -> None:
    (id_,) = sandbox.seed_jobs(1)
    text = (await browser.get(f"/jobs/{id_}/events", timeout=30)).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert json.loads(events[-2])["status"] in {"captured", "successful"}
    assert text.endswith("event: end\ndata: {}\n\n")


async def test_health_tells_what_the_client_does(sandbox: Sandbox, browser: httpx.AsyncClient) -> None:
    await browser.post("/orders", json=order(sandbox))
    health = (await browser.get("/health")).json()
    assert health["requests"] >= 3
    assert health["in_flight"] == 0


async def test_three_hundred_clients_follow_jobs_with_the_requests_of_a_few(
    sandbox: Sandbox, browser: httpx.AsyncClient
) -> None:
    ids = sandbox.seed_jobs(30)
    begun = time.monotonic()
    ended = 0

    async def follow(id_: str) -> None:
        nonlocal ended
        text = (await browser.get(f"/jobs/{id_}/events", timeout=60)).text
        ended += text.endswith("event: end\ndata: {}\n\n")

    async with anyio.create_task_group() as group:
        for place in range(CLIENTS):
            group.start_soon(follow, ids[place % len(ids)])
    rounds = (time.monotonic() - begun) / sandbox.settings["polling"].wait
    assert ended == CLIENTS
    # a first look for each that comes, and then one list of ids for all of them at each due time
    assert sandbox.count("GET", "/v2/processing/jobs") <= CLIENTS + 3 * (rounds + 10)


def test_the_openapi_schema_names_the_fields_of_a_job() -> None:
    schema = service.create_app(username="u", password="p").openapi()
    answer = schema["paths"]["/jobs/{job_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    text = json.dumps([answer, schema.get("components")])
    assert '"jobID"' in text
    assert '"creditConsumption"' in text


def test_endpoints_work_under_the_test_client(sandbox: Sandbox) -> None:
    (id_,) = sandbox.seed_jobs(1)
    with TestClient(service.create_app(**sandbox.settings)) as client:
        assert client.get(f"/jobs/{id_}").json()["jobID"] == id_


@pytest.mark.parametrize(
    ("options", "mark", "number"),
    [
        ((*UNDER_ANYIO, "-o", "anyio_mode=auto"), "", 2),
        ((*UNDER_ASYNCIO, "-o", "asyncio_mode=auto"), "", 1),
        ((*UNDER_ASYNCIO, "-o", "asyncio_mode=strict"), "@pytest.mark.asyncio\n", 1),
    ],
    ids=["anyio", "asyncio-auto", "asyncio-strict"],
)
def test_it_can_be_tested_with_our_fixtures(tmp_path: Path, options: tuple[str, ...], mark: str, number: int) -> None:
    text = f"""\
import importlib.util
import httpx
import pytest

spec = importlib.util.spec_from_file_location("service_example", {str(APP)!r})
service = importlib.util.module_from_spec(spec)
spec.loader.exec_module(service)

{mark}async def test_a_job(up42_sandbox):
    app = service.create_app(**up42_sandbox.settings)
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            (id_,) = up42_sandbox.seed_jobs(1)
            assert (await client.get(f"/jobs/{{id_}}")).json()["jobID"] == id_
"""
    assert_passed(run(tmp_path, text, *options), number)


SERVER = """
import importlib.util, sys
import up42_async as up42
spec = importlib.util.spec_from_file_location("service_example", sys.argv[1])
service = importlib.util.module_from_spec(spec)
spec.loader.exec_module(service)
username, password, api, auth, port = sys.argv[2:]
endpoints = up42.Endpoints(api=api, auth=auth)
service.serve(service.create_app(username=username, password=password, endpoints=endpoints), port=int(port))
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def answers_at(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def served(words: Sequence[str]) -> "subprocess.Popen[str]":
    """Start the service in a process of its own."""
    command = [sys.executable, "-c", SERVER, str(APP), *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603


async def test_a_stop_finishes_the_executions_under_way_and_ends_the_streams(sandbox: Sandbox) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    account = sandbox.credentials
    words = [account["username"], account["password"], sandbox.endpoints.api, sandbox.endpoints.auth, str(port)]
    execution = "/v2/processing/processes/[^/]+/execution"
    sandbox.faults.add(faults.Delay(0.5), path=execution)
    (running,) = sandbox.seed_jobs(1, status="running")
    answers: list[httpx.Response] = []
    with served(words) as server:
        await anyio.to_thread.run_sync(wait_until, lambda: answers_at(url))
        async with httpx.AsyncClient(base_url=url, timeout=100, limits=httpx.Limits(max_connections=None)) as client:

            async def place() -> None:
                answers.append(await client.post("/orders", json=order(sandbox)))

            async def follow() -> None:
                answers.append(await client.get(f"/jobs/{running}/events"))

            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                for _ in range(ORDERS):
                    group.start_soon(place)
                await anyio.to_thread.run_sync(wait_until, lambda: sandbox.count("POST", execution) >= 5)
                server.send_signal(signal.SIGTERM)
        _, said = await anyio.to_thread.run_sync(server.communicate)
    orders = [answer.json() for answer in answers if answer.request.method == "POST"]
    jobs = [placed["job"] for placed_all in orders for placed in placed_all]
    assert len(jobs) == len(set(jobs)) == ORDERS
    assert None not in jobs
    assert len(sandbox.executions) == ORDERS
    assert "Traceback" not in said
    assert server.returncode in {0, -signal.SIGTERM}
