"""The files of items: read at a signed URL, or downloaded into a directory."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import anyio.to_thread
import numpy as np
import pystac
import pytest

import up42_async as up42
from tests.storage.test_collections import item_content
from tests.storage_host import StorageHost, StoredFile, serving
from up42_async import DownloadError, NotFoundError, UnexpectedResponseError, UntrustedURLError
from up42_async.sandbox import REFERENCE_ASSET, Sandbox

rasterio: Any = pytest.importorskip("rasterio")
windows: Any = pytest.importorskip("rasterio.windows")

SEARCH = "POST /v2/assets/stac/search"


def item_of(name: str, assets: dict[str, Any]) -> dict[str, Any]:
    return item_content(name) | {"assets": assets}


@pytest.fixture
def host() -> Iterator[StorageHost]:
    """Serve three items: two have files with the same key, the third has files outside UP42."""
    elsewhere = {
        "s3": {"href": "s3://bucket/image.tif"},
        "relative": {"href": "./image.tif"},
        "another host": {"href": "https://elsewhere.example/image.tif?signature=canary"},
        "here": {"href": "/v2/assets/a3"},
    }
    with serving() as host:
        host.files = {
            "a1-id": StoredFile(b"one", name="image.tif"),
            "a2-id": StoredFile(b"two", name="image.tif"),
            "a3": StoredFile(b"three", name="here.tif"),
        }
        first = item_content("i1", data={"href": "/v2/assets/a1-id", "roles": ["data"]})
        first["properties"]["up42-system:job_id"] = "job-1"
        second = item_content("i2", data={"href": "/v2/assets/a2-id", "roles": ["data"]})
        host.answers[SEARCH] = {"features": [first, second, item_of("i3", elsewhere)]}
        yield host


def rows(files: list[up42.ResultFile]) -> list[tuple[Any, ...]]:
    return [(file.job_id, file.item_id, file.asset_key, file.path and file.path.read_bytes()) for file in files]


async def test_downloaded_files_have_their_job_item_and_asset_key(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        files = await up42.download_items(up42.search_items(), tmp_path, roles=["data"], bar=True)
    assert rows(files) == [("job-1", "i1", "data", b"one"), ("j1", "i2", "data", b"two")]
    assert [file.path and file.path.name for file in files] == ["image.tif", "image-a2-id.tif"]


async def test_an_unreadable_item_is_an_error_and_the_files_of_the_others_are_downloaded(
    host: StorageHost, tmp_path: Path
) -> None:
    host.answers[SEARCH]["features"].append(item_content("odd") | {"type": "Nonsense"})
    async with host.client():
        files = await up42.download_items(up42.search_items(), tmp_path, keys=["data"])
    assert [(file.item_id, type(file.error)) for file in files] == [
        ("i1", type(None)),
        ("i2", type(None)),
        (None, UnexpectedResponseError),
    ]
    assert "odd" in str(files[-1].error)


async def test_an_asset_outside_up42_is_an_error_with_its_key(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        items = [item async for item in up42.search_items()]
        files = await up42.download_items(items[2:], tmp_path)
    assert {file.asset_key: type(file.error) for file in files} == {
        "another host": DownloadError,
        "here": type(None),
        "relative": DownloadError,
        "s3": DownloadError,
    }
    for file in files:
        assert file.error is None or isinstance(file.error.__cause__, UntrustedURLError)
        assert "canary" not in str(file.error)


async def test_each_file_is_yielded_when_it_is_complete(host: StorageHost, tmp_path: Path) -> None:
    async def items() -> AsyncIterator[pystac.Item]:
        async for item in up42.search_items():
            yield item
        await anyio.sleep_forever()

    async with host.client(), up42.download_items(items(), tmp_path, keys=["data"]) as files:
        seen = [await anext(files), await anext(files)]
        assert "2 files here, 0 failed, more to come" in repr(files)
    assert {file.path and file.path.exists() for file in seen} == {True}


async def test_the_repr_and_html_of_a_batch_show_its_files(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        batch = up42.download_items([item async for item in up42.search_items()], tmp_path)
        await batch
    assert repr(batch) == "<DownloadBatch: 3 files here, 3 failed>"
    table = batch._repr_html_()
    assert table.count("<tr>") == 7
    assert "image-a2-id.tif" in table
    assert "DownloadError: s3" in table
    assert "canary" not in table


async def test_a_long_table_ends_with_the_number_of_rows_left_out(host: StorageHost, tmp_path: Path) -> None:
    assets = {f"{number:03}": {"href": "s3://elsewhere"} for number in range(60)}
    host.answers[SEARCH] = {"features": [item_of("i1", assets)]}
    async with host.client():
        batch = up42.download_items(up42.search_items(), tmp_path)
        await batch
    assert "<p>... and 10 more</p>" in batch._repr_html_()


async def test_download_items_can_be_started_as_a_task(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        items = [item async for item in up42.search_items()]
        async with anyio.create_task_group() as group:
            group.start_soon(up42.download_items, items, tmp_path / "1")
            group.start_soon(up42.download_items, items, tmp_path / "2")
    for name in ("1", "2"):
        assert (tmp_path / name / "here.tif").read_bytes() == b"three"


async def test_the_client_of_an_item_takes_precedence_over_the_current_one(host: StorageHost, tmp_path: Path) -> None:
    async with host.client() as client:
        items = [item async for item in up42.search_items()]
        with serving() as other:
            async with other.client():
                files = await up42.download_items(items[:1], tmp_path)
                url = await up42.signed_url(items[0].assets["data"])
            async with other.client() as given:
                with pytest.raises(NotFoundError):
                    await up42.signed_url(items[0].assets["data"], client=given)
        assert client.statistics().requests == 3
    assert files[0].path is not None
    assert url.startswith(host.storage)


async def test_download_items_refuses_arguments_of_the_wrong_type(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        (item, *_) = [item async for item in up42.search_items()]
        with pytest.raises(TypeError, match=r"write download_items\(\[item\], directory\)"):
            up42.download_items(item, tmp_path)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="items must be STAC items, not 'i1'"):
            await up42.download_items(["i1"], tmp_path)  # type: ignore[list-item]
        with pytest.raises(TypeError, match=r"keys must be a list of strings; write \['data'\]"):
            up42.download_items([item], tmp_path, keys="data")


@pytest.mark.parametrize(
    "href", ["https://elsewhere.example/a.tif", "./a.tif", "s3://bucket/a.tif", "https://[::1", ""]
)
async def test_an_asset_outside_up42_has_no_signed_url(host: StorageHost, href: str) -> None:
    async with host.client() as client:
        with pytest.raises(UntrustedURLError):
            await up42.signed_url(pystac.Asset(href))
    assert client.statistics().requests == 0


async def test_a_signed_url_for_a_value_that_is_not_an_asset_is_a_type_error(host: StorageHost) -> None:
    async with host.client():
        with pytest.raises(TypeError, match=r"asset must be .* an up42_async\.Asset, not 'a1'"):
            await up42.signed_url("a1")  # type: ignore[arg-type]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def read(url: str) -> bytes:
    with urlopen(url) as answer:  # noqa: S310 - the sandbox's own URL
        content: bytes = answer.read()
    return content


async def test_an_asset_can_be_read_without_credentials_at_its_signed_url(sandbox: Sandbox) -> None:
    async with up42.Client(**sandbox.settings):
        asset = await up42.initialize_asset(REFERENCE_ASSET)
        url = await up42.signed_url(asset)
    content = await anyio.to_thread.run_sync(read, url)
    assert hashlib.sha256(content).hexdigest() == sandbox.stored_file(REFERENCE_ASSET).sha256


async def test_an_asset_of_a_collection_is_downloaded_like_one_of_an_item(sandbox: Sandbox, tmp_path: Path) -> None:
    async with up42.Client(**sandbox.settings):
        asset = await up42.initialize_asset(REFERENCE_ASSET)
        (item,) = await asset.stac_items()
        collection = await up42.get_collection(str(item.collection_id))
        (key,) = collection.assets
        (file,) = await up42.download_items([collection], tmp_path)
        url = await up42.signed_url(collection.assets[key])
    assert (file.item_id, file.asset_key) == (collection.id, key)
    assert file.path is not None
    assert await anyio.to_thread.run_sync(read, url) == file.path.read_bytes()


def pixels(source: str | Path, window: Any = None) -> np.ndarray[Any, Any]:
    settings = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_USE_HEAD": "NO", "GDAL_HTTP_PROXY": ""}
    with rasterio.Env(**settings), rasterio.open(source) as image:
        data: np.ndarray[Any, Any] = image.read(window=window)
    return data


async def test_rasterio_reads_the_pixels_of_a_result_from_its_signed_url(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (job_id,) = sandbox.seed_jobs(1, status="captured", process_id="pansharpening")
    async with up42.Client(**sandbox.settings):
        job = await up42.Job.get(job_id)
        assets = {key: asset async for item in job.items() for key, asset in item.assets.items()}
        key = next(key for key in assets if key.endswith(".tif"))
        (path,) = await job.download(tmp_path, keys=[key])
        before = len(sandbox.requests)
        url = await up42.signed_url(assets[key])
        read_remotely = await anyio.to_thread.run_sync(pixels, url)
        part = await anyio.to_thread.run_sync(pixels, url, windows.Window(0, 0, 16, 16))
    assert np.array_equal(read_remotely, pixels(path))
    assert np.array_equal(part, pixels(path)[:, :16, :16])
    (first, *rest) = [request for request in list(sandbox.requests)[before:] if request.origin == "files"]
    assert [request.status for request in rest] == [206] * len(rest)  # after a look at how long the file is
    assert first.has_authorization is False
