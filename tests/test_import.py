"""Importing the package has no side effects, and loads no heavy or optional package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEPENDENCIES = "anyio, attrs, backoff, httpcore, httpx, pystac.stac_io, sniffio"


def in_a_new_interpreter(code: str, tmp_path: Path) -> str:
    """Run code in an interpreter without coverage and with warnings as errors; return its output."""
    # Coverage would load modules and open files of its own, which these tests would report.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


HEAVY = {
    "anyio.abc",
    "anyio.lowlevel",
    "requests",
    "rich",
    "starlette",
    "trio",
    "urllib3",
    "uvicorn",
}
"""anyio loads its tasks and locks (`anyio.abc`) at their first use, or when an annotation naming one is evaluated."""


def test_import_loads_no_heavy_or_optional_package(tmp_path: Path) -> None:
    code = f"""
import sys, {DEPENDENCIES}
before = set(sys.modules)  # httpx itself imports rich for its command line, where it finds it
import up42_async
print({HEAVY!r} & (sys.modules.keys() - before) or "none")
"""
    assert in_a_new_interpreter(code, tmp_path) == "none"


def test_import_does_not_load_the_sandbox(tmp_path: Path) -> None:
    code = "import sys, up42_async; print('up42_async.sandbox' in sys.modules)"
    assert in_a_new_interpreter(code, tmp_path) == "False"


def test_import_opens_nothing_but_python_modules(tmp_path: Path) -> None:
    code = f"""
import sys, {DEPENDENCIES}
seen = []
def watch(event, arguments):
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc", ".so", ".pyd")):
        seen.append((event, arguments))
    if event.startswith(("socket.", "ssl.", "subprocess.", "os.system", "os.exec", "os.fork", "os.spawn", "tempfile.")):
        seen.append((event, arguments))
sys.addaudithook(watch)
import up42_async
print(seen)
"""
    assert in_a_new_interpreter(code, tmp_path) == "[]"


def test_import_starts_no_thread_and_writes_no_file(tmp_path: Path) -> None:
    code = "import threading, up42_async; print(threading.active_count())"
    assert in_a_new_interpreter(code, tmp_path) == "1"
    assert list(tmp_path.iterdir()) == []


def test_import_adds_no_log_handler_and_sets_no_level(tmp_path: Path) -> None:
    code = f"""
import logging, {DEPENDENCIES}
def state():
    loggers = [logging.getLogger(), *map(logging.getLogger, sorted(logging.root.manager.loggerDict))]
    return {{one.name: (one.handlers[:], one.level, one.filters[:], one.propagate) for one in loggers}}
before = state()
import up42_async
after = state()
added = [after[name] for name in after.keys() - before.keys()]
print([after[name] for name in before] == list(before.values()), all(one == ([], 0, [], True) for one in added))
"""
    assert in_a_new_interpreter(code, tmp_path) == "True True"


def test_import_changes_no_warning_filter(tmp_path: Path) -> None:
    code = f"""
import warnings, {DEPENDENCIES}
before = warnings.filters[:]
import up42_async
print(warnings.filters == before)
"""
    assert in_a_new_interpreter(code, tmp_path) == "True"


def test_import_patches_none_of_its_dependencies(tmp_path: Path) -> None:
    # A module may define a name of its own at its first use (`__getattr__`); a class never does.
    code = f"""
import {DEPENDENCIES}
watched = [anyio, httpcore, httpx, httpx.AsyncClient]
watched += [pystac, pystac.Collection, pystac.Item, pystac.Link, pystac.StacIO]
before = [dict(vars(one)) for one in watched]
import up42_async
for one, old in zip(watched, before):
    for name, value in vars(one).items():
        if (name in old or isinstance(one, type)) and value is not old.get(name, ...):
            print(one, name)
"""
    assert in_a_new_interpreter(code, tmp_path) == ""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_certificates_are_read_once_and_without_blocking_the_event_loop(backend: str, tmp_path: Path) -> None:
    code = f"""
import threading, anyio, httpx
from up42_async._http import environment, transport
places = []
read = environment._new_context
def read_and_note(variables):
    places.append(threading.current_thread() is threading.main_thread())
    return read(variables)
environment._new_context = read_and_note
async def main():
    stack = transport.ConnectionStack()
    async def send():
        for url in ("http://127.0.0.1:1/", "https://127.0.0.1:1/"):
            try:
                await stack.handle_async_request(httpx.Request("GET", url))
            except httpx.ConnectError:
                pass
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(send)
anyio.run(main, backend={backend!r})
print(places)
"""
    assert in_a_new_interpreter(code, tmp_path) == "[False]"
