"""Redirects are followed with the checks of signed URLs, and HTML pages in place of files are refused."""

from pathlib import Path

import pytest

from tests.downloads.fetching import download, left_in, remote
from tests.storage_host import Exchange, Fault, StorageHost, StoredFile, announced, broken_after, refused, serving
from up42_async import UntrustedURLError
from up42_async._downloads.download import DownloadError

CONTENT = bytes(range(256)) * 8000
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture(autouse=True)
def _file(host: StorageHost) -> None:
    host.files["a1"] = StoredFile(CONTENT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_host_is_followed(host: StorageHost, tmp_path: Path, status: int) -> None:
    with serving() as other:
        other.files["b"] = StoredFile(CONTENT)
        host.faults = [refused(status, Location=f"{other.storage}/bucket/b.bin?X-Signature=canary")]
        async with host.client() as client:
            (path,) = await download(client, tmp_path)
        assert other.seen[0].headers.keys().isdisjoint({"authorization", "cookie", "referer"})
    assert (path.name, path.read_bytes()) == ("result.tif", CONTENT)


async def test_a_relative_redirect_stays_on_its_host(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [refused(307, Location="/bucket/a1.bin?X-Signature=canary")]
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == CONTENT
    assert host.minted == 1


async def test_the_rest_of_a_redirected_file_is_requested_from_the_target(host: StorageHost, tmp_path: Path) -> None:
    redirected = refused(302, Location="/bucket/a1.bin?X-Signature=canary")
    host.faults = [redirected, broken_after(1_500_000), redirected]
    async with host.client() as client:
        (path,) = await download(client, tmp_path)
    assert path.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in host.seen] == [None, None, *["bytes=1500000-"] * 2]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://elsewhere.example/x?canary", "a signed URL on elsewhere.example, not over https but http"),
        ("https://user:canary@elsewhere.example/x", "with a user name before the host"),
        ("file:///etc/passwd", "without a signed URL that can be read"),
        ("https://elsewhere.example:99999/canary", "without a signed URL that can be read"),
    ],
)
async def test_a_redirect_to_an_untrusted_url_is_refused(
    host: StorageHost, tmp_path: Path, location: str, message: str
) -> None:
    host.faults = [refused(302, Location=location)] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError, match=message) as caught:
            await download(client, tmp_path)
    assert "canary" not in f"{caught.value} {caught.value.__cause__!r}"
    assert len(host.seen) == 1
    if "user" in location or location.startswith("http:"):
        assert isinstance(caught.value.__cause__, UntrustedURLError)
    assert left_in(tmp_path) == []


def page(media_type: str) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.send(200, PAGE, {"Content-Type": media_type})

    return fault


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "TEXT/HTML", "application/xhtml+xml"])
@pytest.mark.parametrize("expected", ["image/tiff; application=geotiff", "application/json", ""])
async def test_an_html_page_in_place_of_a_file_is_retried(
    host: StorageHost, tmp_path: Path, expected: str, media_type: str
) -> None:
    host.faults = [page(media_type), None]
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(media_type=expected))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "media_type"), [("report.html", ""), ("report", "text/html"), ("report.htm", "")])
async def test_an_html_file_is_downloaded(host: StorageHost, tmp_path: Path, name: str, media_type: str) -> None:
    host.files["a1"] = StoredFile(PAGE, name=name)
    host.faults = [announced(Content_Type="text/html")]
    async with host.client() as client:
        (path,) = await download(client, tmp_path, remote(media_type=media_type))
    assert path.read_bytes() == PAGE


async def test_no_more_than_the_known_size_is_written(host: StorageHost, tmp_path: Path) -> None:
    most = 0

    def endless(exchange: Exchange) -> None:
        nonlocal most
        exchange.head(Transfer_Encoding="chunked", Content_Length=None)
        try:
            for _ in range(60):
                exchange.wfile.write(b"100000\r\n" + bytes(2**20) + b"\r\n")
                most = max([most, *(path.stat().st_size for path in tmp_path.glob("*.part"))])
        except OSError:
            pass
        exchange.close_connection = True

    host.faults = [endless] * 5
    async with host.client() as client:
        with pytest.raises(DownloadError, match="more bytes were received than announced"):
            await download(client, tmp_path, remote(size=100_000), resume=False)
    assert most <= 100_000
    assert left_in(tmp_path) == []
