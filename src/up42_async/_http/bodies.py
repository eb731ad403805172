"""Take in the body of a response, never more than a limit: a few packed kilobytes must not become gigabytes."""

import zlib
from typing import Final

_GZIP: Final = 31


class UnreadableBody(Exception):
    """A body that is not read any further.

    Attributes:
        transient: Whether it may well be right the next time.
    """

    def __init__(self, what: str, *, transient: bool) -> None:
        super().__init__(what)
        self.transient = transient


class Body:
    """A body as it comes: plain, or inflated piece by piece."""

    def __init__(self, limit: int, *, packed: bool) -> None:
        """Start empty.

        Args:
            limit: Bytes at the most, inflated.
            packed: Whether what comes is gzip.
        """
        self._limit = limit
        self._inflater = zlib.decompressobj(_GZIP) if packed else None
        self._content = bytearray()
        self._is_empty = True

    def append(self, chunk: bytes) -> None:
        """Add a piece.

        Raises:
            UnreadableBody: That is too much, or no gzip.
        """
        self._is_empty = self._is_empty and not chunk
        if self._inflater is not None:
            try:
                chunk = self._inflater.decompress(chunk, self._limit - len(self._content) + 1)
            except zlib.error:
                raise self._broken() from None
            if self._inflater.unused_data:
                raise self._broken()
        if len(self._content) + len(chunk) > self._limit:
            what = f"a body of more than {self._limit} bytes"
            raise UnreadableBody(what, transient=False)
        self._content += chunk

    def finish(self) -> bytes:
        """Return the whole body; an empty one is empty in any encoding.

        Raises:
            UnreadableBody: It is not whole.
        """
        if self._inflater is not None and not self._inflater.eof and not self._is_empty:
            raise self._broken()
        return bytes(self._content)

    def _broken(self) -> UnreadableBody:
        return UnreadableBody("a broken gzip body", transient=True)
