"""The service of the examples: no endpoint takes a client, many follow jobs at once, and a stop loses no execution."""

import contextlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread
import attrs
import httpx
import pytest
from fastapi.testclient import TestClient

from tests.raw_server import refusing_port
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
    answer = await browser.post("/orders", json=order(sandbox, items=["nonsense"]))
    assert answer.status_code == 422
    assert "item must have an absolute URL" in answer.json()["detail"]
    assert (await browser.get("/jobs/%2e%2e%00")).status_code == 422


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
    ],
    ids=["anyio", "asyncio"],
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
import importlib.util, json, sys
import up42_async as up42
spec = importlib.util.spec_from_file_location("service_example", sys.argv[1])
service = importlib.util.module_from_spec(spec)
spec.loader.exec_module(service)
settings, serving = map(json.loads, sys.argv[2:])
for name, kind in ("endpoints", up42.Endpoints), ("polling", up42.Polling), ("limits", up42.Limits):
    settings[name] = kind(**settings[name])
service.serve(service.create_app(**settings), **serving)
"""
EXECUTION = "/v2/processing/processes/[^/]+/execution"


@attrs.define
class Service:
    """The service in a process of its own, and what is known of it."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    stopped: float = 0.0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.stopped = time.monotonic()

    def ended(self) -> tuple[float, str]:
        """Wait for the end; return how many seconds after SIGTERM it came, and the log."""
        assert self.process.wait(timeout=60) in {0, -signal.SIGTERM}
        return time.monotonic() - self.stopped, self.log.read_text(encoding="utf-8")

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=60, limits=httpx.Limits(max_connections=None))


@contextlib.contextmanager
def serving(sandbox: Sandbox, folder: Path, *, grace: int) -> Generator[Service]:
    """Start the service on a sandbox, with a client that is held up by nothing but UP42."""
    settings = {
        **sandbox.settings,
        "endpoints": attrs.asdict(sandbox.settings["endpoints"]),
        "polling": {**attrs.asdict(sandbox.settings["polling"]), "recover": 10},
        "limits": {"max_concurrency": 100, "requests_per_second": 1000, "burst": 1000},
    }
    command = [sys.executable, "-c", SERVER, str(APP), json.dumps(settings)]
    log = folder / "service.log"
    with refusing_port() as port, log.open("wb") as output:
        command.append(json.dumps({"port": port, "grace": grace}))
        with subprocess.Popen(command, stdout=output, stderr=output) as process:  # noqa: S603
            service = Service(f"http://127.0.0.1:{port}", process, log)
            try:
                wait_until(lambda: answers_at(service.url))
                yield service
            finally:
                process.kill()


def answers_at(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@attrs.define
class Crowd:
    """Those who use the service: some follow a job, some place an order."""

    http: httpx.AsyncClient
    greeted: int = 0
    streams_ended: int = 0
    placed: list[dict[str, Any]] = attrs.field(factory=list)

    async def follow(self, job_id: str) -> None:
        greeted = False
        async with self.http.stream("GET", f"/jobs/{job_id}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and not greeted:
                    assert json.loads(line.removeprefix("data: "))["jobID"] == job_id
                    self.greeted += 1
                    greeted = True
        self.streams_ended += 1

    async def place(self, order: dict[str, Any]) -> None:
        answer = await self.http.post("/orders", json=order)
        self.placed.extend(answer.json() if answer.is_success else [])


def test_three_hundred_clients_lose_no_execution_when_the_service_is_stopped(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(faults.LoseAnswer(), path=EXECUTION, times=5)
    sandbox.faults.add(faults.Delay(1.5), path=EXECUTION)
    followed = sandbox.seed_jobs(30, status="running")

    async def use(service: Service) -> Crowd:
        async with service.client() as http, anyio.create_task_group() as group, anyio.create_task_group() as impatient:
            crowd = Crowd(http)
            for place in range(CLIENTS - ORDERS):
                group.start_soon(crowd.follow, followed[place % len(followed)])
            await anyio.to_thread.run_sync(wait_until, lambda: crowd.greeted == CLIENTS - ORDERS)
            for place in range(ORDERS):
                (group if place % 10 else impatient).start_soon(crowd.place, order(sandbox))
            await anyio.to_thread.run_sync(wait_until, lambda: sandbox.count("POST", EXECUTION) == ORDERS)
            assert not crowd.placed
            assert crowd.streams_ended == 0
            service.stop()
            impatient.cancel_scope.cancel()  # a tenth of the orders: their callers hang up
        return crowd

    with serving(sandbox, tmp_path, grace=60) as service:
        crowd = anyio.run(use, service)
        took, log = service.ended()
    made = [execution.job_id for execution in sandbox.executions]
    assert len(made) == len(set(made)) == ORDERS
    reported = [placed["job"] for placed in crowd.placed]
    assert sorted(reported) == sorted(set(reported) & set(made))
    assert len(reported) == ORDERS - ORDERS // 10  # those who have waited know
    assert [job for job in made if log.count(f": job {job}\n") != 1] == []  # and the log knows of all, once
    assert crowd.streams_ended == CLIENTS - ORDERS
    assert "Traceback" not in log
    assert took < 20


def test_what_is_cancelled_by_an_impatient_server_is_named_in_the_log(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(faults.LoseAnswer(), path=EXECUTION, times=1)
    sandbox.faults.add(faults.Delay(3), path=EXECUTION)

    async def use(service: Service) -> Crowd:
        async with service.client() as http, anyio.create_task_group() as group:
            crowd = Crowd(http)
            for _ in range(10):
                group.start_soon(crowd.place, order(sandbox))
            await anyio.to_thread.run_sync(wait_until, lambda: sandbox.count("POST", EXECUTION) == 10)
            service.stop()
        return crowd

    with serving(sandbox, tmp_path, grace=1) as service:
        crowd = anyio.run(use, service)
        took, log = service.ended()
    assert crowd.placed == []
    assert "Cancel 10 running task(s)" in log
    for execution in sandbox.executions:
        title = sandbox.jobs[execution.job_id].inputs["title"]
        (note,) = re.findall(rf"cancelled while executing.*'{title}'.*", log)
        assert execution.job_id in note or "a job may have been made" in note
    assert len(sandbox.executions) == 10
    assert took < 15
