"""A fake of the part of UP42 that charges credits: processes, EULAs, prices, executions and the list of jobs.

It is an httpx transport without sockets, so it works on a virtual clock too. It calls the `trace` extension as
httpcore does, so that the client can tell requests that were certainly not sent.
"""

import datetime as dt
import email.utils
import itertools
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import anyio
import attrs
import httpx

from up42_async import Client
from up42_async._config import Limits, RetryPolicy, Timeouts
from up42_async.processing_templates import DetectionTreesSpacept

EPOCH = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
ITEM = "https://api.up42.com/v2/assets/stac/collections/c/items/i"
WORKSPACE = "workspace-of-the-user"
_PROCESS = re.compile(r"/v2/processing/processes/(?P<id>[^/]+)(?P<step>/\w+)?")


@attrs.define
class ReceivedExecution:
    """The steps of one execution request, for a handler to take."""

    platform: "PayingPlatform"
    request: httpx.Request

    async def connect(self) -> None:
        """Report the start of a connection."""
        trace = self.request.extensions.get("trace")
        if trace is not None:
            await trace("connection.connect_tcp.started", {})

    async def leave(self) -> None:
        """Report the first sent byte, count the request, and wait for half of the latency."""
        trace = self.request.extensions.get("trace")
        if trace is not None:
            wire = httpx.Request("POST", "https://api.up42.com")
            method = attrs.make_class("WireRequest", ["method"])(wire.method.encode())
            await trace("http11.send_request_headers.started", {"request": method})
        self.platform.posts += 1
        await anyio.sleep(self.platform.latency / 2)

    def act(self) -> dict[str, Any]:
        """Create the job, which is charged."""
        return self.platform.make_job(self.request)

    async def answer(self, status: int = 201, content: Any = None, **headers: str) -> httpx.Response:
        """Wait for the other half of the latency, and return the response."""
        await anyio.sleep(self.platform.latency / 2)
        return self.platform.answer(status, content, **headers)


ExecutionHandler = Callable[[ReceivedExecution], Awaitable[httpx.Response]]


async def accepted(execution: ReceivedExecution) -> httpx.Response:
    await execution.leave()
    return await execution.answer(201, execution.act())


def slow(seconds: float) -> ExecutionHandler:
    """Create the job at once, and answer after some seconds."""

    async def handle(execution: ReceivedExecution) -> httpx.Response:
        await execution.leave()
        job = execution.act()
        await anyio.sleep(seconds)
        return await execution.answer(201, job)

    return handle


def unsent(error: type[httpx.TransportError]) -> ExecutionHandler:
    """Fail to connect, before a byte is sent."""

    async def handle(execution: ReceivedExecution) -> httpx.Response:
        await execution.connect()
        raise error("never left")

    return handle


def lost(error: type[httpx.TransportError], *, acted: bool, after: float = 0.0) -> ExecutionHandler:
    """Break the connection after the request was sent; the job is created if `acted`."""

    async def handle(execution: ReceivedExecution) -> httpx.Response:
        await execution.leave()
        if acted:
            execution.act()
        await anyio.sleep(after)
        raise error("gone")

    return handle


def status(code: int, *, acted: bool = False, content: Any = None, **headers: str) -> ExecutionHandler:
    """Answer with a status; the job is created if `acted`."""

    async def handle(execution: ReceivedExecution) -> httpx.Response:
        await execution.leave()
        if acted:
            execution.act()
        return await execution.answer(code, content, **headers)

    return handle


def garbled(change: Callable[[dict[str, Any]], Any]) -> ExecutionHandler:
    """Create the job, and change the response."""

    async def handle(execution: ReceivedExecution) -> httpx.Response:
        await execution.leave()
        return await execution.answer(201, change(execution.act()))

    return handle


class PayingPlatform(httpx.AsyncBaseTransport):
    """Answer as UP42 does; executions get the given handlers in turn, and later ones are accepted."""

    def __init__(self, *handlers: ExecutionHandler, latency: float = 0.1, listed_after: float = 0.0) -> None:
        self.handlers = deque(handlers)
        self.latency = latency
        self.listed_after = listed_after
        self.prices: Callable[[dict[str, Any]], Any] = lambda _: 10
        self.describe: Callable[[str], Any] = described
        self.eula_accepted: Any = True
        self.validation = httpx.Response(200)
        self.jobs: list[dict[str, Any]] = []
        self.posts = 0
        self.asked: list[str] = []
        self.list_fails = 0
        self.queries: list[dict[str, list[str]]] = []
        self._ids = itertools.count(1)

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=anyio.current_time())

    def count(self, pattern: str) -> int:
        """Return how many requests there were whose method and path match."""
        return sum(re.fullmatch(pattern, one) is not None for one in self.asked)

    @property
    def job_ids(self) -> list[str]:
        return [job["jobID"] for job in self.jobs]

    def answer(self, code: int, content: Any = None, **headers: str) -> httpx.Response:
        if content is None:
            content = b"" if code < 400 else {}  # the platform's own errors are JSON objects
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        date = email.utils.format_datetime(self.now(), usegmt=True)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(code, headers={"date": date, **given}, content=body)

    def make_job(self, request: httpx.Request, *, inputs: Any = None) -> dict[str, Any]:
        found = _PROCESS.fullmatch(request.url.path)
        assert found is not None
        query = parse_qs(request.url.query.decode())
        moment = self.now().isoformat().replace("+00:00", "Z")
        job = {
            "processID": found["id"],
            "jobID": f"job-{next(self._ids)}",
            "accountID": "account",
            "workspaceID": query["workspaceId"][0],
            "definition": {"inputs": inputs if inputs is not None else json.loads(request.content)["inputs"]},
            "results": None,
            "creditConsumption": None,
            "status": "created",
            "created": moment,
            "updated": moment,
            "started": None,
            "finished": None,
        }
        self.jobs.append(job)
        self.queries.append(query)
        return job

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        path = request.url.raw_path.decode().partition("?")[0]
        self.asked.append(f"{request.method} {path.partition('/v2/')[2] or path.rpartition('/')[2]}")
        if path.endswith("/execution"):
            handler = self.handlers.popleft() if self.handlers else accepted
            return await handler(ReceivedExecution(self, request))
        await anyio.sleep(self.latency)
        return self._free_of_charge(request, path)

    def _free_of_charge(self, request: httpx.Request, path: str) -> httpx.Response:
        facts = {
            "token": {"access_token": "token", "expires_in": 300},
            "userinfo": {"sub": WORKSPACE},
            "the-eula": {"isAccepted": self.eula_accepted},
            "other": {"isAccepted": self.eula_accepted},
        }
        if (name := path.rpartition("/")[2]) in facts:
            return self.answer(200, facts[name])
        if path == "/v2/processing/jobs":
            return self._list(parse_qs(request.url.query.decode()))
        found = _PROCESS.fullmatch(path)
        assert found is not None, path
        if found["step"] == "/validation":
            return self.answer(self.validation.status_code, self.validation.content)
        if found["step"] == "/cost":
            price = self.prices(json.loads(request.content)["inputs"])
            return self.answer(200, price if isinstance(price, dict | list | bytes) else priced(price))
        content = self.describe(found["id"])
        return self.answer(404) if content is None else self.answer(200, content)

    def _list(self, query: dict[str, list[str]]) -> httpx.Response:
        if self.list_fails:
            self.list_fails -= 1
            return self.answer(403)
        horizon = (self.now() - dt.timedelta(seconds=self.listed_after)).isoformat()
        assert query["sort"] == ["created,desc"]
        jobs = [
            job
            for job in reversed(self.jobs)
            if job["created"].replace("Z", "+00:00") <= horizon
            and job["workspaceID"] in query.get("workspaceId", [job["workspaceID"]])
            and job["processID"] in query.get("processId", [job["processID"]])
        ]
        return self.answer(200, {"jobs": jobs, "links": []})


def described(process_id: str) -> dict[str, Any]:
    """Describe a process with a EULA."""
    parameters = [{"name": "price", "value": [{"credits": 1}]}, {"name": "eula-id", "value": ["the-eula"]}]
    return {"id": process_id, "additionalParameters": {"parameters": parameters}}


def priced(credits: float) -> dict[str, Any]:
    return {"pricingStrategy": "area", "totalCredits": credits, "totalSize": 15.8, "unit": "SQ_KM"}


class Untraced(httpx.AsyncBaseTransport):
    """Remove the `trace` extension from requests, so that nothing proves that one was not sent."""

    def __init__(self, platform: PayingPlatform) -> None:
        self._platform = platform

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions.pop("trace")
        return await self._platform.handle_async_request(request)


def client_of(
    platform: PayingPlatform,
    *,
    traced: bool = True,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
    workspace_id: str | None = "w",
) -> Client:
    """Return a client of a platform; if not `traced`, the client is not told when a request is sent."""
    transport = platform if traced else Untraced(platform)
    return Client(
        "user",
        "password",
        workspace_id=workspace_id,
        http_client=httpx.AsyncClient(transport=transport),
        limits=limits or Limits(requests_per_second=1e6, burst=10**6),
        timeouts=timeouts or Timeouts(),
        retry=retry or RetryPolicy(),
    )


def trees(title: str = "t", **more: Any) -> DetectionTreesSpacept:
    """Return a template whose input is the platform's item."""
    return DetectionTreesSpacept(title=title, item=ITEM, **more)


def titles(count: int) -> Iterable[str]:
    return [f"title {number}" for number in range(count)]
