"""The client on a sandbox, by the settings that the sandbox gives."""

import time
from pathlib import Path

import pytest

import up42_async as up42
from up42_async import processing_templates
from up42_async.sandbox import REFERENCE_ASSET, REFERENCE_JOB, Sandbox, faults


@pytest.mark.parametrize("seed", [0, 1])
async def test_a_job_is_tracked_to_its_end_in_seconds(seed: int) -> None:
    async with Sandbox(speed=600, seed=seed) as sandbox, up42.Client(**sandbox.settings):
        (job_id,) = sandbox.seed_jobs(1)
        job = await up42.Job.get(job_id)
        began = time.perf_counter()
        await job.track()
        assert time.perf_counter() - began < 20
        assert job.is_finished


async def test_a_lost_answer_is_found_in_less_than_two_seconds() -> None:
    async with Sandbox(speed=600) as sandbox, up42.Client(**sandbox.settings):
        asset = await up42.initialize_asset(asset_id=REFERENCE_ASSET)
        (item, *_) = await asset.stac_items()
        template = processing_templates.DetectionTreesSpacept(title="Detect trees over UK", item=item)
        await template.evaluate()
        took, jobs = [], []
        for _ in range(3):  # one of them has the machine for itself
            sandbox.faults.add(faults.LoseAnswer(), path="/v2/processing/processes/.*/execution", times=1)
            began = time.perf_counter()
            jobs.append((await template.execute()).id)
            took.append(time.perf_counter() - began)
        assert min(took) < 2
        assert [execution.job_id for execution in sandbox.executions] == jobs


async def test_the_job_of_the_reference_has_a_collection_and_files(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, up42.Client(**sandbox.settings):
        job = await up42.Job.get(REFERENCE_JOB)
        await job.track()
        assert (job.id, job.status) == (REFERENCE_JOB, up42.JobStatus.CAPTURED)
        collection = await job.collection()
        assert collection is not None
        assert collection.title == "Detect trees over UK"
        assert await job.download(tmp_path)
