"""Whether processes can be executed: that they exist, and that their EULAs are accepted."""

from collections.abc import Mapping

import attrs

from up42_async._account.eulas import EulaCache
from up42_async._account.processes import PROCESSES, Process, read_process
from up42_async._client import Client
from up42_async._client.services import CachedCall
from up42_async._errors import NotFoundError
from up42_async._http.requests import ApiRequest, segment


@attrs.frozen(kw_only=True)
class ProcessState:
    """Whether a process can be executed."""

    exists: bool
    eula_id: str | None = None
    eula_accepted: bool = True
    """Whether its EULA is accepted, or there is none."""


class ProcessCache:
    """What one client knows of processes: each is described once."""

    def __init__(self, client: Client) -> None:
        """Keep what this client is told.

        Args:
            client: The client to ask with.
        """
        self._client = client
        self._eulas = client._service(EulaCache)
        self._descriptions: dict[str, CachedCall[Process | None]] = {}

    def close(self) -> None:
        """Do nothing: nobody waits here for anything but the client."""

    def counts(self) -> Mapping[str, int]:
        """Return nothing to count."""
        return {}

    async def state(self, process_id: str, since: float) -> ProcessState:
        """Return whether a process can be executed; up to two requests.

        Args:
            process_id: The process.
            since: Monotonic time in seconds; an objection that was heard after it is not asked for again.

        Raises:
            APIError: UP42 could not be asked.
        """
        described = self._descriptions.setdefault(process_id, CachedCall())
        process = await described.get(lambda: self._describe(process_id), keep=bool, since=since)
        if process is None:
            return ProcessState(exists=False)
        accepted = process.eula_id is None or await self._eulas.is_accepted(process.eula_id, since)
        return ProcessState(exists=True, eula_id=process.eula_id, eula_accepted=accepted)

    async def _describe(self, process_id: str) -> Process | None:
        request = ApiRequest(method="GET", path=f"{PROCESSES}/{segment(process_id, 'process_id')}")
        try:
            answer = await self._client._session.call(request)
        except NotFoundError:
            return None
        # what is odd here keeps nobody from evaluating: validation has the last word
        return read_process({**(answer if isinstance(answer, dict) else {}), "id": process_id}, request)
