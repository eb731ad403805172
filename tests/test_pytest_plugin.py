"""A user's tests that use only the fixtures of this package, under each pytest plugin that runs async tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each test runs pytest in a process of its own

SIX_LINES = """\
import up42_async as up42

{mark}async def test_a_job_ends(up42_sandbox, up42_client):
    job = await (await up42.Job.get(up42_sandbox.seed_jobs(1)[0])).track()
    assert job.is_finished
"""
UNDER_ASYNCIO = ("-W", "error::ResourceWarning", "-o", "asyncio_default_fixture_loop_scope=function")
UNDER_ANYIO = ("-W", "error", "-p", "no:asyncio")


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a test file in a new process, without our conftest, settings or cache."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # so that no file of a parent folder is used
    (folder / "test_mine.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "up42_async.pytest_plugin", "-p", "no:cacheprovider", *options]
    env = {**os.environ, "PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603


def assert_passed(done: subprocess.CompletedProcess[str], number: int) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{number} passed" in done.stdout
    assert "Warning: unclosed" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mark", "options", "number"),
    [
        ("", (*UNDER_ANYIO, "-o", "anyio_mode=auto"), 2),
        ("import pytest\n@pytest.mark.anyio\n", UNDER_ANYIO, 2),
        ("", (*UNDER_ASYNCIO, "-o", "asyncio_mode=auto"), 1),
        ("import pytest\n@pytest.mark.asyncio\n", (*UNDER_ASYNCIO, "-o", "asyncio_mode=strict"), 1),
    ],
    ids=["anyio-auto", "anyio-marked", "asyncio-auto", "asyncio-strict"],
)
def test_the_six_line_example_passes_under_each_plugin(
    tmp_path: Path, mark: str, options: tuple[str, ...], number: int
) -> None:
    assert_passed(run(tmp_path, SIX_LINES.format(mark=mark), *options), number)


def test_fixtures_methods_and_parametrized_tests_can_use_the_client(tmp_path: Path) -> None:
    text = """\
import pytest
import up42_async as up42

@pytest.fixture
async def workspace(up42_client):
    yield await up42_client.workspace_id()

@pytest.mark.parametrize("number", [1, 2])
async def test_a_fixture_uses_it(workspace, number, up42_sandbox):
    assert workspace == up42_sandbox.workspace_id

class TestMethods:
    async def test_a_method_uses_it(self, up42_client):
        assert [job async for job in up42.Job.all()] == []
"""
    assert_passed(run(tmp_path, text, *UNDER_ANYIO, "-o", "anyio_mode=auto"), 6)


def test_each_test_has_a_new_sandbox(tmp_path: Path) -> None:
    text = """\
import pytest

@pytest.fixture(scope="session")
def up42_sandbox_options():
    return {"speed": 6000}

@pytest.mark.parametrize("number", [1, 2])
def test_nothing_is_left_of_another_test(up42_sandbox, number):
    assert len(up42_sandbox.jobs) == 0
    assert up42_sandbox.settings["polling"].wait == 0.01
    up42_sandbox.seed_jobs(3)
"""
    assert_passed(run(tmp_path, text, *UNDER_ANYIO), 2)


def test_a_synchronous_test_that_takes_the_client_fails_with_advice(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_plain(up42_client):\n    pass\n", *UNDER_ANYIO)
    assert done.returncode == 1
    assert "up42_client is for async tests, and test_plain is not async; use up42_sandbox" in done.stdout


def test_a_test_that_is_run_again_has_a_new_client_each_time(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"  # as pytest-rerunfailures does it
        "    for again in range(2):\n"
        "        reports = runtestprotocol(item, nextitem=nextitem, log=False)\n"
        "        item._initrequest()\n"
        "    for report in reports:\n"
        "        item.ihook.pytest_runtest_logreport(report=report)\n"
        "    return True\n",
        encoding="utf-8",
    )
    text = """\
import up42_async as up42
clients = set()

async def test_it(up42_client):
    clients.add(up42_client)
    assert [job async for job in up42.Job.all()] == []

def test_each_time():
    assert len(clients) == 4
"""
    assert_passed(run(tmp_path, text, *UNDER_ANYIO, "-o", "anyio_mode=auto"), 3)


@pytest.mark.parametrize("missing", ["cql2", "starlette", "uvicorn"])
def test_without_the_extra_there_are_no_fixtures_and_no_error(tmp_path: Path, missing: str) -> None:
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        f"util.find_spec = lambda name, *more: None if name == {missing!r} else found(name, *more)\n",
        encoding="utf-8",
    )
    text = """\
import sys
import pytest

@pytest.mark.parametrize("name", ["up42_sandbox", "up42_client", "up42_sandbox_options"])
def test_nothing_is_defined(request, name):
    assert "up42_async.pytest_plugin" in sys.modules
    with pytest.raises(pytest.FixtureLookupError):
        request.getfixturevalue(name)
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        assert_passed(run(tmp_path, text, *UNDER_ANYIO), 3)
