"""Downloads of results and assets from the sandbox, with each fault of its storage."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import anyio
import pystac
import pytest

import up42_async as up42
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.file_names import RECORD
from up42_async._downloads.options import DownloadOptions
from up42_async._storage.items import files_of
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import REFERENCE_ASSET, Sandbox, faults

FILES = "/up42-sandbox-assets/"
QUICK = up42.RetryPolicy(attempts=6, wait_initial=0.002, wait_max=0.01, budget=1000)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=36_000, failure_rate=0.0) as sandbox:
        yield sandbox


def client_of(sandbox: Sandbox, *, silence: float = 30) -> up42.Client:
    return up42.Client(
        **sandbox.credentials, endpoints=sandbox.endpoints, retry=QUICK, timeouts=up42.Timeouts(read=silence)
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def everything_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.name != RECORD]


async def test_the_example_of_the_reference_downloads_its_files(sandbox: Sandbox, tmp_path: Path) -> None:
    async with client_of(sandbox):
        asset = await up42.initialize_asset(asset_id=REFERENCE_ASSET)
        items = await asset.stac_items()
        template = DetectionTreesSpacept(title="Detect trees over UK", item=items[0])
        job = await template.execute()
        await job.track(wait=0.05)
        collection = await job.collection()
        results = [item async for item in job.items()]
        paths = await job.download(tmp_path)
    assert isinstance(collection, pystac.Collection)
    assert {item.collection_id for item in results} == {collection.id}
    assert sorted(map(sha256, paths)) == sorted(file.sha256 for file in sandbox.results_of(job.id))
    assert sandbox.tokens_leaked == 0


@pytest.mark.parametrize("where", ["url", "header"])
@pytest.mark.parametrize("name", faults.HOSTILE_NAMES)
async def test_a_file_with_a_hostile_name_is_saved_inside_the_directory(
    sandbox: Sandbox, tmp_path: Path, name: str, where: str
) -> None:
    sandbox.faults.add(faults.FileName(faults.HOSTILE_NAMES[name], where="url" if where == "url" else "header"))
    async with client_of(sandbox):
        asset = await up42.initialize_asset(REFERENCE_ASSET)
        (path,) = await asset.download(tmp_path / "inside")
    assert everything_in(tmp_path) == [path]
    assert path.parent == tmp_path / "inside"
    assert sha256(path) == sandbox.stored_file(REFERENCE_ASSET).sha256


@pytest.mark.parametrize("name", sorted(set(faults.HOSTILE_ORIGINS) - {"userinfo"}))
async def test_a_signed_url_to_an_untrusted_origin_is_not_followed(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    sandbox.faults.add(faults.SignedUrlAt(faults.HOSTILE_ORIGINS[name]))
    async with client_of(sandbox):
        asset = await up42.initialize_asset(REFERENCE_ASSET)
        with pytest.raises(up42.DownloadError) as caught:
            await asset.download(tmp_path)
    assert isinstance(caught.value.__cause__, up42.Up42Error)
    assert everything_in(tmp_path) == []
    assert "signature" not in str(caught.value).lower()


FAULTS: list[faults.Kind] = [
    faults.DropConnection(),
    faults.DropConnection(reset=True),
    faults.Truncate(),
    faults.Truncate(keep=100, reset=True),
    faults.Stall(after=5000),
    faults.Status(403, "xml"),
    faults.Status(503, "html"),
    faults.Status(429, "empty", retry_after=0),
    faults.ExpireSignedUrls(),
    faults.Corrupt(),
    faults.WrongLength(-10, announced=False),
    faults.WrongLength(10, announced=False),
    faults.ChangeEtag(),
    faults.ChangeEtag(heeds_if_range=False),
    faults.IgnoreRange(),
    faults.WrongRange(),
    faults.WrongRange(7, admitted=False),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_with_random_faults_each_file_is_complete_or_absent(tmp_path: Path, seed: int) -> None:
    with Sandbox(seed=seed) as sandbox:
        ids = [sandbox.add_asset(size=300_000 + number, name=f"{number}.tif") for number in range(25)]
        for fault in FAULTS:
            sandbox.faults.add(fault, path=FILES, probability=0.04)
        async with client_of(sandbox, silence=1) as client, anyio.create_task_group() as group:
            for asset_id in ids:
                group.start_soon(download_asset, client, asset_id, tmp_path)
        whole = {sandbox.stored_file(asset_id).sha256 for asset_id in ids}
        assert sandbox.tokens_leaked == 0
    here = [path for path in everything_in(tmp_path) if path.suffix == ".tif"]
    assert {sha256(path) for path in here} <= whole
    assert len(here) > 15


async def download_asset(client: up42.Client, asset_id: str, directory: Path) -> None:
    """Download the file of an asset by its item, which has the checksum; a `DownloadError` is expected."""
    items = [item async for item in up42.search_items(asset_id=asset_id, client=client)]
    with contextlib.suppress(up42.DownloadError):
        await fetch_all(Downloads(client, directory, DownloadOptions()), files_of(items, DownloadOptions()))


async def test_twenty_long_downloads_delay_no_other_request(tmp_path: Path) -> None:
    async with (
        Sandbox(bandwidth=100_000) as sandbox,
        up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints, limits=up42.Limits(max_concurrency=2)),
        anyio.create_task_group() as group,
    ):
        (job_id,) = sandbox.seed_jobs(1, status="running")
        assets = [await up42.initialize_asset(asset_id) for asset_id in sandbox.add_assets(20, size=10**8)]
        for asset in assets:
            group.start_soon(asset.download, tmp_path)
        with anyio.fail_after(30):  # the files take a quarter of an hour
            while sandbox.count(origin="files") < up42.Limits().max_downloads:  # noqa: ASYNC110 - another thread counts
                await anyio.sleep(0.005)
            job = await up42.Job.get(job_id)
            assert (await job.refresh()).status is up42.JobStatus.RUNNING
        group.cancel_scope.cancel()
