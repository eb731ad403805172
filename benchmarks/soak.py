"""Ask, track and cancel for a while against a server that loses a tenth of its answers, and look for leaks.

    python -m benchmarks.soak [--seconds 45] [--client default] [--client user]

On each loop, with the default client and with an AsyncClient of the user's, 60 callers ask for jobs and track them, and
give up a tenth of what they began. It fails when memory grows by more than 2 MB after the first 10 seconds, when more
sockets are open than the client may have, or when anything is left at the end: sockets, tasks, slots, connections, or
an error that is none of the library's.
"""

import argparse
import gc
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final

import anyio
import httpx

import up42_async as up42
from benchmarks.meter import memory_now
from benchmarks.rounds import Server
from benchmarks.server import job_id
from benchmarks.soak_server import JOBS
from tests.chaos import leaks

CALLERS: Final = 60
CANCELLED: Final = 0.1
SETTLED: Final = 10.0
"""Seconds after which memory must not grow any more."""
MOST_GROWTH: Final = 2e6
LIMITS: Final = up42.Limits(requests_per_second=1e6, burst=10**6)
SPARE_SOCKETS: Final = 5
"""Sockets above the limit on requests: the login's, and those that are being closed."""
RETRY: Final = up42.RetryPolicy(wait_initial=0.01, wait_max=0.1, budget=10**6)
HTTP_CLIENTS: Final[dict[str, Callable[[], httpx.AsyncClient | None]]] = {
    "default": lambda: None,
    "user": lambda: httpx.AsyncClient(limits=httpx.Limits(max_connections=LIMITS.max_concurrency)),
}


class Soak:
    """One loop's run.

    Attributes:
        calls: How calls ended, and which errors of the library there were.
        growth: Bytes by which memory grew after it had settled, at the most.
        sockets: Sockets that were open at once, at the most.
        left: Sockets, tasks, slots and connections that are in use at the end.
    """

    def __init__(self, base: str, backend: str, seconds: float, client: str, *, settled: float = SETTLED) -> None:
        """Prepare a run.

        Args:
            base: Where the server is.
            backend: The loop.
            seconds: How long to go on.
            client: Which of the `HTTP_CLIENTS` to send with.
            settled: Seconds after which memory must not grow any more.
        """
        self._client = client
        self._settled = settled
        self.calls: Counter[str] = Counter()
        self.growth = self.sockets = self.left = 0
        self._endpoints = up42.Endpoints(api=base, auth=f"{base}/auth")
        self._backend = backend
        self._seconds = seconds
        self._end = 0.0

    async def run(self) -> None:
        """Run all tasks, and count what is left."""
        self._end = anyio.current_time() + self._seconds
        sockets, tasks = leaks.descriptors(), leaks.tasks()
        http_client = HTTP_CLIENTS[self._client]()
        async with up42.Client(
            "soak", "soak", endpoints=self._endpoints, limits=LIMITS, retry=RETRY, http_client=http_client
        ) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, sockets)
                for number in range(CALLERS):
                    group.start_soon(self._call_often, Random(number))  # noqa: S311 - no secret
            with anyio.fail_after(5):  # no connection of the pool is lost
                async with anyio.create_task_group() as group:
                    for number in range(LIMITS.max_concurrency):
                        group.start_soon(_succeed, number)
            self.left = leaks.in_use(client)
        if http_client is not None:
            await http_client.aclose()
        await anyio.sleep(0.05)  # for the loop to end what was cancelled last
        gc.collect()
        self.left += len(leaks.descriptors() - sockets) + leaks.tasks() - tasks

    async def _watch(self, before: frozenset[tuple[str, int]]) -> None:
        settled = self._end - self._seconds + self._settled
        least = 0
        while anyio.current_time() < self._end:
            await anyio.sleep(min(1.0, self._seconds / 20))
            self.sockets = max(self.sockets, len(leaks.descriptors() - before))
            if anyio.current_time() >= settled:
                least = least or memory_now()
                self.growth = max(self.growth, memory_now() - least)

    async def _call_often(self, dice: Random) -> None:
        while anyio.current_time() < self._end:
            patience = dice.random() * 0.05 if dice.random() < CANCELLED else 60
            with anyio.move_on_after(patience) as scope:
                try:
                    await _call(dice)
                except up42.Up42Error as error:
                    self.calls[type(error).__name__] += 1
            self.calls["cancelled" if scope.cancelled_caught else "ended"] += 1

    def problems(self) -> list[str]:
        """Return the leaks and failures that were found."""
        found = {
            f"memory grew by {self.growth / 1e6:.1f} MB": self.growth > MOST_GROWTH,
            f"{self.sockets} sockets were open": self.sockets > LIMITS.max_concurrency + SPARE_SOCKETS,
            f"{self.left} sockets, tasks, slots or connections were left": self.left != 0,
        }
        print(f"{self._backend}, {self._client} client: {dict(self.calls)}; " + "; ".join(found), flush=True)
        return [what for what, is_wrong in found.items() if is_wrong]


async def _succeed(number: int) -> None:
    """Get a job, again until it succeeds."""
    while True:
        try:
            await up42.Job.get(job_id(number))
        except up42.Up42Error:
            continue
        return


async def _call(dice: Random) -> Any:
    """Get a job, or track some that never end."""
    if dice.random() < 0.5:  # noqa: PLR2004 - one as often as the other
        return await up42.Job.get(job_id(dice.randrange(JOBS)))
    try:
        return await up42.track([job_id(dice.randrange(JOBS)) for _ in range(3)], wait=0.01, retries=3)
    except up42.UnfinishedJob:
        return None


def main() -> None:
    """Read the command line, and soak both loops with each client, one after the other."""
    parser = argparse.ArgumentParser(description="Look for what is left after a while of calls, faults and cancelling.")
    parser.add_argument("--seconds", type=float, default=45.0, help="for each loop, more than 10")
    parser.add_argument("--client", action="append", choices=[*HTTP_CLIENTS], help="which one to send with; both")
    options = parser.parse_args()
    seconds = max(options.seconds, SETTLED + 2.0)
    problems: list[str] = []
    for backend, client in itertools.product(("asyncio", "trio"), options.client or HTTP_CLIENTS):
        with Server("soak_server") as server:
            soak = Soak(server.base, backend, seconds, client)
            anyio.run(soak.run, backend=backend)
        problems += soak.problems()
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
