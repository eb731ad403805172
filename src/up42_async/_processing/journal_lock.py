"""Lock a journal for one run at a time, with a file lock of the operating system, which ends with the process."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, which has locks of its own
    fcntl = None  # type: ignore[assignment]
    import msvcrt

from up42_async._errors import JournalError

_OPTIONS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_held: Final[set[tuple[int, int]]] = set()
"""Device and inode of the lock files that runs of this process hold."""


class RunLock:
    """A lock on a file beside the journal.

    The journal itself is not locked, since closing any descriptor of it would end the locks that SQLite holds on it in
    this process. The lock file stays, since removing it would let two runs lock two files of one name.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name(f"{journal.name}-lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            JournalError: Another process holds it, or the lock file cannot be made.
            RuntimeError: Another run of this process holds it.
        """
        try:
            file = os.open(self._path, _OPTIONS, 0o666)
        except OSError as error:
            message = f"the journal {self._journal} cannot be used: {self._path}: {error.strerror}"
            raise JournalError(message, path=self._journal) from error
        try:
            _lock(file)
        except OSError as error:
            holder, ours = _read(file), _identity(file) in _held
            os.close(file)
            if ours:
                message = (
                    f"the journal {self._journal} is in use by another call of this program: a journal is one run;"
                    " wait for its end, or open another journal"
                )
                raise RuntimeError(message) from error
            message = f"the journal {self._journal} is in use by {holder}; wait for its end, or open another journal"
            raise JournalError(message, path=self._journal) from error
        self._file = file
        _held.add(_identity(file))
        # the text is for messages only, so a full disk is no error
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._file is not None:
            _held.discard(_identity(self._file))
            os.close(self._file)
            self._file = None


def _lock(file: int) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:  # pragma: no cover - on Windows: a byte far behind the text, so that the text can be read
        os.lseek(file, 1 << 20, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]


def _identity(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino


def _read(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, 200).decode(errors="replace") or "another process"
