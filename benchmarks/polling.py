"""Replay recorded jobs against schedules of polling, in virtual time: requests, and how late ends are noticed.

    python -m benchmarks.polling

What is replayed is the library's own polling, without a network: each job alone, and many at once as tasks that track
one job each.
"""

import itertools
import random
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import anyio
import attrs
from trio.testing import MockClock

from benchmarks.findings import Findings, Table, Target, at_most
from benchmarks.recorded_lives import ENDED, HUNG
from benchmarks.scale import FULL, Scale
from up42_async._config import Wait
from up42_async._jobs.poller import Poller
from up42_async._jobs.polling_state import AnswerCallback, Phase, Subscription, Timings

DAY: Final = 86_400.0
SCHEDULES: Final[Sequence[Wait]] = (60, "adaptive")
ALONE: Final = "each alone"
DELAY_BOUNDS: Final = {ALONE: 1 / 6, "500 at once": 1 / 4}
"""What the median delay may be at the most, times that of 60 s."""
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

    def _update(self, newer: Any, asked_at: float, settle: float) -> None:
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
    """The requests for tracking some jobs, and how late their ends were noticed."""

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
    """Run each job, and track it in a task of its own from its creation.

    Args:
        lives: The jobs.
        wait: The schedule.
    """
    found, start = Replay(), anyio.current_time()

    async def ask(ids: Sequence[str], give: AnswerCallback[Any]) -> None:
        found.requests += 1
        now = anyio.current_time() - start
        running, captured = ReplayedJob(status="running"), ReplayedJob(status="captured")
        ended = {id_: now - lives[int(id_)].begins >= lives[int(id_)].seconds for id_ in ids}
        give({id_: captured if has_ended else running for id_, has_ended in ended.items()})

    poller: Poller[Any] = Poller(ask, MAX_IDS, timings=Timings())

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
    """Replay every recorded job alone; one stands for all that hang."""
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


def row(name: str, wait: Wait, found: Replay) -> list[str]:
    """Return a line of the table."""
    delays = sorted(delay for delay, _ in found.delays)
    p90 = delays[int(0.9 * (len(delays) - 1))]
    within = "yes" if found.beyond <= 0 else "no"
    return [name, str(wait), f"{found.requests:,}", f"{found.median:.1f}", f"{p90:.1f}", f"{delays[-1]:.0f}", within]


def compared(name: str, fixed: Replay, adaptive: Replay) -> list[Target]:
    """Compare the two schedules with the targets."""
    delay, requests = adaptive.median / fixed.median, adaptive.requests / fixed.requests
    beyond = Target(
        what=f'{name}: seconds by which the worst delay with "adaptive" passes a minute or 5 % of the age',
        bound="at most 0",
        seen=f"{adaptive.beyond:.0f}",
        met=adaptive.beyond <= 0,
        why="",
    )
    return [
        at_most(f"{name}: median delay, times that of 60 s", DELAY_BOUNDS[name], [delay]),
        at_most(f"{name}: requests, times those of 60 s", 1 / 2, [requests]),
        beyond,
    ]


def measure(scale: Scale) -> Findings:
    """Replay the recorded jobs, each alone and some at once."""
    works: dict[str, Callable[[Wait], Awaitable[Replay]]] = {ALONE: each_alone}
    for number in scale.polled:
        works[f"{number:,} at once"] = partial(replay, crowd(number, seed=7))
    rows: list[list[str]] = []
    targets: list[Target] = []
    for name, work in works.items():
        fixed, adaptive = [
            anyio.run(work, wait, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
            for wait in SCHEDULES
        ]
        rows += [row(name, wait, found) for wait, found in zip(SCHEDULES, (fixed, adaptive), strict=True)]
        if name in DELAY_BOUNDS:
            targets += compared(name, fixed, adaptive)
    columns = ["jobs", "wait", "requests", "delay, median (s)", "90 %", "largest", "within a minute or 5 % of the age"]
    return Findings(
        title="Polling fitted to what jobs do",
        how=(
            "432 recorded jobs are replayed against the library's own polling on a clock that jumps: each alone, and"
            " many at once, drawn from them and started within a minute, each tracked by a task of its own. Those that"
            " hang are waited for during a day. The delay is the time from the end of a job to our notice."
        ),
        tables=[Table(caption='`wait="adaptive"` against `wait=60`', columns=columns, rows=rows)],
        targets=targets,
        facts={},
    )


def main() -> None:
    """Print the table."""
    findings = measure(FULL)
    (table,) = findings["tables"]
    for cells in (table["columns"], ["---"] * len(table["columns"]), *table["rows"]):
        print(f"| {' | '.join(cells)} |")
    for target in findings["targets"]:
        print(f"{'met' if target['met'] else 'MISSED'}: {target['what']}: {target['seen']} ({target['bound']})")


if __name__ == "__main__":
    main()
