"""Download files of the storage host of the tests into a directory."""

from pathlib import Path
from typing import Any

from up42_async import Client
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.file_names import RECORD
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile


async def download(client: Client, directory: Path, *files: RemoteFile, **options: Any) -> list[Path]:
    """Download files, by default that of the asset `a1`."""
    return await fetch_all(Downloads(client, directory, DownloadOptions(**options)), files or [remote()])


def remote(
    asset_id: str = "a1",
    *,
    key: str = "key.tif",
    size: int | None = None,
    checksum: str | None = None,
    media_type: str = "",
) -> RemoteFile:
    """Return the file of an asset on the storage host."""
    return RemoteFile(href=f"/v2/assets/{asset_id}", key=key, size=size, checksum=checksum, media_type=media_type)


def left_in(directory: Path) -> list[str]:
    """Return the names of the files in a directory, without its record of downloads."""
    if not directory.exists():
        return []
    return sorted(path.name for path in directory.iterdir() if path.name != RECORD)
