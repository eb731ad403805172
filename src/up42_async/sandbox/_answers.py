"""Answers: JSON, and the error bodies of the platform's services."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import escape

from starlette.responses import Response

JSON = "application/json"
PROBLEM = "application/problem+json"
XML = "application/xml; charset=UTF-8"


class Refused(Exception):
    """Ends a request with an answer; `_app` sends it.

    Args:
        response: The answer.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class BadQuery(Exception):
    """Something in a query or a search is wrong; `_app` answers with it.

    Args:
        detail: The message of the answer.
        status: The HTTP status of the answer.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


def phrase(status: int) -> str:
    """Return the standard words for a status, or plain ones for others that were seen (499, 524, 542)."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Error"


def json_bytes(body: Any) -> bytes:
    """Encode a body as compactly as the platform does."""
    return json.dumps(body, separators=(",", ":")).encode()


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return Response(json_bytes(body), status, headers, JSON)


def wrapped_body(status: int, message: str) -> bytes:
    """Return an error as the gateway writes it: data and error."""
    return json_bytes({"data": None, "error": {"code": status, "message": message, "details": None}})


def problem_body(status: int, detail: str, **more: Any) -> bytes:
    """Return an error as processing writes it: RFC 9457."""
    return json_bytes({"type": "about:blank", "title": phrase(status), "status": status, "detail": detail, **more})


def plain_body(status: int, message: str) -> bytes:
    """Return an error as the other services write it: code, message and details."""
    return json_bytes({"code": status, "message": message, "details": {}})


def xml_body(code: str, message: str, details: str = "") -> bytes:
    """Return an error as Google's storage writes it."""
    more = f"<Details>{escape(details)}</Details>" if details else ""
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>{more}</Error>"
    return f"<?xml version='1.0' encoding='UTF-8'?>{error}".encode()


def gateway_error(status: int, message: str) -> Response:
    """Answer as the gateway in front of everything does."""
    return Response(wrapped_body(status, message), status, media_type=JSON)


def problem(status: int, detail: str, **more: Any) -> Response:
    """Answer as processing does."""
    return Response(problem_body(status, detail, **more), status, media_type=PROBLEM)


def plain_error(status: int, message: str) -> Response:
    """Answer as the other services do."""
    return Response(plain_body(status, message), status, media_type=JSON)
