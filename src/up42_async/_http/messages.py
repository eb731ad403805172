"""Requests and answers as values."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import attrs

from up42_async._errors import APIError


@attrs.frozen(kw_only=True)
class ApiRequest:
    """What to ask of the API: no host, no token, and whether it may be asked twice."""

    method: str
    path: str
    """Path below the API host, ids already quoted."""
    query: str = ""
    """Encoded query, without the question mark."""
    json: Any = attrs.field(default=None, repr=False)
    """Body, None for none."""
    idempotent: bool = True
    """Whether sending it twice changes nothing; an execution would be paid twice."""
    empty_ok: bool = False
    """Whether an answer without a body is one; else it is a proxy's, and the request is retried."""
    was_executed: Callable[[APIError], bool] | None = attrs.field(default=None, repr=False, eq=False)
    """Tells of a refusal whether it was executed all the same, so that it is not sent again."""
    host: Literal["api", "auth"] = "api"
    """Which of UP42's hosts to ask."""

    def __str__(self) -> str:
        """Return method and path, which is all that messages and logs say of a request."""
        return f"{self.method} {self.path}"

    @property
    def body(self) -> bytes | None:
        """The encoded body."""
        return None if self.json is None else json.dumps(self.json, allow_nan=False).encode()


@attrs.frozen(kw_only=True)
class ApiResponse:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Header names are in lower case."""
    body: bytes = attrs.field(repr=False)


@attrs.define(kw_only=True)
class SendState:
    """What is known of a request that must not be sent twice, while it is under way and ever after."""

    before_send: Callable[[], Awaitable[None]] | None = attrs.field(default=None, repr=False)
    """Awaited before each exchange begins; when it raises, nothing is sent, and its error is that of the call."""
    sent: bool = False
    """Whether bytes of it may have left, so that the server may act on it."""
    response: ApiResponse | None = None
    """The response, even when the caller was cancelled meanwhile."""
