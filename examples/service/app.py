"""A service around UP42: execute orders, show jobs, stream their status, and stop without losing an execution.

    python examples/service/app.py --sandbox        # on the sandbox
    python examples/service/app.py                  # on your account: UP42_USERNAME and UP42_PASSWORD

No endpoint needs to be given a client: the one that the lifespan opens is the default of the event loop.
"""

import contextlib
import json
import logging
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

import anyio
import attrs
import uvicorn
from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

import up42_async as up42
from up42_async import processing_templates

logger = logging.getLogger("trees")

PULSE = 1.0
"""Seconds between two checks whether the server is about to stop, while a stream is quiet."""


JobId = Annotated[str, Path(pattern=r"^[\w-]+$")]


class Order(BaseModel):
    """The process and its items, and the most credits they may cost."""

    process: str = "detection-trees-spacept"
    items: list[str] = Field(min_length=1, max_length=1000)
    max_credits: int = Field(ge=0)


class Placed(BaseModel):
    """The result of one item of an order."""

    item: str
    job: str | None = None
    error: str | None = None


def create_app(**settings: Any) -> FastAPI:
    """Return the application.

    Args:
        settings: Arguments of `up42.Client`; without any the credentials come from the environment.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with up42.Client(**settings) as client:
            up42.set_default_client(client)
            app.state.client = client
            yield

    app = FastAPI(title="Trees", lifespan=lifespan)
    app.add_exception_handler(up42.Up42Error, _explain)
    app.post("/orders")(place)
    app.get("/jobs/{job_id}")(job)
    app.get("/jobs/{job_id}/events")(events)
    app.get("/health")(health)
    return app


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """Answer 404 for what UP42 does not have, and 502 for every other error of UP42."""
    del request
    status = 404 if isinstance(error, up42.NotFoundError) else 502
    return JSONResponse({"detail": str(error)}, status_code=status)


async def place(order: Order) -> list[Placed]:
    """Execute an order: this spends credits.

    A server that is told to stop lets this request end first. So the caller gets the id of each job that was paid for;
    the log has it too, for a caller that has disconnected.
    """
    kind = _template_of(order.process)
    name = uuid.uuid4().hex[:8]  # by its own title each job can be found again, although others execute the same
    try:
        templates = [kind(title=f"Order {name}, item {place}", item=item) for place, item in enumerate(order.items)]
    except ValueError as error:  # an item is not a URL
        raise HTTPException(422, str(error)) from None
    results = await up42.execute(templates, max_credits=order.max_credits)
    for result in results:
        job = "no job" if result.job is None else f"job {result.job.id}"
        logger.info("%s: %s", result.template.title, result.error or job)
    return [
        Placed(
            item=item,
            job=None if result.job is None else result.job.id,
            error=None if result.error is None else str(result.error),
        )
        for item, result in zip(order.items, results, strict=True)
    ]


def _template_of(process_id: str) -> type[processing_templates.SingleItemJobTemplate]:
    for kind in vars(processing_templates).values():
        if not isinstance(kind, type) or not issubclass(kind, processing_templates.SingleItemJobTemplate):
            continue
        if getattr(kind, "process_id", None) == process_id:
            return kind
    raise HTTPException(422, f"no process {process_id!r} that takes one item")


async def job(job_id: JobId) -> up42.Job:
    """Return a job as UP42 has it now; a `Job` goes through FastAPI as it is."""
    return await up42.Job.get(job_id)


async def events(job_id: JobId, request: Request) -> StreamingResponse:
    """Stream the changes of the status of a job as Server-Sent Events, until it is finished.

    All jobs of all streams are queried together, 100 in one request.
    """
    await up42.Job.get(job_id)  # a job that does not exist is a 404 instead of a stream that ends
    return StreamingResponse(_stream(job_id, request.app), media_type="text/event-stream")


async def _stream(job_id: str, app: FastAPI) -> AsyncIterator[str]:
    updates = up42.track([job_id]).updates()
    while not _is_stopping(app):
        change = None
        with anyio.move_on_after(PULSE):
            try:
                change = await anext(updates)
            except StopAsyncIteration:
                yield "event: end\ndata: {}\n\n"
                return
            except up42.UnfinishedJob as error:
                yield f"event: unfinished\ndata: {json.dumps({'detail': str(error)})}\n\n"
                return
        yield ": still there\n\n" if change is None else f"data: {json.dumps(change.to_metadata())}\n\n"


def _is_stopping(app: FastAPI) -> bool:
    """Return whether the server was told to stop; it waits for streams, so they must end then."""
    server: uvicorn.Server | None = getattr(app.state, "server", None)
    return server is not None and server.should_exit


async def health(request: Request) -> dict[str, Any]:
    """Return what the client is doing: requests, tracked jobs, and until when UP42 asked it to wait."""
    client: up42.Client = request.app.state.client
    return attrs.asdict(client.statistics())


def serve(app: FastAPI, *, port: int = 8000, grace: int = 120) -> None:
    """Serve until SIGTERM or Ctrl-C; executions under way are finished first.

    Args:
        app: The application.
        port: On 127.0.0.1.
        grace: Seconds for which requests under way may go on after that. Then they are cancelled; the response to an
            execution that was sent is still waited for, up to `Timeouts.cancel_grace`, and its job is logged.
    """
    logging.basicConfig(format="%(levelname)s: %(name)s: %(message)s")  # shows warnings of the library, and the orders
    logger.setLevel(logging.INFO)
    server = uvicorn.Server(uvicorn.Config(app, port=port, timeout_graceful_shutdown=grace))
    app.state.server = server
    server.run()


def main() -> None:
    """Serve with your account, or with a sandbox if `--sandbox` is given."""
    if "--sandbox" not in sys.argv:
        serve(create_app())
        return
    from up42_async.sandbox import REFERENCE_ASSET, Sandbox  # noqa: PLC0415 - a service in production has no sandbox

    with Sandbox(speed=60) as sandbox:
        print(f"An item to try: {sandbox.items_of(REFERENCE_ASSET)[0]}")
        serve(create_app(**sandbox.settings))


if __name__ == "__main__":
    main()
