"""Some seconds of calls, faults and cancellations leak nothing; `nox -s soak` runs the same for longer."""

from collections.abc import Iterator

import anyio
import pytest

from benchmarks.rounds import Server
from benchmarks.soak import CALLERS, HTTP_CLIENTS, LIMITS, MOST_GROWTH, SPARE_SOCKETS, Soak

SECONDS = 4.0
SETTLED = 2.0

pytestmark = pytest.mark.chaos


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("soak_server") as server:
        yield server


@pytest.mark.parametrize("client", HTTP_CLIENTS)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_calls_faults_and_cancellation_leave_nothing_behind(server: Server, backend: str, client: str) -> None:
    soak = Soak(server.base, backend, SECONDS, client, settled=SETTLED)
    anyio.run(soak.run, backend=backend)
    if soak.calls["ended"] <= CALLERS:  # a busy machine made too few calls: run again for longer
        soak = Soak(server.base, backend, 5 * SECONDS, client, settled=SETTLED)
        anyio.run(soak.run, backend=backend)
    assert set(soak.calls) <= {"ended", "cancelled", "ConnectionLostError", "ServerError", "UnexpectedResponseError"}
    assert (soak.calls["ended"] > CALLERS, soak.calls["cancelled"] > 0) == (True, True)
    assert soak.left == 0
    assert 0 < soak.sockets <= LIMITS.max_concurrency + SPARE_SOCKETS
    assert soak.growth <= MOST_GROWTH
    assert soak.problems() == []


def test_problems_names_what_a_soak_left() -> None:
    soak = Soak("http://localhost", "trio", SECONDS, "default")
    soak.growth, soak.sockets, soak.left = 3_000_000, 26, 1
    assert soak.problems() == [
        "memory grew by 3.0 MB",
        "26 sockets were open",
        "1 sockets, tasks, slots or connections were left",
    ]
