"""Faults of files: what a client that downloads has to cope with."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest

from tests.sandbox.asking import JOBS, REFERENCE, STAC, Clock, equal, found, logged_in, signed_url, without_token
from up42_async.sandbox import Sandbox, faults

CONTENT = bytes(range(250)) * 10


@pytest.fixture
async def files() -> AsyncIterator[httpx.AsyncClient]:
    async with without_token() as client:
        yield client


@pytest.fixture
async def url(sandbox: Sandbox, client: httpx.AsyncClient) -> str:
    """Return a signed URL of a file with `CONTENT`."""
    return await signed_url(client, sandbox.add_asset(content=CONTENT))


async def received(files: httpx.AsyncClient, url: str, **headers: str) -> tuple[bytes, type[Exception] | None]:
    """Return what came of a file, and what it ended with."""
    content = b""
    try:
        async with files.stream("GET", url, headers=headers, timeout=0.1) as answer:
            async for chunk in answer.aiter_raw():
                content += chunk
    except httpx.TransportError as error:
        return content, type(error)
    return content, None


async def test_a_file_can_break_off_or_stall(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    cases: list[tuple[faults.Kind, type[Exception]]] = [
        (faults.Truncate(keep=700), httpx.RemoteProtocolError),
        (faults.Stall(after=700), httpx.ReadTimeout),
    ]
    for fault, error in cases:
        with sandbox.faults.during(fault, path=faults.FILES):
            assert await received(files, url) == (CONTENT[:700], error)
        assert await received(files, url) == (CONTENT, None)


async def test_a_part_can_break_off_as_well(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    sandbox.faults.add(faults.Truncate(keep=700), path=faults.FILES)
    assert await received(files, url, range="bytes=1000-") == (CONTENT[1000:1700], httpx.RemoteProtocolError)


@pytest.mark.parametrize("fault", [faults.Truncate(keep=1_000_000), faults.Stall(after=1_000_000)], ids=str)
async def test_a_large_file_that_breaks_off_is_not_held(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient, fault: faults.Kind
) -> None:
    url = await signed_url(client, sandbox.add_asset(size=1 << 40))
    sandbox.faults.add(fault, path=faults.FILES)
    content, error = await received(files, url)
    assert (len(content), error is None) == (1_000_000, False)


async def test_a_large_file_passes_faults_that_miss_it_without_being_held(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    url = await signed_url(client, sandbox.add_asset(size=1 << 40))
    sandbox.faults.add(faults.Corrupt(), probability=0)
    async with files.stream("GET", url) as answer:
        assert answer.headers["content-length"] == str(1 << 40)


async def test_a_refusal_can_come_between_two_tries(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    sandbox.faults.add(faults.Truncate(keep=700), path=faults.FILES, times=1)
    sandbox.faults.add(faults.Status(403, "xml"), path=faults.FILES, after=1, times=1)
    assert len((await received(files, url))[0]) == 700
    answer = await files.get(url, headers={"range": "bytes=700-"})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/xml; charset=UTF-8")
    assert b"<Code>Forbidden</Code>" in answer.content
    assert (await files.get(url, headers={"range": "bytes=700-"})).content == CONTENT[700:]


async def test_signed_urls_can_end_with_a_request(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient, url: str
) -> None:
    sandbox.faults.add(faults.ExpireSignedUrls(), path=faults.FILES, times=1)
    assert [(await files.get(url)).status_code for _ in range(2)] == [403, 403]
    assert (await files.get(await signed_url(client, REFERENCE))).status_code == 200


@pytest.mark.parametrize(("at", "place"), [(None, 1250), (0, 0), (2499, 2499)])
async def test_one_byte_can_be_wrong(
    sandbox: Sandbox, files: httpx.AsyncClient, url: str, at: int | None, place: int
) -> None:
    etag = (await files.head(url)).headers["etag"]
    sandbox.faults.add(faults.Corrupt(at), path=faults.FILES)
    answer = await files.get(url)
    assert [position for position, byte in enumerate(answer.content) if byte != CONTENT[position]] == [place]
    assert (answer.headers["etag"], len(answer.content)) == (etag, len(CONTENT))


@pytest.mark.parametrize(("by", "content"), [(3, CONTENT + b"\0\0\0"), (-3, CONTENT[:-3])])
async def test_there_can_be_more_or_fewer_bytes_and_a_length_that_says_so(
    sandbox: Sandbox, files: httpx.AsyncClient, url: str, by: int, content: bytes
) -> None:
    sandbox.faults.add(faults.WrongLength(by), path=faults.FILES)
    answer = await files.get(url)
    assert (answer.content, answer.headers["content-length"]) == (content, str(len(content)))


async def test_there_can_be_more_or_fewer_bytes_than_announced(
    sandbox: Sandbox, files: httpx.AsyncClient, url: str
) -> None:
    alone = {"connection": "close"}  # what httpx leaves unread would spoil the next answer on the same connection
    with sandbox.faults.during(faults.WrongLength(3, announced=False), path=faults.FILES):
        async with files.stream("GET", url, headers=alone) as answer:
            assert answer.headers["content-length"] == str(len(CONTENT))
            assert await answer.aread() == CONTENT
    with sandbox.faults.during(faults.WrongLength(-3, announced=False), path=faults.FILES):
        async with files.stream("GET", url, headers=alone) as answer:
            assert answer.headers["content-length"] == str(len(CONTENT))
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()


async def test_the_version_can_change_with_every_answer(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    sandbox.faults.add(faults.ChangeEtag(), path=faults.FILES)
    first = await files.get(url)
    second = await files.get(url, headers={"range": "bytes=700-", "if-range": first.headers["etag"]})
    assert (second.status_code, second.content) == (200, CONTENT)
    assert first.headers["etag"] != second.headers["etag"]


async def test_a_part_of_another_version_can_come_all_the_same(
    sandbox: Sandbox, files: httpx.AsyncClient, url: str
) -> None:
    sandbox.faults.add(faults.ChangeEtag(heeds_if_range=False), path=faults.FILES)
    answer = await files.get(url, headers={"range": "bytes=700-", "if-range": '"version-0"'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (206, CONTENT[700:], '"version-1"')


async def test_a_range_can_be_ignored(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    sandbox.faults.add(faults.IgnoreRange(), path=faults.FILES)
    answer = await files.get(url, headers={"range": "bytes=700-"})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("fault", "asked", "start", "told"),
    [
        (faults.WrongRange(), "bytes=700-", 701, "bytes 701-2499/2500"),
        (faults.WrongRange(-1), "bytes=700-799", 699, "bytes 699-799/2500"),
        (faults.WrongRange(-1), "bytes=0-", 0, "bytes 0-2499/2500"),
        (faults.WrongRange(5, admitted=False), "bytes=700-", 705, "bytes 700-2499/2500"),
    ],
)
async def test_another_part_can_come(
    sandbox: Sandbox, files: httpx.AsyncClient, url: str, fault: faults.Kind, asked: str, start: int, told: str
) -> None:
    sandbox.faults.add(fault, path=faults.FILES)
    answer = await files.get(url, headers={"range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (206, told)
    assert CONTENT[start:].startswith(answer.content)
    assert (await files.get(url)).content == CONTENT


async def test_another_part_may_be_none(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    sandbox.faults.add(faults.WrongRange(9999, admitted=False), path=faults.FILES)
    answer = await files.get(url, headers={"range": "bytes=700-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */2500")


async def test_a_signed_url_can_redirect(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    sandbox.faults.add(faults.Redirect("http://storage.invalid/x"), path=faults.FILES)
    assert (await files.get(url)).headers["location"] == "http://storage.invalid/x"


@pytest.mark.parametrize("form", faults.HOSTILE_NAMES)
async def test_a_file_can_have_a_hostile_name(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient, form: str
) -> None:
    disposition = faults.HOSTILE_NAMES[form]
    with sandbox.faults.during(faults.FileName(disposition)):
        url = await signed_url(client, REFERENCE)
        assert parse_qs(urlsplit(url).query)["response-content-disposition"] == [disposition]
        answer = await files.get(url)
    assert answer.status_code == 200
    assert len(dict(answer.headers.raw)[b"content-disposition"]) >= len(disposition.strip())
    with sandbox.faults.during(faults.FileName(disposition, where="header")):
        url = await signed_url(client, REFERENCE)
        assert "response-content-disposition" not in parse_qs(urlsplit(url).query)
        named = await files.get(url)
    assert named.content == answer.content
    assert named.headers["content-disposition"] == answer.headers["content-disposition"]


def test_there_are_at_least_sixteen_hostile_names() -> None:
    assert len(set(faults.HOSTILE_NAMES.values())) >= 16


@pytest.mark.parametrize("form", faults.HOSTILE_ORIGINS)
async def test_a_signed_url_can_lead_elsewhere(sandbox: Sandbox, client: httpx.AsyncClient, form: str) -> None:
    sandbox.faults.add(faults.SignedUrlAt(faults.HOSTILE_ORIGINS[form]), path=faults.SIGNING)
    url = await signed_url(client, REFERENCE)
    origin = faults.HOSTILE_ORIGINS[form].replace("{host}", urlsplit(sandbox.files_url).netloc)
    assert url.startswith(f"{origin}/up42-sandbox-assets/")


async def test_what_is_no_signed_url_stays_as_it_is(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.SignedUrlAt("http://10.0.0.1"))
    sandbox.faults.add(faults.FileName("x"))
    sandbox.faults.add(faults.AssetFields({"href": "x"}))
    assert (await client.get(JOBS)).json() == {"jobs": [], "links": []}
    assert (await client.get("/v2/eulas/none")).status_code == 404


async def test_assets_of_items_can_say_other_things(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.add_asset(checksum=True)
    wrong: dict[str, Any] = {"file:checksum": "1220" + "0" * 64, "file:size": None}
    sandbox.faults.add(faults.AssetFields(wrong), path=STAC)
    (href,) = sandbox.items_of(REFERENCE)
    for item in [*await found(client), (await client.get(href)).json()]:
        for asset in item["assets"].values():
            assert asset["file:checksum"] == "1220" + "0" * 64
            assert "file:size" not in asset


async def test_a_file_that_is_json_is_not_rewritten(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient
) -> None:
    url = await signed_url(client, sandbox.add_asset(content=b'{"a":  1}'))
    sandbox.faults.add(faults.Rewrite(lambda _: None))
    assert (await files.get(url)).content == b'{"a":  1}'


async def test_headers_of_an_answer_can_be_changed(sandbox: Sandbox, files: httpx.AsyncClient, url: str) -> None:
    changes = {"ETag": None, "Last-Modified": None, "Content-Encoding": "br", "X-New": "1"}
    sandbox.faults.add(faults.ChangeHeaders(changes), path=faults.FILES)
    async with files.stream("GET", url) as answer:
        headers = answer.headers
    assert not {"etag", "last-modified"} & headers.keys()
    assert (headers["content-encoding"], headers["x-new"]) == ("br", "1")


async def test_a_search_can_lead_back_to_its_own_page(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.NextLink(), path=f"{STAC}/search")
    body = {"limit": 3, "ids": []}
    (link,) = (await client.post(f"{STAC}/search", json=body)).json()["links"]
    assert (link["rel"], link["body"]) == ("next", body)


async def test_a_list_of_items_can_lead_anywhere(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.NextLink("https://api.up42.com.evil.test/x"))
    (href,) = sandbox.items_of(REFERENCE)
    page = (await client.get(href.rpartition("/")[0])).json()
    assert page["links"] == [{"rel": "next", "href": "https://api.up42.com.evil.test/x"}]
    assert (await client.get(href)).json()["id"] == page["features"][0]["id"]


async def test_empty_pages_of_items_never_end(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.EmptyPages())
    tokens, body = [], {"filter": equal("job_id", "x")}
    for _ in range(20):
        page = (await client.post(f"{STAC}/search", json=body)).json()
        assert page["features"] == []
        body |= page["links"][0]["body"]
        tokens.append(body["token"])
    assert len(set(map(str, tokens))) == 20


async def test_in_process_a_stall_ends_with_the_patience_of_the_caller() -> None:
    sandbox = Sandbox()
    transport = httpx.ASGITransport(sandbox.app)
    async with logged_in(sandbox, transport) as client, without_token(transport) as files:
        url = await signed_url(client, REFERENCE)
        sandbox.faults.add(faults.Stall(), path=faults.FILES)
        with anyio.move_on_after(0.01) as scope:
            await files.get(url)
    assert scope.cancelled_caught


async def test_the_storage_alone_can_be_out_of_order(
    sandbox: Sandbox, client: httpx.AsyncClient, files: httpx.AsyncClient, clock: Clock
) -> None:
    assert clock.seconds == 0
    sandbox.faults.add(faults.DropConnection(), path=faults.FILES)
    url = await signed_url(client, REFERENCE)
    with pytest.raises(httpx.RemoteProtocolError):
        await files.get(url)
