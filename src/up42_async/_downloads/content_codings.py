"""Decode the Content-Encoding of a stored file, which storage hosts send whether or not it was asked for."""

import zlib
from collections.abc import Generator
from typing import Final

from up42_async._errors import UnexpectedResponseError

PIECE: Final = 2**20
"""Bytes inflated at once: a few kilobytes on the wire may inflate to gigabytes."""

_MOST_CODINGS: Final = 3
_INFLATABLE: Final = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class Decoder:
    """Decodes a body in pieces of limited size."""

    def __init__(self, codings: tuple[str, ...]) -> None:
        """Prepare for one or more codings, in the order in which they were applied."""
        self._can_decode = len(codings) <= _MOST_CODINGS and _INFLATABLE.issuperset(codings)
        self._codings = codings
        self._inflaters = [_Inflater(coding) for coding in reversed(codings)] if self._can_decode else []

    def feed(self, data: bytes) -> Generator[bytes, None, None]:
        """Yield the decoded content in pieces of at most 1 MiB.

        Raises:
            UnexpectedResponseError: The body is broken, or its coding is not supported.
        """
        if not self._can_decode:
            message = f"the file is stored with Content-Encoding {', '.join(self._codings)[:40]!r}, which is not known"
            raise UnexpectedResponseError(f"{message}; gzip and deflate are")
        yield from _through(self._inflaters, data)

    def finish(self) -> None:
        """Check that the encoded body is complete; an empty body is complete in any coding.

        Raises:
            UnexpectedResponseError: It is not complete.
        """
        if not all(inflater.is_complete for inflater in self._inflaters):
            message = "the file broke off inside its Content-Encoding"
            raise UnexpectedResponseError(message, transient=True)


class _Inflater:
    def __init__(self, coding: str) -> None:
        self._is_gzip = coding.endswith("gzip")
        self._inflate = zlib.decompressobj(_GZIP if self._is_gzip else _ZLIB)
        self._is_fresh = True

    @property
    def is_complete(self) -> bool:
        return self._is_fresh or self._inflate.eof

    def feed(self, data: bytes) -> Generator[bytes, None, None]:
        while data:
            if self._inflate.eof:
                data = self._next_member(data)
                continue
            piece = self._decompress(data)
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                yield piece

    def _next_member(self, data: bytes) -> bytes:
        """Begin the next gzip member of a file with several; zeros between them are padding."""
        data = data.lstrip(b"\0")
        if data and not self._is_gzip:
            message = "bytes follow the end of the file's Content-Encoding"
            raise UnexpectedResponseError(message, transient=True)
        if data:
            self._inflate = zlib.decompressobj(_GZIP)
        return data

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._first(data) if self._is_fresh else self._inflate.decompress(data, PIECE)
        except zlib.error as error:
            message = "the file's Content-Encoding is broken"
            raise UnexpectedResponseError(message, transient=True) from error
        finally:
            self._is_fresh = False

    def _first(self, data: bytes) -> bytes:
        """Inflate the first bytes; `deflate` means zlib, but some servers leave out the header of zlib."""
        try:
            return self._inflate.decompress(data, PIECE)
        except zlib.error:
            if self._is_gzip:
                raise
            self._inflate = zlib.decompressobj(_RAW)
            return self._inflate.decompress(data, PIECE)


def _through(inflaters: list[_Inflater], data: bytes) -> Generator[bytes, None, None]:
    if not inflaters:
        yield data
        return
    for piece in inflaters[0].feed(data):
        yield from _through(inflaters[1:], piece)
