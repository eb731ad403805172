"""Ask for the state of many jobs by id: each id is answered for itself, as soon as anything is known of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final, Generic

from up42_async._bulk import TaskGroup
from up42_async._client import Client
from up42_async._errors import APIError, RateLimitError, ServerError, StatusError, UnexpectedResponseError
from up42_async._http import requests
from up42_async._http.requests import ApiRequest, check_answered_id
from up42_async._jobs.parsing import JobPager, JobT, Read, misfit, one, warn_of
from up42_async._jobs.polling_state import QueryFailure

MAX_IDS: Final = 100
"""Ids a request: 100 UUIDs make a URL of 4 kB, and servers usually refuse one of 8."""

REFUSED: Final = frozenset({400, 413, 414, 422, 431})
"""What a server answers to a list of ids that is too long, or to a page size that is too large."""

Give = Callable[[Mapping[str, JobT | QueryFailure]], None]
"""Takes the answers for some ids."""

_SPLIT: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""What UP42 may answer to a whole list for the sake of one id in it: asked for apart, each id answers for itself."""


class _Query(Generic[JobT]):
    """What is known while some ids are asked for."""

    def __init__(self, give: Give[JobT]) -> None:
        self.give = give
        self.list_came = False
        """Whether UP42 answered a list of them, so that an id which is not in it is not there."""
        self.doubtful: list[tuple[str, StatusError]] = []
        """Refusals without a body: UP42's, when a list came without that id, else a gateway's."""


class ById(Generic[JobT]):
    """Ask for jobs by id; it learns how many ids at once the server takes, and whether it takes a page size."""

    def __init__(self, client: Client, read: Read[JobT], key: Callable[[JobT], str]) -> None:
        """Assume that the server takes 100 ids and a page size.

        Args:
            client: Whom to ask with.
            read: Makes a job of its metadata.
            key: The id of a job.
        """
        self._client = client
        self._read = read
        self._key = key
        self._most = MAX_IDS
        self._limited = True
        self._warned: set[str] = set()

    async def ask(self, ids: Sequence[str], give: Give[JobT]) -> None:
        """Ask for up to 100 ids: usually one request; the ids that are missing from its answer are asked for singly.

        Args:
            ids: The ids, each once.
            give: Takes for every id its job or why there is none, page by page.
        """
        query: _Query[JobT] = _Query(give)
        await self._together([partial(self._ask_list, part, query) for part in parts_of(ids, self._most)])
        await self._together([partial(self._decide, id_, error, query) for id_, error in query.doubtful])

    async def _ask_list(self, ids: Sequence[str], query: _Query[JobT]) -> bool:
        """Ask for some ids by one list; return whether the server took them."""
        if len(ids) == 1:
            return await self._ask_one(ids[0], query)
        missing = dict.fromkeys(ids)
        try:
            await self._read_pages(missing, query)
        except APIError as error:
            if _is_about_the_list(error):
                return await self._ask_halves(list(missing), query)
            query.give(dict.fromkeys(missing, QueryFailure(error, is_refusal=_is_refusal(error))))
            return False
        await self._together([partial(self._ask_one, id_, query) for id_ in missing])
        return True

    async def _ask_halves(self, ids: Sequence[str], query: _Query[JobT]) -> bool:
        """Ask in halves, and remember their size when the server takes both: then it was not about one bad id."""
        half = (len(ids) + 1) // 2
        took = [await self._ask_list(part, query) for part in parts_of(ids, half)]
        if all(took):
            self._most = min(self._most, half)
        return False

    async def _read_pages(self, missing: dict[str, None], query: _Query[JobT]) -> None:
        """Follow the pages of one list until all ids are there; take from `missing` what has come."""
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
            query.give(answers)
        query.list_came = True
        self._limited = self._limited and not pages.refused_limit

    def _tolerant(self, metadata: Any, request: ApiRequest) -> tuple[str, JobT | QueryFailure]:
        """Read one job of a list; one that makes no sense must not spoil the others."""
        try:
            job = self._read(metadata, request)
        except UnexpectedResponseError as error:
            id_ = str(metadata.get("jobID")) if isinstance(metadata, dict) else ""
            return id_, QueryFailure(error, is_refusal=False)
        if job._misfits:
            self._warn_once(job, request)
        return self._key(job), job

    def _warn_once(self, job: JobT, request: ApiRequest) -> None:
        error = misfit(job, request)
        if error is not None and job.id not in self._warned:
            self._warned.add(job.id)
            warn_of(error)

    async def _ask_one(self, job_id: str, query: _Query[JobT]) -> bool:
        """Ask for one job; return whether there was one."""
        request = one(job_id)
        try:
            job = self._read(await self._client._session.call(request), request)
            check_answered_id("job", job.id, job_id, request)
        except APIError as error:
            if isinstance(error, StatusError) and _says_nothing(error):
                query.doubtful.append((job_id, error))
            else:
                query.give({job_id: QueryFailure(error, is_refusal=_is_refusal(error))})
            return False
        self._warn_once(job, request)
        query.give({job_id: job})
        return True

    async def _decide(self, job_id: str, error: StatusError, query: _Query[JobT]) -> None:
        """Decide who refused without a word: UP42, if it answers a list without that id."""
        if not query.list_came:
            wanted = {job_id: None}
            try:
                await self._read_pages(wanted, query)
            except APIError:
                query.give({job_id: QueryFailure(error, is_refusal=False)})
                return
            if not wanted:  # the list had it
                return
        query.give({job_id: QueryFailure(error, is_refusal=True)})

    @staticmethod
    async def _together(questions: Sequence[Callable[[], Any]]) -> None:
        """Ask several questions at once; a lone one, the usual case, needs no task of its own."""
        if len(questions) == 1:
            await questions[0]()
            return
        try:
            async with TaskGroup() as group:
                for question in questions:
                    group.start_soon(question)
        except ExceptionGroup as failures:  # none is an answer: the client was closed, which is one thing for all
            raise failures.exceptions[0] from None


def _query_of(ids: Sequence[str], *, limit: int | None) -> str:
    """Return the query for the jobs with some ids; so many a page, None to leave it to the server."""
    return requests.query({"limit": limit, "ids": ids})


def parts_of(ids: Sequence[str], most: int) -> list[Sequence[str]]:
    """Return ids in parts of so many at the most."""
    return [ids[start : start + most] for start in range(0, len(ids), most)]


def _is_refusal(error: APIError) -> bool:
    """Return whether UP42 itself refuses, so that asking again will most likely be refused again."""
    return isinstance(error, StatusError) and error.from_platform and not error.transient


def _says_nothing(error: StatusError) -> bool:
    """Return whether a refusal has no body, so that it may be UP42's or a gateway's."""
    return not error.from_platform and not error.body and not isinstance(error, RateLimitError | ServerError)


def _is_about_the_list(error: APIError) -> bool:
    """Return whether a list may be refused for its length, or for one id in it; a gateway's page is about neither."""
    if not isinstance(error, StatusError):
        return False
    return error.status in REFUSED or (error.status in _SPLIT and (error.from_platform or not error.body))
