"""Decode the answers of UP42, and tell what a refusal means."""

import contextlib
import json
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

from up42_async._errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._http.dates import retry_after
from up42_async._http.messages import ApiRequest, ApiResponse
from up42_async._http.urls import printable


def _refuse_constant(word: str) -> None:
    message = f"{word} is not JSON"
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json(body: bytes) -> Any:
    """Decode JSON, strictly: no NaN, no Infinity.

    Raises:
        ValueError: It is not JSON.
    """
    with contextlib.suppress(ValueError, RecursionError):
        return _DECODER.decode(body.decode("utf-8"))
    # raised out here, since the decoder's own error holds the whole body and would come along as its context
    message = "not JSON"
    raise ValueError(message)


def decode(reply: ApiResponse, request: ApiRequest, *, secret: str = "") -> Any:
    """Return the JSON of an answer, or raise what the answer means.

    Args:
        reply: The answer.
        request: What was asked, for the error.
        secret: The password or token that was sent with it, which the error never repeats.

    Returns:
        The decoded body; None when it is empty.

    Raises:
        StatusError: The server refused; the subclass says in which way.
        UnexpectedResponseError: The answer is neither a refusal nor JSON.
    """
    if not 200 <= reply.status < 300:  # noqa: PLR2004 - the definition of success in HTTP
        raise refusal(reply, request, secret)
    if not reply.body:
        return None
    try:
        return parse_json(reply.body)
    except ValueError:
        kind = printable(reply.headers.get("content-type", "no content type").partition(";")[0], 80)
        message = f"status {reply.status} with a body that is not JSON ({len(reply.body)} bytes, {kind})"
        raise UnexpectedResponseError(message, request=str(request), transient=True) from None


def refusal(reply: ApiResponse, request: ApiRequest, secret: str = "") -> StatusError | UnexpectedResponseError:
    """Return the error that a status outside 200 to 299 stands for."""
    if reply.status < 400:  # noqa: PLR2004 - redirects and what else is neither success nor refusal
        host = _host_of(reply.headers.get("location", ""))
        message = f"status {reply.status} instead of an answer: a redirect to {host}, which was not followed"
        return UnexpectedResponseError(message, request=str(request))
    payload = _json_or_none(reply.body)
    code, detail = _reason(payload)
    if secret and _repeats(reply.body, secret):
        code, detail, payload = (code if code and code.isidentifier() else None), None, None
    kind = _KINDS.get(reply.status, ServerError if reply.status >= 500 else StatusError)  # noqa: PLR2004
    wait = retry_after(reply.headers)
    asks = None if wait is None else f"(the server asks to wait {wait:g} s)"
    words = " ".join(word for word in (_MEANINGS.get(reply.status), detail or code, asks) if word)
    return kind(
        f"status {reply.status}: {words}" if words else f"status {reply.status}",
        request=str(request),
        status=reply.status,
        code=code,
        detail=detail,
        payload=payload,
        retry_after=wait,
    )


_KINDS: Final = {401: AuthenticationError, 403: PermissionDeniedError, 404: NotFoundError, 429: RateLimitError}
_MEANINGS: Final = {
    401: "the token was not accepted, not even a new one.",
    403: "the account's plan or role does not allow this.",
    404: "no such thing, or not visible to this account.",
    429: "too many requests; try again later.",
}


def _host_of(location: str) -> str:
    try:
        return printable(urlsplit(location).hostname or ("the same host" if location else "nowhere"), 255)
    except ValueError:
        return "an unreadable address"


def _json_or_none(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:
        return None


def _reason(payload: Any) -> tuple[str | None, str | None]:
    """Take the server's words from the three shapes of error bodies that UP42 has, and Keycloak's own."""
    if not isinstance(payload, dict):
        return None, None
    inner = payload.get("error")
    source = inner if isinstance(inner, dict) else payload
    code = _first_text(source, "code", "title", "error")
    detail = _first_text(source, "detail", "message", "error_description", "schema-error", "title")
    return code, detail


def _repeats(body: bytes, secret: str) -> bool:
    """Return whether an answer holds what was sent with the request, as the error answers of some proxies do."""
    forms = {quote_plus(secret), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return any(form.encode() in body for form in forms)


def _first_text(source: dict[str, Any], *names: str) -> str | None:
    for name in names:
        value = source.get(name)
        if isinstance(value, str | int) and str(value).strip():
            return printable(str(value), 500)
    return None
