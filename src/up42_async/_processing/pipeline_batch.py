"""The work of `pipeline`: each template passes its stages independently of the others, many at once."""

import contextlib
import json
import math
from collections import Counter
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Generic

import anyio
import attrs

from up42_async._bulk import MAX_CONCURRENT, BulkOperation, TaskGroup
from up42_async._client import Client, display
from up42_async._downloads.options import DownloadOptions
from up42_async._jobs.board import Board, BoardState
from up42_async._jobs.job import Job, UnfinishedJob
from up42_async._jobs.result_downloads import JobDownloads
from up42_async._processing import downloaded_files
from up42_async._processing.batch import checked_one
from up42_async._processing.executor import ExecutionResult, Executor
from up42_async._processing.journal import NO_RESULT
from up42_async._processing.journal_run import Place
from up42_async._processing.journal_start import noted
from up42_async._processing.recovery import ExecutionUncertainError
from up42_async._processing.rejection import raise_for_status
from up42_async._processing.template import TemplateT
from up42_async._storage.download_batch import ResultFile

BACKLOG: Final = 100
"""Templates beyond `max_running` that may be downloading, or whose results may be unread."""

JOBS_DOWNLOADED_AT_ONCE: Final = 20
"""Jobs whose files are looked up and fetched at once."""

STAGES: Final = ("waiting", "executing", "running", "downloading", "done", "failed", "uncertain")


@attrs.frozen(kw_only=True)
class PipelineResult(Generic[TemplateT]):
    """The result of one template."""

    template: TemplateT
    """The template that was given, not a copy."""
    job: Job | None = None
    """Its job; None when none was made, or it is not known."""
    files: tuple[ResultFile, ...] = ()
    """The files of its result, with those that were not downloaded."""
    error: Exception | None = None
    """Why it is not complete, None when it is: `JobFailedError`, `ExecutionUncertainError`, `CostLimitError`, the error
    of a file, `UnfinishedJob` for a job that is no longer tracked and goes on at UP42, or any other error."""

    def __repr__(self) -> str:
        """Return template, job, files and error in one line of at most 200 characters."""
        job = None if self.job is None else self.job.id
        values = [("template", str(self.template)), ("job", job), ("files", len(self.files))]
        return display.line("PipelineResult", [*values, ("error", display.error_words(self.error))])


@attrs.define(eq=False, repr=False)
class _State(Generic[TemplateT]):
    """One template in the pipeline."""

    position: int
    template: TemplateT
    client: Client
    place: Place | None
    stage: str = "executing"
    job: Job | None = None
    files: tuple[ResultFile, ...] = ()
    counted: int = 0
    """Credits that count as spent for the job."""

    def keep(self, result: ExecutionResult[TemplateT]) -> None:
        """Keep the job as soon as it was made."""
        self.job = result.job


class PipelineBatch(BulkOperation[TemplateT, PipelineResult[TemplateT]]):
    """Templates that are evaluated, executed, tracked and downloaded, see `pipeline`."""

    def __init__(
        self,
        templates: "Iterable[TemplateT] | AsyncIterable[TemplateT]",
        directory: Path | None,
        executor: Executor,
        options: DownloadOptions,
        client: Client | None,
        *,
        max_running: int | None,
        tracking: Mapping[str, Any],
        bar: bool,
    ) -> None:
        super().__init__(templates, "pipeline")
        self._directory = directory
        self._executor = executor
        self._options = options
        self._client = client
        self._tracking = tracking
        self._board = Board(self._board_state) if bar else None
        self._stages: Counter[str] = Counter(dict.fromkeys(STAGES, 0))
        self._executing = anyio.CapacityLimiter(MAX_CONCURRENT)
        self._running = anyio.CapacityLimiter(math.inf if max_running is None else max_running)
        self._held = anyio.CapacityLimiter(math.inf if max_running is None else max_running + BACKLOG)
        self._downloads = anyio.CapacityLimiter(JOBS_DOWNLOADED_AT_ONCE)
        self._taken: dict[int, tuple[Client, Place | None]] = {}
        self._clients: set[Client] = set()
        self._keeps_all = self._is_read = False

    @property
    def counts(self) -> dict[str, int]:
        """How many templates are at each stage: waiting, executing, running, downloading, done, failed, uncertain.

        `waiting` counts the templates of a list that were not taken yet, and is 0 for an iterator. A job that is no
        longer tracked (stalled, or its queries used up) counts as running.
        """
        return {**self._stages, "waiting": max(0, (self._source.size or 0) - self._source.taken)}

    @property
    def spent(self) -> int:
        """Credits of executions that made a job, are under way or uncertain; jobs without a result count nothing."""
        return self._executor.budget.spent

    async def _all(self) -> list[PipelineResult[TemplateT]]:
        self._keeps_all = True
        return await super()._all()

    async def __anext__(self) -> PipelineResult[TemplateT]:
        """Wait for the next result; a block keeps only those that have not been read.

        Raises:
            RuntimeError: The block was not entered.
            StopAsyncIteration: All results have been returned.
        """
        self._is_read = True
        return await super().__anext__()

    def _take(self, position: int) -> PipelineResult[TemplateT]:
        _release(self._held, position)
        return self._known[position] if self._keeps_all else self._known.pop(position)

    def _record(self, position: int, result: PipelineResult[TemplateT]) -> None:
        super()._record(position, result)
        if not self._is_read:  # the results are not iterated over, so no template waits for them to be read
            _release(self._held, position)

    async def _work_on_all(self) -> None:
        if self._board is None:
            await self._take_all()
        else:
            await self._board.during(self._take_all)

    async def _take_all(self) -> None:
        """Take one template after another, each when the limits allow it."""
        async with contextlib.AsyncExitStack() as stack, TaskGroup() as group:
            while True:
                for limiter in (self._held, self._executing, self._running):
                    await limiter.acquire_on_behalf_of(self._source.taken)
                if (found := await self._source.next()) is None:
                    return
                position, template = found
                try:
                    checked_one(template, "pipeline")
                    client = template._client_to_use(self._client)
                    if position == 0:
                        await stack.enter_async_context(self._executor.opened(client))
                    self._taken[position] = client, await self._executor.place(template, client)
                except Exception as error:  # noqa: BLE001 - raised when the templates before have ended
                    self._source.error = error
                    return
                self._clients.add(client)
                self._stages["executing"] += 1
                group.start_soon(self._work_on, position, template)

    async def _work_on(self, position: int, item: TemplateT) -> None:
        """Take one template from its evaluation to its files; an error is the result of this template only."""
        state = _State(position, item, *self._taken.pop(position))
        error: Exception | None = None
        try:
            job = await self._execute(state)
            await self._track(state, job)
            await self._download(state, job)
        except Exception as caught:  # noqa: BLE001 - it is the result of this template, beside those of the others
            error = caught
        except BaseException:  # the block was left: a job that was made is still a result
            if state.job is not None:
                self._finish(state, _unfinished(state.job))
            raise
        finally:
            for limiter in (self._running, self._executing):
                _release(limiter, position)
        self._finish(state, error)

    async def _execute(self, state: _State[TemplateT]) -> Job:
        executed = await self._executor.execute(state.template, state.client, place=state.place, keep=state.keep)
        state.counted = executed.counted
        _release(self._executing, state.position)
        return executed.job

    async def _track(self, state: _State[TemplateT], job: Job) -> None:
        """Wait for the end of the job, and let the next one begin."""
        self._move(state, "running")
        if not job.is_finished:
            await job.track(**self._tracking)
        if job.status in NO_RESULT:
            self._executor.budget.spend(-state.counted)  # before the next one asks whether there is enough
        _release(self._running, state.position)
        if self._executor.journal is not None:
            await noted(self._executor.journal.seen([job]))
        await raise_for_status(job, state.client)

    async def _download(self, state: _State[TemplateT], job: Job) -> None:
        """Download the files of the job, unless an earlier run has downloaded them and they are still on disk.

        Raises:
            Up42Error: A file was not downloaded; the others were.
        """
        if self._directory is None:
            return
        self._move(state, "downloading")
        options, place = self._options, state.place
        wanted = [str(self._directory.absolute()), options.keys, options.roles, options.media_types, options.unpack]
        selection = json.dumps(wanted, default=sorted)
        if place is not None:
            state.files = await downloaded_files.still_there(place.files(selection))
        if not state.files:
            async with self._downloads:
                batch = JobDownloads([job], self._directory, options, state.client, bar=False)
                state.files = tuple(await batch)
        for file in state.files:
            if file.error is not None:
                raise file.error
        if place is not None:
            await noted(place.downloaded(selection, await downloaded_files.described(state.files)))

    def _finish(self, state: _State[TemplateT], error: Exception | None) -> None:
        if not isinstance(error, UnfinishedJob):  # such a job goes on at UP42
            self._move(state, _stage_of(error))
        result = PipelineResult(template=state.template, job=state.job, files=state.files, error=error)
        self._record(state.position, result)

    def _move(self, state: _State[TemplateT], stage: str) -> None:
        self._stages[state.stage] -= 1
        self._stages[stage] += 1
        state.stage = stage
        self._announce()

    def _board_state(self) -> BoardState:
        counts = self.counts
        ended = counts["done"] + counts["failed"] + counts["uncertain"]
        requests = sum(client.statistics().requests for client in self._clients)
        shown = {stage: count for stage, count in counts.items() if count}
        return BoardState(counts=shown, ended=ended, total=sum(counts.values()), requests=requests)

    def __repr__(self) -> str:
        """Return how many templates are at each stage, in one line."""
        counts = ", ".join(f"{count} {stage}" for stage, count in self.counts.items() if count)
        return f"<PipelineBatch: {counts or 'no templates'}; {display.counted(self.spent, 'credit')} spent>"

    def _repr_html_(self) -> str:
        """Return how many templates are at each stage as a table, for notebooks."""
        return display.listing(
            f"{display.counted(self.spent, 'credit')} spent", ("stage", "templates"), list(self.counts.items())
        )


def _release(limiter: "anyio.CapacityLimiter", position: int) -> None:
    """Release the token that the template at a position holds of a limiter, unless it was released before."""
    with contextlib.suppress(RuntimeError):
        limiter.release_on_behalf_of(position)


def _unfinished(job: Job) -> UnfinishedJob:
    reason = "the pipeline was left"
    message = f"job {job.id}: {reason}; it goes on at UP42, and track() takes its id again"
    return UnfinishedJob(message, unfinished=[job], reasons={job.id: reason}, job=job)


def _stage_of(error: Exception | None) -> str:
    if error is None:
        return "done"
    return "uncertain" if isinstance(error, ExecutionUncertainError) else "failed"
