"""Find out what UP42 has against a template, and its price. What is known of a process is asked for once per client."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from up42_async import _clock
from up42_async._client import Client
from up42_async._errors import NotFoundError, StatusError, UnexpectedResponseError
from up42_async._http import urls
from up42_async._http.messages import ApiRequest
from up42_async._http.single_flight import SingleFlight
from up42_async._jobs.models import ValidationError
from up42_async._processing.cost import Cost, read_cost

T = TypeVar("T")

_BAD_REQUEST, _UNPROCESSABLE = 400, 422


@attrs.frozen(kw_only=True)
class Evaluation:
    """What UP42 says of some inputs."""

    errors: frozenset[ValidationError]
    """What it has against them."""
    cost: Cost | None
    """The price, None when there are errors."""


def process_request(
    method: str, process_id: str, step: str, inputs: Mapping[str, Any] | None, **more: Any
) -> ApiRequest:
    """Return a request about a process.

    Args:
        method: HTTP method.
        process_id: The process.
        step: What follows its id in the path, with a slash.
        inputs: Inputs to send, None for no body.
        more: Fields of the request.
    """
    path = f"/v2/processing/processes/{urls.segment(process_id, 'process_id')}{step}"
    body = None if inputs is None else {"inputs": inputs}
    return ApiRequest(method=method, path=path, json=body, **more)


async def evaluate_inputs(
    client: Client, process_id: str, inputs: Mapping[str, Any], *, since: float | None = None
) -> Evaluation:
    """Ask whether a process would run on some inputs, and for how much.

    Two requests, validation and price, and the first time two more for the process and its EULA; an invalid one is not
    priced.

    Args:
        client: Whom to ask with.
        process_id: The process.
        inputs: Its inputs.
        since: Monotonic time in seconds at which the caller began to ask; an objection to the process itself that was
            heard after it is not asked for again. None for now.

    Raises:
        APIError: UP42 could not be asked.
    """
    since = _clock.now() if since is None else since
    errors = await client._service(Processes).objections(process_id, since)
    errors = errors or await _validate(client, process_id, inputs)
    cost = None if errors else await _price(client, process_id, inputs)
    return Evaluation(errors=errors, cost=cost)


async def _validate(client: Client, process_id: str, inputs: Mapping[str, Any]) -> frozenset[ValidationError]:
    try:
        await client._session.call(process_request("POST", process_id, "/validation", inputs))
    except StatusError as error:
        found = _findings(error)
        if not found:
            raise
        return found
    return frozenset()


async def _price(client: Client, process_id: str, inputs: Mapping[str, Any]) -> Cost:
    request = process_request("POST", process_id, "/cost", inputs)
    return read_cost(await client._session.call(request), request)


def _findings(error: StatusError) -> frozenset[ValidationError]:
    """Read what validation has against the inputs; nothing when the refusal is none of validation."""
    payload = error.payload if isinstance(error.payload, dict) else {}
    if error.status == _BAD_REQUEST and isinstance(payload.get("schema-error"), str):
        return frozenset({ValidationError(name="InvalidSchema", message=payload["schema-error"])})
    entries = payload.get("errors")
    if error.status != _UNPROCESSABLE or not isinstance(entries, list):
        return frozenset()
    return frozenset(_finding(entry) for entry in entries)


def _finding(entry: Any) -> ValidationError:
    content = entry if isinstance(entry, dict) else {"message": entry}
    message = content.get("message", content.get("reason", ""))
    return ValidationError(name=str(content.get("name", "InvalidInput")), message=str(message))


class _Fact(Generic[T]):
    """An answer that is remembered: a good one for good, another one for those who began to ask before it came."""

    def __init__(self) -> None:
        self._flight = SingleFlight[T]()
        self._known: list[T] = []
        self._heard = float("-inf")

    async def get(self, ask: Callable[[], Awaitable[T]], *, good: Callable[[T], bool], since: float) -> T:
        if self._known and (good(self._known[0]) or self._heard > since):
            return self._known[0]
        answer = await self._flight.run(ask)
        self._known[:] = [answer]
        self._heard = _clock.now()
        return answer


@attrs.frozen(kw_only=True)
class _Description:
    """What matters of the description of a process."""

    exists: bool
    eula_id: str | None = None


class Processes:
    """What one client knows of processes: each is described once, and its EULA asked for until it is accepted."""

    def __init__(self, client: Client) -> None:
        """Know nothing yet."""
        self._client = client
        self._descriptions: dict[str, _Fact[_Description]] = {}
        self._acceptances: dict[str, _Fact[bool]] = {}

    def close(self) -> None:
        """Do nothing: nobody waits here for anything but the client."""

    async def objections(self, process_id: str, since: float) -> frozenset[ValidationError]:
        """Return what stands in the way of using a process at all; up to two requests.

        Args:
            process_id: The process.
            since: Monotonic time in seconds; an objection that was heard after it is not asked for again.

        Raises:
            APIError: UP42 could not be asked.
        """
        fact = self._descriptions.setdefault(process_id, _Fact())
        found = await fact.get(lambda: self._describe(process_id), good=lambda one: one.exists, since=since)
        if not found.exists:
            message = f"The process {process_id} does not exist."
            return frozenset({ValidationError(name="ProcessNotFound", message=message)})
        if found.eula_id is not None and not await self._is_accepted(found.eula_id, since):
            message = f"EULA for the process {process_id} not accepted."
            return frozenset({ValidationError(name="EulaNotAccepted", message=message)})
        return frozenset()

    async def _describe(self, process_id: str) -> _Description:
        try:
            answer = await self._client._session.call(process_request("GET", process_id, "", None))
        except NotFoundError:
            return _Description(exists=False)
        return _Description(exists=True, eula_id=_eula_id(answer))

    async def _is_accepted(self, eula_id: str, since: float) -> bool:
        fact = self._acceptances.setdefault(eula_id, _Fact())
        return await fact.get(lambda: self._ask_acceptance(eula_id), good=bool, since=since)

    async def _ask_acceptance(self, eula_id: str) -> bool:
        request = ApiRequest(method="GET", path=f"/v2/eulas/{urls.segment(eula_id, 'EULA id')}")
        answer = await self._client._session.call(request)
        accepted = answer.get("isAccepted") if isinstance(answer, dict) else None
        if not isinstance(accepted, bool):
            message = "an answer that does not say whether the EULA is accepted (`isAccepted`)"
            raise UnexpectedResponseError(message, request=str(request))
        return accepted


def _eula_id(answer: Any) -> str | None:
    """Find the EULA of a process in its description; not every process has one."""
    additional = answer.get("additionalParameters") if isinstance(answer, dict) else None
    parameters = additional.get("parameters") if isinstance(additional, dict) else None
    for parameter in parameters if isinstance(parameters, list) else ():
        if isinstance(parameter, dict) and parameter.get("name") == "eula-id":
            value = parameter.get("value")
            ids = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one]
            return ids[0] if ids else None
    return None
