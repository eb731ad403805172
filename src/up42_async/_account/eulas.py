"""Whether the account has accepted an EULA; an acceptance is remembered, since it is final."""

from up42_async._client import Client
from up42_async._client.services import CachedCall, Service
from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest, answered_segment


class EulaCache(Service):
    """The EULAs of one client: each is asked for until it is accepted."""

    def __init__(self, client: Client) -> None:
        """Ask for nothing yet.

        Args:
            client: The client to ask with.
        """
        self._client = client
        self._acceptances: dict[str, CachedCall[bool]] = {}

    async def is_accepted(self, eula_id: str, since: float) -> bool:
        """Return whether the account has accepted an EULA; one request unless it is known to be accepted.

        Args:
            eula_id: Its id, as UP42 sent it.
            since: Monotonic time in seconds; when it was not accepted after this time, it is not asked for again.

        Raises:
            APIError: UP42 could not be asked.
        """
        accepted = self._acceptances.setdefault(eula_id, CachedCall())
        return await accepted.get(lambda: self._ask(eula_id), keep=bool, since=since)

    async def _ask(self, eula_id: str) -> bool:
        described = ApiRequest(method="GET", path="/v2/processing/processes")
        request = ApiRequest(method="GET", path=f"/v2/eulas/{answered_segment(eula_id, 'EULA id', described)}")
        answer = await self._client._session.call(request)
        accepted = answer.get("isAccepted") if isinstance(answer, dict) else None
        if not isinstance(accepted, bool):
            message = f"an answer that does not say whether the EULA {eula_id} is accepted (`isAccepted`)"
            raise UnexpectedResponseError(message, request=str(request))
        return accepted
