"""Execute templates: within a limit on credits, and with a journal once in all runs.

From the outside in:

    Executor.execute       price and order of the template; with a journal `_execute_in_journal`
    _execute_in_journal    return the job of an earlier run, or execute, when the outcome of equal executions is known
    _send                  reserve the price, send, and keep the job or the uncertainty in any case
    ExecutionCall.run      the request itself, see `execution.py`
"""

import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio
import attrs

from up42_async import _clock
from up42_async._client import Client, display
from up42_async._config import arguments
from up42_async._errors import Up42Error
from up42_async._jobs.job import Job
from up42_async._jobs.models import JobStatus
from up42_async._processing import earlier_runs, journal_start
from up42_async._processing.cost import Cost
from up42_async._processing.execution import ExecutionCall
from up42_async._processing.journal import Journal, JournalEntry
from up42_async._processing.journal_run import JournalRun, Place
from up42_async._processing.order import Order
from up42_async._processing.recovery import ExecutionUncertainError
from up42_async._processing.rejection import warn_of_rejection

T = TypeVar("T")

PRICE_AGE: Final = 60.0
"""Seconds after which a price is asked again."""

CAPPED_PRICE_AGE: Final = 5.0
"""The same in seconds under `max_credits`: the limit holds for the prices that were last asked."""


class CostLimitError(Up42Error):
    """The price is above the limit, or above the price that was evaluated, so the template was not executed.

    Attributes:
        cost: The price.
        max_credits: The limit, for many templates on the sum of their prices; None when there was none.
        evaluated: The price before it rose; None when it did not.
    """

    def __init__(
        self, message: str, *, cost: Cost | None = None, max_credits: float | None = None, evaluated: Cost | None = None
    ) -> None:
        """Store the message and the prices."""
        super().__init__(message)
        self.cost = cost
        self.max_credits = max_credits
        self.evaluated = evaluated


class CreditBudget:
    """The credits that the executions of one call may spend together; each price is reserved before it is sent."""

    def __init__(self, max_credits: float | None) -> None:
        """Check the limit.

        Args:
            max_credits: The most credits to spend, None for any number.

        Raises:
            TypeError: It is not a number.
            ValueError: It is negative.
        """
        self.max_credits: float | None = (
            None if max_credits is None else arguments.real(max_credits, "max_credits", least=0, unit="credits")
        )
        self._spent = 0
        self._reserved = 0
        self._changed = anyio.Event()

    @property
    def spent(self) -> int:
        """Credits that were, or may have been, spent; reserved ones included."""
        return self._spent + self._reserved

    def spend(self, credits: int) -> None:
        """Count credits as spent.

        Args:
            credits: How many; a negative number for credits that were not spent after all, as for a job without a
                result.
        """
        self._spent += credits
        self._changed.set()
        self._changed = anyio.Event()

    async def reserve(self, cost: Cost, label: str) -> None:
        """Reserve the price of one execution until `commit`; wait while reserved credits of others may become free.

        Args:
            cost: The price.
            label: What is to be executed, for the error.

        Raises:
            CostLimitError: The price is above the credits that are left, even if all reserved ones became free.
        """
        while self.max_credits is not None and cost.credits + self.spent > self.max_credits:
            if cost.credits + self._spent > self.max_credits:
                raise self._refusal(cost, label, self.max_credits)
            await self._changed.wait()
        self._reserved += cost.credits

    def commit(self, reserved: Cost, spent: int) -> None:
        """End a reservation, once: count the credits that were spent, and free the others.

        Args:
            reserved: The price that was reserved.
            spent: The credits that were, or may have been, spent.
        """
        self._reserved -= reserved.credits
        self.spend(spent)

    def _refusal(self, cost: Cost, label: str, max_credits: float) -> CostLimitError:
        rest = f", of which {max(0, max_credits - self._spent):,.15g} are left" if self._spent else ""
        price = display.counted(cost.credits, "credit")
        message = f"{label} costs {price}; max_credits is {max_credits:,.15g}{rest}. Nothing was sent"
        return CostLimitError(message, cost=cost, max_credits=max_credits)


@attrs.frozen
class ExecutionResult(Generic[T]):
    """The result of executing a template: either a job or an error."""

    template: T
    """The template."""
    job: Job | None = None
    """The job that was made."""
    error: Exception | None = None
    """Why there is no job, or why it is not known whether there is one (`ExecutionUncertainError`)."""
    recovered: bool = attrs.field(default=False, kw_only=True)
    """Whether UP42's response was lost, and the job was found in the list of jobs."""

    def __attrs_post_init__(self) -> None:
        """Refuse a job and an error together, and neither of them."""
        if (self.job is None) == (self.error is None):
            message = "an ExecutionResult has either a job or an error"
            raise ValueError(message)

    def __repr__(self) -> str:
        """Return template, job and error in one line of at most 200 characters."""
        values = [("template", str(self.template)), ("job", None if self.job is None else self.job.id)]
        return display.line("ExecutionResult", [*values, ("error", display.error_words(self.error))])


@attrs.frozen(eq=False, repr=False)
class Executed:
    """An execution that has a job."""

    job: Job
    counted: int
    """Credits that count as spent for the job."""


class Executable(Protocol):
    """What an `Executor` needs of a template."""

    async def _price(self, client: Client, order: Order | None, *, since: float, asked_since: float) -> Cost:
        """Return the price of an order, of the inputs as they are now without one; asked again after `asked_since`."""
        ...

    async def _order(self, client: Client) -> Order:
        """Return the execution to be sent."""
        ...

    def _keep(self, result: "ExecutionResult[Any]", order: Order) -> None:
        """Keep the result of an execution that made, or may have made, a job."""
        ...


ExecutableT = TypeVar("ExecutableT", bound=Executable)


@attrs.frozen(eq=False, repr=False)
class _Execution(Generic[ExecutableT]):
    """One execution of a template, and the callback of the caller."""

    template: ExecutableT
    call: ExecutionCall
    tell: Callable[[ExecutionResult[ExecutableT]], None]

    def keep(self, job: Job | None, error: ExecutionUncertainError | None = None, *, recovered: bool) -> None:
        """Give the result of an execution that made, or may have made, a job to the template and to the caller."""
        result = ExecutionResult(self.template, job, error, recovered=recovered)
        self.template._keep(result, self.call.order)
        self.tell(result)

    def remembered(self, place: Place, known: JournalEntry) -> Executed:
        """Return the job that an earlier run made."""
        job = place.job(self.call.client)
        self.keep(job, recovered=known.recovered)
        return Executed(job, 0 if known.state == "failed" else known.credits)


class Executor:
    """Executes the templates of one call: its budget, its journal and its options."""

    def __init__(
        self,
        max_credits: float | None,
        *,
        budget_id: str | None,
        journal: Journal | str | os.PathLike[str] | None = None,
        retry_uncertain: bool = False,
        retry_failed: bool = False,
    ) -> None:
        """Check the options; nothing is sent or opened yet.

        Args:
            max_credits: The most credits to spend, None for any number.
            budget_id: The id of the UP42 budget that pays; None for the credits of the account.
            journal: The journal, or the path of its file; None for none.
            retry_uncertain: Whether to execute again what may have been executed in an earlier run.
            retry_failed: Whether to execute again what ended without a result.

        Raises:
            TypeError: The limit is no number, or the journal neither a journal nor a path.
            ValueError: The limit is negative, or something is to be retried without a journal.
        """
        if journal is None and (retry_uncertain or retry_failed):
            raise ValueError(
                "retry_uncertain and retry_failed need a journal: without one, nothing is known of earlier runs"
            )
        self.budget: Final = CreditBudget(max_credits)
        self.journal: JournalRun | None = None
        """The journal, while it is open."""
        self._since = 0.0  # when the call began
        self._budget_id = budget_id
        self._path = journal.path if isinstance(journal, Journal) else None if journal is None else Path(journal)
        self._retry_uncertain = retry_uncertain
        self._to_execute = {"refused", "failed"} if retry_failed else {"refused"}

    @contextlib.asynccontextmanager
    async def opened(self, client: Client) -> AsyncGenerator[None]:
        """Hold the journal in the block, if there is one, and count the credits that earlier runs have spent.

        Args:
            client: A client of the account that the journal belongs to.

        Raises:
            APIError: The id of the user could not be asked.
            JournalError: The journal cannot be used, is in use, or belongs to another account.
            RuntimeError: It is in use by another call of this program.
        """
        self._since = _clock.now()
        if self._path is None:
            yield
            return
        async with journal_start.running(self._path, client) as self.journal:
            self.budget.spend(self.journal.spent())
            yield

    async def place(self, template: Executable, client: Client) -> Place | None:
        """Return the place of an execution in the journal, None without one; called in the order of the templates.

        Args:
            template: The template to be executed.
            client: The client to execute with, of the account that the journal belongs to.

        Raises:
            APIError: The user's own workspace, or the id of the user, could not be asked.
            JournalError: The journal belongs to another account.
        """
        if self.journal is None:
            return None
        order = await template._order(client)
        self.journal.check(client._session.api, await client._user_id())
        return self.journal.place(order)

    async def execute(
        self,
        template: ExecutableT,
        client: Client,
        *,
        place: Place | None = None,
        keep: Callable[[ExecutionResult[ExecutableT]], None] = lambda _: None,
    ) -> Executed:
        """Execute within the budget; with a journal, return the job that an earlier run made at the same place.

        Args:
            template: The template.
            client: The client to send with.
            place: Its place in the journal; None without a journal.
            keep: Called with the result as soon as a job was or may have been made, also when this is cancelled.

        Raises:
            InvalidTemplateError: UP42 does not accept the template; nothing was sent.
            CostLimitError: The price is above what is left, or has risen; nothing was sent.
            ExecutionUncertainError: The response was lost, now or in an earlier run.
            JournalError: The journal cannot be written; nothing was sent.
            APIError: UP42 refused, or could not be reached: nothing was bought.
        """
        if place is None:
            await self._price(template, client)  # before all else, since an invalid template needs no workspace
        order = await template._order(client) if place is None else place.order
        call = ExecutionCall(client, order, budget_id=self._budget_id, place=place)
        execution = _Execution(template, call, keep)
        if place is not None:
            return await self._execute_in_journal(execution, place)
        async with call.registry.turn(order.key):
            return await self._send(execution)

    async def _execute_in_journal(self, execution: _Execution[Any], place: Place) -> Executed:
        """Return the job of an earlier run, or execute, when the outcome of all equal executions before is known."""
        call, known = execution.call, place.entry()
        if known is None or known.state in self._to_execute:
            # out of turn, so that equal ones are priced together
            await self._price(execution.template, call.client, call.order)
        elif known.state not in {"executing", "uncertain"}:
            return execution.remembered(place, known)
        async with call.registry.turn(call.order.key):
            await earlier_runs.recover_all(call.client, place)
            known = place.entry()
            if known is None or known.state in self._to_execute:
                return await self._send(execution)
            if known.state == "uncertain":
                if not self._retry_uncertain:
                    raise earlier_runs.uncertainty_of(call.order, known)
                if not await earlier_runs.find_again(call, place, known):
                    self.budget.spend(-known.credits)
                    return await self._send(execution)
                known = place.entry() or known
            return execution.remembered(place, known)

    async def _send(self, execution: _Execution[Any]) -> Executed:
        """Reserve the price and send once; a job that was or may have been made is kept first of all."""
        call, cost = execution.call, await self._reserve(execution)
        failure: BaseException | None = None
        try:
            job = await call.run(cost.credits)
            if job.status is JobStatus.REJECTED:
                await warn_of_rejection(job, call.client)
            return Executed(job, _spent(call, cost))
        except BaseException as error:
            failure = error
            raise
        finally:
            spent = _spent(call, cost)
            self.budget.commit(cost, spent)
            call.registry.spent += spent
            if call.job is not None or call.uncertain is not None:
                execution.keep(call.job, call.uncertain, recovered=call.recovered)
            await call.write_outcome(failure)

    async def _reserve(self, execution: _Execution[Any]) -> Cost:
        """Reserve a price that is still fresh afterwards, since the reservation may have to wait for others."""
        call = execution.call
        while True:
            cost = await self._price(execution.template, call.client, call.order)
            began = _clock.now()
            await self.budget.reserve(cost, call.order.label)
            if _clock.now() - began <= CAPPED_PRICE_AGE:
                return cost
            self.budget.commit(cost, 0)

    async def _price(self, template: Executable, client: Client, order: Order | None = None) -> Cost:
        """Return a price that is fresh; one request when the last one is too old."""
        oldest = _clock.now() - PRICE_AGE
        if self.budget.max_credits is not None:
            oldest = max(self._since, _clock.now() - CAPPED_PRICE_AGE)
        return await template._price(client, order, since=self._since, asked_since=oldest)


def _spent(call: ExecutionCall, cost: Cost) -> int:
    """Return the credits to count as spent: 0 if no job was made for certain, the job's own if they are more."""
    if call.job is not None:
        return max(cost.credits, call.job.credits or 0)
    return cost.credits if call.uncertain is not None else 0
