"""Execute once, and never pay twice.

UP42 has no idempotency key: every execution that arrives makes a job, and is paid for. So it is sent again only when it
certainly never arrived or was refused unprocessed, which `Session.call` decides. The rest is decided here: equal
executions are sent one after another; when an answer is lost, the job it may have made is looked for, and returned when
it is the only one that can be it; and no job is the result of two executions.
"""

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Final

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
"""Jobs that are remembered as taken: the newest ones. A lost job is looked for among those of the last minute or so."""

OTHER_LOOP_PAUSE: Final = 0.05
"""Seconds between two looks whether an equal execution in another event loop of the process has ended."""

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


class TakenJobs:
    """The jobs that an execution of this process was told of, whichever client sent it.

    The ids of jobs are unique at their API host, so it does not matter which account they are of.
    """

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()  # clients of several event loops run in several threads

    def claim(self, api: str, job_id: str) -> None:
        """Note that an execution was told of a job at an API host."""
        with self._lock:
            self._taken[api, job_id] = None
            self._taken.move_to_end((api, job_id))
            while len(self._taken) > MOST_TAKEN:
                self._taken.popitem(last=False)

    def is_free(self, api: str, job_id: str) -> bool:
        """Return whether no execution was told of a job yet."""
        with self._lock:
            return (api, job_id) not in self._taken


class KeyedLock:
    """A lock for each key: in the order of asking within an event loop, and for all loops of the process."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncGenerator[None]:
        """Hold the lock of a key.

        Args:
            key: What only one at a time may be busy with.
        """
        local = (key, anyio.lowlevel.current_token())
        turn = self._turns.setdefault(local, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                while not self._take(key):
                    await _clock.sleep(OTHER_LOOP_PAUSE)
                try:
                    yield
                finally:
                    self._held.discard(key)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[local]

    def _take(self, key: str) -> bool:
        with self._lock:
            if key in self._held:
                return False
            self._held.add(key)
            return True


class _Turn:
    """Those in one event loop who want one key, while there are any."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.users = 0


TAKEN_JOBS: Final = TakenJobs()
LOCKS: Final = KeyedLock()
"""Of the whole process: what a client knows is not enough where several clients use one account."""


class ExecutionRegistry(Service):
    """What executions of one client have to know of those of all clients of the process: no job counts twice."""

    def __init__(self, client: Client) -> None:
        self.closing = anyio.Event()
        self.spent = 0
        """Credits of what was, or may have been, executed with this client."""
        self._api = client._session.api

    def close(self) -> None:
        """End the searches for lost jobs: the client is closing."""
        self.closing.set()

    def counts(self) -> Mapping[str, int]:
        """Return the credits that this client has spent, or may have."""
        return {"spent": self.spent}

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """Return a block that lets equal executions through one at a time, others freely.

        Args:
            key: What equal executions have in common.
        """
        return LOCKS.hold(f"{self._api} {key}")

    def claim(self, job_id: str) -> None:
        """Note that an execution was told of a job."""
        TAKEN_JOBS.claim(self._api, job_id)

    def is_free(self, job_id: str) -> bool:
        """Return whether no execution of this process was told of a job yet."""
        return TAKEN_JOBS.is_free(self._api, job_id)


class ExecutionCall:
    """One execution: sent at most once, looked for when its answer is lost, and kept when its caller is cancelled."""

    def __init__(
        self, client: Client, order: Order, *, budget_id: str | None = None, place: Place | None = None
    ) -> None:
        """Take what to execute; nothing is sent yet.

        Args:
            client: The client to send with.
            order: What to execute.
            budget_id: The budget that pays, None for the account's own.
            place: Its place in the journal; None without a journal.

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
            was_executed=lambda error: names_a_job(error) is not None,
        )
        self._state = SendState(before_send=self._before_send)
        self._response_id: str | None = None
        self._sent_at = client._session.server_time()
        self._started = 0.0

    async def run(self, credits: int) -> Job:
        """Execute; the caller sees to it that no equal execution is under way (`ExecutionRegistry.turn`).

        One request; some more when its answer is lost.

        Args:
            credits: The price, for the journal.

        Raises:
            ExecutionUncertainError: The answer was lost, and it is not certain whether it made a job, or which.
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
        self._sent_at, self._started = self.client._session.server_time(), _clock.now()
        logger.info("executing %s in workspace %s", self.order.label, self.order.workspace_id)
        try:
            return self._accept(await self.client._session.call(self._request, state=self._state))
        except (APIError, RuntimeError) as error:
            if not self._outcome_unknown(error):
                raise
            return await self._recover(error)

    async def _before_send(self) -> None:
        """Write down that the request is about to leave; the times of a try before count no more."""
        self._sent_at, self._started = self.client._session.server_time(), _clock.now()
        if self._place is not None:
            await self._place.intend(self.order, credits=self._credits, sent_at=self._sent_at)
            self._is_written = True

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

    async def _recover(self, error: Exception) -> Job:
        """Look for the job in the list until it shows, or the time is up.

        Raises:
            ExecutionUncertainError: It did not show, or several did.
        """
        logger.warning("the answer to executing %s was lost (%s); looking for its job", self.order.label, error)
        lost = self._lost()
        findings = await self.search(lost).run(self.client._polling.recover)
        job = findings.job
        if job is None:
            self.uncertain = self.uncertainty(lost, findings)
            raise self.uncertain from error
        logger.warning("executing %s had made job %s, which was found in the list", self.order.label, job.id)
        return self.take(job, recovered=True)

    def _lost(self) -> LostExecution:
        age = _clock.now() - self._started
        return LostExecution(order=self.order, sent_at=self._sent_at, age=age, named=self._response_id)

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
        """Keep what is known of an execution whose caller is gone: in the log, on the cancellation, and here."""
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
        """Return whether a job was or may have been made, and take it if the answer has come."""
        response = self._state.response
        if response is None:
            return True
        try:
            self._accept(decode(response, self._request))
        except APIError as error:
            return self._outcome_unknown(error)
        return True

    async def write_outcome(self, failure: BaseException | None) -> None:
        """Write down in the journal, if there is one, what came of it.

        When its caller was cancelled, or the client closed, while it was not known, nothing is written: then it stays
        under way in the journal, and the next start looks for its job.

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
            logger.warning("what came of executing %s could not be written (%s); it is looked for later", label, error)


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


def names_a_job(error: APIError) -> str | None:
    """Return the id of the job that a refusal names: then it was executed all the same."""
    return _response_job_id(error.payload) if isinstance(error, StatusError) else None


def _response_job_id(answer: Any) -> str | None:
    named = answer.get("jobID") if isinstance(answer, dict) else None
    return named if isinstance(named, str) and named else None
