"""Keep equal executions apart: one at a time, and no job for two of them, in the whole process."""

import contextlib
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import anyio

from up42_async import _clock
from up42_async._client import Client
from up42_async._client.services import Service

MOST_TAKEN: Final = 10_000
"""Jobs that are remembered as taken: the newest ones. A lost job is looked for among those of the last minute or so."""

OTHER_LOOP_PAUSE: Final = 0.05
"""Seconds between two looks whether an equal execution in another event loop of the process has ended."""


def execution_key(process_id: str, workspace_id: str | None, inputs: Mapping[str, Any]) -> str:
    """Return what equal executions have in common, as 64 hexadecimal digits.

    Args:
        process_id: The process.
        workspace_id: The workspace.
        inputs: The inputs, as JSON has them.
    """
    text = json.dumps([process_id, workspace_id, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class TakenJobs:
    """The jobs that an execution of this process was told of, whichever client sent it.

    The ids of jobs are unique at their API host, so it does not matter which account they are of.
    """

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()  # clients of several event loops run in several threads

    def claim(self, api: str, job_id: str) -> None:
        """Note that an execution was told of a job at an API host."""
        with self._lock:
            self._taken[api, job_id] = None
            self._taken.move_to_end((api, job_id))
            while len(self._taken) > MOST_TAKEN:
                self._taken.popitem(last=False)

    def is_free(self, api: str, job_id: str) -> bool:
        """Return whether no execution was told of a job yet."""
        with self._lock:
            return (api, job_id) not in self._taken

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._taken.clear()


class KeyedLock:
    """A lock for each key: in the order of asking within an event loop, and for all loops of the process."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncGenerator[None]:
        """Hold the lock of a key.

        Args:
            key: What only one at a time may be busy with.
        """
        local = (key, anyio.lowlevel.current_token())
        turn = self._turns.setdefault(local, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                while not self._take(key):
                    await _clock.sleep(OTHER_LOOP_PAUSE)
                try:
                    yield
                finally:
                    self._held.discard(key)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[local]

    def _take(self, key: str) -> bool:
        with self._lock:
            if key in self._held:
                return False
            self._held.add(key)
            return True


class _Turn:
    """Those in one event loop who want one key, while there are any."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.users = 0


TAKEN_JOBS: Final = TakenJobs()
LOCKS: Final = KeyedLock()
"""Of the whole process: what a client knows is not enough where several clients use one account."""


class ExecutionRegistry(Service):
    """What executions of one client have to know of those of all clients of the process: no job counts twice."""

    def __init__(self, client: Client) -> None:
        self.closing = anyio.Event()
        self.spent = 0
        """Credits of what was, or may have been, executed with this client."""
        self._api = client._session.api

    def close(self) -> None:
        """End the searches for lost jobs: the client is closing."""
        self.closing.set()

    def counts(self) -> Mapping[str, int]:
        """Return the credits that this client has spent, or may have."""
        return {"spent": self.spent}

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """Return a block that lets equal executions through one at a time, others freely.

        Args:
            key: What equal executions have in common.
        """
        return LOCKS.hold(f"{self._api} {key}")

    def claim(self, job_id: str) -> None:
        """Note that an execution was told of a job."""
        TAKEN_JOBS.claim(self._api, job_id)

    def is_free(self, job_id: str) -> bool:
        """Return whether no execution of this process was told of a job yet."""
        return TAKEN_JOBS.is_free(self._api, job_id)
