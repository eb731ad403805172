"""Replay recorded jobs against schedules of polling, on a clock that jumps: requests, and how late ends are noticed.

    python -m benchmarks.polling

What is replayed is the library's own polling, without a network: each job alone, and many at once as tasks that track
one job each.
"""

import itertools
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import anyio
import attrs
from trio.testing import MockClock

from benchmarks.recorded_lives import ENDED, HUNG
from up42_async._config import Wait
from up42_async._jobs.poller import Give, Poller
from up42_async._jobs.polling_state import Phase, Subscription, Timings

DAY: Final = 86_400.0
SCHEDULES: Final[Sequence[Wait]] = (60, "adaptive")
CROWDS: Final = (1, 10, 100, 500, 2000, 10_000)
MAX_IDS: Final = 100


@attrs.define
class ReplayedJob:
    """A job that is under way until it has ended."""

    id: str = ""
    status: str = "running"
    updated: int = 0
    _known_age: float | None = None
    _settling_since: float | None = None

    @property
    def _phase(self) -> Phase:
        return Phase.FINISHED if self.status == "captured" else Phase.UNDER_WAY

    def _update(self, newer: "ReplayedJob", asked_at: float, settle: float) -> None:
        del asked_at, settle
        self.status = newer.status


@attrs.frozen
class Life:
    """When a job begins, and how long it lives; one that hangs is waited for during a day."""

    begins: float
    seconds: float
    hangs: bool = False


@attrs.define
class Replay:
    """What it cost to wait for some jobs, and how late their ends were noticed."""

    requests: int = 0
    delays: list[tuple[float, float]] = attrs.field(factory=list)
    """How many seconds after its end each job was noticed to have ended, and how long it had lived."""

    @property
    def median(self) -> float:
        """The median delay in seconds."""
        return statistics.median(delay for delay, _ in self.delays)

    @property
    def beyond(self) -> float:
        """Seconds by which the worst delay passed a minute or 5 % of the age, whichever is more; negative for none."""
        return max(delay - max(60, 0.05 * age) for delay, age in self.delays)


async def replay(lives: Sequence[Life], wait: Wait) -> Replay:
    """Let each job live, and a task of its own wait for it from its beginning on.

    Args:
        lives: The jobs.
        wait: The schedule.
    """
    found, start = Replay(), anyio.current_time()

    async def ask(ids: Sequence[str], give: Give[ReplayedJob]) -> None:
        found.requests += 1
        now = anyio.current_time() - start
        running, captured = ReplayedJob(status="running"), ReplayedJob(status="captured")
        ended = {id_: now - lives[int(id_)].begins >= lives[int(id_)].seconds for id_ in ids}
        give({id_: captured if has_ended else running for id_, has_ended in ended.items()})

    poller: Poller[ReplayedJob] = Poller(ask, MAX_IDS, timings=Timings())

    async def follow(number: int, life: Life) -> None:
        await anyio.sleep(life.begins)
        subscription = Subscription[Any]({str(number): None}, wait=wait, retries=10**6, timings=poller.timings)
        await poller.next_event(subscription, subscription.ended)
        if not life.hangs:
            found.delays.append((anyio.current_time() - start - life.begins - life.seconds, life.seconds))

    async with anyio.create_task_group() as group:
        for number, life in enumerate(lives):
            group.start_soon(follow, number, life)
    return found


async def each_alone(wait: Wait) -> Replay:
    """Replay every recorded job for itself; all that hang are alike."""
    whole = Replay()
    for seconds in ENDED:
        one = await replay([Life(0, seconds)], wait)
        whole.requests += one.requests
        whole.delays += one.delays
    hung = await replay([Life(0, DAY, hangs=True)], wait)
    whole.requests += HUNG * hung.requests
    return whole


def crowd(number: int, seed: int = 1) -> list[Life]:
    """Return jobs drawn from the recorded ones, all of which begin within a minute."""
    source = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret
    drawn: Iterable[float | None] = source.choices([*ENDED, *itertools.repeat(None, HUNG)], k=number)
    return [
        Life(source.uniform(0, 60), min(seconds or DAY, DAY), hangs=seconds is None or seconds > DAY)
        for seconds in drawn
    ]


def row(name: str, wait: Wait, found: Replay) -> str:
    """Return a line of the table."""
    delays = sorted(delay for delay, _ in found.delays)
    p90 = delays[int(0.9 * (len(delays) - 1))]
    return (
        f"| {name} | {wait} | {found.requests} | {found.median:.1f} | {p90:.1f} | {delays[-1]:.0f} |"
        f" {'yes' if found.beyond <= 0 else 'no'} |"
    )


def main() -> None:
    """Print the table."""

    def run(work: Callable[..., Any], *arguments: Any) -> Replay:
        clock = {"clock": MockClock(autojump_threshold=0)}
        found = anyio.run(work, *arguments, backend="trio", backend_options=clock)
        assert isinstance(found, Replay)  # noqa: S101 - a benchmark checks itself
        return found

    print("| jobs | wait | requests | median delay (s) | p90 | largest | within a minute or 5 % |")
    print("|---|---|---|---|---|---|---|")
    for wait in SCHEDULES:
        print(row("each alone", wait, run(each_alone, wait)))
    for number in CROWDS:
        for wait in SCHEDULES:
            print(row(f"{number} at once", wait, run(replay, crowd(number, seed=7), wait)))


if __name__ == "__main__":
    main()
