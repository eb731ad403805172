"""Wait for many jobs: all of them, each as it finishes, or every change on the way."""

from collections import Counter
from collections.abc import AsyncIterable, Iterable

from up42_async import _display
from up42_async._bulk import AsCoroutine
from up42_async._client import Client, current_client
from up42_async._config import Wait
from up42_async._http.requests import segment
from up42_async._jobs.job import Job, JobPoller, UnfinishedJob
from up42_async._jobs.models import JobStatus
from up42_async._jobs.poller import Waiting
from up42_async._jobs.polling_state import PollState


class JobTracker(AsCoroutine[list[Job]]):
    """Jobs that are waited for.

    `await` it for the list of all jobs in the order given; iterate over it with `async for` for each job as it
    finishes, or over `updates()` for every change of a status. All three go on where the last one stopped, and nothing
    happens between two steps. `finished`, `unfinished` and `counts` tell at any moment what is known, also after an
    error or a cancellation.
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
        """Check what is to be waited for; see `track` for the arguments.

        Raises:
            RuntimeError: A board is wanted in a terminal, and `rich` is not installed; or there is no client.
            TypeError: Something that is no job and no id, or a schedule of the wrong type.
            ValueError: An id that cannot be one, a schedule that cannot be right, or jobs of two clients.
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
            JobPoller,
            known,
            wait=wait,
            retries=retries,
            until=until,
            stalled_after=stalled_after,
            bar=bar,
        )

    def _note(self, entry: Job | str, known: dict[str, Job | None]) -> None:
        """Note what to wait for: of several objects for one job the first is watched, the others go along with it."""
        id_ = _tracked_id(entry)
        job = known.get(id_)
        if job is None:
            known[id_] = entry if isinstance(entry, Job) else None
        elif isinstance(entry, Job) and entry is not job:
            self._duplicates.setdefault(id_, []).append(entry)

    @property
    def finished(self) -> list[Job]:
        """The jobs whose wait has come to its end: finished, or as far as `until` says; in the order given."""
        states = self._waiting.states.values()
        return [state.item for state in states if state.item is not None and not state.is_open and not state.reason]

    @property
    def unfinished(self) -> list[Job | str]:
        """The others, by id where nothing else is known: `track()` takes them as they are."""
        states = self._waiting.states.values()
        return [state.item or state.id for state in states if state.is_open or state.reason]

    @property
    def counts(self) -> Counter[str]:
        """How many jobs have each status, `"unknown"` for those known by their id only."""
        return self._waiting.counts()

    def __repr__(self) -> str:
        """Return how far the jobs are, in one line of at most 200 characters."""
        return _display.line("JobTracker", [("jobs", len(self._waiting.states)), *self._rows()])

    def _repr_html_(self) -> str:
        """Return how far the jobs are as a table, for notebooks."""
        return _display.table(self._rows())

    def _rows(self) -> list[tuple[str, int]]:
        return [("finished", len(self.finished)), *self.counts.most_common()]

    async def _all(self) -> list[Job]:
        """Wait for all jobs, and return them in the order given.

        Raises:
            UnfinishedJob: Some of them are not finished, and their wait has ended.
            RuntimeError: The client was closed meanwhile.
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
            UnfinishedJob: All jobs that could finish have been returned, and others are left.
            RuntimeError: The client was closed meanwhile.
            StopAsyncIteration: All jobs have been returned.
        """
        while (state := await self._waiting.next_ended()) is not None:
            self._bring_up_to_date(state)
            if state.reason is None and state.item is not None:
                return state.item
        self._check_finished()
        raise StopAsyncIteration

    def updates(self) -> "StatusUpdates":
        """Iterate over every change of a status, the first sight of a job given by its id included.

        Yields the job in its new state. The iteration ends when all jobs are finished, and raises as the others do.
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
        """Let all objects for one job have its newest state."""
        if state.item is not None:
            for duplicate in self._duplicates.get(state.id, ()):
                duplicate._follow(state.item)

    def _job(self, entry: Job | str) -> Job | None:
        return entry if isinstance(entry, Job) else self._waiting.states[entry].item

    def _check_finished(self) -> None:
        """Say which jobs are left.

        Raises:
            UnfinishedJob: Some are.
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
    """Every change of a status of some jobs that are waited for."""

    def __init__(self, tracker: JobTracker) -> None:
        """Iterate over the changes that a tracker hears of."""
        self._tracker = tracker

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
    """Wait until jobs are finished: all of them, each as it finishes, or every change on the way.

    `await track(jobs)` returns the jobs in the order given; `async for job in track(jobs)` returns each as it finishes;
    `async for job in track(jobs).updates()` returns a job whenever its status has changed. Jobs given as `Job` are
    updated in place. It is a coroutine wherever one is wanted: `create_task(track(jobs))`, `start_soon(track, jobs)`.

    All jobs of a client that are due are asked for together, whoever waits for them: one request for 100 jobs. An
    outage does not end the wait (nor does a gateway that answers 404 in HTML), a job that failed is a result like any
    other, and one bad id does not spoil the others. Cancelling the wait, or leaving the loop, does not touch the jobs;
    nothing is asked between two steps of the iteration.

    Args:
        jobs: Jobs, or job ids, or some of both.
        wait: Seconds between two queries, from 0 to 1e9; `"adaptive"` for what fits the age of each job, 5 to 640
            seconds, so that an end is noticed within a minute or 5 % of the age (half of the recorded jobs within 4
            seconds, with a quarter of the requests); or a callable without arguments that returns a generator of
            seconds, such as `functools.partial(backoff.expo, max_value=60)`. Left out, the client's
            (`Client(polling=...)`): 60.
        retries: How often to ask for each job at the most, 1 or more. Left out, the client's: 4320, with 60 seconds in
            between 3 days.
        until: Statuses that end the wait for a job as well, such as `[JobStatus.RUNNING]`, also when it has passed them
            between two queries.
        stalled_after: Seconds without a new `status` or `updated`, counted from the first query of this wait, after
            which the wait for a job ends; None for never. RUNNING for a day is real, and one recorded job in six never
            ended.
        bar: Whether to show how many jobs there are of each status: a live board in a terminal (needs
            `up42-async[progress]`), a table in a notebook, lines on standard error elsewhere.
        client: The client to use; else the one the jobs came from, else the current one.

    Raises:
        TypeError: Something that is no job and no id, or a schedule of the wrong type.
        ValueError: An id that cannot be one, a schedule that cannot be right, or jobs of two clients.
        UnfinishedJob: (While waiting) the queries for a job are used up, it has stalled, or UP42 refuses to answer for
            it for some time: 404 for 5 minutes, where its id is all that is known of it 10 seconds; 401 or 403.
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
        message = (
            "the jobs came from different clients; track those of each client apart, or say which one with client="
        )
        raise ValueError(message)
    return next(iter(clients.values()), None)
