"""Archives in storage: honest ones, and ones that must not be unpacked as they are."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from random import Random

import pytest

from up42_async.sandbox import Sandbox
from up42_async.sandbox._archives import TRICKS, Trick, archive

MEMBERS = {"a/one.txt": b"one", "a/two.bin": Random(2).randbytes(100_000)}  # noqa: S311 - so that they stay as many


def in_zip(content: bytes) -> list[zipfile.ZipInfo]:
    return zipfile.ZipFile(io.BytesIO(content)).infolist()


def in_tar(content: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        return opened.getmembers()


def names(name: str, content: bytes) -> Sequence[str]:
    if name.endswith(".zip"):
        return [info.filename for info in in_zip(content)]
    return [info.name for info in in_tar(content)]


def test_an_honest_zip_can_be_read() -> None:
    with zipfile.ZipFile(io.BytesIO(archive("x.zip", MEMBERS))) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == MEMBERS


def test_an_honest_tar_can_be_read() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive("x.tgz", MEMBERS)), mode="r:gz") as opened:
        contents = {info.name: opened.extractfile(info) for info in opened}
        assert {name: content.read() for name, content in contents.items() if content is not None} == MEMBERS


@pytest.mark.parametrize("name", ["x.zip", "x.tgz"])
def test_the_same_arguments_give_the_same_bytes(name: str) -> None:
    assert archive(name, MEMBERS, "symlink") == archive(name, MEMBERS, "symlink")


@pytest.mark.parametrize("name", ["x.zip", "x.tgz"])
@pytest.mark.parametrize(
    ("trick", "odd"),
    [
        ("parent", "../../outside.txt"),
        ("absolute", "/outside.txt"),
        ("drive", "C:\\outside.txt"),
        ("backslash", "..\\..\\outside.txt"),
        ("case", "README.TXT"),
    ],
)
def test_a_member_has_an_odd_name(name: str, trick: Trick, odd: str) -> None:
    assert names(name, archive(name, {}, trick)) == ["readme.txt", odd]


@pytest.mark.parametrize("name", ["x.zip", "x.tgz"])
def test_members_come_twice_deep_or_in_crowds(name: str) -> None:
    assert names(name, archive(name, {}, "duplicate")) == ["readme.txt", "readme.txt"]
    assert names(name, archive(name, {}, "deep"))[-1].count("/") == 100
    assert len(names(name, archive(name, {}, "many"))) == 11_001


@pytest.mark.parametrize("trick", ["symlink", "hardlink", "device"])
def test_a_member_is_no_file(trick: Trick) -> None:
    odd = in_tar(archive("x.tgz", {}, trick))[-1]
    assert not odd.isfile()
    assert odd.linkname == "/etc/passwd"
    assert stat.S_IFMT(in_zip(archive("x.zip", {}, trick))[-1].external_attr >> 16) != stat.S_IFREG


def test_a_member_says_that_it_has_a_tebibyte() -> None:
    assert in_zip(archive("x.zip", {}, "huge"))[-1].file_size == 1 << 40
    with tarfile.open(fileobj=io.BytesIO(archive("x.tgz", {}, "huge")), mode="r:gz") as opened:
        assert [info.size for info in (opened.next(), opened.next()) if info is not None] == [6, 1 << 40]


def test_a_member_is_encrypted() -> None:
    with (
        zipfile.ZipFile(io.BytesIO(archive("x.zip", {}, "encrypted"))) as opened,
        pytest.raises(RuntimeError, match="encrypted"),
    ):
        opened.read("readme.txt")


@pytest.mark.parametrize("name", ["x.zip", "x.tgz"])
@pytest.mark.parametrize(
    ("trick", "odd"),
    [
        ("hidden", ["product/.index.json"]),
        ("colon", ["product/2024-05-01T10:00:00Z.tif"]),
        ("control", ["product/bell\x07.tif", "product/right\u202eleft.tif"]),
        ("trailing-dot", ["product/image.tif.", "product/space "]),
        ("device-name", ["product/NUL.tif"]),
        ("clash", ["readme.txt/inside.txt"]),
    ],
)
def test_a_name_is_not_for_every_system(name: str, trick: Trick, odd: list[str]) -> None:
    assert names(name, archive(name, {}, trick)) == ["readme.txt", *odd]


@pytest.mark.parametrize("name", ["x.zip", "x.tgz"])
def test_long_names_differ_at_their_end(name: str) -> None:
    one, other = names(name, archive(name, {}, "long"))[1:]
    assert one[:150] == other[:150]
    assert one != other


@pytest.mark.parametrize("name", ["x.zip", "x.tgz"])
def test_a_member_inflates_a_thousandfold(name: str) -> None:
    content = archive(name, {}, "bomb")
    size = in_zip(content)[-1].file_size if name == "x.zip" else in_tar(content)[-1].size
    assert size == 64 << 20 > 100 * len(content)


def test_headers_take_eight_mebibytes() -> None:
    packed = archive("x.tgz", {}, "headers")
    assert len(gzip.decompress(packed)) > 8 << 20 > 20 * len(packed)
    assert len(in_tar(packed)[0].pax_headers["comment"]) == 8 << 20
    assert sum(len(info.comment) for info in in_zip(archive("x.zip", {}, "headers"))) > 8_000_000


def test_a_header_is_damaged() -> None:
    with pytest.raises(UnicodeDecodeError):
        in_zip(archive("x.zip", {}, "damaged"))
    with pytest.raises(ValueError, match="invalid literal"):
        in_tar(archive("x.tgz", {}, "damaged"))


def test_a_checksum_is_wrong() -> None:
    assert zipfile.ZipFile(io.BytesIO(archive("x.zip", {}, "checksum"))).testzip() == "readme.txt"
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        gzip.decompress(archive("x.tgz", MEMBERS, "checksum"))


def test_the_whole_is_cut_in_half() -> None:
    with pytest.raises(zipfile.BadZipFile):
        in_zip(archive("x.zip", MEMBERS, "cut"))
    with pytest.raises((EOFError, tarfile.ReadError)):
        in_tar(archive("x.tgz", MEMBERS, "cut"))


@pytest.mark.parametrize(("name", "trick"), [("x.tgz", "encrypted"), ("x.zip", "magic")])
def test_a_trick_that_cannot_be_done_is_refused(name: str, trick: Trick) -> None:
    with pytest.raises(ValueError, match=f"{trick!r}; there are parent, absolute"):
        archive(name, {}, trick)


@pytest.mark.parametrize("trick", [None, *TRICKS])
def test_every_archive_can_be_put_into_storage(trick: Trick | None) -> None:
    sandbox = Sandbox()
    stored = sandbox.stored_file(sandbox.add_archive("odd.zip", trick=trick))
    assert (stored.name, stored.media_type) == ("odd.zip", "application/zip")
    assert b"".join(stored.pieces())[:2] == b"PK"


def test_a_delivery_has_a_picture_and_a_text() -> None:
    sandbox = Sandbox()
    stored = sandbox.stored_file(sandbox.add_archive("delivery.tgz"))
    assert stored.media_type == "application/gzip"
    assert names("x.tgz", b"".join(stored.pieces())) == ["delivery/image.tif", "delivery/readme.txt"]


def test_an_archive_has_the_members_it_is_given() -> None:
    sandbox = Sandbox()
    stored = sandbox.stored_file(sandbox.add_archive("x.zip", members={"a.txt": b"a"}))
    assert names("x.zip", b"".join(stored.pieces())) == ["a.txt"]
