"""An AsyncClient of the user, whose pool may be full, and which the client does not close.

What holds with it as with the default client is tested with both, by the fixture `http_client`.
"""

import gc
import random
from typing import Any

import anyio
import httpx
import pytest

from tests import raw_server
from tests.chaos.leaks import descriptors, in_use
from tests.http_clients import with_pool
from tests.raw_server import answer, platform, serve, wait_until
from up42_async import APIError, Endpoints, Limits, Timeouts
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs")
EXECUTION = ApiRequest(method="POST", path="/v2/execution", json={"title": "x"}, idempotent=False)


async def test_a_pool_timeout_does_not_prove_that_nothing_was_sent() -> None:
    """Somebody else fills the pool: nothing tells whether the request left, so it is not sent again."""
    settings: dict[str, Any] = {"timeouts": Timeouts(pool=0.05)}
    async with (
        with_pool(1) as http_client,
        platform(raw_server.hang, answer(), http_client=http_client, **settings) as up,
    ):
        await up.client._session.tokens.token()
        async with anyio.create_task_group() as group:
            group.start_soon(http_client.get, f"{up.api.url}/slow")
            await wait_until(lambda: up.api.busy == 1)
            state = SendState()
            with pytest.raises(APIError, match="no free connection within 0.05 s"):
                await up.client._session.call(EXECUTION, state=state)
            group.cancel_scope.cancel()
        assert state.sent
    assert up.api.count("POST", "/v2/execution") == 0


async def test_a_file_takes_a_slot_in_the_pool_of_the_user() -> None:
    limits = Limits(max_concurrency=1, requests_per_second=1e6, burst=10**6)
    async with (
        with_pool(1) as http_client,
        platform(answer(), http_client=http_client, limits=limits) as up,
        up.client._session._slot_for_file,
    ):
        assert up.client.statistics().in_flight == 1


async def test_cancelled_tls_handshakes_leave_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(raw_server.UNTRUSTED))
    dice = random.Random(1)  # noqa: S311
    async with (
        serve(answer({}), tls=True) as server,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=20)) as http_client,
        platform(answer(), http_client=http_client) as up,
    ):
        await up.client._session.tokens.token()
        up.client._session._endpoints = Endpoints(api=server.url, auth=up.auth.url)
        await up.client._session.call(JOBS)
        gc.collect()
        before = descriptors()
        for _ in range(50):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(up.client._session.call, JOBS)
                await anyio.sleep(dice.uniform(0, 0.004))
                group.cancel_scope.cancel()
        await anyio.sleep(0.01)
        assert len(descriptors() - before) <= 6
        assert in_use(up.client) == 0
