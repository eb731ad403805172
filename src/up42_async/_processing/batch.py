"""Evaluate and execute many templates at once."""

from collections.abc import Iterable, Sequence

from up42_async import _clock
from up42_async._bulk import BulkOperation
from up42_async._client import Client, current_client
from up42_async._processing.credit_budget import Allowance
from up42_async._processing.execution import logger
from up42_async._processing.template import ExecutionResult, JobTemplate, TemplateT


class EvaluationBatch(BulkOperation[TemplateT, TemplateT]):
    """Templates that are being evaluated, see `evaluate`."""

    def __init__(self, templates: Iterable[TemplateT], client: Client | None) -> None:
        """Check what is to be evaluated; nothing is sent yet."""
        items = _checked(templates, "evaluate")
        self._clients = _clients(items, client)
        self._since = 0.0
        super().__init__(items, "evaluate")

    def _begin(self) -> None:
        self._since = _clock.now()

    async def _work_on(self, position: int, item: TemplateT) -> None:
        await item._ask(self._clients[position], self._since)  # noqa: SLF001 - the same verb, for many
        self._record(position, item)


class ExecutionBatch(BulkOperation[TemplateT, ExecutionResult[TemplateT]]):
    """Templates that are being executed, see `execute`."""

    def __init__(
        self, templates: Iterable[TemplateT], *, max_credits: float | None, budget_id: str | None, client: Client | None
    ) -> None:
        """Check what is to be executed; nothing is sent yet."""
        items = _checked(templates, "execute")
        self._allowance = Allowance(max_credits)
        self._budget_id = budget_id
        self._clients = _clients(items, client)
        self._since = 0.0
        super().__init__(items, "execute")

    def _begin(self) -> None:
        self._since = _clock.now()

    async def _all(self) -> list[ExecutionResult[TemplateT]]:
        """Do all of the work; if it is cut short, say in the log and on the error what has been bought."""
        try:
            return await super()._all()
        except BaseException as error:
            if jobs := [outcome.job.id for outcome in self.results if outcome.job is not None]:
                note = f"execute() was cut short when it had made {len(jobs)} jobs: {', '.join(jobs)}"
                logger.warning("%s", note)
                error.add_note(note)
            raise

    async def _work_on(self, position: int, item: TemplateT) -> None:
        def keep(execution: ExecutionResult[TemplateT]) -> None:
            self._record(position, execution)

        client = self._clients[position]
        execute_one = item._execute  # noqa: SLF001 - the same verb, for many
        try:
            await execute_one(client, self._allowance, self._budget_id, since=self._since, keep=keep)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not lose the jobs of the others
            if position not in self._known:
                self._record(position, ExecutionResult(item, error=error))


def evaluate(templates: Iterable[TemplateT], *, client: Client | None = None) -> EvaluationBatch[TemplateT]:
    """Evaluate many templates at once.

    `await evaluate(templates)` returns the templates in the order given. `async with evaluate(templates) as evaluated:`
    with `async for template in evaluated:` gives each as it is known. Two requests a template, and two for each
    process. The first error ends it; templates that were evaluated before stay so.

    Args:
        templates: The templates.
        client: The client to use; else each template's own, or the current one.

    Raises:
        APIError: UP42 could not be asked (raised when awaited).
        RuntimeError: There is no client.
        TypeError: Something else than templates was given.
    """
    return EvaluationBatch(templates, client)


def execute(
    templates: Iterable[TemplateT],
    *,
    max_credits: float | None = None,
    budget_id: str | None = None,
    client: Client | None = None,
) -> ExecutionBatch[TemplateT]:
    """Execute many templates at once: this spends credits, once for each template.

    `await execute(templates)` returns what came of each, in the order given. `async with execute(templates) as
    outcomes:` with `async for outcome in outcomes:` gives each as it is known. Each template is executed as
    `template.execute()` does it, and an error is the outcome of its template only. Leaving the block early stops what
    has not begun, and waits for the answers to what has (`Timeouts.cancel_grace`). No error and no cancellation loses a
    job: `results` has all of them, also afterwards.

    Args:
        templates: The templates. One that is not evaluated yet is evaluated first.
        max_credits: The most credits to spend on all of them together. Each price is reserved before its template is
            sent, so the sum never passes the limit, and given back when it is certain that nothing was bought; what no
            longer fits gets `CostLimitError`, and something cheaper may still run.
        budget_id: The budget that pays.
        client: The client to use; else each template's own, or the current one.

    Raises:
        RuntimeError: There is no client.
        TypeError: Something else than templates was given, or `max_credits` is not a number.
        ValueError: `max_credits` is negative.
    """
    return ExecutionBatch(templates, max_credits=max_credits, budget_id=budget_id, client=client)


def _checked(templates: Iterable[TemplateT], verb: str) -> Sequence[TemplateT]:
    if isinstance(templates, JobTemplate) or not isinstance(templates, Iterable):
        message = f"{verb}() takes a list of templates; for a single one, write template.{verb}()"
        raise TypeError(message)
    items = list(templates)
    for item in items:
        if not isinstance(item, JobTemplate):
            message = f"{verb}() takes templates, and {item!r:.80} is none"
            raise TypeError(message)
    return items


def _clients(templates: Sequence[JobTemplate], client: Client | None) -> Sequence[Client]:
    """Return the client of each template."""
    return [current_client(template.client if client is None else client) for template in templates]
