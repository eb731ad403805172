"""Run variants in turn, each time in a new process, and summarise their cost."""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
_PATIENCE = 600.0


class WorkFailed(Exception):
    """A client process failed; the message is the end of its output."""


class Server:
    """A server in a process of its own, for as long as the block lasts."""

    def __init__(self, module: str = "server", **options: float | str) -> None:
        """Choose.

        Args:
            module: Which server of this package.
            options: Its options.
        """
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self._command = [sys.executable, "-m", f"benchmarks.{module}", *words]
        self._process: subprocess.Popen[str] | None = None
        self.base = ""

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.base = (self._process.stdout.readline() if self._process.stdout else "").strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def control(self, what: str, **order: Any) -> dict[str, Any]:
        """Tell the server what to serve, or get its counts.

        Args:
            what: `jobs`, `reset` or `counts`.
            order: The details.
        """
        base = urlsplit(self.base)
        kind = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
        connection = kind(base.netloc, timeout=60)
        connection.request("POST", f"/control/{what}", json.dumps(order))
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return answer


def work(client: str, workload: str, **order: Any) -> dict[str, Any]:
    """Run a client in a process of its own, and return what it measured.

    Raises:
        WorkFailed: It did not.
    """
    words = json.dumps({"client": client, "workload": workload, **order})
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.worker", words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise WorkFailed(f"{client}.{workload}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(server: Server, client: str, workload: str, **order: Any) -> dict[str, Any]:
    """Run a client against a server; return what both measured."""
    before = server.control("reset")
    result = work(client, workload, base=server.base, **order)
    after = server.control("counts")
    counts = {"requests": after.get("requests", 0), "connections": after.get("connections", 0)}
    return {**result, **counts, "server_cpu": after["cpu"] - before["cpu"]}
