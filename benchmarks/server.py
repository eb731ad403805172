"""A server fast enough to measure clients against: raw asyncio, bodies encoded once, one process of its own.

    python -m benchmarks.server [--port 0] [--latency 0.05] [--page-default 50] [--page-max 1000]

It prints its address, then serves until its standard input is closed. It knows just enough of UP42 for the clients that
are compared, and nothing of what makes the sandbox a good platform: no filter but `ids`, no validation, no errors.
Between two measurements it is told what to serve, and asked what it was asked:

    POST /control/jobs   {"number": 500, "flips": [1.5, ...]}   jobs; when each is captured, in seconds from now
    POST /control/files  {"origin": "...", "number": 8, "size": 1000}   what each job's result holds
    POST /control/reset                                         forget the counts
    POST /control/counts                                        requests, connections, CPU seconds
"""

import argparse
import asyncio
import email.utils
import json
import resource
import ssl
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

WORKSPACE = "68567134-27ad-7bd7-4b65-d61adb11fc78"
PROCESS_ID = "detection-trees-spacept"
_EULA = {"name": "eula-id", "value": ["eula"]}
_ANSWERS: dict[str, Any] = {
    "token": {"access_token": "benchmark", "expires_in": 300, "token_type": "Bearer", "refresh_expires_in": 1800},
    "userinfo": {"sub": WORKSPACE},
    "cost": {"pricingStrategy": "area", "totalCredits": 1, "totalSize": 15.8, "unit": "SQ_KM"},
    "eula": {"id": "eula", "isAccepted": True},
    PROCESS_ID: {"id": PROCESS_ID, "additionalParameters": {"parameters": [_EULA]}},
}


def job_id(position: int) -> str:
    """Return the id of a job by its position in the list."""
    return str(uuid.UUID(int=position + 2**64))


def job_metadata(number: int, id_: str, status: str) -> dict[str, Any]:
    """Return a job of about the size that UP42's have (1 kB)."""
    item = f"https://api.up42.com/v2/assets/stac/collections/{uuid.UUID(int=number)}/items/{uuid.UUID(int=number + 1)}"
    moment = f"2026-01-{number % 28 + 1:02d}T{number % 24:02d}:00:00.{number % 10**9:09d}Z"
    return {
        "processID": PROCESS_ID,
        "jobID": id_,
        "accountID": WORKSPACE,
        "workspaceID": WORKSPACE,
        "definition": {
            "inputs": {"title": f"Trees {number}", "item": item, "sensitivity": 2},
            "outputs": {"collection": {"transmissionMode": "reference", "format": {"mediaType": "application/json"}}},
            "response": "document",
            "subscriber": None,
        },
        "results": {"collection": f"https://api.up42.com/v2/assets/stac/collections/{id_}", "errors": None},
        "creditConsumption": {"credits": number % 100},
        "status": status,
        "created": moment,
        "started": moment,
        "finished": moment if status == "captured" else None,
        "updated": moment,
    }


class World:
    """The jobs, encoded once in both of their states, and the files of their results."""

    def __init__(self, page_default: int, page_max: int) -> None:
        """Begin without jobs."""
        self.page_default = page_default
        self.page_max = page_max
        self.counts: Counter[str] = Counter()
        self.files: dict[str, Any] = {"origin": "", "number": 0, "size": 0}
        self.set_jobs(0, [])

    def set_jobs(self, number: int, flips: list[float]) -> None:
        """Make jobs; without a time to flip they are captured already."""
        self.ids = [job_id(position) for position in range(number)]
        self.flips = dict(zip(self.ids, flips, strict=False))
        self.bodies = {id_: self._encoded(position, id_) for position, id_ in enumerate(self.ids)}
        self.pages: dict[tuple[int, int], bytes] = {}
        self.started = time.monotonic()

    def _encoded(self, position: int, id_: str) -> tuple[bytes, bytes]:
        captured = json.dumps(job_metadata(position, id_, "captured")).encode()
        if not self.flips:
            return captured, captured
        return json.dumps(job_metadata(position, id_, "running")).encode(), captured

    def job(self, id_: str) -> bytes:
        """Return one job as it is now."""
        flip = self.flips.get(id_)
        return self.bodies[id_][flip is None or time.monotonic() - self.started >= flip]

    def listed(self, query: dict[str, list[str]]) -> bytes:
        """Return a page of jobs; pages that never change are put together once."""
        limit = min(int(query.get("limit", [str(self.page_default)])[0]), self.page_max)
        start = int(query.get("cursor", ["0"])[0])
        if "ids" in query:
            ids = [id_ for id_ in query["ids"][0].split(",") if id_ in self.bodies]
            return self._page(ids, start, limit, f"&ids={'%2C'.join(ids)}")
        if self.flips:
            return self._page(self.ids, start, limit, "")
        if (start, limit) not in self.pages:
            self.pages[start, limit] = self._page(self.ids, start, limit, "")
        return self.pages[start, limit]

    def _page(self, ids: list[str], start: int, limit: int, more: str) -> bytes:
        jobs = b",".join(self.job(id_) for id_ in ids[start : start + limit])
        links: list[dict[str, str]] = []
        if start + limit < len(ids):
            links.append({"rel": "next", "href": f"/v2/processing/jobs?limit={limit}&cursor={start + limit}{more}"})
        return b'{"jobs":[' + jobs + b'],"links":' + json.dumps(links).encode() + b"}"

    def execute(self, inputs: dict[str, Any]) -> bytes:
        """Make a job."""
        id_ = str(uuid.uuid4())
        metadata = job_metadata(len(self.ids), id_, "created")
        metadata["definition"]["inputs"] = inputs["inputs"]
        self.ids.append(id_)
        body = json.dumps(metadata).encode()
        self.bodies[id_] = (body, body)
        return body

    def found(self) -> bytes:
        """Return the items of a result: one for each file."""
        return json.dumps({"features": [self._item(number) for number in range(self.files["number"])]}).encode()

    def _item(self, number: int) -> dict[str, Any]:
        return {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"item-{number}",
            "collection": self.ids[0],  # the result of the first job, whose files are downloaded
            "geometry": None,
            "properties": {"datetime": "2026-01-01T00:00:00Z"},
            "links": [],
            "assets": {f"file-{number}": {"href": f"/v2/assets/file-{number}"}},
        }

    def signed(self, name: str) -> bytes:
        """Return where a file is."""
        return json.dumps({"url": f"{self.files['origin']}/files/{self.files['size']}/{name}"}).encode()


class Connection(asyncio.Protocol):
    """One connection: reads whole requests, answers them in order."""

    def __init__(self, world: World, latency: float) -> None:
        """Wait for the first request."""
        self.world = world
        self.latency = latency
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self.transport = transport if isinstance(transport, asyncio.Transport) else None
        self.world.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, rest = self.buffer[:end], self.buffer[end + 4 :]
            length = content_length(head)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer(head, rest[:length])

    def answer(self, head: bytes, body: bytes) -> None:
        """Answer one request, after the latency."""
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ", 2)
        parts = urlsplit(target)
        if parts.path.startswith("/control/"):
            self.write(framed(control(self.world, parts.path, body)))
            return
        answer = framed(self.route(method, unquote(parts.path), parse_qs(parts.query), body))
        self.world.counts["requests"] += 1
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self.write, answer)
        else:
            self.write(answer)

    def write(self, answer: bytes) -> None:
        """Send an answer, if the connection is still open."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)

    def route(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> bytes:
        """Return the body of an answer."""
        rest, _, last = path.rpartition("/")
        if path == "/v2/processing/jobs":
            return self.world.listed(query)
        if rest == "/v2/processing/jobs":
            return self.world.job(last)
        if last == "search":
            return self.world.found()
        if last == "download-url":
            return self.world.signed(rest.rpartition("/")[2])
        if method == "POST" and last == "execution":
            return self.world.execute(json.loads(body))
        return b"" if last == "validation" else json.dumps(_ANSWERS[last]).encode()


def control(world: World, path: str, body: bytes) -> bytes:
    """Carry out a command of the benchmark between two measurements."""
    order = json.loads(body)
    if path == "/control/jobs":
        world.set_jobs(order["number"], order.get("flips", []))
    elif path == "/control/files":
        world.files = order
    elif path == "/control/reset":
        world.counts.clear()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    return json.dumps({**world.counts, "cpu": cpu, "started": world.started}).encode()


def framed(body: bytes) -> bytes:
    """Return a whole answer."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: "
        + email.utils.formatdate(usegmt=True).encode()
        + b"\r\nContent-Length: "
        + str(len(body)).encode()
        + b"\r\n\r\n"
        + body
    )


def content_length(head: bytes) -> int:
    """Return how long the body of a request is."""
    position = head.lower().find(b"\r\ncontent-length:")
    return int(head[position + 17 :].split(b"\r\n", 1)[0]) if position >= 0 else 0


async def serve(port: int, make: Callable[[], Connection], certificate: str) -> None:
    """Serve until standard input is closed."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await loop.create_server(make, "127.0.0.1", port, backlog=4096, ssl=context)
    scheme = "https" if certificate else "http"
    print(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Serve jobs fast.")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--page-default", type=int, default=50, help="jobs a page without a limit")
    parser.add_argument("--page-max", type=int, default=1000, help="jobs a page at the most")
    parser.add_argument("--certificate", default="", help="PEM file with key and certificate; without it no TLS")
    options = parser.parse_args()
    world = World(options.page_default, options.page_max)
    asyncio.run(serve(options.port, lambda: Connection(world, options.latency), options.certificate))


if __name__ == "__main__":
    main()
