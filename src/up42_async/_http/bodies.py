"""Take in the body of an answer, never more than a limit: a few packed kilobytes must not become gigabytes."""

import zlib
from typing import Final

_GZIP: Final = 31
_PIECE: Final = 2**20


class Unreadable(Exception):
    """A body that is not read any further."""

    def __init__(self, what: str, *, transient: bool) -> None:
        """Say what is wrong with it, and whether it may be right the next time."""
        super().__init__(what)
        self.transient = transient


class Plain:
    """A body as it comes."""

    def __init__(self, limit: int) -> None:
        """Begin with nothing.

        Args:
            limit: Bytes at the most, unpacked.
        """
        self._body = bytearray()
        self._limit = limit

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the answer.

        Raises:
            Unreadable: That is too much.
        """
        if len(self._body) + len(chunk) > self._limit:
            what = f"a body of more than {self._limit} bytes"
            raise Unreadable(what, transient=False)
        self._body += chunk

    def finish(self) -> bytes:
        """Return the whole body."""
        return bytes(self._body)


class Gunzip(Plain):
    """A gzip body, inflated piece by piece and never beyond the limit."""

    def __init__(self, limit: int) -> None:
        """Begin with nothing.

        Args:
            limit: Bytes at the most, unpacked.
        """
        super().__init__(limit)
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the packed answer.

        Raises:
            Unreadable: That is too much, or broken.
        """
        try:
            while chunk:
                super().feed(self._inflate.decompress(chunk, _PIECE))
                chunk = self._inflate.unconsumed_tail
        except zlib.error:
            raise self._broken() from None
        if self._inflate.unused_data:
            raise self._broken()

    def finish(self) -> bytes:
        """Return the whole body.

        Raises:
            Unreadable: It is not whole.
        """
        if not self._inflate.eof:
            raise self._broken()
        return super().finish()

    def _broken(self) -> Unreadable:
        return Unreadable("a broken gzip body", transient=True)
