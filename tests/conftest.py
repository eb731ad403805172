"""Run every async test on asyncio and on trio, in real or virtual time, and some with each kind of AsyncClient."""

import logging
import sys
from collections.abc import AsyncIterator, Generator, Iterator

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.http_clients import HTTP_CLIENTS, Maker
from tests.virtual_time import virtual_backend
from up42_async._processing import execution

# The same examples on each run, also on slow machines: a failure comes from the tested change and can be repeated.
# `--hypothesis-profile=explore` tries new examples.
FINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("explore", deadline=None, suppress_health_check=FINE)
settings.register_profile("steady", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("steady")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in slow tests: it would double their time, and the others cover every line and branch."""
    if item.get_closest_marker("slow") is None:
        return (yield)
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(trace)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Return the event loop of an async test, new for each test; on a virtual clock if it is marked `virtual_time`."""
    name: str = request.param
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(name)
    return name, {}


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Restore the library's logger after each test, since it belongs to the whole process."""
    logger = logging.getLogger("up42_async")
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    if logger.level != level:
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def forget_claims() -> None:
    """Forget which jobs earlier tests executed, so that tests may use the same host and job ids."""
    execution.TAKEN_JOBS._taken.clear()


@pytest.fixture(params=HTTP_CLIENTS.values(), ids=list(HTTP_CLIENTS))
def new_http_client(request: pytest.FixtureRequest) -> Maker:
    """Return a function that makes the `http_client` argument of a client: None, or a user's AsyncClient."""
    maker: Maker = request.param
    return maker


@pytest.fixture
async def http_client(new_http_client: Maker) -> AsyncIterator[httpx.AsyncClient | None]:
    """Yield the `http_client` argument of a client: None, or a user's AsyncClient, which the library must not close."""
    made = new_http_client()
    yield made
    if made is not None:
        assert not made.is_closed
        await made.aclose()
