"""What UP42 has against a template, and its price. What is known of a process is asked for once per client."""

from collections.abc import Mapping
from typing import Any

import attrs

from up42_async import _clock
from up42_async._account.processes import ProcessCache
from up42_async._client import Client
from up42_async._errors import StatusError, Up42Error
from up42_async._jobs.models import ValidationError
from up42_async._processing.cost import Cost, read_cost
from up42_async._processing.execution import process_request

_BAD_REQUEST, _UNPROCESSABLE = 400, 422


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Evaluation:
    """What UP42 says of some inputs."""

    errors: frozenset[ValidationError]
    """What it has against them."""
    cost: Cost | None
    """The price, None when there are errors."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Evaluated:
    """An evaluation, and what it holds for."""

    inputs: Mapping[str, Any]
    client: Client | None
    evaluation: Evaluation
    asked_at: float
    """When the price was asked (monotonic, in seconds)."""


class InvalidTemplateError(Up42Error):
    """UP42 has something against a template, so nothing was sent.

    Attributes:
        errors: What it has against it.
    """

    def __init__(self, message: str, *, errors: frozenset[ValidationError] = frozenset()) -> None:
        """Say what is wrong with which template."""
        super().__init__(message)
        self.errors: set[ValidationError] = set(errors)


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
    errors = await _objections(client, process_id, since)
    errors = errors or await _validate(client, process_id, inputs)
    cost = None if errors else await ask_price(client, process_id, inputs)
    return Evaluation(errors=errors, cost=cost)


async def _validate(client: Client, process_id: str, inputs: Mapping[str, Any]) -> frozenset[ValidationError]:
    try:
        await client._session.call(process_request(process_id, "validation", inputs, empty_ok=True))
    except StatusError as error:
        found = _findings(error)
        if not found:
            raise
        return found
    return frozenset()


async def ask_price(client: Client, process_id: str, inputs: Mapping[str, Any]) -> Cost:
    """Ask for a price, with one request.

    Args:
        client: Whom to ask with.
        process_id: The process.
        inputs: Its inputs, which are valid.

    Raises:
        APIError: UP42 could not be asked.
    """
    request = process_request(process_id, "cost", inputs)
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


async def _objections(client: Client, process_id: str, since: float) -> frozenset[ValidationError]:
    """Return what stands in the way of using a process at all, in the official SDK's words; up to two requests."""
    process = await client._service(ProcessCache).find(process_id, since)
    if process is None:
        message = f"The process {process_id} does not exist."
        return frozenset({ValidationError(name="ProcessNotFound", message=message)})
    if process.eula_accepted is False:
        message = f"EULA for the process {process_id} not accepted. Accept EULA {process.eula_id} in the UP42 console."
        return frozenset({ValidationError(name="EulaNotAccepted", message=message)})
    return frozenset()
