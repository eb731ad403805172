"""Fixtures for your own tests: a sandbox, and a client for it (extras `sandbox` and `pytest`).

    async def test_my_code(up42_client):
        job = (await my_code())[0]
        assert job.is_successful

They work with anyio's plugin, on asyncio and trio, and with pytest-asyncio, in both of its modes. pytest finds this
module by itself; without the extra `sandbox` it defines no fixture.
"""

import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

import up42_async as up42

_OPENED: Final = "__up42_opened__"
"""The attribute of a test function that already opens its client."""

SPEED: Final = 600.0
"""Sandbox seconds for each real second: a job of an hour takes six seconds."""

if all(importlib.util.find_spec(name) is not None for name in ("cql2", "starlette", "uvicorn")):

    @pytest.fixture(scope="session")
    def up42_sandbox_options() -> dict[str, Any]:
        """Arguments of the `Sandbox`, such as `{"speed": 60}`; define a fixture of this name to choose them."""
        return {}

    @pytest.fixture(scope="session")
    def _up42_server(up42_sandbox_options: dict[str, Any]) -> Iterator[Any]:
        from up42_async.sandbox import Sandbox  # its server takes a while to import, and many tests need none

        options: dict[str, Any] = {"speed": SPEED, **up42_sandbox_options}
        with Sandbox(**options) as sandbox:
            yield sandbox

    @pytest.fixture
    def up42_sandbox(_up42_server: Any) -> Any:
        """A sandbox in its initial state for each test; one server for the whole run.

        `up42.Client(**up42_sandbox.settings)` is a client for it.
        """
        _up42_server.reset()
        return _up42_server

    @pytest.fixture
    def up42_client(request: pytest.FixtureRequest, up42_sandbox: Any) -> up42.Client:
        """A client for `up42_sandbox`, the current one in an async test, and closed when the test function ends."""
        if not inspect.iscoroutinefunction(request.function):
            pytest.fail(
                f"up42_client is for async tests, and {request.node.name} is not async;"
                " use up42_sandbox, and open up42.Client(**up42_sandbox.settings) in your own event loop",
                pytrace=False,
            )
        return up42.Client(**up42_sandbox.settings)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let an async test run inside its client's `async with`, in the task of the test itself.

    A fixture cannot do that: not every plugin runs async fixtures in the task of the test. All of them await the test
    function.
    """
    if isinstance(item, pytest.Function) and "up42_client" in item.fixturenames:
        item.obj = _with_open_client(item)


def _with_open_client(item: pytest.Function) -> Callable[..., Any]:
    test: Callable[..., Any] = item.obj
    if not inspect.iscoroutinefunction(test) or hasattr(test, _OPENED):  # a test that is run again is set up again
        return test

    @functools.wraps(test)
    async def opened(*arguments: Any, **fixtures: Any) -> None:
        client: Any = item.funcargs["up42_client"]  # also where only a fixture of the test asked for it
        async with client:
            await test(*arguments, **fixtures)

    setattr(opened, _OPENED, True)
    return opened
