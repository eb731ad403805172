"""Files with the same name: each keeps its own path across calls, processes and runs."""

import hashlib
import json
from pathlib import Path

import anyio
import pytest

from tests.downloads.fetching import download, left_in, remote
from tests.downloads.packing import zipped
from tests.storage_host import StorageHost, StoredFile, broken_after, refused
from up42_async import RetryPolicy
from up42_async._downloads.download import DownloadError
from up42_async._downloads.file_names import RECORD

ONE, TWO = "11111111-aaaa-4bbb-8ccc-000000000001", "22222222-aaaa-4bbb-8ccc-000000000002"
SAME_SECOND = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.fixture
def place(tmp_path: Path, host: StorageHost) -> Path:
    """Return a directory to download into; the host has two files with the same name, length and time of change."""
    host.files = {ONE: StoredFile(b"ONE" * 1000), TWO: StoredFile(b"TWO" * 1000)}
    return tmp_path / "place"


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


async def test_files_of_two_calls_have_different_paths(host: StorageHost, place: Path) -> None:
    async with host.client() as client:
        (first,) = await download(client, place, remote(ONE))
        (second,) = await download(client, place, remote(TWO))
        assert [await download(client, place, remote(asset)) for asset in (TWO, ONE)] == [[second], [first]]
    assert (first.name, second.name) == ("result.tif", "result-22222222.tif")
    assert (first.read_bytes()[:3], second.read_bytes()[:3]) == (b"ONE", b"TWO")
    assert len(host.seen) == 4


@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE)])
async def test_in_one_call_the_first_file_gets_the_name_whichever_completes_first(
    host: StorageHost, place: Path, order: tuple[str, str]
) -> None:
    late, calls = order[0], 0

    def sign(asset_id: str) -> str:
        nonlocal calls
        calls += 1
        return f"{host.storage}/bucket/{asset_id}.bin?response-content-disposition=filename%3Dresult.tif"

    host.sign = sign
    host.faults = [refused(503)]  # for the first request
    async with host.client() as client:
        paths = await download(client, place, remote(order[0], key="k"), remote(order[1], key="K"))
    assert [path.name for path in paths] == ["result.tif", f"result-{order[1][:8]}.tif"]
    assert paths[0].read_bytes() == host.files[late].content


async def test_a_file_of_another_program_is_not_overwritten(host: StorageHost, place: Path) -> None:
    put(place / "result.tif", b"mine")
    async with host.client() as client:
        (path,) = await download(client, place, remote(ONE))
    assert path.name == "result-11111111.tif"
    assert (place / "result.tif").read_bytes() == b"mine"


async def test_a_file_of_another_program_with_the_right_checksum_is_not_downloaded(
    host: StorageHost, place: Path
) -> None:
    put(place / "result.tif", b"ONE" * 1000)
    checksum = f"1220{hashlib.sha256(b'ONE' * 1000).hexdigest()}"
    async with host.client() as client:
        (path,) = await download(client, place, remote(ONE, size=3000, checksum=checksum))
    assert (path.name, host.seen) == ("result.tif", [])
    assert json.loads((place / RECORD).read_text()) == {"result.tif": {"source": f"/v2/assets/{ONE}"}}


@pytest.mark.parametrize(
    "newer", [StoredFile(b"NEW" * 500), StoredFile(b"NEW" * 1000, modified="Wed, 21 Oct 2015 07:28:01 GMT")]
)
async def test_a_newer_version_replaces_the_older_one(host: StorageHost, place: Path, newer: StoredFile) -> None:
    """Another length or another time of change shows that a version is newer."""
    async with host.client() as client:
        (path,) = await download(client, place, remote(ONE))
        host.files[ONE] = newer
        assert await download(client, place, remote(ONE)) == [path]
    assert path.read_bytes() == newer.content


async def test_a_part_file_keeps_its_name_reserved(host: StorageHost, place: Path) -> None:
    host.files[ONE] = StoredFile(bytes(2_000_000))
    host.faults = [broken_after(1_500_000), refused(503)]
    async with host.client(retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(DownloadError):
            await download(client, place, remote(ONE))
        (second,) = await download(client, place, remote(TWO))
        (first,) = await download(client, place, remote(ONE))
    assert (first.name, second.name) == ("result.tif", "result-22222222.tif")
    assert host.seen[-1].headers["range"] == "bytes=1500000-"


@pytest.mark.parametrize(("name", "header"), [(None, 'attachment; filename="from header.tif"'), (None, None)])
async def test_a_part_file_is_resumed_in_a_later_run_whatever_its_name_came_from(
    host: StorageHost, place: Path, name: str | None, header: str | None
) -> None:
    host.files[ONE] = StoredFile(bytes(2_000_000), name=name, header=header)
    host.faults = [broken_after(1_500_000), refused(503)]
    async with host.client(retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(DownloadError):
            await download(client, place, remote(ONE))
    async with host.client() as client:
        (path,) = await download(client, place, remote(ONE))
    assert host.seen[-1].headers["range"] == "bytes=1500000-"
    assert path.read_bytes() == bytes(2_000_000)
    assert left_in(place) == [path.name]


async def test_a_file_that_replaced_the_part_file_is_neither_moved_nor_removed(host: StorageHost, place: Path) -> None:
    def replaced(exchange: object) -> None:
        (place / "result.tif.part").unlink()
        (place / "result.tif.part").write_bytes(b"somebody else's")
        exchange.head()  # type: ignore[attr-defined]
        exchange.wfile.write(exchange.rest)  # type: ignore[attr-defined]

    host.faults = [replaced]
    async with host.client() as client:
        with pytest.raises(DownloadError, match=r"result\.tif: result\.tif\.part was removed or replaced"):
            await download(client, place, remote(ONE))
    assert left_in(place) == ["result.tif.part"]
    assert (place / "result.tif.part").read_bytes() == b"somebody else's"


async def test_concurrent_calls_give_each_file_its_own_path(host: StorageHost, place: Path) -> None:
    host.files = {f"{number:08}-id": StoredFile(f"{number}".encode() * 100) for number in range(20)}
    async with host.client() as client, anyio.create_task_group() as group:
        for asset_id in host.files:
            for _ in range(2):
                group.start_soon(download, client, place, remote(asset_id))
    contents = [(place / name).read_bytes() for name in left_in(place)]
    assert sorted(contents) == sorted(file.content for file in host.files.values())


async def test_two_archives_are_unpacked_into_different_directories(
    host: StorageHost, place: Path, tmp_path: Path
) -> None:
    for asset_id, name in ((ONE, "order.zip"), (TWO, "order.ZIP")):
        content = zipped(tmp_path / "made.zip", {"same.tif": asset_id.encode()}).read_bytes()
        host.files[asset_id] = StoredFile(content, name=name)
    async with host.client() as client:
        for _ in range(2):
            paths = await download(client, place, remote(ONE, key="1"), remote(TWO, key="2"), unpack=True)
            assert {path.read_bytes().decode() for path in paths} == {ONE, TWO}
            assert len({path.parent for path in paths}) == 2


async def test_a_directory_of_another_program_is_not_used(host: StorageHost, place: Path, tmp_path: Path) -> None:
    host.files[ONE] = StoredFile(zipped(tmp_path / "made.zip", {"a.tif": b"1"}).read_bytes(), name="order.zip")
    (place / "order").mkdir(parents=True)
    async with host.client() as client:
        (path,) = await download(client, place, remote(ONE), unpack=True)
    assert path == place / "order-11111111" / "a.tif"


async def test_an_archive_that_cannot_be_unpacked_leaves_no_directory(host: StorageHost, place: Path) -> None:
    host.files[ONE] = StoredFile(b"no archive", name="order.zip")
    async with host.client() as client:
        with pytest.raises(DownloadError, match="cannot be unpacked"):
            await download(client, place, remote(ONE), unpack=True)
    assert left_in(place) == ["order.zip"]
