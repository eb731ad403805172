"""Validate and price the inputs of a process. The process itself is asked for once per client."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attrs

from up42_async import _clock
from up42_async._account.processes import ProcessCache
from up42_async._client import Client
from up42_async._errors import StatusError, Up42Error
from up42_async._jobs.models import ValidationError
from up42_async._processing.cost import Cost, read_cost
from up42_async._processing.execution import process_request


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Evaluation:
    """The errors and the price of some inputs."""

    inputs: Mapping[str, Any]
    """The inputs that were evaluated."""
    client: Client | None
    """The client that asked; None in a copy of a template."""
    errors: frozenset[ValidationError]
    """Why UP42 does not accept the inputs; empty when it does."""
    cost: Cost | None
    """The price, None when there are errors."""
    asked_at: float
    """When the price was asked (monotonic, in seconds)."""


class InvalidTemplateError(Up42Error):
    """UP42 does not accept a template, so it was not executed.

    Attributes:
        errors: Why it is not accepted.
    """

    def __init__(self, message: str, *, errors: frozenset[ValidationError] = frozenset()) -> None:
        """Store the message and the errors."""
        super().__init__(message)
        self.errors: set[ValidationError] = set(errors)


async def evaluate_inputs(client: Client, process_id: str, inputs: Mapping[str, Any], *, since: float) -> Evaluation:
    """Ask whether UP42 accepts inputs for a process, and for their price.

    One request for the validation and one for the price of valid inputs; the first time up to two more, for the process
    and its EULA.

    Args:
        client: The client to ask with.
        process_id: The process.
        inputs: Its inputs.
        since: Monotonic time in seconds at which the caller began. That the process is missing, or its EULA not
            accepted, is not asked again when it became known after this time.

    Raises:
        APIError: UP42 could not be asked.
    """
    errors = await _process_errors(client, process_id, since)
    errors = errors or await _validation_errors(client, process_id, inputs)
    cost = None if errors else await ask_price(client, process_id, inputs)
    return Evaluation(inputs=inputs, client=client, errors=errors, cost=cost, asked_at=_clock.now())


async def _validation_errors(client: Client, process_id: str, inputs: Mapping[str, Any]) -> frozenset[ValidationError]:
    """Return why the inputs are not valid; one request."""
    try:
        await client._session.call(process_request(process_id, "validation", inputs, empty_ok=True))
    except StatusError as error:
        errors = _read_errors(error)
        if not errors:
            raise
        return errors
    return frozenset()


async def ask_price(client: Client, process_id: str, inputs: Mapping[str, Any]) -> Cost:
    """Ask for a price, with one request.

    Args:
        client: The client to ask with.
        process_id: The process.
        inputs: Valid inputs of the process.

    Raises:
        APIError: UP42 could not be asked.
    """
    request = process_request(process_id, "cost", inputs)
    return read_cost(await client._session.call(request), request)


def _read_errors(error: StatusError) -> frozenset[ValidationError]:
    """Read the validation errors from a 400 or 422; none when the status or the body has another cause."""
    payload = error.payload if isinstance(error.payload, dict) else {}
    if error.status == HTTPStatus.BAD_REQUEST and isinstance(payload.get("schema-error"), str):
        return frozenset({ValidationError(name="InvalidSchema", message=payload["schema-error"])})
    entries = payload.get("errors")
    if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or not isinstance(entries, list):
        return frozenset()
    return frozenset(_read_error(entry) for entry in entries)


def _read_error(entry: Any) -> ValidationError:
    content = entry if isinstance(entry, dict) else {"message": entry}
    message = content.get("message", content.get("reason", ""))
    return ValidationError(name=str(content.get("name", "InvalidInput")), message=str(message))


async def _process_errors(client: Client, process_id: str, since: float) -> frozenset[ValidationError]:
    """Return why the account cannot use a process, in the words of UP42's own SDK; up to two requests."""
    process = await client._service(ProcessCache).find(process_id, since)
    if process is None:
        message = f"The process {process_id} does not exist."
        return frozenset({ValidationError(name="ProcessNotFound", message=message)})
    if process.eula_accepted is False:
        message = f"EULA for the process {process_id} not accepted. Accept EULA {process.eula_id} in the UP42 console."
        return frozenset({ValidationError(name="EulaNotAccepted", message=message)})
    return frozenset()
