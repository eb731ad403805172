"""Running a sandbox alone."""

import ast
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from up42_async.sandbox.__main__ import main

COMMAND = [sys.executable, "-m", "up42_async.sandbox"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let new processes hear Ctrl-C, also where these tests run in the background and do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_prints_what_to_paste_and_ends_cleanly_on_ctrl_c() -> None:
    arguments = ["--speed", "60", "--jobs", "3", "--status", "running", "--assets", "2"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603
        assert running.stdout is not None
        assert running.stderr is not None
        lines = list(iter(running.stdout.readline, "    )\n"))
        call = ast.parse("".join(line[4:] for line in [*lines, "    )\n"] if line.startswith("    ")))
        words = {node.arg: node.value.value for node in ast.walk(call) if is_keyword_text(node)}  # type: ignore[attr-defined]
        form = {"grant_type": "password", "client_id": "up42-sdk"}
        form |= {name: words[name] for name in ("username", "password")}
        token = httpx.post(f"{words['auth']}/token", data=form).json()["access_token"]
        jobs = httpx.get(f"{words['api']}/v2/processing/jobs", headers={"authorization": f"Bearer {token}"}).json()
        assert [job["status"] for job in jobs["jobs"]] == ["running"] * 3
        assert running.stdout.readline() == "\n"
        assert running.stdout.readline().startswith("Assets in storage: 3. 68567134-27ad-")
        running.send_signal(signal.SIGINT)
        try:
            assert running.wait(10) == 0
        finally:
            running.kill()
        assert running.stdout.read().endswith("The sandbox has ended.\n")
        assert running.stderr.read() == ""


@pytest.mark.usefixtures("interruptible")
def test_says_where_the_controls_are_in_one_line_of_json() -> None:
    arguments = ["--json", "--control", "--lives", "recorded", "--speed", "600", "--jobs", "2"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603
        assert running.stdout is not None
        assert running.stderr is not None
        try:
            printed = json.loads(running.stdout.readline())
            settings, control = printed["settings"], printed["control"]
            assert settings["polling"]["wait"] == 0.1
            assert settings.keys() == {"username", "password", "endpoints", "polling"}
            headers = {"authorization": f"Bearer {control['secret']}"}
            assert len(httpx.get(f"{control['url']}/jobs", headers=headers).json()) == 2
            assert httpx.get(f"{control['url']}/settings", headers=headers).json() == settings
            running.send_signal(signal.SIGINT)
            assert running.wait(10) == 0
        finally:
            running.kill()
        assert (running.stdout.read(), running.stderr.read()) == ("", "")


def test_prints_the_secret_of_the_controls(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("up42_async.sandbox.__main__._wait", interrupt)
    assert main(["--control"]) == 0
    printed = capsys.readouterr().out
    assert "Its controls are at http://127.0.0.1:" in printed
    assert "Authorization: Bearer " in printed
    assert main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["control"] is None


def test_help_says_what_the_controls_can_do() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    for word in ("--control", "$URL/seed_jobs", "$URL/add_fault", "$URL/advance", "$URL/reset", "/requests"):
        assert word in done.stdout


def is_keyword_text(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant)


def fails(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    assert done.returncode == 2
    return done.stderr


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        message = fails("--port", str(taken.getsockname()[1]))
    assert "cannot use port" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--speed", "0"), ("--ending", "nowhere"), ("--unknown",)])
def test_a_wrong_setting_is_named(arguments: tuple[str, ...]) -> None:
    assert arguments[0].removeprefix("--") in fails(*arguments)


def test_the_command_can_be_called_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--speed", "0"]) == 2
    assert "speed" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["cql2", "starlette", "uvicorn"])
def test_a_missing_extra_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import up42_async.sandbox"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert (
        last == f"ImportError: The sandbox needs {missing}, which is not installed: pip install 'up42-async[sandbox]'"
    )
