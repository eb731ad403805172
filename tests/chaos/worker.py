"""The work of one client: jobs to track, and results to download."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import anyio
import attrs

import up42_async as up42
from tests.chaos.client_state import ClientState

IDLE: Final = 0.05
"""Seconds until an idle task looks for work again."""

T = TypeVar("T")


@attrs.define
class Worker:
    """Queues of one client: executions add jobs, tracking takes them, and downloading takes the finished ones."""

    client: up42.Client
    state: ClientState
    folder: Path
    """The directory of the downloads."""
    to_follow: dict[str, None] = attrs.field(factory=dict)
    """Ids of jobs that wait to be tracked."""
    to_fetch: dict[str, up42.Job] = attrs.field(factory=dict)
    """Jobs whose results wait to be downloaded."""
    in_hand: int = 0
    """Number of jobs that are being tracked or downloaded."""
    is_closed: bool = False
    """Whether no more jobs will come."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_closed and not (self.to_follow or self.to_fetch or self.in_hand)

    @property
    def left(self) -> int:
        """Number of jobs that are not completed."""
        return len(self.to_follow) + len(self.to_fetch) + self.in_hand

    def add(self, ids: Iterable[str]) -> None:
        """Add jobs to the queue for tracking."""
        self.to_follow.update(dict.fromkeys(ids))

    async def take_to_follow(self, number: int) -> list[str]:
        """Take up to this number of jobs, the oldest first."""
        return [id_ for id_, _ in await self._take(self.to_follow, number)]

    def followed(self, ids: Iterable[str], finished: Iterable[up42.Job]) -> None:
        """Return taken jobs: finished ones are queued for download, others for tracking again.

        Args:
            ids: The jobs taken.
            finished: Those that are finished.
        """
        done = {job.id: job for job in finished}
        for id_ in ids:
            self.in_hand -= 1
            if id_ not in done:
                self.to_follow[id_] = None
                continue
            self.state.finish(done[id_])
            if done[id_].is_successful:
                self.to_fetch[id_] = done[id_]

    async def take_to_fetch(self, number: int) -> list[up42.Job]:
        """Take up to this number of jobs whose results are to be downloaded."""
        return [job for _, job in await self._take(self.to_fetch, number)]

    async def _take(self, waiting: dict[str, T], number: int) -> list[tuple[str, T]]:
        """Take the oldest waiting jobs; if there are none, wait for `IDLE` first."""
        if not waiting:
            await anyio.sleep(IDLE)
        taken = list(waiting.items())[:number]
        for id_, _ in taken:
            del waiting[id_]
        self.in_hand += len(taken)
        return taken

    def fetched(self, jobs: Iterable[up42.Job], complete: Iterable[str]) -> None:
        """Return taken jobs: those with missing files are queued for download again.

        Args:
            jobs: The jobs taken.
            complete: Ids of those whose files are all downloaded.
        """
        done = set(complete)
        for job in jobs:
            self.in_hand -= 1
            if job.id in done:
                self.state.fetched.add(job.id)
            else:
                self.to_fetch[job.id] = job
