"""How a body is passed to its writer: in ordered batches, no more than it accepts, and with the stream closed."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping

import anyio
import anyio.lowlevel
import httpx
import pytest

from tests.wire import Message, Wire, on_transport
from up42_async import ConnectionLostError
from up42_async._downloads import writer
from up42_async._downloads.writer import pour

PIECE = bytes(2**18)
MESSAGE = Message(label="GET file", url="https://storage.example/x")


class Stream(httpx.AsyncByteStream):
    """A stream of equal chunks from an inner generator, as those of httpx are."""

    def __init__(self, count: int, *, breaks: bool = False) -> None:
        self.count = count
        self.breaks = breaks
        self.ended: list[str] = []

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces():
                yield piece
        finally:
            self.ended.append("outer")

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self.count):
                await anyio.lowlevel.checkpoint()
                yield PIECE
            if self.breaks:
                raise httpx.ReadError("broken")
        finally:
            self.ended.append("inner")


class Transport(httpx.AsyncBaseTransport):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=self._stream, headers={"X-Name": request.url.path})


class BatchWriter:
    """A writer that accepts a number of batches, each after a pause."""

    def __init__(self, *, most: int = 1000, pause: float = 0.0, wanted: bool = True) -> None:
        self.sizes: list[int] = []
        self.head: tuple[int, Mapping[str, str]] | None = None
        self._most = most
        self._pause = pause
        self._wanted = wanted

    async def take(self, status: int, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> None:
        if await self.begin(status, headers):
            await pour(body, self.write)

    async def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        self.head = status, headers
        return self._wanted

    async def write(self, chunks: list[bytes]) -> bool:
        await anyio.sleep(self._pause)
        self.sizes.append(sum(map(len, chunks)))
        return len(self.sizes) < self._most


def wire_to(stream: Stream) -> Wire:
    return on_transport(Transport(stream))


async def test_a_body_is_written_in_large_batches_after_its_headers() -> None:
    stream, batches = Stream(10), BatchWriter()
    reply = await wire_to(stream).fetch(MESSAGE, batches)
    assert batches.sizes == [2**20, 2**20, 2**19]
    assert batches.head == (200, {"x-name": "/x"})
    assert (reply.status, reply.body) == (200, b"")
    assert stream.ended == ["inner", "outer"]


async def test_a_slow_body_is_written_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_TIME", 0.0)
    batches = BatchWriter()
    await wire_to(Stream(3)).fetch(MESSAGE, batches)
    assert batches.sizes == [2**18] * 3


async def test_a_body_that_the_writer_declines_is_not_read() -> None:
    stream, batches = Stream(10), BatchWriter(wanted=False)
    await wire_to(stream).fetch(MESSAGE, batches)
    assert (batches.sizes, stream.ended) == ([], [])


async def test_a_writer_that_returns_false_gets_no_more_and_the_stream_is_closed() -> None:
    stream, batches = Stream(100), BatchWriter(most=2)
    await wire_to(stream).fetch(MESSAGE, batches)
    assert len(batches.sizes) == 2
    assert stream.ended == ["inner", "outer"]


async def test_bytes_received_before_the_connection_broke_are_written() -> None:
    stream, batches = Stream(5, breaks=True), BatchWriter()
    with pytest.raises(ConnectionLostError, match="GET file: the connection broke: broken"):
        await wire_to(stream).fetch(MESSAGE, batches)
    assert sum(batches.sizes) == 5 * 2**18


async def test_cancelling_during_a_write_closes_the_inner_stream_first() -> None:
    stream, batches = Stream(1000), BatchWriter(pause=0.02)
    with anyio.move_on_after(0.03) as scope:
        await wire_to(stream).fetch(MESSAGE, batches)
    assert scope.cancelled_caught
    assert stream.ended == ["inner", "outer"]
