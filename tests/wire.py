"""Send single requests through the library's `Sender`: without concurrency limit, rate limit, token or retries."""

import contextlib
from collections.abc import AsyncGenerator, Mapping

import attrs
import httpx

from up42_async._config import Limits, Timeouts
from up42_async._http.exchange import AsyncClientLike, BodyWriter, Sender, SendState
from up42_async._http.requests import NO_SECRET, Secret
from up42_async._http.responses import ApiResponse
from up42_async._http.transport import Connection, ConnectionStack, own_client


@attrs.frozen(kw_only=True)
class Message:
    """The arguments of one request."""

    method: str = "GET"
    url: str | Secret
    headers: Mapping[str, str | Secret] = attrs.field(factory=dict)
    body: bytes = b""
    label: str = "GET /v2/jobs"
    secret: Secret = NO_SECRET
    state: SendState | None = None
    fresh: bool = False


class Wire:
    """Sends requests on an AsyncClient, by default the library's own."""

    def __init__(
        self,
        http_client: AsyncClientLike | None = None,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.stack = ConnectionStack()
        self.http_client = own_client(self.stack) if http_client is None else http_client
        self.sender = Sender(self.http_client, timeouts=timeouts or Timeouts(), limits=limits or Limits())

    async def send(self, message: Message) -> ApiResponse:
        request = self.sender.build(message.method, message.url, message.headers, message.body, fresh=message.fresh)
        return await self.sender.send(request, label=message.label, secret=message.secret, state=message.state)

    async def fetch(self, message: Message, writer: BodyWriter) -> ApiResponse:
        request = self.sender.build(message.method, message.url, message.headers)
        return await self.sender.send(request, label=message.label, secret=message.secret, writer=writer)

    async def aclose(self) -> None:
        await self.sender.aclose()
        await self.http_client.aclose()


def on_transport(transport: httpx.AsyncBaseTransport) -> Wire:
    """Return a `Wire` on a user's transport."""
    return Wire(httpx.AsyncClient(transport=transport))


@contextlib.asynccontextmanager
async def wire(*, body: int = 2**20, **times: float) -> AsyncGenerator[Wire]:
    """Yield a `Wire` on the library's own AsyncClient, and close it after the block."""
    one = Wire(timeouts=Timeouts(**times), limits=Limits(max_response_bytes=body))
    try:
        yield one
    finally:
        await one.aclose()


def idle(stack: ConnectionStack) -> list[Connection]:
    """Return the idle connections of a stack."""
    return list(stack._idle)
