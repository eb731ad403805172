"""A file that is being downloaded: written as `name.part`, verified by its checksum, and renamed when it is complete.

`name.part.json`, the note, holds which version of which file it is, so that a later run can continue it. Everything
here blocks, so it is called in worker threads, by one at a time for each file. Symbolic and hard links with these names
are removed, never followed.
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import attrs

from up42_async._downloads.file_names import PART
from up42_async._downloads.safe_open import (
    has_locks,
    is_at,
    open_locked,
    open_new,
    open_to_read,
    open_to_write,
    sync_directory,
)

CHECKPOINT: Final = 64 * 2**20
"""Bytes after which the part file is synchronized to the disk, and its note is written."""

_CLOSED: Final = -1
_PIECE: Final = 2**20

# multihash codes (https://github.com/multiformats/multicodec/blob/master/table.csv) that hashlib can always compute
_ALGORITHMS: Final[dict[int, tuple[str, int]]] = {
    0x11: ("sha1", 20),
    0x12: ("sha256", 32),
    0x13: ("sha512", 64),
    0x14: ("sha3_512", 64),
    0x15: ("sha3_384", 48),
    0x16: ("sha3_256", 32),
    0x17: ("sha3_224", 28),
    0x20: ("sha384", 48),
    0xD5: ("md5", 16),
    0x1013: ("sha224", 28),
    0xB220: ("blake2b", 32),
    0xB240: ("blake2b", 64),
    0xB260: ("blake2s", 32),
}
_LONGEST: Final = 200


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Checksum:
    """The expected hash of a file."""

    algorithm: str
    """Its name in hashlib."""
    digest: bytes

    def hasher(self) -> Any:
        """Return a new hash object of hashlib with this size of digest."""
        if self.algorithm.startswith("blake2"):
            make: Callable[..., Any] = getattr(hashlib, self.algorithm)
            return make(digest_size=len(self.digest))
        return hashlib.new(self.algorithm, usedforsecurity=False)


def read_multihash(text: str | None) -> Checksum | None:
    """Read a multihash in hexadecimal, as `file:checksum` of the STAC file extension has it.

    Args:
        text: Such as `1220` and 64 more digits, for SHA-256.

    Returns:
        The checksum; None when it cannot be read or computed, for which a file is not refused.
    """
    if text is None or len(text) > _LONGEST:
        return None
    try:
        code, rest = _varint(bytes.fromhex(text))
        length, digest = _varint(rest)
    except (ValueError, IndexError):
        return None
    name, size = _ALGORITHMS.get(code, ("", 0))
    return Checksum(algorithm=name, digest=digest) if name and length == size == len(digest) else None


def _varint(data: bytes) -> tuple[int, bytes]:
    """Read an unsigned number of seven bits a byte, the lowest first; return it and the rest of the data."""
    number = position = 0
    while data[position] & 0x80:
        number |= (data[position] & 0x7F) << (7 * position)
        position += 1
    return number | data[position] << (7 * position), data[position + 1 :]


class PartFile:
    """The part file of one file, from its first byte until it is renamed to the file, or kept, or removed."""

    def __init__(self, target: Path, source: str, checksum: Checksum | None) -> None:
        """Prepare; `open` makes the file.

        Args:
            target: Path of the complete file.
            source: What the file is fetched from, the same in every run.
            checksum: The expected hash of the file, None when it is not known.
        """
        self.received = 0
        self.total: int | None = None
        self.etag: str | None = None
        self.target = target
        self._source = source
        self._checksum = checksum
        self._hasher = None if checksum is None else checksum.hasher()
        self._path = target.with_name(target.name + PART)
        self._note = target.with_name(f"{target.name}{PART}.json")
        self._is_private = False
        self._safe = 0
        self._file = _CLOSED

    @property
    def can_continue(self) -> bool:
        """Whether a range request can bring the rest, if the file has not changed on the server."""
        return self.received > 0 and self.etag is not None

    def open(self) -> None:
        """Make the part file, or open that of an earlier run, and lock it.

        Raises:
            OSError: It cannot be made.
        """
        file = open_locked(self._path)
        if file is None:  # another call or process downloads the same file: the last to finish replaces the other copy
            self._is_private = True
            self._path = self.target.with_name(f"{self.target.name}.{os.urandom(4).hex()}{PART}")
            file = open_new(self._path)
        self._file = file

    def take_over(self, *, resume: bool) -> None:
        """Continue the part file of an earlier run, or empty it when its note is missing or does not fit.

        Args:
            resume: Whether to continue; if not, the part file is emptied.

        Raises:
            OSError: It cannot be read or written.
        """
        note = _read_note(self._note) if resume and not self._is_private else {}
        fits = note.get("source") == self._source and note.get("received", 0) <= os.fstat(self._file).st_size
        if not fits or not note.get("received"):
            self.restart()
            return
        self.etag, self.total = note["etag"], note["total"]
        # the last byte of a complete part is requested again: the response tells whether the file has changed
        self.received = note["received"] if self.total is None else min(note["received"], self.total - 1)
        os.ftruncate(self._file, self.received)
        self._hash_again(self._file)
        os.lseek(self._file, self.received, os.SEEK_SET)
        self._safe = self.received

    def _hash_again(self, file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        while self._hasher is not None and (piece := os.read(file, _PIECE)):
            anyio.from_thread.check_cancelled()
            self._hasher.update(piece)

    def restart(self, etag: str | None = None, total: int | None = None) -> None:
        """Empty the part file.

        Args:
            etag: ETag of the file that is written from now on, None when it is not known.
            total: Length of the whole file in bytes, None when it is not known.

        Raises:
            OSError: It cannot be written.
        """
        self.received = self._safe = 0
        self.etag, self.total = etag, total
        self._hasher = None if self._checksum is None else self._checksum.hasher()
        _remove(self._note, is_private=self._is_private)
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)

    def write(self, chunks: list[bytes]) -> None:
        """Write the next bytes.

        Raises:
            OSError: It cannot be written, for one because the disk is full.
        """
        data = memoryview(b"".join(chunks))
        if self._hasher is not None:
            self._hasher.update(data)
        left = data
        while left:
            left = left[os.write(self._file, left) :]
        self.received += len(data)
        if self.received - self._safe >= CHECKPOINT:
            self.checkpoint()

    def checkpoint(self) -> bool:
        """Synchronize what was written to the disk, and write the note.

        Returns:
            Whether a later run can continue the part file from here.
        """
        self._safe = self.received
        if self._is_private or self.etag is None:
            return False
        note = {"source": self._source, "etag": self.etag, "total": self.total, "received": self.received}
        try:
            os.fsync(self._file)
            _write_note(self._note, note)
        except OSError:
            return False
        return True

    def problem(self) -> str | None:
        """Return why the complete part file is wrong; None when it is right, or has no known checksum."""
        if self._hasher is not None and self._checksum is not None and self._hasher.digest() != self._checksum.digest:
            return f"its {self._checksum.algorithm} checksum is wrong"
        return None

    def commit(self, modified: float | None) -> None:
        """Rename the complete part file to the file, in one step.

        Args:
            modified: When the file was last changed, in seconds since 1970, which becomes its time of change.

        Raises:
            OSError: It cannot be renamed, or another file has the name of the part file by now.
        """
        os.fsync(self._file)
        if not is_at(self._file, self._path):
            # the file that would be renamed is not the one that was written and verified
            raise FileNotFoundError(None, f"{self._path.name} was removed or replaced while it was written")
        if not has_locks():  # on Windows, which renames no open file
            self.close()
        if modified is not None:
            os.utime(self._path, (modified, modified))
        # The lock is held until the file has its new name: another process that opens the old name meanwhile gets
        # this very file, does not get the lock, and sees by `is_at` that it is no part file any more.
        os.replace(self._path, self.target)  # noqa: PTH105 - as all of os here
        sync_directory(self.target.parent)
        _remove(self._note, is_private=self._is_private)
        self.close()

    def put_away(self, *, keep: bool) -> None:
        """Close the part file; remove it unless a later run can continue it.

        Args:
            keep: Whether it may be kept for a later run.
        """
        if self._file == _CLOSED:
            return
        if not (keep and self.can_continue and self.checkpoint()):
            _remove(self._note, is_private=self._is_private)
            with contextlib.suppress(OSError):
                if is_at(self._file, self._path):
                    self._path.unlink()
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it."""
        file, self._file = self._file, _CLOSED
        if file != _CLOSED:
            os.close(file)


def is_whole(path: Path, *, size: int, checksum: Checksum | None, modified: float | None) -> bool:
    """Return whether a path holds the complete file: its size fits, and its checksum or else its time of change.

    Args:
        path: The path.
        size: Length of the file in bytes.
        checksum: The expected hash of the file, None when it is not known.
        modified: When the file was last changed, in seconds since 1970; None when it is not known.
    """
    try:
        file = open_to_read(path)
    except OSError:
        return False
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        if checksum is None:
            return modified is not None and int(status.st_mtime) == int(modified)
        return _digest(file, checksum) == checksum.digest
    finally:
        os.close(file)


def _digest(file: int, checksum: Checksum) -> bytes:
    hasher = checksum.hasher()
    while piece := os.read(file, _PIECE):
        anyio.from_thread.check_cancelled()
        hasher.update(piece)
    digest: bytes = hasher.digest()
    return digest


def _read_note(path: Path) -> dict[str, Any]:
    """Read the note of an earlier run; empty when it cannot be read, or has a field of the wrong kind."""
    try:
        file = open_to_read(path)
        with os.fdopen(file, "rb") as stream:
            note = json.loads(stream.read(_PIECE))
    except (OSError, ValueError):
        return {}
    fits = (
        isinstance(note, dict)
        and isinstance(note.get("source"), str)
        and isinstance(note.get("etag"), str)
        and note["etag"].isascii()
        and note["etag"].isprintable()
        and _is_count(note.get("received"))
        and (note.get("total") is None or _is_count(note["total"]))
    )
    return note if fits else {}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _write_note(path: Path, note: dict[str, Any]) -> None:
    file = open_to_write(path)
    with os.fdopen(file, "wb") as stream:
        stream.truncate(0)
        stream.write(json.dumps(note).encode())
        stream.flush()
        os.fsync(stream.fileno())


def _remove(note: Path, *, is_private: bool) -> None:
    if not is_private:
        with contextlib.suppress(OSError):
            note.unlink()
