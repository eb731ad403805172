"""Be the client: its lifecycle, which one is current, and one call from its slot to its decoded answer.

One call, from the outside in:

    call                   retry: as often as the policy, the budget and the request allow
    _in_slot               slot: one of at most 20, given up between two tries
    _with_token            rate, then token; a token that is refused is thrown away and the request sent once more
    _attempt               attempt: one exchange in its lane, then decode
"""

import datetime as dt
import logging
import os
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast

import anyio
import anyio.lowlevel
import attrs
from anyio.lowlevel import RunVar

from up42_async import _clock
from up42_async._config import (
    VERSION,
    Endpoints,
    EndpointsLike,
    Limits,
    Polling,
    PollingLike,
    RetryPolicy,
    Timeouts,
)
from up42_async._errors import APIError, AuthenticationError, RateLimitError, UnexpectedResponseError
from up42_async._http.auth import Auth
from up42_async._http.credentials import find_credentials
from up42_async._http.dates import http_date
from up42_async._http.exchange import Lane, Sink
from up42_async._http.messages import Message, Receipt, Reply, Request
from up42_async._http.rate_limiter import RateGate
from up42_async._http.responses import decode
from up42_async._http.retry import Attempts, RetryBudget
from up42_async._http.single_flight import Once
from up42_async._http.urls import segment

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("up42_async")

DEFAULT_TIMEOUTS = Timeouts()
DEFAULT_RETRY = RetryPolicy()
DEFAULT_LIMITS = Limits()
DEFAULT_POLLING = Polling()


class Companion(Protocol):
    """What a layer above keeps for one client, such as the schedule of its tracked jobs."""

    def close(self) -> None:
        """Let go of whoever waits: the client is closing."""


CompanionT = TypeVar("CompanionT", bound=Companion)


@attrs.frozen(kw_only=True)
class Statistics:
    """What a client has done so far, and is doing."""

    requests: int
    """Requests sent to the API, repeated ones included; logins and files are not."""
    retried: int
    """How many of them were sent because an earlier try failed."""
    in_flight: int
    """Requests under way now."""
    logins: int
    """Tokens asked for."""


class Client:
    """A connection to one UP42 account: one pool of connections, one token, one pace for all tasks that use it.

        async with up42.Client(username="...", password="...", region="eu"):
            job = await up42.Job.get(job_id)

    `async with Client(...)` makes it the current client for that task and those started inside; every verb also takes
    `client=`. A client belongs to the event loop in which it is made, or first used if it is made outside of one.

    Of its own there is little to call: `workspace_id`, `statistics` and `aclose`. The other methods serve jobs,
    templates and files.
    """

    _lanes: tuple[Lane, ...] = ()  # so that a client whose settings were refused can be dropped in silence

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        cfg_file: str | os.PathLike[str] | None = None,
        *,
        region: str = "eu",
        workspace_id: str | None = None,
        endpoints: Endpoints | EndpointsLike | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        retry: RetryPolicy = DEFAULT_RETRY,
        limits: Limits = DEFAULT_LIMITS,
        polling: Polling | PollingLike = DEFAULT_POLLING,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        """Check the settings; nothing is opened, read or sent before the client is used.

        Args:
            username: E-mail address of the account.
            password: Its password.
            cfg_file: Path of a JSON file with `username` and `password`, instead of these two. Without any of the three
                the environment variables `UP42_USERNAME` and `UP42_PASSWORD` are taken.
            region: `"eu"` or `"sa"`.
            workspace_id: Workspace in which jobs are made; the user's own when left out.
            endpoints: Other hosts than the region's, such as the sandbox's.
            timeouts: How long an attempt may take.
            retry: When a failed request is sent again.
            limits: How much is done at once.
            polling: When jobs are asked for where `track` is not told otherwise, and how long a lost job or results
                that are not visible yet are looked for; anything with the fields of `Polling` will do.
            transport: An httpx transport to send with, instead of our own connections; not closed with the client.
                Since it cannot prove that a request never left, a failed execution is then never sent again.

        Raises:
            TypeError: A setting of the wrong type, such as a transport that is not an asynchronous one.
            ValueError: Not exactly one source of credentials, or a setting that cannot be right.
        """
        _check_kind("timeouts", timeouts, Timeouts, "Timeouts(...)")
        _check_kind("retry", retry, RetryPolicy, "a RetryPolicy(...)")
        _check_kind("limits", limits, Limits, "Limits(...)")
        self._polling: Final = Polling.of(polling)
        _check_transport(transport)
        if workspace_id is not None:
            segment(workspace_id, "workspace_id")
        self._endpoints = Endpoints.of_region(region) if endpoints is None else _endpoints_of(endpoints)
        credentials = find_credentials(username, password, cfg_file, os.environ)
        self._retry = retry
        self._budget = RetryBudget(retry)
        self._closing = anyio.Event()
        self._gate = RateGate(limits, self._closing)
        self._slots = anyio.CapacityLimiter(limits.max_concurrency)
        self._api_lane = Lane(timeouts=timeouts, limits=limits, foreign=transport)
        self._spending_lane = Lane(timeouts=timeouts, limits=limits, foreign=transport, keep=False)
        self._auth_lane = Lane(timeouts=timeouts, limits=limits, foreign=transport)
        self._file_lane = Lane(timeouts=timeouts, limits=limits, foreign=transport)
        self.file_slots: Final = anyio.CapacityLimiter(limits.max_downloads)
        self._lanes = (self._api_lane, self._spending_lane, self._auth_lane, self._file_lane)
        self._auth = Auth(credentials, self._endpoints, self._auth_lane, retry, self._closing)
        self._given_workspace_id = workspace_id
        self._workspace_id = Once[str]()
        self._companions: dict[object, Companion] = {}
        self._home = _running_loop()
        self._closed = self._entered = False
        self._outer: Client | None = None
        self._requests = self._retried = 0
        self._server_date: tuple[str, float] | None = None

    async def __aenter__(self) -> Self:
        """Make this the current client.

        Raises:
            RuntimeError: It is closed, or entered already.
            ConfigurationError: The credentials file cannot be used.
        """
        self._check_usable()
        if self._entered:
            message = "this client is entered already; use it inside, or make another one"
            raise RuntimeError(message)
        await self._auth.read_credentials()
        self._entered = True
        self._outer = _current.get()
        _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Make the client that was current before the current one again, and close this one."""
        if _current.get() is self:
            _current.set(self._outer)
        self._outer = None
        await self.aclose()

    async def aclose(self) -> None:
        """End what is under way and close the connections; closing twice does nothing more."""
        if self._closed:
            return
        self._check_loop()
        self._closed = True
        self._closing.set()
        for companion in self._companions.values():
            companion.close()
        async with anyio.create_task_group() as group:
            for lane in self._lanes:
                group.start_soon(lane.aclose)

    def __del__(self) -> None:
        """Complain when connections were opened and not closed."""
        if any(lane.is_open for lane in self._lanes):
            message = f"unclosed {self!r}; use `async with` or `aclose()`"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        """Return the host and the state; never the credentials."""
        return f"<up42_async.Client of {self._endpoints.api}{' (closed)' if self._closed else ''}>"

    def __reduce__(self) -> str:
        """Refuse to be pickled or copied.

        Raises:
            TypeError: Always.
        """
        message = "a Client holds connections and credentials, so it cannot be pickled or copied; make a new one"
        raise TypeError(message)

    async def workspace_id(self) -> str:
        """Return the workspace in which jobs are made: the one given, else the user's own, asked for once.

        Raises:
            APIError: UP42 could not be asked.
        """
        if self._given_workspace_id is not None:
            return self._given_workspace_id
        return await self._workspace_id.get(self._ask_workspace_id)

    async def _ask_workspace_id(self) -> str:
        request = Request(method="GET", path="/userinfo", host="auth")
        answer = await self.call(request)
        # the user's own workspace has the id of the user, which OpenID Connect calls `sub`
        subject = answer.get("sub") if isinstance(answer, dict) else None
        if not isinstance(subject, str) or not subject:
            message = "an answer without the id of the user (`sub`); give workspace_id to the Client"
            raise UnexpectedResponseError(message, request=str(request))
        return subject

    @property
    def api(self) -> str:
        """Base URL of the API."""
        return self._endpoints.api

    def statistics(self) -> Statistics:
        """Return what the client has done so far."""
        return Statistics(
            requests=self._requests,
            retried=self._retried,
            in_flight=int(self._slots.borrowed_tokens),
            logins=self._auth.logins,
        )

    def server_time(self) -> dt.datetime:
        """Return the time on UP42's clock as far as it is known, to the second; our own before the first answer."""
        wall = _clock.wall()
        if self._server_date is not None:
            text, seen = self._server_date
            date = http_date(text)
            if date is not None:
                return date + dt.timedelta(seconds=max(0.0, wall - seen))
        return dt.datetime.fromtimestamp(wall, dt.UTC)

    def companion(self, kind: Callable[["Client"], CompanionT]) -> CompanionT:
        """Return what a layer above keeps for this client, made the first time it is asked for.

        Args:
            kind: Class of the companion.
        """
        if kind not in self._companions:
            self._companions[kind] = kind(self)
        return cast("CompanionT", self._companions[kind])

    async def call(self, request: Request, *, receipt: Receipt | None = None) -> Any:
        """Ask UP42 one thing.

        Args:
            request: What to ask.
            receipt: Given, and filled in, for a request that must not be sent twice.

        Returns:
            The decoded JSON of the answer; None when it has no body.

        Raises:
            APIError: The answer did not come, was a refusal or made no sense; the subclass says which.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        if receipt is None and not request.repeatable:
            receipt = Receipt()  # it shows whether the request left, and holds off cancellation when it did
        attempts = self.attempts()
        while True:
            attempts.tries += 1
            outcome = await self._in_slot(request, receipt, again=attempts.tries > 1)
            if not isinstance(outcome, APIError):
                self._budget.earn()
                return outcome
            pause = attempts.pause_after(outcome, repeatable=request.repeatable, now=_clock.now())
            self._hold_back(outcome, pause)
            if pause is None:
                raise outcome
            await self.pause(pause)
            self._retried += 1

    async def fetch(self, message: Message, sink: Sink) -> Reply:
        """Fetch a file from a storage host, once, on connections that carry files only; the caller holds a file slot.

        The message is the caller's own, without the token: it goes to a host that is not UP42's.

        Args:
            message: The request.
            sink: What takes the answer while it comes.

        Returns:
            The answer, without its body.

        Raises:
            TransportError: No answer came, or it broke off; the sink has what came of it.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        self._check_usable()
        return await self._file_lane.fetch(message, sink)

    def attempts(self) -> Attempts:
        """Return the account of a new row of tries, by this client's policy and within its budget."""
        return Attempts(self._retry, self._budget, started=_clock.now())

    async def pause(self, seconds: float) -> None:
        """Wait before another try, less when the client is closed meanwhile.

        Args:
            seconds: How long.
        """
        await _clock.wait_for(self._closing, seconds)

    def _hold_back(self, outcome: APIError, pause: float | None) -> None:
        """Make everybody wait when UP42 says that there are too many requests."""
        if isinstance(outcome, RateLimitError):
            asked = outcome.retry_after if outcome.retry_after is not None else pause or 0.0
            self._gate.pause(min(asked, self._retry.max_retry_after))

    async def _in_slot(self, request: Request, receipt: Receipt | None, *, again: bool) -> Any:
        try:
            self._slots.acquire_nowait()  # a slot that is free is worth no turn of the event loop
        except anyio.WouldBlock:
            await self._slots.acquire()
        try:
            return await self._with_token(request, receipt, again=again)
        finally:
            self._slots.release()

    async def _with_token(self, request: Request, receipt: Receipt | None, *, again: bool) -> Any:
        await self._gate.enter()
        token = await self._auth.token()
        outcome = await self._attempt(request, receipt, token, again=again)
        if isinstance(outcome, AuthenticationError):
            # refused before it was processed, so even an execution may be sent once more
            self._auth.reject(token)
            self._retried += 1
            await self._gate.enter()
            outcome = await self._attempt(request, receipt, await self._auth.token(), again=again)
        return outcome

    async def _attempt(self, request: Request, receipt: Receipt | None, token: str, *, again: bool) -> Any:
        """Send once; return the decoded answer, or the failure as a value: the layers above decide what it means."""
        self._check_open()
        self._requests += 1
        try:
            reply = await self._lane(request).send(self._message(request, receipt, token, again=again))
            self._note_date(reply)
            return decode(reply, request, secret=token)
        except APIError as error:
            return error

    def _lane(self, request: Request) -> Lane:
        if not request.repeatable:
            return self._spending_lane
        return self._auth_lane if request.host == "auth" else self._api_lane

    def _message(self, request: Request, receipt: Receipt | None, token: str, *, again: bool) -> Message:
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
            receipt=receipt,
            fresh=again,
        )

    def _note_date(self, reply: Reply) -> None:
        date = reply.headers.get("date")
        if date is not None:
            self._server_date = (date, _clock.wall())

    def _check_usable(self) -> None:
        self._check_open()
        self._check_loop()

    def _check_open(self) -> None:
        if self._closed:
            message = (
                "this client is closed; make a new one (the end of an `async with Client(...)` block closes it), and"
                " fetch with it, by id, what came from this one"
            )
            raise RuntimeError(message)

    def _check_loop(self) -> None:
        home = anyio.lowlevel.current_token()
        if self._home is None:
            self._home = home
        elif self._home != home:
            message = "this client belongs to another event loop or thread; make one client for each loop"
            raise RuntimeError(message)


def _check_kind(name: str, value: object, kind: type | UnionType, wanted: str) -> None:
    if not isinstance(value, kind):
        message = f"{name} must be {wanted}, not a {type(value).__name__}"
        raise TypeError(message)


def _check_transport(transport: object) -> None:
    if transport is not None:
        import httpx  # whoever gives a transport has it already; for nobody else it is worth waiting for

        _check_kind("transport", transport, httpx.AsyncBaseTransport, "an httpx.AsyncBaseTransport")


def _endpoints_of(given: object) -> Endpoints:
    """Return the two hosts that anything with both of them names."""
    api, auth = getattr(given, "api", None), getattr(given, "auth", None)
    if api is None or auth is None:
        message = f"endpoints must be Endpoints(api=..., auth=...), not a {type(given).__name__}"
        raise TypeError(message)
    return Endpoints(api=api, auth=auth)


def _running_loop() -> object:
    """Return what stands for the event loop that is running, None outside of one."""
    try:
        return anyio.lowlevel.current_token()
    except RuntimeError:
        return None


_current: ContextVar[Client | None] = ContextVar("up42_async_client", default=None)
_default: RunVar[Client | None] = RunVar("up42_async_default_client", None)


def set_default_client(client: Client | None) -> None:
    """Make a client current for every task and context of the running event loop that has no closer one.

    For a service whose endpoints run in tasks of their own, or a notebook whose cells do: open a client once, make it
    the default, and leave `client=` out everywhere. An `async with Client(...)` block, the client of a job or item, and
    `client=` are closer and win. Each event loop has a default of its own. A client that is closed is none any more.

    Args:
        client: The client; it is not entered, and closing it stays yours. None takes the default back.

    Raises:
        RuntimeError: No event loop runs, or the client is closed or belongs to another event loop.
        TypeError: Something else than a client was given.
    """
    if client is not None:
        _check_kind("client", client, Client, "an up42_async.Client")
    if _running_loop() is None:
        raise RuntimeError("set_default_client() needs a running event loop; call it in an async function")
    if client is not None:
        client._check_usable()  # noqa: SLF001 - its own module
    before = _open_default()
    if before is not None and client is not None and before is not client:
        logger.warning("%r takes the place of %r as the default client of this event loop", client, before)
    _default.set(client)


def _open_default() -> Client | None:
    """Return the default client of the running event loop, None when there is none or it is closed."""
    client = None if _running_loop() is None else _default.get()
    return None if client is None or client._closed else client  # noqa: SLF001 - its own module


def current_client(client: Client | None = None) -> Client:
    """Return the client to use.

    Args:
        client: The client that was given, which wins; else that of the `async with` block around, else the default.

    Raises:
        RuntimeError: None was given, no `async with Client(...)` is open in this task, and no default is set.
        TypeError: Something else than a client was given.
    """
    found = client if client is not None else _current.get() or _open_default()
    if found is None:
        message = (
            "no UP42 client: open one with `async with up42_async.Client(...)`, make one the default with"
            " `up42_async.set_default_client(client)`, or give one with `client=`"
        )
        raise RuntimeError(message)
    _check_kind("client", found, Client, "an up42_async.Client")
    return found
