"""A run on one event loop: the sandbox in another process, the clients in this one, and the records of both."""

import logging
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import anyio
import attrs

import up42_async as up42
from tests.chaos import leaks
from tests.chaos.callers import Caller
from tests.chaos.client_state import ClientState, LogReader, Moment
from tests.chaos.downloading import Downloader
from tests.chaos.executing import Executor, look_up
from tests.chaos.plan import Plan
from tests.chaos.platform import Address, Platform, ServerState
from tests.chaos.reading import Reader
from tests.chaos.tracking import JobFollower, Lister
from tests.chaos.worker import Worker

LISTERS: Final = 2
READERS: Final = 6
FOLLOWERS: Final = 5
DOWNLOADERS: Final = 4
"""Number of tasks of each kind, for each client."""

CALM: Final = 150.0
"""Seconds after the faults in which all running work must be completed.

The client looks for the job of a lost response for a minute, and sends an equal execution only after that; its job
takes up to half a minute, settles, and has files to download.
"""
STEP: Final = 1.0
"""Seconds between two records of the clients' counts."""

MEASURABLE: Final = 30.0
"""Shortest run whose growth of memory is checked, in seconds: at first modules, caches and buffers grow too."""

TIMEOUTS: Final = up42.Timeouts(connect=1.0, read=1.5, write=1.5, pool=2.0, total=4.0, cancel_grace=2.0)
RETRY: Final = up42.RetryPolicy(wait_initial=0.1, wait_max=2.0, timeout=15.0, max_retry_after=2.0, budget=300)
LIMITS: Final = up42.Limits(requests_per_second=200.0, burst=100)
"""Shorter timeouts and waits than the defaults, so that more faults happen in the same time."""


@attrs.frozen(kw_only=True)
class Leaks:
    """What was not released at the end."""

    descriptors: int
    tasks: int
    in_use: int
    objects: dict[str, int]
    """Objects of the library that are still alive, by type."""
    memory: int
    """Bytes by which memory grew between the second and the last quarter of the faults."""


@attrs.frozen(kw_only=True)
class Outcome:
    """The records of both sides at the end of one run."""

    backend: str
    plan: Plan
    state: ClientState
    server: ServerState
    leaks: Leaks
    left: int
    """Jobs that were not brought to their end in time."""
    requests: int
    """Requests that the clients say they sent."""
    seconds: float


def run(backend: str, plan: Plan) -> Outcome:
    """Run one loop, and return what both sides know.

    Args:
        backend: `"asyncio"` or `"trio"`.
        plan: What goes wrong.
    """
    state = ClientState()
    reader, logger = LogReader(state), logging.getLogger("up42_async")
    logger.addHandler(reader)
    logger.propagate = False  # thousands of warnings, all of which are expected
    try:
        with Platform(plan) as platform, tempfile.TemporaryDirectory() as folder:
            address = platform.address()
            before, alive = leaks.descriptors(), leaks.objects()
            clients = Clients(backend, plan, address, state, Path(folder))
            anyio.run(clients.run, backend=backend)
            state.under_way.clear()  # batches that were cut off by the time limit cannot be pickled
            after, left_alive = leaks.descriptors(), leaks.objects() - alive
            for directory in Path(folder).iterdir():
                state.look_into(directory)  # once more, now that no download is running
            return Outcome(
                backend=backend,
                plan=plan,
                state=state,
                server=platform.state(),
                leaks=Leaks(
                    descriptors=len(after - before),
                    tasks=clients.tasks,
                    in_use=clients.in_use,
                    objects=dict(left_alive),
                    memory=growth(state.moments, plan.seconds),
                ),
                left=clients.left,
                requests=clients.requests,
                seconds=address.now(),
            )
    finally:
        logger.propagate = True
        logger.removeHandler(reader)


class Clients:
    """The clients of one event loop, and the tasks that use them.

    Args:
        backend: The event loop.
        plan: The faults and the numbers of clients and tasks.
        address: The address of the sandbox.
        state: The clients' records.
        folder: The directory of the downloads.
    """

    def __init__(self, backend: str, plan: Plan, address: Address, state: ClientState, folder: Path) -> None:
        self.tasks = self.in_use = self.left = self.requests = 0
        self._backend = backend
        self._plan = plan
        self._address = address
        self._state = state
        self._folder = folder

    async def run(self) -> None:
        """Run all tasks, wait for the end of all jobs, and count what was not released."""
        before = leaks.tasks()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._client()) for _ in range(self._plan.clients)]
            workers = [Worker(client, self._state, self._folder) for client in clients]
            with anyio.move_on_after(self._plan.seconds + CALM):
                await self._work(workers)
            self.left = sum(worker.left for worker in workers)
            self.requests = sum(client.statistics().requests for client in clients)
            self.in_use = sum(leaks.in_use(client) for client in clients)
        await anyio.sleep(0.05)  # lets tasks end that were cancelled last
        self.tasks = leaks.tasks() - before

    def _client(self) -> up42.Client:
        endpoints = up42.Endpoints(api=self._address.api, auth=self._address.auth)
        return up42.Client(
            self._address.username,
            self._address.password,
            endpoints=endpoints,
            timeouts=TIMEOUTS,
            retry=RETRY,
            limits=LIMITS,
            polling=self._plan.polling,
        )

    async def _work(self, workers: list[Worker]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, workers)
            for number, worker in enumerate(workers):
                group.start_soon(self._serve, number, worker)

    async def _watch(self, workers: list[Worker]) -> None:
        while not all(worker.is_done for worker in workers):
            state = self._state
            moment = Moment(
                moment=self._address.now(),
                known=state.number_known(),
                finished=len(state.finished),
                memory=leaks.memory(),
            )
            state.moments.append(moment)
            await anyio.sleep(STEP)

    async def _serve(self, number: int, worker: Worker) -> None:
        """Run the tasks that use one client, and close its worker when there are no new jobs."""
        async with anyio.create_task_group() as everybody:
            for position in range(FOLLOWERS):
                follower = JobFollower(self._caller(f"follower {number}.{position}"), worker)
                everybody.start_soon(_repeat, follower.follow, lambda: worker.is_done)
            for position in range(DOWNLOADERS):
                downloader = Downloader(self._caller(f"downloader {number}.{position}"), worker)
                everybody.start_soon(_repeat, downloader.fetch, lambda: worker.is_done)
            await self._shop(number, worker)
            worker.is_closed = True

    async def _shop(self, number: int, worker: Worker) -> None:
        async with anyio.create_task_group() as shoppers:
            for position in range(self._plan.executors):
                caller = self._caller(f"executor {number}.{position}")
                executor = Executor(f"{self._backend} {number}.{position}", caller, worker, self._address.api)
                shoppers.start_soon(_repeat, executor.execute, self._is_over)
            for position in range(LISTERS):
                lister = Lister(self._caller(f"lister {number}.{position}"), worker)
                shoppers.start_soon(_repeat, lister.list_all, self._is_over)
            for position in range(READERS):
                reader = Reader(self._caller(f"reader {number}.{position}"), worker)
                shoppers.start_soon(_repeat, reader.read, self._is_over)
        await _insist(partial(look_up, worker), Random(number))  # noqa: S311 - no secret

    def _caller(self, name: str) -> Caller:
        return Caller(self._plan.seed, f"{self._backend} {name}", self._backend, self._state)

    def _is_over(self) -> bool:
        return self._address.now() >= self._plan.seconds


async def _repeat(work: Callable[[], Awaitable[None]], is_over: Callable[[], bool]) -> None:
    while not is_over():
        await work()


async def _insist(work: Callable[[], Awaitable[None]], dice: Random) -> None:
    """Repeat a call until it succeeds: the faults are over, but their effects may last."""
    while True:
        try:
            await work()
        except up42.Up42Error:
            await anyio.sleep(dice.random())
        else:
            return


def growth(moments: list[Moment], seconds: float) -> int:
    """Return by how many bytes memory grew between the second and the last quarter of the faults.

    Args:
        moments: The clients' records over time.
        seconds: How long the faults lasted; 0 is returned for less than half a minute.
    """
    early = [one.memory for one in moments if seconds / 4 <= one.moment < seconds / 2]
    late = [one.memory for one in moments if seconds * 3 / 4 <= one.moment < seconds]
    return min(late) - min(early) if seconds >= MEASURABLE else 0
