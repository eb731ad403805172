"""What the clients of one loop know: every job, how it became known, and its end."""

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
    """What the clients knew at some moment, in seconds since the faults began."""

    moment: float
    known: int
    finished: int
    memory: int
    """Bytes of this process."""


@attrs.frozen(kw_only=True)
class Unnamed:
    """An execution of which not even a candidate was known: what its error says, without its frames."""

    process_id: str
    inputs: Mapping[str, Any]


@attrs.define
class ClientState:
    """What the clients of one loop know."""

    known: dict[str, str] = attrs.field(factory=dict)
    """How each job came to be known, by id."""
    titles: dict[str, str] = attrs.field(factory=dict)
    """What each job was executed as, by id."""
    under_way: list[ExecutionBatch[Any]] = attrs.field(factory=list)
    """Executions of many whose outcomes can be read already."""
    calls: Counter[str] = attrs.field(factory=Counter)
    """How often each title was executed: one job each at the most."""
    caps: list[tuple[float, list[str]]] = attrs.field(factory=list)
    """Limits on credits, with the titles that they were for together."""
    taken_twice: list[str] = attrs.field(factory=list)
    """Jobs that two executions were told were theirs."""
    unnamed: list[Unnamed] = attrs.field(factory=list)
    """To be looked up in the end."""
    finished: dict[str, Finished] = attrs.field(factory=dict)
    """What became of each job, by id."""
    fetched: set[str] = attrs.field(factory=set)
    """Jobs whose files are all here."""
    seen: dict[tuple[str, str], set[str]] = attrs.field(factory=dict)
    """SHA-256 of every file that was seen at any time, by job id and name: one each, if files are whole or absent."""
    parts_left: list[str] = attrs.field(factory=list)
    """What lies about in the directories of jobs whose files are all here."""
    listed_twice: int = 0
    """Jobs that came twice in one listing."""
    not_listed: int = 0
    """Jobs known before a listing that was complete and did not have them."""
    listings: int = 0
    attempts: Counter[str] = attrs.field(factory=Counter)
    """Calls made, by what they were."""
    cancelled: Counter[str] = attrs.field(factory=Counter)
    """Calls cancelled, by how."""
    errors: Counter[str] = attrs.field(factory=Counter)
    """Errors of the library that ended a call, by type."""
    unexpected: list[str] = attrs.field(factory=list)
    """Whatever else ended a call."""
    logged: set[str] = attrs.field(factory=set)
    """Ids that warnings in the log named."""
    moments: list[Moment] = attrs.field(factory=list)

    def number_known(self) -> int:
        """Return how many jobs are known, with those whose batch has not ended."""
        outcomes = (outcome for running in self.under_way for outcome in running.results)
        return len(self.known.keys() | {outcome.job.id for outcome in outcomes if outcome.job is not None})

    def executing(self, titles: Iterable[str], cap: float | None = None) -> None:
        """Note what is about to be executed.

        Args:
            titles: What as, each once for each call.
            cap: Limit on the credits of all of them together.
        """
        noted = list(titles)
        self.calls.update(noted)
        if cap is not None:
            self.caps.append((cap, noted))

    def learn(self, executions: Iterable[up42.ExecutionResult[Any]], how: str) -> list[str]:
        """Note the results of executions; returns the jobs that are new.

        Args:
            executions: The outcomes.
            how: How they came to be known: `RETURNED`, or what the caller who was cancelled left.
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
        """Note a job that was found by the inputs of its execution; returns it if it is new."""
        title = job.definition["inputs"]["title"]
        return [] if job.id in self.known else self._know(job.id, LOOKED_UP, title)

    def _know(self, job_id: str, how: str, title: str) -> list[str]:
        if job_id in self.known:
            # two uncertain executions of one thing may both name both jobs, but only one call may be given a job
            if CANDIDATE not in {how, self.known[job_id]}:
                self.taken_twice.append(job_id)
            return []
        self.known[job_id], self.titles[job_id] = how, title
        return [job_id]

    def finish(self, job: up42.Job) -> None:
        """Note the end of a job."""
        self.finished[job.id] = Finished(status=job.status.value, credits=job.credits, is_successful=job.is_successful)

    def look_into(self, directory: Path) -> None:
        """Note the files and their contents, without unfinished ones (`name.part`).

        The hidden record of what was fetched is left out.

        Args:
            directory: That of one job, named after it.
        """
        for path in directory.glob("[!.]*"):
            if ".part" not in path.suffixes:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                self.seen.setdefault((path.parent.name, path.name), set()).add(digest)
            elif directory.name in self.fetched:
                self.parts_left.append(f"{path.parent.name}/{path.name}")

    def read(self, text: str) -> None:
        """Note the ids that a warning names."""
        self.logged.update(_UUID.findall(text))


class LogReader(logging.Handler):
    """Reads the library's warnings for the ids in them."""

    def __init__(self, state: ClientState) -> None:
        super().__init__(logging.WARNING)
        self._state = state

    def emit(self, record: logging.LogRecord) -> None:
        """Read one warning."""
        self._state.read(record.getMessage())
