"""How the tests of the sandbox ask it: plain httpx, and nothing of the client it was made for."""

import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from up42_async.sandbox import Sandbox

JOBS = "/v2/processing/jobs"
TREES = "detection-trees-spacept"
ITEM = "https://api.up42.com/v2/assets/stac/collections/c0ffee/items/beef"


class Clock:
    """Stand still until somebody adds to `seconds`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def form(sandbox: Sandbox, **changes: str) -> dict[str, str]:
    """Return the form that logs in, with changes."""
    return {
        "grant_type": "password",
        "client_id": "up42-sdk",
        "scope": "openid",
        "username": sandbox.credentials["username"],
        "password": sandbox.credentials["password"],
        **changes,
    }


async def login(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Give a client a token that is good now."""
    answer = await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox))
    client.headers["authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"


@asynccontextmanager
async def logged_in(
    sandbox: Sandbox, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield a client with a token; its URLs are relative to the API."""
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # an empty one: loading certificates takes longer than a test
    api = sandbox.endpoints.api
    async with httpx.AsyncClient(base_url=api, transport=transport, verify=no_tls, trust_env=False) as client:
        await login(client, sandbox)
        sandbox.reset_counts()
        yield client


async def listed(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    """Return all jobs of a list, through all of its pages."""
    jobs: list[dict[str, Any]] = []
    answer = await client.get(JOBS, params=query)
    while True:
        page = answer.raise_for_status().json()
        jobs += page["jobs"]
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not links:
            return jobs
        answer = await client.get(links[0])


async def executed(
    client: httpx.AsyncClient, process_id: str = TREES, inputs: Any = None, **query: str
) -> dict[str, Any]:
    """Execute a process and return the job."""
    body = {"inputs": {"title": "Trees", "item": ITEM} if inputs is None else inputs}
    path = f"/v2/processing/processes/{process_id}/execution"
    answer = await client.post(path, json=body, params={"workspaceId": "workspace", **query})
    job: dict[str, Any] = answer.raise_for_status().json()
    return job


def until(condition: Callable[[], bool]) -> None:
    """Wait, in a thread, for what another thread does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


STAC = "/v2/assets/stac"
REFERENCE = "68567134-27ad-7bd7-4b65-d61adb11fc78"


async def found(client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    """Return all items of a search, through all of its pages."""
    items: list[dict[str, Any]] = []
    while True:
        page = (await client.post(f"{STAC}/search", json=body)).raise_for_status().json()
        items += page["features"]
        links = [link for link in page["links"] if link["rel"] == "next"]
        if not links:
            return items
        body |= links[0]["body"]


def equal(name: str, value: Any) -> dict[str, Any]:
    """Return the filter for a property that has a value."""
    return {"op": "=", "args": [{"property": name}, value]}


async def signed_url(client: httpx.AsyncClient, asset_id: str) -> str:
    """Return a new signed URL of a file."""
    answer = await client.post(f"/v2/assets/{asset_id}/download-url")
    url: str = answer.raise_for_status().json()["url"]
    return url


@asynccontextmanager
async def without_token(transport: httpx.AsyncBaseTransport | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield a client that has no token, for files."""
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(transport=transport, verify=no_tls, trust_env=False) as client:
        yield client
