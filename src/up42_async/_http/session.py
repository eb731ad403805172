"""One call to UP42, from its slot to its decoded answer.

From the outside in:

    call                   retry: as often as the policy, the budget and the request allow
    _in_slot               slot: one of at most 20, given up between two tries
    _with_token            rate, then token; a token that is refused is thrown away and the request sent once more
    _attempt               attempt: one exchange in its lane, then decode
"""

import datetime as dt
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio

from up42_async import _clock
from up42_async._config import VERSION, Endpoints, Limits, RetryPolicy, Timeouts
from up42_async._errors import APIError, RateLimitError, StatusError
from up42_async._http.auth import TokenProvider
from up42_async._http.credentials import Credentials, CredentialsFile
from up42_async._http.dates import http_date
from up42_async._http.exchange import BodyWriter, Lane
from up42_async._http.messages import ApiRequest, ApiResponse, Message, SendState
from up42_async._http.rate_limiter import RateLimiter
from up42_async._http.responses import decode
from up42_async._http.retry import RetryBudget, RetryState
from up42_async._http.secrets import Secret

if TYPE_CHECKING:
    import httpx


class Session:
    """What all calls of one client share: its token, its pace, its slots, its retries and its connections."""

    def __init__(
        self,
        credentials: Credentials | CredentialsFile,
        endpoints: Endpoints,
        *,
        timeouts: Timeouts,
        retry: RetryPolicy,
        limits: Limits,
        foreign: "httpx.AsyncBaseTransport | None",
        closing: anyio.Event,
        check_usable: Callable[[], None],
    ) -> None:
        """Open and send nothing yet.

        Args:
            credentials: What to log in with.
            endpoints: Where UP42 is.
            timeouts: How long an attempt may take.
            retry: When a failed request is sent again.
            limits: How much is done at once.
            foreign: A transport of the user's, instead of our connections.
            closing: Happens when the client is closed.
            check_usable: Raises when the client is closed, or used in another event loop.
        """
        self.requests = self.retried = 0
        self.file_slots: Final = anyio.CapacityLimiter(limits.max_downloads)
        self._endpoints = endpoints
        self._retry = retry
        self._budget = RetryBudget(retry)
        self._closing = closing
        self._check_usable = check_usable
        self._rate_limiter = RateLimiter(limits, closing)
        self._slots = anyio.CapacityLimiter(limits.max_concurrency)
        self._api_lane = Lane(timeouts=timeouts, limits=limits, foreign=foreign)
        self._spending_lane = Lane(timeouts=timeouts, limits=limits, foreign=foreign, keep=False)
        self._auth_lane = Lane(timeouts=timeouts, limits=limits, foreign=foreign)
        self._file_lane = Lane(timeouts=timeouts, limits=limits, foreign=foreign)
        self._lanes = (self._api_lane, self._spending_lane, self._auth_lane, self._file_lane)
        self.tokens: Final = TokenProvider(credentials, endpoints, self._auth_lane, retry, closing)
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
    def is_open(self) -> bool:
        """Whether there may be connections that nobody has closed yet."""
        return any(lane.is_open for lane in self._lanes)

    async def aclose(self) -> None:
        """End what is under way, and close the connections."""
        async with anyio.create_task_group() as group:
            for lane in self._lanes:
                group.start_soon(lane.aclose)

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
        retries = self.new_retry_state()
        while True:
            retries.tries += 1
            outcome = await self._in_slot(request, state, again=retries.tries > 1)
            if not isinstance(outcome, APIError):
                self._budget.deposit()
                return outcome
            delay = retries.next_delay(outcome, idempotent=request.idempotent, now=_clock.now())
            if _was_executed(request, outcome):
                delay = None
            self._hold_back(outcome, delay)
            if delay is None:
                raise outcome
            await self.pause(delay)
            self.retried += 1

    async def fetch(self, message: Message, writer: BodyWriter) -> ApiResponse:
        """Fetch a file from a storage host, once, on connections that carry files only; the caller holds a file slot.

        The message is the caller's own, without the token: it goes to a host that is not UP42's.

        Args:
            message: The request.
            writer: What takes the answer while it comes.

        Returns:
            The answer, without its body.

        Raises:
            TransportError: No answer came, or it broke off; the writer has what came of it.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        return await self._file_lane.fetch(message, writer)

    def new_retry_state(self) -> RetryState:
        """Return the account of a new row of tries, by this client's policy and within its budget."""
        return RetryState(self._retry, self._budget, started=_clock.now())

    async def pause(self, seconds: float) -> None:
        """Wait before another try, less when the client is closed meanwhile.

        Args:
            seconds: How long.
        """
        await _clock.wait_for(self._closing, seconds)

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
            self._rate_limiter.pause(min(asked, self._retry.max_retry_after))

    async def _in_slot(self, request: ApiRequest, state: SendState | None, *, again: bool) -> Any:
        try:
            self._slots.acquire_nowait()  # a slot that is free is worth no turn of the event loop
        except anyio.WouldBlock:
            await self._slots.acquire()
        try:
            return await self._with_token(request, state, again=again)
        finally:
            self._slots.release()

    async def _with_token(self, request: ApiRequest, state: SendState | None, *, again: bool) -> Any:
        await self._rate_limiter.acquire()
        token = await self.tokens.token()
        outcome = await self._attempt(request, state, token, again=again)
        if _is_unauthorized(outcome) and not _was_executed(request, outcome):
            # refused before it was processed, so even an execution may be sent once more
            self.tokens.invalidate(token)
            self.retried += 1
            await self._rate_limiter.acquire()
            outcome = await self._attempt(request, state, await self.tokens.token(), again=again)
        return outcome

    async def _attempt(self, request: ApiRequest, state: SendState | None, token: str, *, again: bool) -> Any:
        """Send once; return the decoded answer, or the failure as a value: the layers above decide what it means."""
        self._check_usable()
        self.requests += 1
        try:
            response = await self._lane(request).send(self._message(request, state, token, again=again))
            self._note_date(response)
            return decode(response, request, secret=Secret(token))
        except APIError as error:
            return error

    def _lane(self, request: ApiRequest) -> Lane:
        if not request.idempotent:
            return self._spending_lane
        return self._auth_lane if request.host == "auth" else self._api_lane

    def _message(self, request: ApiRequest, state: SendState | None, token: str, *, again: bool) -> Message:
        """Put a request on the wire: the only place where the token meets a URL, whose host is always one of UP42's."""
        base = self._endpoints.auth if request.host == "auth" else self._endpoints.api
        body = request.body
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"Bearer {token}",
            "User-Agent": f"up42-async/{VERSION}",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"{base}{request.path}?{request.query}" if request.query else f"{base}{request.path}"
        return Message(
            label=str(request),
            method=request.method,
            url=url,
            headers=headers,
            body=body,
            state=state,
            fresh=again,
        )

    def _note_date(self, response: ApiResponse) -> None:
        date = response.headers.get("date")
        if date is not None:
            self._server_date = (date, _clock.wall())


def _is_unauthorized(outcome: Any) -> bool:
    """Return whether the token was not accepted; gateways that check it answer in words of their own."""
    return isinstance(outcome, StatusError) and outcome.status == HTTPStatus.UNAUTHORIZED


def _was_executed(request: ApiRequest, outcome: APIError) -> bool:
    """Return whether a refused request was executed all the same: then it must not be sent again."""
    return request.was_executed is not None and request.was_executed(outcome)
