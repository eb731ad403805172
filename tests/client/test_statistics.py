"""Statistics of a client: the jobs that are tracked, and the credits that were spent."""

import anyio

import up42_async as up42
from up42_async.processing_templates import DetectionTreesSpacept
from up42_async.sandbox import REFERENCE_ASSET, Sandbox, faults

EXECUTION = "/v2/processing/processes/[^/]+/execution"


async def test_a_job_that_several_tasks_track_is_counted_once() -> None:
    with Sandbox(speed=60) as sandbox:
        ids = sandbox.seed_jobs(3, status="running")
        async with up42.Client(**sandbox.settings) as client, anyio.create_task_group() as group:
            assert client.statistics().tracked == 0
            group.start_soon(up42.track, ids)
            group.start_soon(up42.track, ids[:2])
            with anyio.fail_after(10):
                while client.statistics().tracked != 3:  # noqa: ASYNC110 - nothing tells when a wait has begun
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert client.statistics().tracked == 0


async def test_credits_count_as_spent_when_they_were_or_may_have_been() -> None:
    with Sandbox(speed=600) as sandbox:
        async with up42.Client(**sandbox.settings) as client:
            (item,) = await (await up42.initialize_asset(REFERENCE_ASSET)).stac_items()
            template = await DetectionTreesSpacept(title="Trees", item=item).evaluate()
            assert client.statistics().spent == 0
            await template.execute()
            assert client.statistics().spent == template.cost.credits
            sandbox.faults.add(faults.Status(403), path=EXECUTION, times=1)
            results = await up42.execute([DetectionTreesSpacept(title="Refused", item=item)])
            assert isinstance(results[0].error, up42.PermissionDeniedError)
            assert client.statistics().spent == template.cost.credits
