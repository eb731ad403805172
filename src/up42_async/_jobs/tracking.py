"""Wait for many jobs: for all of them, for each as it finishes, or for every change of a status."""

from collections import Counter
from collections.abc import AsyncIterable, Iterable

from up42_async._bulk import AsCoroutine
from up42_async._client import Client, current_client, display
from up42_async._config import Wait
from up42_async._http.requests import segment
from up42_async._jobs.job import Job, UnfinishedJob, job_poller
from up42_async._jobs.models import JobStatus
from up42_async._jobs.poller import Waiting
from up42_async._jobs.polling_state import PollState


class JobTracker(AsCoroutine[list[Job]]):
    """A wait for many jobs; `track` returns it.

    `await` it for the list of all jobs in the order given; iterate over it with `async for` for each job as it
    finishes, or over `updates()` for every change of a status. Each of the three continues where the last one stopped,
    and no request is sent between two steps. `finished`, `unfinished` and `counts` can be read at any moment, also
    after an error or a cancellation.
    """

    def __init__(
        self,
        jobs: Iterable[Job | str],
        *,
        wait: Wait | None,
        retries: int | None,
        until: Iterable[JobStatus] | None,
        stalled_after: float | None,
        bar: bool,
        client: Client | None,
    ) -> None:
        """Check the arguments, which are those of `track`; nothing is sent yet.

        Raises:
            RuntimeError: A board in a terminal needs `rich`, which is not installed; or there is no client.
            TypeError: An entry that is neither a job nor an id, or another argument of the wrong type.
            ValueError: An id that cannot stand in a path, an argument out of its range, or jobs of two clients.
        """
        if isinstance(jobs, AsyncIterable):
            raise TypeError("track() takes a list; collect the jobs first: [job async for job in Job.all(...)]")
        if isinstance(jobs, str | Job) or not isinstance(jobs, Iterable):
            raise TypeError("track() takes a list of jobs or job ids; for a single one, track([job]) or job.track()")
        self._given = list(jobs)
        self._duplicates: dict[str, list[Job]] = {}
        known: dict[str, Job | None] = {}
        for entry in self._given:
            self._note(entry, known)
        self._waiting: Waiting[Job] = Waiting(
            current_client(_common_client(self._given) if client is None else client),
            job_poller,
            known,
            wait=wait,
            retries=retries,
            until=until,
            stalled_after=stalled_after,
            bar=bar,
        )

    def _note(self, entry: Job | str, known: dict[str, Job | None]) -> None:
        """Note an entry; of several objects for one job the first is polled, and the others take over its state."""
        id_ = _tracked_id(entry)
        job = known.get(id_)
        if job is None:
            known[id_] = entry if isinstance(entry, Job) else None
        elif isinstance(entry, Job) and entry is not job:
            self._duplicates.setdefault(id_, []).append(entry)

    @property
    def finished(self) -> list[Job]:
        """The jobs that are finished or have reached a status of `until`, in the order given."""
        states = self._waiting.states.values()
        return [state.item for state in states if state.item is not None and not state.is_open and not state.reason]

    @property
    def unfinished(self) -> list[Job | str]:
        """The other jobs, by id where nothing else is known; `track()` takes this list as it is."""
        states = self._waiting.states.values()
        return [state.item or state.id for state in states if state.is_open or state.reason]

    @property
    def counts(self) -> Counter[str]:
        """The number of jobs of each status; `"unknown"` counts those of which only the id is known."""
        return self._waiting.counts()

    def __repr__(self) -> str:
        """Return the number of finished jobs and of jobs of each status, in one line of at most 200 characters."""
        return display.line("JobTracker", [("jobs", len(self._waiting.states)), *self._rows()])

    def _repr_html_(self) -> str:
        """Return the number of finished jobs and of jobs of each status as a table, for notebooks."""
        return display.table(self._rows())

    def _rows(self) -> list[tuple[str, int]]:
        return [("finished", len(self.finished)), *self.counts.most_common()]

    async def _all(self) -> list[Job]:
        """Wait for all jobs, and return them in the order given.

        Raises:
            UnfinishedJob: The wait for all jobs has ended, and some of them are not finished.
            RuntimeError: The client was closed meanwhile, or another task waits with this object.
        """
        while (state := await self._waiting.next_ended()) is not None:
            self._bring_up_to_date(state)
        self._check_finished()
        return [job for entry in self._given if (job := self._job(entry)) is not None]

    def __aiter__(self) -> "JobTracker":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Job:
        """Wait for the next job to finish.

        Raises:
            UnfinishedJob: All finished jobs have been returned, and the wait for the others has ended.
            RuntimeError: The client was closed meanwhile, or another task waits with this object.
            StopAsyncIteration: All jobs have been returned.
        """
        while (state := await self._waiting.next_ended()) is not None:
            self._bring_up_to_date(state)
            if state.reason is None and state.item is not None:
                return state.item
        self._check_finished()
        raise StopAsyncIteration

    def updates(self) -> "StatusUpdates":
        """Iterate over every change of a status; the first status of a job given by its id is a change, too.

        Yields the job in its new state. The iteration ends when all jobs are finished, and raises `UnfinishedJob` when
        the wait for all jobs has ended and some are not.
        """
        return StatusUpdates(self)

    async def _next_update(self) -> Job:
        state = await self._waiting.next_changed()
        if state is None or state.item is None:
            self._check_finished()
            raise StopAsyncIteration
        self._bring_up_to_date(state)
        return state.item

    def _bring_up_to_date(self, state: PollState[Job]) -> None:
        """Update the other objects for the same job."""
        if state.item is not None:
            for duplicate in self._duplicates.get(state.id, ()):
                duplicate._follow(state.item)

    def _job(self, entry: Job | str) -> Job | None:
        return entry if isinstance(entry, Job) else self._waiting.states[entry].item

    def _check_finished(self) -> None:
        """Raise when the wait for some jobs ended before they were finished.

        Raises:
            UnfinishedJob: It did for some; the message names the first of them and its reason.
        """
        reasons = {state.id: state.reason for state in self._waiting.states.values() if state.reason is not None}
        if not reasons:
            return
        id_, reason = next(iter(reasons.items()))
        others = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        states = list(self._waiting.states.values())
        raise UnfinishedJob(
            f"job {id_}: {reason}{others}; the jobs go on at UP42, and track() takes their ids again",
            finished=self.finished,
            unfinished=self.unfinished,
            reasons=reasons,
            job=states[0].item if len(states) == 1 else None,
        )


class StatusUpdates:
    """Iterates over every change of a status of tracked jobs; `JobTracker.updates` returns it."""

    def __init__(self, tracker: JobTracker) -> None:
        """Iterate over the changes of the jobs of a tracker."""
        self._tracker = tracker

    def __aiter__(self) -> "StatusUpdates":
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Job:
        """Wait for the next change.

        Raises:
            UnfinishedJob: The wait for all jobs has ended, and some of them are not finished.
            RuntimeError: The client was closed meanwhile, or another task waits with the same tracker.
            StopAsyncIteration: All jobs are finished.
        """
        return await self._tracker._next_update()


def track(
    jobs: Iterable[Job | str],
    *,
    wait: Wait | None = None,
    retries: int | None = None,
    until: Iterable[JobStatus] | None = None,
    stalled_after: float | None = None,
    bar: bool = False,
    client: Client | None = None,
) -> JobTracker:
    """Wait for many jobs: for all of them, for each as it finishes, or for every change of a status.

    `await track(jobs)` returns the jobs in the order given; `async for job in track(jobs)` returns each as it finishes;
    `async for job in track(jobs).updates()` returns a job whenever its status has changed. Jobs given as `Job` are
    updated in place. It is also a coroutine: `create_task(track(jobs))`, `start_soon(track, jobs)`.

    One request asks for up to 100 jobs of the client whose queries are due, also for jobs that other tasks track. An
    outage does not end the wait, nor does a gateway that answers 404 in HTML. A job that failed is a result like any
    other, and an id that does not exist ends only its own wait. Cancelling the wait, or leaving the loop, does not
    touch the jobs. No request is sent between two steps of an iteration.

    Args:
        jobs: Jobs, job ids, or both.
        wait: Seconds between two queries, from 0 to 1e9; `"adaptive"` for what fits the age of each job, 5 to 640
            seconds, so that an end is noticed within a minute or 5 % of the age (of the recorded jobs, half within 4
            seconds, with a quarter of the requests); or a callable without arguments that returns a generator of
            seconds, such as `functools.partial(backoff.expo, max_value=60)`. Left out, the client's
            (`Client(polling=...)`): 60.
        retries: Most queries for each job, 1 or more. Left out, the client's: 4320, which take 3 days at 60 seconds.
        until: Statuses that end the wait for a job as well, such as `[JobStatus.RUNNING]`, also when it has passed them
            between two queries.
        stalled_after: Seconds without a new `status` or `updated`, counted from the first query of this wait, after
            which the wait for a job ends; None for never. RUNNING for a day is real, and one recorded job in six never
            ended.
        bar: Whether to show the number of jobs of each status: a live board in a terminal (needs
            `up42-async[progress]`), a table in a notebook, lines on standard error elsewhere.
        client: The client to use; else that of the jobs, else the current one.

    Raises:
        TypeError: An entry that is neither a job nor an id, or another argument of the wrong type.
        ValueError: An id that cannot stand in a path, an argument out of its range, or jobs of two clients.
        UnfinishedJob: (While waiting) the queries for a job are used up, it has stalled, or UP42 refuses to answer for
            it: with 404 for 5 minutes (for 10 seconds when only its id is known), or with 401 or 403 in two queries at
            least 10 seconds apart (at once when the credentials are wrong).
        RuntimeError: There is no client, or it was closed meanwhile; or `rich` is missing for a board in a terminal.
    """
    return JobTracker(
        jobs, wait=wait, retries=retries, until=until, stalled_after=stalled_after, bar=bar, client=client
    )


def _tracked_id(entry: Job | str) -> str:
    id_ = entry.id if isinstance(entry, Job) else entry
    segment(id_, "job id")
    return id_


def _common_client(entries: Iterable[Job | str]) -> Client | None:
    clients = {
        id(entry.client): entry.client for entry in entries if isinstance(entry, Job) and entry.client is not None
    }
    if len(clients) > 1:
        message = "the jobs have different clients; call track() for the jobs of each, or choose one with client="
        raise ValueError(message)
    return next(iter(clients.values()), None)
