"""Faults of the storage host: slow bytes, encodings, redirects."""

import gzip
import zlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import attrs

from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Exchange, Reply, reply_of
from up42_async.sandbox._fault_kinds_wire import in_pieces
from up42_async.sandbox._ranges import Unsatisfiable, part_of

_OK = 200
_PIECES_A_SECOND = 10
_ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "x-gzip": lambda content: gzip.compress(content, mtime=0),
    "deflate": zlib.compress,
}


@attrs.frozen
class SlowBody:
    """Send the body slowly, with a piece at least every tenth of a second or every byte.

    Args:
        bytes_per_second: Bytes in each real second; above 0.
    """

    bytes_per_second: float = attrs.field(default=1.0, validator=checks.real(0, above=True))

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and answer slowly."""
        size = max(int(self.bytes_per_second / _PIECES_A_SECOND), 1)
        return attrs.evolve(await act(), delivery=in_pieces(size, size / self.bytes_per_second))


@attrs.frozen
class StoredEncoding:
    """Send a file with a Content-Encoding, whatever the client accepts.

    Args:
        encoding: `"gzip"`, `"x-gzip"` and `"deflate"` are compressed, and ranges are those of the compressed bytes;
            of any other word, such as `"utf-8"`, `"none"`, `"identity"` or `"aws-chunked"`, the bytes stay as they are.
    """

    encoding: str = attrs.field(default="gzip", validator=checks.header)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and encode the file; other answers pass."""
        encode = _ENCODINGS.get(self.encoding.lower())
        asked = exchange.header(b"range")
        if encode is not None:
            exchange.set_header(b"range", None)
        reply = await act()
        if not reply.is_file:
            return reply
        reply = reply.with_header(b"content-encoding", self.encoding.encode("latin-1"))
        return reply if encode is None else _part(reply.with_body(encode(reply.body)), asked)


def _part(reply: Reply, asked: bytes | None) -> Reply:
    """Return the range of a whole file that a Range header asks for."""
    size = len(reply.body)
    try:
        part = None if asked is None else part_of(size, asked.decode("latin-1"))
    except Unsatisfiable:
        return reply_of(416, "", b"", (b"content-range", b"bytes */%d" % size))
    if part is None or reply.status != _OK:
        return reply
    start, stop = part
    ranged = reply.with_body(reply.body[start:stop], (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size)))
    return attrs.evolve(ranged, status=206)


@attrs.frozen
class RedirectFile:
    """Answer a signed URL with a redirect to the same file; with `times=n` there are n of them before the file comes.

    Args:
        status: 301, 302, 303, 307 or 308.
        origin: The location's part before the path; `{host}` in it stands for the host and port of the files. None for
            the origin of the files. `HOSTILE_ORIGINS` has examples.
    """

    status: int = attrs.field(default=307, validator=checks.one_of(301, 302, 303, 307, 308))
    origin: str | None = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.header))

    async def apply(self, exchange: Exchange, _: Act) -> Reply:
        """Answer with the redirect."""
        files_url = exchange.world.files_url
        origin = files_url if self.origin is None else self.origin.replace("{host}", urlsplit(files_url).netloc)
        location = f"{origin}{exchange.path}?{exchange.query}".encode("latin-1")
        return reply_of(self.status, "", b"", (b"location", location))
