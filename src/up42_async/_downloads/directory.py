"""Bring many files into one directory, each whole or not at all."""

import contextlib
import functools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio
import attrs

from up42_async._bulk import TaskGroup
from up42_async._client import Client
from up42_async._downloads.archives import BadArchiveError, folder_name, is_archive, unpack
from up42_async._downloads.destination import Destination, DirectoryRecord
from up42_async._downloads.download import DownloadError, DownloadErrorGroup, FileDownload
from up42_async._downloads.file_names import same_name, with_asset_id, with_digest
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.progress import ProgressTracker
from up42_async._downloads.signed_urls import RemoteFile
from up42_async._errors import UnexpectedResponseError, Up42Error

logger = logging.getLogger("up42_async")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class DownloadedFile:
    """A file that is here."""

    path: Path
    """Where it is."""
    unpacked: tuple[Path, ...] = ()
    """The files of the archive, when it was unpacked."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the archive, or else the file itself."""
        return self.unpacked or (self.path,)


class Downloads:
    """Files on their way into one directory, none of which takes another's place."""

    def __init__(
        self,
        client: Client,
        directory: Path,
        options: DownloadOptions,
        *,
        progress: ProgressTracker | None = None,
        keys: set[str] | None = None,
    ) -> None:
        """Prepare; nothing is made yet.

        Args:
            client: The client to ask with.
            directory: Where the files go; made when it is missing.
            options: What to do with them.
            progress: Is told how far they have come.
            keys: What the keys of files were that are going there already, for all that share the set.
        """
        self.client = client
        self.directory = directory
        self.options = options
        self._keys: set[str] = set() if keys is None else keys
        self._progress = ProgressTracker() if progress is None else progress
        self._record = DirectoryRecord(directory)

    def sharing_names(self, files: Iterable[RemoteFile]) -> list[bool]:
        """Return for each file whether one before it, also of an earlier call, has the same key.

        Such files are likely to have the same name. The first of them gets it, whichever comes first.
        """
        shares: list[bool] = []
        for key in (same_name(file.key) for file in files):
            shares.append(key in self._keys)
            self._keys.add(key)
        return shares

    async def fetch(self, file: RemoteFile, *, job_id: str | None = None, shares_name: bool = False) -> DownloadedFile:
        """Bring one file, in a child of a task group.

        Args:
            file: What to bring.
            job_id: The job whose result it is part of, for the progress.
            shares_name: Whether a file before it in the same call has the same key, and so the right to the name.

        Raises:
            DownloadError: It could not be had, or not whole, or not be unpacked.
        """
        task = self._progress.add_task(file.key, job_id, file.size)
        destination = Destination(file, self._record, resume=self.options.resume, shares_name=shares_name)
        path = await FileDownload(self.client, destination, task, timings=self.options.timings).run()
        if not (self.options.unpack and is_archive(path)):
            return DownloadedFile(path=path)
        return DownloadedFile(path=path, unpacked=await self._unpacked(path, file))

    async def _unpacked(self, path: Path, file: RemoteFile) -> tuple[Path, ...]:
        """Unpack an archive into a folder that belongs to it alone.

        Raises:
            DownloadError: It cannot be unpacked; the archive itself is here.
        """
        try:
            return await anyio.to_thread.run_sync(self._unpack, path, file.source)
        except (BadArchiveError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"{path.name} came whole but cannot be unpacked: {reason}"
            raise DownloadError(message, file=path.name, path=path) from error

    def _unpack(self, path: Path, source: str) -> tuple[Path, ...]:
        name = folder_name(path)
        names = [name, with_asset_id(name, source), with_digest(name, source)]
        with self._record.locked():
            # a folder belongs to a source as a file does; `#` stands in no path of a source
            folder = self.directory / self._record.claim(names, f"{source}#unpacked")
            folder.mkdir(exist_ok=True)
        try:
            unpacked, renamed = unpack(path, folder)
        finally:
            with contextlib.suppress(OSError):  # unless there is something in it
                folder.rmdir()
        for before, after in renamed.items():
            logger.warning(
                "%s: its member %r is called %r, since this system cannot hold its name", path.name, before, after
            )
        return tuple(unpacked)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SourceFiles:
    """The wanted files of one job or item."""

    downloads: Downloads
    """Where they go."""
    files: list[RemoteFile]
    """Those of all items that could be read."""
    errors: list[UnexpectedResponseError] = attrs.field(factory=list)
    """One error for each item that could not be read, so that its files are not known."""


async def fetch_all(
    downloads: Downloads, files: Sequence[RemoteFile], *, unreadable: Sequence[Up42Error] = ()
) -> list[Path]:
    """Bring several files; one that fails does not keep the others from coming.

    Args:
        downloads: Where they go.
        files: What to bring.
        unreadable: What is known already not to come, raised like the rest when the others have come.

    Returns:
        Where they are, in the order given; instead of an archive that was unpacked, its files.

    Raises:
        DownloadError: One could not be had; several are a `DownloadErrorGroup`.
    """
    done: dict[int, DownloadedFile] = {}
    errors: dict[int, Exception] = {}

    async def bring(position: int, file: RemoteFile, *, shares_name: bool) -> None:
        try:
            done[position] = await downloads.fetch(file, shares_name=shares_name)
        except Exception as error:  # noqa: BLE001 - raised below, when the others have come
            errors[position] = error

    async with TaskGroup() as group:
        for position, (file, shares_name) in enumerate(zip(files, downloads.sharing_names(files), strict=True)):
            group.start_soon(functools.partial(bring, position, file, shares_name=shares_name))
    failed: list[Up42Error] = []
    for error in (*(errors[position] for position in sorted(errors)), *unreadable):
        if not isinstance(error, Up42Error):
            raise error
        failed.append(error)
    if len(failed) > 1:
        raise DownloadErrorGroup(f"{len(failed)} of {len(files) + len(unreadable)} files did not come", failed)
    if failed:
        raise failed[0]
    return [path for position in sorted(done) for path in done[position].paths]
