"""Wrong use of a client raises an error at once that says what to do; it never hangs."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest

from tests import raw_server
from tests.chaos import leaks
from tests.http_clients import Maker, with_pool
from tests.raw_server import answer, platform, serve, wait_until
from up42_async._client import Client, current_client
from up42_async._config import Endpoints, Limits, RetryPolicy, Timeouts
from up42_async._errors import ConfigurationError, Up42Error
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest

JOBS = ApiRequest(method="GET", path="/v2/processing/jobs")
EXECUTION = ApiRequest(method="POST", path="/v2/execution", json={"title": "x"}, idempotent=False)
OTHER_LOOP = "this client belongs to another event loop or thread; make one client for each loop"
BACKENDS = ["asyncio", "trio"]


@pytest.fixture
def endpoints() -> Iterator[Endpoints]:
    """Run the servers in another thread, so that they outlive the event loops of a test."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(answer({"id": 1}))) as api,
        portal.wrap_async_context_manager(serve(raw_server.token())) as auth,
    ):
        yield Endpoints(api=api.url, auth=auth.url)


def client_of(endpoints: Endpoints, new_http_client: Maker = lambda: None) -> Client:
    return Client("person@example.com", "password", endpoints=endpoints, http_client=new_http_client())


async def _call_and_close(client: Client) -> Any:
    async with client:
        answered = await client._session.call(JOBS)
    await client.http_client.aclose()  # a client does not close a user's AsyncClient
    return answered


# Another loop


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_used_in_one_loop_cannot_be_used_in_another(
    endpoints: Endpoints, first: str, second: str, new_http_client: Maker
) -> None:
    client = client_of(endpoints, new_http_client)
    assert anyio.run(client._session.call, JOBS, backend=first) == {"id": 1}
    with pytest.raises(RuntimeError, match=OTHER_LOOP):
        anyio.run(_in_time, client._session.call, backend=second)
    with pytest.raises(RuntimeError, match=OTHER_LOOP):
        anyio.run(client.aclose, backend=second)
    with pytest.raises(RuntimeError, match=OTHER_LOOP):
        anyio.run(client.__aenter__, backend=second)
    del client
    gc.collect()


async def _in_time(misuse: Callable[[ApiRequest], Any]) -> None:
    with anyio.fail_after(10):
        await misuse(JOBS)


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_a_client_made_in_one_loop_cannot_be_used_in_another(endpoints: Endpoints, first: str, second: str) -> None:
    async def make() -> Client:
        return client_of(endpoints)

    client = anyio.run(make, backend=first)
    with pytest.raises(RuntimeError, match=OTHER_LOOP):
        anyio.run(_in_time, client._session.call, backend=second)


def test_a_client_made_outside_a_loop_belongs_to_the_first_loop_that_uses_it(
    endpoints: Endpoints, anyio_backend_name: str, new_http_client: Maker
) -> None:
    client = client_of(endpoints, new_http_client)
    assert anyio.run(_call_and_close, client, backend=anyio_backend_name) == {"id": 1}


async def test_a_client_cannot_be_used_by_the_loop_of_another_thread(
    anyio_backend_name: str, http_client: httpx.AsyncClient | None
) -> None:
    async with platform(answer(), http_client=http_client) as up:
        await up.client._session.call(JOBS)

        def elsewhere() -> None:
            anyio.run(_in_time, up.client._session.call, backend=anyio_backend_name)

        with pytest.raises(RuntimeError, match=OTHER_LOOP):
            await anyio.to_thread.run_sync(elsewhere)
        await up.client._session.call(JOBS)


def test_each_thread_can_have_a_client_of_its_own(
    endpoints: Endpoints, anyio_backend_name: str, new_http_client: Maker
) -> None:
    results: list[Any] = []

    def work() -> None:
        client = client_of(endpoints, new_http_client)
        results.append(anyio.run(_call_and_close, client, backend=anyio_backend_name))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [{"id": 1}] * 4


# Closed


async def test_calls_on_a_closed_client_are_refused(http_client: httpx.AsyncClient | None) -> None:
    async with platform(answer(), http_client=http_client) as up:
        await up.client.aclose()
        with pytest.raises(RuntimeError, match=r"this client is closed; make a new one"):
            await up.client._session.call(JOBS)
        with pytest.raises(RuntimeError, match=r"this client is closed"):
            await up.client.workspace_id()
        with pytest.raises(RuntimeError, match=r"this client is closed"):
            await up.client.__aenter__()
        assert "closed" in repr(up.client)


async def test_a_client_that_was_never_used_can_be_closed() -> None:
    client = Client("a", "b")
    await client.aclose()
    await client.aclose()


async def test_closing_twice_does_nothing_more(http_client: httpx.AsyncClient | None) -> None:
    async with platform(answer(), http_client=http_client) as up:
        await up.client._session.call(JOBS)
        await up.client.aclose()
        await up.client.aclose()


async def test_closing_ends_fifty_calls_at_once_with_an_error_that_says_so(
    http_client: httpx.AsyncClient | None,
) -> None:
    errors: list[str] = []

    async def call() -> None:
        with pytest.raises(RuntimeError) as caught:
            await up.client._session.call(JOBS)
        errors.append(str(caught.value))

    async with platform(raw_server.hang, http_client=http_client) as up, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(call)
        await wait_until(lambda: up.api.busy == 20)
        with anyio.fail_after(10):
            await up.client.aclose()
            await wait_until(lambda: len(errors) == 50)
        assert leaks.in_use(up.client) == 0
        await wait_until(lambda: up.api.open == 0)
    assert all("closed" in error and "make a new" in error for error in errors)


async def test_closing_ends_calls_that_wait_before_a_retry() -> None:
    async with platform(answer(status=503, Retry_After="100")) as up, anyio.create_task_group() as group:
        group.start_soon(_closed, up.client, JOBS)
        group.start_soon(_closed, up.client, JOBS)
        await wait_until(lambda: up.client.statistics().requests == 2 and up.client.statistics().in_flight == 0)
        with anyio.fail_after(10):
            await up.client.aclose()


async def test_closing_ends_calls_that_wait_for_a_token() -> None:
    for login in (raw_server.hang, answer(status=503, Retry_After="100")):
        async with platform(answer(), login=login) as up, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(_closed, up.client, JOBS)
            await wait_until(lambda: up.auth.requests != [])
            with anyio.fail_after(10):
                await up.client.aclose()
        assert (len(up.auth.requests), up.api.accepted) == (1, 0)


async def test_closing_ends_calls_that_wait_for_the_rate_limiter() -> None:
    async with platform(answer(), limits=Limits(requests_per_second=0.01, burst=1)) as up:
        await up.client._session.call(JOBS)
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(_closed, up.client, JOBS)
            await wait_until(lambda: up.client.statistics().in_flight == 20)
            with anyio.fail_after(10):
                await up.client.aclose()
    assert (len(up.api.requests), up.client.statistics().requests) == (1, 1)


async def _closed(client: Client, request: ApiRequest) -> None:
    with pytest.raises(RuntimeError, match="closed"):
        await client._session.call(request)
    assert "closed" in repr(client)


async def test_closing_waits_for_the_response_to_an_execution(http_client: httpx.AsyncClient | None) -> None:
    state, results = SendState(), []

    async def execute() -> None:
        results.append(await up.client._session.call(EXECUTION, state=state))

    async with (
        platform(answer({"id": 1}, delay=0.2), http_client=http_client) as up,
        anyio.create_task_group() as group,
    ):
        group.start_soon(execute)
        await wait_until(lambda: up.api.requests != [])
        await up.client.aclose()
        assert state.response is not None
    assert results == [{"id": 1}]


async def test_closing_waits_for_an_execution_for_a_bounded_time() -> None:
    async def execute() -> None:
        with pytest.raises(Exception, match=r"no complete answer within|closed"):
            await up.client._session.call(EXECUTION)

    async with (
        platform(raw_server.hang, timeouts=Timeouts(cancel_grace=0.1), retry=RetryPolicy(attempts=1)) as up,
        anyio.create_task_group() as group,
    ):
        group.start_soon(execute)
        await wait_until(lambda: up.api.requests != [])
        with anyio.fail_after(10):
            await up.client.aclose()


async def test_closing_completes_when_it_is_cancelled() -> None:
    async with platform(answer()) as up:
        await up.client._session.call(JOBS)
        await up.client._session.call(EXECUTION)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await up.client.aclose()
        await wait_until(lambda: up.api.open == 0 and up.auth.open == 0)


async def test_a_user_supplied_async_client_serves_several_clients_in_turn() -> None:
    """Also after one of the clients was closed while its calls were in flight."""

    async def ends(client: Client) -> None:
        with pytest.raises(RuntimeError, match="closed"):
            await client._session.call(JOBS)

    async with with_pool(5) as http_client, anyio.create_task_group() as group:
        async with platform(raw_server.hang, http_client=http_client) as up:
            for _ in range(5):
                group.start_soon(ends, up.client)
            await wait_until(lambda: up.api.busy == 5)
        async with platform(answer({"id": 1}), http_client=http_client, timeouts=Timeouts(pool=1)) as up:
            for _ in range(6):
                assert await up.client._session.call(JOBS) == {"id": 1}
            assert leaks.in_use(up.client) == 0


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_user_supplied_async_client_of_another_loop_does_not_hang(
    endpoints: Endpoints, first: str, second: str
) -> None:
    """A new client on an AsyncClient whose idle connections belong to a loop that has ended, may raise an Up42Error."""

    async def use(shared: httpx.AsyncClient) -> None:
        client = Client("a", "b", endpoints=endpoints, http_client=shared, retry=RetryPolicy(wait_initial=0.01))
        with anyio.fail_after(5):
            async with client:
                await client._session.call(JOBS)

    def use_in_both(shared: httpx.AsyncClient) -> None:
        anyio.run(use, shared, backend=first)
        with contextlib.suppress(Up42Error):
            anyio.run(use, shared, backend=second)

    use_in_both(with_pool())
    gc.collect()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.usefixtures("anyio_backend")
async def test_closing_completes_when_it_is_cancelled_by_asyncio() -> None:
    async with platform(raw_server.hang, timeouts=Timeouts(cancel_grace=0.2)) as up:
        task = asyncio.create_task(up.client._session.call(EXECUTION))
        await wait_until(lambda: up.api.requests != [])
        closing = asyncio.create_task(up.client.aclose())
        await asyncio.sleep(0.01)
        closing.cancel()
        assert isinstance((await asyncio.gather(closing, task, return_exceptions=True))[0], asyncio.CancelledError)
        await wait_until(lambda: up.api.open == 0 and up.auth.open == 0)


async def test_calls_still_running_at_the_end_of_the_block_end_with_an_error(
    http_client: httpx.AsyncClient | None,
) -> None:
    async with anyio.create_task_group() as group, platform(raw_server.hang, http_client=http_client) as up:
        group.start_soon(_closed, up.client, JOBS)
        await wait_until(lambda: up.api.busy == 1)


# Entered


async def test_a_client_cannot_be_entered_twice() -> None:
    async with platform(answer()) as up:
        with pytest.raises(RuntimeError, match=r"entered already"):
            await up.client.__aenter__()
        assert current_client() is up.client


async def test_without_a_client_the_error_names_both_ways_to_give_one() -> None:
    with pytest.raises(RuntimeError, match=r"async with up42_async\.Client\(\.\.\.\)`, .*, or give one with `client=`"):
        current_client()


async def test_dropping_a_client_that_could_not_be_entered_gives_no_warning(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        await Client(cfg_file=tmp_path / "missing.json").__aenter__()
    gc.collect()
    with pytest.raises(RuntimeError):
        current_client()


# Wrong arguments


WRONG: list[dict[str, Any]] = [
    {"region": "moon", "username": "a", "password": "b"},
    {"cfg_file": "x", "username": "y"},
    {"username": "only"},
]


@pytest.mark.parametrize("settings", WRONG, ids=str)
def test_a_client_with_wrong_settings_is_refused_and_gives_no_warning(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"region|cfg_file|password"):
        Client(**settings)
    with pytest.raises(TypeError, match="nonsense"):
        Client(**dict[str, Any](settings, nonsense=1))
    gc.collect()


@pytest.mark.parametrize("kind", [httpx.AsyncHTTPTransport, httpx.Client, object])
def test_only_an_async_client_is_accepted_as_http_client(kind: type[Any]) -> None:
    one = object.__new__(kind)
    with pytest.raises(TypeError, match=f"http_client must be an httpx.AsyncClient, not a {kind.__name__}"):
        Client("a", "b", http_client=one)
    if kind is httpx.Client:
        one.__init__()
        one.close()


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"timeouts": 5}, r"timeouts must be Timeouts\(...\), not a int"),
        ({"retry": None}, r"retry must be a RetryPolicy\(...\), not a NoneType"),
        ({"limits": {"rate": 5}}, r"limits must be Limits\(...\), not a dict"),
        ({"endpoints": "https://api.up42.com"}, r"endpoints must be Endpoints\(api=..., auth=...\), not a str"),
        ({"workspace_id": 5}, "workspace_id must be a string, not int"),
    ],
)
def test_a_setting_of_the_wrong_type_is_refused_by_name(setting: dict[str, Any], wanted: str) -> None:
    with pytest.raises(TypeError, match=f"^{wanted}$"):
        Client("a", "b", **setting)


def test_an_empty_workspace_is_refused() -> None:
    with pytest.raises(ValueError, match="^workspace_id '' cannot be right"):
        Client("a", "b", workspace_id="")


def test_only_a_client_is_accepted_as_client() -> None:
    given: Any = "person@example.com"
    with pytest.raises(TypeError, match="^client must be an up42_async.Client, not a str$"):
        current_client(given)
