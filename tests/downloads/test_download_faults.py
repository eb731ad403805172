"""Downloads with faults: a file is complete or absent, and an older file stays unchanged."""

import asyncio
import contextlib
import copy
import errno
import hashlib
import os
import pickle
import random
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.downloads.fetching import download, left_in, remote
from tests.storage_host import (
    Exchange,
    Fault,
    StorageHost,
    StoredFile,
    announced,
    broken_after,
    refused,
    whole,
)
from up42_async import NotFoundError, RetryPolicy, Timeouts, UnexpectedResponseError, UntrustedURLError
from up42_async._downloads.download import DownloadError, DownloadErrorGroup
from up42_async._downloads.signed_urls import RemoteFile, check_signed_url, signed_url_request
from up42_async._http.requests import ApiRequest, Secret

CONTENT = random.Random(3).randbytes(3 * 2**20 + 12345)  # noqa: S311 - the same in every run
SHA256 = f"1220{hashlib.sha256(CONTENT).hexdigest()}"
ONE_ATTEMPT = RetryPolicy(attempts=1)
OLD = b"the old copy"


@pytest.fixture(autouse=True)
def _file(host: StorageHost) -> None:
    host.files["a1"] = StoredFile(CONTENT)


async def download_older_version(host: StorageHost, directory: Path) -> None:
    """Download an older version of the file."""
    current, faults = host.files["a1"], host.faults
    host.files["a1"], host.faults = StoredFile(OLD), []
    async with host.client() as client:
        await download(client, directory)
    host.files["a1"], host.faults = current, faults


def reset_after(count: int) -> Fault:
    """Send this number of bytes, then reset the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.head()
        exchange.wfile.write(exchange.rest[:count])
        exchange.connection.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of no time: close() resets
        exchange.connection.close()

    return fault


def silent_after(count: int) -> Fault:
    """Send this number of bytes, then nothing until the client closes the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.head()
        exchange.wfile.write(exchange.rest[:count])
        exchange.wfile.flush()
        exchange.connection.settimeout(5)
        exchange.rfile.read(1)

    return fault


def without_range(exchange: Exchange) -> None:
    """Send the whole file, whatever range was requested."""
    exchange.start = 0
    whole(exchange)


TRANSIENT_FAULTS: dict[str, list[Fault | None]] = {
    "broken before the head": [Exchange.drop],
    "broken at the first byte": [broken_after(0)],
    "broken in the middle": [broken_after(1_500_000)],
    "broken again and again": [broken_after(1_100_000), broken_after(1_100_000), broken_after(500_000)],
    "reset": [reset_after(1_500_000)],
    "silent": [silent_after(1_500_000)],
    "expired": [refused(403)],
    "expired in the middle": [broken_after(1_500_000), refused(403), refused(400)],
    "overloaded": [refused(503), refused(429, Retry_After="0")],
    "gone for a moment": [refused(404)],
    "range refused": [broken_after(1_500_000), refused(416)],
    "range ignored": [broken_after(1_500_000), without_range],
    "another range": [broken_after(1_500_000), announced(Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")],
    "a part of a part": [broken_after(1_500_000), announced(Content_Range=f"bytes 1500000-1600000/{len(CONTENT)}")],
    "no range": [broken_after(1_500_000), announced(Content_Range=None)],
    "another version": [broken_after(1_500_000), announced(ETag='"another"')],
    "no version": [broken_after(1_500_000), announced(ETag=None)],
    "a weak version": [announced(ETag='W/"weak"')],
}


@pytest.mark.parametrize("name", TRANSIENT_FAULTS)
async def test_a_download_succeeds_after_transient_faults(host: StorageHost, tmp_path: Path, name: str) -> None:
    host.faults = [*TRANSIENT_FAULTS[name]]
    async with host.client(timeouts=Timeouts(read=0.3)) as client:
        (path,) = await download(client, tmp_path, remote(checksum=SHA256))
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["result.tif"]
    assert host.minted == len(host.seen)


def another_version(content: bytes, headers: dict[str, str | None]) -> Fault:
    """Send the requested range of another version, and ignore If-Range."""

    def fault(exchange: Exchange) -> None:
        exchange.host.files["a1"] = exchange.file = StoredFile(content)
        exchange.start = int(exchange.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        announced(None, **headers)(exchange)

    return fault


@pytest.mark.parametrize("headers", [{}, {"ETag": None}], ids=["another ETag", "no ETag"])
async def test_versions_of_a_file_that_differ_only_in_their_etag_are_never_mixed(
    host: StorageHost, tmp_path: Path, headers: dict[str, str | None]
) -> None:
    host.faults = [broken_after(1_500_000), another_version(CONTENT[::-1], headers)]
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == CONTENT[::-1]


async def test_a_range_that_was_not_requested_is_not_written(host: StorageHost, tmp_path: Path) -> None:
    total = len(CONTENT)

    def later(exchange: Exchange) -> None:
        exchange.start -= 1000
        announced(Content_Range=f"bytes {exchange.start}-{total - 1}/{total}")(exchange)

    host.faults = [broken_after(1_500_000), later]
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == CONTENT


async def test_a_shorter_version_keeps_no_bytes_of_a_longer_one(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [broken_after(2_000_000), refused(503)]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path)
        host.files["a1"] = StoredFile(b"short")
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == b"short"


PERMANENT_FAULTS: dict[str, tuple[Fault, str]] = {
    "broken": (broken_after(0), "connection broke"),
    "silent": (silent_after(10), "no answer in time"),
    "expired": (refused(403), "status 403: the signed URL has expired, or the file is gone"),
    "forbidden method": (refused(405), "status 405"),
    "overloaded": (refused(503), "status 503"),
    "asks for a year": (refused(429, Retry_After="31536000"), "status 429"),
    "redirects to a way without TLS": (refused(302, Location="http://elsewhere.example/x?canary"), "not over https"),
    "redirects nowhere": (refused(302), "without a signed URL that can be read"),
    "redirects to what is no URL": (refused(302, Location="http://[canary"), "without a signed URL that can be read"),
    "redirects in a circle": (refused(302, Location="/bucket/a1.bin?canary"), "redirected more than 5 times"),
    "said to be packed": (announced(Content_Encoding="gzip"), "Content-Encoding is broken"),
    "packed as nothing here can be unpacked": (announced(Content_Encoding="zstd"), "'zstd', which is not known"),
    "a page for browsers": (announced(Content_Type="text/html; charset=utf-8"), r"an HTML page (text/html) instead"),
    "longer than known": (
        announced(Content_Length=str(len(CONTENT) + 1)),
        f"has {len(CONTENT) + 1} bytes, and UP42 says",
    ),
    "no length": (announced(Content_Length=None, ETag=None), "the server sent no Content-Length"),
}


@pytest.mark.parametrize("name", PERMANENT_FAULTS)
async def test_after_a_permanent_fault_only_the_old_file_is_left(host: StorageHost, tmp_path: Path, name: str) -> None:
    fault, message = PERMANENT_FAULTS[name]
    host.faults = [fault] * 20
    await download_older_version(host, tmp_path)
    file = remote(size=len(CONTENT) if name == "longer than known" else None)
    async with host.client(retry=RetryPolicy(attempts=2, wait_initial=0.001), timeouts=Timeouts(read=0.1)) as client:
        with pytest.raises(DownloadError) as caught:
            await download(client, tmp_path, file, resume=False)
    assert message in str(caught.value)
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert (tmp_path / "result.tif").read_bytes() == OLD
    assert left_in(tmp_path) == ["result.tif"]


async def test_a_retry_after_of_an_hour_ends_the_download_at_once(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [refused(503, Retry_After="3600")] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path)
    assert len(host.seen) == 1


@pytest.mark.parametrize("wrong", ["one byte", "all"])
async def test_a_file_with_a_wrong_checksum_is_downloaded_twice_and_then_refused(
    host: StorageHost, tmp_path: Path, wrong: str
) -> None:
    host.files["a1"] = StoredFile(
        CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]) if wrong == "one byte" else bytes(len(CONTENT))
    )
    await download_older_version(host, tmp_path)
    async with host.client() as client:
        with pytest.raises(DownloadError, match="its sha256 checksum is wrong"):
            await download(client, tmp_path, remote(checksum=SHA256))
    assert len(host.seen) == 3
    assert left_in(tmp_path) == ["result.tif"]
    assert (tmp_path / "result.tif").read_bytes() == OLD


async def test_a_file_that_was_damaged_once_is_downloaded_again(host: StorageHost, tmp_path: Path) -> None:
    def damaged(exchange: Exchange) -> None:
        exchange.head()
        exchange.wfile.write(bytes(len(CONTENT)))

    host.faults = [damaged]
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(checksum=SHA256))
    assert path.read_bytes() == CONTENT


async def test_a_part_file_damaged_between_two_runs_is_detected(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [broken_after(2_000_000), refused(503)]
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path)
    with (tmp_path / "result.tif.part").open("r+b") as file:
        file.write(b"damaged")
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(checksum=SHA256))
    assert path.read_bytes() == CONTENT


async def test_a_file_without_content_length_is_accepted_if_its_checksum_is_known(
    host: StorageHost, tmp_path: Path
) -> None:
    host.faults = [announced(Content_Length=None)]
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(checksum=SHA256))
    assert path.read_bytes() == CONTENT


async def test_a_file_without_content_length_is_refused_if_it_is_too_short(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [announced(Content_Length=None)] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError, match=f"it has {len(CONTENT)} bytes instead of {len(CONTENT) + 1}"):
            await download(client, tmp_path, remote(size=len(CONTENT) + 1))
    assert left_in(tmp_path) == []


async def test_a_file_without_content_length_is_refused_if_it_is_too_long(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [announced(Content_Length=None)] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError, match="more bytes were received than announced"):
            await download(client, tmp_path, remote(size=5))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
async def test_a_full_disk_is_reported_and_leaves_nothing_behind(
    host: StorageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await download_older_version(host, tmp_path)
    async with host.client() as client:
        monkeypatch.setattr(os, call, full)
        with pytest.raises(DownloadError, match=r"result\.tif: No space left on device$") as caught:
            await download(client, tmp_path)
        monkeypatch.undo()
    assert caught.value.received == 0
    assert len(host.seen) == 2
    assert left_in(tmp_path) == ["result.tif"]
    assert (tmp_path / "result.tif").read_bytes() == OLD


async def test_a_directory_that_cannot_be_created_is_a_download_error(host: StorageHost, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with host.client() as client:
        with pytest.raises(DownloadError, match="Not a directory"):
            await download(client, tmp_path / "file" / "place")


async def test_a_directory_with_the_name_of_the_file_is_not_replaced(host: StorageHost, tmp_path: Path) -> None:
    (tmp_path / "result.tif").mkdir()
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert (path.name, left_in(tmp_path)) == ("result-a1.tif", ["result-a1.tif", "result.tif"])


async def test_a_directory_with_the_name_of_the_part_file_is_a_download_error(
    host: StorageHost, tmp_path: Path
) -> None:
    (tmp_path / "result.tif.part").mkdir()
    async with host.client() as client:
        with pytest.raises(DownloadError, match="Is a directory"):
            await download(client, tmp_path)


async def test_a_partial_response_to_a_full_request_is_not_the_file(host: StorageHost, tmp_path: Path) -> None:
    host.files["a1"].name = None
    host.faults = [announced(206, Content_Range=f"bytes 5-9/{len(CONTENT)}")]
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in directories")
@pytest.mark.parametrize("name", ["result.tif", "result.tif.part", "result.tif.part.json"])
async def test_a_named_pipe_with_the_name_of_the_file_blocks_nothing(
    host: StorageHost, tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / name)
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == CONTENT


async def test_the_thread_of_the_event_loop_makes_no_file_system_calls(
    host: StorageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, callers = threading.get_ident(), set[str]()
    for name in ("open", "write", "read", "fsync", "replace", "unlink", "ftruncate", "fstat", "close"):
        original: Callable[..., Any] = getattr(os, name)

        def watched(*args: Any, name: str = name, original: Callable[..., Any] = original, **kwargs: Any) -> Any:
            if threading.get_ident() == loop:
                callers.add(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(f"up42_async._downloads.part_file.os.{name}", watched)
    host.faults = [broken_after(1_500_000), refused(416)]
    async with host.client() as client:
        await download(client, tmp_path, remote(checksum=SHA256))
        await download(client, tmp_path, remote(checksum=SHA256))
    monkeypatch.undo()
    assert callers == set()


async def test_cancelling_keeps_the_old_file_and_a_part_file_to_resume(host: StorageHost, tmp_path: Path) -> None:
    await download_older_version(host, tmp_path)
    host.faults = [silent_after(2_000_000)]
    async with host.client() as client:
        async with anyio.create_task_group() as group:
            group.start_soon(download, client, tmp_path)
            await host.until(lambda: len(host.seen) > 1)
            await anyio.sleep(1.2)  # received bytes are written at least once a second
            group.cancel_scope.cancel()
        assert (tmp_path / "result.tif").read_bytes() == OLD
        assert left_in(tmp_path) == ["result.tif", "result.tif.part", "result.tif.part.json"]
        (path,) = await download(client, tmp_path)
    assert 0 < int(host.seen[-1].headers["range"].removeprefix("bytes=").removesuffix("-")) <= 2_000_000
    assert path.read_bytes() == CONTENT


async def test_cancelling_without_resume_leaves_nothing(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [silent_after(2_000_000)]
    async with host.client() as client:
        with anyio.move_on_after(0.3):
            await download(client, tmp_path, resume=False)
    assert left_in(tmp_path) == []


async def test_after_cancelling_at_any_moment_the_next_run_completes_the_file(
    host: StorageHost, tmp_path: Path
) -> None:
    async with host.client() as client:
        for number in range(20):
            with anyio.move_on_after(number * 0.004):
                await download(client, tmp_path, remote(checksum=SHA256))
            assert {"result.tif", "result.tif.part", "result.tif.part.json"}.issuperset(left_in(tmp_path))
            (tmp_path / "result.tif").unlink(missing_ok=True)
        (path,) = await download(client, tmp_path, remote(checksum=SHA256))
        assert path.read_bytes() == CONTENT
        assert client._session.file_slots.borrowed_tokens == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_asyncio_may_cancel_a_download_twice(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        for turns in range(12):
            task = asyncio.create_task(download(client, tmp_path, remote(checksum=SHA256)))
            await asyncio.sleep(0.003 * turns)
            task.cancel()
            for _ in range(turns % 4):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert {"result.tif", "result.tif.part", "result.tif.part.json"}.issuperset(left_in(tmp_path))
            (tmp_path / "result.tif").unlink(missing_ok=True)
        (path,) = await download(client, tmp_path, remote(checksum=SHA256))
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["result.tif"]


async def test_closing_the_client_ends_a_download_with_an_error_that_names_the_cause(
    host: StorageHost, tmp_path: Path
) -> None:
    host.faults = [silent_after(10)]
    client = host.client()

    async def expect_closed() -> None:
        with pytest.raises(RuntimeError, match="client was closed"):
            await download(client, tmp_path)

    async with anyio.create_task_group() as group:
        group.start_soon(expect_closed)
        await host.until(lambda: bool(host.seen))
        await client.aclose()
    assert left_in(tmp_path) == []


async def test_a_download_that_fails_creates_no_directory(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        with pytest.raises(DownloadError):
            await download(client, tmp_path / "place", remote("nothing"))
    assert not await anyio.Path(tmp_path / "place").exists()


async def test_one_file_that_fails_does_not_stop_the_others(host: StorageHost, tmp_path: Path) -> None:
    files = [remote("a1", key="k1"), remote("nothing", key="k2")]
    async with host.client() as client:
        with pytest.raises(DownloadError, match="k2: POST /v2/assets/nothing/download-url: status 404"):
            await download(client, tmp_path, *files)
    assert left_in(tmp_path) == ["result.tif"]


async def test_several_files_that_fail_are_one_error_group(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        with pytest.raises(DownloadErrorGroup, match="2 of 3 files could not be downloaded") as caught:
            await download(client, tmp_path, remote("x", key="k1"), remote("a1", key="k2"), remote("y", key="k3"))
    assert [str(error)[:2] for error in caught.value.exceptions] == ["k1", "k3"]


@pytest.mark.parametrize("answers", ["refused", "broken", "redirected", "elsewhere"])
async def test_no_variable_in_the_frames_of_an_error_shows_a_signed_url(
    host: StorageHost, tmp_path: Path, answers: str
) -> None:
    faults: dict[str, Fault | None] = {
        "refused": refused(404),
        "broken": broken_after(10),
        "redirected": refused(302, Location="http://[canary"),
        "elsewhere": None,
    }
    host.faults = [faults[answers]]
    if answers == "elsewhere":
        host.sign = lambda _: "ftp://elsewhere.example/x?canary"
    async with host.client(retry=ONE_ATTEMPT) as client:
        with pytest.raises(DownloadError) as caught:
            await download(client, tmp_path)
    details = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [line for line in "".join(details.format()).split("  File ") if "up42_async/_downloads" in line]
    assert shown
    assert "canary" not in "".join(shown)


def test_the_source_of_an_invalid_link_is_the_link_itself() -> None:
    assert RemoteFile(href="https://[::1", key="k").source == "https://[::1"


def test_a_download_error_group_is_a_download_error_and_an_exception_group() -> None:
    several = DownloadErrorGroup(
        "2 of 3 files could not be downloaded", [DownloadError("a", file="a.tif"), NotFoundError("b")]
    )
    assert isinstance(several, ExceptionGroup)
    assert isinstance(several, DownloadError)
    assert (several.file, several.path, several.received) == ("", None, 0)
    assert str(several) == "2 of 3 files could not be downloaded (2 sub-exceptions)"
    for copied in (pickle.loads(pickle.dumps(several)), copy.copy(several)):  # noqa: S301
        assert (str(copied), [str(one) for one in copied.exceptions]) == (str(several), ["a", "b"])
    (found,) = several.split(NotFoundError)[:1]
    assert isinstance(found, DownloadErrorGroup)
    assert [str(one) for one in found.exceptions] == ["b"]


def test_a_download_error_can_be_pickled_and_copied() -> None:
    error = DownloadError("why", file="a.tif", path=Path("x/a.tif"), received=7)
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert (str(copied), copied.file, copied.path, copied.received) == ("why", "a.tif", Path("x/a.tif"), 7)


ABOUT = ApiRequest(method="POST", path="/v2/assets/x/download-url")
API = "https://api.up42.com"


@pytest.mark.parametrize(
    "url",
    [
        "http://storage.example/x",
        "ftp://storage.example/x",
        "https://user@storage.example/x",
        "https://user:password@storage.example/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0177.0.0.1/x",
        "https://127.0.0.1./x",
        "https://localhost/x",
        "https://LOCALHOST./x",
        "https://some.localhost/x",
        "https://10.0.0.1/x",
        "https://172.16.0.1/x",
        "https://192.168.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://224.0.0.1/x",
        "https://[::1]/x",
        "https://[::]/x",
        "https://[fe80::1%25eth0]/x",
        "https://[fc00::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://1.2.3.4.5/x",
    ],
)
def test_signed_urls_to_private_hosts_or_without_tls_are_refused(url: str) -> None:
    with pytest.raises(UntrustedURLError, match="nothing was fetched from there") as caught:
        check_signed_url(Secret(f"{url}?canary"), api=API, request=ABOUT)
    assert "canary" not in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "/relative",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://a b/x",
        "https://storage.example\\@evil.test/x",
        "https://storage.example/\n",
        "https://st\u00f6rage.example/x",
        "https://storage.example:99999/x",
        "https://storage.example:0/x",
        "https://storage.example:x/x",
        "https://[::1/x",
        "https://storage.example/" + "x" * 20_000,
    ],
)
def test_invalid_signed_urls_are_refused(url: str | None) -> None:
    with pytest.raises(UnexpectedResponseError, match="POST /v2/assets/x/download-url: an answer without a signed URL"):
        check_signed_url(None if url is None else Secret(url), api=API, request=ABOUT)


@pytest.mark.parametrize(
    "url",
    [
        "https://storage.googleapis.com/x?y",
        "https://s3.eu-1.amazonaws.com:443/x",
        "https://8.8.8.8/x",
        "https://[2606::1]/x",
    ],
)
def test_signed_urls_to_public_hosts_are_used_without_their_fragment(url: str) -> None:
    assert check_signed_url(Secret(f"{url}#fragment"), api=API, request=ABOUT).reveal() == url


@pytest.mark.parametrize("api", ["http://127.0.0.1:8000", "http://localhost:8000"])
def test_with_an_api_on_a_loopback_address_files_may_be_there_too(api: str) -> None:
    assert check_signed_url(Secret("http://127.0.0.1:9/x"), api=api, request=ABOUT).reveal() == "http://127.0.0.1:9/x"
    with pytest.raises(UntrustedURLError, match="not over https"):
        check_signed_url(Secret("http://storage.example/x"), api=api, request=ABOUT)


@pytest.mark.parametrize(
    "answer", [{}, {"url": None}, {"url": 7}, [], "https://x.example/", {"url": "http://10.1.1.1/x"}]
)
async def test_a_response_without_a_usable_signed_url_is_an_error_that_names_the_file(
    host: StorageHost, tmp_path: Path, answer: object
) -> None:
    host.answers["POST /v2/assets/a1/download-url"] = answer
    async with host.client() as client:
        with pytest.raises(DownloadError, match=r"key\.tif: POST /v2/assets/a1/download-url: .*signed URL"):
            await download(client, tmp_path)
    assert host.seen == []


@pytest.mark.parametrize(
    "href",
    [
        "https://elsewhere.example/v2/assets/a1",
        "https://api.up42.com.evil.test/v2/assets/a1",
        "https://user@api.up42.com/v2/assets/a1",
        "https://@evil.test/v2/assets/a1",
        "https://api.up42.com@evil.test/v2/assets/a1",
        "https://api.up42.com:444/v2/assets/a1",
        "https://api.up42.com:99999/v2/assets/a1",
        "ftp://api.up42.com/v2/assets/a1",
        "//evil.test/v2/assets/a1",
        "https:\\\\evil.test\\v2\\assets\\a1",
        "https://\u0430pi.up42.com/v2/assets/a1",
        "/v2/processing/processes/x/execution",
        "/v2/assets/../users/me",
        "/v2/assets/..",
        "/v2/assets/",
        "/v2/assets/a/b",
        "relative",
        "",
    ],
)
def test_asset_links_that_lead_elsewhere_are_refused(href: str) -> None:
    with pytest.raises(UntrustedURLError):
        signed_url_request(RemoteFile(href=href, key="k"), api=API)


@pytest.mark.parametrize(
    "href", ["http://api.up42.com/v2/assets/a1?x=y", "https://api.up42.com/v2/assets/a1/download-url"]
)
def test_links_to_assets_become_requests_to_the_api(href: str) -> None:
    request = signed_url_request(RemoteFile(href=href, key="k"), api=API)
    assert (request.method, request.path, request.query) == ("POST", "/v2/assets/a1/download-url", "")


class WrongLength(httpx.AsyncBaseTransport):
    """A transport that sends more or fewer bytes than its Content-Length says; httpcore would refuse them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.fetched = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 300})
        if request.url.path.endswith("/download-url"):
            return httpx.Response(200, json={"url": "http://127.0.0.1:9/x.tif"})
        self.fetched += 1
        return httpx.Response(200, headers={"Content-Length": "1000", "ETag": '"e"'}, stream=Stream(self._count))


class Stream(httpx.AsyncByteStream):
    def __init__(self, count: int) -> None:
        self._count = count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            yield bytes(100)


@pytest.mark.parametrize(("count", "message"), [(11, "more bytes were received"), (9, "900 of 1000 bytes")])
async def test_the_length_is_checked_with_any_transport(
    host: StorageHost, tmp_path: Path, count: int, message: str
) -> None:
    transport = WrongLength(count)
    async with host.client(http_client=httpx.AsyncClient(transport=transport)) as client:
        with pytest.raises(DownloadError, match=message):
            await download(client, tmp_path, resume=False)
    assert transport.fetched == 4
    assert left_in(tmp_path) == []
