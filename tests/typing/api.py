"""The types that users see, as mypy and pyright check them; this file is not run."""

import datetime as dt
from pathlib import Path
from typing import Any, assert_type

import httpx
import pystac

import up42_async as up42
from up42_async import processing_templates
from up42_async.processing_templates import DetectionTreesSpacept, JobTemplate, SingleItemJobTemplate


async def a_client() -> None:
    async with up42.Client(username="me@example.com", password="secret", region="eu") as client:
        assert_type(client, up42.Client)
        assert_type(await client.workspace_id(), str)
        assert_type(client.statistics(), up42.Statistics)
        assert_type(client.statistics().requests, int)
        assert_type(client.http_client, httpx.AsyncClient)
        assert_type(await client.request("GET", "/v2/x", params={"a": 1, "b": ["c"], "d": None}), Any)
    assert_type(await client.aclose(), None)
    up42.Client(cfg_file="credentials.json", timeouts=up42.Timeouts(), retry=up42.RetryPolicy(), limits=up42.Limits())
    up42.Client(endpoints=up42.Endpoints(api="https://api.example.com", auth="https://auth.example.com"))


async def one_job(client: up42.Client) -> None:
    job = await up42.Job.get("d290f1ee-6c54-4b01-90e6-d701748f0851")
    assert_type(job, up42.Job)
    assert_type(await up42.Job.get(job_id="d290f1ee-6c54-4b01-90e6-d701748f0851", client=client), up42.Job)
    assert_type(await job.refresh(), up42.Job)
    assert_type(await job.track(), up42.Job)
    assert_type(await job.track(wait=0.2, retries=10), up42.Job)
    assert_type(job.raise_for_status(), up42.Job)
    assert_type(job.is_finished, bool)
    assert_type(job.is_successful, bool)


def the_fields_of_a_job(job: up42.Job) -> None:
    assert_type(job.process_id, str)
    assert_type(job.id, str)
    assert_type(job.account_id, str)
    assert_type(job.workspace_id, str | None)
    assert_type(job.definition, dict[str, Any])
    assert_type(job.status, up42.JobStatus)
    assert_type(job.created, dt.datetime)
    assert_type(job.updated, dt.datetime)
    assert_type(job.collection_url, str | None)
    assert_type(job.errors, list[up42.ValidationError] | None)
    assert_type(job.credits, int | None)
    assert_type(job.started, dt.datetime | None)
    assert_type(job.finished, dt.datetime | None)


def a_job_from_its_metadata(metadata: up42.JobMetadata) -> None:
    assert_type(metadata["results"], up42.JobResults | None)
    assert_type(up42.Job.from_metadata(metadata), up42.Job)


async def many_jobs(client: up42.Client) -> None:
    listed = up42.Job.all(
        process_id=["detection-trees-spacept"],
        workspace_id="68567134-27ad-7bd7-4b65-d61adb11fc78",
        status=[up42.JobStatus.RUNNING],
        min_duration=0,
        max_duration=500,
        sort_by=up42.JobSorting.created.desc,
        ids=["d290f1ee-6c54-4b01-90e6-d701748f0851"],
        page_size=100,
        client=client,
    )
    assert_type(listed, up42.JobList[up42.Job])
    jobs = [job async for job in listed]
    assert_type(await up42.track(jobs), list[up42.Job])
    assert_type(await up42.track([job.id for job in jobs], wait=60, retries=4320, client=client), list[up42.Job])
    async for job in up42.track(jobs):
        assert_type(job, up42.Job)
    async for job in up42.track(jobs).updates():
        assert_type(job, up42.Job)


def the_words_of_jobs() -> None:
    assert_type(up42.JobStatus("paused"), up42.JobStatus)
    assert_type(up42.JobSorting.credits, up42.SortingField)
    assert_type(up42.JobSorting.credits.asc, up42.SortingField)
    assert up42.JobStatus.CAPTURED in up42.TERMINAL_STATUSES


def the_facts_of_errors(failed: up42.JobFailedError, unfinished: up42.UnfinishedJob, refused: up42.StatusError) -> None:
    assert_type(failed.job, up42.Job | None)
    assert_type(unfinished.finished, list[up42.Job])
    assert_type(unfinished.unfinished, list[up42.Job | str])
    assert_type(unfinished.reasons, dict[str, str])
    assert_type(unfinished.job, up42.Job | None)
    assert_type(refused.status, int)
    assert_type(refused.request, str)


async def one_template(item: pystac.Item) -> None:
    template = DetectionTreesSpacept(title="Detect trees over UK", item=item)
    assert_type(await template.evaluate(), DetectionTreesSpacept)
    assert_type(template.is_valid, bool)
    assert_type(template.errors, set[up42.ValidationError])
    assert_type(template.cost, up42.Cost)
    assert_type(template.cost <= 100, bool)
    assert_type(template.cost > template.cost, bool)
    assert_type(template.cost.credits, int)
    assert_type(template.cost.size, float | None)
    assert_type(await template.execute(), up42.Job)
    assert_type(await template.execute(max_credits=100, budget_id="68567134-27ad-7bd7-4b65-d61adb11fc78"), up42.Job)


class CloudMask(SingleItemJobTemplate):
    """A template for a process of the user's own."""

    process_id = "cloud-mask"


async def many_templates(templates: list[CloudMask], mixed: list[JobTemplate]) -> None:
    assert_type(await up42.evaluate(templates), list[CloudMask])
    assert_type(await up42.execute(templates, max_credits=1000), list[up42.ExecutionResult[CloudMask]])
    async with up42.execute(mixed) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, up42.ExecutionResult[JobTemplate])
            assert_type(outcome.template, JobTemplate)
            assert_type(outcome.job, up42.Job | None)
            assert_type(outcome.error, Exception | None)
    grey = processing_templates.GreyWeight(band="red", weight=0.5)
    processing_templates.Pansharpening(title="Sharper", item="https://api.up42.com/item", grey_weights=[grey])


async def storage() -> None:
    asset = await up42.initialize_asset(asset_id="68567134-27ad-7bd7-4b65-d61adb11fc78")
    assert_type(asset, up42.Asset)
    assert_type(await asset.stac_items(), list[pystac.Item])
    async for item in up42.search_items(asset_id=asset.id, limit=10):
        assert_type(item, pystac.Item)
    assert_type(await asset.download("files"), list[Path])
    assert_type(await up42.Asset.get(asset.id), up42.Asset)
    collection = await up42.get_collection("collection")
    assert_type(collection, pystac.Collection)
    assert_type(up42.Up42Properties(collection).title, str | None)
    item = await anext(up42.search_items(bbox=(-1, 50, 1, 52), datetime=("2024-01-01T00:00:00Z", None)))
    up42.Up42Properties(item).tags = ["trees"]
    assert_type(await up42.update_item(item), pystac.Item)
    assert_type(await up42.get_item("collection", "item"), pystac.Item)
    assert_type(await up42.get_queryables(), dict[str, Any])
    assert_type(await up42.delete_collection("collection"), None)
    assert_type([one async for one in up42.list_collections()], list[pystac.Collection])
    assets = up42.Asset.all(tags=["forest"], created_after=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    assert_type([one async for one in assets], list[up42.Asset])
    assert_type(assets.errors, list[up42.UnexpectedResponseError])


async def account(client: up42.Client) -> None:
    assert_type(await client.balance(), up42.Balance)
    assert_type((await client.balance()).credits, float)
    process = await up42.Process.get("pansharpening")
    assert_type(process, up42.Process)
    assert_type(process.inputs["title"].is_required, bool)
    assert_type(process.prices[0].credits, float)
    assert_type(process.eula_accepted, bool | None)
    assert_type([one.id async for one in up42.Process.all(client=client)], list[str])
    budgets = up42.Budget.all(status=["ACTIVE"], include_usage=True)
    assert_type([one async for one in budgets], list[up42.Budget])
    budget = await up42.Budget.get("budget")
    assert_type(await budget.usage(), float)
    assert_type(budget.validity_period, up42.ValidityPeriod | None)
    assert_type(await up42.Budget.is_enforced(), bool)


async def results(job: up42.Job, jobs: list[up42.Job]) -> None:
    assert_type(await job.collection(), pystac.Collection | None)
    items = job.items()
    assert_type(await anext(items), pystac.Item)
    assert_type(items.errors, list[up42.UnexpectedResponseError])
    assert_type(await job.download("files", keys=["trees.geojson"], roles=["data"], unpack=True), list[Path])
    assert_type(await up42.download(jobs, Path("files")), list[up42.ResultFile])
    assert_type(await up42.download_items(up42.search_items(), "files"), list[up42.ResultFile])
    assert_type(await up42.signed_url(pystac.Asset("href")), str)
    async with up42.download(up42.track(jobs), "files", media_types=["image/tiff"], bar=True) as files:
        assert_type(files, up42.DownloadBatch)
        async for progress in files.progress():
            assert_type(progress, up42.DownloadProgress)
            assert_type(progress.bytes_total, int | None)
            assert_type(progress.active, tuple[up42.FileProgress, ...])
        async for file in files:
            assert_type(file.path, Path | None)
            assert_type(file.error, up42.Up42Error | None)
        assert_type(files.results, list[up42.ResultFile])
