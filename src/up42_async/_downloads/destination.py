"""Where one file goes: its name in the directory, given by the record of the directory, and its part file.

The record is one hidden file beside the others, `.up42.json`: it holds what each file was fetched from. A name belongs
to one source, and each source finds its own file again, whichever calls, programs and runs fetch them. Everything but
`Destination.run` blocks, so it is called in worker threads.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import anyio

from up42_async._downloads.file_names import PART, RECORD, safe_name, same_name, with_asset_id, with_digest
from up42_async._downloads.part_file import Checksum, PartFile, is_whole, read_multihash
from up42_async._downloads.safe_open import open_locked
from up42_async._downloads.signed_urls import RemoteFile

T = TypeVar("T")

LOOK: Final = 0.005
"""Seconds between two tries to lock the record, which another task or process holds for milliseconds."""

_END: Final = b"\n}\n"


class DirectoryRecord:
    """The record of one directory: which file was fetched from what.

    It is read and changed inside `with record.locked():`.
    """

    def __init__(self, directory: Path) -> None:
        """Prepare; the record is read when it is locked.

        Args:
            directory: The directory of the files; made when the record is first locked.
        """
        self.directory = directory
        self._path = directory / RECORD
        self._mutex = threading.Lock()
        self._file = -1
        self._read: tuple[int, int, int] | None = None
        self._owners: dict[str, tuple[str, str]] = {}
        """Name and source by `same_name` of the name."""
        self._names: dict[str, str] = {}
        """Name by source."""

    @property
    def exists(self) -> bool:
        """Whether a file was ever fetched into the directory."""
        return self._path.exists()

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Lock the record against all other threads and processes, and read what they have written.

        Raises:
            OSError: The record cannot be made or read.
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
        """Return the name of the complete or partial file of a source; None when there is none."""
        name = self._names.get(source)
        return name if name is not None and self._is_there(name) else None

    def claim(self, names: Iterable[str], source: str, *, adopted: Iterable[str] = ()) -> str:
        """Give a name to a source, and write it to the record.

        A name is free when no file has it and no other source has a part file for it. So a claimed name whose file
        never came is free again.

        Args:
            names: Safe names, the best one first.
            source: What the file is fetched from, the same in every run.
            adopted: Names of files that are not in the record, but have the content of the source.

        Returns:
            The name that the source has already, else the first one that is free or adopted.

        Raises:
            FileExistsError: Other files have all the names.
        """
        known = self.name_of(source)
        name = known or next((one for one in names if self._is_free(one, source) or one in adopted), None)
        if name is None:
            message = f"the names {', '.join(map(repr, names))} belong to other files; download into another directory"
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
        # the part file is renamed to the file in one step: looking for the part first never misses both
        return any(os.path.lexists(self.directory / one) for one in (f"{name}{PART}", name))

    def _opened(self) -> int:
        """Open and lock the record, waiting while another holder has the lock."""
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
        if content and not (is_sound and content.endswith(_END)):  # cut off by a crash of the machine
            self._rewrite(entries)
        self._read = self._version()

    def _version(self) -> tuple[int, int, int]:
        status = os.fstat(self._file)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _append(self, name: str, source: str) -> None:
        """Write an entry over the end of the record, which costs the same for any number of entries.

        It is not synchronized to the disk: a file whose entry is lost in a crash of the machine is left alone.
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
    """Return the source of each name, and whether the record is undamaged; a damaged one is read line by line."""
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
    """Return whether a name stays inside the directory: the record may have been written by anybody."""
    return text not in {"", ".", "..", RECORD} and not set(text) & set("/\\:\0")


class Destination:
    """The place of one file: its name, its part file, and whether the complete file is here already.

    Everything but `run` blocks, and is called through `run`.
    """

    def __init__(self, file: RemoteFile, record: DirectoryRecord, *, resume: bool, shares_name: bool = False) -> None:
        """Prepare; the part file is made by `find` or `open`.

        Args:
            file: The file.
            record: The record of the directory.
            resume: Whether to continue the part file of an earlier run, and to keep one for a later run.
            shares_name: Whether an earlier file of the same call gets the first name, so that this one gets another.
        """
        self.file = file
        self.checksum: Checksum | None = read_multihash(file.checksum)
        self.path: Path | None = None
        self._record = record
        self._resume = resume
        self._shares_name = shares_name
        self._part: PartFile | None = None
        self._threads = anyio.CapacityLimiter(1)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do blocking work for this file in a thread, one piece of work after the other."""
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._threads)

    @property
    def name(self) -> str:
        """The name of the file; its asset key until the name is known."""
        return self.file.key if self.path is None else self.path.name

    @property
    def part(self) -> PartFile:
        """The part file, after `open`."""
        return cast("PartFile", self._part)

    @property
    def version(self) -> str | None:
        """The ETag of the part file; None when the part file cannot be continued."""
        return self._part.etag if self._part is not None and self._part.can_continue else None

    @property
    def received(self) -> int:
        """Bytes in the part file."""
        return 0 if self._part is None else self._part.received

    @property
    def kept(self) -> int:
        """Bytes that stay in the part file for a later run."""
        can_continue = self._part is not None and self._resume and self._part.can_continue
        return self.received if can_continue else 0

    def find(self) -> None:
        """Open the part file of an earlier run, whatever name the server gives the file now.

        Raises:
            OSError: It cannot be opened.
        """
        if self._part is None and self._resume and self._record.exists:
            with self._record.locked():
                name = self._record.name_of(self.file.source)
                if name is not None:
                    self._open(name)
            self._take_over()

    def open(self, names: Sequence[str]) -> None:
        """Choose the name of the file, unless it has one, and open its part file.

        Args:
            names: Names that the server gives the file, the best one first.

        Raises:
            OSError: It cannot be made.
        """
        if self._part is None:
            safe = (safe_name(name) for name in names)
            candidates = self._candidates(next((one for one in safe if one), "file"))
            adopted = [name for name in candidates if self._is_adopted(name)]
            # the part file is made while the record is locked: a name with neither file nor part is free
            with self._record.locked():
                self._open(self._record.claim(candidates, self.file.source, adopted=adopted))
            self._take_over()

    def _candidates(self, name: str) -> list[str]:
        source = self.file.source
        names = [name, with_asset_id(name, source), with_digest(name, source)]
        return names[self._shares_name :]

    def _is_adopted(self, name: str) -> bool:
        """Return whether the file with a name has the content of this one, by its checksum, whatever put it there."""
        size = self.file.size
        path = self._record.directory / name
        return (
            size is not None
            and self.checksum is not None
            and is_whole(path, size=size, checksum=self.checksum, modified=None)
        )

    def _open(self, name: str) -> None:
        self.path = self._record.directory / name
        self._part = PartFile(self.path, self.file.source, self.checksum)
        self._part.open()

    def _take_over(self) -> None:
        if self._part is not None:
            self._part.take_over(resume=self._resume)

    def is_here(self, size: int | None, modified: float | None) -> bool:
        """Return whether an earlier run has fetched the complete file; if so, `put_away` removes the part file.

        Args:
            size: Length of the file in bytes, None when it is not known.
            modified: When the file was last changed, in seconds since 1970; None when it is not known.
        """
        if self.path is None or size is None:
            return False
        is_here = is_whole(self.path, size=size, checksum=self.checksum, modified=modified)
        self._resume = self._resume and not is_here
        return is_here

    def restart(self) -> None:
        """Empty the part file, whose content is wrong or belongs to another version of the file."""
        if self._part is not None:
            self._part.restart()

    def discard(self) -> None:
        """Let `put_away` remove the part file, since it cannot be written."""
        self._resume = False

    def put_away(self) -> None:
        """Close the part file; remove it unless a later run can continue it."""
        if self._part is not None:
            self._part.put_away(keep=self._resume)
