"""One call to UP42, from the wait for a slot to the decoded answer.

From the outside in:

    call                   sends again as often as the policy, the budget and the request allow
    _in_slot               holds one of `max_concurrency` slots; releases it between two tries and during an outage
    _with_token            replaces a token that UP42 refused, and sends once more
    _attempt               waits for the rate limit and for a token, sends once, and decodes the response
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import anyio

from up42_async import _clock
from up42_async._config import Endpoints, Limits, RetryPolicy, Timeouts
from up42_async._errors import APIError, RateLimitError, StatusError
from up42_async._http.auth import Credentials, TokenProvider
from up42_async._http.exchange import AsyncClientLike, BodyWriter, Sender, SendState
from up42_async._http.requests import ApiRequest, Secret
from up42_async._http.responses import ApiResponse, decode, http_date
from up42_async._http.retry import RetryState
from up42_async._http.throttling import CircuitBreaker, RateLimiter, RetryBudget
from up42_async._http.transport import ConnectionStack, own_client


class Session:
    """What all calls of one client share: its token, its pace, its slots, its retries and its connections."""

    def __init__(
        self,
        read_credentials: Callable[[], Credentials],
        endpoints: Endpoints,
        *,
        timeouts: Timeouts,
        retry: RetryPolicy,
        limits: Limits,
        http_client: AsyncClientLike | None,
        closing: anyio.Event,
        check_usable: Callable[[], None],
    ) -> None:
        """Open and send nothing yet.

        Args:
            read_credentials: Returns the credentials when the first token is needed.
            endpoints: The hosts.
            timeouts: How long one attempt may take.
            retry: When a failed request is sent again.
            limits: How many requests are sent at once and in a second.
            http_client: The user's AsyncClient; None for one of our own.
            closing: Set when the client is closed.
            check_usable: Raises `RuntimeError` when the client is closed, or used in another event loop.
        """
        self.requests = self.retried = 0
        self._calls = 0
        self.file_slots: Final = anyio.CapacityLimiter(limits.max_downloads)
        self._endpoints = endpoints
        self._retry = retry
        self._budget = RetryBudget(retry)
        self._closing = closing
        self._check_usable = check_usable
        self.rate_limiter: Final = RateLimiter(limits, closing)
        self._breaker = CircuitBreaker(retry)
        self._slots = anyio.CapacityLimiter(limits.max_concurrency)
        self._stack = ConnectionStack()
        self.http_client: Final = own_client(self._stack) if http_client is None else http_client
        self._is_own = http_client is None
        # a pool of the user need not be larger than `max_concurrency`: there a file takes a slot as a call does
        self._slot_for_file = contextlib.nullcontext() if http_client is None else self._slots
        self._sender = Sender(self.http_client, timeouts=timeouts, limits=limits)
        self.tokens: Final = TokenProvider(read_credentials, endpoints, self._sender, retry, closing)
        self._server_date: tuple[str, float] | None = None

    @property
    def api(self) -> str:
        """Base URL of the API."""
        return self._endpoints.api

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot now."""
        return int(self._slots.borrowed_tokens)

    @property
    def waiting(self) -> int:
        """Calls without a slot: they wait for one, for the next try, or for the end of an outage."""
        return max(0, self._calls - self.in_flight)

    @property
    def is_open(self) -> bool:
        """Whether connections of our own AsyncClient may still be open."""
        return self._stack.is_open

    async def aclose(self) -> None:
        """Cancel the requests under way and close the connections; an AsyncClient of the user stays open."""
        self._breaker.close()
        try:
            await self._sender.aclose()
        finally:  # also when asyncio cancels this task: connections that come back later are then closed at once
            if self._is_own:
                await self.http_client.aclose()

    async def call(self, request: ApiRequest, *, state: SendState | None = None) -> Any:
        """Send a request to UP42, and send it again as the retry policy allows.

        Args:
            request: What to send.
            state: Filled in while the request is sent, for a caller that must know whether it left.

        Returns:
            The decoded JSON of the answer; None when it has no body.

        Raises:
            APIError: No answer came, it was an error status, or it was not JSON; the subclass says which.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        if state is None and not request.idempotent:
            state = SendState()  # makes the exchange wait for the response when it is cancelled after it was sent
        retries = self.new_retry_state()
        self._calls += 1
        try:
            while isinstance(outcome := await self._in_slot(request, state, retries), APIError):
                free = self._breaker.is_open(request)  # during an outage the circuit breaker paces the retries
                delay = retries.next_delay(outcome, idempotent=request.idempotent, now=_clock.now(), free=free)
                self._pause_all(outcome, delay)
                if delay is None or request.was_executed(outcome):
                    raise outcome
                await self.pause(delay)
                self.retried += 1
        finally:
            self._calls -= 1
        self._budget.deposit()
        return outcome

    async def fetch(self, url: Secret, headers: Mapping[str, str], writer: BodyWriter, *, label: str) -> ApiResponse:
        """Download from a signed URL of another host: one request, without the token. The caller holds a file slot.

        Args:
            url: A signed URL.
            headers: Headers beside the `User-Agent`.
            writer: Takes the body as it arrives.
            label: Name of the request in errors.

        Returns:
            The response, without its body.

        Raises:
            TransportError: No response came, or it broke off; the writer has the part that came.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        request = self._sender.build("GET", url, headers)
        async with self._slot_for_file:
            return await self._sender.send(request, label=label, secret=url, writer=writer)

    def new_retry_state(self) -> RetryState:
        """Return the state of the retries of a new call, by this client's policy and budget."""
        return RetryState(policy=self._retry, try_withdraw=self._budget.try_withdraw, started=_clock.now())

    async def pause(self, seconds: float) -> None:
        """Wait before the next try; return early when the client is closed."""
        with anyio.move_on_after(seconds):
            await self._closing.wait()

    @property
    def knows_server_time(self) -> bool:
        """Whether a response has brought the time on UP42's clock (the `Date` header)."""
        return self._server_date is not None

    def server_time(self) -> dt.datetime:
        """Return the time on UP42's clock, to the second; that of our own clock before the first response."""
        wall = _clock.wall()
        if self._server_date is not None:
            text, seen = self._server_date
            date = http_date(text)
            if date is not None:
                return date + dt.timedelta(seconds=max(0.0, wall - seen))
        return dt.datetime.fromtimestamp(wall, dt.UTC)

    def _pause_all(self, outcome: APIError, delay: float | None) -> None:
        """Make all calls wait after a 429, for the time that UP42 asks for."""
        if isinstance(outcome, RateLimitError):
            asked = outcome.retry_after if outcome.retry_after is not None else delay or 0.0
            self.rate_limiter.pause(min(asked, self._retry.max_retry_after))

    async def _in_slot(self, request: ApiRequest, state: SendState | None, retries: RetryState) -> Any:
        """Send when there is a slot and no outage; a call that waits for the end of an outage holds no slot."""
        while True:
            try:
                self._slots.acquire_nowait()  # `acquire` runs all other tasks first, even when a slot is free
            except anyio.WouldBlock:
                await self._slots.acquire()
            if retries.began is None:
                retries.began = _clock.now()
            try:
                if self._breaker.allows(request):
                    retries.tries += 1
                    outcome = await self._with_token(request, state, retries)
                    self._breaker.record(request, outcome)
                    return outcome
            finally:
                self._slots.release()
            if not await self._breaker.wait(request, retries.deadline):
                raise retries.last or self._breaker.outage_error(request)

    async def _with_token(self, request: ApiRequest, state: SendState | None, retries: RetryState) -> Any:
        token, outcome = await self._attempt(request, state, retries)
        # the status alone counts: a gateway that checks the token sends another body with its 401 than UP42
        is_refused = isinstance(outcome, StatusError) and outcome.status == HTTPStatus.UNAUTHORIZED
        if is_refused and not request.was_executed(outcome):  # so even an execution may be sent once more
            self.tokens.invalidate(token)
            self.retried += 1
            _, outcome = await self._attempt(request, state, retries)
        return outcome

    async def _attempt(self, request: ApiRequest, state: SendState | None, retries: RetryState) -> tuple[Secret, Any]:
        """Send once; return the token that was sent, and the decoded answer or, as a value, the error in its place."""
        await self.rate_limiter.acquire()
        token = await self._token(retries.started)
        if self._closing.is_set():  # while this call waited
            self._check_usable()
        self.requests += 1
        try:
            message = self._message(request, token, fresh=retries.tries > 1 or not request.idempotent)
            response = await self._sender.send(
                message, label=str(request), secret=token, state=state, attempt=retries.tries
            )
            if (date := response.headers.get("date")) is not None:
                self._server_date = (date, _clock.wall())
            return token, decode(response, request, secret=token)
        except APIError as error:
            return token, error

    async def _token(self, since: float) -> Secret:
        """Return the token; each request needs one, so a fresh one is taken without asking its provider."""
        token = self.tokens.current
        if token is not None:
            margin = token.margin
            if token.expires - _clock.now() > margin and token.expires_wall - _clock.wall() > margin:
                return token.value
        return await self.tokens.token(since)

    def _message(self, request: ApiRequest, token: Secret, *, fresh: bool) -> Any:
        """Return the `httpx.Request`; the token is added only here, to a URL whose host is always one of UP42's."""
        base = self._endpoints.auth if request.host == "auth" else self._endpoints.api
        bearer = Secret(f"Bearer {token.reveal()}")
        headers: dict[str, str | Secret] = {"Accept": "application/json", "Authorization": bearer}
        if body := request.body:
            headers["Content-Type"] = "application/json"
        url = f"{base}{request.path}?{request.query}" if request.query else f"{base}{request.path}"
        return self._sender.build(request.method, url, headers, body, fresh=fresh)
