"""Make zip and tar archives."""

import io
import tarfile
import zipfile
from pathlib import Path

Members = dict[str, bytes]


def zipped(path: Path, members: Members) -> Path:
    """Make a zip with a directory and these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a directory/", b"")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: Members) -> Path:
    """Make a tar with a directory and these members, compressed if the name ends in gz."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        directory = tarfile.TarInfo("a directory")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def packed(path: Path, members: Members) -> Path:
    """Make a zip or a tar, as the extension says."""
    return zipped(path, members) if path.suffix.lower() == ".zip" else tarred(path, members)
