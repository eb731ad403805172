"""Remember what each file of a directory was fetched from, in one hidden file beside them: `.up42.json`.

So two files never share a path unnoticed, whichever calls, programs and runs bring them: a name belongs to one source,
and each source finds its own file again. Everything here blocks, so it is called in worker threads.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, Final

import anyio

from up42_async._downloads.file_names import PART, RECORD, same_name
from up42_async._downloads.safe_open import open_locked

LOOK: Final = 0.005
"""Seconds between two tries to lock the record; it is held for milliseconds."""

_END: Final = b"\n}\n"


class DirectoryRecord:
    """The record of one directory. What changes it happens inside `with record.locked():`."""

    def __init__(self, directory: Path) -> None:
        """Read nothing yet.

        Args:
            directory: Where the files are; made when it is locked for the first time.
        """
        self.directory = directory
        self._path = directory / RECORD
        self._mutex = threading.Lock()
        self._file = -1
        self._read: tuple[int, int, int] | None = None
        self._owners: dict[str, tuple[str, str]] = {}
        """Name and source by what some file systems take for the same name."""
        self._names: dict[str, str] = {}
        """Name by source."""

    @property
    def exists(self) -> bool:
        """Whether anything was ever fetched into the directory."""
        return self._path.exists()

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the record against all other threads and processes, and read what they wrote meanwhile.

        Raises:
            OSError: It cannot be read or made.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._mutex:
            self._file = self._opened()
            try:
                self._refresh()
                yield
            finally:
                os.close(self._file)

    def name_of(self, source: str) -> str | None:
        """Return the name under which a source has a file here, whole or in part; None when it has none."""
        name = self._names.get(source)
        return name if name is not None and self._is_there(name) else None

    def claim(self, names: Iterable[str], source: str, *, adopted: Iterable[str] = ()) -> str:
        """Give a name to a source, and write that down.

        A name is free when nothing has it: no file, no part of a file that another source brings. What was claimed and
        never came is free again.

        Args:
            names: Safe names, the best first.
            source: What the file is fetched from.
            adopted: Names of files that nobody fetched, but whose content is known to be the source's.

        Returns:
            The name that the source has already, or else the first that it can have.

        Raises:
            FileExistsError: All names are taken by other files.
        """
        known = self.name_of(source)
        name = known or next((one for one in names if self._is_free(one, source) or one in adopted), None)
        if name is None:
            message = f"the names {', '.join(map(repr, names))} belong to other files"
            raise FileExistsError(None, message)
        if self._names.get(source) != name or self._owners.get(same_name(name)) != (name, source):
            self._append(name, source)
        return name

    def _is_free(self, name: str, source: str) -> bool:
        owner = self._owners.get(same_name(name))
        if owner is None:
            return not os.path.lexists(self.directory / name)
        return owner[1] == source or not (self._is_there(owner[0]) or os.path.lexists(self.directory / name))

    def _is_there(self, name: str) -> bool:
        # a part becomes the file in one step: looking for the part first never misses both
        return any(os.path.lexists(self.directory / one) for one in (f"{name}{PART}", name))

    def _opened(self) -> int:
        """Open and lock the record, waiting while somebody else holds it."""
        while (file := open_locked(self._path)) is None:
            anyio.from_thread.check_cancelled()
            time.sleep(LOOK)
        return file

    def _refresh(self) -> None:
        if self._read == self._version():
            return
        os.lseek(self._file, 0, os.SEEK_SET)
        content = os.read(self._file, os.fstat(self._file).st_size)
        entries, is_sound = _parsed(content)
        self._names = {source: name for name, source in entries.items()}
        self._owners = {same_name(name): (name, source) for name, source in entries.items()}
        if content and not (is_sound and content.endswith(_END)):  # a crash of the machine cut it off
            self._rewrite(entries)
        self._read = self._version()

    def _version(self) -> tuple[int, int, int]:
        status = os.fstat(self._file)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _append(self, name: str, source: str) -> None:
        """Write an entry over the end of the record, which costs the same however many there are.

        It is not synchronized to the disk: after a crash of the machine a file without entry is nobody's, and is left
        alone.
        """
        size = os.fstat(self._file).st_size
        start, before = (size - len(_END), b",\n") if size else (0, b"{\n")
        self._write(before + _entry(name, source) + _END, start)
        self._names[source] = name
        self._owners[same_name(name)] = name, source

    def _rewrite(self, entries: dict[str, str]) -> None:
        os.ftruncate(self._file, 0)
        lines = b",\n".join(_entry(name, source) for name, source in entries.items())
        self._write(b"{\n" + lines + _END if entries else b"", 0)

    def _write(self, content: bytes, start: int) -> None:
        os.lseek(self._file, start, os.SEEK_SET)
        left = memoryview(content)
        while left:
            left = left[os.write(self._file, left) :]
        self._read = self._version()


def _entry(name: str, source: str) -> bytes:
    return f"{json.dumps(name)}: {json.dumps({'source': source})}".encode()


def _parsed(content: bytes) -> tuple[dict[str, str], bool]:
    """Read names and sources, of a record that is damaged the lines that are whole; return whether it is not."""
    is_sound = True
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        found, is_sound = {}, False
        for line in content.splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                found |= json.loads(b"{" + line.strip().rstrip(b",") + b"}")
    entries = {
        name: entry["source"]
        for name, entry in (found.items() if isinstance(found, dict) else ())
        if _is_name(name) and isinstance(entry, dict) and isinstance(entry.get("source"), str)
    }
    return entries, is_sound and isinstance(found, dict)


def _is_name(text: str) -> bool:
    """Return whether a text can only be a file of the directory itself, since anybody may have written the record."""
    return text not in {"", ".", "..", RECORD} and not set(text) & set("/\\:\0")
