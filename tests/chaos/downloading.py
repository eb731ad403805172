"""Download results: of one job, of many, and of many in a block that is left early."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio.to_thread

import up42_async as up42
from tests.chaos.callers import Caller
from tests.chaos.worker import Worker
from up42_async._storage.download_batch import ResultFile

MOST_AT_ONCE: Final = 8
LEAVES: Final = 0.02
"""Probability of leaving a block after each file."""


class Downloader:
    """Downloads results.

    Args:
        caller: Makes the calls.
        worker: Where the jobs are.
    """

    def __init__(self, caller: Caller, worker: Worker) -> None:
        self._caller = caller
        self._dice = caller.dice
        self._worker = worker

    async def fetch(self) -> None:
        """Download the results of some finished jobs; all files on disk are checked afterwards."""
        jobs = await self._worker.take_to_fetch(self._dice.randint(1, MOST_AT_ONCE))
        if not jobs:
            return
        complete: set[str] = set()
        way = self._dice.choice([self._each_alone, self._await_all, self._in_block])
        await self._caller.call("download", partial(way, jobs, complete))
        await self._look_at(jobs)
        self._worker.fetched(jobs, complete)

    async def _look_at(self, jobs: Sequence[up42.Job]) -> None:
        for job in jobs:
            await anyio.to_thread.run_sync(self._caller.state.look_into, self._worker.folder / job.id)

    async def _each_alone(self, jobs: Sequence[up42.Job], complete: set[str]) -> None:
        for job in jobs:
            await job.download(self._worker.folder / job.id)
            complete.add(job.id)

    async def _await_all(self, jobs: Sequence[up42.Job], complete: set[str]) -> None:
        files = await up42.download(jobs, self._worker.folder, client=self._worker.client)
        self._note(jobs, files, complete)

    async def _in_block(self, jobs: Sequence[up42.Job], complete: set[str]) -> None:
        downloading = up42.download(jobs, self._worker.folder, client=self._worker.client)
        async with downloading as files:
            async for _ in files:
                if self._dice.random() < LEAVES:
                    return
        self._note(jobs, downloading.results, complete)

    def _note(self, jobs: Sequence[up42.Job], files: Sequence[ResultFile], complete: set[str]) -> None:
        """Note the jobs all of whose files have come, and count the errors of the others."""
        failed = {file.job_id for file in files if file.error is not None}
        self._caller.state.errors.update(type(file.error).__name__ for file in files if file.error is not None)
        complete.update(job.id for job in jobs if job.id not in failed)
