"""Faults of the server: wrong statuses, headers and bodies."""

import zlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, Literal, get_args

import attrs

from up42_async.sandbox import _answers
from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Exchange, Reply, reply_of
from up42_async.sandbox._scaled_clock import ScaledClock

Body = Literal["wrapped", "problem", "plain", "html", "text", "xml", "invalid-json", "empty"]
_BODIES: tuple[Body, ...] = get_args(Body)

_PLATFORM_BODIES = frozenset({"wrapped", "problem", "plain"})
_MEBIBYTE = 1 << 20
_HTML = b"<!DOCTYPE html>\n<html><head><title>%d %b</title></head><body><h1>%b</h1><hr>proxy</body></html>\n"


def _check_retry_after(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if isinstance(value, str):
        checks.header(instance, attribute, value)
    elif not isinstance(value, int | float | timedelta) or isinstance(value, bool):
        raise TypeError(f"Status: retry_after must be seconds, a timedelta or a string, not {value!r}.")


@attrs.frozen
class Status:
    """Answer with a status.

    Args:
        status: The status, 200 to 599; UP42 was recorded to send also 524 and 542.
        body: The body: one of the platform's three error bodies (`"wrapped"`: data and error, `"problem"`:
            RFC 9457, `"plain"`: code, message, details), an `"html"` page, `"text"`, `"xml"` as file storage writes it,
            `"invalid-json"`, or nothing (`"empty"`).
        retry_after: A Retry-After header: a number of seconds, a timedelta for an HTTP date that far ahead of the Date
            header, or any text as it is; None for no header.
        headers: More headers.
        acts: Do the work before answering.
    """

    status: int = attrs.field(validator=checks.whole(200, 599))
    body: Body = attrs.field(default="problem", validator=checks.one_of(*_BODIES))
    retry_after: float | str | timedelta | None = attrs.field(
        default=None, kw_only=True, validator=checks.optional(_check_retry_after)
    )
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, validator=checks.headers)
    acts: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act if asked to, and answer with the status."""
        if self.acts:
            await act()
        more = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.body in _PLATFORM_BODIES:
            more.append((b"x-request-id", exchange.world.request_id().encode()))
        more += retry_after(self.retry_after, exchange.world.clock)
        return reply_of(self.status, *_body(self.body, self.status), *more)


def retry_after(value: float | str | timedelta | None, clock: ScaledClock) -> list[tuple[bytes, bytes]]:
    """Return the Retry-After header as a list; an empty list for None."""
    if value is None:
        return []
    if isinstance(value, timedelta):
        value = clock.http_date(value.total_seconds())
    return [(b"retry-after", (value if isinstance(value, str) else f"{value:g}").encode("latin-1"))]


def html_page(status: int) -> bytes:
    """Return the page of a proxy about a status."""
    words = _answers.phrase(status).encode()
    return _HTML % (status, words, words)


def _body(kind: Body, status: int) -> tuple[str, bytes]:
    words = _answers.phrase(status)
    bodies = {
        "wrapped": (_answers.JSON, _answers.wrapped_body(status, words)),
        "problem": (_answers.PROBLEM, _answers.problem_body(status, words)),
        "plain": (_answers.JSON, _answers.plain_body(status, words)),
        "html": ("text/html; charset=utf-8", html_page(status)),
        "text": ("text/plain; charset=utf-8", f"{words}\n".encode()),
        "xml": (_answers.XML, _answers.xml_body(words.replace(" ", ""), f"{words}.")),
        "invalid-json": (_answers.JSON, b'{"jobs": [{"jobID": "'),
        "empty": ("", b""),
    }
    return bodies[kind]


@attrs.frozen
class Redirect:
    """Answer with a redirect.

    Args:
        location: The Location header; it need not be a URL.
        status: 301, 302, 303, 307 or 308.
        acts: Do the work first.
    """

    location: str = attrs.field(validator=checks.header)
    status: int = attrs.field(default=302, validator=checks.one_of(301, 302, 303, 307, 308))
    acts: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act if asked to, and answer with the redirect."""
        if self.acts:
            await act()
        return reply_of(self.status, "", b"", (b"location", self.location.encode("latin-1")))


@attrs.frozen
class Rewrite:
    """Do the work and change the JSON of a successful answer.

    Args:
        change: Takes the decoded body and returns the one to send.
    """

    change: Callable[[Any], Any] = attrs.field(validator=checks.function)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and answer with the changed JSON."""
        return (await act()).rewritten(self.change)


@attrs.frozen
class ChangeHeaders:
    """Do the work, and change headers of the answer.

    Args:
        changes: New values by name; None removes a header.
    """

    changes: Mapping[str, str | None] = attrs.field(validator=checks.headers)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and answer with the changed headers."""
        reply = await act()
        for name, value in self.changes.items():
            reply = reply.with_header(name.lower().encode(), None if value is None else value.encode("latin-1"))
        return reply


@attrs.frozen
class DeepJson:
    """Answer 200 with nested lists.

    Args:
        depth: The number of nested lists.
    """

    depth: int = attrs.field(default=100_000, validator=checks.whole(1))

    async def apply(self, _: Exchange, __: Act) -> Reply:
        """Answer without acting."""
        return reply_of(200, _answers.JSON, b"[" * self.depth + b"]" * self.depth)


@attrs.frozen
class LargeHeaders:
    """Do the work and answer with a head that is too large.

    Args:
        size: Bytes of the largest header.
    """

    size: int = attrs.field(default=200_000, validator=checks.whole(1))

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and add the header."""
        reply = await act()
        return attrs.evolve(reply, headers=(*reply.headers, (b"x-large", b"x" * self.size)))


@attrs.frozen
class GzipBomb:
    """Answer 200 with a small body that inflates to a huge one.

    Args:
        mebibytes: Its inflated size; about a thousandth of that is sent.
        encoding: What Content-Encoding says; the body is gzip whatever it says.
    """

    mebibytes: int = attrs.field(default=1024, validator=checks.whole(1))
    encoding: str = attrs.field(default="gzip", validator=checks.header)

    async def apply(self, _: Exchange, __: Act) -> Reply:
        """Answer without acting."""
        encoding = (b"content-encoding", self.encoding.encode("latin-1"))
        return reply_of(200, _answers.JSON, _spaces(self.mebibytes), encoding)


@cache
def _spaces(mebibytes: int) -> bytes:
    """Compress mebibytes of spaces as one gzip member, by repeating the flushed block of a single one."""
    piece = b" " * _MEBIBYTE
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(piece, checksum)
    size = (mebibytes * _MEBIBYTE) % (1 << 32)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return head + block * mebibytes + compressor.flush() + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")
