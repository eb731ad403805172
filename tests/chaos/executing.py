"""Execute templates: one, many, many in a block that is left early, and the same thing twice at once."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import anyio

import up42_async as up42
from tests.chaos.callers import Caller
from tests.chaos.client_state import HANDLED, KEPT, RETURNED
from tests.chaos.worker import Worker
from up42_async import processing_templates
from up42_async._processing.batch import ExecutionBatch
from up42_async.processing_templates import JobTemplate, SingleItemJobTemplate

KINDS: Final[Sequence[type[SingleItemJobTemplate]]] = (
    processing_templates.DetectionTreesSpacept,
    processing_templates.DetectionShipsAirbus,
    processing_templates.TrueColorConversion,
    processing_templates.UpsamplingNS,
)
MOST_AT_ONCE: Final = 8
LEAVES: Final = 0.05
"""Probability of leaving a block after each result."""
LATEST: Final = (0.02, 0.8, 1.5, 6.0)
"""Latest seconds of the cancellation of an execution: mostly while it waits for its response."""
PAUSE: Final = 0.3
"""Longest pause between two calls, in seconds."""


class _ChangedMind(Exception):
    """An error raised by a user's code inside a block."""


class Executor:
    """Executes templates, one call after the other.

    Args:
        name: Prefix of the titles of its templates.
        caller: Makes the calls.
        worker: Gets the jobs.
        api: Base URL of the API, which has the items.
    """

    def __init__(self, name: str, caller: Caller, worker: Worker, api: str) -> None:
        self._name = name
        self._caller = caller
        self._state = caller.state
        self._dice = caller.dice
        self._worker = worker
        self._api = api
        self._number = 0

    async def execute(self) -> None:
        """Execute templates in one of the possible ways."""
        many = [self._execute_all, self._execute_in_block, self._execute_duplicates]
        ways = [self._execute_one, self._execute_one, self._execute_one, *many]
        way = self._dice.choice(ways)
        await way()
        await anyio.sleep(PAUSE * self._dice.random())

    async def _execute_one(self) -> None:
        template = self._template()
        await self._caller.call("evaluate", template.evaluate)
        cap = self._dice.choice([None, None, 50.0, 1e6])
        self._state.executing([_title(template)], cap)
        ended = await self._caller.call("execute", partial(template.execute, max_credits=cap), latest=LATEST)
        if ended.result is not None and [ended.result] != [execution.job for execution in template.executions]:
            self._state.unexpected.append(f"{template} returned a job that its executions do not have")
        self._learn(template.executions, KEPT if ended.cancelled else RETURNED)

    async def _execute_all(self) -> None:
        templates = self._templates()
        cap = self._dice.choice([None, 60.0 * len(templates)])
        running = self._executing(templates, cap)

        async def work() -> Sequence[up42.ExecutionResult[Any]]:
            return await running

        ended = await self._caller.call("execute many", work, latest=LATEST)
        self._learn_batch(templates, running, KEPT if ended.cancelled else RETURNED)

    async def _execute_in_block(self) -> None:
        templates = self._templates()
        running = self._executing(templates, None)
        read: list[up42.ExecutionResult[Any]] = []

        async def work() -> None:
            with contextlib.suppress(_ChangedMind):  # a user's error leaves the block unchanged
                async with running as outcomes:
                    async for outcome in outcomes:
                        read.append(outcome)
                        self._learn([outcome], RETURNED)
                        if self._dice.random() < LEAVES:
                            break
                        if self._dice.random() < LEAVES:
                            raise _ChangedMind

        ended = await self._caller.call("execute many in a block", work, latest=LATEST)
        how = HANDLED if ended.cancelled else RETURNED
        self._learn_batch(templates, running, how, read=read)

    async def _execute_duplicates(self) -> None:
        """Execute two equal templates at once: each call must get a job of its own."""
        template = self._template()
        templates = [template, type(template)(title=template.title, item=template.item)]
        running = self._executing(templates, None)

        async def work() -> Sequence[up42.ExecutionResult[Any]]:
            return await running

        ended = await self._caller.call("execute duplicates", work, latest=LATEST)
        self._learn_batch(templates, running, KEPT if ended.cancelled else RETURNED)

    def _executing(
        self, templates: Sequence[SingleItemJobTemplate], cap: float | None
    ) -> ExecutionBatch[SingleItemJobTemplate]:
        self._state.executing([_title(template) for template in templates], cap)
        running = up42.execute(templates, max_credits=cap, client=self._worker.client)
        self._state.under_way.append(running)
        return running

    def _learn_batch(
        self,
        templates: Sequence[JobTemplate],
        running: ExecutionBatch[SingleItemJobTemplate],
        how: str,
        *,
        read: Sequence[up42.ExecutionResult[Any]] = (),
    ) -> None:
        """Record the results of a batch, without those that were read in its block."""
        self._state.under_way.remove(running)
        kept = {execution.job.id for template in templates for execution in template.executions if execution.job}
        if kept != {outcome.job.id for outcome in running.results if outcome.job}:
            self._state.unexpected.append("the outcomes of execute() and its templates have different jobs")
        told = {id(outcome) for outcome in read}
        self._learn([outcome for outcome in running.results if id(outcome) not in told], how)

    def _learn(self, executions: Sequence[up42.ExecutionResult[Any]], how: str) -> None:
        self._worker.add(self._state.learn(executions, how))

    def _templates(self) -> list[SingleItemJobTemplate]:
        return [self._template() for _ in range(self._dice.randint(2, MOST_AT_ONCE))]

    def _template(self) -> SingleItemJobTemplate:
        self._number += 1
        kind = self._dice.choice(KINDS)
        item = f"{self._api}/v2/assets/stac/collections/harbours/items/{self._number}"
        return kind(title=f"{self._name} {self._number}", item=item, client=self._worker.client)


def _title(template: JobTemplate) -> str:
    return str(template.inputs["title"])


async def look_up(worker: Worker) -> None:
    """Look up the jobs of uncertain executions without candidates, as `ExecutionUncertainError` advises.

    Args:
        worker: Has the client, and gets the jobs.
    """
    for one in worker.state.unnamed:
        jobs = up42.Job.all(process_id=[one.process_id], sort_by=up42.JobSorting.created.desc, client=worker.client)
        async for job in jobs:
            if job.definition.get("inputs") == one.inputs:
                worker.add(worker.state.look_up(job))
