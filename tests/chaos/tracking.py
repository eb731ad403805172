"""List jobs, and track them to their end: awaited, each as it finishes, every change, and each on its own."""

from functools import partial
from typing import Final

import anyio

import up42_async as up42
from tests.chaos.callers import Caller, Ended
from tests.chaos.worker import Worker

MOST_AT_ONCE: Final = 60
STOPS: Final = 0.1
"""Probability of leaving a listing or an iteration early."""


class Lister:
    """Lists jobs, one listing after the other.

    Args:
        caller: Makes the calls.
        worker: Has the client.
    """

    def __init__(self, caller: Caller, worker: Worker) -> None:
        self._caller = caller
        self._state = caller.state
        self._dice = caller.dice
        self._worker = worker

    async def list_all(self) -> None:
        """List all jobs, and compare them with those that are known."""
        known = set(self._state.known)
        seen: list[str] = []
        stops = self._dice.random() < STOPS

        async def work() -> bool:
            order = self._dice.choice([up42.JobSorting.created.desc, None])
            page_size = self._dice.choice([None, 30, 100])
            async for job in up42.Job.all(sort_by=order, page_size=page_size, client=self._worker.client):
                seen.append(job.id)
                if stops and self._dice.random() < STOPS:
                    return False
            return True

        ended = await self._caller.call("list jobs", work)
        self._state.listed_twice += len(seen) - len(set(seen))
        if ended.result:
            self._state.listings += 1
            self._state.not_listed += len(known.difference(seen))
        await anyio.sleep(self._dice.random())


class JobFollower:
    """Tracks jobs to their end.

    Args:
        caller: Makes the calls.
        worker: Has the client and the jobs.
    """

    def __init__(self, caller: Caller, worker: Worker) -> None:
        self._caller = caller
        self._dice = caller.dice
        self._worker = worker

    async def follow(self) -> None:
        """Track some jobs until they are finished, the call is cancelled, or the queries are used up."""
        ids = await self._worker.take_to_follow(self._dice.randint(1, MOST_AT_ONCE))
        if not ids:
            return
        finished: dict[str, up42.Job] = {}
        way = self._dice.choice([self._await_all, self._iterate, self._watch, self._each_alone])
        ended = await self._caller.call("track", partial(way, ids, finished))
        if isinstance(ended.error, up42.UnfinishedJob):
            finished.update({job.id: job for job in ended.error.finished})
        self._check(ended, ids, finished)
        self._worker.followed(ids, finished.values())

    def _check(self, ended: Ended[bool], ids: list[str], finished: dict[str, up42.Job]) -> None:
        unfinished = [job.id for job in finished.values() if not job.is_finished]
        if unfinished or (ended.result and set(finished) != set(ids)):
            self._caller.state.unexpected.append(f"tracking ended as if jobs were finished that are not: {unfinished}")

    async def _await_all(self, ids: list[str], finished: dict[str, up42.Job]) -> bool:
        jobs = await self._tracking(ids)
        finished.update({job.id: job for job in jobs})
        return [job.id for job in jobs] == ids

    async def _iterate(self, ids: list[str], finished: dict[str, up42.Job]) -> bool:
        async for job in self._tracking(ids):
            finished[job.id] = job
            if self._dice.random() < STOPS / MOST_AT_ONCE:
                return False
        return True

    async def _watch(self, ids: list[str], finished: dict[str, up42.Job]) -> bool:
        async for job in self._tracking(ids).updates():
            if job.is_finished:
                finished[job.id] = job
        return False  # a job that settles is finished without another change

    async def _each_alone(self, ids: list[str], finished: dict[str, up42.Job]) -> bool:
        async def track(id_: str) -> None:
            job = await up42.Job.get(id_, client=self._worker.client)
            finished[id_] = await job.track(wait=self._wait())

        async with anyio.create_task_group() as group:
            for id_ in ids:
                group.start_soon(track, id_)
        return True

    def _tracking(self, ids: list[str]) -> up42.JobTracker:
        retries = self._dice.choice([5, 50, 4320])
        return up42.track(ids, wait=self._wait(), retries=retries, client=self._worker.client)

    def _wait(self) -> float:
        return self._dice.choice([0.2, 0.5, 1.0])
