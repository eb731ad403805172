"""The records of the clients of one event loop: every job, how they learned of it, and its last status."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

import up42_async as up42
from up42_async._processing.batch import ExecutionBatch

RETURNED: Final = "returned"
RECOVERED: Final = "found after its answer was lost"
KEPT: Final = "kept for a caller who was cancelled"
HANDLED: Final = "read off a block that was cancelled"
CANDIDATE: Final = "named by an ExecutionUncertainError"
LOOKED_UP: Final = "looked up as an ExecutionUncertainError advises"
WAYS_TO_KNOW: Final = (RETURNED, RECOVERED, KEPT, HANDLED, CANDIDATE, LOOKED_UP)

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen(kw_only=True)
class Finished:
    """A job that the client calls finished."""

    status: str
    credits: int | None
    is_successful: bool


@attrs.frozen(kw_only=True)
class Moment:
    """The clients' records at a time, in seconds since the faults began."""

    moment: float
    known: int
    finished: int
    memory: int
    """Bytes of this process."""


@attrs.frozen(kw_only=True)
class Unnamed:
    """An uncertain execution without candidates: the attributes of its error, without its traceback."""

    process_id: str
    inputs: Mapping[str, Any]


@attrs.define
class ClientState:
    """The records of the clients of one event loop."""

    known: dict[str, str] = attrs.field(factory=dict)
    """How the clients learned of each job, by id."""
    titles: dict[str, str] = attrs.field(factory=dict)
    """The title of each job, by id."""
    under_way: list[ExecutionBatch[Any]] = attrs.field(factory=list)
    """Running batches of executions, whose results so far can be read."""
    calls: Counter[str] = attrs.field(factory=Counter)
    """How often each title was executed; each execution may create one job."""
    caps: list[tuple[float, list[str]]] = attrs.field(factory=list)
    """Limits on credits, each with the titles that it limits together."""
    taken_twice: list[str] = attrs.field(factory=list)
    """Jobs that two executions returned as their own."""
    unnamed: list[Unnamed] = attrs.field(factory=list)
    """Executions to be looked up at the end."""
    finished: dict[str, Finished] = attrs.field(factory=dict)
    """The end of each finished job, by id."""
    fetched: set[str] = attrs.field(factory=set)
    """Jobs whose files are all downloaded."""
    seen: dict[tuple[str, str], set[str]] = attrs.field(factory=dict)
    """Every SHA-256 seen of each file, by job id and name: only one, if files are always complete or absent."""
    parts_left: list[str] = attrs.field(factory=list)
    """Part files in the directories of jobs whose files are all downloaded."""
    listed_twice: int = 0
    """Jobs that were twice in one listing."""
    not_listed: int = 0
    """Jobs that were known before a complete listing and were missing from it."""
    listings: int = 0
    attempts: Counter[str] = attrs.field(factory=Counter)
    """Number of calls, by name."""
    cancelled: Counter[str] = attrs.field(factory=Counter)
    """Number of cancelled calls, by the way of cancelling."""
    errors: Counter[str] = attrs.field(factory=Counter)
    """Errors of the library that ended a call, by type."""
    unexpected: list[str] = attrs.field(factory=list)
    """Other errors that ended a call, and wrong results."""
    logged: set[str] = attrs.field(factory=set)
    """Job ids in the warnings of the log."""
    moments: list[Moment] = attrs.field(factory=list)

    def number_known(self) -> int:
        """Return the number of known jobs, with those of running batches."""
        outcomes = (outcome for running in self.under_way for outcome in running.results)
        return len(self.known.keys() | {outcome.job.id for outcome in outcomes if outcome.job is not None})

    def executing(self, titles: Iterable[str], cap: float | None = None) -> None:
        """Record executions before they are sent.

        Args:
            titles: Their titles, each as often as it is executed.
            cap: Limit on the credits of all of them together.
        """
        noted = list(titles)
        self.calls.update(noted)
        if cap is not None:
            self.caps.append((cap, noted))

    def learn(self, executions: Iterable[up42.ExecutionResult[Any]], how: str) -> list[str]:
        """Record the results of executions; return the ids of new jobs.

        Args:
            executions: The results.
            how: How the clients learned of them: `RETURNED`, or `KEPT` or `HANDLED` after a cancellation.
        """
        new: list[str] = []
        for execution in executions:
            error = execution.error
            if execution.job is not None:
                way = RECOVERED if execution.recovered and how == RETURNED else how
                new += self._know(execution.job.id, way, execution.template.inputs["title"])
            elif isinstance(error, up42.ExecutionUncertainError):
                for job_id in error.candidates:
                    new += self._know(job_id, CANDIDATE, error.inputs["title"])
                if not error.candidates:
                    self.unnamed.append(Unnamed(process_id=error.process_id, inputs=error.inputs))
            elif not isinstance(error, up42.Up42Error):
                self.unexpected.append(repr(error))
        return new

    def look_up(self, job: up42.Job) -> list[str]:
        """Record a job that was found by the inputs of its execution; return its id if it is new."""
        title = job.definition["inputs"]["title"]
        return [] if job.id in self.known else self._know(job.id, LOOKED_UP, title)

    def _know(self, job_id: str, how: str, title: str) -> list[str]:
        if job_id in self.known:
            # two uncertain executions of the same inputs may both name both jobs, but each job belongs to one call
            if CANDIDATE not in {how, self.known[job_id]}:
                self.taken_twice.append(job_id)
            return []
        self.known[job_id], self.titles[job_id] = how, title
        return [job_id]

    def finish(self, job: up42.Job) -> None:
        """Record the end of a job."""
        self.finished[job.id] = Finished(status=job.status.value, credits=job.credits, is_successful=job.is_successful)

    def look_into(self, directory: Path) -> None:
        """Record the hashes of complete files, and part files (`name.part`) of jobs that are downloaded.

        Hidden files are left out.

        Args:
            directory: The directory of one job, named after its id.
        """
        for path in directory.glob("[!.]*"):
            if ".part" not in path.suffixes:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                self.seen.setdefault((path.parent.name, path.name), set()).add(digest)
            elif directory.name in self.fetched:
                self.parts_left.append(f"{path.parent.name}/{path.name}")

    def read(self, text: str) -> None:
        """Record the ids that a warning names."""
        self.logged.update(_UUID.findall(text))


class LogReader(logging.Handler):
    """Reads the library's warnings for the ids in them."""

    def __init__(self, state: ClientState) -> None:
        super().__init__(logging.WARNING)
        self._state = state

    def emit(self, record: logging.LogRecord) -> None:
        """Read one warning."""
        self._state.read(record.getMessage())
