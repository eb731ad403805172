"""Where one file goes: its name in the directory, and its part file, from the first try to the last."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio

from up42_async._downloads.checksums import Checksum, read_multihash
from up42_async._downloads.directory_record import DirectoryRecord
from up42_async._downloads.file_names import safe_name, with_asset_id, with_digest
from up42_async._downloads.part_file import PartFile, is_whole
from up42_async._downloads.signed_urls import RemoteFile

T = TypeVar("T")


class Destination:
    """The place of one file. But for `run`, everything blocks, and is called through `run`."""

    def __init__(self, file: RemoteFile, record: DirectoryRecord, *, resume: bool, shares_name: bool = False) -> None:
        """Say what goes where; nothing is made before the server has said what the file is called.

        Args:
            file: The file.
            record: The record of the directory.
            resume: Whether to continue what an earlier run left, and to leave what another run can continue.
            shares_name: Whether another file of the same call has the right to the name, by the order of the files.
        """
        self.file = file
        self.checksum: Checksum | None = read_multihash(file.checksum)
        self.path: Path | None = None
        self._record = record
        self._resume = resume
        self._shares_name = shares_name
        self._part: PartFile | None = None
        self._threads = anyio.CapacityLimiter(1)

    async def run(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Do work that blocks in a thread, after what is being done for this file already."""
        return await anyio.to_thread.run_sync(functools.partial(work, *arguments, **options), limiter=self._threads)

    @property
    def name(self) -> str:
        """What the file is called; its asset key until that is known."""
        return self.file.key if self.path is None else self.path.name

    @property
    def part(self) -> PartFile:
        """The part file, once `open` has made it."""
        return cast("PartFile", self._part)

    @property
    def version(self) -> str | None:
        """The ETag of what is here in part, if that can be continued."""
        return self._part.etag if self._part is not None and self._part.can_continue else None

    @property
    def received(self) -> int:
        """Bytes that are here."""
        return 0 if self._part is None else self._part.received

    @property
    def kept(self) -> int:
        """Bytes that another run can continue from."""
        can_continue = self._part is not None and self._resume and self._part.can_continue
        return self.received if can_continue else 0

    def find(self) -> None:
        """Open what an earlier run left of this file, whatever the server calls it by now.

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
        """Choose where the file goes, once, and open its part there.

        Args:
            names: What the server calls it, the best name first.

        Raises:
            OSError: It cannot be made.
        """
        if self._part is None:
            safe = (safe_name(name) for name in names)
            candidates = self._candidates(next((one for one in safe if one), "file"))
            adopted = [name for name in candidates if self._is_adopted(name)]
            # the part is opened before others may look, so that a name with neither file nor part is nobody's
            with self._record.locked():
                self._open(self._record.claim(candidates, self.file.source, adopted=adopted))
            self._take_over()

    def _candidates(self, name: str) -> list[str]:
        source = self.file.source
        names = [name, with_asset_id(name, source), with_digest(name, source)]
        return names[self._shares_name :]

    def _is_adopted(self, name: str) -> bool:
        """Return whether a file that may not have been fetched by us is this one, by its checksum."""
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
        """Return whether the whole file is in its place already, from an earlier run; then no part of it is kept.

        Args:
            size: Its length in bytes, None when that is not known.
            modified: When it was last changed, in seconds since 1970; None when that is not known.
        """
        if self.path is None or size is None:
            return False
        is_here = is_whole(self.path, size=size, checksum=self.checksum, modified=modified)
        self._resume = self._resume and not is_here
        return is_here

    def restart(self) -> None:
        """Throw away what has come so far, since it is of no use."""
        if self._part is not None:
            self._part.restart()

    def discard(self) -> None:
        """Leave nothing behind when it ends, since nothing can be written."""
        self._resume = False

    def put_away(self) -> None:
        """Leave behind what another run can continue, or nothing."""
        if self._part is not None:
            self._part.put_away(keep=self._resume)
