"""The processing API: processes, validation, cost, execution and jobs."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from up42_async.sandbox import _answers, _listing
from up42_async.sandbox._answers import BadQuery, Refused
from up42_async.sandbox._exchange import raw_query
from up42_async.sandbox._executions import execute
from up42_async.sandbox._processes import Process
from up42_async.sandbox._validation import SchemaError, checked_inputs, findings
from up42_async.sandbox._world import World

_PROCESSES_PATH = "/v2/processing/processes"
_PROCESS_PATH = f"{_PROCESSES_PATH}/{{process_id}}"
_PROCESSES_LIMIT = 100


def processing_routes(world: World) -> Sequence[Route]:
    """Return the routes of the processing API."""
    endpoints = _Processing(world)
    return [
        Route(_PROCESSES_PATH, endpoints.processes, methods=["GET"]),
        Route(_PROCESS_PATH, endpoints.process, methods=["GET"]),
        Route(f"{_PROCESS_PATH}/validation", endpoints.validation, methods=["POST"]),
        Route(f"{_PROCESS_PATH}/cost", endpoints.cost, methods=["POST"]),
        Route(f"{_PROCESS_PATH}/execution", endpoints.execution, methods=["POST"]),
        Route(_listing.LIST_PATH, endpoints.jobs, methods=["GET"]),
        Route(f"{_listing.LIST_PATH}/{{job_id}}", endpoints.job, methods=["GET"]),
    ]


class _Processing:
    """Answers as processing does.

    Args:
        world: The state of the sandbox.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def processes(self, request: Request) -> Response:
        """Answer in the form of OGC API Processes: `processes` and `links`; `limit` and `offset` make pages."""
        query = request.query_params
        limit, offset = query.get("limit", str(_PROCESSES_LIMIT)), query.get("offset", "0")
        if not (limit.isdecimal() and int(limit) > 0 and offset.isdecimal()):
            return _answers.problem(400, f"limit must be a whole number above 0 and offset one from 0; got {query}.")
        world, stop = self._world, int(offset) + int(limit)
        with world.lock:
            every = [process.description_body(world.rates[process.id]) for process in world.processes.values()]
        following = {"rel": "next", "href": f"{_PROCESSES_PATH}?limit={limit}&offset={stop}"}
        links = [following] if stop < len(every) else []
        return _answers.answer({"processes": every[int(offset) : stop], "links": links})

    async def process(self, request: Request) -> Response:
        process = self._process_of(request)
        return _answers.answer(process.description_body(self._world.rates[process.id]))

    async def validation(self, request: Request) -> Response:
        await self._checked(request)
        return Response(b"", 200)

    async def cost(self, request: Request) -> Response:
        process, inputs = await self._checked(request)
        return _answers.answer(self._world.priced(process, inputs).body())

    async def execution(self, request: Request) -> Response:
        process, body = self._process_of(request), await _json_of(request)
        workspace_id = request.query_params.get("workspaceId")
        if not workspace_id:
            return _answers.problem(400, "The query parameter workspaceId is required.")
        made = execute(self._world, process, body, workspace_id, request.query_params.get("budgetId"))
        return Response(made, 201, media_type=_answers.JSON)

    async def jobs(self, request: Request) -> Response:
        world = self._world
        query = dict(parse_qsl(raw_query(request.scope), keep_blank_values=True))  # of a repeated key the last counts
        try:
            listing = _listing.parse(query, world.settings)
        except BadQuery as error:
            return _answers.problem(error.status, error.detail)
        with world.lock:
            body = _listing.page(world.jobs, listing, world.now())
        return Response(body, media_type=_answers.JSON)

    async def job(self, request: Request) -> Response:
        world = self._world
        with world.lock:
            job = world.jobs.get(request.path_params["job_id"])
            body = None if job is None else job.body_at(world.now())
        if body is None:
            return _answers.problem(404, "The job does not exist.")
        return Response(body, media_type=_answers.JSON)

    def _process_of(self, request: Request) -> Process:
        process = self._world.processes.get(request.path_params["process_id"])
        if process is None:
            raise Refused(_answers.problem(404, "The process does not exist."))
        return process

    async def _checked(self, request: Request) -> tuple[Process, dict[str, Any]]:
        process, body = self._process_of(request), await _json_of(request)
        try:
            inputs = checked_inputs(process, body)
        except SchemaError as error:
            refusal = {"title": "Bad Request", "status": 400, "schema-error": str(error)}
            raise Refused(_answers.answer(refusal, 400)) from error
        if found := findings(process, inputs, self._world.unsuitable_items):
            errors = [finding.body() for finding in found]
            refusal = {"title": "Unprocessable Entity", "status": 422, "errors": errors}
            raise Refused(_answers.answer(refusal, 422))
        return process, inputs


async def _json_of(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise Refused(_answers.problem(400, "The body is not JSON.")) from error
