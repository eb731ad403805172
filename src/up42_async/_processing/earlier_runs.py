"""Look for the jobs of executions that an earlier run sent without receiving the response, as its journal shows."""

from up42_async import _clock
from up42_async._client import Client
from up42_async._processing.execution import ExecutionCall, logger
from up42_async._processing.journal import JournalEntry
from up42_async._processing.journal_run import Place
from up42_async._processing.order import Order
from up42_async._processing.recovery import ExecutionUncertainError, LostExecution, uncertainty


async def recover_all(client: Client, place: Place) -> None:
    """Look for the jobs of all equal executions that are under way in the journal; write the outcome of each.

    Args:
        client: The client to ask with.
        place: The place of one of the equal executions.

    Raises:
        JournalError: The journal cannot be read or written.
        RuntimeError: The client was closed meanwhile.
    """
    for earlier, entry in place.under_way():
        await _recover(ExecutionCall(client, earlier.order, place=earlier), earlier, entry)


async def _recover(call: ExecutionCall, place: Place, entry: JournalEntry) -> None:
    """Look for the job of one execution until it is found or certainly not listed; write the outcome."""
    logger.warning("an earlier run executed %s and received no response; looking for its job", call.order.label)
    lost = _lost(call.order, entry)
    findings = await call.search(lost).run(call.client._polling.recover)
    if findings.job is not None:
        await place.made(call.take(findings.job), recovered=True)
        return
    if call.registry.closing.is_set():
        message = (
            f"the client was closed while the job of {call.order.label}, executed by an earlier run, was looked for;"
            " the next run with this journal looks for it again"
        )
        raise RuntimeError(message)
    await place.uncertain(call.uncertainty(lost, findings))


async def find_again(call: ExecutionCall, place: Place, entry: JournalEntry) -> bool:
    """Look once more for the job of an uncertain execution; return whether it is there now.

    Args:
        call: The execution, not sent by this run.
        place: Its place in the journal.
        entry: Its entry in the journal.

    Raises:
        ExecutionUncertainError: The jobs could not be listed.
    """
    findings = await call.search(_lost(call.order, entry)).look()
    if findings.job is not None:
        await place.made(call.take(findings.job), recovered=True)
        return True
    if not findings.is_answered:
        raise uncertainty_of(call.order, entry)
    return False


def uncertainty_of(order: Order, entry: JournalEntry) -> ExecutionUncertainError:
    """Return the error that an earlier run ended with."""
    return uncertainty(_lost(order, entry), entry.candidates)


def _lost(order: Order, entry: JournalEntry) -> LostExecution:
    return LostExecution(
        order=order,
        sent_at=entry.sent_at,
        started=_clock.now() - max(0.0, _clock.wall() - entry.sent_at_local.timestamp()),
        is_of_earlier_run=True,
    )
