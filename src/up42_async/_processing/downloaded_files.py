"""The downloaded files of a result: described for the journal, and checked on disk by the next run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from up42_async._storage.download_batch import ResultFile


async def described(files: Sequence[ResultFile]) -> list[dict[str, Any]]:
    """Return what the journal keeps of files: ids, paths and sizes.

    Args:
        files: Files that are complete on disk.
    """
    return await anyio.to_thread.run_sync(lambda: [_description(file) for file in files])


async def still_there(descriptions: Sequence[Mapping[str, Any]]) -> tuple[ResultFile, ...]:
    """Return the files, or none at all when one of them is missing or has another size.

    Args:
        descriptions: What the journal keeps of them.
    """
    try:
        return await anyio.to_thread.run_sync(lambda: tuple(map(_file, descriptions)))
    except OSError:
        return ()


def _description(file: ResultFile) -> dict[str, Any]:
    return {
        "job_id": file.job_id,
        "item_id": file.item_id,
        "asset_key": file.asset_key,
        "path": str(file.path),
        "size": None if file.path is None else file.path.stat().st_size,
        "unpacked": [[str(path), path.stat().st_size] for path in file.unpacked],
    }


def _file(description: Mapping[str, Any]) -> ResultFile:
    """Return a file that still has its path and size.

    Raises:
        OSError: It is missing, or has another size.
    """
    sizes = [(description["path"], description["size"]), *description["unpacked"]]
    for path, size in sizes:
        if Path(path).stat().st_size != size:
            raise OSError(path)
    return ResultFile(
        job_id=description["job_id"],
        item_id=description["item_id"],
        asset_key=description["asset_key"],
        path=Path(description["path"]),
        unpacked=tuple(Path(path) for path, _ in description["unpacked"]),
    )
