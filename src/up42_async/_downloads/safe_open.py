"""Open files safely: no link is followed, and no two writers have the same file.

A file is opened by its name, then locked, then compared with the file that has the name by now: between opening and
locking, the holder of the lock may have renamed the file, and its old name may be free, or that of another file.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, where an open file cannot be replaced
    fcntl = None  # type: ignore[assignment]

_OPTIONS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
_WRITE: Final = os.O_RDWR | os.O_CREAT | _OPTIONS
_MODE: Final = 0o666  # less the umask, as for any new file


def has_locks() -> bool:
    """Return whether this system can lock files, and rename open ones."""
    return fcntl is not None


def open_to_read(path: Path) -> int:
    """Open a file for reading, without following a link; the caller checks whether it is a regular file.

    Raises:
        OSError: It cannot be opened.
    """
    return os.open(path, os.O_RDONLY | _OPTIONS | _NO_WAIT)


def open_new(path: Path) -> int:
    """Make a new file.

    Raises:
        OSError: It cannot be made, for example since the name is taken.
    """
    return os.open(path, _WRITE | os.O_EXCL, _MODE)


def open_locked(path: Path) -> int | None:
    """Open or make a file, and lock it; None when another holder, in this or another process, has the lock.

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
        os.close(file)  # the holder of the lock has just renamed the file


def open_to_write(path: Path) -> int:
    """Open or make a file for writing; a link, a device, or a file with several names is removed first.

    Raises:
        OSError: It cannot be made, for example since a directory has the name.
    """
    try:
        file = os.open(path, _WRITE | _NO_WAIT, _MODE)
    except OSError as error:
        # the errors for a symbolic link or a device
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
    """Return whether an open file still has a path."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def sync_directory(path: Path) -> None:
    """Synchronize the names in a directory to the disk, on systems that can."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
