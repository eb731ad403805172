"""Jobs without an execution, for lists and tracking; their credits do not change the balance."""

from typing import Any

import attrs

from up42_async.sandbox._account import draw_id
from up42_async.sandbox._jobs import Job
from up42_async.sandbox._lifecycle import CAPTURED, INVALID, Steps, scripted
from up42_async.sandbox._lives import LONGEST, Life, resting
from up42_async.sandbox._processes import EXECUTABLE_WITH_ITEM, Process
from up42_async.sandbox._recorded_errors import USUAL
from up42_async.sandbox._scaled_clock import SECOND
from up42_async.sandbox._world import World

REFERENCE_JOB = "d290f1ee-6c54-4b01-90e6-d701748f0851"
"""The job of the reference's examples: CAPTURED, and known by its id from the beginning; lists leave it out, so that a
test which seeds three jobs lists three."""

REFERENCE_ASSET = "68567134-27ad-7bd7-4b65-d61adb11fc78"
"""The asset of the reference's examples; it is in storage from the beginning."""

_ITEM_URL = "{api}/v2/assets/stac/collections/{collection_id}/items/{item_id}"
_REFERENCE_PROCESS = "detection-trees-spacept"


@attrs.frozen(kw_only=True)
class Seeds:
    """The properties of seeded jobs; None for those that are drawn.

    Args:
        process_id: Their process.
        workspace_id: Their workspace.
        status: A status that they have reached and keep.
        timeline: Their timeline.
    """

    process_id: str | None = None
    workspace_id: str | None
    status: str | None = None
    timeline: Steps | None = None


def seed(world: World, seeds: Seeds, age: float) -> Job:
    """Make one job.

    Args:
        world: Where.
        seeds: Its properties.
        age: How many sandbox seconds ago it was created, if no status is given.

    Raises:
        KeyError: There is no such process.
        ValueError: The timeline has no steps, or its offsets decrease.
    """
    with world.lock:
        process = world.processes[seeds.process_id or world.random.choice(EXECUTABLE_WITH_ITEM)]
        inputs = _made_up_inputs(world, process)
        price = world.priced(process, inputs).credits
        life = _life(world, seeds, world.now() - round(age * SECOND), price)
        is_invalid = INVALID in life.timeline.statuses
        job = world.new_job(
            process_id=process.id,
            workspace_id=seeds.workspace_id,
            inputs=inputs,
            price=price,
            life=life,
            errors=world.errors.draw(inputs) if is_invalid else USUAL,
        )
        world.jobs.add(job)
        return job


def seed_reference_job(world: World, item_url: str) -> None:
    """Make the job of the reference's examples.

    Args:
        world: Where.
        item_url: The self link of the item of the reference's asset.
    """
    process = world.processes[_REFERENCE_PROCESS]
    inputs = {"title": "Detect trees over UK", "item": item_url}
    job = world.new_job(
        process_id=process.id,
        workspace_id=world.account.workspace_id,
        inputs=inputs,
        price=world.priced(process, inputs).credits,
        life=resting(world.random, world.now() - LONGEST, CAPTURED),
        errors=[],
        job_id=REFERENCE_JOB,
    )
    world.jobs.add_unlisted(job)


def _life(world: World, seeds: Seeds, start: int, price: int) -> Life:
    if seeds.timeline is not None:
        return Life(timeline=scripted(start, seeds.timeline))
    if seeds.status is not None:
        return resting(world.random, start - LONGEST, seeds.status)
    return world.lives.seeded(start, price)


def _made_up_inputs(world: World, process: Process) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for name, described in process.inputs.items():
        if name == "title":
            inputs[name] = f"{process.title} {len(world.jobs) + 1}"
        elif described.schema.get("format") == "uri":
            inputs[name] = _made_up_item(world)
        elif described.schema.get("items", {}).get("format") == "uri":
            inputs[name] = [_made_up_item(world), _made_up_item(world)]
        elif described.required:
            inputs[name] = described.schema["default"]
    return inputs


def _made_up_item(world: World) -> str:
    return _ITEM_URL.format(api=world.api_url, collection_id=draw_id(world.ids), item_id=draw_id(world.ids))
