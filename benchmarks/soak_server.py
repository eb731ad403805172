"""A server for the soak: that of the benchmarks, which loses a tenth of its answers in every way there is.

python -m benchmarks.soak_server
"""

import asyncio
from random import Random
from typing import Final

from benchmarks.server import Connection, World, serve

JOBS: Final = 600
LATENCY: Final = 0.005
_LATE: Final = 0.3
_TROUBLES: Final = ("reset", "close", "cut", "refuse", "late")
_EACH: Final = 0.02
"""Share of the answers that each trouble meets."""
_REFUSAL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class TroubledConnection(Connection):
    """A connection that may end before, in or instead of an answer."""

    dice = Random(1)  # noqa: S311 - no secret

    def write(self, answer: bytes) -> None:
        """Send an answer, a part of it, or nothing."""
        draw = int(self.dice.random() / _EACH)
        trouble = _TROUBLES[draw] if draw < len(_TROUBLES) else None
        if self.transport is None or trouble is None:
            super().write(answer)
        elif trouble == "reset":
            self.transport.abort()
        elif trouble == "late":
            asyncio.get_running_loop().call_later(_LATE, super().write, answer)
        else:
            super().write({"close": b"", "cut": answer[: len(answer) // 2], "refuse": _REFUSAL}[trouble])
            if trouble != "refuse":
                self.transport.close()


def main() -> None:
    """Serve jobs that never end."""
    world = World(page_default=50, page_max=1000)
    world.set_jobs(JOBS, [float("inf")] * JOBS)
    asyncio.run(serve(0, lambda: TroubledConnection(world, LATENCY), ""))


if __name__ == "__main__":
    main()
