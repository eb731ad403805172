"""The ASGI application of each origin.

A request passes: counting and latency -> faults -> request id of errors -> check of the token -> routes
"""

from collections.abc import Sequence
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from up42_async.sandbox import _answers
from up42_async.sandbox._answers import BadQuery, Refused
from up42_async.sandbox._exchange import header_of, raw_path, raw_query
from up42_async.sandbox._faults import Faults, FaultyApp
from up42_async.sandbox._files_app import FilesApp, Sender
from up42_async.sandbox._routes_account import account_routes
from up42_async.sandbox._routes_assets import asset_routes
from up42_async.sandbox._routes_auth import auth_routes
from up42_async.sandbox._routes_processing import processing_routes
from up42_async.sandbox._routes_stac import stac_routes
from up42_async.sandbox._storage import Storage
from up42_async.sandbox._traffic import RequestRecord, Traffic
from up42_async.sandbox._wire import connection_of
from up42_async.sandbox._world import World

API, FILES = "api", "files"
_PROTECTED = "/v2/"
_ERROR = 400


def api_app(storage: Storage, sender: Sender, traffic: Traffic, faults: Faults) -> ASGIApp:
    """Build the application of the API and its authentication.

    Args:
        storage: The storage and the state of the sandbox.
        sender: Sends files.
        traffic: Counts the requests.
        faults: The faults that are on.
    """
    world = storage.world
    routes = [
        *auth_routes(world, traffic),
        *processing_routes(world),
        *account_routes(world),
        *stac_routes(storage),
        *asset_routes(storage, sender),
    ]
    return observed(IdentifyingApp(GuardedApp(routed(routes), world), world), API, world, traffic, faults)


def files_app(storage: Storage, sender: Sender, traffic: Traffic, faults: Faults) -> ASGIApp:
    """Build the application of the files, which have an origin of their own."""
    return observed(FilesApp(storage, sender), FILES, storage.world, traffic, faults)


def observed(app: ASGIApp, origin: str, world: World, traffic: Traffic, faults: Faults) -> ASGIApp:
    """Put counting, latency and faults in front of an application."""
    return CountingApp(FaultyApp(app, faults, world), origin, traffic, world)


def routed(routes: Sequence[BaseRoute]) -> Starlette:
    """Build an application that answers refused requests, unknown paths and unknown methods as the platform does."""
    handlers = dict.fromkeys((Refused, BadQuery, HTTPException), _refuse)
    return Starlette(routes=list(routes), exception_handlers=handlers)


async def _refuse(_: Request, error: Any) -> Response:
    if isinstance(error, Refused):
        return error.response
    if isinstance(error, BadQuery):
        return _answers.plain_error(error.status, error.detail)
    return _answers.plain_error(error.status_code, _answers.phrase(error.status_code))


class OriginsApp:
    """Passes each request to the application of its Host header; used without a server.

    Args:
        api: The application of the API.
        files: The application of the files.
        world: Has the address of the files.
    """

    def __init__(self, api: ASGIApp, files: ASGIApp, world: World) -> None:
        self._api = api
        self._files = files
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        host = (header_of(scope["headers"], b"host") or b"").decode("latin-1")
        app = self._files if self._world.files_url.endswith(f"://{host}") else self._api
        await app(scope, receive, send)


class GuardedApp:
    """Requires a valid token of every request to the API.

    Args:
        app: The application behind.
        world: Knows the tokens.
    """

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"].startswith(_PROTECTED) and not self._is_welcome(scope):
            refusal = _answers.gateway_error(401, "The access token is missing, expired or invalid.")
            refusal.headers["www-authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_welcome(self, scope: Scope) -> bool:
        authorization = header_of(scope["headers"], b"authorization") or b""
        with self._world.lock:
            return self._world.tokens.is_good(authorization.decode("latin-1"))


class IdentifyingApp:
    """Adds the id of the request to every error answer of the platform.

    The header is `x-request-id`, the usual one; UP42's documentation does not say which it is.

    Args:
        app: The application behind.
        world: Draws the ids.
    """

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def identified_send(message: Message) -> None:
            if message.get("status", 0) >= _ERROR:
                header = (b"x-request-id", self._world.request_id().encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        is_platform = scope["path"].startswith(_PROTECTED)
        await self._app(scope, receive, identified_send if is_platform else send)


class CountingApp:
    """Records every request, and adds the latency and the Date header to every answer.

    Args:
        app: The application behind.
        origin: The name of the origin in the records.
        traffic: Where to note it.
        world: Knows the latency and the time.
    """

    def __init__(self, app: ASGIApp, origin: str, traffic: Traffic, world: World) -> None:
        self._app = app
        self._origin = origin
        self._traffic = traffic
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        record = self._record(scope)
        done = self._traffic.begin(record)

        async def counted_receive() -> Message:
            message = await receive()
            record.body_size += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                if self._world.settings.latency:
                    await anyio.sleep(self._world.settings.latency)
                record.status = message["status"]
                record.request_id = dict(message.get("headers", ())).get(b"x-request-id", b"").decode("latin-1") or None
                date = (b"date", self._world.clock.http_date().encode())
                message = {**message, "headers": [*message.get("headers", ()), date]}
            else:
                record.sent += len(message.get("body", b""))
                if not message.get("more_body", False):
                    done()  # before the last byte is sent: a client must never see its own finished request in progress
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        except ClientDisconnect:  # the server must see the disconnect before this returns, or it answers with 500
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            done()

    def _record(self, scope: Scope) -> RequestRecord:
        connection = connection_of(scope)
        asked = header_of(scope["headers"], b"range")
        return RequestRecord(
            origin=self._origin,
            method=scope["method"],
            path=raw_path(scope),
            query=raw_query(scope),
            has_authorization=header_of(scope["headers"], b"authorization") is not None,
            has_cookie=header_of(scope["headers"], b"cookie") is not None,
            range=None if asked is None else asked.decode("latin-1"),
            connection_id=0 if connection is None else connection.number,
            peer_port=0 if connection is None else connection.peer_port,
        )
