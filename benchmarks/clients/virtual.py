"""This library on a clock that jumps to the next deadline, against a transport that answers at once."""

import json
import selectors
from asyncio import Runner, SelectorEventLoop
from typing import Any
from urllib.parse import parse_qs

import httpx

import up42_async as up42
from benchmarks.meter import Meter
from benchmarks.modelling import WAIT, lives
from benchmarks.server import job_id, job_metadata

_DAY = 86_400


class _JumpingSelector(selectors.DefaultSelector):
    """Move a clock of its own to the next deadline instead of sleeping until then."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout or 0.0)
        return ready


class _VirtualLoop(SelectorEventLoop):
    """Tell the time of the selector that jumps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class _Platform(httpx.AsyncBaseTransport):
    """Jobs that end at their time."""

    def __init__(self, number: int, loop: _VirtualLoop) -> None:
        self.requests = 0
        self._loop = loop
        self._ends = {job_id(position): life for position, life in enumerate(lives(number))}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "virtual", "expires_in": 10 * _DAY})
        self.requests += 1
        ids = parse_qs(request.url.query.decode()).get("ids", [request.url.path.rpartition("/")[2]])[0].split(",")
        jobs = [job_metadata(0, id_, "captured" if self._loop.time() >= self._ends[id_] else "running") for id_ in ids]
        answer: Any = {"jobs": jobs, "links": []} if "ids" in request.url.params else jobs[0]
        return httpx.Response(200, content=json.dumps(answer).encode())


def track(number: int) -> dict[str, Any]:
    """Wait for all jobs by one `track()`."""
    loop = _VirtualLoop()
    platform = _Platform(number, loop)

    async def follow() -> int:
        endpoints = up42.Endpoints(api="https://virtual.example", auth="https://virtual.example/auth")
        http_client = httpx.AsyncClient(transport=platform)
        async with up42.Client("virtual", "virtual", endpoints=endpoints, http_client=http_client):
            return len(await up42.track([job_id(position) for position in range(number)], wait=WAIT))

    with Meter() as meter, Runner(loop_factory=lambda: loop) as runner:
        finished = runner.run(follow())
    return meter.result(requests=platform.requests, days=loop.time() / _DAY, finished=finished)
