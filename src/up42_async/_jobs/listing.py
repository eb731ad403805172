"""Lists of jobs with filters; a server may limit the jobs a page and the ids a request."""

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
from up42_async._jobs.parsing import JobPager, JobT, Read, T, unreadable_error, warn_of

PAGE_SIZE: Final = 500
"""Jobs a page: at 50 ms a request 10,000 jobs take 1.2 s, with 50 a page 10.6 s; larger pages gain nothing."""


class JobList(AsyncIterator[T]):
    """Iterates over jobs, one page after another.

    Attributes:
        errors: One error for each entry that could not be read so far, which is left out, and for each job with fields
            that could not be read, which are None. Each is in the log once, as a warning.
    """

    errors: list[UnexpectedResponseError]


class Pages(JobPager[JobT], JobList[JobT]):
    """Iterates over all jobs that match some filters."""

    def __init__(
        self, client: Client, read: Read[JobT], filters: Filters, *, limit: int, key: Callable[[JobT], str]
    ) -> None:
        """Begin the list at its first page.

        Args:
            client: Sends the requests.
            read: Returns the job of its metadata.
            filters: Which jobs, in which order.
            limit: Jobs a page.
            key: Returns the id of a job.
        """
        self.errors = []
        reading = partial(_read_and_record, read, self.errors)
        super().__init__(client, reading, filters.query, limit=limit, key=key, errors=self.errors)


def _read_and_record(read: Read[JobT], errors: list[UnexpectedResponseError], entry: Any, request: ApiRequest) -> JobT:
    """Read a job; record and log which of its fields could not be read."""
    job = read(entry, request)
    if (error := unreadable_error(job, request)) is not None:
        errors.append(error)
        warn_of(error)
    return job


class IdPager(JobList[JobT]):
    """Iterates over the jobs with some ids, each once, in the order of the ids or sorted."""

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
            client: Sends the requests.
            read: Returns the job of its metadata.
            filters: The ids, and the other filters.
            limit: Jobs a page.
            key: Returns the id of a job.
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
        """Return the next job; one request for each 100 ids, all of them before the first job when they are sorted.

        Raises:
            APIError: A request failed; the next call sends it again.
            StopAsyncIteration: There are no more.
        """
        while not self._jobs:
            async with self._turning:
                if not self._jobs:  # another task may have requested them meanwhile
                    await self._turn()
        return self._jobs.popleft()

    async def _turn(self) -> None:
        """Request the next part of the ids; jobs that are sorted wait until all parts have come."""
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
        if not self._parts:  # the server has sorted a single list
            self._jobs.extend(self._found if self._single else self._arrange(self._found))

    async def _ask(self, ids: Sequence[str]) -> dict[str, JobT] | None:
        """Request some ids; when the server refuses so many, split all parts into smaller ones and return None."""
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
