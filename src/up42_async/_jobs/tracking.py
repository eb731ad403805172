"""Wait for many jobs: all of them, each as it finishes, or every change on the way."""

from collections.abc import AsyncIterable, Generator, Iterable
from typing import Any

from up42_async._client import Client, current_client
from up42_async._config import Wait
from up42_async._http.urls import segment
from up42_async._jobs.job import Job, UnfinishedJob, watcher_of
from up42_async._jobs.poller import Watch


class JobTracker:
    """Jobs that are waited for.

    `await` it for the list of all jobs in the order given; iterate over it with `async for` for each job as it
    finishes, or over `updates()` for every change of a status. All three go on where the last one stopped, and nothing
    happens between two steps.
    """

    def __init__(
        self, jobs: Iterable[Job | str], *, wait: Wait | None, retries: int | None, client: Client | None
    ) -> None:
        """Check what is to be waited for; nothing is sent yet.

        Args:
            jobs: Jobs, or job ids.
            wait: Seconds between two queries, or a callable that returns a generator of them; None for the client's.
            retries: How often to ask for each job at the most; None for the client's.
            client: The client to use; else the one the jobs came from, else the current one.

        Raises:
            TypeError: Something that is no job and no id, or a schedule of the wrong type.
            ValueError: An id that cannot be one, a schedule that cannot be right, or jobs of two clients.
        """
        if isinstance(jobs, AsyncIterable):
            raise TypeError("track() takes a list; collect the jobs first: [job async for job in Job.all(...)]")
        if isinstance(jobs, str | Job) or not isinstance(jobs, Iterable):
            raise TypeError("track() takes a list of jobs or job ids; for a single one, track([job]) or job.track()")
        self._given = list(jobs)
        self._twins: dict[str, list[Job]] = {}
        known: dict[str, Job | None] = {}
        for entry in self._given:
            self._note(entry, known)
        client = current_client(_common_client(self._given) if client is None else client)
        self._watcher = watcher_of(client, known, wait=wait, retries=retries)

    def _note(self, entry: Job | str, known: dict[str, Job | None]) -> None:
        """Note what to wait for: of several objects for one job the first is watched, the others go along with it."""
        id_ = _tracked_id(entry)
        job = known.get(id_)
        if job is None:
            known[id_] = entry if isinstance(entry, Job) else None
        elif isinstance(entry, Job) and entry is not job:
            self._twins.setdefault(id_, []).append(entry)

    def __await__(self) -> Generator[Any, None, list[Job]]:
        """Wait for all jobs.

        Returns:
            The jobs in the order given.

        Raises:
            UnfinishedJob: Some of them are not finished, and the queries are used up or UP42 refuses to answer.
            RuntimeError: The client was closed meanwhile.
        """
        return self._all().__await__()

    async def _all(self) -> list[Job]:
        while await self._next(self._watcher.ended) is not None:
            pass
        self.check_finished()
        return [job for entry in self._given if (job := self._job(entry)) is not None]

    def __aiter__(self) -> "JobTracker":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Job:
        """Wait for the next job to finish.

        Raises:
            UnfinishedJob: All jobs that could finish have been returned, and others are left.
            RuntimeError: The client was closed meanwhile.
            StopAsyncIteration: All jobs have been returned.
        """
        while (watch := await self._next(self._watcher.ended)) is not None:
            if watch.reason is None and watch.item is not None:
                return watch.item
        self.check_finished()
        raise StopAsyncIteration

    def updates(self) -> "StatusUpdates":
        """Iterate over every change of a status, the first sight of a job given by its id included.

        Yields the job in its new state. The iteration ends when all jobs are finished, and raises as the others do.
        """
        return StatusUpdates(self)

    async def next_update(self) -> Job | None:
        """Wait for the next change of a status; None when there will be no more."""
        watch = await self._next(self._watcher.changed)
        return None if watch is None else watch.item

    async def _next(self, news: dict[str, None]) -> Watch[Job] | None:
        """Wait for the next news of one kind, and bring all objects for that job up to date."""
        watch = await self._watcher.next_of(news)
        if watch is not None and watch.item is not None:
            for twin in self._twins.get(watch.id, ()):
                twin.update(watch.item)
                if watch.item.is_finished:
                    twin.settle()
        return watch

    def _job(self, entry: Job | str) -> Job | None:
        return entry if isinstance(entry, Job) else self._watcher.watches[entry].item

    def check_finished(self) -> None:
        """Say which jobs are left.

        Raises:
            UnfinishedJob: Some are.
        """
        watches = self._watcher.watches.values()
        reasons = {watch.id: watch.reason for watch in watches if watch.reason is not None}
        if not reasons:
            return
        id_, reason = next(iter(reasons.items()))
        others = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        message = f"job {id_}: {reason}{others}; the jobs go on at UP42, and track() takes their ids again"
        raise UnfinishedJob(
            message,
            finished=[watch.item for watch in watches if watch.item is not None and watch.reason is None],
            unfinished=[watch.item or watch.id for watch in watches if watch.reason is not None],
            reasons=reasons,
            job=next(iter(watches)).item if len(watches) == 1 else None,
        )


class StatusUpdates:
    """Every change of a status of some jobs that are waited for."""

    def __init__(self, tracking: JobTracker) -> None:
        """Ask for nothing yet."""
        self._tracking = tracking

    def __aiter__(self) -> "StatusUpdates":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Job:
        """Wait for the next change.

        Raises:
            UnfinishedJob: Nothing more will change, and some jobs are not finished.
            RuntimeError: The client was closed meanwhile.
            StopAsyncIteration: All jobs are finished.
        """
        job = await self._tracking.next_update()
        if job is not None:
            return job
        self._tracking.check_finished()
        raise StopAsyncIteration


def track(
    jobs: Iterable[Job | str], *, wait: Wait | None = None, retries: int | None = None, client: Client | None = None
) -> JobTracker:
    """Wait until jobs are finished: all of them, each as it finishes, or every change on the way.

    `await track(jobs)` returns the jobs in the order given; `async for job in track(jobs)` returns each as it finishes;
    `async for job in track(jobs).updates()` returns a job whenever its status has changed. Jobs given as `Job` are
    updated in place.

    All jobs of a client that are due are asked for together, whoever waits for them: one request for 100 jobs. An
    outage does not end the wait, a job that failed is a result like any other, and one bad id does not spoil the
    others. Cancelling the wait, or leaving the loop, does not touch the jobs; nothing is asked between two steps of the
    iteration.

    Args:
        jobs: Jobs, or job ids, or some of both.
        wait: Seconds between two queries, from 0 to 1e9; or a callable without arguments that returns a generator of
            them, such as `functools.partial(backoff.expo, max_value=60)`. Left out, the client's
            (`Client(polling=...)`): 60.
        retries: How often to ask for each job at the most, 1 or more. Left out, the client's: 4320, with 60 seconds in
            between 3 days.
        client: The client to use; else the one the jobs came from, else the current one.

    Raises:
        TypeError: Something that is no job and no id, or a schedule of the wrong type.
        ValueError: An id that cannot be one, a schedule that cannot be right, or jobs of two clients.
        UnfinishedJob: (While waiting) the queries are used up, or UP42 refuses to answer for a job.
        RuntimeError: There is no client, or it was closed meanwhile.
    """
    return JobTracker(jobs, wait=wait, retries=retries, client=client)


def _tracked_id(entry: Job | str) -> str:
    id_ = entry.id if isinstance(entry, Job) else entry
    segment(id_, "job id")
    return id_


def _common_client(entries: Iterable[Job | str]) -> Client | None:
    clients = {
        id(entry.client): entry.client for entry in entries if isinstance(entry, Job) and entry.client is not None
    }
    if len(clients) > 1:
        message = (
            "the jobs came from different clients; track those of each client apart, or say which one with client="
        )
        raise ValueError(message)
    return next(iter(clients.values()), None)
