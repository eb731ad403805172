"""The floor: the same bytes over a blocking socket, and JSON decoding; no HTTP library, no objects."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

from benchmarks.meter import Meter

_JOBS = "/v2/processing/jobs"
_PIECE = 2**18


class Connection:
    """As little HTTP as will do."""

    def __init__(self, base: str) -> None:
        """Connect."""
        parts = urlsplit(base)
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, target: str) -> bytes:
        """Send a request and return the body of the answer."""
        self._socket.sendall(f"GET {target} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._socket.recv(_PIECE)
        whole = end + 4 + int(data[:end].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(data) < whole:
            data += self._socket.recv(_PIECE)
        return bytes(data[end + 4 :])


def listing(base: str, page_size: int | None = None) -> dict[str, Any]:
    """List all jobs as dictionaries."""
    connection = Connection(base)
    connection.get(f"{_JOBS}?limit=1")
    with Meter() as meter:
        jobs = 0
        link: str | None = _JOBS if page_size is None else f"{_JOBS}?limit={page_size}"
        while link is not None:
            page = json.loads(connection.get(link))
            jobs += len(page["jobs"])
            link = next((one["href"] for one in page["links"] if one["rel"] == "next"), None)
    return meter.result(jobs=jobs)


def bytes_only(base: str, page_size: int = 50) -> dict[str, Any]:
    """Fetch all pages and look into none: how fast the server is."""
    connection = Connection(base)
    connection.get(f"{_JOBS}?limit=1")
    with Meter() as meter:
        jobs = 0
        cursor = 0
        while True:
            body = connection.get(f"{_JOBS}?limit={page_size}&cursor={cursor}")
            jobs += body.count(b'"jobID"')
            cursor += page_size
            if b'"next"' not in body[-300:]:
                break
    return meter.result(jobs=jobs)


def calls(base: str, ids: list[str]) -> dict[str, Any]:
    """Ask for one job after the other."""
    connection = Connection(base)
    connection.get(f"{_JOBS}?limit=1")
    with Meter() as meter:
        for id_ in ids:
            json.loads(connection.get(f"{_JOBS}/{id_}"))
    return meter.result(calls=len(ids))
