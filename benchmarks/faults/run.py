"""One loop: its sandbox in another process, its clients in this one, and at the end the ledger."""

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
from benchmarks.faults import leaks
from benchmarks.faults.books import Books, LogReader, Moment
from benchmarks.faults.buying import Buyer, look_up
from benchmarks.faults.callers import Caller
from benchmarks.faults.desk import Desk
from benchmarks.faults.fetching import Fetcher
from benchmarks.faults.following import Follower, Lister
from benchmarks.faults.plan import Plan
from benchmarks.faults.platform import Address, Platform, Truth
from benchmarks.faults.reading import Reader

BUYERS: Final = 24
LISTERS: Final = 2
READERS: Final = 6
FOLLOWERS: Final = 5
FETCHERS: Final = 4
"""Of each client."""

PEACE: Final = 150.0
"""Seconds after the troubles in which everything that is under way must come to its end.

An execution whose answer was lost is looked for for a minute, and its twin is only then sent; its job takes up to half
a minute, settles, and has files to fetch.
"""
STEP: Final = 1.0
"""Seconds between two looks at what is known."""

MEASURABLE: Final = 30.0
"""Seconds below which memory still grows for other reasons than leaks: modules, caches, buffers."""

TIMEOUTS: Final = up42.Timeouts(connect=1.0, read=1.5, write=1.5, pool=2.0, total=4.0, cancel_grace=2.0)
RETRY: Final = up42.RetryPolicy(wait_initial=0.1, wait_max=2.0, timeout=15.0, max_retry_after=2.0, budget=300)
LIMITS: Final = up42.Limits(requests_per_second=200.0, burst=100)
"""More impatient than the defaults, so that more goes wrong in the same time."""


@attrs.frozen(kw_only=True)
class Leaks:
    """What was still held when everything was over."""

    descriptors: int
    tasks: int
    in_use: int
    objects: dict[str, int]
    """Objects of the library that are still alive, by type."""
    memory: int
    """Bytes by which memory grew between the second and the last quarter of the troubles."""


@attrs.frozen(kw_only=True)
class Outcome:
    """Both sides' books of one run."""

    backend: str
    plan: Plan
    books: Books
    truth: Truth
    leaks: Leaks
    left: int
    """Jobs that were not brought to their end in time."""
    requests: int
    """Requests that the clients say they sent."""
    seconds: float


def run(backend: str, plan: Plan) -> Outcome:
    """Run one loop, and return both sides' books.

    Args:
        backend: `"asyncio"` or `"trio"`.
        plan: What goes wrong.
    """
    books = Books()
    reader, logger = LogReader(books), logging.getLogger("up42_async")
    logger.addHandler(reader)
    logger.propagate = False  # thousands of warnings, all of which are expected
    try:
        with Platform(plan) as platform, tempfile.TemporaryDirectory() as folder:
            address = platform.address()
            before, alive = leaks.descriptors(), leaks.objects()
            clients = Clients(backend, plan, address, books, Path(folder))
            anyio.run(clients.run, backend=backend)
            books.under_way.clear()  # what is left in it, when time was up, cannot go to another process
            after, left_alive = leaks.descriptors(), leaks.objects() - alive
            for directory in Path(folder).iterdir():
                books.look_into(directory)  # once more, now that nothing is under way
            return Outcome(
                backend=backend,
                plan=plan,
                books=books,
                truth=platform.truth(),
                leaks=Leaks(
                    descriptors=after - before,
                    tasks=clients.tasks,
                    in_use=clients.in_use,
                    objects=dict(left_alive),
                    memory=growth(books.moments, plan.seconds),
                ),
                left=clients.left,
                requests=clients.requests,
                seconds=address.now(),
            )
    finally:
        logger.propagate = True
        logger.removeHandler(reader)


class Clients:
    """The clients of one loop, and everybody who uses them."""

    def __init__(self, backend: str, plan: Plan, address: Address, books: Books, folder: Path) -> None:
        """Start nothing yet.

        Args:
            backend: The loop.
            plan: What goes wrong.
            address: How to reach the sandbox.
            books: Where to note everything.
            folder: Where results go.
        """
        self.tasks = self.in_use = self.left = self.requests = 0
        self._backend = backend
        self._plan = plan
        self._address = address
        self._books = books
        self._folder = folder

    async def run(self) -> None:
        """Do everything, bring it to its end, and count what is left."""
        before = leaks.tasks(self._backend)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._client()) for _ in range(self._plan.clients)]
            desks = [Desk(client, self._books, self._folder) for client in clients]
            with anyio.move_on_after(self._plan.seconds + PEACE):
                await self._work(desks)
            self.left = sum(desk.left for desk in desks)
            self.requests = sum(client.statistics().requests for client in clients)
            self.in_use = sum(leaks.in_use(client) for client in clients)
        await anyio.sleep(0.05)  # for the loop to end what was cancelled last
        self.tasks = leaks.tasks(self._backend) - before

    def _client(self) -> up42.Client:
        endpoints = up42.Endpoints(api=self._address.api, auth=self._address.auth)
        return up42.Client(
            self._address.username,
            self._address.password,
            endpoints=endpoints,
            timeouts=TIMEOUTS,
            retry=RETRY,
            limits=LIMITS,
        )

    async def _work(self, desks: list[Desk]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, desks)
            for number, desk in enumerate(desks):
                group.start_soon(self._serve, number, desk)

    async def _watch(self, desks: list[Desk]) -> None:
        while not all(desk.is_done for desk in desks):
            books = self._books
            moment = Moment(
                moment=self._address.now(),
                known=books.number_known(),
                finished=len(books.finished),
                memory=leaks.memory(),
            )
            books.moments.append(moment)
            await anyio.sleep(STEP)

    async def _serve(self, number: int, desk: Desk) -> None:
        """Let everybody work who uses one client, and close its desk when nothing new can come."""
        async with anyio.create_task_group() as everybody:
            for position in range(FOLLOWERS):
                follower = Follower(self._caller(f"follower {number}.{position}"), desk)
                everybody.start_soon(_repeat, follower.follow, lambda: desk.is_done)
            for position in range(FETCHERS):
                fetcher = Fetcher(self._caller(f"fetcher {number}.{position}"), desk)
                everybody.start_soon(_repeat, fetcher.fetch, lambda: desk.is_done)
            await self._shop(number, desk)
            desk.is_closed = True

    async def _shop(self, number: int, desk: Desk) -> None:
        async with anyio.create_task_group() as shoppers:
            for position in range(BUYERS):
                caller = self._caller(f"buyer {number}.{position}")
                buyer = Buyer(f"{self._backend} {number}.{position}", caller, desk, self._address.api)
                shoppers.start_soon(_repeat, buyer.buy, self._is_over)
            for position in range(LISTERS):
                lister = Lister(self._caller(f"lister {number}.{position}"), desk)
                shoppers.start_soon(_repeat, lister.list_all, self._is_over)
            for position in range(READERS):
                reader = Reader(self._caller(f"reader {number}.{position}"), desk)
                shoppers.start_soon(_repeat, reader.read, self._is_over)
        await _insist(partial(look_up, desk), Random(number))  # noqa: S311 - no secret

    def _caller(self, name: str) -> Caller:
        return Caller(self._plan.seed, f"{self._backend} {name}", self._backend, self._books)

    def _is_over(self) -> bool:
        return self._address.now() >= self._plan.seconds


async def _repeat(work: Callable[[], Awaitable[None]], is_over: Callable[[], bool]) -> None:
    while not is_over():
        await work()


async def _insist(work: Callable[[], Awaitable[None]], dice: Random) -> None:
    """Do something until it works; the troubles are over, but what they left behind may still be felt."""
    while True:
        try:
            await work()
        except up42.Up42Error:
            await anyio.sleep(dice.random())
        else:
            return


def growth(moments: list[Moment], seconds: float) -> int:
    """Return by how many bytes memory grew between the second and the last quarter of the troubles.

    Args:
        moments: What was seen.
        seconds: How long the troubles lasted; nothing can be said of less than half a minute.
    """
    early = [one.memory for one in moments if seconds / 4 <= one.moment < seconds / 2]
    late = [one.memory for one in moments if seconds * 3 / 4 <= one.moment < seconds]
    return min(late) - min(early) if seconds >= MEASURABLE else 0
