"""Faults of gateways and proxies in front of the platform, and faults around other faults."""

import json
from typing import Literal
from urllib.parse import parse_qs

import attrs

from up42_async.sandbox import _answers
from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Delivery, Exchange, Reply, reply_of
from up42_async.sandbox._fault_kinds_answers import html_page, retry_after
from up42_async.sandbox._fault_kinds_wire import Kind, past_http
from up42_async.sandbox._routes_auth import REALM_PATH

LOGIN = f"{REALM_PATH}/token$"
"""The path of the login, for `faults.add`."""

_PLACES = ("body", "header", "status-line", "content-type", "content-encoding")


@attrs.frozen
class GatewayPage:
    """Answer with the page of a gateway, a proxy or a login portal instead of the platform's JSON.

    Args:
        status: Any status: 401, 403, 404, 429, 499, 5xx, or 200.
        body: An `"html"` page, a line of `"text"`, or nothing (`"empty"`).
        retry_after: Seconds of a Retry-After header, 0 or more; None for no header.
        acts: Do the work first.
    """

    status: int = attrs.field(default=502, validator=checks.whole(200, 599))
    body: Literal["html", "text", "empty"] = attrs.field(
        default="html", validator=checks.one_of("html", "text", "empty")
    )
    retry_after: float | None = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.real(0)))
    acts: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act if asked to, and answer with the page."""
        if self.acts:
            await act()
        more = retry_after(self.retry_after, exchange.world.clock)
        content_type, content = {
            "html": ("text/html; charset=utf-8", html_page(self.status)),
            "text": ("text/plain; charset=utf-8", f"upstream: {_answers.phrase(self.status)}\n".encode()),
            "empty": ("", b""),
        }[self.body]
        return reply_of(self.status, content_type, content, (b"server", b"gateway"), *more)


@attrs.frozen
class ExecutedAnyway:
    """Do the work, and answer with a status that usually means that it was not done.

    Args:
        status: The status, such as 425, 429 or 499.
        names_job: Whether the body of the answer names the job that was created.
        retry_after: Seconds of a Retry-After header, 0 or more; None for no header.
    """

    status: int = attrs.field(default=429, validator=checks.whole(200, 599))
    names_job: bool = attrs.field(default=False, kw_only=True, validator=checks.flag)
    retry_after: float | None = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.real(0)))

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and answer with the status."""
        reply = await act()
        named = {"jobID": json.loads(reply.body)["jobID"]} if self.names_job and b'"jobID"' in reply.body else {}
        body = _answers.problem_body(self.status, _answers.phrase(self.status), **named)
        more = retry_after(self.retry_after, exchange.world.clock)
        return reply_of(self.status, _answers.PROBLEM, body, *more)


@attrs.frozen
class EchoHeaders:
    """Answer with an error that repeats the Authorization header of the request, as some proxies do.

    Args:
        where: The place of the repetition: the `"body"`; or, as invalid HTTP, a `"header"`, the `"status-line"`, the
            `"content-type"` or the `"content-encoding"`.
        status: The status.
    """

    where: Literal["body", "header", "status-line", "content-type", "content-encoding"] = attrs.field(
        default="body", validator=checks.one_of(*_PLACES)
    )
    status: int = attrs.field(default=400, kw_only=True, validator=checks.whole(200, 599))

    async def apply(self, exchange: Exchange, _: Act) -> Reply:
        """Answer without acting."""
        given = exchange.header(b"authorization") or b"none"
        if self.where == "body":
            content = _answers.plain_body(self.status, f"Bad request with authorization: {given.decode('latin-1')}")
            return reply_of(self.status, _answers.JSON, content)
        reply = reply_of(self.status, _answers.JSON, b"<")
        if self.where == "status-line":
            return attrs.evolve(reply, delivery=_garbage(given))
        name = b"x-debug" if self.where == "header" else self.where.encode()
        value = b"\0" + given if self.where == "header" else given
        return attrs.evolve(reply.with_header(name, value), delivery=past_http)


def _garbage(given: bytes) -> Delivery:
    async def deliver(exchange: Exchange, _: Reply) -> None:
        await exchange.write_raw(given + b" nope\r\n\r\n", reset=False)

    return deliver


@attrs.define
class Waves:
    """Switch another fault on and off in turn.

    Args:
        kind: The other fault, such as `GatewayPage(503)` for `path=LOGIN`.
        seconds: Real seconds for which it is on, from the first request; above 0.
        pause: Real seconds for which it is then off; above 0.
    """

    kind: Kind = attrs.field(validator=checks.kind)
    seconds: float = attrs.field(default=5.0, kw_only=True, validator=checks.real(0, above=True))
    pause: float = attrs.field(default=5.0, kw_only=True, validator=checks.real(0, above=True))
    _began: float | None = attrs.field(default=None, init=False, eq=False)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Leave the request to the other fault, or let it pass."""
        now = exchange.world.clock.elapsed()
        self._began = now if self._began is None else self._began
        is_on = (now - self._began) % (self.seconds + self.pause) < self.seconds
        return await (self.kind.apply(exchange, act) if is_on else act())


@attrs.frozen
class LaterPages:
    """Apply another fault to lists from their second page on; first pages and other requests pass.

    Args:
        kind: The other fault, such as `Hang(acts=False)`.
    """

    kind: Kind = attrs.field(validator=checks.kind)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Leave a later page to the other fault."""
        return await (self.kind.apply(exchange, act) if await _is_later_page(exchange) else act())


async def _is_later_page(exchange: Exchange) -> bool:
    query = parse_qs(exchange.query)
    if query.keys() & {"cursor", "token", "offset"} or query.get("page", ["0"]) != ["0"]:
        return True
    if exchange.scope["method"] != "POST":
        return False
    try:
        body = json.loads(await exchange.body())
    except ValueError:
        return False
    return isinstance(body, dict) and ("token" in body or bool(body.get("page")))
