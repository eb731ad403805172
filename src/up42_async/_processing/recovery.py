"""Look in the list of jobs for the job of an execution whose response was lost, and say what is known of it."""

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
"""Seconds before each look for a lost job, which may be listed late; scaled down when `recover` is below 60."""

USUAL_SEARCH: Final = 60.0
"""Seconds of `recover` for which the delays above are made."""

LEAST_TIME: Final = 1.0
"""Seconds that a look may take however short `recover` is: a sandbox's clock runs fast, and the network does not."""

CLOCK_SKEW: Final = dt.timedelta(seconds=2)
"""How far the clocks of UP42's machines may differ; dates in headers are also cut to whole seconds."""

SAME_MOMENT: Final = dt.timedelta(seconds=60)
"""How long after an execution was sent a job with other inputs is still named as one that may be it."""

MOST_NAMED: Final = 20
"""Jobs that are named as candidates at the most, when none has the same inputs."""

DOCUMENTED_DEFAULTS: Final[Mapping[str, Any]] = {"sensitivity": 2}
"""The documented values of inputs that were left out (docs/platform.md, *Inputs of the built-in processes*)."""


class ExecutionUncertainError(Up42Error):
    """An execution was sent and its response was lost, so it may have made a job, which would be paid for.

    Attributes:
        process_id: The process.
        inputs: The inputs.
        sent_at: When it was sent, on UP42's clock, or a little earlier (aware, UTC).
        candidates: Ids of the jobs that may be it.
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
        """Store the message and what is known of the execution."""
        super().__init__(message)
        self.process_id = process_id
        self.inputs: dict[str, Any] = dict(inputs or {})
        self.sent_at = sent_at
        self.candidates: tuple[str, ...] = tuple(candidates)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class LostExecution:
    """An execution that was sent, and whose response did not come or could not be read."""

    order: Order
    sent_at: dt.datetime
    """When it was sent, on UP42's clock, or a little earlier."""
    started: float
    """When it was sent (monotonic, in seconds)."""
    is_of_earlier_run: bool = False
    """Whether an earlier run sent it; then the looks that were due before now are left out."""
    named: str | None = None
    """The id of the job, when the response named one but could not be read as a job."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Findings:
    """The jobs that a lost execution may have made."""

    equal: tuple[Job, ...] = ()
    """Jobs with the same inputs, as UP42 completes them, or with the id that the response named."""
    similar: tuple[Job, ...] = ()
    """Other jobs of the same process and workspace, created at about the same time, or at an unreadable time."""
    from_the_future: bool = False
    """Whether one was created later than now on UP42's clock: then its clocks differ, and times prove nothing."""
    is_answered: bool = False
    """Whether the list of jobs was received."""

    @property
    def job(self) -> Job | None:
        """The job that the execution made; None when none or several may be it."""
        return self.equal[0] if len(self.equal) == 1 and not self.from_the_future else None


@attrs.frozen(eq=False, repr=False)
class JobSearch:
    """The search for the job of one lost execution."""

    client: Client
    lost: LostExecution
    is_free: Callable[[str], bool]
    """Returns for a job id whether no other execution holds the job."""
    closing: anyio.Event
    """Ends the search when it is set."""

    async def run(self, recover: float) -> Findings:
        """Look until a job with the same inputs is listed, or the time is up.

        One request for each look, more when the account has made hundreds of jobs since.

        Args:
            recover: Seconds after the execution was sent until it is final that no job is listed; also the seconds
                after which the search ends, however slow the list of jobs is, but never before 1 s.
        """
        findings = Findings()
        ends = _clock.now() + recover
        with anyio.move_on_after(max(recover, LEAST_TIME)):
            pauses = self._pauses(recover)
            is_over = False
            while not is_over:
                pause, is_last = next(pauses)
                with anyio.move_on_after(pause):
                    await self.closing.wait()
                    break
                findings = await self.look()
                is_over = bool(findings.equal) or (findings.is_answered and is_last) or _clock.now() >= ends
        return findings

    def _pauses(self, recover: float) -> Iterator[tuple[float, bool]]:
        """Yield the seconds before each look, and whether it is final when this look finds no job.

        The job of an earlier run is looked for at once, and then at those of the moments that have not passed yet.
        """
        share = min(1.0, recover / USUAL_SEARCH)
        due = [moment * share for moment in itertools.accumulate(RECOVERY_DELAYS)]
        passed = 0.0
        if self.lost.is_of_earlier_run:
            passed = _clock.now() - self.lost.started
            yield 0.0, passed >= due[-1]
        for moment in due:
            if moment > passed:
                yield moment - passed, moment == due[-1]
                passed = moment
        while True:  # the list of jobs was not received so far
            yield RECOVERY_DELAYS[-1] * share, True

    async def look(self) -> Findings:
        """Look once; jobs that cannot be listed are a warning in the log."""
        try:
            return await self._candidates()
        except (APIError, RuntimeError) as error:  # the latter when the client is closed meanwhile
            logger.warning("the jobs could not be listed (%s)", error)
            return Findings()

    async def _candidates(self) -> Findings:
        """List the jobs that the execution may have made: same process and workspace, new, and of no other one."""
        lost, order = self.lost, self.lost.order
        newest_first = JobSorting.created.desc
        filters = Filters(process_id=[order.process_id], workspace_id=order.workspace_id, sort_by=newest_first)
        listed = JobPager(self.client, self._read, filters.query, limit=PAGE_SIZE, key=lambda entry: entry[0])
        equal: list[Job] = []
        similar: list[Job] = []
        async for _, job in listed:
            if job is None or not self.is_free(job.id):
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
        latest = self.client._session.server_time() + CLOCK_SKEW
        return Findings(
            equal=tuple(equal),
            similar=tuple(similar[:MOST_NAMED]),
            from_the_future=any(isinstance(job.created, dt.datetime) and job.created > latest for job in equal),
            is_answered=True,
        )

    def _read(self, metadata: Any, request: ApiRequest) -> tuple[str, Job | None]:
        """Read one job of the list, None for one that cannot be read: it must not hide the others."""
        try:
            job = read_job(self.client, metadata, request)
        except UnexpectedResponseError:
            return str(metadata.get("jobID")) if isinstance(metadata, dict) else "", None
        return job.id, job

    def _earliest(self) -> dt.datetime:
        """Return the earliest time at which the job can have been created, on UP42's clock.

        The offset of UP42's clock may have been unknown when the request was sent; the latest response has told it.
        """
        counted_back = self.client._session.server_time() - dt.timedelta(seconds=_clock.now() - self.lost.started)
        return min(self.lost.sent_at, counted_back) - CLOCK_SKEW


def uncertainty(lost: LostExecution, candidates: Sequence[str]) -> ExecutionUncertainError:
    """Return the error that says what is known of an execution whose response was lost.

    Args:
        lost: The execution.
        candidates: Ids of the jobs that may be it.
    """
    order, known = lost.order, "no job that could be it was seen"
    if candidates:
        known = f"it could be {' or '.join(candidates)}"
    message = (
        f"the response to executing {order.label}, sent at {lost.sent_at:%Y-%m-%d %H:%M:%S} UTC, was lost, so a job may"
        f" have been made; {known}. Look for it with Job.all(process_id=[{order.process_id!r}],"
        " sort_by=JobSorting.created.desc) before you execute again, or you may pay twice"
    )
    return ExecutionUncertainError(
        message, process_id=order.process_id, inputs=order.inputs, sent_at=lost.sent_at, candidates=candidates
    )


def same_inputs(sent: Mapping[str, Any], listed: Any) -> bool:
    """Return whether the inputs of a listed job are the ones that were sent, as UP42 may have changed them.

    UP42 may trim a title, turn `http` into `https`, and add keys whose value is null, empty or the documented default.

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
    """Return a value without the parts that UP42 may change."""
    if isinstance(value, str):
        text = value.strip() if name == "title" else value
        return f"https://{text.removeprefix('http://')}" if text.startswith("http://") else text
    return [_plain(name, one) for one in value] if isinstance(value, list) else value
