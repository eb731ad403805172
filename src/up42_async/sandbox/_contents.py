"""The bytes of files: generated when they are read, and never kept in memory."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from random import Random
from typing import Protocol

PIECE = 1 << 18
"""Bytes that are handed out at once: 256 KiB; larger pieces only wait in the connection's buffer."""

_BLOCK = 1 << 20
SHA2_256 = "1220"
"""Multihash: the function and the length of its digest, as `file:checksum` begins."""


class Content(Protocol):
    """The bytes of one file, the same on every read."""

    @property
    def size(self) -> int:
        """Return how many bytes there are."""
        ...

    def pieces(self, start: int, stop: int) -> Iterator[bytes | memoryview]:
        """Yield a range of them in small pieces."""
        ...

    @property
    def checksum(self) -> str:
        """Return their multihash, as the STAC file extension writes it."""
        ...


class Drawn:
    """A small file that is generated on every read; only its size and checksum are kept.

    Args:
        draw: Returns the bytes, the same ones every time.
    """

    def __init__(self, draw: Callable[[], bytes]) -> None:
        self._draw = draw

    @cached_property
    def _facts(self) -> tuple[int, str]:
        content = self._draw()
        return len(content), SHA2_256 + hashlib.sha256(content).hexdigest()

    @property
    def size(self) -> int:
        """Return how many bytes there are."""
        return self._facts[0]

    @property
    def checksum(self) -> str:
        """Return their multihash."""
        return self._facts[1]

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield a range of them."""
        content = memoryview(self._draw())[:stop]
        return (content[begin : begin + PIECE] for begin in range(start, len(content), PIECE))


class MadeUp:
    """Any number of bytes, from two mebibytes that all such files share; they do not repeat for a tebibyte.

    Args:
        size: How many bytes.
        seed: Which ones.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._seed = seed

    @cached_property
    def checksum(self) -> str:
        """Return their multihash; takes about a second for each gigabyte the first time."""
        digest = hashlib.sha256()
        for piece in self.pieces(0, self.size):
            digest.update(piece)
        return SHA2_256 + digest.hexdigest()

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield a range of them; no byte is copied."""
        pool = _pool()
        while start < stop:
            block, within = divmod(start, _BLOCK)
            end = min(stop - start, _BLOCK - within, PIECE)
            begin = (self._seed + block * _STRIDE) % _BLOCK + within
            yield pool[begin : begin + end]
            start += end


_STRIDE = 7919
"""Odd, so that each of the next million blocks begins at another place of the pool."""


@cache
def _pool() -> memoryview:
    return memoryview(Random("made-up files").randbytes(2 * _BLOCK))  # noqa: S311 - repeatable on purpose, no secret
