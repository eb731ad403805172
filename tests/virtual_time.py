"""Run days of waiting in milliseconds, on both loops.

Mark a test with ``@pytest.mark.virtual_time`` (or a whole file with ``pytestmark = pytest.mark.virtual_time``) and its
clock stands still while tasks work and jumps to the next deadline when all of them wait. ``anyio.current_time()`` tells
the virtual time, in seconds; it starts anew for each test.

Real sockets, subprocesses and threads do not mix with it: while one of them is being waited for, every task waits, and
the clock jumps over whatever deadline comes next. Use ``httpx.MockTransport`` there.
"""

import asyncio
import selectors

from trio.testing import MockClock


class JumpingSelector(selectors.DefaultSelector):
    """Move a clock of its own to the next deadline instead of sleeping until then."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, or jump; sleep for real only when there is no deadline at all."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Tell the time of the selector that jumps."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now


def virtual_backend(name: str) -> tuple[str, dict[str, object]]:
    """Return the ``anyio_backend`` value for this loop on a virtual clock of its own."""
    if name == "asyncio":
        return name, {"loop_factory": VirtualLoop}
    return name, {"clock": MockClock(autojump_threshold=0)}
