"""Execute once, and never pay twice.

UP42 has no idempotency key: every execution that arrives makes a job, which is paid for. So an execution is sent again
only when it certainly never arrived or was refused unprocessed; `Session.call` decides that. This file does the rest:
equal executions are sent one after another; when a response is lost, the job that the execution may have made is looked
for, and returned when no other job can be it; and no job is returned for two executions.
"""

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakValueDictionary

import anyio

from up42_async import _clock
from up42_async._account.processes import PROCESSES
from up42_async._client import Client
from up42_async._client.services import Service
from up42_async._errors import APIError, JournalError, StatusError
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest, query, segment
from up42_async._http.responses import decode
from up42_async._jobs.job import Job, read_job
from up42_async._processing.journal_run import Place
from up42_async._processing.order import Order
from up42_async._processing.recovery import ExecutionUncertainError, Findings, JobSearch, LostExecution, uncertainty

logger = logging.getLogger("up42_async")

MOST_TAKEN: Final = 10_000
"""Jobs of executions that are remembered: the newest ones. A lost job is looked for among those of the last minutes."""

OTHER_LOOP_PAUSE: Final = 0.05
"""Seconds between two checks whether an equal execution in another event loop of the process has ended."""

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
"""Error statuses which say that nothing was executed, unless the body names a job. Any other may come from a gateway
that stopped waiting for an execution that goes on."""


class TakenJobs:
    """The jobs that executions of this operating-system process made or may have made, with all its clients.

    Job ids are unique at an API host, so accounts need not be told apart.
    """

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()  # clients of several event loops run in several threads

    def claim(self, api: str, job_id: str) -> None:
        """Add a job at an API host: an execution made it, or may have made it."""
        with self._lock:
            self._taken[api, job_id] = None
            self._taken.move_to_end((api, job_id))
            while len(self._taken) > MOST_TAKEN:
                self._taken.popitem(last=False)

    def is_free(self, api: str, job_id: str) -> bool:
        """Return whether a job was not added yet."""
        with self._lock:
            return (api, job_id) not in self._taken


class KeyedLock:
    """A lock for each key, across all event loops of the process; tasks of one loop get it in the order of asking."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, anyio.Lock] = WeakValueDictionary()
        self._held: dict[str, object] = {}

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncGenerator[None]:
        """Wait for the lock of a key, and hold it in the block.

        Args:
            key: Names the lock.
        """
        holder = object()
        # a lock exists as long as a task holds it or waits for it
        lock = self._locks.setdefault((key, anyio.lowlevel.current_token()), anyio.Lock())
        async with lock:
            # `setdefault` is atomic, as event loops in several threads need; an event would wake tasks of one loop only
            while self._held.setdefault(key, holder) is not holder:  # noqa: ASYNC110
                await anyio.sleep(OTHER_LOOP_PAUSE)
            try:
                yield
            finally:
                del self._held[key]


TAKEN_JOBS: Final = TakenJobs()
LOCKS: Final = KeyedLock()
"""Shared by all clients of the process, since several clients may use one account."""


class ExecutionRegistry(Service):
    """What an execution needs to know of others: equal ones that are under way, and jobs that others made."""

    def __init__(self, client: Client) -> None:
        self.closing = anyio.Event()
        self.spent = 0
        """Credits that executions with this client have, or may have, spent."""
        self._api = client._session.api

    def close(self) -> None:
        """End the searches for lost jobs; called when the client closes."""
        self.closing.set()

    def counts(self) -> Mapping[str, int]:
        """Return the credits that this client has spent, or may have."""
        return {"spent": self.spent}

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """Return a context manager in which only one of several equal executions is at a time.

        Args:
            key: The key of the order.
        """
        return LOCKS.hold(f"{self._api} {key}")

    def claim(self, job_id: str) -> None:
        """Note that an execution made a job, or may have made it."""
        TAKEN_JOBS.claim(self._api, job_id)

    def is_free(self, job_id: str) -> bool:
        """Return whether no execution of this process made a job, as far as it is known."""
        return TAKEN_JOBS.is_free(self._api, job_id)


class ExecutionCall:
    """One execution: sent at most once, with a search for its job when the response is lost.

    What is known of it stays in `job` or `uncertain`, also when its caller is cancelled.
    """

    def __init__(
        self, client: Client, order: Order, *, budget_id: str | None = None, place: Place | None = None
    ) -> None:
        """Take what to execute; nothing is sent yet.

        Args:
            client: The client to send with.
            order: What to execute.
            budget_id: The id of the budget that pays; None for the credits of the account.
            place: Its place in the journal; None without a journal.

        Raises:
            TypeError: The id of the budget or the workspace is no string.
            ValueError: It cannot be an id.
        """
        self.job: Job | None = None
        """The job that was made."""
        self.recovered = False
        """Whether the response was lost, and the job was found in the list of jobs."""
        self.uncertain: ExecutionUncertainError | None = None
        """The error that says what is known, when a job may have been made."""
        self.registry = client._service(ExecutionRegistry)
        self.client = client
        self.order = order
        self._place = place
        self._credits = 0
        self._is_written = False
        segment(order.workspace_id, "workspace_id")
        if budget_id is not None:
            segment(budget_id, "budget_id")
        self._request = process_request(
            order.process_id,
            "execution",
            order.inputs,
            query=query({"workspaceId": order.workspace_id, "budgetId": budget_id}),
            idempotent=False,
            was_executed=lambda error: isinstance(error, StatusError) and _named_job(error.payload) is not None,
        )
        self._state = SendState(before_send=self._before_send)
        self._response_id: str | None = None
        self._sent_at, self._started = client._session.server_time(), 0.0  # set before each attempt

    async def run(self, credits: int) -> Job:
        """Send the execution, and return its job; the caller holds `ExecutionRegistry.turn`.

        One request, and one for each look for the job when the response is lost.

        Args:
            credits: The price, for the journal.

        Raises:
            ExecutionUncertainError: The response was lost, and it is not certain whether it made a job, or which.
            JournalError: The journal cannot be written; nothing was sent.
            APIError: UP42 refused, or the request never arrived: nothing was bought.
        """
        self._credits = credits
        try:
            return await self._send()
        except BaseException as end:
            if not isinstance(end, Exception):  # a cancellation, or what ends the program
                self._note_cut_short(end)
            raise

    async def _send(self) -> Job:
        logger.info("executing %s in workspace %s", self.order.label, self.order.workspace_id)
        try:
            return self._accept(await self.client._session.call(self._request, state=self._state))
        except (APIError, RuntimeError) as error:
            if not self._outcome_unknown(error):
                raise
            return await self._recover(error)

    async def _before_send(self) -> None:
        """Keep the time of this attempt, and write the execution to the journal, before the request leaves."""
        self._sent_at, self._started = self.client._session.server_time(), _clock.now()
        if self._place is not None:
            await self._place.intend(credits=self._credits, sent_at=self._sent_at)
            self._is_written = True

    def _accept(self, content: Any) -> Job:
        """Read the job from the decoded response, and keep it."""
        self._response_id = _named_job(content)
        return self.take(read_job(self.client, content, self._request))

    def take(self, job: Job, *, recovered: bool = False) -> Job:
        """Keep a job as the one that this execution made.

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
                self._response_id = _named_job(error.payload) or self._response_id
                return self._response_id is not None or error.status not in NOT_EXECUTED
            case _:
                return True

    async def _recover(self, error: Exception) -> Job:
        """Look for the job in the list of jobs, until it is listed or the time is up.

        Raises:
            ExecutionUncertainError: No job was found, or several that may be it.
        """
        logger.warning("the response to executing %s was lost (%s); looking for its job", self.order.label, error)
        lost = self._lost()
        findings = await self.search(lost).run(self.client._polling.recover)
        job = findings.job
        if job is None:
            self.uncertain = self.uncertainty(lost, findings)
            raise self.uncertain from error
        logger.warning("executing %s had made job %s, which was found in the list", self.order.label, job.id)
        return self.take(job, recovered=True)

    def _lost(self) -> LostExecution:
        return LostExecution(order=self.order, sent_at=self._sent_at, started=self._started, named=self._response_id)

    def search(self, lost: LostExecution) -> JobSearch:
        """Return the search for the job that this execution may have made, now or in an earlier run."""
        return JobSearch(self.client, lost, is_free=self._is_free, closing=self.registry.closing)

    def _is_free(self, job_id: str) -> bool:
        """Return whether no other execution holds a job, in the journal or in this process."""
        held = None if self._place is None else self._place.holds(job_id)
        return self.registry.is_free(job_id) if held is None else held

    def uncertainty(self, lost: LostExecution, findings: Findings) -> ExecutionUncertainError:
        """Return the error that says what is known of the execution.

        Args:
            lost: The execution, as it was sent now or in an earlier run.
            findings: The jobs that were found; no other execution takes those with the same inputs from now on.
        """
        ids = [job.id for job in findings.equal]
        if lost.named is not None and lost.named not in ids:
            ids.append(lost.named)
        for id_ in ids:
            self.registry.claim(id_)
        return uncertainty(lost, ids or [job.id for job in findings.similar])

    def _note_cut_short(self, end: BaseException) -> None:
        """Keep what is known of a cancelled execution: in the log, in a note on the error, and in this object."""
        if not self._state.sent or not self._may_have_executed():
            return
        if self.job is not None:
            note = f"cancelled while executing {self.order.label}, which had made job {self.job.id}"
        else:
            self.uncertain = self.uncertainty(self._lost(), Findings())
            note = f"cancelled while executing: {self.uncertain}"
        logger.warning("%s", note)
        end.add_note(note)

    def _may_have_executed(self) -> bool:
        """Return whether a job was or may have been made; keep it when the response has come."""
        response = self._state.response
        if response is None:
            return True
        try:
            self._accept(decode(response, self._request))
        except APIError as error:
            return self._outcome_unknown(error)
        return True

    async def write_outcome(self, failure: BaseException | None) -> None:
        """Write the outcome to the journal, if there is one.

        When the caller was cancelled or the client closed before the outcome was known, nothing is written: the
        execution stays under way in the journal, and the next run looks for its job.

        Args:
            failure: The error that `run` raised; None when it returned the job.
        """
        if self._place is None:
            return
        try:
            if self.job is not None:
                await self._place.made(self.job, recovered=self.recovered)
            elif self.uncertain is not None:
                if isinstance(failure, Exception) and not self.registry.closing.is_set():
                    await self._place.uncertain(self.uncertain)
            elif self._is_written:
                await self._place.refused(str(failure))
        except JournalError as error:
            label = self.order.label
            logger.warning("the outcome of executing %s was not written (%s); the next run looks for it", label, error)


def process_request(process_id: str, step: str, inputs: Mapping[str, Any], **more: Any) -> ApiRequest:
    """Return a request that sends inputs to a process.

    Args:
        process_id: The process.
        step: The last part of the path: `validation`, `cost` or `execution`.
        inputs: The inputs, as JSON has them.
        more: Further fields of the request.
    """
    path = f"{PROCESSES}/{segment(process_id, 'process_id')}/{step}"
    return ApiRequest(method="POST", path=path, json={"inputs": inputs}, **more)


def _named_job(content: Any) -> str | None:
    """Return the id of the job that a body names; when it is the body of an error, the process was executed, too."""
    named = content.get("jobID") if isinstance(content, dict) else None
    return named if isinstance(named, str) and named else None
