"""Processes that download into one directory at the same time: no file is lost or overwritten."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.downloads.fetching import left_in
from tests.storage_host import StorageHost, StoredFile

PROGRAM = """
import sys
import anyio
from pathlib import Path
from up42_async import Client, Endpoints, Limits, RetryPolicy
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile

async def main(loop, api, directory, *assets):
    endpoints = Endpoints(api=api, auth=f"{api}/auth")
    async with Client("someone", "password", endpoints=endpoints) as client:
        files = [RemoteFile(href=f"/v2/assets/{asset}", key=asset) for asset in assets]
        for path in await fetch_all(Downloads(client, Path(directory), DownloadOptions()), files):
            print(path.name, path.read_bytes()[:8].decode())

anyio.run(main, *sys.argv[1:], backend=sys.argv[1])
"""


@pytest.mark.slow
def test_processes_that_download_into_one_directory_give_each_asset_one_path(host: StorageHost, tmp_path: Path) -> None:
    for number in range(24):
        host.files[f"{number:08}-id"] = StoredFile(f"{number:08}".encode() * 1000)
    assets = sorted(host.files)
    programs = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", PROGRAM, loop, host.api, str(tmp_path), *assets[first:]], stdout=subprocess.PIPE
        )
        for loop, first in (("asyncio", 0), ("trio", 8), ("asyncio", 16))
    ]
    answers = [program.communicate(timeout=60)[0].decode().split() for program in programs]
    assert [program.returncode for program in programs] == [0, 0, 0]
    found = {name for answer in answers for name in zip(answer[::2], answer[1::2], strict=True)}
    assert len(found) == 24  # each asset has the same path in all processes
    assert len({name for name, _ in found}) == len({content for _, content in found}) == 24
    assert set(left_in(tmp_path)) == {name for name, _ in found}
    for name, content in found:
        assert (tmp_path / name).read_bytes() == content.encode() * 1000


@pytest.mark.slow
def test_the_next_process_resumes_the_download_of_a_killed_one(host: StorageHost, tmp_path: Path) -> None:
    host.files["a1"] = StoredFile(bytes(80 * 2**20))

    def killing(exchange: object) -> None:
        exchange.head()  # type: ignore[attr-defined]
        exchange.wfile.write(exchange.rest[: 70 * 2**20])  # type: ignore[attr-defined]
        note = tmp_path / "result.tif.part.json"
        while not (note.exists() and note.read_bytes()):
            pass
        program.kill()
        program.wait()

    host.faults = [killing]
    arguments = [sys.executable, "-c", PROGRAM, "asyncio", host.api, str(tmp_path), "a1"]
    program = subprocess.Popen(arguments)  # noqa: S603 - our own program
    assert program.wait(60) != 0
    subprocess.run(arguments, check=True, timeout=60, stdout=subprocess.DEVNULL)  # noqa: S603 - the same
    assert int(host.seen[-1].headers["range"].removeprefix("bytes=").removesuffix("-")) >= 64 * 2**20
    assert (tmp_path / "result.tif").read_bytes() == host.files["a1"].content
    assert left_in(tmp_path) == ["result.tif"]
