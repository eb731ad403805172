"""Templates on their way to files: each through its own stages, as many at once as there is room for."""

import contextlib
import json
import math
from collections import Counter, deque
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Generic

import anyio
import attrs

from up42_async import _display
from up42_async._bulk import MAX_CONCURRENT, BulkOperation, TaskGroup
from up42_async._client import Client
from up42_async._downloads.options import DownloadOptions
from up42_async._jobs.board import Board, BoardState
from up42_async._jobs.job import Job, UnfinishedJob
from up42_async._jobs.result_downloads import JobDownloads
from up42_async._processing import brought_files
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
"""Templates beyond `max_running` that may wait for their files, or for their result to be read."""

JOBS_DOWNLOADED_AT_ONCE: Final = 20
"""Jobs whose files are looked up and fetched at once."""

STAGES: Final = ("waiting", "executing", "running", "downloading", "done", "failed", "uncertain")


@attrs.frozen(kw_only=True)
class PipelineResult(Generic[TemplateT]):
    """What came of one template."""

    template: TemplateT
    """The template, the very object that was given."""
    job: Job | None = None
    """Its job; None when none was made, or it is not known."""
    files: tuple[ResultFile, ...] = ()
    """The files of its result, those that did not come included."""
    error: Exception | None = None
    """Why it is not complete; None when all of it is: for one `JobFailedError`, `UnfinishedJob` for a job that is left
    to itself and goes on at UP42, `ExecutionUncertainError`, `CostLimitError`, or the error of a file."""

    def __repr__(self) -> str:
        """Return what came of it, in one line of at most 200 characters."""
        job = None if self.job is None else self.job.id
        values = [("template", str(self.template)), ("job", job), ("files", len(self.files))]
        return _display.line("PipelineResult", [*values, ("error", _display.error_words(self.error))])


@attrs.define(eq=False, repr=False)
class _Passage(Generic[TemplateT]):
    """One template on its way."""

    position: int
    template: TemplateT
    client: Client
    place: Place | None
    stage: str = "executing"
    job: Job | None = None
    files: tuple[ResultFile, ...] = ()
    counted: int = 0
    """Credits that count as spent for its job."""
    slots: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack)
    """Its place among the jobs that are under way at UP42."""


class PipelineBatch(BulkOperation[TemplateT, PipelineResult[TemplateT]]):
    """Templates on their way to files, see `pipeline`."""

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
        self._passages: dict[int, _Passage[TemplateT]] = {}
        self._clients: set[Client] = set()
        self._unread_positions: deque[int] = deque()
        self._keeps_all = self._is_read = False

    @property
    def counts(self) -> dict[str, int]:
        """How many templates are at each stage: waiting, executing, running, downloading, done, failed, uncertain.

        `waiting` are those of a list that have not begun; of an iterator it is not known how many there are. A job that
        was left to itself (stalled, or its queries used up) counts as running.
        """
        return {**self._stages, "waiting": max(0, (self._source.size or 0) - self._source.taken)}

    @property
    def spent(self) -> int:
        """Credits of what is bought, under way or uncertain, less what ended without a result; see `Journal.spent`."""
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
        result = await super().__anext__()
        position = self._unread_positions.popleft()
        if not self._keeps_all:
            del self._known[position]
        self._let_go(position)
        return result

    def _record(self, position: int, result: PipelineResult[TemplateT]) -> None:
        self._unread_positions.append(position)
        super()._record(position, result)
        if not self._is_read:  # nobody reads in step with the work, so nothing waits for it
            self._let_go(position)

    def _let_go(self, position: int) -> None:
        """Make room for another template among those that are held in memory."""
        with contextlib.suppress(RuntimeError):  # it was made before
            self._held.release_on_behalf_of(position)

    async def _work_on_all(self) -> None:
        if self._board is None:
            await self._take_all()
        else:
            await self._board.during(self._take_all)

    async def _take_all(self) -> None:
        """Take template after template, as fast as places become free."""
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
                    place = await self._executor.place(template, client)
                    passage = _Passage(position, template, client, place)
                except Exception as error:  # noqa: BLE001 - raised when those before have come to their end
                    self._source.error = error
                    return
                passage.slots.callback(self._running.release_on_behalf_of, position)
                self._clients.add(client)
                self._stages["executing"] += 1
                self._passages[position] = passage
                group.start_soon(self._work_on, position, template)

    async def _work_on(self, position: int, item: TemplateT) -> None:
        """Bring one template from its evaluation to its files; whatever goes wrong is its result, and only its own."""
        passage = self._passages.pop(position)
        error: Exception | None = None
        try:
            job = await self._execute(passage, item)
            await self._track(passage, job)
            await self._download(passage, job)
        except Exception as caught:  # noqa: BLE001 - it is the result of this template, beside those of the others
            error = caught
        except BaseException:  # the block was left: what has a job keeps it
            if passage.job is not None:
                self._finish(passage, _left(passage.job))
            raise
        finally:
            passage.slots.close()
            with contextlib.suppress(RuntimeError):  # it is given up when the template is executed
                self._executing.release_on_behalf_of(passage.position)
        self._finish(passage, error)

    async def _execute(self, passage: _Passage[TemplateT], template: TemplateT) -> Job:
        def keep(result: ExecutionResult[TemplateT]) -> None:
            passage.job = result.job

        executed = await self._executor.execute(template, passage.client, place=passage.place, keep=keep)
        passage.job, passage.counted = executed.job, executed.counted
        self._executing.release_on_behalf_of(passage.position)
        return executed.job

    async def _track(self, passage: _Passage[TemplateT], job: Job) -> None:
        """Wait for the end of the job, and make room for the next one."""
        self._move(passage, "running")
        if not job.is_finished:
            await job.track(**self._tracking)
        if job.status in NO_RESULT:
            self._executor.budget.give_back(passage.counted)  # before the next one asks whether there is enough
        passage.slots.close()
        if self._executor.journal is not None:
            await noted(self._executor.journal.seen([job]))
        await raise_for_status(job, passage.client)

    async def _download(self, passage: _Passage[TemplateT], job: Job) -> None:
        """Bring the files of the job, unless an earlier run has brought them and they are still there.

        Raises:
            Up42Error: A file did not come; the others did.
        """
        if self._directory is None:
            return
        self._move(passage, "downloading")
        options, place = self._options, passage.place
        wanted = [str(self._directory.absolute()), options.keys, options.roles, options.media_types, options.unpack]
        selection = json.dumps(wanted, default=sorted)
        if place is not None:
            passage.files = await brought_files.still_there(place.files(selection))
        if not passage.files:
            async with self._downloads:
                batch = JobDownloads([job], self._directory, options, passage.client, bar=False)
                passage.files = tuple(await batch)
        for file in passage.files:
            if file.error is not None:
                raise file.error
        if place is not None:
            await noted(place.brought(selection, await brought_files.described(passage.files)))

    def _finish(self, passage: _Passage[TemplateT], error: Exception | None) -> None:
        if not isinstance(error, UnfinishedJob):  # such a job goes on at UP42
            self._move(passage, _stage_of(error))
        result = PipelineResult(template=passage.template, job=passage.job, files=passage.files, error=error)
        self._record(passage.position, result)

    def _move(self, passage: _Passage[TemplateT], stage: str) -> None:
        self._stages[passage.stage] -= 1
        self._stages[stage] += 1
        passage.stage = stage
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
        return f"<PipelineBatch: {counts or 'no templates'}; {self.spent:,} credits spent>"

    def _repr_html_(self) -> str:
        """Return how many templates are at each stage as a table, for notebooks."""
        return _display.listing(f"{self.spent:,} credits spent", ("stage", "templates"), list(self.counts.items()))


def _left(job: Job) -> UnfinishedJob:
    reason = "the pipeline was left"
    message = f"job {job.id}: {reason}; it goes on at UP42, and track() takes its id again"
    return UnfinishedJob(message, unfinished=[job], reasons={job.id: reason}, job=job)


def _stage_of(error: Exception | None) -> str:
    if error is None:
        return "done"
    return "uncertain" if isinstance(error, ExecutionUncertainError) else "failed"
