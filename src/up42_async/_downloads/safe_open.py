"""Open files that are ours alone: no link that somebody put there is followed, and no two writers have one file.

A part file is opened by name, then locked, then compared with what has the name by now: between opening and locking,
the one who had the lock may have moved the file to its place, and its old name may be another file's or nobody's.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, where a file that is open cannot be taken over anyway
    fcntl = None  # type: ignore[assignment]

_OPTIONS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
_WRITE: Final = os.O_RDWR | os.O_CREAT | _OPTIONS
_MODE: Final = 0o666  # less the umask, as for any new file


def has_locks() -> bool:
    """Return whether files can be locked, and moved while they are open."""
    return fcntl is not None


def open_to_read(path: Path) -> int:
    """Open a file, and nothing that a link leads to; what it is has to be looked at.

    Raises:
        OSError: It cannot be opened.
    """
    return os.open(path, os.O_RDONLY | _OPTIONS | _NO_WAIT)


def open_new(path: Path) -> int:
    """Make a file.

    Raises:
        OSError: It cannot be made, for one because there is something with that name.
    """
    return os.open(path, _WRITE | os.O_EXCL, _MODE)


def open_locked(path: Path) -> int | None:
    """Open or make a file, and lock it; None when another open file of this or another process has the lock.

    Raises:
        OSError: It cannot be made.
    """
    while True:
        file = open_to_write(path)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(file, path):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
                os.close(file)
                raise
            return file  # a file system without locks
        os.close(file)  # the one who had the lock has just moved the file to its place


def open_to_write(path: Path) -> int:
    """Open or make a file; a link or anything else that is no file of one name is removed first.

    Raises:
        OSError: It cannot be made, for one because there is a directory with that name.
    """
    try:
        file = os.open(path, _WRITE | _NO_WAIT, _MODE)
    except OSError as error:
        # what systems say of a symbolic link or a device
        if error.errno not in {errno.ELOOP, errno.EMLINK, errno.ENXIO}:
            raise
    else:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
            return file
        os.close(file)
    path.unlink()
    return open_new(path)


def is_at(file: int, path: Path) -> bool:
    """Return whether an open file is still the one that has the name."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def sync_directory(path: Path) -> None:
    """Make a new name survive a crash; systems that cannot do that for a directory do it by themselves."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
