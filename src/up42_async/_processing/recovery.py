"""Look in the list of jobs for the job of an execution whose answer was lost, and say what is known of it."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import anyio
import attrs

from up42_async import _clock
from up42_async._client import Client
from up42_async._errors import APIError, UnexpectedResponseError, Up42Error
from up42_async._http.requests import ApiRequest
from up42_async._jobs.filters import Filters
from up42_async._jobs.job import Job, read_job
from up42_async._jobs.listing import PAGE_SIZE
from up42_async._jobs.models import JobSorting
from up42_async._jobs.parsing import JobPager
from up42_async._processing.order import Order

logger = logging.getLogger("up42_async")

RECOVERY_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 13.0)
"""Seconds before each look for a lost job, which may take some time until it is listed; less when `recover` is."""

USUAL_SEARCH: Final = 60.0
"""Seconds for which the delays above are made."""

LEAST_TIME: Final = 1.0
"""Seconds that a look may take however short `recover` is: a sandbox's clock runs fast, and the network does not."""

CLOCK_SKEW: Final = dt.timedelta(seconds=2)
"""How far UP42's machines may disagree on the time; dates in headers are cut to seconds, too."""

SAME_MOMENT: Final = dt.timedelta(seconds=60)
"""How long after an execution was sent a job with other inputs counts as made at the same moment."""

MOST_NAMED: Final = 20
"""Jobs that are named as ones it may be, when none has the same inputs."""

DOCUMENTED_DEFAULTS: Final[Mapping[str, Any]] = {"sensitivity": 2}
"""Inputs that UP42 documents to have a value when they are left out."""


class ExecutionUncertainError(Up42Error):
    """An execution was sent and its answer was lost, so it may have made a job, which would be paid for.

    Attributes:
        process_id: The process.
        inputs: The inputs.
        sent_at: When it was sent, on UP42's clock, or a little earlier (aware, UTC).
        candidates: Ids of the jobs that may be it; more than one when there is no telling which.
    """

    def __init__(
        self,
        message: str,
        *,
        process_id: str = "",
        inputs: Mapping[str, Any] | None = None,
        sent_at: dt.datetime | None = None,
        candidates: Sequence[str] = (),
    ) -> None:
        """Say what was sent, and what is known of it."""
        super().__init__(message)
        self.process_id = process_id
        self.inputs: dict[str, Any] = dict(inputs or {})
        self.sent_at = sent_at
        self.candidates: tuple[str, ...] = tuple(candidates)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class LostExecution:
    """An execution that was sent, and whose answer did not come or could not be read."""

    order: Order
    sent_at: dt.datetime
    """When it was sent, on UP42's clock, or a little earlier."""
    age: float
    """Seconds since it was sent, when the search begins."""
    is_of_earlier_run: bool = False
    """Whether an earlier run has sent it, so that its age counts as time in which it could be listed."""
    named: str | None = None
    """The id of the job, when that much of the answer could be read."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Findings:
    """The jobs that a lost execution may have made."""

    equal: tuple[Job, ...] = ()
    """Those with the same inputs, as UP42 completes them, or with the id that the answer named."""
    similar: tuple[Job, ...] = ()
    """Others of the same process, workspace and moment, or of a moment that cannot be read."""
    from_the_future: bool = False
    """Whether one was created after now, on UP42's clock: then its clocks disagree, and times prove nothing."""
    is_answered: bool = False
    """Whether the list could be had."""

    @property
    def job(self) -> Job | None:
        """The job, when there is no doubt."""
        return self.equal[0] if len(self.equal) == 1 and not self.from_the_future else None


class JobSearch:
    """The search for the job of one lost execution."""

    def __init__(
        self, client: Client, lost: LostExecution, *, is_free: Callable[[str], bool], closing: anyio.Event
    ) -> None:
        """Take what to look for.

        Args:
            client: Whom to ask with.
            lost: The execution.
            is_free: Whether no other execution holds a job, by its id.
            closing: Ends the search.
        """
        self._client = client
        self._lost = lost
        self._is_free = is_free
        self._closing = closing
        self._sent = _clock.now() - lost.age

    async def run(self, recover: float) -> Findings:
        """Look until there is a job with the same inputs, or the time is up.

        One request a look, more when the account has made hundreds of jobs since.

        Args:
            recover: Seconds after the execution was sent for which "there is none" is not final, and seconds that the
                search takes at the most, whatever the list does; the look that is then under way may take up to 1 s.
        """
        findings = Findings()
        ends = _clock.now() + recover
        with anyio.move_on_after(max(recover, LEAST_TIME)):
            pauses = self._pauses(recover)
            is_over = False
            while not is_over:
                pause, is_last = next(pauses)
                if await _clock.wait_for(self._closing, pause):
                    break
                findings = await self.look()
                is_over = bool(findings.equal) or (findings.is_answered and is_last) or _clock.now() >= ends
        return findings

    def _pauses(self, recover: float) -> Iterator[tuple[float, bool]]:
        """Yield the seconds before each look, and whether "there is none" counts after it.

        What an earlier run has sent is looked for at once, and then at the moments that have not passed yet.
        """
        share = min(1.0, recover / USUAL_SEARCH)
        due = [moment * share for moment in itertools.accumulate(RECOVERY_DELAYS)]
        passed = 0.0
        if self._lost.is_of_earlier_run:
            passed = self._lost.age
            yield 0.0, passed >= due[-1]
        for moment in due:
            if moment > passed:
                yield moment - passed, moment == due[-1]
                passed = moment
        while True:  # the list could not be had so far
            yield RECOVERY_DELAYS[-1] * share, True

    async def look(self) -> Findings:
        """Look a single time; when the jobs cannot be listed, that is a line in the log."""
        try:
            return await self._candidates()
        except (APIError, RuntimeError) as error:  # the latter when the client is closed meanwhile
            logger.warning("the jobs could not be listed (%s)", error)
            return Findings()

    async def _candidates(self) -> Findings:
        """List the jobs it may have made: same process and workspace, new, and of no other execution."""
        lost, order = self._lost, self._lost.order
        newest_first = JobSorting.created.desc
        filters = Filters(process_id=[order.process_id], workspace_id=order.workspace_id, sort_by=newest_first)
        listed = JobPager(self._client, self._read, filters.query, limit=PAGE_SIZE, key=lambda entry: entry[0])
        equal: list[Job] = []
        similar: list[Job] = []
        async for _, job in listed:
            if job is None or not self._is_free(job.id):
                continue
            has_time = isinstance(job.created, dt.datetime)  # None where it cannot be read
            if has_time and job.created < self._earliest():
                break
            if job.id == lost.named:
                equal = [job]
                break
            if not has_time:
                similar.append(job)
            elif same_inputs(order.inputs, job.definition.get("inputs")):
                equal.append(job)
            elif job.created <= lost.sent_at + SAME_MOMENT:
                similar.append(job)
        latest = self._client._session.server_time() + CLOCK_SKEW
        return Findings(
            equal=tuple(equal),
            similar=tuple(similar[:MOST_NAMED]),
            from_the_future=any(isinstance(job.created, dt.datetime) and job.created > latest for job in equal),
            is_answered=True,
        )

    def _read(self, metadata: Any, request: ApiRequest) -> tuple[str, Job | None]:
        """Read one job of the list; one that makes no sense must not hide the others."""
        try:
            job = read_job(self._client, metadata, request)
        except UnexpectedResponseError:
            return str(metadata.get("jobID")) if isinstance(metadata, dict) else "", None
        return job.id, job

    def _earliest(self) -> dt.datetime:
        """Return when the job can have been created at the earliest, on UP42's clock.

        The clock may have been unknown when the request was sent; counted back from the latest answer it is known now.
        """
        counted_back = self._client._session.server_time() - dt.timedelta(seconds=_clock.now() - self._sent)
        return min(self._lost.sent_at, counted_back) - CLOCK_SKEW


def uncertainty(lost: LostExecution, candidates: Sequence[str]) -> ExecutionUncertainError:
    """Return the error that says what is known of an execution whose answer was lost.

    Args:
        lost: The execution.
        candidates: Ids of the jobs that may be it.
    """
    order, known = lost.order, "no job that could be it was seen"
    if candidates:
        known = f"it could be {' or '.join(candidates)}"
    message = (
        f"the answer to executing {order.label}, sent at {lost.sent_at:%Y-%m-%d %H:%M:%S} UTC, was lost, so a job may"
        f" have been made; {known}. Look for it with Job.all(process_id=[{order.process_id!r}],"
        " sort_by=JobSorting.created.desc) before you execute again, or you may pay twice"
    )
    return ExecutionUncertainError(
        message, process_id=order.process_id, inputs=order.inputs, sent_at=lost.sent_at, candidates=candidates
    )


def same_inputs(sent: Mapping[str, Any], listed: Any) -> bool:
    """Return whether inputs in the list of jobs are the ones that were sent, as UP42 may have completed them.

    A title may have been trimmed, `http` have become `https`, and keys have been added that are null, empty or a
    documented default.

    Args:
        sent: The inputs that were sent.
        listed: The inputs of a job in the list.
    """
    if not isinstance(listed, Mapping):
        return False
    added = {name: listed[name] for name in listed.keys() - sent.keys()}
    if any(value or value in (0, False) for name, value in added.items() if not _is_default(name, value)):
        return False
    return all(name in listed and _plain(name, listed[name]) == _plain(name, value) for name, value in sent.items())


def _is_default(name: str, value: Any) -> bool:
    return name in DOCUMENTED_DEFAULTS and bool(value == DOCUMENTED_DEFAULTS[name])


def _plain(name: str, value: Any) -> Any:
    """Return a value without what UP42 may change in it."""
    if isinstance(value, str):
        text = value.strip() if name == "title" else value
        return f"https://{text.removeprefix('http://')}" if text.startswith("http://") else text
    return [_plain(name, one) for one in value] if isinstance(value, list) else value
