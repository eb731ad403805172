"""The origin of the files: signed URLs, ranges and bytes, without a token."""

from collections.abc import Mapping

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from up42_async.sandbox._answers import XML, xml_body
from up42_async.sandbox._exchange import raw_path, raw_query
from up42_async.sandbox._items import File, Item
from up42_async.sandbox._ranges import Unsatisfiable, part_of
from up42_async.sandbox._scaled_clock import http_date
from up42_async.sandbox._signing import BUCKET, disposition_of
from up42_async.sandbox._storage import Storage
from up42_async.sandbox._wire import connection_of

_BURST_SECONDS = 0.05

Headers = list[tuple[bytes, bytes]]


_REFUSALS: Mapping[str, tuple[int, bytes]] = {
    "expired": (403, xml_body("ExpiredToken", "Invalid argument.", "The provided token has expired.")),
    "tampered": (
        403,
        xml_body(
            "SignatureDoesNotMatch",
            "Access denied.",
            "The request signature we calculated does not match the signature you provided.",
        ),
    ),
    "missing": (404, xml_body("NoSuchKey", "The specified key does not exist.")),
    "range": (416, xml_body("InvalidRange", "The requested range cannot be satisfied.")),
    "method": (405, xml_body("MethodNotAllowed", "The specified method is not allowed against this resource.")),
}


class Throttle:
    """Limits the bytes that all connections together send in a second.

    Args:
        bandwidth: Bytes a second; None for no limit.
    """

    def __init__(self, bandwidth: float | None) -> None:
        self._bandwidth = bandwidth
        self._free = 0.0

    async def pay(self, size: int) -> None:
        """Wait until a number of bytes may be sent."""
        if self._bandwidth is not None:
            now = anyio.current_time()
            self._free = max(self._free, now - _BURST_SECONDS) + size / self._bandwidth
            await anyio.sleep(max(self._free - now, 0.0))


class Sender:
    """Sends files, or parts of them, at the bandwidth of the sandbox.

    Args:
        bandwidth: Bytes a second; None for no limit.
    """

    def __init__(self, bandwidth: float | None) -> None:
        self._throttle = Throttle(bandwidth)

    async def send_file(self, scope: Scope, send: Send, entry: tuple[Item, File], disposition: bytes | None) -> None:
        """Answer a request with a file.

        Args:
            scope: The request; its Range and If-Range count.
            send: Takes the answer.
            entry: The file and its item.
            disposition: The Content-Disposition of the answer; None for none.
        """
        headers = _headers(*entry, disposition)
        size = entry[1].content.size
        try:
            asked = _asked_part(scope, headers, size)
        except Unsatisfiable:
            await _refuse(send, "range", (b"content-range", b"bytes */%d" % size))
            return
        await self._deliver(scope, send, entry[1], headers, asked)

    async def _deliver(
        self, scope: Scope, send: Send, file: File, headers: Headers, asked: tuple[int, int] | None
    ) -> None:
        size = file.content.size
        start, stop = asked or (0, size)
        if asked is not None:
            headers = [*headers, (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size))]
        headers = [*headers, (b"content-length", b"%d" % (stop - start))]
        await send({"type": "http.response.start", "status": 200 if asked is None else 206, "headers": headers})
        if scope["method"] == "GET":
            connection = connection_of(scope)
            for piece in file.content.pieces(start, stop):
                if connection is not None and connection.is_lost:
                    raise ClientDisconnect
                await self._throttle.pay(len(piece))
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class FilesApp:
    """Serves the files of the storage to requests with a signed URL.

    Args:
        storage: The storage.
        sender: Sends the files.
    """

    def __init__(self, storage: Storage, sender: Sender) -> None:
        self._storage = storage
        self._world = storage.world
        self._sender = sender

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._look_up(scope)
        if isinstance(found, str):
            await _refuse(send, found)
        else:
            await self._sender.send_file(scope, send, found, disposition_of(raw_query(scope)))

    def _look_up(self, scope: Scope) -> tuple[Item, File] | str:
        """Return the file and its item, or why the request is refused."""
        if scope["method"] not in {"GET", "HEAD"}:
            return "method"
        path = raw_path(scope)
        with self._world.lock:
            refusal = self._world.signed_urls.refusal(path, raw_query(scope))
            return refusal or self._storage.file(path.removeprefix(f"/{BUCKET}/")) or "missing"


def _headers(item: Item, file: File, disposition: bytes | None) -> Headers:
    headers = [
        (b"content-type", file.media_type.encode()),
        (b"accept-ranges", b"bytes"),
        (b"etag", file.etag.encode()),
        (b"last-modified", http_date(item.moment).encode()),
        (b"cache-control", b"private, max-age=0"),
        (b"server", b"UploadServer"),
    ]
    return headers if disposition is None else [*headers, (b"content-disposition", disposition)]


def _asked_part(scope: Scope, headers: Headers, size: int) -> tuple[int, int] | None:
    """Return the range of bytes to send; None for the whole file, also where If-Range names another version.

    Raises:
        Unsatisfiable: The range is empty.
    """
    given = dict(scope["headers"])
    condition = given.get(b"if-range")
    if condition is not None and condition not in {dict(headers)[b"etag"], dict(headers)[b"last-modified"]}:
        return None
    return part_of(size, given.get(b"range", b"").decode("latin-1"))


async def _refuse(send: Send, reason: str, *more: tuple[bytes, bytes]) -> None:
    status, body = _REFUSALS[reason]
    headers = [(b"content-type", XML.encode()), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
