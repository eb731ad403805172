"""A file that is not whole yet: `name.part` beside its place, and `name.part.json`, which says what it is part of.

Everything here blocks, so it is called in worker threads, for each file by one at a time. Symbolic and hard links that
somebody put in the way are removed, never followed.
"""

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

import anyio

from up42_async._downloads.checksums import Checksum
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
"""Bytes after which what was written is made to survive a crash of the machine."""

_CLOSED: Final = -1
_PIECE: Final = 2**20


class PartFile:
    """A file that is being written, until it is whole and takes its place."""

    def __init__(self, target: Path, source: str, checksum: Checksum | None) -> None:
        """Say where it goes; `open` makes it.

        Args:
            target: Where the whole file will be.
            source: What it is fetched from, the same in every run.
            checksum: What it must hash to, None when that is not known.
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
        """Whether there is something to continue, if the file has not changed meanwhile."""
        return self.received > 0 and self.etag is not None

    def open(self) -> None:
        """Make the file, or open what an earlier run left, so that nobody else writes to it.

        Raises:
            OSError: It cannot be made.
        """
        file = open_locked(self._path)
        if file is None:  # another call or process brings the same file: the last to finish puts its copy in place
            self._is_private = True
            self._path = self.target.with_name(f"{self.target.name}.{os.urandom(4).hex()}{PART}")
            file = open_new(self._path)
        self._file = file

    def take_over(self, *, resume: bool) -> None:
        """Continue what an earlier run left, or begin anew where that cannot be trusted.

        Args:
            resume: Whether to continue at all.

        Raises:
            OSError: It cannot be read or written.
        """
        note = _read_note(self._note) if resume and not self._is_private else {}
        fits = note.get("source") == self._source and note.get("received", 0) <= os.fstat(self._file).st_size
        if not fits or not note.get("received"):
            self.restart()
            return
        self.etag, self.total = note["etag"], note["total"]
        # of a part that is complete the last byte is asked for again, which shows whether it is still current
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
        """Throw away what was written, and begin anew.

        Args:
            etag: Version of what is written from now on, None when it is not known.
            total: Length of the whole file, None when it is not known.

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
        """Write what came next.

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
        """Make what was written so far survive a crash, so that another run can continue it.

        Returns:
            Whether another run can.
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
        """Say what is wrong with the file now that all of it is said to be here; None when it is whole."""
        if self._hasher is not None and self._checksum is not None and self._hasher.digest() != self._checksum.digest:
            return f"its {self._checksum.algorithm} checksum is wrong"
        return None

    def commit(self, modified: float | None) -> None:
        """Put the whole file in its place, in one step.

        Args:
            modified: When its content was last changed, in seconds since 1970.

        Raises:
            OSError: It cannot be put there, for one because something else has the name of the part by now.
        """
        os.fsync(self._file)
        if not is_at(self._file, self._path):
            # what would be moved is not what was written and verified
            raise FileNotFoundError(None, f"{self._path.name} was removed or replaced while it was written")
        if not has_locks():  # as on Windows, which moves no file that is open
            self.close()
        if modified is not None:
            os.utime(self._path, (modified, modified))
        # The lock is held until the file has its new name: who opens the old name meanwhile gets this very file,
        # waits for nothing, and sees by `is_at` that it is no part any more.
        os.replace(self._path, self.target)  # noqa: PTH105 - all of this is about file descriptors
        sync_directory(self.target.parent)
        _remove(self._note, is_private=self._is_private)
        self.close()

    def put_away(self, *, keep: bool) -> None:
        """Leave behind what another run can continue, or nothing.

        Args:
            keep: Whether anything may be left behind.
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
    """Return whether a file is here already: of the right size, and the right checksum or else time of change.

    Args:
        path: Where it would be.
        size: Length of the file in bytes.
        checksum: What it must hash to, None when that is not known.
        modified: When it was last changed, in seconds since 1970; None when that is not known.
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
    """Read what an earlier run wrote about its part; empty when it is not to be trusted."""
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
