"""Ask for lists of jobs, with their filters, however the server limits its pages and its ids."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final, Self

import anyio
import attrs

from up42_async._client import Client
from up42_async._errors import StatusError, UnexpectedResponseError
from up42_async._http.requests import ApiRequest
from up42_async._jobs.filters import Filters
from up42_async._jobs.id_queries import MAX_IDS, REFUSED, parts_of
from up42_async._jobs.parsing import JobPager, JobT, Read, T, misfit, warn_of

PAGE_SIZE: Final = 500
"""Jobs a page: at 50 ms a request 10,000 jobs take 1.2 s instead of 10.6 s at the usual 50, and more gains nothing."""


class JobList(AsyncIterator[T]):
    """Jobs, one page after another.

    Attributes:
        errors: What could not be read so far: entries that are no jobs, which are left out, and jobs with fields that
            do not fit, which are None. Each is in the log once, as a warning.
    """

    errors: list[UnexpectedResponseError]


class Pages(JobPager[JobT], JobList[JobT]):
    """Iterate over all jobs that some filters let through."""

    def __init__(
        self, client: Client, read: Read[JobT], filters: Filters, *, limit: int, key: Callable[[JobT], str]
    ) -> None:
        """Begin the list at its first page.

        Args:
            client: Whom to ask with.
            read: Makes a job of its metadata.
            filters: Which jobs, in which order.
            limit: Jobs a page.
            key: The id of a job.
        """
        self.errors = []
        reading = partial(_read_and_record, read, self.errors)
        super().__init__(client, reading, filters.query, limit=limit, key=key, errors=self.errors)


def _read_and_record(read: Read[JobT], errors: list[UnexpectedResponseError], entry: Any, request: ApiRequest) -> JobT:
    """Read a job, and note what does not fit in it."""
    job = read(entry, request)
    if (error := misfit(job, request)) is not None:
        errors.append(error)
        warn_of(error)
    return job


class IdPager(JobList[JobT]):
    """Iterate over the jobs with some ids, in the order of the ids or as they are sorted, each once."""

    def __init__(
        self,
        client: Client,
        read: Read[JobT],
        filters: Filters,
        *,
        limit: int,
        key: Callable[[JobT], str],
        arrange: Callable[[list[JobT]], list[JobT]] | None,
    ) -> None:
        """Split the ids into lists of up to 100.

        Args:
            client: Whom to ask with.
            read: Makes a job of its metadata.
            filters: The ids, and the other filters.
            limit: Jobs a page.
            key: The id of a job.
            arrange: Sorts jobs as the server would; None for the order of the ids.
        """
        self.errors = []
        self._client = client
        self._read: Read[JobT] = partial(_read_and_record, read, self.errors)
        self._filters = filters
        self._limit: int | None = limit
        self._key = key
        self._arrange = arrange
        self._turning = anyio.Lock()
        ids = () if filters.match_nothing else filters.ids or ()
        self._parts = deque(parts_of(list(dict.fromkeys(ids)), MAX_IDS))
        self._single = len(self._parts) <= 1
        self._found: list[JobT] = []
        self._jobs: deque[JobT] = deque()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> JobT:
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

    async def _ask(self, ids: Sequence[str]) -> dict[str, JobT] | None:
        """Ask for some ids; return None, with all parts cut smaller, when the server refuses so many."""
        wanted = set(ids)
        filters = attrs.evolve(self._filters, ids=list(ids))
        limit = None if self._limit is None else min(self._limit, len(ids))
        pages = JobPager(self._client, self._read, filters.query, limit=limit, key=self._key, errors=self.errors)
        try:
            found = {id_: job async for job in pages if (id_ := self._key(job)) in wanted}
        except StatusError as error:
            if error.status not in REFUSED or len(ids) == 1:
                raise
            self._parts = deque(less for part in self._parts for less in parts_of(part, (len(ids) + 1) // 2))
            self._single = False
            return None
        if pages.refused_limit:
            self._limit = None
        return found
