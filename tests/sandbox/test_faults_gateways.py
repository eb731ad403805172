"""Faults of what stands before the platform, and faults that come and go."""

from typing import Any

import anyio
import httpx
import pytest

from tests.sandbox.asking import ITEM, JOBS, STAC, TREES, Clock, executed, form, listed, logged_in
from up42_async.sandbox import Sandbox, faults

EXECUTION = f"/v2/processing/processes/{TREES}/execution"
INPUTS = {"inputs": {"title": "Trees", "item": ITEM}}


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 499, 500, 502, 524])
async def test_a_gateway_answers_with_its_page_whatever_the_status(
    sandbox: Sandbox, client: httpx.AsyncClient, status: int
) -> None:
    sandbox.faults.add(faults.GatewayPage(status))
    answers = [await client.get(JOBS), await client.post(EXECUTION, json=INPUTS), await client.get("/any")]
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert answer.text.startswith("<!DOCTYPE html>")
        assert "x-request-id" not in answer.headers
    assert sandbox.executions == ()


@pytest.mark.parametrize(("body", "beginning"), [("text", "upstream: Bad Gateway"), ("empty", "")])
async def test_a_gateway_may_say_it_in_text_or_nothing(
    sandbox: Sandbox, client: httpx.AsyncClient, body: Any, beginning: str
) -> None:
    sandbox.faults.add(faults.GatewayPage(502, body, retry_after=3, acts=True))
    answer = await client.post(EXECUTION, json=INPUTS, params={"workspaceId": "w"})
    assert (answer.text.strip(), answer.headers["retry-after"], len(sandbox.executions)) == (beginning, "3", 1)
    sandbox.faults.clear()
    sandbox.faults.add(faults.Status(502, "text"))
    answer = await client.get(JOBS)
    assert (answer.text, answer.headers["content-type"]) == ("Bad Gateway\n", "text/plain; charset=utf-8")


@pytest.mark.parametrize("status", [425, 429, 499])
async def test_an_execution_may_have_happened_although_the_status_denies_it(
    sandbox: Sandbox, client: httpx.AsyncClient, status: int
) -> None:
    sandbox.faults.add(faults.ExecutedAnyway(status), path=EXECUTION)
    answer = await client.post(EXECUTION, json=INPUTS, params={"workspaceId": "w"})
    (execution,) = sandbox.executions
    assert (answer.status_code, execution.job_id in answer.text) == (status, False)
    assert "retry-after" not in answer.headers


async def test_such_an_answer_may_name_the_job(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.ExecutedAnyway(names_job=True, retry_after=1))
    answer = await client.post(EXECUTION, json=INPUTS, params={"workspaceId": "w"})
    assert (answer.status_code, answer.json()["jobID"]) == (429, sandbox.executions[0].job_id)
    assert answer.headers["retry-after"] == "1"
    assert "jobID" not in (await client.get("/v2/eulas/none")).json()


async def test_an_error_can_repeat_the_token(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    token = client.headers["authorization"]
    sandbox.faults.add(faults.EchoHeaders())
    answer = await client.get(JOBS)
    assert (answer.status_code, token in answer.json()["message"]) == (400, True)
    assert "none" in (await client.get(JOBS, headers={"authorization": ""})).json()["message"]


@pytest.mark.parametrize("where", ["header", "status-line", "content-type", "content-encoding"])
async def test_an_answer_with_invalid_http_can_echo_headers(where: Any) -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client:
        sandbox.faults.add(faults.EchoHeaders(where, status=200))
        token = client.headers["authorization"]
        port = int(sandbox.endpoints.api.rsplit(":", 1)[1])
        async with await anyio.connect_tcp("127.0.0.1", port) as raw:
            await raw.send(f"GET {JOBS} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\r\n".encode())
            received = b""
            with anyio.move_on_after(5):
                try:
                    while True:
                        received += await raw.receive()
                except anyio.EndOfStream:
                    pass
        line = next(line for line in received.split(b"\r\n") if token.encode() in line)
        beginning = {"header": b"x-debug: \0", "status-line": b""}.get(where, f"{where}: ".encode())
        assert line.startswith(beginning + token.encode())


async def test_a_fault_comes_in_waves(clock: Clock) -> None:
    async with Sandbox(clock=clock, token_lifetime=1e6) as sandbox, logged_in(sandbox) as client:
        fault = sandbox.faults.add(faults.Waves(faults.GatewayPage(503), seconds=5, pause=10), path=faults.LOGIN)
        clock.seconds = 100
        seen = []
        for clock.seconds in (100, 104, 105, 114, 115, 119, 121):
            answer = await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox))
            seen.append(answer.status_code)
        assert seen == [503, 503, 200, 200, 503, 503, 200]
        assert fault.hits == 7
        assert (await client.get(JOBS)).status_code == 200


async def test_a_fault_can_hit_later_pages_only(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(3, status="captured")
    sandbox.add_assets(3)
    sandbox.faults.add(faults.LaterPages(faults.GatewayPage(500)))
    assert (await client.get(JOBS)).status_code == 200
    with pytest.raises(httpx.HTTPStatusError, match="500"):
        await listed(client, limit="2")
    for first, later in [
        ("/v2/assets?page=0", "/v2/assets?page=1"),
        ("/v2/processing/processes?limit=2", "/v2/processing/processes?limit=2&offset=2"),
        (f"{STAC}/collections?limit=1", f"{STAC}/collections?limit=1&token=next:x"),
    ]:
        assert [(await client.get(path)).status_code for path in (first, later)] == [200, 500]
    bodies = [{}, {"page": 0}, {"token": "next:x"}, {"page": 2}]
    seen = [(await client.post(f"{STAC}/search", json=body)).status_code for body in bodies]
    assert seen == [200, 200, 500, 500]
    assert (await client.post(f"{STAC}/search", content=b"{")).status_code == 400
    assert (await executed(client))["status"] == "created"


async def test_one_page_of_a_list_can_hang(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(4)
    hanging = faults.LaterPages(faults.Hang(acts=False))
    sandbox.faults.add(hanging, path=JOBS, times=2)
    client.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        await listed(client, limit="2")
    client.timeout = httpx.Timeout(5)
    assert len(await listed(client, limit="2")) == 4
