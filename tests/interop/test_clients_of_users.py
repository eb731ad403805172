"""Clients of the user's: httpx2's, one that speaks HTTP/2, one that shows a certificate, one with a transport."""

import contextlib
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.interop.a_run import run, using
from tests.interop.http2_server import HTTP2Server, http2_server
from tests.raw_server import UNTRUSTED, answer, serve, token
from up42_async import Client, Endpoints, Job, TransportError
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest
from up42_async.sandbox import Sandbox


async def test_a_client_of_httpx2_runs_from_templates_to_files(sandbox: Sandbox, tmp_path: Path) -> None:
    httpx2 = pytest.importorskip("httpx2")
    seen: list[Any] = []

    async def note(request: Any) -> None:
        seen.append(request)

    def make() -> Any:
        return httpx2.AsyncClient(event_hooks={"request": [note]}, limits=httpx2.Limits(max_connections=20))

    async with using(make, sandbox) as client:
        assert isinstance(client.http_client, httpx2.AsyncClient)
        assert await run(tmp_path)
    assert len(seen) == sandbox.count()
    assert all(isinstance(request, httpx2.Request) for request in seen)


async def test_a_subclass_of_httpx2s_client_will_do(sandbox: Sandbox) -> None:
    httpx2 = pytest.importorskip("httpx2")
    kind = type("Mine", (httpx2.AsyncClient,), {})
    async with using(kind, sandbox):
        assert [job async for job in Job.all()] == []


@contextlib.asynccontextmanager
async def speaking_http2(**settings: Any) -> AsyncGenerator[tuple[Client, HTTP2Server]]:
    pytest.importorskip("h2")
    trusted = ssl.create_default_context(cafile=str(UNTRUSTED))
    async with http2_server() as server, httpx.AsyncClient(http2=True, verify=trusted) as http_client:
        endpoints = Endpoints(api=server.url, auth=f"{server.url}/realm")
        async with Client("person", "password", endpoints=endpoints, http_client=http_client, **settings) as client:
            yield client, server


async def test_a_client_that_speaks_http2_is_used_as_it_is() -> None:
    async with speaking_http2() as (client, server):
        assert (await client.request("GET", "/v2/x"))["id"] == 1
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.request, "GET", "/v2/x")
    assert server.paths == ["/realm/token", *["/v2/x"] * 21]


async def test_what_may_have_arrived_over_http2_is_not_sent_again() -> None:
    state = SendState()
    async with speaking_http2() as (client, server):
        server.hangs_up_on = "/v2/execution"
        request = ApiRequest(method="POST", path="/v2/execution", json={}, idempotent=False)
        with pytest.raises(TransportError) as caught:
            await client._session.call(request, state=state)
        assert caught.value.may_have_arrived
        assert state.sent
    assert server.paths.count("/v2/execution") == 1


async def test_the_certificate_of_a_client_is_shown() -> None:
    """A server that asks for a certificate gets the one of the user's SSL context."""
    shown = ssl.create_default_context(cafile=str(UNTRUSTED))
    shown.load_cert_chain(UNTRUSTED)
    silent = ssl.create_default_context(cafile=str(UNTRUSTED))
    async with serve(token(), answer({"jobs": [], "links": []}), tls=True, wants_certificate=True) as server:
        endpoints = Endpoints(api=server.url, auth=server.url)
        async with (
            httpx.AsyncClient(verify=shown) as http_client,
            Client("person", "password", endpoints=endpoints, http_client=http_client),
        ):
            assert [job async for job in Job.all()] == []
        async with httpx.AsyncClient(verify=silent) as http_client:
            with pytest.raises(httpx.TransportError):
                await http_client.get(server.url)
