"""Download files into one directory; each is complete and verified, or absent."""

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
    """A complete file."""

    path: Path
    """The path of the file."""
    unpacked: tuple[Path, ...] = ()
    """The paths of the archive's files, when it was unpacked."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of the archive's files when it was unpacked, else the path of the file."""
        return self.unpacked or (self.path,)


class Downloads:
    """Downloads into one directory, in which no file replaces one that was fetched from another source."""

    def __init__(
        self,
        client: Client,
        directory: Path,
        options: DownloadOptions,
        *,
        progress: ProgressTracker | None = None,
        keys: set[str] | None = None,
    ) -> None:
        """Prepare; the directory is made with the first file.

        Args:
            client: The client to use.
            directory: Where the files go.
            options: Whether to resume and unpack them.
            progress: Receives the number of bytes of each file.
            keys: The asset keys of the files so far; shared by several downloads into the same directory.
        """
        self.client = client
        self.directory = directory
        self.options = options
        self._keys: set[str] = set() if keys is None else keys
        self._progress = ProgressTracker() if progress is None else progress
        self._record = DirectoryRecord(directory)

    def sharing_names(self, files: Iterable[RemoteFile]) -> list[bool]:
        """Return for each file whether an earlier one has the same asset key, and so probably the same name.

        The first of such files gets the name, in whatever order the downloads end.
        """
        shares: list[bool] = []
        for key in (same_name(file.key) for file in files):
            shares.append(key in self._keys)
            self._keys.add(key)
        return shares

    async def fetch(self, file: RemoteFile, *, job_id: str | None = None, shares_name: bool = False) -> DownloadedFile:
        """Download one file, in a child task of a task group.

        Args:
            file: The file.
            job_id: The job whose result the file is part of, for the progress.
            shares_name: Whether an earlier file of the same call gets the first name, so that this one gets another.

        Raises:
            DownloadError: The file could not be downloaded completely, or not be unpacked.
        """
        task = self._progress.add_task(file.key, job_id, file.size)
        destination = Destination(file, self._record, resume=self.options.resume, shares_name=shares_name)
        path = await FileDownload(self.client, destination, task, timings=self.options.timings).run()
        if not (self.options.unpack and is_archive(path)):
            return DownloadedFile(path=path)
        return DownloadedFile(path=path, unpacked=await self._unpacked(path, file))

    async def _unpacked(self, path: Path, file: RemoteFile) -> tuple[Path, ...]:
        """Unpack an archive into a folder of its own.

        Raises:
            DownloadError: The archive cannot be unpacked; it stays where it is.
        """
        try:
            return await anyio.to_thread.run_sync(self._unpack, path, file.source)
        except (BadArchiveError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"{path.name} was downloaded but cannot be unpacked: {reason}"
            raise DownloadError(message, file=path.name, path=path) from error

    def _unpack(self, path: Path, source: str) -> tuple[Path, ...]:
        name = folder_name(path)
        names = [name, with_asset_id(name, source), with_digest(name, source)]
        with self._record.locked():
            # the record gives the name of the folder, too; no path of a source has a `#`
            folder = self.directory / self._record.claim(names, f"{source}#unpacked")
            folder.mkdir(exist_ok=True)
        try:
            unpacked, renamed = unpack(path, folder)
        finally:
            with contextlib.suppress(OSError):  # when files are in it
                folder.rmdir()
        for before, after in renamed.items():
            logger.warning(
                "%s: member %r was written as %r, since this file system cannot hold its name", path.name, before, after
            )
        return tuple(unpacked)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SourceFiles:
    """The wanted files of one job or item."""

    downloads: Downloads
    """The downloads into their directory."""
    files: list[RemoteFile]
    """The files of all items that could be read."""
    errors: list[UnexpectedResponseError] = attrs.field(factory=list)
    """One error for each item that could not be read, so that its files are not known."""


async def fetch_all(
    downloads: Downloads, files: Sequence[RemoteFile], *, unreadable: Sequence[Up42Error] = ()
) -> list[Path]:
    """Download several files; one that fails does not stop the others.

    Args:
        downloads: The downloads into their directory.
        files: The files.
        unreadable: Errors of items that could not be read, raised with those of the files.

    Returns:
        The paths in the order given; for an unpacked archive those of its files.

    Raises:
        DownloadError: One file failed; several are a `DownloadErrorGroup`.
        Up42Error: The only error in `unreadable`, when no file failed.
    """
    done: dict[int, DownloadedFile] = {}
    errors: dict[int, Exception] = {}

    async def fetch(position: int, file: RemoteFile, *, shares_name: bool) -> None:
        try:
            done[position] = await downloads.fetch(file, shares_name=shares_name)
        except Exception as error:  # noqa: BLE001 - raised below, after the other files
            errors[position] = error

    async with TaskGroup() as group:
        for position, (file, shares_name) in enumerate(zip(files, downloads.sharing_names(files), strict=True)):
            group.start_soon(functools.partial(fetch, position, file, shares_name=shares_name))
    failed: list[Up42Error] = []
    for error in (*(errors[position] for position in sorted(errors)), *unreadable):
        if not isinstance(error, Up42Error):
            raise error
        failed.append(error)
    if len(failed) > 1:
        raise DownloadErrorGroup(
            f"{len(failed)} of {len(files) + len(unreadable)} files could not be downloaded", failed
        )
    if failed:
        raise failed[0]
    return [path for position in sorted(done) for path in done[position].paths]
