"""How the Content-Encoding of a file is decoded: in bounded chunks, and completely or not at all."""

import gzip
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.downloads.fetching import download, left_in, remote
from tests.storage_host import Fault, StorageHost, StoredFile, announced, broken_after
from up42_async import RetryPolicy
from up42_async._downloads.content_codings import PIECE, Decoder
from up42_async._downloads.download import DownloadError
from up42_async._downloads.writer import read_head
from up42_async._errors import UnexpectedResponseError

CONTENT = b'{"type": "FeatureCollection", "features": []}' * 5000


def raw_deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


CODED = {
    "gzip": gzip.compress(CONTENT),
    "X-GZip": gzip.compress(CONTENT),
    "deflate": zlib.compress(CONTENT),
    "Deflate": raw_deflate(CONTENT),
    "gzip, gzip": gzip.compress(gzip.compress(CONTENT)),
    "deflate, gzip": gzip.compress(zlib.compress(CONTENT)),
    "aws-chunked, gzip": gzip.compress(CONTENT),
    "utf-8": CONTENT,
    "none": CONTENT,
    "aws-chunked": CONTENT,
    "identity": CONTENT,
    "": CONTENT,
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


@pytest.mark.parametrize("coding", CODED)
async def test_a_file_is_decoded_as_its_content_encoding_says(host: StorageHost, place: Path, coding: str) -> None:
    host.files["a1"] = StoredFile(CODED[coding], name="trees.geojson")
    host.faults = [announced(Content_Encoding=coding)]
    async with host.client() as client:
        (path,) = await download(client, place, remote(size=len(CONTENT)))
    assert path.read_bytes() == CONTENT


async def test_an_encoded_file_is_not_downloaded_twice_and_never_resumed(host: StorageHost, place: Path) -> None:
    host.files["a1"] = StoredFile(CODED["gzip"], name="trees.geojson")
    coded = announced(Content_Encoding="gzip")

    def broken(exchange: object) -> None:
        exchange.head(Content_Encoding="gzip")  # type: ignore[attr-defined]
        exchange.wfile.write(CODED["gzip"][:100])  # type: ignore[attr-defined]
        exchange.drop()  # type: ignore[attr-defined]

    host.faults = [broken, coded, coded]
    async with host.client() as client:
        (path,) = await download(client, place, remote(size=len(CONTENT)))
        inode = path.stat().st_ino
        await download(client, place, remote(size=len(CONTENT)))
    assert path.stat().st_ino == inode
    assert path.read_bytes() == CONTENT
    assert not any("range" in request.headers for request in host.seen)


async def test_the_known_size_may_be_that_of_the_encoded_file(host: StorageHost, place: Path) -> None:
    host.files["a1"] = StoredFile(CODED["gzip"], name="trees.geojson")
    host.faults = [announced(Content_Encoding="gzip")]
    async with host.client() as client:
        (path,) = await download(client, place, remote(size=len(CODED["gzip"])))
    assert path.read_bytes() == CONTENT


async def test_a_tar_gz_with_content_encoding_gzip_is_not_decoded(host: StorageHost, place: Path) -> None:
    host.files["a1"] = StoredFile(CODED["gzip"], name="trees.tar.gz")
    host.faults = [announced(Content_Encoding="gzip")]
    async with host.client() as client:
        (path,) = await download(client, place, remote())
    assert path.read_bytes() == CODED["gzip"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_an_empty_body_is_empty_in_any_encoding(host: StorageHost, place: Path, coding: str) -> None:
    host.files["a1"] = StoredFile(b"", name="empty.json")
    host.faults = [announced(Content_Encoding=coding)]
    async with host.client(retry=RetryPolicy(attempts=1)) as client:
        (path,) = await download(client, place, remote(size=0))
    assert path.read_bytes() == b""


FAULTY: dict[str, tuple[bytes, str, str]] = {
    "cut off": (CODED["gzip"][:-20], "gzip", "broke off inside its Content-Encoding"),
    "no gzip": (CONTENT, "gzip", "Content-Encoding is broken"),
    "no deflate": (b"\xff" * 500, "deflate", "Content-Encoding is broken"),
    "wrong sum": (CODED["gzip"][:-8] + bytes(8), "gzip", "Content-Encoding is broken"),
    "more behind it": (CODED["gzip"] + b"more", "gzip", "Content-Encoding is broken"),
    "more behind deflate": (CODED["deflate"] + b"more", "deflate", "bytes follow the end"),
    "unknown": (CONTENT, "br", "'br', which is not known; gzip and deflate are"),
    "four times": (CONTENT, "gzip, gzip, gzip, gzip", "which is not known"),
}


@pytest.mark.parametrize("name", FAULTY)
async def test_a_broken_or_unknown_encoding_leaves_no_file(host: StorageHost, place: Path, name: str) -> None:
    content, coding, message = FAULTY[name]
    host.files["a1"] = StoredFile(content, name="trees.geojson")
    fault: Fault = announced(Content_Encoding=coding)
    host.faults = [fault] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError, match=message):
            await download(client, place, remote())
    assert left_in(place) == []


async def test_a_decompression_bomb_is_refused_at_the_known_size(host: StorageHost, place: Path) -> None:
    host.files["a1"] = StoredFile(gzip.compress(bytes(200 * PIECE)), name="bomb.tif")
    host.faults = [announced(Content_Encoding="gzip")] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError, match="more bytes were received than announced"):
            await download(client, place, remote(size=1000))
    assert left_in(place) == []


async def test_the_rest_of_a_file_in_another_encoding_starts_the_download_again(host: StorageHost, place: Path) -> None:
    host.files["a1"] = StoredFile(CODED["gzip"], name="trees.geojson")
    coded = announced(Content_Encoding="gzip")
    host.faults = [broken_after(100), coded, coded]
    async with host.client() as client:
        (path,) = await download(client, place, remote())
    assert path.read_bytes() == CONTENT
    assert [("range" in request.headers) for request in host.seen] == [False, True, False]


@given(st.binary(max_size=3000), st.sampled_from([("gzip",), ("deflate",), ("gzip", "deflate")]), st.integers(1, 50))
def test_any_content_is_decoded_whatever_the_chunk_size(content: bytes, codings: tuple[str, ...], size: int) -> None:
    coded = content
    for coding in codings:
        coded = gzip.compress(coded) if coding == "gzip" else zlib.compress(coded)
    decoder = Decoder(codings)
    pieces = [piece for at in range(0, len(coded), size) for piece in decoder.feed(coded[at : at + size])]
    decoder.finish()
    assert b"".join(pieces) == content


def test_several_gzip_members_and_padding_are_one_file() -> None:
    decoder = Decoder(("gzip",))
    data = gzip.compress(b"one") + gzip.compress(b"two") + bytes(20)
    assert b"".join(decoder.feed(data)) == b"onetwo"
    decoder.finish()


def test_decoded_chunks_are_bounded_in_size() -> None:
    sizes = [len(piece) for piece in Decoder(("gzip", "gzip")).feed(gzip.compress(gzip.compress(bytes(50 * PIECE))))]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 50 * PIECE


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_a_transient_error(data: bytes) -> None:
    decoder = Decoder(("deflate", "gzip"))
    try:
        for _ in decoder.feed(data):
            pass
        decoder.finish()
    except UnexpectedResponseError as error:
        assert error.transient


def test_values_that_are_not_encodings_are_ignored() -> None:
    head = read_head(200, {"content-encoding": "UTF-8, aws-chunked, GZIP,, none"})
    assert head.codings == ("gzip",)
