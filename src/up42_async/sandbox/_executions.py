"""Executions: check a request that spends credits, and create its job."""

from collections.abc import Mapping
from typing import Any

import attrs

from up42_async.sandbox._lifecycle import INVALID, REJECTED, UNLICENSED, scripted
from up42_async.sandbox._lives import Life
from up42_async.sandbox._processes import Process
from up42_async.sandbox._validation import SchemaError, checked_inputs, findings
from up42_async.sandbox._world import ExecutionRecord, World


@attrs.frozen(kw_only=True)
class _Verdict:
    """The result of the checks of an execution; `refusal` is the last status of a job that is refused."""

    inputs: Mapping[str, Any]
    price: int = 0
    refusal: str | None = None
    errors: list[dict[str, Any]] = attrs.field(factory=list)


def execute(world: World, process: Process, body: Any, workspace_id: str, budget_id: str | None) -> bytes:
    """Create a job, as the platform does for every readable execution request, and return its body.

    A missing licence, wrong inputs and too few credits appear as the status of the job.
    """
    with world.lock:
        verdict = _judged(world, process, body, budget_id)
        job = world.new_job(
            process_id=process.id,
            workspace_id=workspace_id,
            inputs=verdict.inputs,
            price=verdict.price,
            life=_life(world, verdict),
            errors=verdict.errors,
        )
        world.jobs.add(job)
        if verdict.refusal is None:
            world.ledger.follow(job)
        world.executions.append(ExecutionRecord(job=job, budget_id=budget_id))
        return job.body_at(world.now())


def _judged(world: World, process: Process, body: Any, budget_id: str | None) -> _Verdict:
    given = body["inputs"] if isinstance(body, dict) and isinstance(body.get("inputs"), dict) else {}
    if process.eula_id is not None and not world.eulas[process.eula_id].is_accepted:
        return _Verdict(inputs=given, refusal=UNLICENSED)
    try:
        inputs = checked_inputs(process, body)
    except SchemaError as error:
        errors = [{"name": "InvalidSchema", "message": str(error)}]
        return _Verdict(inputs=given, refusal=INVALID, errors=errors)
    if found := findings(process, inputs, world.unsuitable_items):
        return _Verdict(inputs=inputs, refusal=INVALID, errors=[finding.body() for finding in found])
    price = world.priced(process, inputs).credits
    refusal = REJECTED if price > _affordable(world, budget_id) else None
    return _Verdict(inputs=inputs, price=price, refusal=refusal)


def _affordable(world: World, budget_id: str | None) -> float:
    """Return the most that an execution may cost.

    How the platform treats an exceeded budget is not known; here the job is rejected, as for a low balance. A budget id
    that does not exist is recorded with the execution and limits nothing.
    """
    available = world.ledger.at(world.now()).available
    budget = None if budget_id is None else world.budgets.get(budget_id)
    if budget is None or budget.spend_limit is None:
        return available
    return min(available, budget.spend_limit - world.consumed(budget.id, with_undecided=True))


def _life(world: World, verdict: _Verdict) -> Life:
    if verdict.refusal is not None:
        return world.lives.refused(world.now(), verdict.refusal)
    if world.scripts:
        return Life(timeline=scripted(world.now(), world.scripts.pop(0)))
    return world.lives.executed(world.now(), verdict.price)
