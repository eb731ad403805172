"""A journal while a run writes it: each execution before its request leaves, and its outcome afterwards."""

import datetime as dt
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import anyio

from up42_async import _clock
from up42_async._client import Client
from up42_async._errors import JournalError
from up42_async._jobs.job import Job
from up42_async._processing import journal_file
from up42_async._processing.journal import COLUMNS, MADE, REFUSED, SENT, SPENT, UNCERTAIN, JournalEntry, entry_of
from up42_async._processing.journal_lock import RunLock
from up42_async._processing.order import Order
from up42_async._processing.recovery import ExecutionUncertainError

T = TypeVar("T")
Statement = tuple[str, Sequence[Any]]

_INTEND: Final = f"""
    INSERT INTO executions
        (key, ordinal, fingerprint, process_id, workspace_id, inputs, credits, state, sent_at, sent_at_local)
    VALUES (?, ?, ?, ?, ?, ?, ?, '{SENT}', ?, ?)
    ON CONFLICT (key, ordinal) DO UPDATE SET
        credits = excluded.credits, state = '{SENT}', sent_at = excluded.sent_at,
        sent_at_local = excluded.sent_at_local, job_id = NULL, status = NULL, recovered = 0, job = NULL, error = NULL,
        candidates = '[]', files = NULL
"""  # noqa: S608 - only constants are put in
_CLAIM: Final = """
    INSERT OR IGNORE INTO claims (job_id, execution) SELECT ?, id FROM executions WHERE key = ? AND ordinal = ?
"""


class JournalRun:
    """The only writer of a journal while its run lasts.

    It writes in a worker thread; what several tasks write at the same time goes to disk with one sync.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._lock = RunLock(path)
        self._written: sqlite3.Connection | None = None
        self._read: sqlite3.Connection | None = None
        self._places: Counter[str] = Counter()
        self._pending: list[_Write] = []
        self._turn = anyio.Lock()
        self._in_use = threading.Lock()  # a task that asyncio cancels twice leaves its thread at work

    async def open(self, api: str, account: str) -> Self:
        """Lock the journal, and open it or make it.

        Args:
            api: Base URL of the API, which a new journal then belongs to.
            account: The user's id at UP42, likewise.

        Raises:
            JournalError: It cannot be used, another process uses it, or it belongs to another host or account.
            RuntimeError: Another run of this program uses it.
        """
        await self._in_thread(lambda: self._open(api, account))
        return self

    async def aclose(self) -> None:
        """Wait for the write that is under way, close the file and release the lock."""
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._close)

    def check(self, api: str, account: str) -> None:
        """Make sure that the journal belongs to this host and account.

        Raises:
            JournalError: It belongs to another host or account.
        """
        (row,) = self.rows("SELECT api, account FROM run")
        if row != (api, account):
            message = (
                f"the journal {self.path} belongs to user {row[1]} at {row[0]}, not to user {account} at {api};"
                " give this run another journal"
            )
            raise JournalError(message, path=self.path)

    def place(self, order: Order) -> "Place":
        """Return the place of the next execution with the key of this one; called in the order of the templates."""
        self._places[order.key] += 1
        return Place(self, order, self._places[order.key])

    def spent(self) -> int:
        """Return the credits of executions that made a job, are under way or uncertain, see `Journal.spent`."""
        return int(self.rows(SPENT)[0][0])

    def unended(self, statuses: Sequence[str]) -> list[str]:
        """Return the ids of the jobs that had none of these statuses when they were last seen."""
        marks = ", ".join("?" * len(statuses))
        query = f"SELECT job_id FROM executions WHERE state = ? AND status NOT IN ({marks}) ORDER BY id"  # noqa: S608
        return [job_id for (job_id,) in self.rows(query, (MADE, *statuses))]

    async def seen(self, jobs: Iterable[Job]) -> None:
        """Write the current statuses of jobs."""
        update = "UPDATE executions SET status = ?, job = ? WHERE job_id = ?"
        statements: list[Statement] = [(update, (job.status.value, _record(job), job.id)) for job in jobs]
        if statements:
            await self.write(*statements)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Read rows, on a connection of its own that never waits for what is being written.

        Raises:
            JournalError: The file cannot be read.
            RuntimeError: The journal is closed.
        """
        if self._read is None:
            raise RuntimeError(f"the journal {self.path} is closed")
        with journal_file.translated(self.path):
            return self._read.execute(query, values).fetchall()

    async def write(self, *statements: Statement) -> None:
        """Write statements; the first task that gets its turn writes those of all waiting tasks.

        Raises:
            JournalError: It could not be written.
        """
        write = _Write(statements)
        self._pending.append(write)
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if not write.is_done:
                    batch, self._pending = self._pending, []
                    await self._in_thread(lambda: self._commit(batch))
        if write.error is not None:
            raise write.error

    def _commit(self, batch: Sequence["_Write"]) -> None:
        """Write the statements of several tasks in one transaction; in a worker thread."""
        error: JournalError | None = None
        try:
            with journal_file.translated(self.path):
                self._transact([statement for write in batch for statement in write.statements])
        except JournalError as caught:
            error = caught
        for write in batch:
            write.error, write.is_done = error, True

    def _transact(self, statements: Sequence[Statement]) -> None:
        if self._written is None:
            raise sqlite3.ProgrammingError("it is closed")
        self._written.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                self._written.execute(statement, values)
            self._written.execute("COMMIT")
        except BaseException:
            if self._written.in_transaction:  # on a full disk SQLite may have rolled back by itself
                self._written.execute("ROLLBACK")
            raise

    def _open(self, api: str, account: str) -> None:
        self._lock.acquire()
        try:
            self._written = journal_file.open_to_write(self.path)
            self._read = journal_file.open_to_read(self.path)
            if not self.rows("SELECT 1 FROM run"):
                begun = dt.datetime.fromtimestamp(_clock.wall(), dt.UTC).isoformat()
                with journal_file.translated(self.path):
                    self._transact([("INSERT INTO run (api, account, begun) VALUES (?, ?, ?)", (api, account, begun))])
            self.check(api, account)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        read, self._read = self._read, None
        if read is not None:
            read.close()
        written, self._written = self._written, None
        if written is not None:
            journal_file.close_written(written)
        self._lock.release()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def locked() -> T:
            with self._in_use:
                return work()

        return await anyio.to_thread.run_sync(locked)


class Place:
    """The place of one execution in a journal: the n-th with the same process, workspace and inputs."""

    def __init__(self, run: JournalRun, order: Order, ordinal: int) -> None:
        self.order = order
        self.ordinal = ordinal
        self._run = run
        self._key = (order.key, ordinal)

    def entry(self) -> JournalEntry | None:
        """Return the entry of the execution; None when it was never sent."""
        rows = self._select(COLUMNS)
        return entry_of(rows[0]) if rows else None

    def job(self, client: Client) -> Job:
        """Return the job of the execution as it was last seen, for a client; the entry must have a job."""
        ((job,),) = self._select("job")
        with journal_file.translated(self._run.path):
            return Job.from_metadata(json.loads(job), client=client)

    def under_way(self) -> list[tuple["Place", JournalEntry]]:
        """Return all equal executions that were sent and have no outcome yet, in their order."""
        query = f"SELECT {COLUMNS} FROM executions WHERE key = ? AND state = ? ORDER BY ordinal"  # noqa: S608
        entries = map(entry_of, self._run.rows(query, (self.order.key, SENT)))
        return [(Place(self._run, self.order, entry.ordinal), entry) for entry in entries]

    def holds(self, job_id: str) -> bool | None:
        """Return whether the execution holds a job, or names it as a candidate; None when no execution does."""
        rows = self._run.rows(
            "SELECT key, ordinal FROM claims JOIN executions ON executions.id = claims.execution"
            " WHERE claims.job_id = ?",
            (job_id,),
        )
        return None if not rows else rows[0] == self._key

    async def intend(self, *, credits: int, sent_at: dt.datetime) -> None:
        """Write that the execution is about to be sent; it is on disk when this returns.

        Args:
            credits: Its price.
            sent_at: The time on UP42's clock.

        Raises:
            JournalError: It could not be written, so the execution must not be sent.
        """
        order, now = self.order, dt.datetime.fromtimestamp(_clock.wall(), dt.UTC)
        values = (
            *self._key,
            order.fingerprint,
            order.process_id,
            order.workspace_id,
            json.dumps(order.inputs),
            credits,
            sent_at.isoformat(),
            now.isoformat(),
        )
        await self._run.write((_INTEND, values))

    async def made(self, job: Job, *, recovered: bool) -> None:
        """Write the job of the execution.

        Args:
            job: The job.
            recovered: Whether it was found in the list of jobs.
        """
        values = {"job_id": job.id, "status": job.status.value, "job": _record(job), "recovered": int(recovered)}
        await self._run.write(self._update(state=MADE, error=None, **values), self._claim(job.id))

    async def refused(self, reason: str) -> None:
        """Write that no job was made."""
        await self._run.write(self._update(state=REFUSED, error=reason))

    async def uncertain(self, error: ExecutionUncertainError) -> None:
        """Write that a job may have been made; no other execution takes the candidates."""
        claims = [self._claim(id_) for id_ in error.candidates]
        candidates = json.dumps(error.candidates)
        await self._run.write(self._update(state=UNCERTAIN, error=str(error), candidates=candidates), *claims)

    async def downloaded(self, selection: str, files: Sequence[Mapping[str, Any]]) -> None:
        """Write the downloaded files of the result, which are all complete.

        Args:
            selection: The directory and the filters of the download.
            files: Their descriptions, see `downloaded_files.py`.
        """
        await self._run.write(self._update(files=json.dumps({"selection": selection, "files": files})))

    def files(self, selection: str) -> list[dict[str, Any]]:
        """Return the descriptions of the downloaded files; none when they were downloaded by another selection.

        Args:
            selection: The directory and the filters of the download.
        """
        rows = self._select("files")
        kept: dict[str, Any] = json.loads(rows[0][0]) if rows and rows[0][0] is not None else {}
        files: list[dict[str, Any]] = kept["files"] if kept.get("selection") == selection else []
        return files

    def _select(self, columns: str) -> list[Any]:
        query = f"SELECT {columns} FROM executions WHERE key = ? AND ordinal = ?"  # noqa: S608 - names of columns only
        return self._run.rows(query, self._key)

    def _update(self, **values: Any) -> Statement:
        names = ", ".join(f"{name} = ?" for name in values)
        statement = f"UPDATE executions SET {names} WHERE key = ? AND ordinal = ?"  # noqa: S608 - names of columns only
        return statement, (*values.values(), *self._key)

    def _claim(self, job_id: str) -> Statement:
        return _CLAIM, (job_id, *self._key)


def _record(job: Job) -> str:
    """Return a job as UP42 sends it, without the keys that this version of the library does not know."""
    return json.dumps({name: value for name, value in job.to_metadata().items() if name not in job.extra})


class _Write:
    """Statements that one task writes together."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements
        self.is_done = False
        self.error: JournalError | None = None
