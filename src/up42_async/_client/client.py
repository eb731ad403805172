"""The client: settings, lifecycle, and which one is current. How one call is made is in `_http/session.py`."""

import datetime as dt
import functools
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from types import TracebackType, UnionType
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
            polling: The schedule of `track` when it is called without one, and how long a lost job or results that are
                not visible yet are looked for; anything with the fields of `Polling` will do.
            http_client: An `httpx.AsyncClient` of yours to send with (an `httpx2.AsyncClient` will do, too); it is not
                closed with this client. What belongs to the wire counts: transport, mounts, proxies, certificates,
                HTTP/2, event hooks. What belongs to requests does not: auth, default headers, parameters, cookies,
                base URL, redirects, timeouts. Its pool should have at least `limits.max_concurrency` connections.

        Raises:
            TypeError: A setting of the wrong type, such as an `httpx.Client`, which is not asynchronous.
            ValueError: Not exactly one source of credentials, or a setting that cannot be right.
        """
        secret = Secret.of(password)
        del password  # so that the traceback of a refused setting does not show it
        found = find_credentials(username, secret, cfg_file)
        self._read_credentials = found.read if isinstance(found, CredentialsFile) else lambda: found
        _check_kind("timeouts", timeouts, Timeouts, "Timeouts(...)")
        _check_kind("retry", retry, RetryPolicy, "a RetryPolicy(...)")
        _check_kind("limits", limits, Limits, "Limits(...)")
        self._polling: Final = Polling.of(polling)
        if workspace_id is not None:
            segment(workspace_id, "workspace_id")
        self._endpoints = Endpoints.of_region(region) if endpoints is None else Endpoints.of(endpoints)
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
            RuntimeError: It is closed, or entered already.
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
        """Return the workspace in which jobs are made: the one given, else the user's own, asked for once.

        Raises:
            APIError: UP42 could not be asked.
        """
        if self._given_workspace_id is not None:
            return self._given_workspace_id
        return await self._user_id()  # the user's own workspace has the id of the user

    async def _user_id(self) -> str:
        """Return the id of the user at UP42, asked for once.

        Raises:
            APIError: UP42 could not be asked.
        """
        return await self._known_user_id.get(self._ask_user_id)

    async def _ask_user_id(self) -> str:
        request = ApiRequest(method="GET", path="/userinfo", host="auth")
        answer = await self._session.call(request)
        subject = answer.get("sub") if isinstance(answer, dict) else None  # OpenID Connect calls it `sub`
        if not isinstance(subject, str) or not subject:
            what = "an answer without the id of the user (`sub`); give workspace_id to the Client"
            raise UnexpectedResponseError(what, request=str(request))
        return subject

    async def balance(self, at: dt.datetime | None = None) -> Balance:
        """Return the credits that the account has left; one request.

        Args:
            at: The moment whose balance is wanted; one without time zone counts as UTC. Now when left out.

        Raises:
            APIError: UP42 could not be asked.
            TypeError: `at` is no datetime.
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

        One request. Reads (GET, HEAD, OPTIONS) are sent again as `RetryPolicy` says; anything else only when it
        certainly never arrived or was refused unprocessed (429, 401), and when it is cancelled after it left, its
        answer is waited for, up to `Timeouts.cancel_grace` seconds.

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
            TypeError: A method or path that is no string, or a body that is no JSON.
            ValueError: A method that is none, or a path that cannot be right.
            RuntimeError: The client is closed, or belongs to another event loop.
        """
        return await self._session.call(plain_request(method, path, params=params, json=json))

    @property
    def http_client(self) -> httpx.AsyncClient:
        """The AsyncClient that requests are sent with: the one given as `http_client=`, else the client's own."""
        return cast("httpx.AsyncClient", self._session.http_client)

    def statistics(self) -> Statistics:
        """Return what the client has done so far, and is doing; costs no request."""
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
        """Return what a layer above keeps for this client, made the first time it is needed.

        Args:
            kind: Class of the service.
        """
        if kind not in self._services:
            self._services[kind] = kind(self)
        return cast("ServiceT", self._services[kind])

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
        token = anyio.lowlevel.current_token()
        if self._loop_token is None:
            self._loop_token = token
        elif self._loop_token != token:
            raise RuntimeError("this client belongs to another event loop or thread; make one client for each loop")


def _check_kind(name: str, value: object, kind: type | UnionType, wanted: str) -> None:
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
    _default().set(client)


def _open_default() -> Client | None:
    """Return the default client of the running event loop, None when there is none or it is closed."""
    client = None if _running_loop() is None else _default().get()
    return None if client is None or client._closed else client  # noqa: SLF001 - its own module


def _entered() -> Client | None:
    """Return the client of the `async with` block around, None when it belongs to another event loop.

    A context is copied into threads, and so into the event loops that run there: a service in a test, for one.
    """
    client = _current.get()
    if client is None or client._loop_token in (None, _running_loop()):  # noqa: SLF001 - its own module
        return client
    return None


def current_client(client: Client | None = None) -> Client:
    """Return the client to use.

    Args:
        client: The client that was given, which wins; else that of the `async with` block around, else the default.

    Raises:
        RuntimeError: None was given, no `async with Client(...)` is open in this task, and no default is set.
        TypeError: Something else than a client was given.
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
