"""Unpack archives: completely or not at all, and never outside of the folder for their files."""

import contextlib
import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, Final

import anyio
import attrs

from up42_async._downloads.file_names import PART, member_name, safe_name, with_digest

MOST_MEMBERS: Final = 10_000
"""Most files and directories of an archive."""

MOST_BYTES: Final = 200 * 2**30
"""Most bytes of all members together; the limit is lower where less is free on the disk."""

MOST_IN_HEADERS: Final = 2**20
"""Most bytes of headers of a tar, beside 4 kB for each member: tarfile holds them in memory."""

MOST_AT_ONCE: Final = 4 * 2**20
"""Most bytes of a zip's table of contents: it is read at once, and takes ten times as many in memory."""

DEEPEST: Final = 16
"""Most parts of the path of a member."""

_ENDINGS: Final = (".zip", ".tar", ".tgz", ".tar.gz")
_PIECE: Final = 2**20
_BLOCK: Final = 512
_HEADER: Final = 4096
_ENCRYPTED: Final = 1
_GZIP_MAGIC: Final = b"\x1f\x8b"


class BadArchiveError(Exception):
    """An archive is broken, or exceeds a limit."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Member:
    """A file in an archive."""

    name: str
    size: int
    content: IO[bytes]


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, by its name."""
    return path.name.lower().endswith(_ENDINGS)


def folder_name(path: Path) -> str:
    """Return the name of the folder for an archive: its name without the suffix."""
    ending = max((one for one in _ENDINGS if path.name.lower().endswith(one)), key=len)
    return path.name[: -len(ending)] or "archive"


def unpack(archive: Path, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Unpack an archive into a folder beside it.

    The files are moved there after all of them were read. Those in the folder with the same names are replaced, and
    others stay. It blocks, so it is called in a worker thread.

    Args:
        archive: The archive; its suffix tells whether it is a zip or a tar.
        folder: Where its files go; it must exist.

    Returns:
        The paths of the files, and the new names of members whose own names this file system cannot hold.

    Raises:
        BadArchiveError: It is broken, exceeds a limit, or has a member that is a link or leads outside of the folder.
        OSError: The files cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f"{folder.name[:50]}.", suffix=PART, dir=archive.parent) as place:
        names = _extract(archive, Path(place))
        paths = [_move(Path(place), folder, name) for name in names.values()]
    renamed = {name: path.as_posix() for name, path in names.items() if path.as_posix() != _normal(name)}
    return paths, renamed


def _extract(archive: Path, place: Path) -> dict[str, Path]:
    """Write the members below a directory; return their relative paths by their names.

    zipfile and tarfile raise a dozen kinds of exceptions for a broken archive: each becomes a `BadArchiveError`.
    """
    names: dict[str, Path] = {}
    try:
        with contextlib.closing(_members(archive)) as members:
            _write_all(members, place, names)
    except BadArchiveError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise BadArchiveError(f"it is broken ({type(error).__name__})") from error
    return names


def _write_all(members: Iterator[_Member], place: Path, names: dict[str, Path]) -> None:
    budget = min(MOST_BYTES, shutil.disk_usage(place).free)
    for member in members:
        if member.name in names:
            raise BadArchiveError(f"it has two members called {member.name!r:.100}")
        if member.size > budget:
            raise BadArchiveError(f"{member.name!r:.100} has {member.size} bytes, for which there is no room")
        names[member.name], size = _copy(member, place, budget)
        budget -= size


def _members(archive: Path) -> Generator[_Member, None, None]:
    """Yield the files in an archive; each has to be read before the next.

    Raises:
        BadArchiveError: A member is neither a file nor a directory, or is encrypted.
    """
    return _zip_members(archive) if archive.name.lower().endswith(".zip") else _tar_members(archive)


def _counted(members: Iterator[Any]) -> Generator[Any, None, None]:
    for number, member in enumerate(members):
        if number >= MOST_MEMBERS:
            raise BadArchiveError(f"it has more than {MOST_MEMBERS} members")
        yield member


class _Limited:
    """A file that limits the bytes of one `read`, or the bytes read in all by an allowance that its user raises."""

    def __init__(self, file: IO[bytes], *, at_once: int | None = None, allowance: int | None = None) -> None:
        self._file = file
        self._at_once = at_once
        self.allowance = allowance

    def read(self, size: int = -1) -> bytes:
        if self._at_once is not None:
            size = self._at_once + 1 if size < 0 else min(size, self._at_once + 1)
        data = self._file.read(size)
        if self._at_once is not None and len(data) > self._at_once:
            raise BadArchiveError("its table of contents is too large")
        if self.allowance is not None:
            self.allowance -= len(data)
            if self.allowance < 0:
                raise BadArchiveError("its headers are too large")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _zip_members(archive: Path) -> Generator[_Member, None, None]:
    with archive.open("rb") as file:
        limited: Any = _Limited(file, at_once=MOST_AT_ONCE)
        with zipfile.ZipFile(limited) as opened:
            for info in _counted(iter(opened.infolist())):
                if info.is_dir():
                    continue
                if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
                    raise BadArchiveError(f"{info.filename!r:.100} is a link or a device")
                if info.flag_bits & _ENCRYPTED:
                    raise BadArchiveError(f"{info.filename!r:.100} is encrypted")
                if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    # zipfile inflates each read of the other methods without a limit: 4 kB of bzip2 become 600 MB
                    raise BadArchiveError(f"{info.filename!r:.100} is neither stored nor deflated")
                with opened.open(info) as content:
                    yield _Member(name=info.filename, size=info.file_size, content=content)


def _tar_members(archive: Path) -> Generator[_Member, None, None]:
    with archive.open("rb") as file:
        is_packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        # tarfile inflates without a limit, and reads headers of any size into memory
        inflated: Any = gzip.GzipFile(fileobj=file) if is_packed else file
        limited: Any = _Limited(inflated, allowance=MOST_IN_HEADERS)
        with tarfile.open(fileobj=limited, mode="r|") as opened:
            for info in _counted(iter(opened)):
                limited.allowance += _HEADER
                if info.isdir():
                    continue
                content = opened.extractfile(info) if info.isfile() and not info.issparse() else None
                if content is None:
                    raise BadArchiveError(f"{info.name!r:.100} is a link, a device or a sparse file")
                limited.allowance += info.size + _BLOCK
                with content:
                    yield _Member(name=info.name, size=info.size, content=content)


def _parts(name: str) -> list[str]:
    """Return the name of a member as parts of a path below the folder.

    Raises:
        BadArchiveError: The name leads outside of the folder, or is empty or too deep.
    """
    words = _normal(name).split("/")
    if not words[0] or ".." in words or words[0].endswith(":"):
        raise BadArchiveError(f"{name!r:.100} leads out of the directory, or has no name that can be used")
    parts = [member_name(word) for word in words]
    if not 1 <= len(parts) <= DEEPEST or not all(parts):
        raise BadArchiveError(f"{name!r:.100} has no name, or more than {DEEPEST} directories within each other")
    return parts


def _normal(name: str) -> str:
    """Return the name of a member with single slashes and without `.`; an absolute name stays absolute."""
    words = enumerate(name.replace("\\", "/").split("/"))
    return "/".join(word for position, word in words if word != "." and (word or not position))


def _copy(member: _Member, place: Path, budget: int) -> tuple[Path, int]:
    """Write a member to disk; return its relative path, and its real size in bytes."""
    name, file = _created(member.name, place)
    size = 0
    with file:
        while piece := member.content.read(_PIECE):
            anyio.from_thread.check_cancelled()
            size += len(piece)
            if size > budget:
                raise BadArchiveError(f"{member.name!r:.100} is larger than there is room for")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return name, size


def _created(name: str, place: Path) -> tuple[Path, IO[bytes]]:
    """Create the file of a member, with another name when the file system refuses its own.

    Only the file system knows how long a name may be, and whether two names that differ in case are two files.
    """
    parts = _parts(name)
    path = Path(*parts)
    try:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        return path, (place / path).open("xb")
    except (OSError, ValueError):
        path = Path(*(safe_name(part) or "_" for part in parts[:-1]), with_digest(safe_name(parts[-1]) or "file", name))
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        return path, (place / path).open("xb")


def _move(place: Path, folder: Path, name: Path) -> Path:
    """Move an unpacked file into the folder.

    Raises:
        BadArchiveError: A directory of its path is a symbolic link, which may lead out of the folder.
    """
    directory = folder
    for part in ("", *name.parts[:-1]):
        directory /= part
        directory.mkdir(exist_ok=True)
        if directory.is_symlink():
            raise BadArchiveError(f"{directory} is a symbolic link, and nothing is put behind it")
    os.replace(place / name, folder / name)  # noqa: PTH105 - as a download does
    return folder / name
