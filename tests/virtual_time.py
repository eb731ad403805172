"""A virtual clock for both event loops: days of waiting take milliseconds.

Mark a test with ``@pytest.mark.virtual_time`` (or a whole file with ``pytestmark = pytest.mark.virtual_time``) and its
clock stops while tasks run and jumps to the next deadline when all of them wait. ``anyio.current_time()`` returns the
virtual time, in seconds; each test has a new clock.

Do not use it with real sockets, subprocesses or threads: while a test waits for one of them, every task waits, so the
clock jumps past the next deadline. Use ``httpx.MockTransport`` instead.
"""

import asyncio
import selectors

from trio.testing import MockClock


class JumpingSelector(selectors.DefaultSelector):
    """Advance a virtual clock to the next deadline instead of sleeping until then."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, or advance the clock; really sleep only when there is no deadline."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on the clock of a `JumpingSelector`."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now


def virtual_backend(name: str) -> tuple[str, dict[str, object]]:
    """Return the ``anyio_backend`` value for this loop on a new virtual clock."""
    if name == "asyncio":
        return name, {"loop_factory": VirtualLoop}
    return name, {"clock": MockClock(autojump_threshold=0)}
