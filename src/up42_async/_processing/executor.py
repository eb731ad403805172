"""Execute templates under a limit on credits and, where there is one, with a journal: what both need stands here."""

import datetime as dt
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import attrs

from up42_async import _clock
from up42_async._client import Client
from up42_async._errors import JournalError
from up42_async._jobs.job import Job
from up42_async._jobs.models import JobStatus
from up42_async._processing.cost import Cost
from up42_async._processing.credit_budget import CreditBudget, Reservation
from up42_async._processing.execution import (
    ExecutionCall,
    ExecutionUncertainError,
    Order,
    logger,
    uncertainty,
)
from up42_async._processing.journal import JournalEntry
from up42_async._processing.journal_run import JournalRun, Place
from up42_async._processing.recovery import LostExecution
from up42_async._processing.rejection import warn_of_rejection

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
        budget: CreditBudget,
        *,
        budget_id: str | None = None,
        journal: JournalRun | None = None,
        retry_uncertain: bool = False,
        retry_failed: bool = False,
    ) -> None:
        """Take the terms; nothing is sent yet.

        Args:
            budget: Credits that may be spent.
            budget_id: UP42's budget that pays, None for the account's own.
            journal: Where to write down what is sent, and to look up what earlier runs have sent.
            retry_uncertain: Whether to execute again what may have been executed.
            retry_failed: Whether to execute again what ended without a result.
        """
        self.budget = budget
        self._budget_id = budget_id
        self._journal = journal
        self._retry_uncertain = retry_uncertain
        self._retry_failed = retry_failed
        self.since = _clock.now()
        """When the call began (monotonic, in seconds)."""

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
        if self._journal is None or place is None:
            call = ExecutionCall(client, order, budget_id=self._budget_id)
            return await call.registry.one_at_a_time(order.key, partial(self._buy, call, price, keep))
        log = JournaledExecution(self._journal, place, order)
        call = ExecutionCall(client, order, budget_id=self._budget_id, log=log)
        known = self._journal.find(place)
        if known is None or known.state == "refused":
            await price(asked_since=self.oldest_price())  # out of turn, so that equal ones are priced together
        elif known.state not in {"executing", "uncertain"} and not self._is_bought_again(known):
            return log.remembered(client, known, keep)
        return await call.registry.one_at_a_time(
            order.key, partial(self._execute_in_order, client, call, log, price, keep)
        )

    def _is_bought_again(self, known: JournalEntry) -> bool:
        return known.state == "failed" and self._retry_failed

    async def _execute_in_order(
        self, client: Client, call: ExecutionCall, log: "JournaledExecution", price: Price, keep: Keep
    ) -> Executed:
        """Execute, or return what an earlier run has bought, when all equal executions before are known."""
        await log.recover_all(client)
        known = log.entry()
        if known is None or known.state == "refused" or self._is_bought_again(known):
            return await self._buy(call, price, keep, log)
        if known.state != "uncertain":
            return log.remembered(client, known, keep)
        if not self._retry_uncertain:
            raise log.uncertainty(known)
        if await log.find_again(call, known):
            return log.remembered(client, log.entry() or known, keep)
        self.budget.give_back(known.credits)
        return await self._buy(call, price, keep, log)

    async def _buy(
        self, call: ExecutionCall, price: Price, keep: Keep, log: "JournaledExecution | None" = None
    ) -> Executed:
        """Send once; whatever was or may have been bought is kept before anything else can happen."""
        cost, reservation = await self._reserve(price, call)
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
            reservation.commit(spent)
            call.registry.spent += spent
            if call.job is not None or call.uncertain is not None:
                keep(call.job, call.uncertain, call.recovered)
            if log is not None:
                await log.outcome(call, failure)

    async def _reserve(self, price: Price, call: ExecutionCall) -> tuple[Cost, Reservation]:
        """Set a price aside that is still fresh when that is done: it may have to wait for others."""
        while True:
            cost = await price(asked_since=self.oldest_price())
            began = _clock.now()
            reservation = await self.budget.reserve(cost, str(call))
            if _clock.now() - began <= CAPPED_PRICE_AGE:
                return cost, reservation
            reservation.commit(0)


class JournaledExecution:
    """One execution in the journal: its log while it is sent, and what earlier runs know of it."""

    def __init__(self, journal: JournalRun, place: Place, order: Order) -> None:
        self.credits = 0
        """The price, to be set before it is sent."""
        self._journal = journal
        self._place = place
        self._order = order
        self._is_written = False

    async def sending(self, sent_at: dt.datetime) -> None:
        """Write down that it is about to be sent.

        Raises:
            JournalError: It could not be written, so it must not be sent.
        """
        await self._journal.intend(
            self._place,
            fingerprint=self._order.fingerprint,
            process_id=self._order.process_id,
            workspace_id=self._order.workspace_id,
            inputs=self._order.inputs,
            credits=self.credits,
            sent_at=sent_at,
        )
        self._is_written = True

    def holds(self, job_id: str) -> bool | None:
        """Return whether this execution holds a job, or names it as a candidate; None when no execution does."""
        return self._journal.holds(self._place, job_id)

    def entry(self) -> JournalEntry | None:
        """Return what the journal knows of it."""
        return self._journal.find(self._place)

    async def outcome(self, call: ExecutionCall, failure: BaseException | None) -> None:
        """Write down what came of it.

        When its caller was cancelled, or the client closed, while it was not known, nothing is written: then it stays
        under way in the journal, and the next start looks for its job.
        """
        try:
            if call.job is not None:
                await self._journal.made(self._place, call.job, recovered=call.recovered)
            elif call.uncertain is not None:
                if isinstance(failure, Exception) and not call.registry.closing.is_set():
                    await self._journal.uncertain(self._place, str(call.uncertain), call.uncertain.candidates)
            elif self._is_written:
                await self._journal.refused(self._place, str(failure))
        except JournalError as error:
            logger.warning("what came of executing %s could not be written (%s); it is looked for later", call, error)

    async def recover_all(self, client: Client) -> None:
        """Look for the jobs of all equal executions that an earlier run has sent, and whose answers it did not get."""
        for entry in self._journal.under_way(self._place.key):
            place = Place(key=self._place.key, ordinal=entry.ordinal)
            earlier = JournaledExecution(self._journal, place, self._order)
            await earlier.recover(ExecutionCall(client, self._order, log=earlier), entry, client)

    async def recover(self, call: ExecutionCall, entry: JournalEntry, client: Client) -> None:
        """Look for the job of this execution, until it shows or "there is none" counts; write down what came of it.

        Raises:
            RuntimeError: The client was closed meanwhile.
        """
        logger.warning("an earlier run executed %s and did not get the answer; looking for its job", self._order)
        findings = await call.search(self._lost(entry)).run(client._polling.recover)
        if findings.job is not None:
            await self._journal.made(self._place, call.take(findings.job), recovered=True)
            return
        if call.registry.closing.is_set():
            message = "the client was closed before it was known what came of an execution of an earlier run"
            raise RuntimeError(message)
        error = call.uncertainty(findings, sent_at=entry.sent_at)
        await self._journal.uncertain(self._place, str(error), error.candidates)

    async def find_again(self, call: ExecutionCall, entry: JournalEntry) -> bool:
        """Look once more for the job of an uncertain execution; return whether it is there now.

        Raises:
            ExecutionUncertainError: The list of jobs could not be had.
        """
        findings = await call.search(self._lost(entry)).look_once()
        if findings.job is not None:
            await self._journal.made(self._place, call.take(findings.job), recovered=True)
            return True
        if not findings.is_answered:
            raise self.uncertainty(entry)
        return False

    def remembered(self, client: Client, entry: JournalEntry, keep: Keep) -> Executed:
        """Return the job that an earlier run has bought."""
        job = self._journal.job_of(self._place, client)
        keep(job, None, entry.recovered)
        return Executed(job, entry.recovered, 0 if entry.state == "failed" else entry.credits)

    def uncertainty(self, entry: JournalEntry) -> ExecutionUncertainError:
        """Return the error that an earlier run ended with."""
        return uncertainty(self._order, entry.sent_at, entry.candidates)

    def _lost(self, entry: JournalEntry) -> LostExecution:
        return LostExecution(
            process_id=self._order.process_id,
            workspace_id=self._order.workspace_id,
            inputs=self._order.inputs,
            sent_at=entry.sent_at,
            age=max(0.0, _clock.wall() - entry.sent_at_local.timestamp()),
            is_of_earlier_run=True,
        )


def _spent(call: ExecutionCall, cost: Cost) -> int:
    """Return the credits to count as spent: none if it is certain that nothing was bought, more if the job says so."""
    if call.job is not None:
        return max(cost.credits, call.job.credits or 0)
    return cost.credits if call.uncertain is not None else 0
