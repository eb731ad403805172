"""One execution in a journal: on disk before it leaves, and looked for when an earlier run did not get its answer."""

import datetime as dt

from up42_async import _clock
from up42_async._client import Client
from up42_async._errors import JournalError
from up42_async._jobs.job import Job
from up42_async._processing.execution import ExecutionCall, ExecutionUncertainError, Order, logger, uncertainty
from up42_async._processing.journal import JournalEntry
from up42_async._processing.journal_run import JournalRun, Place
from up42_async._processing.recovery import LostExecution


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
        findings = await call.search(self._lost(entry)).look()
        if findings.job is not None:
            await self._journal.made(self._place, call.take(findings.job), recovered=True)
            return True
        if not findings.is_answered:
            raise self.uncertainty(entry)
        return False

    def job(self, client: Client) -> Job:
        """Return the job that an earlier run has bought."""
        return self._journal.job_of(self._place, client)

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
