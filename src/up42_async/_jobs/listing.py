"""Ask for jobs: the list with its filters, and many by id, however the server limits its pages and its ids."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, Generic, Self, TypeVar

import anyio
import attrs

from up42_async._client import Client
from up42_async._errors import APIError, StatusError, UnexpectedResponseError
from up42_async._http import urls
from up42_async._http.messages import ApiRequest
from up42_async._http.pagination import Page, Pager, next_page
from up42_async._jobs.filters import Filters

PATH: Final = "/v2/processing/jobs"

PAGE_SIZE: Final = 500
"""Jobs a page: at 50 ms a request 10,000 jobs take 1.2 s instead of 10.6 s at the usual 50, and more gains nothing."""

MOST_IDS: Final = 100
"""Ids a request: 100 UUIDs make a URL of 4 kB, and servers usually refuse one of 8."""

_REFUSED = frozenset({400, 413, 414, 422, 431})
"""What a server answers to a list of ids that is too long, or to a page size that is too large."""

_SPLIT = _REFUSED | {403, 404}
"""What it may answer to a whole list for the sake of one id in it, too: asked for apart, each id answers for itself."""


def one(job_id: object) -> ApiRequest:
    """Return the request for one job.

    Raises:
        TypeError: The id is not a string.
        ValueError: It cannot be an id.
    """
    return ApiRequest(method="GET", path=f"{PATH}/{urls.segment(job_id, 'job id')}")


def listed(filters: Filters, *, limit: int | None) -> ApiRequest:
    """Return the request for the first page of a list.

    Args:
        filters: Which jobs, in which order.
        limit: Jobs a page, None to leave it to the server.
    """
    return ApiRequest(method="GET", path=PATH, query=filters.query(limit=limit))


T = TypeVar("T")
Read = Callable[[Any, ApiRequest], T]
"""Makes a job of its metadata."""


def page_of(read: Read[T], api: str, answer: Any, request: ApiRequest) -> Page[T]:
    """Read a page of jobs.

    Args:
        read: Makes a job of its metadata.
        api: Base URL of the API, for the next link.
        answer: The decoded body.
        request: What was asked, for errors.

    Raises:
        UnexpectedResponseError: It is no page of jobs.
    """
    if not isinstance(answer, dict) or "jobs" not in answer or not isinstance(answer["jobs"], list | None):
        message = "an answer without a list of jobs"
        raise UnexpectedResponseError(message, request=str(request))
    return Page(items=[read(job, request) for job in answer["jobs"] or ()], next=next_page(answer, api, request))


def pager(client: Client, read: Read[T], filters: Filters, *, limit: int | None, key: Callable[[T], str]) -> Pager[T]:
    """Return an iterator over a list; it asks without a page size when the server refuses the one it is given."""
    return Pager(
        client._session,
        listed(filters, limit=limit),
        partial(page_of, read, client._session.api),
        key=key,
        without_limit=None if limit is None else listed(filters, limit=None),
    )


class IdPager(Generic[T]):
    """Iterate over the jobs with some ids, in the order of the ids or as they are sorted, each once."""

    def __init__(
        self,
        client: Client,
        read: Read[T],
        filters: Filters,
        *,
        limit: int,
        key: Callable[[T], str],
        arrange: Callable[[list[T]], list[T]] | None,
    ) -> None:
        """Ask for nothing yet.

        Args:
            client: Whom to ask with.
            read: Makes a job of its metadata.
            filters: The ids, and the other filters.
            limit: Jobs a page.
            key: The id of a job.
            arrange: Sorts jobs as the server would; None for the order of the ids.
        """
        self._client = client
        self._read = read
        self._filters = filters
        self._limit: int | None = limit
        self._key = key
        self._arrange = arrange
        self._turning = anyio.Lock()
        ids = () if filters.match_nothing else filters.ids or ()
        self._parts = deque(_parts(list(dict.fromkeys(ids)), MOST_IDS))
        self._single = len(self._parts) <= 1
        self._found: list[T] = []
        self._jobs: deque[T] = deque()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next job; one request for each 100 ids, all of them at first when the jobs are to be sorted.

        Raises:
            APIError: Some of the jobs could not be had; the next call asks for them again.
            StopAsyncIteration: There are no more.
        """
        while not self._jobs:
            async with self._turning:
                if not self._jobs:  # another task may have asked meanwhile
                    await self._turn()
        return self._jobs.popleft()

    async def _turn(self) -> None:
        """Ask for the next part of the ids, and for all parts before anything is sorted."""
        if not self._parts:
            raise StopAsyncIteration
        found = await self._ask(self._parts[0])
        if found is None:
            return
        ids = self._parts.popleft()
        if self._arrange is None:
            self._jobs.extend(found[id_] for id_ in ids if id_ in found)
            return
        self._found.extend(found.values())
        if not self._parts:  # what came in a single list, the server has sorted
            self._jobs.extend(self._found if self._single else self._arrange(self._found))

    async def _ask(self, ids: Sequence[str]) -> dict[str, T] | None:
        """Ask for some ids; return None, with all parts cut smaller, when the server refuses so many."""
        wanted = set(ids)
        filters = attrs.evolve(self._filters, ids=list(ids))
        limit = None if self._limit is None else min(self._limit, len(ids))
        pages = pager(self._client, self._read, filters, limit=limit, key=self._key)
        try:
            found = {id_: job async for job in pages if (id_ := self._key(job)) in wanted}
        except StatusError as error:
            if error.status not in _REFUSED or len(ids) == 1:
                raise
            self._parts = deque(less for part in self._parts for less in _parts(part, (len(ids) + 1) // 2))
            self._single = False
            return None
        if pages.refused_limit:
            self._limit = None
        return found


def _parts(ids: Sequence[str], most: int) -> list[Sequence[str]]:
    return [ids[start : start + most] for start in range(0, len(ids), most)]


class ById(Generic[T]):
    """Ask for the state of many jobs by id, each id answered for itself: a job, or why there is none.

    It learns how many ids at once the server puts up with, and whether it takes a page size.
    """

    def __init__(self, client: Client, read: Read[T], key: Callable[[T], str]) -> None:
        """Ask for nothing yet."""
        self._client = client
        self._read = read
        self._key = key
        self._most = MOST_IDS
        self._limited = True

    async def ask(self, ids: Sequence[str]) -> dict[str, T | APIError]:
        """Ask for up to 100 ids: usually one request; the ids that are missing from its answer are asked for singly.

        Args:
            ids: The ids, each once.

        Returns:
            For every id its job or why there is none.
        """
        found: dict[str, T | APIError] = {}
        await self._together([partial(self._ask_list, part, found) for part in _parts(ids, self._most)])
        return found

    async def _ask_list(self, ids: Sequence[str], found: dict[str, T | APIError]) -> bool:
        """Ask for some ids by one list; return whether the server put up with them."""
        if len(ids) == 1:
            return await self._ask_one(ids[0], found)
        try:
            await self._read_pages(ids, found)
        except APIError as error:
            if isinstance(error, StatusError) and error.status in _SPLIT:
                return await self._ask_halves(ids, found)
            found.update({id_: error for id_ in ids if id_ not in found})
            return False
        missing = [id_ for id_ in ids if id_ not in found]
        await self._together([partial(self._ask_one, id_, found) for id_ in missing])
        return True

    async def _ask_halves(self, ids: Sequence[str], found: dict[str, T | APIError]) -> bool:
        """Ask in halves, and remember their size when the server puts up with both: it was not about one bad id."""
        half = (len(ids) + 1) // 2
        took = [await self._ask_list(part, found) for part in (ids[:half], ids[half:])]
        if all(took):
            self._most = min(self._most, half)
        return False

    async def _read_pages(self, ids: Sequence[str], found: dict[str, T | APIError]) -> None:
        """Follow the pages of one list until all ids are there."""
        wanted = set(ids)
        limit = len(ids) if self._limited else None
        pages = pager(self._client, self._tolerant, Filters(ids=list(ids)), limit=limit, key=itemgetter(0))
        async for id_, job in pages:
            if id_ in wanted:
                found[id_] = job
                wanted.discard(id_)
                if not wanted:
                    break
        self._limited = self._limited and not pages.refused_limit

    def _tolerant(self, metadata: Any, request: ApiRequest) -> tuple[str, T | APIError]:
        """Read one job of a list; one that makes no sense must not spoil the others."""
        try:
            job = self._read(metadata, request)
        except UnexpectedResponseError as error:
            return str(metadata.get("jobID")) if isinstance(metadata, dict) else "", error
        return self._key(job), job

    async def _ask_one(self, job_id: str, found: dict[str, T | APIError]) -> bool:
        """Ask for one job; return whether there was one."""
        request = one(job_id)
        try:
            found[job_id] = self._read(await self._client._session.call(request), request)
        except APIError as error:
            found[job_id] = error
            return False
        return True

    @staticmethod
    async def _together(questions: Sequence[Callable[[], Any]]) -> None:
        """Ask several questions at once; a lone one, the usual case, needs no task of its own."""
        if len(questions) == 1:
            await questions[0]()
            return
        try:
            async with anyio.create_task_group() as group:
                for question in questions:
                    group.start_soon(question)
        except ExceptionGroup as failures:  # none is an answer: the client was closed, which is one thing for all
            raise failures.exceptions[0] from None
