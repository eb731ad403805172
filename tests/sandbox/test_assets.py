"""Assets: what the platform says of them, and what a test puts into storage and reads off it."""

import hashlib
import io
import json
import tarfile
import zipfile
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.sandbox.asking import REFERENCE, equal, found, logged_in, signed_url, without_token
from up42_async.sandbox import Sandbox, StoredFile


def content_of(stored: StoredFile) -> bytes:
    return b"".join(stored.pieces())


async def test_the_asset_of_the_reference_is_there_from_the_beginning(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    metadata = (await client.get(f"/v2/assets/{REFERENCE}/metadata")).json()
    stored = sandbox.stored_file(REFERENCE)
    assert metadata.keys() == {
        *("id", "accountId", "workspaceId", "createdAt", "updatedAt", "name", "size", "contentType"),
        *("orderId", "title", "tags", "source"),
    }
    assert (metadata["id"], metadata["name"], metadata["size"]) == (REFERENCE, stored.name, stored.size)
    assert (metadata["title"], metadata["source"], metadata["tags"]) == ("London", "ARCHIVE", None)
    assert (metadata["accountId"], metadata["workspaceId"]) == (sandbox.account_id, sandbox.workspace_id)


async def test_files_of_results_are_assets_too(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="captured", workspace_id="theirs")
    for stored in sandbox.results_of(job_id):
        metadata = (await client.get(f"/v2/assets/{stored.id}/metadata")).json()
        assert (metadata["name"], metadata["source"], metadata["workspaceId"]) == (stored.name, "ANALYTICS", "theirs")
        assert (metadata["orderId"], metadata["contentType"]) == (None, stored.media_type)


@pytest.mark.parametrize("path", ["/v2/assets/none/metadata", "/v2/assets/none/download-url"])
async def test_an_asset_that_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.request("GET" if path.endswith("metadata") else "POST", path)
    assert (answer.status_code, answer.json()["message"]) == (404, "Asset not found.")


async def test_a_file_is_known_before_anybody_looked_at_its_item(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    other = Sandbox()  # the same seed makes the same job, and the same job leaves the same files behind
    ids = [each.seed_jobs(1, status="captured") for each in (sandbox, other)]
    assert ids[0] == ids[1]
    file_id = other.results_of(ids[1][0])[0].id
    assert (await client.get(f"/v2/assets/{file_id}/metadata")).status_code == 200


@pytest.mark.parametrize(
    ("process_id", "endings"),
    [
        ("detection-cars-oi", {".tif", ".geojson"}),
        ("pansharpening", {".tif"}),
        ("coregistration-simularity", {".zip"}),
        ("sandbox-mosaic", {".tgz"}),
    ],
)
def test_what_a_job_leaves_behind_is_what_its_process_makes(process_id: str, endings: set[str]) -> None:
    sandbox = Sandbox()
    (job_id,) = sandbox.seed_jobs(1, process_id=process_id, status="captured")
    files = sandbox.results_of(job_id)
    assert {f".{stored.name.rpartition('.')[2]}" for stored in files} == endings
    for stored in files:
        content = content_of(stored)
        assert len(content) == stored.size
        assert hashlib.sha256(content).hexdigest() == stored.sha256
        if stored.name.endswith(".tif"):
            assert content.startswith(b"II*\0")
        elif stored.name.endswith(".geojson"):
            assert len(json.loads(content)["features"]) >= 5
        elif stored.name.endswith(".zip"):
            assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 2
        else:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
                assert len(opened.getnames()) == 2


def test_objects_lie_within_their_item() -> None:
    sandbox = Sandbox()
    (job_id,) = sandbox.seed_jobs(1, process_id="detection-cars-oi", status="captured")
    for stored in sandbox.results_of(job_id):
        if stored.name.endswith(".geojson"):
            points = [feature["geometry"]["coordinates"] for feature in json.loads(content_of(stored))["features"]]
            assert max(x for x, _ in points) - min(x for x, _ in points) <= 0.01


def test_the_same_seed_makes_the_same_storage() -> None:
    one, same, other = (Sandbox(seed=seed) for seed in (1, 1, 2))
    for sandbox in (one, same, other):
        sandbox.add_assets(2)
        sandbox.seed_jobs(3, status="captured")
    assert one.asset_ids() == same.asset_ids()
    assert set(one.asset_ids()) & set(other.asset_ids()) == {REFERENCE}


def test_an_asset_has_the_content_it_is_given() -> None:
    sandbox = Sandbox()
    stored = sandbox.stored_file(sandbox.add_asset(name="a.txt", content=b"hello", media_type="text/plain"))
    assert (stored.name, stored.media_type, stored.size, content_of(stored)) == ("a.txt", "text/plain", 5, b"hello")


def test_an_empty_asset_has_no_bytes() -> None:
    sandbox = Sandbox()
    for stored in (sandbox.stored_file(sandbox.add_asset(size=0)), sandbox.stored_file(sandbox.add_asset(content=b""))):
        assert (stored.size, list(stored.pieces())) == (0, [])
        assert stored.sha256 == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("size", [1, 1 << 18, (1 << 20) + 1, 5_000_000])
def test_made_up_content_does_not_repeat(size: int) -> None:
    sandbox = Sandbox()
    one, other = (content_of(sandbox.stored_file(sandbox.add_asset(size=size))) for _ in range(2))
    assert len(one) == size
    assert one != other
    blocks = [one[begin : begin + 4096] for begin in range(0, size - 4096, 4096)]
    assert len(set(blocks)) == len(blocks)


@pytest.mark.parametrize("arguments", [{"size": 1, "content": b"x"}, {"size": -1}])
def test_an_asset_that_cannot_be_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a size of at least 0 or a content"):
        Sandbox().add_asset(**arguments)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("size", "checksum", "expected"),
    [(1000, None, True), (1000, False, False), (20_000_000, None, False), (20_000_000, True, True)],
)
async def test_large_made_up_files_say_their_checksum_only_if_asked_to(
    sandbox: Sandbox, client: httpx.AsyncClient, size: int, checksum: bool | None, expected: bool
) -> None:
    asset_id = sandbox.add_asset(size=size, checksum=checksum)
    (item,) = await found(client, filter=equal("asset_id", asset_id))
    (asset,) = item["assets"].values()
    assert ("file:checksum" in asset) == expected
    assert asset["file:size"] == size


def test_what_is_not_there_is_named() -> None:
    sandbox = Sandbox()
    for ask in (sandbox.items_of, sandbox.stored_file):
        with pytest.raises(KeyError, match="has no asset 'none'"):
            ask("none")
    with pytest.raises(KeyError, match="has no job 'none'"):
        sandbox.results_of("none")


async def test_an_asset_can_be_replaced_by_another_version(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    etags = []
    for content in (b"one", b"two"):
        sandbox.add_asset("mine", title=content.decode(), content=content)
        async with without_token() as files:
            answer = await files.get(await signed_url(client, "mine"))
        assert answer.content == content
        etags.append(answer.headers["etag"])
    assert etags[0] != etags[1]
    (item,) = await found(client, filter=equal("asset_id", "mine"))
    assert item["properties"]["up42-user:title"] == "two"


def test_a_result_is_not_replaced_as_an_asset_is() -> None:
    sandbox = Sandbox()
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    with pytest.raises(ValueError, match="is a result; `replace_results`"):
        sandbox.add_asset(sandbox.results_of(job_id)[0].id)


async def test_results_can_be_replaced_by_assets(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    (job_id,) = sandbox.seed_jobs(1, status="running")
    assets = [sandbox.add_asset(content=b"one"), sandbox.add_archive(trick="parent")]
    sandbox.replace_results(job_id, assets)
    assert sandbox.asset_ids() == [REFERENCE]
    assert (await client.get(f"/v2/assets/{assets[0]}/metadata")).status_code == 404
    sandbox.set_status(job_id, "captured")
    items = await found(client, filter=equal("job_id", job_id))
    assert {item["properties"]["up42-system:asset_id"] for item in items} == set(assets)
    assert [stored.id for stored in sandbox.results_of(job_id)] == assets
    assert (await client.get(f"/v2/assets/{assets[0]}/metadata")).json()["source"] == "ANALYTICS"


def test_results_are_replaced_by_something() -> None:
    sandbox = Sandbox()
    (job_id,) = sandbox.seed_jobs(1)
    with pytest.raises(ValueError, match="at least one asset"):
        sandbox.replace_results(job_id, [])
    with pytest.raises(KeyError, match="no asset 'none'"):
        sandbox.replace_results(job_id, ["none"])


async def test_a_signed_url_is_on_the_origin_of_the_files_and_names_the_file(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    dispositions = set()
    for asset_id in sandbox.add_assets(20):
        url = await signed_url(client, asset_id)
        assert url.startswith(f"{sandbox.files_url}/")
        assert not url.startswith(sandbox.endpoints.api)
        query = parse_qs(urlsplit(url).query)
        assert {"X-Goog-Signature", "X-Goog-Date", "X-Goog-Expires", "X-Goog-Algorithm"} <= query.keys()
        name = sandbox.stored_file(asset_id).name
        (disposition,) = query["response-content-disposition"]
        dispositions.add(disposition.replace(name, "NAME"))
    assert dispositions == {'attachment; filename="NAME"', "attachment; filename=NAME"}


async def test_each_signed_url_is_a_new_one(client: httpx.AsyncClient) -> None:
    assert len({await signed_url(client, REFERENCE) for _ in range(5)}) == 5


async def test_a_disposition_can_be_given(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    asset_id = sandbox.add_asset(disposition="inline; filename=../x")
    query = parse_qs(urlsplit(await signed_url(client, asset_id)).query)
    assert query["response-content-disposition"] == ["inline; filename=../x"]


async def test_in_process_the_storage_is_the_same() -> None:
    sandbox = Sandbox()
    (job_id,) = sandbox.seed_jobs(1, status="captured")
    transport = httpx.ASGITransport(sandbox.app)
    async with logged_in(sandbox, transport) as client:
        items = await found(client, filter=equal("job_id", job_id))
        assert sum(len(item["assets"]) for item in items) == len(sandbox.results_of(job_id))
        stored = sandbox.results_of(job_id)[0]
        url = await signed_url(client, stored.id)
        async with httpx.AsyncClient(transport=transport) as files:
            assert (await files.get(url)).content == content_of(stored)
    assert [record.origin for record in sandbox.requests] == ["api", "api", "files"]
    assert sandbox.tokens_leaked == 0
