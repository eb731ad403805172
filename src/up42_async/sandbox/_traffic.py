"""Counts of requests and connections."""

import re
import threading
from collections.abc import Callable, Sequence
from functools import partial

import attrs


@attrs.define(kw_only=True)
class RequestRecord:
    """One request.

    Args:
        origin: `"api"` for the API and its authentication, `"files"` for the files.
        method: The HTTP method.
        path: The path as it was sent, with its percent-encoding.
        query: The query as it was sent.
        has_authorization: Whether an Authorization header came with it.
        has_cookie: Whether a Cookie header came with it.
        connection_id: The number of its connection, 1 for the first; 0 without a server.
        peer_port: The client's port; 0 without a server.
        range: The Range header, or None.
        body_size: Bytes of the request's body read so far.
        sent: Bytes of the answer's body sent so far, without those that a fault writes past HTTP.
        status: The status of the answer; None before the answer, and if it was lost.
        request_id: The `x-request-id` of the answer of an error.
    """

    origin: str
    method: str
    path: str
    query: str
    has_authorization: bool
    has_cookie: bool
    connection_id: int = 0
    peer_port: int = 0
    range: str | None = None
    body_size: int = 0
    sent: int = 0
    status: int | None = None
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Connections:
    """TCP connections: opened so far, open now, most open at once."""

    opened: int
    open: int
    peak: int


class Traffic:
    """Counts requests and connections, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_connection_id = 1
        self.connections_to_reset = 0
        self._open = 0
        self._in_flight: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Set the counts to zero, except for open connections and requests in progress."""
        with self._lock:
            self._records: list[RequestRecord] = []
            self._opened = 0
            self._peak_open = self._open
            self._peak_in_flight = len(self._in_flight)
            self._logins = 0

    def begin(self, record: RequestRecord) -> Callable[[], None]:
        """Record a request that has arrived.

        Returns:
            A function to call when the request has ended, answered or not; a second call does nothing.
        """
        with self._lock:
            self._records.append(record)
            self._in_flight.add(id(record))
            self._peak_in_flight = max(self._peak_in_flight, len(self._in_flight))
        return partial(self._end, id(record))

    def _end(self, key: int) -> None:
        with self._lock:
            self._in_flight.discard(key)

    @property
    def in_flight(self) -> int:
        """Return how many requests are in progress."""
        with self._lock:
            return len(self._in_flight)

    def login(self) -> None:
        """Count a login."""
        with self._lock:
            self._logins += 1

    def connection_opened(self) -> int:
        """Count a connection and return its number."""
        with self._lock:
            number = self._next_connection_id
            self._next_connection_id += 1
            self._opened += 1
            self._open += 1
            self._peak_open = max(self._peak_open, self._open)
            return number

    def connection_closed(self) -> None:
        """Count the end of a connection."""
        with self._lock:
            self._open -= 1

    @property
    def records(self) -> Sequence[RequestRecord]:
        """Return the requests so far, in order of arrival."""
        with self._lock:
            return tuple(self._records)

    @property
    def connections(self) -> Connections:
        """Return the counts of connections."""
        with self._lock:
            return Connections(opened=self._opened, open=self._open, peak=self._peak_open)

    @property
    def peak_in_flight(self) -> int:
        """Return the largest number of requests in progress at once."""
        with self._lock:
            return self._peak_in_flight

    @property
    def logins(self) -> int:
        """Return the number of logins, with right and wrong passwords."""
        with self._lock:
            return self._logins

    def count(self, method: str | None, path: str | None, origin: str | None) -> int:
        """Count the requests with a method and an origin whose path starts with a match of a regular expression."""
        pattern = re.compile(path or "")
        return sum(
            (method is None or record.method == method.upper())
            and (origin is None or record.origin == origin)
            and pattern.match(record.path) is not None
            for record in self.records
        )
