"""Read single jobs, lists of jobs, collections and items."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

import up42_async as up42
from tests.chaos.callers import Caller
from tests.chaos.worker import Worker

PAUSE: Final = 0.3
"""Longest pause between two calls, in seconds."""


class Reader:
    """Reads jobs and their results, one call after the other.

    Args:
        caller: Makes the calls.
        worker: Has the client.
    """

    def __init__(self, caller: Caller, worker: Worker) -> None:
        self._caller = caller
        self._state = caller.state
        self._dice = caller.dice
        self._client = worker.client

    async def read(self) -> None:
        """Read a known job or its results."""
        if self._state.known:
            ways: list[tuple[str, Callable[[str], Awaitable[None]]]] = [
                ("get job", self._get),
                ("list by ids", self._list),
                ("collection", self._collection),
                ("search items", self._search),
            ]
            what, way = self._dice.choice(ways)
            id_ = self._dice.choice(sorted(self._state.known))

            async def work() -> None:
                await way(id_)

            await self._caller.call(what, work)
        await anyio.sleep(PAUSE * self._dice.random())

    async def _get(self, id_: str) -> None:
        job = await up42.Job.get(id_, client=self._client)
        self._expect({id_}, {job.id, (await job.refresh()).id})

    async def _list(self, id_: str) -> None:
        ids = list(dict.fromkeys([id_, *self._dice.choices(sorted(self._state.known), k=self._dice.randint(1, 150))]))
        listed = [job.id async for job in up42.Job.all(ids=ids, client=self._client)]
        # the client cannot know which jobs the platform leaves out, but it promises the order, and each job once
        self._expect([id_ for id_ in ids if id_ in set(listed)], listed)

    async def _collection(self, id_: str) -> None:
        job = await up42.Job.get(id_, client=self._client)
        collection = await job.collection()
        if collection is not None:
            self._expect([str(job.collection_url).rpartition("/")[2]], [collection.id])

    async def _search(self, id_: str) -> None:
        found = [item.id async for item in up42.search_items(job_id=id_, client=self._client)]
        self._expect(sorted(set(found)), sorted(found))

    def _expect(self, wanted: object, got: object) -> None:
        if wanted != got:
            self._state.unexpected.append(f"asked for {wanted}, got {got}")
