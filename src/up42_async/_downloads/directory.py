"""Bring many files home into one directory, each whole or not at all."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from up42_async._client import Client
from up42_async._downloads.archives import BadArchive, is_archive, unpack
from up42_async._downloads.download import DownloadError, Transfer
from up42_async._downloads.file_names import safe_name, same_name, with_digest
from up42_async._downloads.progress import Board
from up42_async._downloads.signed_urls import RemoteFile


@attrs.frozen(kw_only=True)
class Brought:
    """What came of a file."""

    path: Path
    """Where it is."""
    unpacked: tuple[Path, ...] = ()
    """The files of the archive, when it was unpacked."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What the user is after."""
        return self.unpacked or (self.path,)


class Downloads:
    """Files on their way into one directory, none of which takes another's place."""

    def __init__(
        self, client: Client, directory: Path, *, unpack: bool = False, resume: bool = True, board: Board | None = None
    ) -> None:
        """Touch nothing yet.

        Args:
            client: Whom to ask with.
            directory: Where the files go; made when it is missing.
            unpack: Whether to unpack archives, each into a directory beside it.
            resume: Whether to go on from what an earlier run left, and to leave what another run can go on from.
            board: Where to say how far they have come.
        """
        self.client = client
        self.directory = directory
        self._unpack = unpack
        self._resume = resume
        self._board = Board() if board is None else board
        self._keys = Counter[str]()
        self._claims: dict[str, str] = {}

    def expect(self, files: Iterable[RemoteFile]) -> None:
        """Note which files will come, so that those with the same key are told apart in the same way every time."""
        self._keys.update(same_name(file.key) for file in files)

    async def fetch(self, file: RemoteFile, *, job_id: str | None = None) -> Brought:
        """Bring one file, in a child of a task group.

        Args:
            file: What to bring.
            job_id: The job whose result it is part of, for the progress.

        Raises:
            DownloadError: It could not be had, or not whole, or not be unpacked.
        """
        meter = self._board.meter(file.key, job_id, file.size)
        transfer = Transfer(self.client, file, lambda names: self._place(names, file), resume=self._resume, meter=meter)
        path = await transfer.run()
        unpacked = await _unpacked(path) if self._unpack and is_archive(path) else []
        return Brought(path=path, unpacked=tuple(unpacked))

    def _place(self, names: Sequence[str], file: RemoteFile) -> Path:
        """Choose a place that no other file of this run has."""
        safe = (safe_name(name) for name in names)
        name = next((one for one in safe if one), "file")
        if self._keys[same_name(file.key)] > 1 or self._is_taken(name, file):
            name = with_digest(name, file.source)
        self._claims[same_name(name)] = file.source
        return self.directory / name

    def _is_taken(self, name: str, file: RemoteFile) -> bool:
        return self._claims.get(same_name(name), file.source) != file.source


async def fetch_all(downloads: Downloads, files: Sequence[RemoteFile]) -> list[Path]:
    """Bring several files; one that fails does not keep the others from coming.

    Args:
        downloads: Where they go.
        files: What to bring.

    Returns:
        Where they are, in the order given; instead of an archive that was unpacked, its files.

    Raises:
        DownloadError: One could not be had.
        ExceptionGroup: Several could not.
    """
    downloads.expect(files)
    brought: dict[int, Brought] = {}
    errors: dict[int, Exception] = {}

    async def bring(position: int, file: RemoteFile) -> None:
        try:
            brought[position] = await downloads.fetch(file)
        except Exception as error:  # noqa: BLE001 - raised below, when the others have come
            errors[position] = error

    async with anyio.create_task_group() as group:
        for position, file in enumerate(files):
            group.start_soon(bring, position, file)
    failed = [errors[position] for position in sorted(errors)]
    if len(failed) > 1:
        raise ExceptionGroup(f"{len(failed)} of {len(files)} files did not come", failed)
    if failed:
        raise failed[0]
    return [path for position in sorted(brought) for path in brought[position].paths]


async def _unpacked(path: Path) -> list[Path]:
    try:
        return await anyio.to_thread.run_sync(unpack, path)
    except (BadArchive, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DownloadError(
            f"{path.name} came whole but cannot be unpacked: {reason}", file=path.name, path=path
        ) from error
