"""Hooks of a user's AsyncClient, the log line of a request, and signed URLs that stay hidden."""

import logging
import re
from collections.abc import AsyncIterable
from typing import Any

import anyio
import httpx
import pytest

from tests import raw_server
from tests.raw_server import answer, gzipped, platform, serve
from tests.wire import Message, Wire, wire
from up42_async import ConnectionFailedError, ConnectionLostError, RateLimitError, RetryPolicy, UnexpectedResponseError
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest, Secret, SecretBytes

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs")
ONCE = RetryPolicy(attempts=1)


def hooked(*, reads: bool, refuses: bool = True) -> httpx.AsyncClient:
    """Return a client whose hook looks at each response."""

    async def look(response: httpx.Response) -> None:
        if reads:
            await response.aread()
        if refuses:
            response.raise_for_status()

    return httpx.AsyncClient(event_hooks={"response": [look]})


@pytest.mark.parametrize("reads", [True, False])
async def test_a_status_error_of_a_hook_counts_as_its_response(reads: bool) -> None:
    act = answer({"title": "slow down"}, status=429, Retry_After="7")
    async with hooked(reads=reads) as http_client, platform(act, http_client=http_client, retry=ONCE) as up:
        with pytest.raises(RateLimitError) as caught:
            await up.client._session.call(JOBS)
    assert (caught.value.status, caught.value.retry_after) == (429, 7)
    assert ("slow down" in str(caught.value)) is reads


async def test_a_redirect_that_a_hook_refuses_is_a_redirect() -> None:
    act = answer(status=302, Location="/elsewhere")
    async with hooked(reads=False) as http_client, platform(act, http_client=http_client, retry=ONCE) as up:
        with pytest.raises(UnexpectedResponseError, match="redirect"):
            await up.client._session.call(JOBS)


@pytest.mark.parametrize("act", [answer({"id": 1}), gzipped({"id": 1})], ids=["plain", "gzip"])
async def test_a_body_that_a_hook_has_read_is_returned(act: raw_server.Act) -> None:
    async with hooked(reads=True, refuses=False) as http_client, platform(act, http_client=http_client) as up:
        assert await up.client._session.call(JOBS) == {"id": 1}


async def test_a_body_that_a_hook_closed_unread_is_an_error() -> None:
    async def close(response: httpx.Response) -> None:
        await response.aclose()

    http_client = httpx.AsyncClient(event_hooks={"response": [close]})
    async with http_client, platform(answer({"id": 1}), http_client=http_client, retry=ONCE) as up:
        with pytest.raises(ConnectionLostError, match="a hook of the AsyncClient closed the response"):
            await up.client._session.call(JOBS)


async def test_any_other_error_of_a_hook_is_an_up42_error_with_its_message() -> None:
    async def fail(response: httpx.Response) -> None:
        if response.request.url.path == JOBS.path:
            raise LookupError("the hook is broken")

    state, http_client = SendState(), httpx.AsyncClient(event_hooks={"response": [fail]})
    async with http_client, platform(answer({"id": 1}), http_client=http_client, retry=ONCE) as up:
        with pytest.raises(ConnectionLostError, match="the hook is broken"):
            await up.client._session.call(JOBS, state=state)
    assert state.sent


async def test_a_file_that_a_hook_has_read_is_written() -> None:
    class Writer:
        content = b""

        async def take(self, status: int, headers: Any, body: AsyncIterable[bytes]) -> None:
            assert (status, headers["content-length"]) == (200, "3")
            async for chunk in body:
                self.content += chunk

    writer = Writer()
    async with hooked(reads=True) as http_client, serve(answer([])) as server:
        server.acts[:] = [raw_server.raw(raw_server.response(b"abc"))]
        await Wire(http_client).fetch(Message(url=server.url), writer)
    assert writer.content == b"abc"


# The log


async def test_each_request_is_logged_without_query_and_body(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "up42_async.http")
    secret = Secret("SIGNATURE-of-the-file")
    async with serve(answer({}), raw_server.close_after_request, raw_server.hang) as server, wire() as one:
        await one.send(Message(method="POST", url=f"{server.url}/v2/jobs?secret=1", body=b"SECRET"))
        with pytest.raises(ConnectionLostError):
            await one.send(Message(url=Secret(f"{server.url}/file?sig={secret.reveal()}")))
        with anyio.move_on_after(0.05):
            await one.send(Message(url=f"{server.url}/v2/slow"))
    lines = [re.sub(r"\d+ ms", "n ms", record.getMessage()) for record in caplog.records]
    assert lines == [
        "POST /v2/jobs 200 try 1 n ms",
        "GET /file ConnectionLostError try 1 n ms",
        "GET /v2/slow cancelled try 1 n ms",
    ]


async def test_the_log_shows_the_number_of_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "up42_async.http")
    retry = RetryPolicy(wait_initial=0.001)
    async with platform(answer(status=503), answer({"id": 1}), retry=retry) as up:
        await up.client._session.call(JOBS)
    lines = [record.getMessage() for record in caplog.records if JOBS.path in record.getMessage()]
    assert [re.sub(r" \d+ ms", "", line) for line in lines] == [
        f"GET {JOBS.path} 503 try 1",
        f"GET {JOBS.path} 200 try 2",
    ]


# Signed URLs


async def test_a_signed_url_is_sent_unchanged_and_httpx_logs_none_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "httpx")
    seen: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        seen.append(request)

    target = "/bucket/a%20b.tif?X-Sig=CANARY%2F1&a=b+c"
    async with httpx.AsyncClient(event_hooks={"request": [note]}) as http_client, serve(answer({})) as server:
        await Wire(http_client).send(Message(url=Secret(f"{server.url}{target}")))
    assert server.requests[0].target == target
    shown = f"{seen[0]!r} {seen[0].url!r} {seen[0].extensions!r} {caplog.text}"
    assert "/bucket/a%20b.tif" in shown
    assert "CANARY" not in shown


async def test_a_signed_url_that_httpx_cannot_send_is_not_shown() -> None:
    async with wire() as one:
        with pytest.raises(ConnectionFailedError) as caught:
            await one.send(Message(url=Secret("https://host/caf\u00e9?CANARY")))
    assert "CANARY" not in str(caught.value)


def test_secrets_given_as_bytes_are_not_shown() -> None:
    assert "x" not in repr(SecretBytes(b"x"))
    assert SecretBytes(b"x") == b"x"
