"""Execute once, and never pay twice.

UP42 has no idempotency key: every execution that arrives is a job, and is paid for. So it is sent again only when it
certainly never arrived or was refused unprocessed, which the client below decides. What is left is decided here: when
the answer is lost, the job it may have made is looked for, and returned when it is the only one that can be it.
"""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from up42_async import _clock
from up42_async._client import Client
from up42_async._errors import (
    APIError,
    ServerError,
    StatusError,
    TransportError,
    UnexpectedResponseError,
    Up42Error,
)
from up42_async._http import responses, urls
from up42_async._http.messages import ApiRequest, SendState
from up42_async._jobs import listing
from up42_async._jobs.filters import Filters
from up42_async._jobs.job import Job, read_job
from up42_async._jobs.models import JobSorting
from up42_async._processing.evaluation import process_request
from up42_async._processing.execution_registry import Claims

logger = logging.getLogger("up42_async")

LOOKS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each look for a job whose acceptance was lost: it may take some time until it is listed."""

SLACK: Final = dt.timedelta(seconds=2)
"""How much earlier than it was sent a job may seem to be created: UP42's machines need not agree on the time."""

_AMBIGUOUS: Final = frozenset({408, 409})
"""Refusals that do not say that nothing was done; so is every 5xx."""


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
        self.inputs = dict(inputs or {})
        self.sent_at = sent_at
        self.candidates = tuple(candidates)


class Purchase:
    """One execution: sent at most once, looked for when its answer is lost, and kept whoever is cancelled."""

    def __init__(
        self, client: Client, *, process_id: str, inputs: Mapping[str, Any], workspace_id: str, budget_id: str | None
    ) -> None:
        """Send nothing yet.

        Args:
            client: Whom to send with.
            process_id: The process.
            inputs: Its inputs, as JSON has them.
            workspace_id: The workspace in which the job is made.
            budget_id: The budget that pays, None for the account's own.
        """
        self.job: Job | None = None
        """The job that was made, also when it was made for a caller who is gone."""
        self.recovered = False
        """Whether the answer was lost, and the job was found in the list."""
        self.uncertain: ExecutionUncertainError | None = None
        """What is known when a job may have been made."""
        self._client = client
        self._process_id = process_id
        self._inputs = inputs
        self._workspace_id = workspace_id
        query = urls.query({"workspaceId": workspace_id, "budgetId": budget_id})
        self._request = process_request("POST", process_id, "/execution", inputs, query=query, idempotent=False)
        self._state = SendState()
        self._named: str | None = None
        self._claims = client._service(Claims)
        self._sent_at = client._session.server_time()
        self._started = 0.0

    async def make(self) -> Job:
        """Execute.

        One request; up to six more when its answer is lost.

        Raises:
            ExecutionUncertainError: The answer was lost, and it is not certain whether it made a job, or which.
            APIError: UP42 refused, or the request never arrived: nothing was bought.
        """
        key = json.dumps([self._workspace_id, self._process_id, self._inputs], sort_keys=True)
        return await self._claims.in_turn(key, self._send_and_keep)

    def __str__(self) -> str:
        """Return what is bought, for messages."""
        return describe(self._process_id, self._inputs)

    async def _send_and_keep(self) -> Job:
        try:
            return await self._send()
        except BaseException as end:
            if not isinstance(end, Exception):  # a cancellation, or what ends the program
                self._note_cut_short(end)
            raise

    async def _send(self) -> Job:
        self._sent_at, self._started = self._client._session.server_time(), _clock.now()
        try:
            return self._accept(await self._client._session.call(self._request, state=self._state))
        except (APIError, RuntimeError) as error:
            if not self._may_have_bought(error):
                raise
            return await self._look_for_it(error)

    def _accept(self, answer: Any) -> Job:
        """Take the job from the answer."""
        named = answer.get("jobID") if isinstance(answer, dict) else None
        self._named = named if isinstance(named, str) else None
        return self._take(read_job(self._client, answer, self._request))

    def _take(self, job: Job) -> Job:
        self._claims.claim(job.id)
        self.job = job
        return job

    def _may_have_bought(self, error: APIError | RuntimeError) -> bool:
        """Return whether an error leaves open that a job was made."""
        if not self._state.sent:
            return False
        match error:
            case RuntimeError():  # the client was closed in the middle of it
                return self._state.response is None
            case APIError() if error.request != str(self._request):
                return False  # no token could be had for another try, so the one before had been refused
            case TransportError() | ServerError() | UnexpectedResponseError():
                return True
            case _:
                return isinstance(error, StatusError) and error.status in _AMBIGUOUS

    async def _look_for_it(self, lost: Exception) -> Job:
        """Look for the job in the list until it shows, or the time is up.

        Raises:
            ExecutionUncertainError: It did not show, or several did.
        """
        logger.warning("the answer to executing %s was lost (%s); looking for the job it may have made", self, lost)
        found: list[Job] = []
        for pause in LOOKS:
            if await _clock.wait_for(self._claims.closing, pause):
                break
            found = await self._look()
            if found:
                break
        if len(found) != 1:
            self.uncertain = self._uncertainty(found)
            raise self.uncertain from lost
        self.recovered = True
        logger.warning("executing %s had made job %s, which was found in the list", self, found[0].id)
        return self._take(found[0])

    async def _look(self) -> list[Job]:
        try:
            return await self._candidates()
        except (APIError, RuntimeError) as error:  # the latter when the client is closed meanwhile
            logger.warning("the jobs could not be listed (%s)", error)
            return []

    async def _candidates(self) -> list[Job]:
        """List the jobs it may have made: same process, workspace and inputs, new, and nobody else's."""
        filters = Filters(
            process_id=[self._process_id], workspace_id=self._workspace_id, sort_by=JobSorting.created.desc
        )
        listed = listing.pager(self._client, self._read, filters, limit=listing.PAGE_SIZE, key=lambda entry: entry[0])
        found: list[Job] = []
        async for _, job in listed:
            if job is None:
                continue
            if job.id == self._named:
                return [job]
            if job.created < self._earliest():
                break
            if job.definition.get("inputs") == self._inputs and self._claims.is_free(job.id):
                found.append(job)
        return found

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
        counted_back = self._client._session.server_time() - dt.timedelta(seconds=_clock.now() - self._started)
        return min(self._sent_at, counted_back) - SLACK

    def _uncertainty(self, found: Sequence[Job]) -> ExecutionUncertainError:
        ids = [job.id for job in found] or ([self._named] if self._named else [])
        for id_ in ids:
            self._claims.claim(id_)
        known = f"it could be {' or '.join(ids)}" if ids else "no job that could be it was seen"
        message = (
            f"the answer to executing {self}, sent at {self._sent_at:%Y-%m-%d %H:%M:%S} UTC, was lost, so a job may"
            f" have been made; {known}. Look for it with Job.all(process_id=[{self._process_id!r}],"
            " sort_by=JobSorting.created.desc) before you execute again, or you may pay twice"
        )
        return ExecutionUncertainError(
            message, process_id=self._process_id, inputs=self._inputs, sent_at=self._sent_at, candidates=ids
        )

    def _note_cut_short(self, end: BaseException) -> None:
        """Keep what is known of an execution whose caller is gone: in the log, on the cancellation, and here."""
        if not self._state.sent or not self._is_open():
            return
        if self.job is not None:
            note = f"cancelled while executing {self}, which had made job {self.job.id}"
        else:
            self.uncertain = self._uncertainty(())
            note = f"cancelled while executing: {self.uncertain}"
        logger.warning("%s", note)
        end.add_note(note)

    def _is_open(self) -> bool:
        """Return whether a job was or may have been made, and take it if the answer has come."""
        reply = self._state.response
        if reply is None:
            return True
        try:
            self._accept(responses.decode(reply, self._request))
        except APIError as error:
            return self._may_have_bought(error)
        return True


def describe(process_id: str, inputs: Mapping[str, Any]) -> str:
    """Return what is executed, for messages: the process, and the title if there is one."""
    title = inputs.get("title")
    return f"{process_id} ({title!r})" if isinstance(title, str) else process_id
