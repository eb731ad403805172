"""Stand in for UP42 behind an httpx transport: no socket, so that it works on a virtual clock too."""

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
    """One request as it came in."""

    number: int
    """1 for the first of its kind: logins and calls are counted apart."""
    at: float
    """When it came, on the clock of the loop, in seconds."""
    method: str
    url: str
    token: str | None
    body: bytes


class FakePlatform(httpx.AsyncBaseTransport):
    """Answer logins and calls by two functions that a test may replace, and note what was asked when."""

    def __init__(self, *, latency: float = 0.0) -> None:
        self.latency = latency
        self.login: Callable[[Asked], httpx.Response] = grant
        self.api: Callable[[Asked], httpx.Response] = lambda _: httpx.Response(200, json={})
        self.logins: list[Asked] = []
        self.calls: list[Asked] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Note the request, let the latency pass, answer."""
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
    """Answer a login with a token that tells which login it came from."""
    return httpx.Response(200, json={"access_token": f"token-{asked.number}", "expires_in": 300, **facts})


def accepting_only(is_good: Callable[[str], bool]) -> Callable[[Asked], httpx.Response]:
    """Answer calls with 401 unless their token is good."""
    return lambda asked: httpx.Response(200 if asked.token and is_good(asked.token) else 401, json={})


def client_of(
    platform: httpx.AsyncBaseTransport,
    *,
    retry: RetryPolicy | None = None,
    limits: Limits | None = None,
    polling: Polling | None = None,
) -> Client:
    """Make a client that talks to this platform only."""
    return Client(
        USERNAME,
        PASSWORD,
        http_client=httpx.AsyncClient(transport=platform),
        retry=retry or RetryPolicy(),
        limits=limits or Limits(requests_per_second=1e6, burst=10**6),
        polling=polling or Polling(),
    )
