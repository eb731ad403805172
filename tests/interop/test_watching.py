"""Whatever watches httpx sees every request that the server counted, and no secret."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http_clients import Maker
from tests.interop.a_run import each_way, run, secrets, using
from up42_async import Job, NotFoundError, StatusError
from up42_async.sandbox import Sandbox

UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000"


@each_way
async def test_a_watcher_of_httpx_sees_every_request_the_server_counted(
    way: Maker, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[httpx.Request] = []
    plain = httpx.AsyncHTTPTransport.handle_async_request

    async def watch(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return await plain(self, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", watch)
    async with using(way, sandbox):
        assert await run(tmp_path)
    assert len(seen) == sandbox.count()
    methods = Counter(request.method for request in seen)
    assert {method: sandbox.count(method) for method in methods} == methods
    assert sum(request.url.path.endswith("/token") for request in seen) == 1


@each_way
async def test_no_logger_of_httpx_or_ours_gets_a_secret(
    way: Maker, sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("httpcore", "asyncio"):  # httpcore shows the headers of responses at DEBUG, which is documented
            logging.getLogger(name).setLevel(logging.INFO)
        async with using(way, sandbox):
            assert await run(tmp_path)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert [secret for secret in secrets(sandbox) if secret in text] == []
    ours = [record.getMessage() for record in caplog.records if record.name == "up42_async.http"]
    assert len(ours) == sandbox.count()
    assert not any("?" in line for line in ours)


async def test_hooks_of_a_client_of_the_users_see_every_request_and_may_add_a_header(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    requests: list[httpx.Request] = []
    statuses: list[int] = []

    async def before(request: httpx.Request) -> None:
        request.headers["X-Team"] = "forestry"
        requests.append(request)

    async def after(response: httpx.Response) -> None:
        await response.aread()
        statuses.append(response.status_code)

    hooks: dict[str, list[Any]] = {"request": [before], "response": [after]}
    async with using(lambda: httpx.AsyncClient(event_hooks=hooks), sandbox):
        assert await run(tmp_path)
    assert len(requests) == len(statuses) == sandbox.count()
    shown = " ".join(f"{request!r} {request.url} {request.headers!r}" for request in requests)
    assert [secret for secret in secrets(sandbox) if secret in shown] == []


@pytest.mark.parametrize("reads", [False, True])
async def test_raise_for_status_in_a_hook_is_the_refusal_itself(sandbox: Sandbox, reads: bool) -> None:
    async def check(response: httpx.Response) -> None:
        if reads:
            await response.aread()
        response.raise_for_status()

    async with using(lambda: httpx.AsyncClient(event_hooks={"response": [check]}), sandbox):
        with pytest.raises(StatusError) as caught:
            await Job.get(UNKNOWN_JOB)
    assert (caught.value.status, caught.value.from_platform) == (404, reads)


# OpenTelemetry


@pytest.fixture
def spans() -> Any:
    """Trace httpx for the length of a test."""
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter, provider = memory.InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    instrumentor = instrumentation.HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter, provider.get_tracer("test")
    instrumentor.uninstrument()


@each_way
async def test_each_request_is_a_span_of_opentelemetry_below_the_callers_and_without_secrets(
    way: Maker, sandbox: Sandbox, tmp_path: Path, spans: Any
) -> None:
    exporter, tracer = spans
    async with using(way, sandbox):
        with tracer.start_as_current_span("the whole run") as whole:
            assert await run(tmp_path)
    requests = [span for span in exporter.get_finished_spans() if span.name != "the whole run"]
    assert len(requests) == sandbox.count()
    assert {span.parent.span_id for span in requests} == {whole.get_span_context().span_id}
    shown = " ".join(f"{span.name} {dict(span.attributes)}" for span in requests)
    assert [secret for secret in secrets(sandbox) if secret in shown] == []


# Sentry


@each_way
async def test_each_request_is_a_breadcrumb_of_sentry_without_secrets(
    way: Maker, sandbox: Sandbox, tmp_path: Path
) -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk")
    integration = pytest.importorskip("sentry_sdk.integrations.httpx")
    events: list[dict[str, Any]] = []
    sentry_sdk.init(
        dsn="https://public@sentry.invalid/1",
        integrations=[integration.HttpxIntegration()],
        default_integrations=False,
        max_breadcrumbs=1000,
        before_send=lambda event, _: events.append(event),
    )
    try:
        with sentry_sdk.isolation_scope():
            async with using(way, sandbox):
                assert await run(tmp_path)
                with pytest.raises(NotFoundError) as caught:
                    await Job.get(UNKNOWN_JOB)
            sentry_sdk.capture_exception(caught.value)
    finally:
        sentry_sdk.init()
    crumbs = [crumb for crumb in events[0]["breadcrumbs"]["values"] if crumb["type"] == "http"]
    assert len(crumbs) == sandbox.count()
    assert [secret for secret in secrets(sandbox) if secret in str(events[0])] == []
