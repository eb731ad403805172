"""Downloads without faults: complete files under their names, and no file downloaded twice."""

import hashlib
import os
import random
import stat
import sys
import time
from pathlib import Path

import anyio
import pytest

from tests.downloads.fetching import download, left_in, remote
from tests.storage_host import Fault, StorageHost, StoredFile, broken_after, refused
from up42_async import Limits, RetryPolicy
from up42_async._downloads.download import DownloadError
from up42_async._downloads.signed_urls import RemoteFile

CONTENT = random.Random(3).randbytes(3 * 2**20 + 12345)  # noqa: S311 - the same in every run
ONE_ATTEMPT = RetryPolicy(attempts=1)
BROKEN_OFF: list[Fault | None] = [broken_after(2_000_000), refused(503)]
"""Faults that end a download of a client with one attempt, with 2 million bytes in the part file."""


@pytest.fixture(autouse=True)
def _file(host: StorageHost) -> None:
    host.files["a1"] = StoredFile(CONTENT)


async def test_a_download_leaves_only_the_complete_file_under_its_name(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        paths = await download(client, tmp_path / "new" / "place", remote())
    assert paths == [tmp_path / "new" / "place" / "result.tif"]
    assert paths[0].read_bytes() == CONTENT
    assert left_in(paths[0].parent) == ["result.tif"]


async def test_a_download_needs_one_signed_url_and_one_request(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        await download(client, tmp_path, remote())
    assert (host.minted, len(host.seen)) == (1, 1)


async def test_the_storage_host_sees_neither_token_nor_cookie(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        await download(client, tmp_path, remote())
    assert host.seen[0].headers.keys().isdisjoint({"authorization", "cookie", "proxy-authorization"})
    assert "canary-token" not in str(host.seen)
    assert host.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("href", ["{api}/v2/assets/a1", "{api}/v2/assets/a1/download-url", "/v2/assets/a1"])
async def test_every_form_of_link_to_an_asset_works(host: StorageHost, tmp_path: Path, href: str) -> None:
    async with host.client() as client:
        await download(client, tmp_path, RemoteFile(href=href.format(api=host.api), key="k"))
    assert host.asked["POST /v2/assets/a1/download-url"] == 1


async def test_an_empty_file_is_downloaded(host: StorageHost, tmp_path: Path) -> None:
    host.files["a1"] = StoredFile(b"")
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(size=0))
    assert path.read_bytes() == b""


async def test_the_mode_of_a_file_follows_the_umask(host: StorageHost, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        async with host.client() as client:
            (path,) = await download(client, tmp_path, remote())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_a_complete_file_is_not_downloaded_again(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote())
        inode = path.stat().st_ino
        assert await download(client, tmp_path, remote()) == [path]
    assert path.stat().st_ino == inode
    assert left_in(tmp_path) == ["result.tif"]


async def test_a_complete_file_with_a_known_checksum_costs_no_request_to_the_storage_host(
    host: StorageHost, tmp_path: Path
) -> None:
    (tmp_path / "result.tif").write_bytes(CONTENT)
    file = remote(size=len(CONTENT), checksum=f"1220{hashlib.sha256(CONTENT).hexdigest()}")
    async with host.client() as client:
        await download(client, tmp_path, file)
    assert host.seen == []


@pytest.mark.parametrize("checksum", [None, f"1220{hashlib.sha256(CONTENT).hexdigest()}"])
async def test_a_file_of_the_user_is_not_overwritten_even_if_it_has_the_same_size(
    host: StorageHost, tmp_path: Path, checksum: str | None
) -> None:
    mine = tmp_path / "result.tif"
    mine.write_bytes(bytes(len(CONTENT)))
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(size=len(CONTENT), checksum=checksum))
    assert path != mine
    assert (path.read_bytes(), mine.read_bytes()) == (CONTENT, bytes(len(CONTENT)))


@pytest.mark.parametrize(
    "checksum",
    [
        f"1220{hashlib.sha256(CONTENT).hexdigest()}",
        f"1340{hashlib.sha512(CONTENT).hexdigest()}",
        f"1114{hashlib.sha1(CONTENT).hexdigest()}",  # noqa: S324 - UP42 may choose it
        f"d50110{hashlib.md5(CONTENT).hexdigest()}",  # noqa: S324 - the same
        f"c0e40240{hashlib.blake2b(CONTENT, digest_size=64).hexdigest()}",
        "ffff",
        "no checksum at all",
    ],
)
async def test_correct_and_unsupported_checksums_are_accepted(host: StorageHost, tmp_path: Path, checksum: str) -> None:
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(checksum=checksum))
    assert path.read_bytes() == CONTENT


async def test_a_partial_download_of_an_earlier_run_is_resumed(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [*BROKEN_OFF]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError, match=r"result\.tif: .*2000000 bytes are kept") as caught:
            await download(client, tmp_path, remote())
        assert (caught.value.received, caught.value.path) == (2_000_000, tmp_path / "result.tif")
        assert left_in(tmp_path) == ["result.tif.part", "result.tif.part.json"]
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(checksum=f"1220{hashlib.sha256(CONTENT).hexdigest()}"))
    assert host.seen[-1].headers["range"] == "bytes=2000000-"
    assert host.seen[-1].headers["if-range"] == host.files["a1"].etag
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["result.tif"]


async def test_part_files_and_errors_contain_no_secret(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [*BROKEN_OFF]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError) as caught:
            await download(client, tmp_path, remote())
    assert "canary" not in (tmp_path / "result.tif.part.json").read_text()
    assert "canary" not in f"{caught.value!r}{caught.value.__cause__!r}"


async def test_a_part_file_of_another_asset_is_discarded(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [*BROKEN_OFF]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path, remote())
        host.files["a2"] = StoredFile(CONTENT[::-1])
        (path,) = await download(client, tmp_path, remote("a2"))
    assert "range" not in host.seen[-1].headers
    assert path.read_bytes() == CONTENT[::-1]


async def test_a_file_that_changed_between_runs_is_downloaded_from_the_start(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [*BROKEN_OFF]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path, remote())
        host.files["a1"] = StoredFile(CONTENT[::-1])
        (path,) = await download(client, tmp_path, remote())
    assert path.read_bytes() == CONTENT[::-1]


async def test_a_complete_part_file_is_checked_against_the_current_version(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [*BROKEN_OFF]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path, remote())
        note = tmp_path / "result.tif.part.json"
        note.write_text(note.read_text().replace('"received": 2000000', f'"received": {len(CONTENT)}'))
        (tmp_path / "result.tif.part").write_bytes(CONTENT)
        (path,) = await download(client, tmp_path, remote())
    assert host.seen[-1].headers["range"] == f"bytes={len(CONTENT) - 1}-"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        "{}",
        '{"source": "/v2/assets/a1", "etag": "\\"x\\"", "total": 9, "received": -1}',
        '{"source": "/v2/assets/a1", "etag": "\\"x\\"", "total": 9, "received": true}',
        '{"source": "/v2/assets/a1", "etag": "\\"x\\n\\"", "total": 9, "received": 3}',
        '{"source": "/v2/assets/a1", "etag": "\\"x\\"", "total": "9", "received": 3}',
        '{"source": "/v2/assets/a1", "etag": "\\"x\\"", "total": 9, "received": 300}',
        '{"source": "/v2/assets/a1", "etag": "\\"x\\"", "total": 9, "received": 0}',
    ],
)
async def test_an_invalid_state_of_a_part_file_is_ignored(host: StorageHost, tmp_path: Path, note: str) -> None:
    (tmp_path / "result.tif.part").write_bytes(b"whatever")
    (tmp_path / "result.tif.part.json").write_text(note)
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote())
    assert "range" not in host.seen[0].headers
    assert path.read_bytes() == CONTENT


async def test_without_resume_no_part_file_is_used_or_left(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [*BROKEN_OFF, *BROKEN_OFF]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path, remote())
        with pytest.raises(DownloadError) as caught:
            await download(client, tmp_path, remote(), resume=False)
    assert "range" not in host.seen[2].headers
    assert (left_in(tmp_path), caught.value.received) == ([], 0)


async def test_files_with_the_same_name_get_the_same_paths_in_each_run(host: StorageHost, tmp_path: Path) -> None:
    host.files["a2"] = StoredFile(CONTENT[::-1])
    async with host.client() as client:
        first = await download(client, tmp_path, remote("a1"), remote("a2"))
        second = await download(client, tmp_path, remote("a2"), remote("a1"))
    assert len(set(first)) == 2
    assert first == second[::-1]
    assert [path.read_bytes() for path in first] == [CONTENT, CONTENT[::-1]]


async def test_files_whose_names_differ_only_in_case_get_different_names(host: StorageHost, tmp_path: Path) -> None:
    host.files["a2"] = StoredFile(b"two", name="RESULT.tif")
    async with host.client() as client:
        paths = await download(client, tmp_path, remote("a1", key="k1"), remote("a2", key="k2"))
    assert len({path.name.casefold() for path in paths}) == 2


async def test_concurrent_downloads_to_one_directory_do_not_mix_contents(host: StorageHost, tmp_path: Path) -> None:
    host.files["a2"] = StoredFile(bytes(len(CONTENT)))
    async with host.client() as client, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(download, client, tmp_path, remote("a1"))
            group.start_soon(download, client, tmp_path, remote("a2"))
    contents = {(tmp_path / name).read_bytes() for name in left_in(tmp_path)}
    assert contents == {CONTENT, bytes(len(CONTENT))}
    assert left_in(tmp_path) in (["result-a1.tif", "result.tif"], ["result-a2.tif", "result.tif"])


@pytest.mark.parametrize(
    ("name", "header", "expected"),
    [
        ("from url.tif", 'attachment; filename="header.tif"', "from url.tif"),
        (None, 'attachment; filename="header.tif"', "header.tif"),
        (None, "attachment; filename*=UTF-8''%C3%A4.tif", "ä.tif"),
        (None, None, "key.tif"),
        ("without ending", None, "without ending.bin"),
    ],
)
async def test_the_name_is_from_the_url_then_the_header_then_the_key(
    host: StorageHost, tmp_path: Path, name: str | None, header: str | None, expected: str
) -> None:
    host.files["a1"] = StoredFile(b"x", name=name, header=header)
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote())
    assert path.name == expected


async def test_at_most_max_downloads_files_are_downloaded_at_once(host: StorageHost, tmp_path: Path) -> None:
    most = 0

    def sign(asset_id: str) -> str:
        nonlocal most
        most = max(most, int(client._session.file_slots.borrowed_tokens))
        return f"{host.storage}/bucket/{asset_id}.bin"

    host.sign = sign
    host.files = {f"a{number}": StoredFile(b"x") for number in range(12)}
    async with host.client(limits=Limits(max_downloads=3)) as client:
        await download(client, tmp_path, *(remote(name, key=name) for name in host.files))
    assert most == 3


async def test_a_large_download_does_not_block_the_event_loop(host: StorageHost, tmp_path: Path) -> None:
    host.files["a1"] = StoredFile(CONTENT * 20)
    lags: list[float] = []

    async def measure_lag() -> None:
        while True:
            started, busy = time.perf_counter(), time.thread_time()
            await anyio.sleep(0.002)
            # time that this thread worked counts; time that the machine gave to others does not
            lags.append(min(time.perf_counter() - started, time.thread_time() - busy))

    async with host.client() as client, anyio.create_task_group() as group:
        group.start_soon(measure_lag)
        await download(client, tmp_path, remote())
        group.cancel_scope.cancel()
    assert sorted(lags)[-2] < 0.02


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no symbolic links for everybody")
@pytest.mark.parametrize("name", ["result.tif", "result.tif.part", "result.tif.part.json"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
async def test_existing_links_are_not_followed(host: StorageHost, tmp_path: Path, name: str, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place = tmp_path / "place"
    place.mkdir()
    (place / name).symlink_to(victim) if kind == "symbolic" else (place / name).hardlink_to(victim)
    host.faults = [broken_after(2_000_000)]
    async with host.client() as client:
        (path,) = await download(client, place, remote())
    assert victim.read_bytes() == b"precious"
    assert not path.is_symlink()
    assert path.read_bytes() == CONTENT
