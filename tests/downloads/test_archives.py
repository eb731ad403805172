"""Archives are unpacked completely or not at all, and only into the directory beside them."""

import errno
import functools
import io
import os
import shutil
import stat
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.downloads.fetching import download
from tests.downloads.packing import packed, tarred, zipped
from tests.storage_host import StorageHost, StoredFile
from up42_async._downloads import archives
from up42_async._downloads.archives import BadArchiveError, folder_name, is_archive, unpack
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.download import DownloadError
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.signed_urls import RemoteFile


async def unpacked(path: Path) -> list[Path]:
    folder = path.parent / folder_name(path)
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        paths, _ = await anyio.to_thread.run_sync(unpack, path, folder)
    finally:
        if made and not list(folder.iterdir()):
            folder.rmdir()
    return paths


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def everything_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.fixture(params=["a.zip", "a.tgz", "a.tar.gz", "a.tar", "A.ZIP"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


async def test_an_archive_is_unpacked_beside_itself(archive: Path) -> None:
    members = {"one.tif": b"1", "deep/er/two.json": b"2", "empty": b""}
    paths = await unpacked(packed(archive, members))
    assert {path.relative_to(archive.parent / archive.name[0]).as_posix() for path in paths} == set(members)
    assert tree(archive.parent / archive.name[0]) == members
    assert {path.name for path in archive.parent.iterdir()} == {archive.name, archive.name[0]}


async def test_unpacking_again_replaces_members_and_keeps_other_files(archive: Path) -> None:
    (archive.parent / archive.name[0]).mkdir()
    (archive.parent / archive.name[0] / "mine").write_bytes(b"mine")
    await unpacked(packed(archive, {"one": b"old"}))
    await unpacked(packed(archive, {"one": b"new"}))
    assert tree(archive.parent / archive.name[0]) == {"one": b"new", "mine": b"mine"}


OUTSIDE = [
    "../evil",
    "a/../../evil",
    "/etc/evil",
    "..\\evil",
    "C:\\evil",
    "C:/evil",
    "a/..",
    "..",
    "/",
    "a/" * 20 + "x",
]


@pytest.mark.parametrize("name", OUTSIDE)
async def test_members_outside_the_directory_are_refused_and_nothing_is_unpacked(archive: Path, name: str) -> None:
    packed(archive, {"good": b"1", name.rstrip("/") or "//x": b"evil"})
    before = everything_in(archive.parent.parent)
    with pytest.raises(BadArchiveError):
        await unpacked(archive)
    assert everything_in(archive.parent.parent) == before


def link(kind: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("evil")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)

    return make


def linked_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("evil")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")


def small_disk(_: Path) -> Any:
    return SimpleNamespace(free=100)


def no_archive(path: Path) -> None:
    path.write_bytes(b"no archive")


def zip_with_a_name_twice(path: Path) -> None:
    zipped(path, {"one": b"1", "two": b"2"})
    path.write_bytes(path.read_bytes().replace(b"two", b"one"))


def encrypted_zip(path: Path) -> None:
    zipped(path, {"secret": b"1"})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(mark) + offset] |= 1
    path.write_bytes(content)


def damaged_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("one", b"content")
    path.write_bytes(path.read_bytes().replace(b"content", b"damaged", 1))


def truncated_tar(path: Path) -> None:
    tarred(path, {"one": os.urandom(100_000)})
    path.write_bytes(path.read_bytes()[:50_000])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.tgz", link(tarfile.SYMTYPE), "is a link"),
        ("a.tgz", link(tarfile.LNKTYPE), "is a link"),
        ("a.tgz", link(tarfile.CHRTYPE), "is a link"),
        ("a.tgz", link(tarfile.FIFOTYPE), "is a link"),
        ("a.zip", linked_zip, "is a link"),
        ("a.zip", encrypted_zip, "encrypted"),
        ("a.zip", damaged_zip, "broken"),
        ("a.tgz", truncated_tar, "broken"),
        ("a.zip", no_archive, "broken"),
        ("a.tgz", no_archive, "broken"),
        ("a.zip", zip_with_a_name_twice, "two members called"),
    ],
)
async def test_invalid_archives_are_refused_and_leave_nothing(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(BadArchiveError, match=message):
        await unpacked(tmp_path / name)
    assert names_in(tmp_path) == [name]


async def test_too_many_members_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    packed(archive, {str(number): b"" for number in range(4)})
    with pytest.raises(BadArchiveError, match="more than 3 members"):
        await unpacked(archive)
    assert names_in(archive.parent) == [archive.name]


async def test_too_many_bytes_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    packed(archive, {"one": bytes(600), "two": bytes(600)})
    with pytest.raises(BadArchiveError, match="no room"):
        await unpacked(archive)
    assert names_in(archive.parent) == [archive.name]


async def test_an_archive_larger_than_the_free_disk_space_is_refused(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", small_disk)
    packed(archive, {"one": bytes(101)})
    with pytest.raises(BadArchiveError, match="no room"):
        await unpacked(archive)


async def test_an_error_of_the_disk_is_raised_unchanged(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    packed(archive, {"one": b"1"})
    with pytest.raises(OSError, match="No space left"):
        await unpacked(archive)
    assert names_in(archive.parent) == [archive.name]


async def test_a_member_larger_than_its_stated_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_size(_: Path) -> Generator[Any]:
        yield archives._Member(name="bomb", size=1, content=io.BytesIO(bytes(5000)))

    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    monkeypatch.setattr(archives, "_zip_members", wrong_size)
    zipped(tmp_path / "a.zip", {})
    with pytest.raises(BadArchiveError, match="larger than there is room for"):
        await unpacked(tmp_path / "a.zip")
    assert names_in(tmp_path) == ["a.zip"]


async def test_directories_count_as_members(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    packed(archive, {"one": b"1", "two": b"2"})  # and one directory
    with pytest.raises(BadArchiveError, match="more than 2 members"):
        await unpacked(archive)


def tar_of_headers(path: Path, size: int) -> None:
    """Make a small compressed tar whose one member has a header of this size."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("one")
        info.pax_headers = {"comment": "x" * size}
        archive.addfile(info)


async def test_headers_of_members_count_toward_the_limits(tmp_path: Path) -> None:
    tar_of_headers(tmp_path / "a.tgz", 50 * 2**20)
    tracemalloc.start()
    with pytest.raises(BadArchiveError, match="its headers are too large"):
        await unpacked(tmp_path / "a.tgz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a.tgz").stat().st_size < 100_000
    assert peak < 10 * 2**20
    assert names_in(tmp_path) == ["a.tgz"]


async def test_large_members_do_not_count_towards_the_limit_of_headers(archive: Path) -> None:
    members = {f"{number}.tif": bytes(400_000) for number in range(20)}
    await unpacked(packed(archive, members))
    assert tree(archive.parent / archive.name[0]) == members


async def test_a_central_directory_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_AT_ONCE", 70_000)
    zipped(tmp_path / "a.zip", {f"{number:0200}": b"" for number in range(500)})
    with pytest.raises(BadArchiveError, match="its table of contents is too large"):
        await unpacked(tmp_path / "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
async def test_compression_methods_without_bounded_memory_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("bomb", bytes(20 * 2**20))
    tracemalloc.start()
    with pytest.raises(BadArchiveError, match="'bomb' is neither stored nor deflated"):
        await unpacked(tmp_path / "a.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2**20


def sparse(path: Path) -> None:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(10**12), "GNU.sparse.name": "y"}
        archive.addfile(info)


async def test_sparse_members_are_refused(tmp_path: Path) -> None:
    sparse(tmp_path / "a.tgz")
    with pytest.raises(BadArchiveError, match="sparse file"):
        await unpacked(tmp_path / "a.tgz")


KEPT = [
    "product/.index.json",
    "product/2024-05-01T10:00:00Z.tif",
    f"product/IMG_{'x' * 150}_R1C1.tif",
    f"product/IMG_{'x' * 150}_R1C2.tif",
    "product/B02.tif",
    "product/b02.tif",
    "CON/nul.tif",
    "a name with \u4e2d\u6587, \u00e4 and a nbsp\u00a0",
    "ends with a dot.",
    "result.tif.part",
]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot hold these names")
async def test_members_keep_the_names_that_this_system_can_hold(archive: Path) -> None:
    await unpacked(packed(archive, dict.fromkeys(KEPT, b"1")))
    assert tree(archive.parent / archive.name[0]).keys() == set(KEPT)


@pytest.mark.parametrize("name", ["./one.tif", "a//one.tif", "a/./one.tif", "a\\one.tif"])
async def test_equivalent_paths_are_not_reported_as_renamed(archive: Path, name: str) -> None:
    packed(archive, {name: b"1"})
    (archive.parent / "place").mkdir()
    (path,), renamed = await anyio.to_thread.run_sync(unpack, archive, archive.parent / "place")
    assert path.relative_to(archive.parent / "place").as_posix() in {"one.tif", "a/one.tif"}
    assert renamed == {}


CHANGED = {
    "x" * 300 + ".tif": "too long for a file system",
    "y" * 300 + "/one.tif": "the same of a directory",
    "evil\u202efit.tif": "reads as another name in listings",
    "bell\x07.tif": "rings",
    ".up42.json": "would be taken for a record",
}


@pytest.mark.parametrize("name", CHANGED, ids=CHANGED.values())
async def test_a_renamed_member_is_logged_with_both_names(
    host: StorageHost, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    content = tarred(tmp_path / "made.tar", {name: b"1", "other.tif": b"2"}).read_bytes()
    host.files["a1"] = StoredFile(content, name="order.tar")
    async with host.client() as client:
        paths = await download(client, tmp_path / "x", unpack=True)
    assert [path.read_bytes() for path in paths] == [b"1", b"2"]
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    changed = paths[0].relative_to(tmp_path / "x" / "order").as_posix()
    assert repr(changed) in record.getMessage()
    assert repr(name) in record.getMessage()
    assert changed != name


async def test_a_symbolic_link_in_the_directory_is_not_followed(archive: Path) -> None:
    outside = archive.parent / "outside"
    outside.mkdir()
    (archive.parent / archive.name[0]).mkdir()
    (archive.parent / archive.name[0] / "sub").symlink_to(outside)
    packed(archive, {"sub/evil": b"1"})
    with pytest.raises(BadArchiveError, match="is a symbolic link"):
        await unpacked(archive)
    assert list(outside.iterdir()) == []


@functools.cache
def large(kind: str) -> bytes:
    """Return an archive that takes long to unpack; it is made once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        content = os.urandom(50_000_000) if kind == ".tar" else bytes(300_000_000)
        return packed(Path(folder, f"a{kind}"), {"one": content}).read_bytes()


@pytest.fixture
def large_archive(archive: Path) -> Path:
    archive.write_bytes(large(archive.suffix.lower()))
    return archive


@pytest.mark.slow
async def test_unpacking_can_be_cancelled_and_leaves_nothing(large_archive: Path) -> None:
    with anyio.move_on_after(0.02) as scope:
        await unpacked(large_archive)
    assert scope.cancelled_caught
    assert names_in(large_archive.parent) == [large_archive.name]


@pytest.mark.parametrize("name", ["a.zip", "b.TGZ", "c.tar.gz", "d.tar"])
def test_archives_are_recognized_by_their_extension(name: str) -> None:
    assert is_archive(Path(name))
    assert folder_name(Path("x") / name) == name[0]


def test_an_archive_named_only_by_its_extension_gets_a_default_directory() -> None:
    assert folder_name(Path("x/.zip")) == "archive"


@pytest.mark.parametrize("name", ["a.tif", "zip", "a.zip.tif", "a.gz"])
def test_other_extensions_are_not_archives(name: str) -> None:
    assert not is_archive(Path(name))


async def test_a_download_unpacks_archives_on_request_only(host: StorageHost, tmp_path: Path) -> None:
    content = zipped(tmp_path / "made.zip", {"one.tif": b"1", "two.tif": b"2"}).read_bytes()
    host.files = {"a1": StoredFile(content, name="got.zip"), "a2": StoredFile(b"3", name="three.tif")}
    files = [RemoteFile(href=f"/v2/assets/{name}", key=name) for name in host.files]
    async with host.client() as client:
        packed_paths = await fetch_all(Downloads(client, tmp_path / "x", DownloadOptions()), files)
        paths = await fetch_all(Downloads(client, tmp_path / "x", DownloadOptions(unpack=True)), files)
    assert [path.name for path in packed_paths] == ["got.zip", "three.tif"]
    assert [path.relative_to(tmp_path / "x").as_posix() for path in paths] == [
        "got/one.tif",
        "got/two.tif",
        "three.tif",
    ]


async def test_an_archive_that_cannot_be_unpacked_is_kept_and_named_in_the_error(
    host: StorageHost, tmp_path: Path
) -> None:
    host.files["a1"] = StoredFile(b"no archive", name="got.zip")
    async with host.client() as client:
        with pytest.raises(DownloadError, match=r"got\.zip was downloaded but .*: it is broken") as caught:
            await download(client, tmp_path, unpack=True)
    assert caught.value.path == tmp_path / "got.zip"
    assert (tmp_path / "got.zip").read_bytes() == b"no archive"
