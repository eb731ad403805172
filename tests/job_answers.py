"""Responses about jobs as UP42 sends them, a fake client that returns them, and a sandbox with a client."""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs

import anyio.lowlevel
import attrs
import httpx

from tests.fake_platform import Asked
from up42_async import Client
from up42_async._http.requests import ApiRequest
from up42_async._http.responses import ApiResponse, decode
from up42_async.sandbox import Sandbox

API = "https://api.up42.com"
JOBS = "/v2/processing/jobs"
TREES = "detection-trees-spacept"

T = TypeVar("T")


def metadata(job_id: str = "job-1", **changes: Any) -> dict[str, Any]:
    """Return a job as UP42 sends it; `...` as a change leaves the key out."""
    whole = {
        "processID": TREES,
        "jobID": job_id,
        "accountID": "account-1",
        "workspaceID": "workspace-1",
        "definition": {"inputs": {"title": "Trees", "item": f"{API}/v2/assets/stac/collections/c/items/i"}},
        "results": {"collection": f"{API}/v2/assets/stac/collections/result", "errors": None},
        "creditConsumption": {"credits": 63},
        "status": "captured",
        "created": "2024-05-01T10:00:00.123456789Z",
        "started": "2024-05-01T10:01:00Z",
        "finished": "2024-05-01T12:02:00.5+02:00",
        "updated": "2024-05-01T10:03:00.1Z",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def page(ids: Iterable[str], following: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a page of jobs, with a link to the next page if `following` is given."""
    links = [] if following is None else [{"rel": "next", "href": following}]
    return {"jobs": [metadata(job_id, **changes) for job_id in ids], "links": links}


@attrs.define
class FakeClient:
    """A fake client whose answers come from a function: decoded JSON, a status, or an exception."""

    answer: Callable[[ApiRequest], Any]
    asked: list[ApiRequest] = attrs.field(factory=list)
    api: str = API

    @property
    def _session(self) -> "FakeClient":
        return self

    async def call(self, request: ApiRequest) -> Any:
        """Answer as a client does: an int is the status of an error response, and an exception is raised."""
        self.asked.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return decode(ApiResponse(status=answer, headers={}, body=b"{}"), request)
        return json.loads(json.dumps(answer))

    @property
    def client(self) -> Client:
        """This object, typed as a client."""
        return cast("Client", self)


def parameters(request: ApiRequest) -> dict[str, str]:
    """Return the query parameters of a request by name."""
    return {name: value for name, (value,) in parse_qs(request.query, keep_blank_values=True).items()}


def ids_in(request: ApiRequest) -> list[str]:
    """Return the requested ids: those of the `ids` parameter, or the one in the path."""
    listed = parameters(request).get("ids")
    return [request.path.rsplit("/", 1)[-1]] if listed is None else listed.split(",")


async def collect(items: AsyncIterator[T], seen: list[T]) -> None:
    """Append items to a list as they arrive, with a checkpoint after each; an error keeps what was appended."""
    async for item in items:
        seen.append(item)
        await anyio.lowlevel.checkpoint()


def answering(*answers: Any) -> Callable[[Asked], httpx.Response]:
    """Return a function that answers calls with these bodies in turn, repeating the last; bytes are sent unchanged."""

    def answer(asked: Asked) -> httpx.Response:
        body = answers[min(asked.number, len(answers)) - 1]
        return httpx.Response(200, content=body) if isinstance(body, bytes) else httpx.Response(200, json=body)

    return answer


@contextlib.asynccontextmanager
async def connected(**settings: Any) -> AsyncGenerator[Sandbox]:
    """Run a sandbox and make a client of it the current one; request counts start at zero after the login."""
    async with (
        Sandbox(**settings) as sandbox,
        Client(**sandbox.credentials, endpoints=sandbox.endpoints) as client,
    ):
        await client.workspace_id()
        sandbox.reset_counts()
        yield sandbox


def queries(sandbox: Sandbox) -> list[dict[str, str]]:
    """Return the query parameters of each job list that a sandbox was asked for."""
    records = [record for record in sandbox.requests if record.path == JOBS]
    return [parameters(ApiRequest(method="GET", path=record.path, query=record.query)) for record in records]
