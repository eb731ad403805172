"""Evaluate and execute many templates at once."""

import os
from collections.abc import Iterable
from functools import partial

from up42_async import _clock
from up42_async._bulk import BulkOperation
from up42_async._client import Client, display
from up42_async._processing.execution import logger
from up42_async._processing.executor import ExecutionResult, Executor
from up42_async._processing.journal import Journal
from up42_async._processing.journal_run import Place
from up42_async._processing.template import JobTemplate, TemplateT


class EvaluationBatch(BulkOperation[tuple[TemplateT, Client], TemplateT]):
    """Templates that are being evaluated, see `evaluate`."""

    def __init__(self, templates: Iterable[TemplateT], client: Client | None) -> None:
        super().__init__(_with_clients(templates, client, "evaluate"), "evaluate")
        self._since = 0.0

    @property
    def credits(self) -> int:
        """Credits that executing all templates found valid so far would cost."""
        return sum(template.cost.credits for template in self.results if template.is_valid)

    def _begin(self) -> None:
        self._since = _clock.now()

    async def _work_on(self, position: int, item: tuple[TemplateT, Client]) -> None:
        template, client = item
        await template._ask(client, self._since)
        self._record(position, template)

    def __repr__(self) -> str:
        """Return how many templates are evaluated, in one line."""
        return f"<EvaluationBatch: {len(self._known)} of {self._source.size} evaluated>"

    def _repr_html_(self) -> str:
        """Return the templates and their prices as a table, for notebooks."""
        prices = [_price(template) for template in self.results]
        shown = [f"{price:,}" if isinstance(price, int) else price for price in prices]
        rows = list(zip(map(str, self.results), shown, strict=True))
        credits = sum(price for price in prices if isinstance(price, int))
        title = f"{len(rows)} of {self._source.size} evaluated: {display.counted(credits, 'credit')}"
        return display.listing(title, ("template", "credits"), rows)


class ExecutionBatch(BulkOperation[tuple[TemplateT, Client], ExecutionResult[TemplateT]]):
    """Templates that are being executed, see `execute`."""

    def __init__(self, templates: Iterable[TemplateT], executor: Executor, client: Client | None) -> None:
        self._items = _with_clients(templates, client, "execute")
        super().__init__(self._items, "execute")
        self._executor = executor
        self._places: list[Place | None] = []

    @property
    def spent(self) -> int:
        """Credits that were, or may have been, spent so far; with a journal those of earlier runs, too."""
        return self._executor.budget.spent

    async def _all(self) -> list[ExecutionResult[TemplateT]]:
        """Do all of the work; when it is cut short, name the jobs that were made in the log and in a note on the error.

        The caller may hold no reference to this object, and so could not read `results`.
        """
        try:
            return await super()._all()
        except BaseException as error:
            if jobs := [result.job.id for result in self.results if result.job is not None]:
                note = (
                    f"execute() was cut short when it had made {display.counted(len(jobs), 'job')}: {', '.join(jobs)}"
                )
                logger.warning("%s", note)
                error.add_note(note)
            raise

    async def _work_on_all(self) -> None:
        if not self._items:
            return
        async with self._executor.opened(self._items[0][1]):
            self._places = [await self._executor.place(*item) for item in self._items]
            await super()._work_on_all()

    async def _work_on(self, position: int, item: tuple[TemplateT, Client]) -> None:
        keep = partial(self._record, position)
        try:
            await self._executor.execute(*item, place=self._places[position], keep=keep)
        except Exception as error:  # noqa: BLE001 - no error may lose the jobs of the others
            if position not in self._known:
                self._record(position, ExecutionResult(item[0], error=error))

    def __repr__(self) -> str:
        """Return how many templates are executed, and the credits spent, in one line."""
        spent = display.counted(self.spent, "credit")
        return f"<ExecutionBatch: {len(self._known)} of {self._source.size} executed, {spent}>"

    def _repr_html_(self) -> str:
        """Return the results as a table, for notebooks."""
        rows = [
            (str(result.template), f"job {result.job.id}" if result.job else display.error_words(result.error))
            for result in self.results
        ]
        title = f"{len(rows)} of {self._source.size} executed: {display.counted(self.spent, 'credit')}"
        return display.listing(title, ("template", "result"), rows)


def evaluate(templates: Iterable[TemplateT], *, client: Client | None = None) -> EvaluationBatch[TemplateT]:
    """Evaluate many templates at once.

    `await evaluate(templates)` returns the templates in the order given. `async with evaluate(templates) as batch:`
    with `async for template in batch:` gives each as it is evaluated; `batch.credits` is the sum of the prices so far.
    Two requests for each template, one when it is not valid; up to two more for each process. The first error ends the
    call; templates that were evaluated before stay so.

    Args:
        templates: The templates.
        client: The client to use; else each template's own, the one its items came from, or the current one.

    Raises:
        APIError: UP42 could not be asked (raised when awaited).
        RuntimeError: There is no client.
        TypeError: Not an iterable of templates.
        ValueError: The items of a template came from two clients.
    """
    return EvaluationBatch(templates, client)


def execute(
    templates: Iterable[TemplateT],
    *,
    max_credits: float | None = None,
    budget_id: str | None = None,
    journal: Journal | str | os.PathLike[str] | None = None,
    retry_uncertain: bool = False,
    retry_failed: bool = False,
    client: Client | None = None,
) -> ExecutionBatch[TemplateT]:
    """Execute many templates at once: this spends credits, once for each template.

    `await execute(templates)` returns an `ExecutionResult` for each template, in the order given. `async with
    execute(templates) as batch:` with `async for result in batch:` gives each as it is known. Each template is executed
    as by `template.execute()`, with as many requests; an error is the result of its template only. Leaving the block
    early stops templates that were not sent yet, and waits for the responses to the others (`Timeouts.cancel_grace`).
    No error and no cancellation loses a job: `results` has all of them, also afterwards.

    With a journal this holds across crashes: each execution is written to the file before its request leaves, and the
    same call again continues. A template that has a job gets this job. The job of an execution that was under way is
    looked for, and taken when exactly one job can be it; otherwise the result is an `ExecutionUncertainError`, also in
    later runs. A template that was refused is executed again. The n-th of several equal templates in the list is the
    n-th in the journal. A journal costs up to one request for the user's id at the start, and one for every 100 jobs
    that have not ended.

    Args:
        templates: The templates. One that is not evaluated yet is evaluated first.
        max_credits: The most credits to spend on all of them together, with a journal in all its runs. Each price is
            reserved before its template is sent, so the sum never exceeds the limit, and becomes free when it is
            certain that no job was made. A template whose price is above the rest gets a `CostLimitError`; cheaper
            ones may still be executed.
        budget_id: The ID of the budget that pays.
        journal: A journal, or the path of its file, which is made when it is missing.
        retry_uncertain: Whether to execute a template again that may have been executed in an earlier run, when its job
            cannot be found: you may pay twice.
        retry_failed: Whether to execute a template again whose job ended without a result in an earlier run (FAILED,
            RELEASED, REJECTED, INVALID, UNLICENSED).
        client: The client to use; else each template's own, the one its items came from, or the current one.

    Raises:
        JournalError: (When awaited) the journal cannot be used, is in use, or belongs to another account.
        RuntimeError: There is no client, or (when awaited) another call of this program uses the journal.
        TypeError: Not an iterable of templates, or `max_credits` is not a number.
        ValueError: `max_credits` is negative, something is to be retried without a journal, or the items of a template
            came from two clients.
    """
    executor = Executor(
        max_credits, budget_id=budget_id, journal=journal, retry_uncertain=retry_uncertain, retry_failed=retry_failed
    )
    return ExecutionBatch(templates, executor, client)


def _with_clients(templates: Iterable[TemplateT], client: Client | None, verb: str) -> list[tuple[TemplateT, Client]]:
    """Return templates, each with the client to use for it.

    Raises:
        RuntimeError: There is no client.
        TypeError: It is a single template, no iterable, or holds something else.
    """
    if isinstance(templates, JobTemplate) or not isinstance(templates, Iterable):
        message = f"{verb}() takes a list of templates; for a single one, write template.{verb}()"
        raise TypeError(message)
    items = [checked_one(item, verb) for item in templates]
    return [(item, item._client_to_use(client)) for item in items]


def checked_one(item: TemplateT, verb: str) -> TemplateT:
    """Return a template.

    Raises:
        TypeError: It is no template.
    """
    if not isinstance(item, JobTemplate):
        message = f"{verb}() takes templates, not {item!r:.80}"
        raise TypeError(message)
    return item


def _price(template: JobTemplate) -> int | str:
    """Return the price of a template, or why there is none."""
    try:
        return (
            template.cost.credits if template.is_valid else "; ".join(sorted(error.name for error in template.errors))
        )
    except RuntimeError:
        return "changed since it was evaluated"
