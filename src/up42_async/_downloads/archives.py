"""Unpack archives, all of one or nothing, and never outside of the directory they are unpacked into.

What reads them is imported when it is needed, which for most programs is never.
"""

import contextlib
import os
import stat
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

import attrs

from up42_async._downloads.file_names import PART, safe_name, same_name

MOST_MEMBERS: Final = 10_000
MOST_BYTES: Final = 200 * 2**30
"""Bytes of all members together; what is free on the disk may be less."""

DEEPEST: Final = 16
"""Directories within each other."""

_ENDINGS: Final = (".zip", ".tar", ".tgz", ".tar.gz")
_PIECE: Final = 2**20
_ENCRYPTED: Final = 1


class BadArchive(Exception):
    """An archive that is broken, or reaches for more than it may."""


@attrs.frozen(kw_only=True)
class _Member:
    """A file in an archive."""

    name: str
    size: int
    content: IO[bytes]


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, by its name."""
    return path.name.lower().endswith(_ENDINGS)


def directory_for(path: Path) -> Path:
    """Return where an archive is unpacked: a directory beside it, with its name but for the ending."""
    ending = max((one for one in _ENDINGS if path.name.lower().endswith(one)), key=len)
    return path.with_name(path.name[: -len(ending)] or "archive")


def unpack(archive: Path) -> list[Path]:
    """Unpack an archive into a directory beside it.

    Files there with the same names are replaced, and others left alone. It blocks, so it is called in a worker thread.

    Args:
        archive: The archive, by its name a zip or tar.

    Returns:
        The files.

    Raises:
        BadArchive: It is broken, or a member is a link, leads outside, or is one too many or too large.
        OSError: The files cannot be written. In both cases nothing was unpacked.
    """
    import tempfile

    target = directory_for(archive)
    with tempfile.TemporaryDirectory(prefix=f"{target.name[:50]}.", suffix=PART, dir=archive.parent) as place:
        names = _extract(archive, Path(place))
        return [_move(Path(place), target, name) for name in names]


def _extract(archive: Path, place: Path) -> list[Path]:
    import lzma
    import shutil
    import tarfile
    import zipfile

    budget = min(MOST_BYTES, shutil.disk_usage(place).free)
    names: dict[str, Path] = {}
    try:
        with contextlib.closing(_members(archive)) as members:
            for member in members:
                name = _safe_path(member.name)
                if names.setdefault(same_name(str(name)), name) is not name:
                    raise BadArchive(f"it has two members called {name}")
                if len(names) > MOST_MEMBERS:
                    raise BadArchive(f"it has more than {MOST_MEMBERS} members")
                if member.size > budget:
                    raise BadArchive(f"{name} has {member.size} bytes, for which there is no room")
                budget -= _copy(member, place / name, budget)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, lzma.LZMAError, zlib.error) as error:
        raise BadArchive(f"it is broken ({type(error).__name__})") from error
    return list(names.values())


def _members(archive: Path) -> Generator[_Member, None, None]:
    """Yield the files in an archive, one after the other, each to be read before the next.

    Raises:
        BadArchive: A member is something else than a file or a directory, or is encrypted.
    """
    return _zip_members(archive) if archive.name.lower().endswith(".zip") else _tar_members(archive)


def _zip_members(archive: Path) -> Generator[_Member, None, None]:
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
                raise BadArchive(f"{info.filename!r:.100} is a link or a device")
            if info.flag_bits & _ENCRYPTED:
                raise BadArchive(f"{info.filename!r:.100} is encrypted")
            with opened.open(info) as content:
                yield _Member(name=info.filename, size=info.file_size, content=content)


def _tar_members(archive: Path) -> Generator[_Member, None, None]:
    import tarfile

    with tarfile.open(archive, "r|*") as opened:
        for info in opened:
            if info.isdir():
                continue
            content = opened.extractfile(info) if info.isfile() else None
            if content is None:
                raise BadArchive(f"{info.name!r:.100} is a link or a device")
            with content:
                yield _Member(name=info.name, size=info.size, content=content)


def _safe_path(name: str) -> Path:
    """Return the name of a member as a path below the directory.

    Raises:
        BadArchive: It leads somewhere else, or nowhere.
    """
    words = name.replace("\\", "/").split("/")
    parts = [safe_name(word) for word in words if word not in {"", "."}]
    if not all(parts) or not words[0] or words[0].endswith(":"):
        raise BadArchive(f"{name!r:.100} leads out of the directory, or has no name that can be used")
    if not 1 <= len(parts) <= DEEPEST:
        raise BadArchive(f"{name!r:.100} has no name, or more than {DEEPEST} directories within each other")
    return Path(*parts)


def _copy(member: _Member, target: Path, budget: int) -> int:
    """Write a member to disk, and return how many bytes it really has."""
    import anyio.from_thread

    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with target.open("xb") as file:
        while piece := member.content.read(_PIECE):
            anyio.from_thread.check_cancelled()
            size += len(piece)
            if size > budget:
                raise BadArchive(f"{member.name!r:.100} is larger than there is room for")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return size


def _move(place: Path, target: Path, name: Path) -> Path:
    """Put a file that was unpacked in its place, whose directories must be real ones."""
    directory = target
    for part in ("", *name.parts[:-1]):
        directory /= part
        directory.mkdir(exist_ok=True)
        if directory.is_symlink():
            raise BadArchive(f"{directory} is a symbolic link, and nothing is put behind it")
    os.replace(place / name, target / name)  # noqa: PTH105 - as a download does
    return target / name
