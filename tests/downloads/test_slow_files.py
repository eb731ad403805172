"""A slow download does not delay others: it releases its slot, and continues after them."""

import time
from pathlib import Path

import anyio
import pytest

from tests.downloads.fetching import download, remote
from tests.storage_host import Exchange, Fault, StorageHost, StoredFile
from up42_async import Limits, RetryPolicy, Timeouts
from up42_async._downloads.download import DownloadError
from up42_async._downloads.options import Timings

QUICK = Timings(slow_rate=1000.0, slow_time=0.3)
CONTENT = bytes(range(200))


def dripping(seconds: float, *, etag: bool = True) -> Fault:
    """Send one byte at a time, with a pause after each."""

    def fault(exchange: Exchange) -> None:
        exchange.head(ETag=exchange.file.etag if etag else None)
        try:
            for byte in exchange.rest:
                exchange.wfile.write(bytes([byte]))
                exchange.wfile.flush()
                time.sleep(seconds)
        except OSError:
            pass
        exchange.close_connection = True

    return fault


def silent(exchange: Exchange) -> None:
    """Send nothing until the client closes the connection."""
    exchange.connection.settimeout(20)
    exchange.rfile.read(1)
    exchange.close_connection = True


@pytest.fixture(autouse=True)
def _files(host: StorageHost) -> None:
    host.files = {f"a{number}": StoredFile(CONTENT, name=f"{number}.tif") for number in range(12)}


async def test_fast_files_finish_before_slow_ones_that_hold_all_slots(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [dripping(0.05), dripping(0.05), *[None] * 20]
    landed: list[str] = []

    async def fetch(number: int) -> None:
        (path,) = await download(client, tmp_path, remote(f"a{number}"), timings=Timings(slow_time=1.0))
        landed.append(path.name)

    async with host.client(limits=Limits(max_downloads=2)) as client, anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(fetch, number)
    slow = {request.path.split("/")[2].split(".")[0][1:] + ".tif" for request in host.seen[:2]}
    assert slow <= set(landed[-5:])  # the last fast files and the slow ones finish at the same time
    assert all((tmp_path / name).read_bytes() == CONTENT for name in landed)


async def test_a_slow_file_continues_where_it_released_its_slot(host: StorageHost, tmp_path: Path) -> None:
    host.files["a0"] = StoredFile(CONTENT * 10, name="0.tif")
    host.faults = [dripping(0.05), None, None]
    async with host.client(limits=Limits(max_downloads=1)) as client, anyio.create_task_group() as group:
        group.start_soon(lambda: download(client, tmp_path, remote("a0"), timings=Timings(slow_time=1.5)))
        await host.until(lambda: bool(host.seen))
        await download(client, tmp_path, remote("a1"), timings=QUICK)
    ranges = [request.headers.get("range") for request in host.seen]
    assert ranges[:2] == [None, None]
    assert ranges[2] is not None
    assert (tmp_path / "0.tif").read_bytes() == CONTENT * 10


async def test_a_slow_file_keeps_its_slot_while_no_other_waits(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [dripping(0.005)]
    async with host.client(limits=Limits(max_downloads=1)) as client:
        (path,) = await download(client, tmp_path, remote("a0"), timings=QUICK)
    assert path.read_bytes() == CONTENT
    assert len(host.seen) == 1


async def test_releasing_a_slot_uses_no_attempt(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [dripping(0.05), None, None]
    one_try = RetryPolicy(attempts=1)
    async with host.client(limits=Limits(max_downloads=1), retry=one_try) as client:
        paths = await download(client, tmp_path, remote("a0", key="0"), remote("a1", key="1"), timings=QUICK)
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]


async def test_slow_files_that_cannot_be_resumed_finish_in_few_requests(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [dripping(0.004, etag=False) for _ in range(40)]
    files = [remote(f"a{number}", key=f"{number}") for number in range(4)]
    async with host.client(limits=Limits(max_downloads=1)) as client:
        with anyio.fail_after(30):
            paths = await download(client, tmp_path, *files, timings=QUICK)
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert len(host.seen) <= 4 * 3


async def test_files_that_send_nothing_end_with_errors_while_others_wait(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [silent] * 100
    files = [remote(f"a{number}", key=f"{number}") for number in range(4)]
    one_try, short = RetryPolicy(attempts=1), Timeouts(read=0.5)
    async with host.client(limits=Limits(max_downloads=2), timeouts=short, retry=one_try) as client:
        with anyio.fail_after(30), pytest.raises(DownloadError, match="4 of 4 files could not be downloaded"):
            await download(client, tmp_path, *files, timings=QUICK)
