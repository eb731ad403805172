"""Begin a run with a journal: open it for the account of the client, and update the statuses of its jobs."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import Final

from up42_async._client import Client
from up42_async._errors import JournalError, Up42Error
from up42_async._jobs.job import Job
from up42_async._jobs.models import TERMINAL_STATUSES
from up42_async._processing.execution import logger
from up42_async._processing.journal_run import JournalRun

_WRITTEN_AT_ONCE: Final = 100
"""Jobs whose statuses are written in one transaction."""

_ENDED: Final = [status.value for status in TERMINAL_STATUSES]


@contextlib.asynccontextmanager
async def running(path: Path, client: Client) -> AsyncGenerator[JournalRun]:
    """Hold a journal for a run.

    One request for the id of the user, if it is not known yet, and one for every 100 jobs that had not ended when they
    were last seen.

    Args:
        path: The file of the journal.
        client: A client of the account that the journal belongs to.

    Raises:
        APIError: The id of the user could not be asked.
        JournalError: The journal cannot be used, is in use, or belongs to another account.
        RuntimeError: The journal is in use by another call of this program.
    """
    run = JournalRun(path)
    try:
        await run.open(client._session.api, await client._user_id())
        await _refresh(run, client)
        yield run
    finally:
        await run.aclose()


async def _refresh(run: JournalRun, client: Client) -> None:
    """Ask for the jobs that may have ended since they were last seen, since one without a result costs nothing."""
    ids = run.unended(_ENDED)
    seen: list[Job] = []
    try:
        async for job in Job.all(ids=ids, client=client):
            seen.append(job)
            if len(seen) == _WRITTEN_AT_ONCE:
                await noted(run.seen(seen))
                seen = []
    except Up42Error as error:
        logger.warning("the jobs of the journal could not be asked for (%s); their last known statuses are used", error)
    await noted(run.seen(seen))


async def noted(writing: Awaitable[None]) -> None:
    """Await a write that the next run can repeat; an error of it is a warning in the log."""
    try:
        await writing
    except JournalError as error:
        logger.warning("%s", error)
