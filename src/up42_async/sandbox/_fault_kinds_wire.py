"""Faults of the connection."""

from abc import abstractmethod
from typing import Protocol

import anyio
import anyio.lowlevel
import attrs
from starlette.requests import ClientDisconnect

from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Delivery, Exchange, Reply, reply_of

_JSON = "application/json"


class Kind(Protocol):
    """A kind of fault: changes a request or its answer. Any object with this method is one."""

    @abstractmethod
    async def apply(self, exchange: Exchange, act: Act, /) -> Reply:
        """Return the answer to deliver.

        Args:
            exchange: The request.
            act: Does the work and returns the sandbox's answer; without a call the work is not done.
        """


_NOTHING = reply_of(200, _JSON, b"")


async def _acted(act: Act, *, acts: bool) -> Reply:
    return await act() if acts else _NOTHING


def _lost(*, reset: bool) -> Delivery:
    async def deliver(exchange: Exchange, _: Reply) -> None:
        await exchange.lose(reset=reset)

    return deliver


@attrs.frozen
class LoseAnswer:
    """Do the work, then drop the connection instead of answering.

    Args:
        reset: Drop it with an RST instead of a FIN.
    """

    reset: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and drop the connection."""
        return attrs.evolve(await act(), delivery=_lost(reset=self.reset))


@attrs.frozen
class DropConnection:
    """Drop the connection when the request has arrived, without doing the work.

    Args:
        reset: Drop it with an RST instead of a FIN.
    """

    reset: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, __: Act) -> Reply:
        """Drop the connection without acting."""
        return attrs.evolve(_NOTHING, delivery=_lost(reset=self.reset))


@attrs.frozen
class Hang:
    """Never answer; the connection stays open until the client closes it.

    Args:
        acts: Do the work first.
    """

    acts: bool = attrs.field(default=True, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act if asked to, and wait."""
        return attrs.evolve(await _acted(act, acts=self.acts), delivery=_never)


async def _never(exchange: Exchange, _: Reply) -> None:
    await exchange.wait_for_disconnect()


@attrs.frozen
class Delay:
    """Delay the answer.

    Args:
        seconds: The delay; real seconds, 0 or more.
        before: Wait before doing the work instead of between the work and the answer.
    """

    seconds: float = attrs.field(validator=checks.real(0))
    before: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and wait before or after it."""
        if self.before:
            await anyio.sleep(self.seconds)
            return await act()
        reply = await act()
        await anyio.sleep(self.seconds)
        return reply


@attrs.frozen
class Drip:
    """Send the body in small pieces with a pause before each.

    Args:
        seconds: The pause; real seconds, 0 or more.
        size: Bytes of a piece, at least 1.
    """

    seconds: float = attrs.field(default=0.5, validator=checks.real(0))
    size: int = attrs.field(default=1, kw_only=True, validator=checks.whole(1))

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and answer slowly."""
        return attrs.evolve(await act(), delivery=in_pieces(self.size, self.seconds))


def in_pieces(size: int, pause: float) -> Delivery:
    """Return a delivery that sends the body in pieces.

    Args:
        size: Bytes of a piece.
        pause: Real seconds before each piece.
    """

    async def deliver(exchange: Exchange, reply: Reply) -> None:
        await exchange.send_head(reply)
        for begin in range(0, len(reply.body), size):
            await anyio.sleep(pause)
            if exchange.connection is not None and exchange.connection.is_lost:
                raise ClientDisconnect
            piece = reply.body[begin : begin + size]
            await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b""})

    return deliver


@attrs.frozen
class Truncate:
    """Do the work and announce the whole answer, but send only its beginning and drop the connection.

    Args:
        keep: Bytes of the body that are sent; None for half of it, for which the whole is held in memory.
        chunked: Send a chunked body that lacks its end, instead of fewer bytes than Content-Length says.
        reset: Drop the connection with an RST instead of a FIN.
    """

    keep: int | None = attrs.field(default=None, validator=checks.optional(checks.whole(0)))
    chunked: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)
    reset: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and answer with less than the whole."""
        exchange.most = self.keep
        return attrs.evolve(await act(), delivery=self._deliver)

    async def _deliver(self, exchange: Exchange, reply: Reply) -> None:
        kept = reply.body[: len(reply.body) // 2 if self.keep is None else self.keep]
        headers = [header for header in reply.headers if header[0] != b"content-length"]
        if self.chunked:
            headers.append((b"transfer-encoding", b"chunked"))
            kept = b"%x\r\n%b\r\n" % (len(kept), kept)
        else:
            headers.append((b"content-length", reply.header(b"content-length") or b"%d" % len(reply.body)))
        await _write_raw(exchange, attrs.evolve(reply, headers=tuple(headers), body=kept), reset=self.reset)


async def past_http(exchange: Exchange, reply: Reply) -> None:
    """Send an answer whose body need not have the length that its header has, and drop the connection."""
    await _write_raw(exchange, reply, reset=False)


async def _write_raw(exchange: Exchange, reply: Reply, *, reset: bool) -> None:
    head = b"".join(b"%b: %b\r\n" % header for header in reply.headers)
    await exchange.write_raw(b"HTTP/1.1 %d OK\r\n%b\r\n%b" % (reply.status, head, reply.body), reset=reset)


@attrs.frozen
class Stall:
    """Send the headers and the start of the body, and then nothing; the client has to close the connection.

    Args:
        after: Bytes of the body that are sent.
    """

    after: int = attrs.field(default=0, validator=checks.whole(0))

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and stop in the middle."""
        exchange.most = self.after
        return attrs.evolve(await act(), delivery=self._deliver)

    async def _deliver(self, exchange: Exchange, reply: Reply) -> None:
        await exchange.send_head(reply)
        await exchange.send({"type": "http.response.body", "body": reply.body[: self.after], "more_body": True})
        await exchange.wait_for_disconnect()


@attrs.frozen
class RawAnswer:
    r"""Answer with bytes that need not be HTTP, and drop the connection.

    Args:
        data: The bytes; a garbage status line if not given. `b"HTTP/1.1 200 OK\r\ncontent-"` is half a head.
        acts: Do the work before that.
        reset: Drop the connection with an RST instead of a FIN.
    """

    data: bytes = attrs.field(default=b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n", validator=checks.octets)
    acts: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)
    reset: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act if asked to, and answer with the bytes."""
        return attrs.evolve(await _acted(act, acts=self.acts), delivery=self._deliver)

    async def _deliver(self, exchange: Exchange, _: Reply) -> None:
        await exchange.write_raw(self.data, reset=self.reset)


@attrs.frozen
class Endless:
    """Answer 200 with a body that never ends, as fast as it is read.

    Args:
        piece: Bytes that are repeated.
    """

    piece: bytes = attrs.field(default=b" " * 65536, validator=checks.octets)

    async def apply(self, _: Exchange, __: Act) -> Reply:
        """Answer without acting."""
        return attrs.evolve(_NOTHING, delivery=self._deliver)

    async def _deliver(self, exchange: Exchange, reply: Reply) -> None:
        headers = [(b"content-type", _JSON.encode())]
        await exchange.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        while exchange.connection is not None and not exchange.connection.is_lost:
            await exchange.send({"type": "http.response.body", "body": self.piece, "more_body": True})
            await anyio.lowlevel.checkpoint()
        if exchange.connection is not None:
            raise ClientDisconnect
        await exchange.lose(reset=False)
