"""The client: settings, lifecycle, and the current client. How one call is made is in `_http/session.py`."""

import datetime as dt
import functools
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import anyio
import httpx

from up42_async import _clock
from up42_async._client.balance import Balance, balance_request, read_balance
from up42_async._client.credentials import CredentialsFile, find_credentials
from up42_async._client.plain_request import plain_request
from up42_async._client.services import CachedCall, Service
from up42_async._client.statistics import Statistics
from up42_async._config import Endpoints, EndpointsLike, Limits, Polling, PollingLike, RetryPolicy, Timeouts
from up42_async._config.polling import checked_polling
from up42_async._config.settings import checked_endpoints
from up42_async._errors import UnexpectedResponseError
from up42_async._http.exchange import AsyncClientLike
from up42_async._http.requests import ApiRequest, Secret, segment
from up42_async._http.session import Session

logger = logging.getLogger("up42_async")

DEFAULT_TIMEOUTS = Timeouts()
DEFAULT_RETRY = RetryPolicy()
DEFAULT_LIMITS = Limits()
DEFAULT_POLLING = Polling()

ServiceT = TypeVar("ServiceT", bound=Service)


class Client:
    """A connection to one UP42 account: one pool of connections, one token and one rate limit for all tasks.

        async with up42.Client(username="...", password="...", region="eu"):
            job = await up42.Job.get(job_id)

    `async with Client(...)` makes it the current client for that task and those started inside; every verb also takes
    `client=`. A client belongs to the event loop in which it is made, or first used if it is made outside of one.
    """

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
        http_client: httpx.AsyncClient | AsyncClientLike | None = None,
    ) -> None:
        """Check the settings; nothing is opened, read or sent before the client is used.

        Args:
            username: E-mail address of the user.
            password: Its password.
            cfg_file: Path of a JSON file with `username` and `password`, instead of these two. When none of the three
                is given, the environment variables `UP42_USERNAME` and `UP42_PASSWORD` are used.
            region: `"eu"` or `"sa"`.
            workspace_id: Workspace in which jobs are made; the user's own when left out.
            endpoints: Hosts to use instead of the region's, such as the sandbox's.
            timeouts: How long one attempt at a request may take.
            retry: When a failed request is sent again.
            limits: How many requests and downloads run at once, and how many requests are sent in a second.
            polling: The schedule of `track` when it is called without one, and how long the client looks for a lost job
                or for results that are not visible yet; any object with the fields of `Polling`.
            http_client: An `httpx.AsyncClient` or `httpx2.AsyncClient` of yours to send with; it is not closed with
                this client. Its transport, mounts, proxies, certificates, HTTP/2 and event hooks are used; its auth,
                default headers, parameters, cookies, base URL, redirects and timeouts are not. Its pool should have at
                least `limits.max_concurrency` connections.

        Raises:
            TypeError: A setting of the wrong type, such as an `httpx.Client`, which is not asynchronous.
            ValueError: No or several sources of credentials, or a setting out of its range.
        """
        secret = Secret.of(password)
        del password  # so that the traceback of a refused setting does not show it
        found = find_credentials(username, secret, cfg_file)
        self._read_credentials = found.read if isinstance(found, CredentialsFile) else lambda: found
        _check_kind("timeouts", timeouts, Timeouts, "Timeouts(...)")
        _check_kind("retry", retry, RetryPolicy, "a RetryPolicy(...)")
        _check_kind("limits", limits, Limits, "Limits(...)")
        self._polling: Final = checked_polling(polling)
        if workspace_id is not None:
            segment(workspace_id, "workspace_id")
        of_region = Endpoints.of_region(region)  # also with endpoints, so that no wrong region is accepted
        self._endpoints = of_region if endpoints is None else checked_endpoints(endpoints)
        self._closing = anyio.Event()
        self._session = Session(
            self._read_credentials,
            self._endpoints,
            timeouts=timeouts,
            retry=retry,
            limits=limits,
            http_client=http_client,
            closing=self._closing,
            check_usable=self._check_usable,
        )
        self._given_workspace_id = workspace_id
        self._known_user_id = CachedCall[str]()
        self._services: dict[object, Service] = {}
        self._loop_token = _running_loop()
        self._closed = self._entered = False
        self._outer: Client | None = None

    async def __aenter__(self) -> Self:
        """Make this the current client.

        Raises:
            RuntimeError: The client is closed, entered already, or belongs to another event loop.
            ConfigurationError: The credentials file cannot be used.
        """
        self._check_usable()
        if self._entered:
            raise RuntimeError("this client is entered already; use it inside, or make another one")
        self._read_credentials()
        self._entered = True
        self._outer = _current.get()
        _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore the client that was current before, and close this one."""
        if _current.get() is self:
            _current.set(self._outer)
        self._outer = None
        await self.aclose()

    async def aclose(self) -> None:
        """End the requests under way and close the connections; a second call does nothing.

        Raises:
            RuntimeError: The client belongs to another event loop.
        """
        if self._closed:
            return
        self._check_loop()
        self._closed = True
        self._closing.set()
        for service in self._services.values():
            service.close()
        await self._session.aclose()

    def __del__(self) -> None:
        """Warn (`ResourceWarning`) when connections were opened and not closed."""
        session: Session | None = self.__dict__.get("_session")  # a client whose settings were refused has none
        if session is not None and session.is_open:
            message = f"unclosed {self!r}; use `async with` or `aclose()`"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        """Return the host and the state; never the credentials."""
        known = vars(self)  # a traceback may show a client whose settings were refused
        api = known["_endpoints"].api if "_endpoints" in known else "unusable settings"
        return f"<up42_async.Client of {api}{' (closed)' if known.get('_closed') else ''}>"

    def __reduce__(self) -> str:
        """Refuse to be pickled or copied.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a Client holds connections and credentials, so it cannot be pickled or copied; make a new one")

    async def workspace_id(self) -> str:
        """Return the id of the workspace in which jobs are made: the given one, else the user's own.

        Sends one request the first time when none was given. The user's own workspace has the id of the user, as in
        UP42's own SDK (`docs/platform.md`).

        Raises:
            APIError: The request failed; the subclass says how.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        if self._given_workspace_id is not None:
            return self._given_workspace_id
        return await self._user_id()

    async def _user_id(self) -> str:
        """Return the id of the user at UP42; one request, the first time.

        Raises:
            APIError: The request failed; the subclass says how.
        """
        return await self._known_user_id.get(self._ask_user_id)

    async def _ask_user_id(self) -> str:
        request = ApiRequest(method="GET", path="/userinfo", host="auth")
        answer = await self._session.call(request)
        subject = answer.get("sub") if isinstance(answer, dict) else None  # the name that OpenID Connect gives it
        if not isinstance(subject, str) or not subject:
            what = "an answer without the id of the user (`sub`); give workspace_id to the Client"
            raise UnexpectedResponseError(what, request=str(request))
        return subject

    async def balance(self, at: dt.datetime | None = None) -> Balance:
        """Return the credits that the account has left; one request.

        Args:
            at: Time of the balance; one without time zone counts as UTC. Now when left out.

        Raises:
            APIError: The request failed; the subclass says how.
            TypeError: `at` is not a datetime.
            ValueError: `at` lies outside the years 2 to 9998.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        request = balance_request(at)
        return read_balance(await self._session.call(request), request)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | float | Iterable[str] | None] | None = None,
        json: Any = None,
    ) -> Any:
        """Send one request to the API with this client's token and rate limit: for what this library does not cover.

        One request. Reads (GET, HEAD, OPTIONS) are sent again as `RetryPolicy` says; any other method only when the
        request certainly never arrived or was refused unprocessed (429, 401). When another method is cancelled after it
        was sent, its answer is waited for, up to `Timeouts.cancel_grace` seconds.

            budgets = await client.request("GET", "/v2/budgets", params={"page": 0, "size": 10})

        Args:
            method: HTTP method.
            path: Path below the API host, such as `/v2/processing/jobs`; ids in it quoted, no query.
            params: Query parameters; a list is joined by commas, None left out.
            json: Body.

        Returns:
            The decoded JSON of the answer; None when it has no body.

        Raises:
            APIError: No answer came, it was an error status, or it was not JSON; the subclass says which.
            TypeError: The method or the path is not a string, or the body cannot be written as JSON.
            ValueError: The method is unknown, the path is not one on the API host, or the body holds NaN or infinity.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        return await self._session.call(plain_request(method, path, params=params, json=json))

    @property
    def http_client(self) -> httpx.AsyncClient:
        """The AsyncClient that sends the requests: the one given as `http_client=`, else the client's own."""
        return cast("httpx.AsyncClient", self._session.http_client)

    def statistics(self) -> Statistics:
        """Return counts of the requests, logins and jobs of this client; no request."""
        session = self._session
        counts = Counter[str]()
        for service in self._services.values():
            counts.update(service.counts())
        paused = session.rate_limiter.paused_for()
        now = dt.datetime.fromtimestamp(_clock.wall(), dt.UTC)
        return Statistics(
            requests=session.requests,
            retried=session.retried,
            in_flight=session.in_flight,
            logins=session.tokens.logins,
            waiting=session.waiting,
            paused_until=now + dt.timedelta(seconds=paused) if paused > 0 else None,
            tracked=counts["tracked"],
            spent=counts["spent"],
        )

    def _service(self, kind: Callable[["Client"], ServiceT]) -> ServiceT:
        """Return the service of a class, which a layer above keeps for this client; made when it is first needed."""
        if kind not in self._services:
            self._services[kind] = kind(self)
        return cast("ServiceT", self._services[kind])

    def _check_usable(self) -> None:
        if self._closed:
            message = (
                "this client is closed; make a new one (the end of an `async with Client(...)` block closes it), and"
                " fetch with it, by id, what came from this one"
            )
            raise RuntimeError(message)
        self._check_loop()

    def _check_loop(self) -> None:
        token = anyio.lowlevel.current_token()
        if self._loop_token is None:
            self._loop_token = token
        elif self._loop_token != token:
            raise RuntimeError("this client belongs to another event loop or thread; make one client for each loop")


def _check_kind(name: str, value: object, kind: type, wanted: str) -> None:
    if not isinstance(value, kind):
        message = f"{name} must be {wanted}, not a {type(value).__name__}"
        raise TypeError(message)


def _running_loop() -> object:
    """Return the token of the running event loop, None outside of one."""
    try:
        return anyio.lowlevel.current_token()
    except RuntimeError:
        return None


_current: ContextVar[Client | None] = ContextVar("up42_async_client", default=None)


@functools.cache  # anyio.lowlevel is loaded at its first use, not at import
def _default() -> "anyio.lowlevel.RunVar[Client | None]":
    return anyio.lowlevel.RunVar("up42_async_default_client", None)


def set_default_client(client: Client | None) -> None:
    """Make a client the default of the running event loop: for all its tasks that have no other client.

    For a service or a notebook, whose endpoints or cells run in tasks of their own: open a client once, make it the
    default, and leave `client=` out everywhere. `client=`, the client of a job or item, and an
    `async with Client(...)` block come before the default. Each event loop has a default of its own. A client that was
    closed is no longer the default. No request.

    Args:
        client: The client; it is not entered, and you close it yourself. None removes the default.

    Raises:
        RuntimeError: No event loop runs, or the client is closed or belongs to another event loop.
        TypeError: `client` is not a `Client`.
    """
    if client is not None:
        _check_kind("client", client, Client, "an up42_async.Client")
    if _running_loop() is None:
        raise RuntimeError("set_default_client() needs a running event loop; call it in an async function")
    if client is not None:
        client._check_usable()  # noqa: SLF001 - its own module
    before = _open_default()
    if before is not None and client is not None and before is not client:
        logger.warning("%r replaces %r as the default client of this event loop", client, before)
    _default().set(client)


def _open_default() -> Client | None:
    """Return the default client of the running event loop, None when there is none or it is closed."""
    client = None if _running_loop() is None else _default().get()
    return None if client is None or client._closed else client  # noqa: SLF001 - its own module


def _entered() -> Client | None:
    """Return the client of the enclosing `async with` block, None when it belongs to another event loop.

    Contexts are copied into threads, and so into the event loops that run there, such as a service in a test.
    """
    client = _current.get()
    if client is None or client._loop_token in (None, _running_loop()):  # noqa: SLF001 - its own module
        return client
    return None


def current_client(client: Client | None = None) -> Client:
    """Return the client to use: the given one, else that of the enclosing `async with` block, else the default.

    Raises:
        RuntimeError: None was given, no `async with Client(...)` is open in this task, and no default is set.
        TypeError: `client` is not a `Client`.
    """
    found = client if client is not None else _entered() or _open_default() or _current.get()
    if found is None:
        message = (
            "no UP42 client: open one with `async with up42_async.Client(...)`, make one the default with"
            " `up42_async.set_default_client(client)`, or give one with `client=`"
        )
        raise RuntimeError(message)
    _check_kind("client", found, Client, "an up42_async.Client")
    return found
