"""The SQLite file of a journal: its tables, and how it is opened without changing a file of another program."""

import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from up42_async._errors import JournalError

APPLICATION_ID: Final = 0x55503432
"""Marks the file as a journal of this library ("UP42"), see SQLite's `application_id`."""

VERSION: Final = 1
"""Version of the tables below; a file with a higher one is not touched."""

BUSY: Final = 5.0
"""Seconds to wait while another process has locked the file."""

WAL_PAGES: Final = 4096
"""Pages of 4 kB in the write-ahead log before they are moved into the file: fewer moves, fewer syncs."""

TABLES: Final = (
    "CREATE TABLE run (api TEXT NOT NULL, account TEXT NOT NULL, begun TEXT NOT NULL)",
    """CREATE TABLE executions (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        process_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        inputs TEXT NOT NULL,
        credits INTEGER NOT NULL,
        state TEXT NOT NULL,
        sent_at TEXT NOT NULL,
        sent_at_local TEXT NOT NULL,
        job_id TEXT,
        status TEXT,
        recovered INTEGER NOT NULL DEFAULT 0,
        job TEXT,
        error TEXT,
        candidates TEXT NOT NULL DEFAULT '[]',
        files TEXT,
        UNIQUE (key, ordinal)
    )""",
    "CREATE INDEX executions_by_job ON executions (job_id)",
    "CREATE TABLE claims (job_id TEXT PRIMARY KEY, execution INTEGER NOT NULL) WITHOUT ROWID",
)
"""`run` has one row; `claims` has each job id that an execution holds, held before, or has named as a candidate."""


@contextlib.contextmanager
def translated(path: Path) -> Generator[None]:
    """Translate the errors of SQLite in the block.

    Raises:
        JournalError: The file cannot be used; the message says why.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} {_reason(error)}", path=path) from error
    except (ValueError, TypeError) as error:  # a row that holds other values than this library writes
        raise JournalError(f"the journal {path} is damaged: {str(error)[:200]}", path=path) from error


def _reason(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_NOTADB:
            return "is not a journal: it is no SQLite file. Give the journal another name"
        case sqlite3.SQLITE_CORRUPT:
            return f"is damaged ({error}); it was left as it is"
        case _:
            return f"cannot be used: {error}"


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """Open a journal for reading, also while another process writes it; None if the file is missing or empty.

    Raises:
        JournalError: The file is no journal, of a newer version, damaged, or cannot be opened.
    """
    try:
        is_there, is_file = path.exists(), path.is_file()
    except OSError as error:  # for one, a name that is too long, or a directory that may not be read
        raise JournalError(f"the journal {path} cannot be read: {error.strerror}", path=path) from error
    if not is_there:
        return None
    if not is_file:
        raise JournalError(f"{path} is not a journal: it is no file. Give the journal another name", path=path)
    with translated(path), contextlib.ExitStack() as closing:
        file = _connect(closing, f"{path.absolute().as_uri()}?mode=ro", uri=True)
        if not _has_tables(file, path):
            return None
        closing.pop_all()
        return file


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a journal for a run, and make it if the file is missing or empty; the caller holds the run's lock.

    Raises:
        JournalError: The file is no journal, of a newer version, damaged, or cannot be opened or written.
    """
    known = open_to_read(path)  # so that nothing is written to a file that is no journal
    if known is not None:
        with contextlib.closing(known), translated(path):
            _check_whole(known, path)
    with translated(path), contextlib.ExitStack() as closing:
        file = _connect(closing, path)
        if known is None:
            _make_tables(file)
        # every commit is on disk when it returns, at the price of one sync (in other modes it is two or three)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        file.execute("PRAGMA fullfsync = ON")
        file.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        closing.pop_all()
        return file


def _connect(closing: contextlib.ExitStack, name: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    """Open a file, which the stack closes."""
    file = sqlite3.connect(name, uri=uri, timeout=BUSY, isolation_level=None, check_same_thread=False)
    return closing.enter_context(contextlib.closing(file))


def close_written(file: sqlite3.Connection) -> None:
    """Close a journal after a run; no other file is left beside it, unless another process is reading it."""
    with contextlib.suppress(sqlite3.Error):
        file.execute("PRAGMA journal_mode = DELETE")
    file.close()


def _has_tables(file: sqlite3.Connection, path: Path) -> bool:
    """Return whether a file is a journal; False for an empty one, which a crash at its creation leaves.

    Raises:
        JournalError: It is another program's file, or of a newer version.
    """
    application, version = _pragma(file, "application_id"), _pragma(file, "user_version")
    if application == APPLICATION_ID:
        if version > VERSION:
            message = f"the journal {path} was written by a newer version of up42-async; use that version, or newer"
            raise JournalError(message, path=path)
        return True
    if application or version or file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        message = f"{path} is not a journal, but another program's SQLite file; give the journal another name"
        raise JournalError(message, path=path)
    return False


def _check_whole(file: sqlite3.Connection, path: Path) -> None:
    (found,) = file.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        words = " ".join(found.split())
        raise JournalError(f"the journal {path} is damaged ({words:.200}); it was left as it is", path=path)


def _make_tables(file: sqlite3.Connection) -> None:
    """Make all tables in one transaction, so that a crash leaves a journal or an empty file."""
    file.execute("BEGIN IMMEDIATE")
    for statement in TABLES:
        file.execute(statement)
    file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    file.execute(f"PRAGMA user_version = {VERSION}")
    file.execute("COMMIT")


def _pragma(file: sqlite3.Connection, name: str) -> Any:
    return file.execute(f"PRAGMA {name}").fetchone()[0]
