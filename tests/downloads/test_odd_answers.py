"""Odd responses and odd archives: a file is complete, or an error of the library is raised.

Valid responses and valid archives are mutated at random, from the same seeds in each run.
"""

import gzip
import io
import random
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.downloads.fetching import download, left_in, remote
from tests.downloads.packing import packed
from tests.storage_host import Exchange, Fault, StorageHost, StoredFile
from up42_async import DownloadError, RetryPolicy, Timeouts
from up42_async._downloads.archives import BadArchiveError, unpack

CONTENT = b'{"type": "FeatureCollection", "features": []}' * 200
MEMBERS = {"one.tif": b"1" * 5000, "deep/er/two.json": CONTENT, "\u00e9.txt": b"", "three.tif": bytes(range(256)) * 4}

HEADERS = {
    "Content-Length": ["-1", "0", "1", "99999999999999999999", "1e3", "0x10", "\u0663".encode().decode("latin-1"), ""],
    "Content-Encoding": ["gzip", "br", "gzip, gzip", "utf-8", "deflate", ",,", "x" * 500],
    "Content-Range": ["bytes 0-1/2", "bytes 5-4/3", "bytes */9", "items 1-2/3", "bytes 0-99999999999999999999/1"],
    "Content-Type": ["text/html", "\xff\xfe", "multipart/byteranges; boundary=x", ";;;"],
    "Content-Disposition": [
        "attachment; filename*=undefined''x",
        "attachment; filename*0=a; filename*=b",
        'attachment; filename="../../../evil"',
        "attachment; filename=" + "x" * 3000,
        "=?utf-8?q?=00?=",
    ],
    "ETag": ['W/"x"', "x", '"' + "y" * 2000 + '"', '"\xe9"'],
    "Last-Modified": ["Mon, 01 Jan 9999 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "yesterday", "0"],
    "Transfer-Encoding": ["chunked", "gzip", "identity", "chunked, chunked"],
    "Location": ["/bucket/a1.bin", "http://[", "//evil.test/x", "\x01", "https://127.0.0.1:1/x"],
    "Retry-After": ["-5", "inf", "1e400", "\u0663".encode().decode("latin-1")],
}
STATUSES = [200, 200, 200, 206, 204, 205, 299, 301, 304, 307, 400, 416, 429, 500, 600, 999]


def odd_answer(dice: random.Random) -> bytes:
    """Return a response with a file, odd in a few ways."""
    headers = {
        "Content-Length": str(len(CONTENT)),
        "Content-Type": "application/json",
        "ETag": '"e"',
        "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT",
    }
    for name in dice.sample(sorted(HEADERS), dice.randint(0, 3)):
        headers[name] = dice.choice(HEADERS[name])
    lines = [f"HTTP/1.1 {dice.choice(STATUSES)} X", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    body = dice.choice([CONTENT, gzip.compress(CONTENT), CONTENT[:100], CONTENT * 3, b"", b"5\r\nabcde\r\n0\r\n\r\n"])
    return mutated(head + body, dice) if dice.random() < 0.4 else head + body


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Change, remove, repeat or add a few bytes."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(changed) + 1)
        size = dice.choice([1, 1, 2, 4, 8, 100])
        match dice.randrange(4):
            case 0:
                changed[at : at + size] = dice.randbytes(size)
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[max(0, at - size) : at]
            case _:
                changed[at : at + 1] = dice.choice([b"\x00", b"\xff", b"\x7f", b"\x80"])
    return bytes(changed)


def answering(data: bytes) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.wfile.write(data)
        exchange.close_connection = True

    return fault


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
async def test_an_odd_response_gives_the_file_or_a_download_error(host: StorageHost, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same in every run
    name = dice.choice([None, "trees.json", "order.zip", "order.tgz"])
    host.files["a1"] = StoredFile(CONTENT, name=name)
    host.faults = [answering(odd_answer(dice)) for _ in range(30)]
    size = dice.choice([None, len(CONTENT)])
    two_tries = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.002, timeout=1.0)
    async with host.client(retry=two_tries, timeouts=Timeouts(read=0.3, connect=0.5)) as client:
        with anyio.fail_after(20):
            for _ in range(3):
                try:
                    paths = await download(client, tmp_path / "x", remote(size=size, media_type="application/json"))
                except DownloadError:
                    continue
                assert all(path.parent == tmp_path / "x" for path in paths)
                assert size is None or paths[0].stat().st_size in {len(CONTENT), size}
    assert left_in(tmp_path) in ([], ["x"])


async def test_odd_archives_do_not_stop_the_others(host: StorageHost, tmp_path: Path) -> None:
    dice = random.Random(7)  # noqa: S311 - the same in every run
    good = packed(tmp_path / "good.zip", MEMBERS).read_bytes()
    for number in range(30):
        host.files[f"a{number}"] = StoredFile(mutated(good, dice) if number % 3 == 0 else good, name=f"{number}.zip")
    files = [remote(name, key=name) for name in host.files]
    async with host.client() as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path / "x", *files, unpack=True)
    for number in range(30):
        if number % 3:
            assert (tmp_path / "x" / f"{number}" / "one.tif").read_bytes() == MEMBERS["one.tif"]
    assert not [name for name in left_in(tmp_path / "x") if name.endswith(".part")]


def odd_tar(dice: random.Random) -> bytes:
    """Return a tar whose members are odd in ways that random bytes rarely produce."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=dice.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as archive:
        for name, content in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type = dice.choice([tarfile.REGTYPE] * 9 + [tarfile.SYMTYPE, tarfile.DIRTYPE, b"S", b"x", b"L", b"V"])
            info.pax_headers = dice.choice(
                [{}, {}, {"path": "x" * 300}, {"size": "-1"}, {"mtime": "nan"}, {"GNU.sparse.map": "0,1,x"}]
            )
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def odd_archive(dice: random.Random, path: Path) -> None:
    """Write an archive that is odd in a few ways, some of them inside the compressed data."""
    if path.suffix == ".zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", dice.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name, content in MEMBERS.items():
                archive.writestr(name, content)
        flipped = bytearray(out.getvalue())
        flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
        path.write_bytes(bytes(flipped) if dice.random() < 0.5 else mutated(out.getvalue(), dice))
        return
    data = odd_tar(dice)
    data = mutated(data, dice) if dice.random() < 0.7 else data
    data = gzip.compress(data) if path.suffix == ".tgz" else data
    path.write_bytes(mutated(data, dice) if dice.random() < 0.3 else data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
async def test_an_odd_archive_is_unpacked_or_refused_in_bounded_memory_and_time(tmp_path: Path, kind: str) -> None:
    dice = random.Random(kind)  # noqa: S311 - the same in every run
    archive, folder = tmp_path / f"a.{kind}", tmp_path / "a"
    outcomes = dict.fromkeys(("unpacked", "refused"), 0)
    tracemalloc.start()
    started = time.process_time()
    for _ in range(150):
        odd_archive(dice, archive)
        folder.mkdir(exist_ok=True)
        try:
            paths, _ = await anyio.to_thread.run_sync(unpack, archive, folder)
        except (BadArchiveError, OSError):
            outcomes["refused"] += 1
        else:
            outcomes["unpacked"] += 1
            assert all(path.resolve().is_relative_to(folder.resolve()) for path in paths)
        assert left_in(tmp_path) == sorted([archive.name, "a"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 2**20
    assert time.process_time() - started < 30
    assert min(outcomes.values()) > 2
