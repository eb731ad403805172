"""Downloads of the results of many jobs: each file is yielded when complete, none is lost, and no task is left."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.storage.test_collections import item_content
from tests.storage_host import StorageHost, StoredFile, broken_after, refused, serving
from up42_async import Job, JobFailedError, Limits, NotFoundError, RetryPolicy, UnfinishedJob
from up42_async._downloads.download import DownloadError
from up42_async._downloads.file_names import RECORD
from up42_async._downloads.options import DownloadOptions, Timings
from up42_async._downloads.progress import DownloadProgress
from up42_async._jobs.result_downloads import JobDownloads, download
from up42_async._storage.download_batch import ResultFile

SEARCH = "POST /v2/assets/stac/search"
CONTENT = bytes(range(256)) * 5000


def job(name: str, status: str = "captured", *, collection: str | None = None) -> Job:
    return Job.from_metadata(metadata(name, status, collection=collection))


def metadata(name: str, status: str = "captured", *, collection: str | None = None) -> Any:
    return {
        "processID": "detection-trees-spacept",
        "jobID": name,
        "accountID": "acc",
        "workspaceID": None,
        "definition": {"inputs": {}},
        "results": {
            "collection": f"https://api.up42.com/v2/assets/stac/collections/{collection or name}",
            "errors": None,
        },
        "creditConsumption": None,
        "status": status,
        "created": "2024-05-01T10:00:00Z",
        "started": None,
        "finished": None,
        "updated": "2024-05-01T10:00:00Z",
    }


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.name != RECORD]


@pytest.fixture
def host() -> Iterator[StorageHost]:
    """Serve results: each job has one item, with two files of the same names in all jobs."""

    def search(body: Any) -> Any:
        (name,) = body["collections"]
        files = {f"{key}.tif": {"href": f"/v2/assets/{name}-{key}", "roles": [key]} for key in ("data", "mask")}
        return {"features": [item_content(f"item-{name}", name, **files)]}

    with serving() as host:
        host.answers[SEARCH] = search
        for number in range(6):
            host.answers[f"GET /v2/processing/jobs/j{number}"] = metadata(f"j{number}")
            for key in ("data", "mask"):
                host.files[f"j{number}-{key}"] = StoredFile(CONTENT + f"{number}{key}".encode(), name=f"{key}.tif")
        yield host


async def test_results_are_in_the_order_of_the_jobs(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        files = await download([job("j2"), "j0", job("j1")], tmp_path)
    assert [(file.job_id, file.key) for file in files] == [
        (name, key) for name in ("j2", "j0", "j1") for key in ("data.tif", "mask.tif")
    ]
    for file in files:
        assert file.path is not None
        assert file.path == tmp_path / str(file.job_id) / str(file.asset_key)
        assert file.path.read_bytes() == host.files[f"{file.job_id}-{str(file.key)[:4]}"].content
        assert file.error is None


async def test_each_file_is_yielded_when_it_is_complete(host: StorageHost, tmp_path: Path) -> None:
    seen: list[ResultFile] = []
    async with host.client(), download([job("j0"), job("j1")], tmp_path) as files:
        async for file in files:
            assert file.path is not None
            assert file.path.exists()
            seen.append(file)
    assert len(seen) == 4
    assert sorted(map(str, seen)) == sorted(map(str, files.results))


async def test_files_are_chosen_for_all_jobs(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        files = await download([job("j0"), job("j1")], tmp_path, roles=["mask"])
    assert [file.key for file in files] == ["mask.tif", "mask.tif"]


async def test_results_are_downloaded_while_other_jobs_still_run(host: StorageHost, tmp_path: Path) -> None:
    landed = anyio.Event()

    async def finishing() -> AsyncIterator[Job]:
        yield job("j0")
        await landed.wait()
        yield job("j1")

    async with host.client(), download(finishing(), tmp_path) as files:
        async for file in files:
            if file.job_id == "j0":
                landed.set()
    assert [file.job_id for file in files.results] == ["j0", "j0", "j1", "j1"]


async def test_a_job_or_file_that_fails_is_a_result_with_an_error(host: StorageHost, tmp_path: Path) -> None:
    del host.files["j1-mask"]
    jobs: list[Job | str] = [job("j0", "running"), job("j2", "released"), "unknown", job("j1"), "j3"]
    async with host.client():
        files = await download(jobs, tmp_path)
    assert [(file.job_id, file.key, type(file.error)) for file in files] == [
        ("j0", None, UnfinishedJob),
        ("j2", None, JobFailedError),
        ("unknown", None, NotFoundError),
        ("j1", "data.tif", type(None)),
        ("j1", "mask.tif", DownloadError),
        ("j3", "data.tif", type(None)),
        ("j3", "mask.tif", type(None)),
    ]
    assert [file.path is None for file in files] == [file.error is not None for file in files]


async def test_an_item_that_cannot_be_read_is_an_error_beside_the_files_of_the_others(
    host: StorageHost, tmp_path: Path
) -> None:
    good = host.answers[SEARCH]({"collections": ["j0"]})
    host.answers[SEARCH] = {"features": [*good["features"], {"id": "odd", "type": "Nonsense", "collection": "j0"}]}
    async with host.client():
        files = await download([job("j0")], tmp_path)
    assert [(file.item_id, file.path is None) for file in files] == [
        ("item-j0", False),
        ("item-j0", False),
        (None, True),
    ]
    assert "odd" in str(files[-1].error)


async def test_leaving_early_stops_downloads_in_progress_and_keeps_complete_files(
    host: StorageHost, tmp_path: Path
) -> None:
    async with host.client(limits=Limits(max_downloads=1)) as client:
        async with download([job(f"j{number}") for number in range(6)], tmp_path) as files:
            async for _ in files:
                break
        here = set(files_in(tmp_path))
        assert {file.path for file in files.results} == here
        assert 1 <= len(here) < 12
        assert client._session.file_slots.borrowed_tokens == 0
        assert len([file async for file in files]) == len(here) - 1


async def test_an_error_raised_in_the_block_is_raised_unchanged(host: StorageHost, tmp_path: Path) -> None:
    async def divide() -> None:
        async with host.client(), download([job("j0"), job("j1")], tmp_path) as files:
            async for _ in files:
                _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        await divide()


async def test_cancelling_leaves_whole_files_only(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        for number in range(10):
            with anyio.move_on_after(number * 0.02):
                await download([job("j0"), job("j1"), job("j2")], tmp_path, resume=False)
            assert {path.suffix for path in files_in(tmp_path)} <= {".tif"}


async def test_an_error_of_the_iterable_of_jobs_is_raised_after_the_other_files(
    host: StorageHost, tmp_path: Path
) -> None:
    async def failing() -> AsyncIterator[Job]:
        yield job("j0")
        raise UnfinishedJob("j1 is not finished")

    async with host.client():
        files = download(failing(), tmp_path)
        with pytest.raises(UnfinishedJob, match="j1 is not finished"):
            await files
    assert [file.job_id for file in files.results if file.path] == ["j0", "j0"]


async def test_a_mistake_of_the_caller_is_raised_unchanged(host: StorageHost, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no UP42 client"):
        await download([job("j0")], tmp_path)
    async with host.client():
        with pytest.raises(ValueError, match="id"):
            await download([".."], tmp_path)
    client = host.client()
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await download([job("j0")], tmp_path, client=client)


async def test_a_value_that_is_not_a_job_is_a_type_error_that_shows_it(host: StorageHost, tmp_path: Path) -> None:
    async with host.client():
        with pytest.raises(TypeError, match="jobs must be jobs or their ids, not 7"):
            await download([7], tmp_path)  # type: ignore[list-item]


async def test_closing_the_client_in_the_middle_is_an_error_that_says_so(host: StorageHost, tmp_path: Path) -> None:
    client = host.client()
    host.sign = lambda _: "http://127.0.0.1:9/x"

    async def close_in_the_middle() -> None:
        async with download([job("j0")], tmp_path, client=client) as files:
            await host.until(lambda: host.minted > 0)
            await client.aclose()
            async for _ in files:
                pass

    with pytest.raises(RuntimeError, match="closed"):
        await close_in_the_middle()


@pytest.mark.parametrize("jobs", ["j0", job("j0")])
def test_one_job_instead_of_several_is_refused_with_the_way_out(tmp_path: Path, jobs: Any) -> None:
    with pytest.raises(TypeError, match=r"job\.download\(directory\)"):
        download(jobs, tmp_path)


async def test_a_symbolic_link_for_a_jobs_directory_is_not_followed(host: StorageHost, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "j0").symlink_to(tmp_path / "outside")
    async with host.client():
        (file,) = await download([job("j0")], tmp_path)
    assert "is a symbolic link" in str(file.error)
    assert list((tmp_path / "outside").iterdir()) == []


async def test_a_job_id_that_is_hostile_stays_inside_the_directory(host: StorageHost, tmp_path: Path) -> None:
    names = ["../../evil", "evil", "..", "a/evil"]
    async with host.client():
        files = await download([job(name, collection="j0") for name in names], tmp_path / "in")
    assert len({file.path for file in files}) == 8
    assert all(file.path and file.path.parent.parent == tmp_path / "in" for file in files)


async def test_progress_is_an_iteration_of_values_that_ends_with_the_files(host: StorageHost, tmp_path: Path) -> None:
    del host.files["j1-mask"]
    rows: list[DownloadProgress] = []
    async with host.client(), download([job("j0"), "j1"], tmp_path) as files:
        rows.extend([progress async for progress in files.progress()])
    last = rows[-1]
    assert (last.files_done, last.files_failed, last.files_known, last.is_complete) == (3, 1, 4, True)
    assert last.bytes_done == sum(path.stat().st_size for path in files_in(tmp_path))
    assert last.active == ()
    assert [row.bytes_done for row in rows] == sorted(row.bytes_done for row in rows)
    assert any(active.job_id == "j0" and active.bytes_total for row in rows for active in row.active)


async def test_progress_knows_the_total_when_all_files_are_known(host: StorageHost, tmp_path: Path) -> None:
    rows: list[DownloadProgress] = []
    async with host.client(), download([job("j0")], tmp_path) as files:
        rows.extend([progress async for progress in files.progress()])
    total = sum(path.stat().st_size for path in files_in(tmp_path))
    assert (rows[-1].bytes_done, rows[-1].bytes_total) == (total, total)
    assert rows[0].bytes_total is None


async def test_a_slow_reader_of_progress_gets_the_newest_state(host: StorageHost, tmp_path: Path) -> None:
    async with host.client(), download([job("j0"), job("j1")], tmp_path) as files:
        async for _ in files:
            pass
        rows = [progress async for progress in files.progress()]
    assert [row.files_done for row in rows] == [4]


async def test_an_interrupted_download_continues_in_the_next_run(host: StorageHost, tmp_path: Path) -> None:
    host.faults = [broken_after(1_200_000), refused(403)]
    async with host.client(retry=RetryPolicy(attempts=1), limits=Limits(max_downloads=1)):
        (first,) = await download(["j0"], tmp_path, keys=["data.tif"])
        assert isinstance(first.error, DownloadError)
        assert first.error.received == 1_200_000
        (second,) = await download(["j0"], tmp_path, keys=["data.tif"])
    assert second.path is not None
    assert host.seen[-1].headers["range"] == "bytes=1200000-"


async def test_a_bar_shows_how_many_files_are_done(
    host: StorageHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del host.files["j1-mask"]
    options = DownloadOptions(timings=Timings(redraw=0.001))
    async with host.client():
        await JobDownloads([job("j0"), job("j1")], tmp_path, options, None, bar=True)
    assert "3/4 files, 1 failed" in capsys.readouterr().out


async def test_leaving_a_block_with_a_bar_early_does_not_hang(host: StorageHost, tmp_path: Path) -> None:
    async with host.client(limits=Limits(max_downloads=1)):
        with anyio.fail_after(30):
            async with download([job(f"j{number}") for number in range(6)], tmp_path, bar=True) as files:
                await anext(files)


def test_a_bar_without_rich_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(RuntimeError, match=r"up42-async\[progress\]"):
        download(["j0"], tmp_path, bar=True)


async def test_only_a_few_jobs_are_processed_at_a_time(host: StorageHost, tmp_path: Path) -> None:
    taken = done = most = 0

    async def jobs() -> AsyncIterator[Job]:
        nonlocal taken, most
        for number in range(6):
            taken += 1
            most = max(most, taken - done)
            yield job(f"j{number}")

    few = DownloadOptions(keys=["data.tif"], max_jobs=2)
    async with host.client(), JobDownloads(jobs(), tmp_path, few, None, bar=False) as files:
        async for _ in files:
            done += 1
    assert most <= 3
