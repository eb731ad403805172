"""An API server and a storage host over real sockets, in threads, so that tests on both loops can use them.

The two are different origins, as UP42's are. A list of faults, one for each request, says what the storage host does
wrong.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

import anyio

from up42_async import Client, Endpoints, Limits, RetryPolicy, Timeouts

QUICK = RetryPolicy(attempts=4, wait_initial=0.002, wait_max=0.01, budget=100)
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@dataclass
class StoredFile:
    """A file on the storage host, and the headers it is sent with."""

    content: bytes
    name: str | None = "result.tif"
    header: str | None = None
    etag: str | None = None
    modified: str | None = MODIFIED

    def __post_init__(self) -> None:
        if self.etag is None:
            self.etag = f'"{hashlib.md5(self.content).hexdigest()}"'  # noqa: S324 - as storage hosts make them


@dataclass
class Seen:
    """A request that the storage host received."""

    path: str
    headers: dict[str, str]


Fault = Callable[["Exchange"], None]


@dataclass
class StorageHost:
    """An API with assets, and a storage host with their files."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    """JSON responses of the API by method and path; a function is called with the request's JSON."""
    faults: list[Fault | None] = field(default_factory=list)
    """What the storage host does wrong at each request in turn; None for nothing."""
    sign: Callable[[str], str] | None = None
    """Returns the signed URL of an asset in place of the usual one."""
    seen: list[Seen] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    queries: dict[str, list[str]] = field(default_factory=dict)
    """Query strings of the requests to the API, by method and path."""
    bodies: list[Any] = field(default_factory=list)
    api: str = ""
    storage: str = ""

    def signed_url(self, asset_id: str) -> str:
        """Return a new signed URL of a file."""
        if self.sign is not None:
            return self.sign(asset_id)
        file = self.files[asset_id]
        query = "X-Signature=canary"
        if file.name is not None:
            disposition = quote(f'attachment; filename="{file.name}"', safe="")
            query += f"&response-content-disposition={disposition}"
        return f"{self.storage}/bucket/{asset_id}.bin?{query}"

    @property
    def minted(self) -> int:
        """Number of signed URLs that were requested."""
        return sum(count for name, count in self.asked.items() if name.endswith("/download-url"))

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until a thread of the host has done something."""
        while not happened():  # noqa: ASYNC110 - threads set no event of the loop
            await anyio.sleep(0.002)

    def client(self, **settings: Any) -> Client:
        """Return a client of this API."""
        defaults: dict[str, Any] = {
            "retry": QUICK,
            "timeouts": Timeouts(read=2.0),
            "limits": Limits(requests_per_second=10_000.0, burst=10_000),
        }
        endpoints = Endpoints(api=self.api, auth=f"{self.api}/auth")
        return Client("someone", "password", endpoints=endpoints, **(defaults | settings))


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: StorageHost

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
        pass

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Api(_Quiet):
    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = f"{self.command} {parts.path}"
        self.host.asked[name] += 1
        self.host.queries.setdefault(name, []).append(parts.query)
        if parts.path == "/auth/token":
            self.send(200, json.dumps({"access_token": "canary-token", "expires_in": 300}).encode())
            return
        content = json.loads(body) if body else None
        self.host.bodies.append(content)
        status, answer = self._look_up(name, parts.path, content)
        body = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(answer).encode()
        self.send(status, body, {"Content-Type": "application/json"})

    def _look_up(self, name: str, path: str, content: Any) -> tuple[int, Any]:
        if name in self.host.answers:
            answer = self.host.answers[name]
            answer = answer(content) if callable(answer) else answer
            return answer if isinstance(answer, tuple) else (200, answer)
        asset_id = path.removeprefix("/v2/assets/").removesuffix("/download-url")
        if path.endswith("/download-url") and (asset_id in self.host.files or self.host.sign):
            return 200, {"url": self.host.signed_url(asset_id)}
        return 404, {"title": "Not Found"}

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - as http.server wants them


class Exchange(_Quiet):
    """One request to the storage host; a fault gets it and sends the response."""

    file: StoredFile
    start: int

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.host.seen.append(Seen(self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.file = self.host.files[parts.path.removeprefix("/bucket/").removesuffix(".bin")]
        self.start = self._wanted_start()
        fault = self.host.faults.pop(0) if self.host.faults else None
        (fault or whole)(self)

    def _wanted_start(self) -> int:
        wanted = self.headers.get("Range")
        if wanted is None or self.headers.get("If-Range", self.file.etag) != self.file.etag:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def head(self, status: int | None = None, **changes: str | None) -> None:
        """Send the head of the answer, with changes to its headers; None leaves one out."""
        total = len(self.file.content)
        headers: dict[str, str | None] = {
            "Content-Length": str(total - self.start),
            "ETag": self.file.etag,
            "Last-Modified": self.file.modified,
            "Content-Disposition": self.file.header,
        }
        if self.start:
            headers["Content-Range"] = f"bytes {self.start}-{total - 1}/{total}"
        self.send_response(status or (206 if self.start else 200))
        changed = headers | {name.replace("_", "-"): value for name, value in changes.items()}
        for name, value in changed.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    @property
    def rest(self) -> bytes:
        """The requested bytes."""
        return self.file.content[self.start :]

    def drop(self) -> None:
        """Close the connection."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)


def whole(exchange: Exchange) -> None:
    """Send all requested bytes."""
    exchange.head()
    exchange.wfile.write(exchange.rest)


def broken_after(count: int) -> Fault:
    """Send this number of bytes, then break the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.head()
        exchange.wfile.write(exchange.rest[:count])
        exchange.drop()

    return fault


def refused(status: int, **headers: str) -> Fault:
    """Answer with a status and no file."""

    def fault(exchange: Exchange) -> None:
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.send(status, b"<Error>canary</Error>", changed)

    return fault


def announced(status: int | None = None, **headers: str | None) -> Fault:
    """Send all requested bytes with another status or other headers."""

    def fault(exchange: Exchange) -> None:
        exchange.head(status, **headers)
        exchange.wfile.write(exchange.rest)
        exchange.close_connection = True

    return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: the tests have clients that close connections early."""


def _handler(kind: type[_Quiet], host: StorageHost) -> Any:
    return type(kind.__name__, (kind,), {"host": host})


@contextmanager
def serving() -> Generator[StorageHost]:
    """Serve until the block ends."""
    host = StorageHost()
    servers = [_Server(("127.0.0.1", 0), _handler(kind, host)) for kind in (_Api, Exchange)]
    host.api, host.storage = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield host
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
