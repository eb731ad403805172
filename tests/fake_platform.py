"""A fake of UP42 as an httpx transport; it uses no socket, so it works on a virtual clock too."""

from collections.abc import Callable

import anyio
import attrs
import httpx

from up42_async import Client
from up42_async._config import Limits, Polling, RetryPolicy

USERNAME = "person@example.com"
PASSWORD = "correct horse/battery+staple"


@attrs.frozen(kw_only=True)
class Asked:
    """One received request."""

    number: int
    """Position among the logins, or among the calls, from 1."""
    at: float
    """When it was received, on the clock of the event loop, in seconds."""
    method: str
    url: str
    token: str | None
    body: bytes


class FakePlatform(httpx.AsyncBaseTransport):
    """Answer logins and calls with two functions that a test may replace, and record every request."""

    def __init__(self, *, latency: float = 0.0) -> None:
        self.latency = latency
        self.login: Callable[[Asked], httpx.Response] = grant
        self.api: Callable[[Asked], httpx.Response] = lambda _: httpx.Response(200, json={})
        self.logins: list[Asked] = []
        self.calls: list[Asked] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Record the request, wait for the latency, and answer."""
        is_login = request.url.path.endswith("/token")
        list_, answer = (self.logins, self.login) if is_login else (self.calls, self.api)
        asked = Asked(
            number=len(list_) + 1,
            at=anyio.current_time(),
            method=request.method,
            url=str(request.url),
            token=request.headers.get("authorization", "").removeprefix("Bearer ") or None,
            body=await request.aread(),
        )
        list_.append(asked)
        await anyio.sleep(self.latency)
        return answer(asked)


def grant(asked: Asked, **facts: object) -> httpx.Response:
    """Answer a login with a token that contains the number of the login."""
    return httpx.Response(200, json={"access_token": f"token-{asked.number}", "expires_in": 300, **facts})


def accepting_only(is_good: Callable[[str], bool]) -> Callable[[Asked], httpx.Response]:
    """Return a function that answers calls with 200 if their token is good, else with 401."""
    return lambda asked: httpx.Response(200 if asked.token and is_good(asked.token) else 401, json={})


def client_of(
    platform: httpx.AsyncBaseTransport,
    *,
    retry: RetryPolicy | None = None,
    limits: Limits | None = None,
    polling: Polling | None = None,
) -> Client:
    """Return a client that sends all requests to this platform."""
    return Client(
        USERNAME,
        PASSWORD,
        http_client=httpx.AsyncClient(transport=platform),
        retry=retry or RetryPolicy(),
        limits=limits or Limits(requests_per_second=1e6, burst=10**6),
        polling=polling or Polling(),
    )
