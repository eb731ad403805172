"""Execute once, and never pay twice.

UP42 has no idempotency key: every execution that arrives is a job, and is paid for. So it is sent again only when it
certainly never arrived or was refused unprocessed, which the session below decides. What is left is decided here: when
the answer is lost, the job it may have made is looked for, and returned when it is the only one that can be it.
"""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

import attrs

from up42_async import _clock
from up42_async._account.processes import PROCESSES
from up42_async._client import Client
from up42_async._errors import APIError, StatusError, Up42Error
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest, query, segment
from up42_async._http.responses import decode
from up42_async._jobs.job import Job, read_job
from up42_async._processing.execution_registry import ExecutionRegistry, execution_key
from up42_async._processing.recovery import Findings, JobSearch, LostExecution

logger = logging.getLogger("up42_async")

NOT_EXECUTED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Refusals that say that nothing was executed, unless their body names a job; any other may come from a gateway that
gave up waiting for an execution that goes on."""


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
class Order:
    """What is to be executed."""

    process_id: str
    inputs: Mapping[str, Any]
    """As JSON has them."""
    workspace_id: str
    """Where the job is made."""
    fingerprint: str = ""
    """Of the template."""

    def __str__(self) -> str:
        """Return what is executed, for messages."""
        return describe(self.process_id, self.inputs)

    @property
    def key(self) -> str:
        """What equal executions have in common."""
        return execution_key(self.process_id, self.workspace_id, self.inputs)


class ExecutionLog(Protocol):
    """Where an execution is written down before it leaves."""

    async def sending(self, sent_at: dt.datetime) -> None:
        """Write down that it is about to be sent; an error keeps it from being sent."""
        ...

    def holds(self, job_id: str) -> bool | None:
        """Return whether this execution holds a job, or names it as a candidate; None when no execution does."""
        ...


class ExecutionCall:
    """One execution: sent at most once, looked for when its answer is lost, and kept when its caller is cancelled."""

    def __init__(
        self, client: Client, order: Order, *, budget_id: str | None = None, log: ExecutionLog | None = None
    ) -> None:
        """Take what to execute; nothing is sent yet.

        Args:
            client: Whom to send with.
            order: What to execute.
            budget_id: The budget that pays, None for the account's own.
            log: Where to write it down first.

        Raises:
            TypeError: The id of the budget or the workspace is no string.
            ValueError: It cannot be one.
        """
        self.job: Job | None = None
        """The job that was made, also when it was made for a caller who is gone."""
        self.recovered = False
        """Whether the answer was lost, and the job was found in the list."""
        self.uncertain: ExecutionUncertainError | None = None
        """What is known when a job may have been made."""
        self.registry = client._service(ExecutionRegistry)
        self.client = client
        """Whom it is sent with."""
        self._order = order
        self._log = log
        segment(order.workspace_id, "workspace_id")
        if budget_id is not None:
            segment(budget_id, "budget_id")
        parameters = query({"workspaceId": order.workspace_id, "budgetId": budget_id})
        self._request = process_request(
            order.process_id,
            "execution",
            order.inputs,
            query=parameters,
            idempotent=False,
            was_executed=lambda error: names_a_job(error) is not None,
        )
        self._state = SendState(before_send=self._before_send)
        self._response_id: str | None = None
        self._sent_at = client._session.server_time()
        self._started = 0.0

    def __str__(self) -> str:
        """Return what is executed, for messages."""
        return str(self._order)

    async def run(self) -> Job:
        """Execute; the caller sees to it that no equal execution is under way (`ExecutionRegistry.turn`).

        One request; some more when its answer is lost.

        Raises:
            ExecutionUncertainError: The answer was lost, and it is not certain whether it made a job, or which.
            APIError: UP42 refused, or the request never arrived: nothing was bought.
        """
        try:
            return await self._send()
        except BaseException as end:
            if not isinstance(end, Exception):  # a cancellation, or what ends the program
                self._note_cut_short(end)
            raise

    async def _send(self) -> Job:
        self._sent_at, self._started = self.client._session.server_time(), _clock.now()
        logger.info("executing %s in workspace %s", self._order, self._order.workspace_id)
        try:
            return self._accept(await self.client._session.call(self._request, state=self._state))
        except (APIError, RuntimeError) as error:
            if not self._outcome_unknown(error):
                raise
            return await self._recover(error)

    async def _before_send(self) -> None:
        """Write down that the request is about to leave; the times of a try before count no more."""
        self._sent_at, self._started = self.client._session.server_time(), _clock.now()
        if self._log is not None:
            await self._log.sending(self._sent_at)

    def _accept(self, answer: Any) -> Job:
        """Take the job from the answer."""
        self._response_id = _response_job_id(answer)
        return self.take(read_job(self.client, answer, self._request))

    def take(self, job: Job, *, recovered: bool = False) -> Job:
        """Note that this is the job.

        Args:
            job: The job.
            recovered: Whether it was found in the list of jobs.
        """
        self.registry.claim(job.id)
        self.job, self.recovered = job, recovered
        return job

    def _outcome_unknown(self, error: APIError | RuntimeError) -> bool:
        """Return whether an error leaves open that a job was made."""
        if not self._state.sent:
            return False
        match error:
            case RuntimeError():  # the client was closed in the middle of it
                return self._state.response is None
            case APIError() if error.request != str(self._request):
                return False  # no token could be had for another try, so the one before had been refused
            case StatusError():
                self._response_id = names_a_job(error) or self._response_id
                return self._response_id is not None or error.status not in NOT_EXECUTED
            case _:
                return True

    async def _recover(self, lost: Exception) -> Job:
        """Look for the job in the list until it shows, or the time is up.

        Raises:
            ExecutionUncertainError: It did not show, or several did.
        """
        logger.warning("the answer to executing %s was lost (%s); looking for its job", self._order, lost)
        findings = await self.search(self._lost()).run(self.client._polling.recover)
        job = findings.job
        if job is None:
            self.uncertain = self.uncertainty(findings)
            raise self.uncertain from lost
        logger.warning("executing %s had made job %s, which was found in the list", self._order, job.id)
        return self.take(job, recovered=True)

    def search(self, lost: LostExecution) -> JobSearch:
        """Return the search for the job of an execution with these inputs."""
        return JobSearch(self.client, lost, is_free=self._is_free, closing=self.registry.closing)

    def _lost(self) -> LostExecution:
        return LostExecution(
            process_id=self._order.process_id,
            workspace_id=self._order.workspace_id,
            inputs=self._order.inputs,
            sent_at=self._sent_at,
            age=_clock.now() - self._started,
            named=self._response_id,
        )

    def _is_free(self, job_id: str) -> bool:
        """Return whether no other execution holds a job, in the log or in this process."""
        held = None if self._log is None else self._log.holds(job_id)
        return self.registry.is_free(job_id) if held is None else held

    def uncertainty(self, findings: Findings, *, sent_at: dt.datetime | None = None) -> ExecutionUncertainError:
        """Return the error that says what is known of the execution.

        Args:
            findings: What was found; jobs with the same inputs are nobody else's from now on.
            sent_at: When it was sent, on UP42's clock, if not by this call.
        """
        ids = [job.id for job in findings.equal]
        if self._response_id is not None and self._response_id not in ids:
            ids.append(self._response_id)
        for id_ in ids:
            self.registry.claim(id_)
        return uncertainty(self._order, sent_at or self._sent_at, ids or [job.id for job in findings.similar])

    def _note_cut_short(self, end: BaseException) -> None:
        """Keep what is known of an execution whose caller is gone: in the log, on the cancellation, and here."""
        if not self._state.sent or not self._may_have_executed():
            return
        if self.job is not None:
            note = f"cancelled while executing {self._order}, which had made job {self.job.id}"
        else:
            self.uncertain = self.uncertainty(Findings())
            note = f"cancelled while executing: {self.uncertain}"
        logger.warning("%s", note)
        end.add_note(note)

    def _may_have_executed(self) -> bool:
        """Return whether a job was or may have been made, and take it if the answer has come."""
        response = self._state.response
        if response is None:
            return True
        try:
            self._accept(decode(response, self._request))
        except APIError as error:
            return self._outcome_unknown(error)
        return True


def process_request(process_id: str, step: str, inputs: Mapping[str, Any], **more: Any) -> ApiRequest:
    """Return a request to a process about some inputs.

    Args:
        process_id: The process.
        step: What to do with the inputs: the last part of the path.
        inputs: The inputs, as JSON has them.
        more: Fields of the request.
    """
    path = f"{PROCESSES}/{segment(process_id, 'process_id')}/{step}"
    return ApiRequest(method="POST", path=path, json={"inputs": inputs}, **more)


def uncertainty(order: Order, sent_at: dt.datetime, candidates: Sequence[str]) -> ExecutionUncertainError:
    """Return the error that says what is known of an execution whose answer was lost.

    Args:
        order: What was executed.
        sent_at: When it was sent, on UP42's clock.
        candidates: Ids of the jobs that may be it.
    """
    known = f"it could be {' or '.join(candidates)}" if candidates else "no job that could be it was seen"
    message = (
        f"the answer to executing {order}, sent at {sent_at:%Y-%m-%d %H:%M:%S} UTC, was lost, so a job may"
        f" have been made; {known}. Look for it with Job.all(process_id=[{order.process_id!r}],"
        " sort_by=JobSorting.created.desc) before you execute again, or you may pay twice"
    )
    return ExecutionUncertainError(
        message, process_id=order.process_id, inputs=order.inputs, sent_at=sent_at, candidates=candidates
    )


def names_a_job(error: APIError) -> str | None:
    """Return the id of the job that a refusal names: then it was executed all the same."""
    return _response_job_id(error.payload) if isinstance(error, StatusError) else None


def _response_job_id(answer: Any) -> str | None:
    named = answer.get("jobID") if isinstance(answer, dict) else None
    return named if isinstance(named, str) and named else None


def describe(process_id: str, inputs: Mapping[str, Any]) -> str:
    """Return what is executed, for messages: the process, and the title if there is one."""
    title = inputs.get("title")
    return f"{process_id} ({title!r})" if isinstance(title, str) else process_id
