"""Faults of the server and of the platform: what is in their answers."""

import datetime as dt
import json
import zlib
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.sandbox.asking import JOBS, TREES, executed, listed, login
from up42_async.sandbox import Sandbox, faults
from up42_async.sandbox._faults import FaultyApp

EXECUTION = f"/v2/processing/processes/{TREES}/execution"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 524, 542])
async def test_any_status_can_be_answered_without_acting(
    sandbox: Sandbox, client: httpx.AsyncClient, status: int
) -> None:
    sandbox.faults.add(faults.Status(status))
    answer = await client.post(EXECUTION, json={})
    assert (answer.status_code, answer.json()["status"], sandbox.executions) == (status, status, ())
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_status_can_hide_what_was_done(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Status(504, "html", acts=True), path=EXECUTION)
    with pytest.raises(httpx.HTTPStatusError, match="504 Gateway Timeout"):
        await executed(client)
    assert len(sandbox.executions) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "beginning"),
    [
        ("wrapped", "application/json", b'{"data":null,"error":{"code":503,'),
        ("problem", "application/problem+json", b'{"type":"about:blank","title":"Service Unavailable"'),
        ("plain", "application/json", b'{"code":503,"message":'),
        ("html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("invalid-json", "application/json", b'{"jobs": [{"jobID": "'),
        ("empty", None, b""),
    ],
)
async def test_a_status_comes_with_each_kind_of_body(
    sandbox: Sandbox, client: httpx.AsyncClient, body: Any, content_type: str | None, beginning: bytes
) -> None:
    sandbox.faults.add(faults.Status(503, body))
    answer = await client.get(JOBS)
    assert answer.content.startswith(beginning)
    assert answer.headers.get("content-type") == content_type
    assert (answer.content == b"") == (body == "empty")


@pytest.mark.parametrize(("given", "sent"), [(2, "2"), (0.5, "0.5"), (3600, "3600"), ("soon", "soon"), ("", "")])
async def test_retry_after_is_sent_as_given(
    sandbox: Sandbox, client: httpx.AsyncClient, given: float | str, sent: str
) -> None:
    sandbox.faults.add(faults.Status(429, retry_after=given, headers={"X-Reason": "flood"}))
    answer = await client.get(JOBS)
    assert (answer.headers["retry-after"], answer.headers["x-reason"]) == (sent, "flood")


async def test_retry_after_can_be_a_date(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Status(429, retry_after=dt.timedelta(hours=1)))
    headers = (await client.get(JOBS)).headers
    assert parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"]) == dt.timedelta(
        hours=1
    )


async def test_there_is_no_retry_after_unless_asked(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Status(429))
    assert "retry-after" not in (await client.get(JOBS)).headers


@pytest.mark.parametrize("acts", [False, True])
async def test_a_redirect_points_where_it_is_told(sandbox: Sandbox, client: httpx.AsyncClient, acts: bool) -> None:
    sandbox.faults.add(faults.Redirect("https://evil.test/x", 307, acts=acts), path=EXECUTION)
    answer = await client.post(EXECUTION, json={"inputs": {}}, params={"workspaceId": "w"})
    assert (answer.status_code, answer.headers["location"]) == (307, "https://evil.test/x")
    assert len(sandbox.executions) == int(acts)


async def test_a_redirect_may_be_malformed(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Redirect("https://[::1"))
    with pytest.raises(httpx.RemoteProtocolError, match="Invalid URL in location header"):
        await client.get(JOBS)


async def test_json_can_be_rewritten(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Rewrite(lambda body: {**body, "more": len(body["jobs"])}), path=JOBS)
    assert (await client.get(JOBS)).json() == {"jobs": [], "links": [], "more": 0}


async def test_what_is_no_success_or_no_json_is_not_rewritten(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Rewrite(lambda _: "changed"))
    assert (await client.get(f"{JOBS}/x")).json()["status"] == 404
    sandbox.faults.add(faults.Status(200, "html"))
    assert (await client.get(JOBS)).text.startswith("<!DOCTYPE")


async def test_deep_json_is_deeper_than_python_reads(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.DeepJson())
    with pytest.raises(RecursionError):
        (await client.get(JOBS)).json()


async def test_large_headers_are_larger_than_httpx_takes(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.LargeHeaders())
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(JOBS)
    sandbox.faults.clear()
    sandbox.faults.add(faults.LargeHeaders(1000))
    assert len((await client.get(JOBS)).headers["x-large"]) == 1000


async def test_a_gzip_bomb_inflates_a_thousandfold(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.GzipBomb(3))
    async with client.stream("GET", JOBS) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        sent = b"".join([part async for part in answer.aiter_raw()])
    assert len(sent) < 3 * 1200
    assert zlib.decompress(sent, zlib.MAX_WBITS | 16) == b" " * (3 << 20)


async def test_a_bomb_may_claim_another_coding(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.GzipBomb(1, "br"))
    async with client.stream("GET", JOBS) as answer:
        assert answer.headers["content-encoding"] == "br"


async def test_an_unknown_status_is_in_lists_and_in_single_jobs(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(3)
    sandbox.faults.add(faults.UnknownStatus("on-hold"))
    assert {job["status"] for job in await listed(client)} == {"on-hold"}
    assert (await client.get(f"{JOBS}/{ids[0]}")).json()["status"] == "on-hold"
    await login(client, sandbox)  # other answers are left alone


async def test_jobs_can_be_left_out_of_a_list(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(4, spread=60)
    with sandbox.faults.during(faults.OmitJobs(ids[1:3])):
        assert [job["jobID"] for job in await listed(client)] == [ids[3], ids[0]]
        assert (await client.get(f"{JOBS}/{ids[1]}")).status_code == 200
    with sandbox.faults.during(faults.OmitJobs()):
        assert [job["jobID"] for job in await listed(client)] == ids[2::-1]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.OmitKeys("links"), {"jobs": []}),
        (faults.OmitKeys("links", "jobs", "nothing"), {}),
        (faults.OmitKeys("jobs", null=True), {"jobs": None, "links": []}),
    ],
)
async def test_keys_can_be_missing_or_null(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: faults.Kind, expected: object
) -> None:
    sandbox.faults.add(fault)
    assert (await client.get(JOBS)).json() == expected


@pytest.mark.parametrize("href", ["https://evil.test/v2/processing/jobs", "@evil.test/x", "//evil.test/x", ""])
async def test_a_next_link_can_lead_anywhere(sandbox: Sandbox, client: httpx.AsyncClient, href: str) -> None:
    sandbox.faults.add(faults.NextLink(href))
    assert (await client.get(JOBS)).json()["links"] == [{"rel": "next", "href": href}]


async def test_a_next_link_can_lead_to_its_own_page(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.NextLink())
    (link,) = (await client.get(JOBS, params={"limit": "2"})).json()["links"]
    assert link["href"] == f"{JOBS}?limit=2"
    assert "links" not in (await client.get(f"{JOBS}/x")).json()


async def test_empty_pages_never_end(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.seed_jobs(3)
    sandbox.faults.add(faults.EmptyPages())
    hrefs = [f"{JOBS}?limit=1"]
    for _ in range(20):
        page = (await client.get(hrefs[-1])).json()
        assert page["jobs"] == []
        hrefs.append(page["links"][0]["href"])
    assert len(set(hrefs)) == 21
    assert (await client.get("/v2/eulas/x")).status_code == 404


async def test_inserted_jobs_make_others_appear_twice(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(9, spread=60)
    sandbox.faults.add(faults.ShiftPages(inserted=1))
    seen = [job["jobID"] for job in await listed(client, limit="3")]
    assert [job_id for job_id in ids if seen.count(job_id) > 1] != []
    assert set(ids) <= set(seen)


async def test_removed_jobs_make_others_disappear(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    ids = sandbox.seed_jobs(9, spread=60)
    sandbox.faults.add(faults.ShiftPages(inserted=0, removed=1))
    seen = [job["jobID"] for job in await listed(client, limit="3")]
    assert len(seen) == len(set(seen))
    assert [job_id for job_id in ids if job_id not in seen and job_id in sandbox.jobs] != []


async def test_all_tokens_can_end_with_a_request(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.ExpireTokens(), after=1, times=1)
    assert [(await client.get(JOBS)).status_code for _ in range(3)] == [200, 401, 401]
    await login(client, sandbox)
    assert (await client.get(JOBS)).status_code == 200


async def test_a_streamed_answer_can_be_hit_too(sandbox: Sandbox) -> None:
    async def stream(_: Request) -> Response:
        return StreamingResponse(iter([b"1", b"2", b"3"]), media_type="application/json")

    app = FaultyApp(Starlette(routes=[Route("/", stream)]), sandbox.faults, sandbox._world)
    sandbox.faults.add(faults.Rewrite(lambda number: number + 1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox") as client:
        assert (await client.get("/")).json() == 124


async def test_a_kind_of_ones_own_can_be_written(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    class Teapot:
        async def apply(self, exchange: faults.Exchange, act: faults.Act, /) -> faults.Reply:
            sent = json.loads(await exchange.body())
            reply = await act()
            return reply.with_body(f"{sent} {exchange.path} {reply.status}".encode(), (b"x-tea", b"green"))

    sandbox.faults.add(Teapot())
    answer = await client.post("/v2/tea", json=7)
    assert (answer.text, answer.headers["x-tea"]) == ("7 /v2/tea 404", "green")
