"""Execute templates under a limit on credits and, where there is one, with a journal."""

import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import attrs

from up42_async import _clock, _display
from up42_async._client import Client
from up42_async._jobs.job import Job
from up42_async._jobs.models import JobStatus
from up42_async._processing import journal_start
from up42_async._processing.cost import Cost
from up42_async._processing.credit_budget import CreditBudget
from up42_async._processing.execution import ExecutionCall, ExecutionUncertainError, Order
from up42_async._processing.journal import Journal, JournalEntry
from up42_async._processing.journal_run import JournalRun, Place
from up42_async._processing.journaled_execution import JournaledExecution
from up42_async._processing.rejection import warn_of_rejection

T = TypeVar("T")

PRICE_AGE: Final = 60.0
"""Seconds for which a price counts; then it is asked again."""

CAPPED_PRICE_AGE: Final = 5.0
"""The same under `max_credits`, which bounds the prices last asked."""

Keep = Callable[[Job | None, ExecutionUncertainError | None, bool], None]
"""Keeps what was or may have been bought, and whether it was recovered, before anything else can happen."""


class Price(Protocol):
    """Tells the price of an execution."""

    def __call__(self, *, asked_since: float) -> Awaitable[Cost]:
        """Return the price, asked again when it was last asked before a moment (monotonic, in seconds)."""
        ...


@attrs.frozen
class ExecutionResult(Generic[T]):
    """What came of executing a template: either a job or an error."""

    template: T
    """The template."""
    job: Job | None = None
    """The job that was made."""
    error: Exception | None = None
    """Why there is none, or why it is not known: see `ExecutionUncertainError`."""
    recovered: bool = attrs.field(default=False, kw_only=True)
    """Whether UP42's answer was lost, and the job was found in the list of jobs."""

    def __attrs_post_init__(self) -> None:
        """Refuse what is neither, or both."""
        if (self.job is None) == (self.error is None):
            message = "an ExecutionResult has either a job or an error"
            raise ValueError(message)

    def __repr__(self) -> str:
        """Return what came of it, in one line of at most 200 characters."""
        values = [("template", str(self.template)), ("job", None if self.job is None else self.job.id)]
        return _display.line("ExecutionResult", [*values, ("error", _display.error_words(self.error))])


@attrs.frozen(eq=False, repr=False)
class Executed:
    """What came of an execution that went well."""

    job: Job
    recovered: bool
    counted: int
    """Credits that count as spent for it."""


class Executor:
    """What the executions of one call have in common."""

    def __init__(
        self,
        max_credits: float | None,
        *,
        budget_id: str | None,
        journal: Journal | str | os.PathLike[str] | None = None,
        retry_uncertain: bool = False,
        retry_failed: bool = False,
    ) -> None:
        """Take the terms; nothing is sent or opened yet.

        Args:
            max_credits: Credits that may be spent, None for any number.
            budget_id: UP42's budget that pays, None for the account's own.
            journal: Where to write down what is sent, and to look up what earlier runs have sent.
            retry_uncertain: Whether to execute again what may have been executed.
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
        self.since: float = 0.0
        """When the call began (monotonic, in seconds)."""
        self._budget_id = budget_id
        self._path = journal.path if isinstance(journal, Journal) else None if journal is None else Path(journal)
        self._retry_uncertain = retry_uncertain
        self._retry_failed = retry_failed

    @contextlib.asynccontextmanager
    async def opened(self, client: Client) -> AsyncGenerator[None]:
        """Begin: hold the journal, if there is one, and count what it says is spent.

        Args:
            client: Of the account that the journal belongs to.

        Raises:
            APIError: The id of the user could not be asked.
            JournalError: The journal cannot be used, is in use, or belongs to another account.
            RuntimeError: It is in use by another call of this program.
        """
        self.since = _clock.now()
        if self._path is None:
            yield
            return
        async with journal_start.running(self._path, client) as self.journal:
            self.budget.spend(self.journal.spent())
            yield

    def oldest_price(self) -> float:
        """Return since when a price must have been asked to count (monotonic, in seconds)."""
        if self.budget.max_credits is None:
            return _clock.now() - PRICE_AGE
        return max(self.since, _clock.now() - CAPPED_PRICE_AGE)

    async def execute(self, client: Client, order: Order, *, price: Price, keep: Keep, place: Place | None) -> Executed:
        """Execute within the budget, once for each place in the journal, over all runs.

        Args:
            client: Whom to send with.
            order: What to execute.
            price: Tells what it costs.
            keep: Keeps what was or may have been bought.
            place: Its place in the journal; None without a journal.

        Raises:
            CostLimitError: The price is above what is left, or has risen; nothing was sent.
            ExecutionUncertainError: The answer was lost, now or in an earlier run.
            JournalError: The journal cannot be written; nothing was sent.
            APIError: UP42 refused, or could not be reached: nothing was bought.
        """
        if self.journal is None or place is None:
            call = ExecutionCall(client, order, budget_id=self._budget_id)
            async with call.registry.turn(order.key):
                return await self._buy(call, price, keep)
        log = JournaledExecution(self.journal, place, order)
        call = ExecutionCall(client, order, budget_id=self._budget_id, log=log)
        known = self.journal.find(place)
        if known is None or known.state == "refused":
            await price(asked_since=self.oldest_price())  # out of turn, so that equal ones are priced together
        elif known.state not in {"executing", "uncertain"} and not self._is_bought_again(known):
            return _remembered(log, client, known, keep)
        async with call.registry.turn(order.key):
            return await self._execute_in_order(client, call, log, price, keep)

    def _is_bought_again(self, known: JournalEntry) -> bool:
        return known.state == "failed" and self._retry_failed

    async def _execute_in_order(
        self, client: Client, call: ExecutionCall, log: JournaledExecution, price: Price, keep: Keep
    ) -> Executed:
        """Execute, or return what an earlier run has bought, when all equal executions before are known."""
        await log.recover_all(client)
        known = log.entry()
        if known is None or known.state == "refused" or self._is_bought_again(known):
            return await self._buy(call, price, keep, log)
        if known.state != "uncertain":
            return _remembered(log, client, known, keep)
        if not self._retry_uncertain:
            raise log.uncertainty(known)
        if await log.find_again(call, known):
            return _remembered(log, client, log.entry() or known, keep)
        self.budget.give_back(known.credits)
        return await self._buy(call, price, keep, log)

    async def _buy(
        self, call: ExecutionCall, price: Price, keep: Keep, log: JournaledExecution | None = None
    ) -> Executed:
        """Send once; whatever was or may have been bought is kept before anything else can happen."""
        cost = await self._reserve(price, call)
        if log is not None:
            log.credits = cost.credits
        failure: BaseException | None = None
        try:
            job = await call.run()
            if job.status is JobStatus.REJECTED:
                await warn_of_rejection(job, call.client)
            return Executed(job, call.recovered, _spent(call, cost))
        except BaseException as error:
            failure = error
            raise
        finally:
            spent = _spent(call, cost)
            self.budget.commit(cost, spent)
            call.registry.spent += spent
            if call.job is not None or call.uncertain is not None:
                keep(call.job, call.uncertain, call.recovered)
            if log is not None:
                await log.outcome(call, failure)

    async def _reserve(self, price: Price, call: ExecutionCall) -> Cost:
        """Set a price aside that is still fresh when that is done: it may have to wait for others."""
        while True:
            cost = await price(asked_since=self.oldest_price())
            began = _clock.now()
            await self.budget.reserve(cost, str(call))
            if _clock.now() - began <= CAPPED_PRICE_AGE:
                return cost
            self.budget.commit(cost, 0)


def _remembered(log: JournaledExecution, client: Client, entry: JournalEntry, keep: Keep) -> Executed:
    """Return the job that an earlier run has bought."""
    job = log.job(client)
    keep(job, None, entry.recovered)
    return Executed(job, entry.recovered, 0 if entry.state == "failed" else entry.credits)


def _spent(call: ExecutionCall, cost: Cost) -> int:
    """Return the credits to count as spent: none if it is certain that nothing was bought, more if the job says so."""
    if call.job is not None:
        return max(cost.credits, call.job.credits or 0)
    return cost.credits if call.uncertain is not None else 0
