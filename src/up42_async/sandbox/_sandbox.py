"""The class Sandbox: its settings, start and stop, and its addresses."""

import secrets
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from starlette.types import ASGIApp

from up42_async.sandbox import _settings
from up42_async.sandbox._account import Credentials
from up42_async.sandbox._app import OriginsApp, api_app, files_app
from up42_async.sandbox._control_app import control_app
from up42_async.sandbox._control_faults import NumberedFaults
from up42_async.sandbox._controls_storage import StorageControls
from up42_async.sandbox._faults import Faults
from up42_async.sandbox._files_app import Sender
from up42_async.sandbox._routes_auth import REALM_PATH
from up42_async.sandbox._server import Origin, Server
from up42_async.sandbox._settings import Ending, LivesKind, Settings
from up42_async.sandbox._storage import Storage
from up42_async.sandbox._traffic import Traffic
from up42_async.sandbox._views import ClientSettings, SandboxControl, SandboxEndpoints, SandboxPolling
from up42_async.sandbox._world import World

_SECRET_BYTES = 18


class Sandbox(StorageControls):
    """A local server that behaves like UP42, in memory, on 127.0.0.1.

    Use it as `async with` (asyncio or trio) or as `with`: its server runs in a thread with an event loop of its own.
    `sandbox.app` can be called without a server, through `httpx.ASGITransport`. A library that keeps the GIL while it
    waits for an answer stops this thread, and so waits for ever: rasterio does while GDAL lists the directory of a
    file, unless `GDAL_DISABLE_READDIR_ON_OPEN=EMPTY_DIR` is set. Use a sandbox in another process for such libraries.

    The sandbox's clock begins at the wall clock's time and runs `speed` times as fast. Jobs,
    their timestamps and the Date header follow it. All other durations (tokens, latency, Retry-After) are real seconds.

    Args:
        speed: Sandbox seconds for each real second, above 0: at 60 an hour of processing takes a minute.
        port: The port of the API; 0 takes a free one.
        files_port: The port of the files, which are on an origin of their own; 0 takes a free one.
        control_port: The port of controls over HTTP, for tests in another process; 0 takes a free one; None for no
            controls. `sandbox.control` has their address, `python -m up42_async.sandbox --help` describes them.
        ending: The last statuses of jobs with credits: `"captured"` for captured and released, `"successful"` for
            successful and failed, `"mixed"` for both, half of each. Jobs without credits end as successful or failed.
        lives: The timelines of jobs. `"short"`: all end within half an hour of the sandbox's clock. `"recorded"`: as
            863 real jobs were recorded, whatever `ending` and `failure_rate` are, with the recorded distribution of
            queue and run times and the recorded shares of jobs that are restarted or never end.
        failure_rate: The share of accepted jobs that fail, 0 to 1.
        page_size_default: Jobs on a page of a request without `limit`, at least 1.
        page_size_max: The largest page, at least 1; a larger `limit` is cut to it.
        page_size_strict: Refuse a larger `limit` with 400 instead.
        ids_max: The largest number of `ids` in one list request; None for any number.
        ids_max_status: The status of the answer to a request with more ids: 400, 413 or 414.
        ids_page_size_max: The largest page of a list with `ids`; None for `page_size_max`.
        token_lifetime: Real seconds an access token is valid, whatever the speed.
        signed_url_lifetime: Real seconds a signed URL is valid.
        results_delay: Sandbox seconds from the success of a job until its results are visible. Before that, its
            collection is not found, and searches do not find its items.
        next_link_origin: The origin of the next links of item lists, such as `http://api.up42.com`, which the
            platform was recorded to send; None for the API's own origin.
        bandwidth: Bytes a second of files, all connections together; None for no limit.
        balance: Credits on the account.
        eula_accepted: Whether the account has accepted the EULAs of the processes.
        seed: The seed of the generators of ids, timelines and faults, so that runs can be repeated.
        latency: Real seconds between the work and its answer.
        keep_alive: Real seconds after which the server closes an idle connection.
        clock: Returns seconds that never decrease; `time.monotonic` if not given. Tests in virtual time pass their own.

    Raises:
        ValueError: A setting is out of its range.
    """

    def __init__(
        self,
        *,
        speed: float = _settings.DEFAULT_SPEED,
        port: int = 0,
        files_port: int = 0,
        control_port: int | None = None,
        ending: Ending = "captured",
        lives: LivesKind = "short",
        failure_rate: float = _settings.DEFAULT_FAILURE_RATE,
        page_size_default: int = _settings.DEFAULT_PAGE_SIZE,
        page_size_max: int = _settings.DEFAULT_PAGE_SIZE_MAX,
        page_size_strict: bool = False,
        ids_max: int | None = None,
        ids_max_status: int = 414,
        ids_page_size_max: int | None = None,
        token_lifetime: float = _settings.DEFAULT_TOKEN_LIFETIME,
        signed_url_lifetime: float = _settings.DEFAULT_SIGNED_URL_LIFETIME,
        results_delay: float = 0.0,
        next_link_origin: str | None = None,
        bandwidth: float | None = None,
        balance: int = _settings.DEFAULT_BALANCE,
        eula_accepted: bool = True,
        seed: int = 0,
        latency: float = 0.0,
        keep_alive: float = _settings.DEFAULT_KEEP_ALIVE,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._settings = Settings(
            speed=speed,
            port=port,
            files_port=files_port,
            control_port=control_port,
            ending=ending,
            lives=lives,
            failure_rate=failure_rate,
            page_size_default=page_size_default,
            page_size_max=page_size_max,
            page_size_strict=page_size_strict,
            ids_max=ids_max,
            ids_max_status=ids_max_status,
            ids_page_size_max=ids_page_size_max,
            token_lifetime=token_lifetime,
            signed_url_lifetime=signed_url_lifetime,
            results_delay=results_delay,
            next_link_origin=next_link_origin,
            bandwidth=bandwidth,
            balance=balance,
            eula_accepted=eula_accepted,
            seed=seed,
            latency=latency,
            keep_alive=keep_alive,
        )
        super().__init__(Storage(World(self._settings, time.monotonic if clock is None else clock)), Traffic())
        self._server: Server | None = None
        self._control_server: Server | None = None
        self._control: SandboxControl | None = None
        self.faults: Final = Faults(seed)
        """The faults that are on, see `up42_async.sandbox.faults`."""
        sender = Sender(self._settings.bandwidth)
        self._api_app = api_app(self._storage, sender, self._traffic, self.faults)
        self._files_app = files_app(self._storage, sender, self._traffic, self.faults)
        self._app = OriginsApp(self._api_app, self._files_app, self._world)
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._control_app = control_app(self, NumberedFaults(self.faults), self._secret)

    # Start and stop

    def start(self) -> None:
        """Start the server, which takes a few milliseconds and needs no event loop.

        Raises:
            RuntimeError: The sandbox is already serving.
            OSError: A port is taken.
        """
        if self._server is not None:
            raise RuntimeError("This sandbox serves already; one is started once, and stopped before it starts again.")
        settings = self._settings
        apps = [(self._api_app, settings.port), (self._files_app, settings.files_port)]
        origins = Origin.several(apps, self._traffic, settings.keep_alive)
        if settings.control_port is not None:
            self._serve_controls(settings.control_port, origins)
        self._world.serve_at(*(origin.url for origin in origins))
        self._server = Server(origins)
        self._server.start()

    def _serve_controls(self, port: int, others: Sequence[Origin]) -> None:
        """Serve the controls on a loop of their own, so that they can stop and drop connections of the sandbox."""
        try:
            origins = Origin.several([(self._control_app, port)], Traffic(), self._settings.keep_alive)
        except OSError:
            for other in others:
                other.give_back_port()
            raise
        self._control = SandboxControl(url=origins[0].url, secret=self._secret)
        self._control_server = Server(origins)
        self._control_server.start()

    def stop(self) -> None:
        """Stop the server, also in the middle of an answer. The state stays; a second call does nothing."""
        servers = (self._control_server, self._server)
        self._control_server = self._server = self._control = None
        for server in servers:
            if server is not None:
                server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop_listening(self, *, drop_connections: bool = True) -> None:
        """Refuse new connections until `start_listening`; the ports stay reserved.

        Args:
            drop_connections: Close the open ones too; otherwise they go on being served.
        """
        self._running().refuse()
        if drop_connections:
            self.drop_connections()

    def start_listening(self) -> None:
        """Accept connections again, on the same ports."""
        self._running().listen()

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close every open connection, idle or not.

        Args:
            reset: With an RST instead of a FIN.
        """
        self._running().drop_connections(reset=reset)

    def reset_next_connections(self, number: int) -> None:
        """Reset the next new connections as soon as they are open.

        Args:
            number: How many connections; 0 for no more.
        """
        self._traffic.connections_to_reset = number

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("This sandbox does not serve; start it with `with`, `async with` or `start()`.")
        return self._server

    def reset(self) -> None:
        """Go back to the state after construction, also while serving: for tests that share one sandbox.

        This covers jobs, executions, scripts, budgets, credits, EULAs, prices, storage, faults and counts. The clock
        goes on, and the server keeps its ports, its connections, and the tokens and signed URLs that it has issued.
        """
        with self._world.lock:
            self._world.reset()
            self._storage.reset()
            self._seed_storage()
        self._traffic.reset()
        self._traffic.connections_to_reset = 0
        self.faults.reset()

    # Addresses and credentials

    @property
    def app(self) -> ASGIApp:
        """Return the ASGI application of the API and the files, to be called without a server."""
        return self._app

    @property
    def settings(self) -> ClientSettings:
        """Return the arguments of a client for this sandbox: `up42.Client(**sandbox.settings)`.

        They are the credentials, the endpoints, and a `polling` that follows the sandbox's clock: at a `speed` of 600 a
        client queries every 0.1 s instead of every 60 s.
        """
        return ClientSettings(
            **self.credentials, endpoints=self.endpoints, polling=SandboxPolling.at(self._settings.speed)
        )

    @property
    def endpoints(self) -> SandboxEndpoints:
        """Return its addresses; without a server, a name that cannot be resolved."""
        return SandboxEndpoints(api=self._world.api_url, auth=f"{self._world.api_url}{REALM_PATH}")

    @property
    def control(self) -> SandboxControl | None:
        """Return the address of the controls over HTTP; None without `control_port`, and while it is not serving."""
        return self._control

    @property
    def files_url(self) -> str:
        """Return the origin of signed URLs, without a final slash."""
        return self._world.files_url

    @property
    def credentials(self) -> Credentials:
        """Return the `username` and `password` of its only user."""
        return self._world.account.credentials

    @property
    def workspace_id(self) -> str:
        """Return the id of the user and of the user's own workspace."""
        return self._world.account.workspace_id

    @property
    def account_id(self) -> str:
        """Return the id of the account."""
        return self._world.account.id
