"""Ask for many jobs by id: every id gets its job or an error of its own, as soon as that is known."""

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final, Generic

from up42_async._bulk import TaskGroup
from up42_async._client import Client
from up42_async._errors import APIError, RateLimitError, ServerError, StatusError, UnexpectedResponseError
from up42_async._http import requests
from up42_async._http.requests import ApiRequest, check_answered_id
from up42_async._jobs.parsing import JobPager, JobT, Read, job_request, unreadable_error, warn_of
from up42_async._jobs.polling_state import AnswerCallback, QueryFailure

MAX_IDS: Final = 100
"""Ids in one request: 100 UUIDs make a URL of 4 kB, and servers usually refuse one of 8 kB."""

REFUSED: Final = frozenset({400, 413, 414, 422, 431})
"""Statuses with which a server refuses a list of ids that is too long, or a page size that is too large."""

_SPLIT: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""Statuses with which UP42 may refuse a whole list because of one id; a smaller list tells which id it is."""


class _Query(Generic[JobT]):
    """One call of `ById.ask`."""

    def __init__(self, answer: AnswerCallback[JobT]) -> None:
        self.answer = answer
        self.list_came = False
        """Whether UP42 answered a list, so that an id which is missing from it does not exist."""
        self.doubtful: list[tuple[str, StatusError]] = []
        """Refusals without a body: from UP42 when it answered a list without that id, else from a gateway."""


class ById(Generic[JobT]):
    """Asks for jobs by id, and learns how many ids the server accepts in one request, and whether a page size."""

    def __init__(self, client: Client, read: Read[JobT], key: Callable[[JobT], str]) -> None:
        """Assume that the server accepts 100 ids and a page size.

        Args:
            client: Sends the requests.
            read: Returns the job of its metadata.
            key: Returns the id of a job.
        """
        self._client = client
        self._read = read
        self._key = key
        self._most = MAX_IDS
        self._limited = True
        self._warned: set[str] = set()

    async def ask(self, ids: Sequence[str], answer: AnswerCallback[JobT]) -> None:
        """Ask for up to 100 ids: one request as a rule, and one more for each id that is missing from its answer.

        Args:
            ids: The ids, each once.
            answer: Called with the job of each id, or why the query for it failed, page by page.
        """
        query: _Query[JobT] = _Query(answer)
        await self._together([partial(self._ask_list, part, query) for part in parts_of(ids, self._most)])
        await self._together([partial(self._decide, id_, error, query) for id_, error in query.doubtful])

    async def _ask_list(self, ids: Sequence[str], query: _Query[JobT]) -> bool:
        """Ask for some ids by one list; return whether the server accepted the list."""
        if len(ids) == 1:
            return await self._ask_one(ids[0], query)
        missing = dict.fromkeys(ids)
        try:
            await self._read_pages(missing, query)
        except APIError as error:
            if _is_about_the_list(error):
                return await self._ask_halves(list(missing), query)
            query.answer(dict.fromkeys(missing, QueryFailure(error, is_refusal=_is_refusal(error))))
            return False
        await self._together([partial(self._ask_one, id_, query) for id_ in missing])
        return True

    async def _ask_halves(self, ids: Sequence[str], query: _Query[JobT]) -> bool:
        """Ask in halves, and remember their size when the server accepts both: then no single id was the reason."""
        half = (len(ids) + 1) // 2
        accepted = [await self._ask_list(part, query) for part in parts_of(ids, half)]
        if all(accepted):
            self._most = min(self._most, half)
        return False

    async def _read_pages(self, missing: dict[str, None], query: _Query[JobT]) -> None:
        """Request the pages of one list until all ids have come; remove those that came from `missing`."""
        limit = len(missing) if self._limited else None
        query_of = partial(_query_of, list(missing))
        pages = JobPager(self._client, self._tolerant, query_of, limit=limit, key=itemgetter(0))
        while missing:
            try:
                entries = await pages.next_items()
            except StopAsyncIteration:
                break
            answers = {id_: answer for id_, answer in entries if id_ in missing}
            for id_ in answers:
                del missing[id_]
            query.list_came = query.list_came or bool(answers)
            query.answer(answers)
        query.list_came = True
        self._limited = self._limited and not pages.refused_limit

    def _tolerant(self, metadata: Any, request: ApiRequest) -> tuple[str, JobT | QueryFailure]:
        """Return one job of a list with its id; an entry that cannot be read must not hide the others."""
        try:
            job = self._read(metadata, request)
        except UnexpectedResponseError as error:
            id_ = str(metadata.get("jobID")) if isinstance(metadata, dict) else ""
            return id_, QueryFailure(error, is_refusal=False)
        if job._unreadable:
            self._warn_once(job, request)
        return self._key(job), job

    def _warn_once(self, job: JobT, request: ApiRequest) -> None:
        error = unreadable_error(job, request)
        if error is not None and job.id not in self._warned:
            self._warned.add(job.id)
            warn_of(error)

    async def _ask_one(self, job_id: str, query: _Query[JobT]) -> bool:
        """Ask for one job; return whether it came."""
        request = job_request(job_id)
        try:
            job = self._read(await self._client._session.call(request), request)
            check_answered_id("job", job.id, job_id, request)
        except APIError as error:
            if isinstance(error, StatusError) and _says_nothing(error):
                query.doubtful.append((job_id, error))
            else:
                query.answer({job_id: QueryFailure(error, is_refusal=_is_refusal(error))})
            return False
        self._warn_once(job, request)
        query.answer({job_id: job})
        return True

    async def _decide(self, job_id: str, error: StatusError, query: _Query[JobT]) -> None:
        """Decide who refused without a body: UP42, if it answers a list without that id, else a gateway."""
        if not query.list_came:
            wanted = {job_id: None}
            try:
                await self._read_pages(wanted, query)
            except APIError:
                query.answer({job_id: QueryFailure(error, is_refusal=False)})
                return
            if not wanted:  # the list had it, so it is answered
                return
        query.answer({job_id: QueryFailure(error, is_refusal=True)})

    @staticmethod
    async def _together(calls: Sequence[Callable[[], Any]]) -> None:
        """Run several requests at once; a single one, the usual case, runs without a task of its own."""
        if len(calls) == 1:
            await calls[0]()
            return
        try:
            async with TaskGroup() as group:
                for call in calls:
                    group.start_soon(call)
        except ExceptionGroup as failures:  # answers are not raised: the client was closed, which all of them report
            raise failures.exceptions[0] from None


def _query_of(ids: Sequence[str], *, limit: int | None) -> str:
    """Return the query for the jobs with some ids; `limit` is jobs a page, None for the server's default."""
    return requests.query({"limit": limit, "ids": ids})


def parts_of(ids: Sequence[str], most: int) -> list[Sequence[str]]:
    """Split ids into parts of at most so many."""
    return [ids[start : start + most] for start in range(0, len(ids), most)]


def _is_refusal(error: APIError) -> bool:
    """Return whether UP42 itself refuses the request, so that it will most likely refuse it again."""
    return isinstance(error, StatusError) and error.from_platform and not error.transient


def _says_nothing(error: StatusError) -> bool:
    """Return whether a refusal has no body, so that it may come from UP42 or from a gateway."""
    return not error.from_platform and not error.body and not isinstance(error, RateLimitError | ServerError)


def _is_about_the_list(error: APIError) -> bool:
    """Return whether a list may have been refused for its length or for one id; a gateway refuses for neither."""
    if not isinstance(error, StatusError):
        return False
    return error.status in REFUSED or (error.status in _SPLIT and (error.from_platform or not error.body))
