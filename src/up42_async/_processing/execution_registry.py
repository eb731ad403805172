"""Keep identical executions apart: one at a time, and no job for two of them."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio
import attrs

from up42_async import _clock
from up42_async._client import Client

T = TypeVar("T")

REMEMBERED: Final = 86_400.0
"""Seconds a job that was handed out is remembered for."""


class Claims:
    """What one client has to know so that no job is taken for two executions."""

    def __init__(self, client: Client) -> None:
        """Know nothing yet."""
        del client
        self.closing = anyio.Event()
        self._turns: dict[str, _Turn] = {}
        self._handed_out: dict[str, float] = {}

    def close(self) -> None:
        """End the searches: the client is closing."""
        self.closing.set()

    async def in_turn(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Let identical executions through one at a time, others freely.

        Args:
            key: What is the same for identical executions.
            work: What to do when its turn has come.
        """
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                return await work()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]

    def claim(self, job_id: str) -> None:
        """Note that somebody has been told of a job; no execution lasts so long that it would need claims of old."""
        now = _clock.now()
        for old in list(itertools.takewhile(lambda one: self._handed_out[one] < now - REMEMBERED, self._handed_out)):
            del self._handed_out[old]
        self._handed_out[job_id] = now

    def is_free(self, job_id: str) -> bool:
        """Return whether nobody has been told of a job yet."""
        return job_id not in self._handed_out


@attrs.define
class _Turn:
    """One kind of identical executions, while there are any."""

    lock: anyio.Lock = attrs.field(factory=anyio.Lock)
    users: int = 0
