"""The examples of the reference, with `await` or `async for` added, and the names, types and defaults it documents."""

import datetime as dt
import inspect
import typing

import anyio
import pystac
import pytest

import up42_async as up42
from tests.job_answers import connected
from up42_async import processing_templates

ATTRIBUTES = {
    "process_id": str,
    "id": str,
    "account_id": str,
    "workspace_id": str | None,
    "definition": dict[str, typing.Any],
    "status": up42.JobStatus,
    "created": dt.datetime,
    "updated": dt.datetime,
    "collection_url": str | None,
    "errors": list[up42.ValidationError] | None,
    "credits": int | None,
    "started": dt.datetime | None,
    "finished": dt.datetime | None,
}


async def test_jobs_are_sorted_by_credits_in_ascending_order() -> None:
    async with connected() as sandbox:
        sandbox.seed_jobs(20, status="captured")
        credits = [job.credits async for job in up42.Job.all(sort_by=up42.JobSorting.credits.asc)]
        assert credits == sorted(job.price for job in sandbox.jobs.values())


async def test_jobs_are_sorted_by_creation_date_in_descending_order() -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(20, spread=6000)
        assert [job.id async for job in up42.Job.all(sort_by=up42.JobSorting.created.desc)] == seeded[::-1]


async def test_a_job_is_fetched_by_its_id() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1)
        job = await up42.Job.get(id=job_id)
        assert isinstance(job, up42.Job)
        assert job.id == job_id


async def test_a_job_is_tracked_until_its_status_is_terminal() -> None:
    async with connected(speed=1000) as sandbox:
        (job_id,) = sandbox.seed_jobs(
            1, timeline=[(0, "created"), (20, "running"), (40, "successful"), (60, "captured")]
        )
        job = await up42.Job.get(id=job_id)
        with anyio.fail_after(10):
            await job.track(wait=0.01)
        assert job.status in up42.TERMINAL_STATUSES


def test_the_default_schedule_is_a_query_every_sixty_seconds_for_three_days() -> None:
    assert (up42.Polling().wait, up42.Polling().retries) == (60, 60 * 24 * 3)
    assert list(inspect.signature(up42.Job.track).parameters)[1:3] == ["wait", "retries"]


async def test_jobs_are_filtered_by_duration_and_sorted_by_process() -> None:
    async with connected() as sandbox:
        quick = [(0.0, "created"), (10.0, "running"), (60.0, "captured")]
        slow = [(0.0, "created"), (10.0, "running"), (999.0, "captured")]
        wanted = [
            *sandbox.seed_jobs(2, process_id="pansharpening", timeline=quick, spread=2000),
            *sandbox.seed_jobs(2, process_id="detection-trees-spacept", timeline=quick, spread=2000),
        ]
        sandbox.seed_jobs(2, timeline=slow, spread=2000)
        jobs = [
            job
            async for job in up42.Job.all(
                max_duration=500,
                sort_by=up42.JobSorting.process_id,
            )
        ]
        assert {job.id for job in jobs} == set(wanted)
        assert [job.process_id for job in jobs] == ["detection-trees-spacept"] * 2 + ["pansharpening"] * 2


def test_a_job_has_the_attributes_of_the_reference_with_their_types() -> None:
    hints = typing.get_type_hints(up42.Job, localns={"Client": up42.Client})
    assert {name: hints[name] for name in ATTRIBUTES} == ATTRIBUTES


def test_attributes_with_a_default_in_the_reference_may_be_omitted() -> None:
    now = dt.datetime.now(dt.UTC)
    job = up42.Job(
        process_id="p",
        id="i",
        account_id="a",
        workspace_id=None,
        definition={},
        status=up42.JobStatus.CREATED,
        created=now,
        updated=now,
    )
    assert (job.collection_url, job.errors, job.credits, job.started, job.finished) == (None,) * 5


def test_the_filters_of_the_reference_come_first_and_may_be_given_by_position() -> None:
    names = list(inspect.signature(up42.Job.all).parameters)
    assert names[:6] == ["process_id", "workspace_id", "status", "min_duration", "max_duration", "sort_by"]


def test_metadata_and_results_have_the_keys_of_the_reference() -> None:
    assert set(typing.get_type_hints(up42.JobResults)) == {"collection", "errors"}
    assert list(typing.get_type_hints(up42.JobMetadata)) == [
        "processID",
        "jobID",
        "accountID",
        "workspaceID",
        "definition",
        "results",
        "creditConsumption",
        "status",
        "created",
        "started",
        "finished",
        "updated",
    ]


async def test_tracking_that_uses_up_its_retries_raises_unfinished_job() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="running")
        job = await up42.Job.get(job_id)
        with pytest.raises(up42.UnfinishedJob):
            await job.track(wait=0, retries=2)


async def test_a_job_gives_its_collection() -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, status="captured")
        job = await up42.Job.get(id=job_id)
        collection = await job.collection()
        assert isinstance(collection, pystac.Collection)
        assert job.collection_url is not None
        assert job.collection_url.endswith(collection.id)


async def test_a_cost_is_compared_with_a_number() -> None:
    async with connected():
        asset = await up42.initialize_asset(asset_id="68567134-27ad-7bd7-4b65-d61adb11fc78")
        template = processing_templates.DetectionTreesSpacept(
            title="Detect trees over UK",
            item=(await asset.stac_items())[0],
        )
        await template.evaluate()
        assert template.cost <= 100
        assert (template.cost.strategy, template.cost.unit) == ("area", "SQ_KM")


async def test_an_invalid_template_names_its_errors_when_evaluated() -> None:
    async with connected() as sandbox:
        sandbox.set_eula("detection-trees-spacept", accepted=False)
        asset = await up42.initialize_asset(asset_id="68567134-27ad-7bd7-4b65-d61adb11fc78")
        job = processing_templates.DetectionTreesSpacept(
            title="Detect trees over UK", item=(await asset.stac_items())[0]
        )
        await job.evaluate()
        assert not job.is_valid
        assert {error.name for error in job.errors} == {"EulaNotAccepted"}


async def test_executing_a_template_returns_its_job() -> None:
    async with connected() as sandbox:
        asset = await up42.initialize_asset(asset_id="68567134-27ad-7bd7-4b65-d61adb11fc78")
        job = processing_templates.DetectionTreesSpacept(
            title="Detect trees over UK", item=(await asset.stac_items())[0]
        )
        made = await job.execute()
        assert isinstance(made, up42.Job)
        assert [execution.job_id for execution in sandbox.executions] == [made.id]
