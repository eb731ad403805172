"""Controls over HTTP, for a sandbox that runs in another process.

Every request needs `Authorization: Bearer <secret>`; the server listens on 127.0.0.1 only. `GET /` lists all names:

    GET  /jobs, /executions, /requests, /counts, /faults, /balance, /budgets, /assets, /time, /settings
    POST /seed_jobs {"number": 300}   and the other methods of `Sandbox`, by name; the body holds their arguments
    POST /add_fault {"kind": {"kind": "Status", "arguments": {"status": 503}}, "path": "/v2/", "times": 2}
    POST /advance {"seconds": 3600}, /reset

A method answers `{"result": ...}`. A wrong argument is a 400 with a message, a job or asset that is not there a 404.
Bytes are a string, which is UTF-8, or `{"base64": ...}`.
"""

import hmac
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from up42_async.sandbox import _answers
from up42_async.sandbox._control_faults import NumberedFaults, octets_of

METHODS = (
    "add_archive add_asset add_assets add_budget advance count deposit drop_connections enforce_budgets "
    "expire_signed_urls expire_tokens forget items_of job refuse_item replace_results reset reset_counts "
    "reset_next_connections results_of script_executions seed_jobs set_eula set_rate set_status set_timeline "
    "start_listening stop_listening stored_file"
).split()
"""The methods of a sandbox that can be called over HTTP."""

_FAULT_METHODS = ("add_fault", "remove_fault", "clear_faults")


def control_app(sandbox: Any, numbered: NumberedFaults, secret: str) -> ASGIApp:
    """Build the application of the controls.

    Args:
        sandbox: The sandbox; it is asked for `METHODS` and for its properties.
        numbered: Its faults.
        secret: The secret that requests need.
    """
    methods = {name: getattr(sandbox, name) for name in METHODS}
    methods |= {name: getattr(numbered, name) for name in _FAULT_METHODS}
    views: Mapping[str, Callable[[], Any]] = {
        "jobs": lambda: list(sandbox.jobs.values()),
        "executions": lambda: sandbox.executions,
        "requests": lambda: sandbox.requests,
        "counts": lambda: {
            "requests": sandbox.count(),
            "logins": sandbox.logins,
            "in_flight": sandbox.in_flight,
            "peak_in_flight": sandbox.peak_in_flight,
            "connections": sandbox.connections,
            "executions": len(sandbox.executions),
        },
        "faults": numbered.shown,
        "balance": lambda: sandbox.balance,
        "budgets": lambda: list(sandbox.budgets.values()),
        "assets": sandbox.asset_ids,
        "time": lambda: {"now": sandbox.now, "speed": sandbox.speed},
        "settings": lambda: sandbox.settings,
    }
    endpoints = _Controls(methods, views)
    routes = [
        Route("/", endpoints.index, methods=["GET"]),
        Route("/{name}", endpoints.view, methods=["GET"]),
        Route("/{name}", endpoints.call, methods=["POST"]),
    ]
    return _Guard(Starlette(routes=routes), secret)


class _Guard:
    """Refuses requests without the secret.

    Args:
        app: The application behind.
        secret: The secret.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        else:
            refusal = _answers.plain_error(401, "The controls need `Authorization: Bearer <secret>`.")
            await refusal(scope, receive, send)


class _Controls:
    """Answers as JSON.

    Args:
        methods: The methods that can be called, by name.
        views: Functions that return the state that can be read, by name.
    """

    def __init__(self, methods: Mapping[str, Callable[..., Any]], views: Mapping[str, Callable[[], Any]]) -> None:
        self._methods = methods
        self._views = views

    async def index(self, _: Request) -> Response:
        described = {
            name: f"{inspect.signature(method)}: {(inspect.getdoc(method) or '').partition(chr(10))[0]}"
            for name, method in self._methods.items()
        }
        return _answers.answer({"GET": list(self._views), "POST": described})

    async def view(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._views:
            return _answers.plain_error(404, f"There is no {name!r} to get; there are {', '.join(self._views)}.")
        return _answers.answer(_jsonable(self._views[name]()))

    async def call(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._methods:
            return _answers.plain_error(404, f"There is no {name!r} to call; there are {', '.join(self._methods)}.")
        try:
            result = self._methods[name](**_arguments(name, await request.body()))
        except KeyError as error:
            return _answers.plain_error(HTTPStatus.NOT_FOUND, str(error.args[0]))
        except (TypeError, ValueError) as error:
            return _answers.plain_error(HTTPStatus.BAD_REQUEST, str(error))
        except RuntimeError as error:
            return _answers.plain_error(HTTPStatus.CONFLICT, str(error))
        return _answers.answer({"result": _jsonable(result)})


def _arguments(name: str, body: bytes) -> dict[str, Any]:
    given = json.loads(body or b"{}")
    if not isinstance(given, dict):
        raise TypeError(f"The arguments of {name} must be a JSON object, not {given!r}.")
    if name == "add_asset" and given.get("content") is not None:
        given["content"] = octets_of(given["content"])
    if name == "add_archive" and (members := given.get("members")) is not None:
        if not isinstance(members, dict):
            raise TypeError(f"members must be an object of bytes by path, not {members!r}.")
        given["members"] = {path: octets_of(content) for path, content in members.items()}
    return given


def _jsonable(value: Any) -> Any:
    """Return a value of the sandbox as JSON has it: objects for attrs classes, without the bytes of files."""
    if attrs.has(type(value)):
        fields = [field.name for field in attrs.fields(type(value)) if field.repr]
        return {name: _jsonable(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {key: _jsonable(element) for key, element in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_jsonable(element) for element in value]
    return value.isoformat() if isinstance(value, datetime) else value
