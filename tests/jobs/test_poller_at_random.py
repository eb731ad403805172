"""Callers that wait, leave, return and pause at random never hang, miss no event, and send no query too often."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import attrs
import backoff
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.jobs.test_poller import Life, PolledItem, PolledSubscription, StatusServer
from tests.virtual_time import virtual_backend
from up42_async._config import Wait
from up42_async._errors import ConnectionLostError, NotFoundError, ServerError
from up42_async._jobs.polling_state import PollState, QueryFailure, Timings

IDS = [f"n{n}" for n in range(8)]
LONGEST_INTERVAL = 60.0
LONGEST_ADAPTIVE = 640.0
MOST_QUESTIONS = 20_000
STATES = [
    "queued",
    "running",
    "perhaps",
    ServerError("down", transient=True),
    ConnectionLostError("broken"),
    NotFoundError("gone", status=404),
]
ENDS = ["done", "perhaps", "running"]


@attrs.frozen
class Step:
    """Wait for the next event for at most `patience` seconds, then pause for `pause` seconds."""

    patience: float
    pause: float


@attrs.frozen
class Caller:
    """A caller that waits for some ids."""

    joins_after: float
    ids: Sequence[str]
    wait: Wait
    retries: int
    wants_changes: bool
    steps: Sequence[Step]
    leaves: bool


def _life(spans: Sequence[tuple[float, Any]], end: str) -> Life:
    life: list[tuple[float, Any]] = []
    at = 0.0
    for length, state in spans:
        life.append((at, state))
        at += length
    return [*life, (at, end)]


seconds = st.sampled_from([0.0, 0.005, 0.2, 1.0, 4.0, 30.0, 61.0, 500.0])
lives = st.builds(
    _life,
    st.lists(st.tuples(st.sampled_from([0.5, 3.0, 20.0, 130.0]), st.sampled_from(STATES)), max_size=5),
    st.sampled_from(ENDS),
)
callers = st.builds(
    Caller,
    joins_after=seconds,
    ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True),
    wait=st.sampled_from([0, 0.2, 4, LONGEST_INTERVAL, "adaptive", partial(backoff.expo, max_value=LONGEST_INTERVAL)]),
    retries=st.sampled_from([1, 2, 3, 10, 100]),
    wants_changes=st.booleans(),
    steps=st.lists(st.builds(Step, patience=seconds, pause=seconds), max_size=6),
    leaves=st.booleans(),
)


class CountingServer(StatusServer):
    """Counts the answers, and fails when queries are sent without end."""

    def __init__(self, latency: float, lives: Sequence[Life]) -> None:
        super().__init__(latency, None, **dict(zip(IDS, lives, strict=True)))
        self.answers: Counter[str] = Counter()

    def answer(self, id_: str, now: float) -> PolledItem | QueryFailure:
        assert len(self.asked) < MOST_QUESTIONS
        self.answers[id_] += 1
        return super().answer(id_, now)


class CallerRun:
    """One run of a caller, and the events that it got."""

    def __init__(self, caller: Caller, server: CountingServer, disturbances: int) -> None:
        self.caller = caller
        self.latency = server.latency
        self.polled: PolledSubscription = server.watch(*caller.ids, wait=caller.wait, retries=caller.retries)
        self.events: list[tuple[str, str | None]] = []
        self.disturbances = disturbances

    async def act(self) -> None:
        await anyio.sleep(self.caller.joins_after)
        for step in self.caller.steps:
            with anyio.move_on_after(step.patience):
                await self.next_event()
            await anyio.sleep(step.pause)
        if not self.caller.leaves:
            with anyio.fail_after(self.time_it_may_take()):
                while await self.next_event():
                    pass

    async def next_event(self) -> bool:
        polled = self.polled
        watch = await (polled.next_changed() if self.caller.wants_changes else polled.next_ended())
        if watch is None:
            return False
        self.events.append((watch.id, watch.item.status if watch.item else None))
        return True

    def time_it_may_take(self) -> float:
        """Return the seconds that all queries may take if there is always a leader and it never sleeps too long.

        A query may have to wait for the answer to an earlier one. A leader that leaves during a query causes it to be
        sent again.
        """
        wait = self.caller.wait
        interval = LONGEST_INTERVAL
        if isinstance(wait, str):
            interval = LONGEST_ADAPTIVE
        elif not callable(wait):
            interval = max(1.5 * wait, Timings().settle + wait)
        return self.caller.retries * (interval + 2 * self.latency + 1) + self.disturbances * (self.latency + 1)

    def check(self, server: CountingServer, waited_for: Counter[str]) -> None:
        for watch in self.polled.states.values():
            assert watch.asked <= self.caller.retries
            assert watch.asked <= server.answers[watch.id]
            if waited_for[watch.id] == 1:
                assert watch.asked == server.answers[watch.id]
            if not self.caller.leaves:
                self.check_end(watch, server)
        if self.caller.wants_changes:
            return
        ended = [id_ for id_, _ in self.events]
        assert len(ended) == len(set(ended))
        assert self.caller.leaves or set(ended) == set(self.caller.ids)

    def check_end(self, watch: PollState[PolledItem], server: CountingServer) -> None:
        """Check that a wait ended with a last status, or with a reason that is true."""
        assert self.polled.is_over
        life = server.lives[watch.id]
        if watch.reason is None:
            assert watch.item is not None
            assert watch.item.status in {"done", "perhaps"}
            assert watch.item.status in {state for _, state in life}
        elif "not finished" in watch.reason:
            assert watch.asked == self.caller.retries
        else:
            assert watch.reason == "gone"
            assert watch.asked >= 2


async def run_callers(callers: Sequence[Caller], lives: Sequence[Life], latency: float) -> None:
    server = CountingServer(latency, lives)
    disturbances = sum(len(caller.steps) + 1 for caller in callers)
    runs = [CallerRun(caller, server, disturbances) for caller in callers]
    async with anyio.create_task_group() as group:
        for one in runs:
            group.start_soon(one.act)
    waited_for = Counter(id_ for caller in callers for id_ in caller.ids)
    for one in runs:
        one.check(server, waited_for)
    assert (server.in_flight, server.poller._leader, server.poller._waiting) == (0, None, {})


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@settings(max_examples=200)
@given(
    callers=st.lists(callers, min_size=1, max_size=6),
    lives=st.lists(lives, min_size=len(IDS), max_size=len(IDS)),
    latency=st.sampled_from([0.0, 0.05, 3.0, 30.0]),
)
@pytest.mark.slow
def test_no_caller_hangs_and_no_event_is_lost_or_query_sent_too_often(
    loop: str, callers: Sequence[Caller], lives: Sequence[Life], latency: float
) -> None:
    backend, options = virtual_backend(loop)
    anyio.run(run_callers, callers, lives, latency, backend=backend, backend_options=options)
