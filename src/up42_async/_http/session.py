"""One call to UP42, from its slot to its decoded answer.

From the outside in:

    call                   retry: as often as the policy, the budget and the request allow
    _in_slot               slot: one of at most 20, given up between two tries and during an outage
    _with_token            rate, then token; a token that is refused is thrown away and the request sent once more
    _attempt               attempt: one exchange, then decode
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
from up42_async._http.retry import RetryBudget, RetryState
from up42_async._http.throttling import CircuitBreaker, RateLimiter
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

        `http_client` is the user's, None for one of our own; `closing` happens when the client is closed;
        `check_usable` raises when the client is closed, or used in another event loop.
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
        # a pool of the user's need not be larger than `max_concurrency`: files take their place in it as calls do
        self._place_in_pool = contextlib.nullcontext() if http_client is None else self._slots
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
        """Calls that are under way without a slot: they wait for one, for another try, or for the end of an outage."""
        return max(0, self._calls - self.in_flight)

    @property
    def is_open(self) -> bool:
        """Whether there may be connections that nobody has closed yet."""
        return self._stack.is_open

    async def aclose(self) -> None:
        """End what is under way, and close the connections; a client of the user's stays open."""
        self._breaker.close()
        try:
            await self._sender.aclose()
        finally:  # also when asyncio cancels this task: what is given back later is then closed at once
            if self._is_own:
                await self.http_client.aclose()

    async def call(self, request: ApiRequest, *, state: SendState | None = None) -> Any:
        """Send one request to UP42, again if need be.

        Args:
            request: What to send.
            state: Given, and filled in, for a request that must not be sent twice.

        Returns:
            The decoded JSON of the answer; None when it has no body.

        Raises:
            APIError: The answer did not come, was a refusal or made no sense; the subclass says which.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        if state is None and not request.idempotent:
            state = SendState()  # it shows whether the request left, and holds off cancellation when it did
        self._calls += 1
        try:
            return await self._until_answered(request, state)
        finally:
            self._calls -= 1

    async def _until_answered(self, request: ApiRequest, state: SendState | None) -> Any:
        retries = self.new_retry_state()
        while True:
            outcome = await self._in_slot(request, state, retries)
            if not isinstance(outcome, APIError):
                self._budget.deposit()
                return outcome
            free = self._breaker.is_open(request)  # then retries are paced as probes
            delay = retries.next_delay(outcome, idempotent=request.idempotent, now=_clock.now(), free=free)
            self._hold_back(outcome, delay)
            if delay is None or request.was_executed(outcome):
                raise outcome
            await self.pause(delay)
            self.retried += 1

    async def fetch(self, url: Secret, headers: Mapping[str, str], writer: BodyWriter, *, label: str) -> ApiResponse:
        """Fetch what a signed URL of another host leads to, once, without the token; the caller holds a file slot.

        Args:
            url: A signed URL.
            headers: What to send beside the `User-Agent`.
            writer: What takes the response while it comes.
            label: What errors call the request.

        Returns:
            The response, without its body.

        Raises:
            TransportError: No response came, or it broke off; the writer has what came of it.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        request = self._sender.build("GET", url, headers)
        async with self._place_in_pool:
            return await self._sender.send(request, label=label, secret=url, writer=writer)

    def new_retry_state(self) -> RetryState:
        """Return the account of a new row of tries, by this client's policy and within its budget."""
        return RetryState(self._retry, self._budget, started=_clock.now())

    async def pause(self, seconds: float) -> None:
        """Wait before another try, less when the client is closed meanwhile."""
        await _clock.wait_for(self._closing, seconds)

    @property
    def knows_server_time(self) -> bool:
        """Whether an answer has told the time on UP42's clock."""
        return self._server_date is not None

    def server_time(self) -> dt.datetime:
        """Return the time on UP42's clock as far as it is known, to the second; our own before the first answer."""
        wall = _clock.wall()
        if self._server_date is not None:
            text, seen = self._server_date
            date = http_date(text)
            if date is not None:
                return date + dt.timedelta(seconds=max(0.0, wall - seen))
        return dt.datetime.fromtimestamp(wall, dt.UTC)

    def _hold_back(self, outcome: APIError, delay: float | None) -> None:
        """Make all calls wait when UP42 says that there are too many requests."""
        if isinstance(outcome, RateLimitError):
            asked = outcome.retry_after if outcome.retry_after is not None else delay or 0.0
            self.rate_limiter.pause(min(asked, self._retry.max_retry_after))

    async def _in_slot(self, request: ApiRequest, state: SendState | None, retries: RetryState) -> Any:
        """Send when there is a slot and no outage; who waits for the end of an outage holds no slot."""
        while True:
            try:
                self._slots.acquire_nowait()  # a slot that is free is worth no turn of the event loop
            except anyio.WouldBlock:
                await self._slots.acquire()
            retries.begin(_clock.now())
            try:
                if self._breaker.allows(request):
                    retries.tries += 1
                    outcome = await self._with_token(request, state, retries)
                    self._breaker.record(request, outcome)
                    return outcome
            finally:
                self._slots.release()
            if not await self._breaker.wait(request, retries.deadline):
                raise retries.last or self._breaker.given_up(request)

    async def _with_token(self, request: ApiRequest, state: SendState | None, retries: RetryState) -> Any:
        token, outcome = await self._paced(request, state, retries)
        # gateways that check the token answer 401 in words of their own
        is_refused = isinstance(outcome, StatusError) and outcome.status == HTTPStatus.UNAUTHORIZED
        if is_refused and not request.was_executed(outcome):  # so even an execution may be sent once more
            self.tokens.invalidate(token)
            self.retried += 1
            _, outcome = await self._paced(request, state, retries)
        return outcome

    async def _paced(self, request: ApiRequest, state: SendState | None, retries: RetryState) -> tuple[Secret, Any]:
        await self.rate_limiter.acquire()
        token = await self.tokens.token(retries.started)
        return token, await self._attempt(request, state, token, attempt=retries.tries)

    async def _attempt(self, request: ApiRequest, state: SendState | None, token: Secret, *, attempt: int) -> Any:
        """Send once; return the decoded answer, or the failure as a value: the layers above decide what it means."""
        self._check_usable()
        self.requests += 1
        try:
            message = self._message(request, token, fresh=attempt > 1 or not request.idempotent)
            response = await self._sender.send(message, label=str(request), secret=token, state=state, attempt=attempt)
            if (date := response.headers.get("date")) is not None:
                self._server_date = (date, _clock.wall())
            return decode(response, request, secret=token)
        except APIError as error:
            return error

    def _message(self, request: ApiRequest, token: Secret, *, fresh: bool) -> Any:
        """Return the `httpx.Request`: only here the token meets a URL, whose host is always one of UP42's."""
        base = self._endpoints.auth if request.host == "auth" else self._endpoints.api
        bearer = Secret(f"Bearer {token.reveal()}")
        headers: dict[str, str | Secret] = {"Accept": "application/json", "Authorization": bearer}
        if body := request.body:
            headers["Content-Type"] = "application/json"
        url = f"{base}{request.path}?{request.query}" if request.query else f"{base}{request.path}"
        return self._sender.build(request.method, url, headers, body, fresh=fresh)
