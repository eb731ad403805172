"""Faults of the storage host: encodings, redirects, and bytes that come slowly."""

import gzip
import time
import zlib

import anyio
import httpx
import pytest

from tests.sandbox.asking import JOBS, logged_in, signed_url, until, without_token
from up42_async.sandbox import Sandbox, faults

CONTENT = b'{"type": "FeatureCollection", "features": []}' * 50


async def raw_file(sandbox: Sandbox, client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    """Return the answer for a file, its body as it came on the wire."""
    url = await signed_url(client, sandbox.add_asset(content=CONTENT))
    async with without_token() as other, other.stream("GET", url, headers=headers) as answer:
        content = b"".join([part async for part in answer.aiter_raw()])
    plain = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
    return httpx.Response(
        answer.status_code, headers={**plain, "x-coding": answer.headers.get("content-encoding", "")}, content=content
    )


@pytest.mark.parametrize("encoding", ["utf-8", "none", "identity", "aws-chunked"])
async def test_an_encoding_that_is_none_leaves_the_bytes_alone(
    sandbox: Sandbox, client: httpx.AsyncClient, encoding: str
) -> None:
    sandbox.faults.add(faults.StoredEncoding(encoding), path=faults.FILES)
    whole = await raw_file(sandbox, client)
    assert (whole.content, whole.headers["x-coding"]) == (CONTENT, encoding)
    part = await raw_file(sandbox, client, range="bytes=10-19")
    assert (part.status_code, part.content, part.headers["x-coding"]) == (206, CONTENT[10:20], encoding)


@pytest.mark.parametrize(
    ("encoding", "decode"), [("gzip", gzip.decompress), ("x-gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
async def test_an_encoded_file_has_ranges_of_its_encoded_bytes(
    sandbox: Sandbox, client: httpx.AsyncClient, encoding: str, decode: object
) -> None:
    sandbox.faults.add(faults.StoredEncoding(encoding), path=faults.FILES)
    whole = await raw_file(sandbox, client)
    assert callable(decode)
    assert (decode(whole.content), whole.headers["x-coding"]) == (CONTENT, encoding)
    assert int(whole.headers["content-length"]) == len(whole.content) < len(CONTENT)
    part = await raw_file(sandbox, client, range="bytes=10-19")
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    behind = await raw_file(sandbox, client, range="bytes=100000-")
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")


async def test_what_is_no_file_is_not_encoded(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.StoredEncoding())
    assert "content-encoding" not in (await client.get(JOBS)).headers


async def test_an_answer_without_the_whole_is_left_as_it_is(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.StoredEncoding(), path=faults.FILES)
    sandbox.faults.add(faults.ChangeHeaders({"etag": None}), path=faults.FILES)
    sandbox.faults.add(_Accepted(), path=faults.FILES)
    assert (await raw_file(sandbox, client, range="bytes=1-2")).status_code == 202


class _Accepted:
    async def apply(self, _: faults.Exchange, act: faults.Act, /) -> faults.Reply:
        reply = await act()
        return type(reply)(status=202, headers=reply.headers, body=reply.body)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_signed_url_can_redirect_to_the_same_file(
    sandbox: Sandbox, client: httpx.AsyncClient, status: int
) -> None:
    fault = sandbox.faults.add(faults.RedirectFile(status), path=faults.FILES, times=2)
    url = await signed_url(client, sandbox.add_asset(content=CONTENT))
    async with without_token() as other:
        first = await other.get(url)
        assert (first.status_code, first.headers["location"], first.content) == (status, url, b"")
        other.follow_redirects = True
        assert (await other.get(url)).content == CONTENT
    assert fault.hits == 2


async def test_a_redirect_can_lead_to_another_origin(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    url = await signed_url(client, sandbox.add_asset())
    path = url.removeprefix(sandbox.files_url)
    host = sandbox.files_url.removeprefix("http://")
    async with without_token() as other:
        for origin, expected in [
            ("https://elsewhere.example.com", "https://elsewhere.example.com"),
            (faults.HOSTILE_ORIGINS["userinfo"], f"http://user:password@{host}"),
        ]:
            with sandbox.faults.during(faults.RedirectFile(origin=origin), path=faults.FILES):
                assert (await other.get(url)).headers["location"] == expected + path


async def test_a_file_can_come_at_so_many_bytes_a_second() -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client, without_token() as other:
        url = await signed_url(client, sandbox.add_asset(content=b"x" * 100))
        sandbox.faults.add(faults.SlowBody(1000), path=faults.FILES)
        began, pieces = time.perf_counter(), 0
        async with other.stream("GET", url) as answer:
            async for _ in answer.aiter_raw():
                pieces += 1
        assert 0.09 < time.perf_counter() - began < 5
        assert (pieces, answer.headers["content-length"]) == (1, "100")


async def test_a_client_that_leaves_a_slow_file_is_noticed() -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client:
        url = httpx.URL(await signed_url(client, sandbox.add_asset(content=b"x" * 10_000)))
        sandbox.faults.add(faults.SlowBody(200), path=faults.FILES)
        async with await anyio.connect_tcp(url.host, url.port or 0) as raw:
            await raw.send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % url.raw_path)
            while not (await raw.receive()).endswith(b"x"):
                pass
        await anyio.to_thread.run_sync(until, lambda: sandbox.in_flight == 0)
        assert 0 < sandbox.requests[-1].sent < 10_000
