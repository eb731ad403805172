"""The origin of the files: signed URLs, ranges, and what it notes."""

import time
import tracemalloc
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from tests.sandbox.asking import REFERENCE, Clock, logged_in, signed_url, until, without_token
from up42_async.sandbox import Sandbox

CONTENT = bytes(range(256)) * 10


@pytest.fixture
async def files() -> AsyncIterator[httpx.AsyncClient]:
    async with without_token() as client:
        yield client


@pytest.fixture
async def url(sandbox: Sandbox, client: httpx.AsyncClient) -> str:
    """Return a signed URL of a file with `CONTENT`."""
    return await signed_url(client, sandbox.add_asset(name="a.bin", content=CONTENT, media_type="image/x"))


async def test_a_signed_url_opens_a_file_without_a_token(url: str, files: httpx.AsyncClient) -> None:
    answer = await files.get(url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["content-type"] == "image/x"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] in {"attachment; filename=a.bin", 'attachment; filename="a.bin"'}
    assert answer.headers["etag"].startswith('"')


async def test_a_head_is_the_same_without_the_bytes(url: str, files: httpx.AsyncClient) -> None:
    head, answer = await files.head(url), await files.get(url)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10-", 10, 2560),
        ("bytes=2559-", 2559, 2560),
        ("bytes=100-99999", 100, 2560),
        ("bytes=-5", 2555, 2560),
        ("bytes=-99999", 0, 2560),
        ("Bytes=1-2", 1, 3),
    ],
)
async def test_a_part_comes_as_206(url: str, files: httpx.AsyncClient, asked: str, start: int, stop: int) -> None:
    answer = await files.get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/2560"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=2560-", "bytes=9999-10000", "bytes=-0"])
async def test_a_part_behind_the_end_is_416(url: str, files: httpx.AsyncClient, asked: str) -> None:
    answer = await files.get(url, headers={"range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */2560")


@pytest.mark.parametrize("asked", ["", "bytes=-", "bytes=5-4", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "0-1"])
async def test_what_is_no_single_range_gets_the_whole(url: str, files: httpx.AsyncClient, asked: str) -> None:
    answer = await files.get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_a_part_of_another_version_gets_the_whole(url: str, files: httpx.AsyncClient) -> None:
    headers = (await files.head(url)).headers
    for condition, status in [
        (headers["etag"], 206),
        (headers["last-modified"], 206),
        ('"another"', 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ]:
        answer = await files.get(url, headers={"range": "bytes=5-", "if-range": condition})
        assert answer.status_code == status
        assert answer.content == CONTENT[5 if status == 206 else 0 :]


async def test_the_version_is_the_same_under_another_url(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    one, same = [(await files.head(await signed_url(client, REFERENCE))).headers["etag"] for _ in range(2)]
    other = (await files.head(await signed_url(client, sandbox.add_asset()))).headers["etag"]
    assert one == same != other


async def test_a_signed_url_expires_after_real_seconds(clock: Clock, files: httpx.AsyncClient) -> None:
    async with Sandbox(clock=clock, speed=1000, signed_url_lifetime=30) as sandbox, logged_in(sandbox) as client:
        url = await signed_url(client, REFERENCE)
        clock.seconds = 29
        assert (await files.head(url)).status_code == 200
        clock.seconds = 30
        answer = await files.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/xml; charset=UTF-8")
        assert b"<Code>ExpiredToken</Code>" in answer.content
        assert (await files.head(await signed_url(client, REFERENCE))).status_code == 200


async def test_all_signed_urls_can_be_ended_at_once(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient, url: str
) -> None:
    sandbox.expire_signed_urls()
    assert (await files.get(url)).status_code == 403
    assert (await files.get(await signed_url(client, REFERENCE))).status_code == 200


async def test_a_url_that_was_tampered_with_opens_nothing(url: str, files: httpx.AsyncClient) -> None:
    path, _, query = url.partition("?")
    odd = [
        path,
        f"{path}0?{query}",
        f"{url}0",
        f"{url}&x=1",
        url.replace("a.bin", "b.bin"),
        url.replace("X-Goog-Signature=", "X-Goog-Signature=%C3%A9"),
        url.replace("X-Goog-Date=", "X-Goog-Date=1"),
    ]
    for changed in odd:
        answer = await files.get(changed)
        assert (answer.status_code, b"SignatureDoesNotMatch" in answer.content) == (403, True)


async def test_a_file_that_has_gone_is_not_found(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    url = await signed_url(client, sandbox.results_of(job_id)[0].id)
    sandbox.forget(job_id)
    answer = await files.get(url)
    assert (answer.status_code, b"<Code>NoSuchKey</Code>" in answer.content) == (404, True)


async def test_files_can_only_be_read(url: str, files: httpx.AsyncClient) -> None:
    assert (await files.put(url, content=b"x")).status_code == 405


async def test_a_token_sent_to_the_files_is_noticed(sandbox: Sandbox, url: str, files: httpx.AsyncClient) -> None:
    await files.get(url)
    assert sandbox.tokens_leaked == 0
    await files.get(url, headers={"authorization": "Bearer x"})
    await files.get(url, headers={"cookie": "a=b"})
    await files.get(url, headers={"cookie": "a=b", "authorization": "Bearer x"})
    assert sandbox.tokens_leaked == 3
    sandbox.reset_counts()
    assert sandbox.tokens_leaked == 0


async def test_requests_for_files_are_noted_with_their_range_and_what_was_sent(
    sandbox: Sandbox, url: str, files: httpx.AsyncClient
) -> None:
    await files.get(url, headers={"range": "bytes=60-"})
    await files.head(url)
    part, head = sandbox.requests[-2:]
    assert (part.origin, part.status, part.range, part.sent) == ("files", 206, "bytes=60-", 2500)
    assert (head.method, head.range, head.sent) == ("HEAD", None, 0)
    assert (sandbox.count(origin="files"), sandbox.count("GET", origin="files")) == (2, 1)
    assert sandbox.count() == 2 + sandbox.count(origin="api")


async def test_odd_names_come_as_headers_can_hold_them(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    disposition = "attachment; filename=a\r\nx: y\0\N{GREEK SMALL LETTER ALPHA}"
    answer = await files.get(await signed_url(client, sandbox.add_asset(disposition=disposition)))
    raw = dict(answer.headers.raw)[b"content-disposition"]
    assert raw == "attachment; filename=a__x: y_\N{GREEK SMALL LETTER ALPHA}".encode()


async def test_large_files_are_streamed_and_never_held(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    size = 60_000_000
    url = await signed_url(client, sandbox.add_asset(size=size))
    received = 0
    tracemalloc.start()
    try:
        async with files.stream("GET", url) as answer:
            async for chunk in answer.aiter_raw():
                received += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert received == size
    assert peak < 10_000_000


async def test_a_part_of_a_large_file_is_where_it_belongs(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    asset_id = sandbox.add_asset(size=10_000_000)
    whole = b"".join(sandbox.stored_file(asset_id).pieces())
    url = await signed_url(client, asset_id)
    for start in (0, 1, (1 << 18) - 1, 1 << 18, 1 << 20, (1 << 20) + 5, 9_999_999):
        answer = await files.get(url, headers={"range": f"bytes={start}-{start + 600_000}"})
        assert answer.content == whole[start : start + 600_001]


async def test_a_client_that_leaves_ends_its_file(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    url = await signed_url(client, sandbox.add_asset(size=1 << 40))
    async with files.stream("GET", url):
        await anyio.to_thread.run_sync(until, lambda: sandbox.requests[-1].sent > 1 << 18)
    await anyio.to_thread.run_sync(until, lambda: sandbox.in_flight == 0)
    assert sandbox.requests[-1].sent < 1 << 30


async def test_files_leave_with_the_bandwidth_they_are_given(files: httpx.AsyncClient) -> None:
    async with Sandbox(bandwidth=20_000_000) as sandbox, logged_in(sandbox) as client:
        urls = [await signed_url(client, asset_id) for asset_id in sandbox.add_assets(2, size=2_000_000)]
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for url in urls:
                tasks.start_soon(files.get, url)
        assert 0.14 < time.perf_counter() - began < 10  # 4 MB, less what a burst may have


@pytest.mark.virtual_time
async def test_in_process_the_bandwidth_holds_in_virtual_time() -> None:
    sandbox = Sandbox(clock=anyio.current_time, bandwidth=1000)
    transport = httpx.ASGITransport(sandbox.app)
    async with logged_in(sandbox, transport) as client, without_token(transport) as files:
        url = await signed_url(client, sandbox.add_asset(content=CONTENT * 100))
        began = anyio.current_time()
        assert len((await files.get(url)).content) == 256_000
        assert anyio.current_time() - began == pytest.approx(256, abs=0.1)


@pytest.mark.parametrize("name", ["port", "files_port"])
def test_a_taken_port_leaves_the_other_to_others(name: str) -> None:
    with Sandbox() as running:
        taken = int(running.files_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match=f"cannot use port {taken}"):
            Sandbox(**{name: taken}).start()  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
