"""Run every async test on asyncio and on trio, in real or in virtual time."""

import pytest

from tests.virtual_time import virtual_backend
from up42_async._processing import execution_registry


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Name the loop an async test runs on; a new one for each test, on a virtual clock if the test is marked so."""
    name: str = request.param
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(name)
    return name, {}


@pytest.fixture(autouse=True)
def forget_claims() -> None:
    """Let platforms of different tests use the same host and the same ids of jobs."""
    execution_registry.TAKEN_JOBS.clear()
