"""A journal as a user sees it: the executions of one run, read from its file at any time."""

import contextlib
import datetime as dt
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

from up42_async._client import display
from up42_async._errors import JournalError
from up42_async._jobs.job import Job
from up42_async._jobs.models import JobStatus
from up42_async._processing import journal_file

SENT: Final = "sent"
MADE: Final = "made"
REFUSED: Final = "refused"
UNCERTAIN: Final = "uncertain"
"""The stored states of an execution; with the status of its job they make the `state` of an entry."""

NO_RESULT: Final = frozenset(
    {JobStatus.FAILED, JobStatus.RELEASED, JobStatus.REJECTED, JobStatus.INVALID, JobStatus.UNLICENSED}
)
"""Statuses of a job that ended without a result: its credits were given back, or never withheld."""

_WITH_RESULT: Final = frozenset({JobStatus.SUCCESSFUL, JobStatus.CAPTURED})
_FREE: Final = ", ".join(sorted(f"'{status.value}'" for status in NO_RESULT))
SPENT: Final = (
    f"SELECT coalesce(sum(credits), 0) FROM executions WHERE state IN ('{SENT}', '{UNCERTAIN}')"  # noqa: S608
    f" OR state = '{MADE}' AND status NOT IN ({_FREE})"
)


@attrs.frozen(kw_only=True)
class JournalEntry:
    """One execution in a journal."""

    fingerprint: str
    """The `fingerprint` of the template."""
    ordinal: int
    """Its number among the equal executions of the run, from 1."""
    process_id: str
    """The process."""
    workspace_id: str
    """The workspace in which the job was made."""
    inputs: Mapping[str, Any] = attrs.field(repr=False)
    """The inputs, as they were sent."""
    credits: int
    """The price when it was executed, in credits."""
    state: str
    """`executing` (sent, no response yet), `running`, `done`, `failed` (ended without a result), `refused` (nothing was
    bought) or `uncertain` (a job may have been made)."""
    sent_at: dt.datetime
    """When it was sent, on UP42's clock (aware, UTC)."""
    sent_at_local: dt.datetime
    """When it was sent, on the clock of the machine (aware, UTC)."""
    job_id: str | None = None
    """The job; None when there is none, or it is not known."""
    status: JobStatus | None = None
    """The status of the job when it was last seen."""
    recovered: bool = False
    """Whether the response was lost, and the job was found in the list of jobs."""
    error: str | None = None
    """Why there is no job, or why it is not known which one it is."""
    candidates: tuple[str, ...] = ()
    """Ids of the jobs that may be it, when it is not certain."""
    files: tuple[str, ...] | None = None
    """Paths of the files of its result; None until all of them are downloaded."""

    def __repr__(self) -> str:
        """Return process, state and job in one line of at most 200 characters."""
        return display.attributes(self, "process_id", "state", "job_id", "credits", "error")


_NAMES: Final = [field.name for field in attrs.fields(JournalEntry)]
COLUMNS: Final = ", ".join(_NAMES)
"""The columns of the table `executions` that an entry is made of, in the order of its fields."""


class Journal:
    """The executions of one run, with their jobs and downloaded files, in one SQLite file.

    `execute(templates, journal="trees.db")` and `pipeline(...)` write it: each execution before its request leaves, and
    its job when the response has come. However the program ended, the same call again continues where it stopped. A
    journal is one run: equal templates are executed as often as the list holds them, and no more.

    Reading sends no requests and is possible at any time, also while another process writes. The file is only kept open
    in a `with` block:

        with up42.Journal("trees.db") as journal:
            print(journal.spent, journal.counts)
            await up42.track(journal.jobs())

    The file holds no password, token or signed URL.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Keep the path; the file is neither opened nor made.

        Args:
            path: The file. A run makes it when it is missing; its directory must exist.

        Raises:
            TypeError: The path is neither a string nor a path object.
        """
        self.path: Final = Path(path)
        """The file."""
        self._kept: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open the file for reading, if it exists.

        Raises:
            JournalError: The file is no journal, of a newer version, damaged, or cannot be opened.
        """
        self.close()
        self._kept = journal_file.open_to_read(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; closing twice does nothing more."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def entries(self) -> list[JournalEntry]:
        """Return all executions, in the order in which they were first sent; none if the file does not exist.

        Raises:
            JournalError: The file cannot be read.
        """
        rows = self._rows(f"SELECT {COLUMNS} FROM executions ORDER BY id")  # noqa: S608 - names of columns only
        with journal_file.translated(self.path):
            return [entry_of(row) for row in rows]

    def jobs(self) -> list[Job]:
        """Return the jobs as they were last seen, ready for `track` and `download`, in the order of `entries`.

        Raises:
            JournalError: The file cannot be read.
        """
        rows = self._rows("SELECT job FROM executions WHERE job IS NOT NULL ORDER BY id")
        with journal_file.translated(self.path):
            return [Job.from_metadata(json.loads(row[0])) for row in rows]

    @property
    def spent(self) -> int:
        """Credits of all executions that made a job, are under way or uncertain, at their prices when executed.

        A job that ended without a result counts nothing, once its status is in the journal.

        Raises:
            JournalError: The file cannot be read.
        """
        rows = self._rows(SPENT)
        return int(rows[0][0]) if rows else 0

    @property
    def counts(self) -> dict[str, int]:
        """How many executions are in each state, see `JournalEntry.state`.

        Raises:
            JournalError: The file cannot be read.
        """
        return dict(Counter(state_of(*row) for row in self._rows("SELECT state, status FROM executions ORDER BY id")))

    def __repr__(self) -> str:
        """Return the path, the number of executions and the credits in one line."""
        shown = display.value(self.path)
        try:
            counts = self.counts
            known = (
                f"{display.counted(sum(counts.values()), 'execution')}, {display.counted(self.spent, 'credit')} spent"
            )
        except JournalError:
            known = "cannot be read"
        return display.bounded(f"<up42_async.Journal {shown}: {known}>")

    def _repr_html_(self) -> str:
        """Return the executions as a table, the newest first, for notebooks."""
        try:
            entries, spent = self.entries(), self.spent
        except JournalError as error:
            return f"<p>{display.cell(error)}</p>"
        counts = ", ".join(f"{count} {state}" for state, count in Counter(entry.state for entry in entries).items())
        title = f"{self.path}: {counts or 'nothing executed'}; {display.counted(spent, 'credit')} spent"
        return display.listing(title, ("process", "title", "state", "job", "credits"), [*map(_row, reversed(entries))])

    def _rows(self, query: str) -> list[Any]:
        file = self._kept or journal_file.open_to_read(self.path)
        if file is None:
            return []
        closing = contextlib.nullcontext() if file is self._kept else contextlib.closing(file)
        with closing, journal_file.translated(self.path):
            return file.execute(query).fetchall()


def state_of(state: str, status: str | None) -> str:
    """Return the `state` of an entry.

    Args:
        state: The stored state.
        status: The status of the job when it was last seen.
    """
    if state == MADE:
        known = JobStatus(status or JobStatus.CREATED)
        return "failed" if known in NO_RESULT else "done" if known in _WITH_RESULT else "running"
    return "executing" if state == SENT else state


def entry_of(row: Any) -> JournalEntry:
    """Return the entry of a row of `COLUMNS`."""
    known: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    status, files = known["status"], known["files"]
    read: dict[str, Any] = {
        "inputs": json.loads(known["inputs"]),
        "state": state_of(known["state"], status),
        "sent_at": dt.datetime.fromisoformat(known["sent_at"]),
        "sent_at_local": dt.datetime.fromisoformat(known["sent_at_local"]),
        "status": None if status is None else JobStatus(status),
        "recovered": bool(known["recovered"]),
        "candidates": tuple(json.loads(known["candidates"])),
        "files": None if files is None else tuple(file["path"] for file in json.loads(files)["files"]),
    }
    return JournalEntry(**known | read)


def _row(entry: JournalEntry) -> tuple[Any, ...]:
    return (entry.process_id, entry.inputs.get("title"), entry.state, entry.job_id, entry.credits)
