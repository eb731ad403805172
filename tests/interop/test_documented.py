"""What the guide to HTTP shows of other packages runs as it is shown."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.raw_server import UNTRUSTED
from tests.test_documentation import ROOT, Reader, snippets
from up42_async.sandbox import Sandbox

GUIDE = ROOT / "docs" / "http.md"
TEST_FILE = "import pytest, up42_async as up42\n\npytestmark = pytest.mark.anyio\n\n"


def shown(words: str) -> str:
    """Return the snippet with these words."""
    (snippet,) = [snippet for snippet in snippets(GUIDE) if words in snippet]
    return snippet


def run_alone(*command: str, where: Path) -> str:
    """Run Python in a process of its own, which what is shown may change as it likes; return what it prints."""
    done = subprocess.run([sys.executable, *command], cwd=where, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "package"),
    [("import vcr", "vcr"), ("import httpx2", "httpx2"), ("http2=True", "h2"), ("load_cert_chain", "httpx")],
    ids=["vcrpy", "httpx2", "HTTP/2", "client certificate"],
)
async def test_clients_and_recorders(
    words: str, package: str, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    shutil.copy(UNTRUSTED, tmp_path / "client.pem")
    (job_id,) = sandbox.seed_jobs(1)
    reader = Reader(GUIDE, sandbox)
    await reader.run(shown(words))
    assert [job.id for job in reader.names["jobs"]] == [job_id]


async def test_respx(sandbox: Sandbox) -> None:
    pytest.importorskip("respx")
    # it stands in for the platform itself, so nothing of the sandbox's comes in
    await Reader(GUIDE, sandbox).run(shown("import respx").replace('username="...", password="..."', '"me", "secret"'))
    assert sandbox.count() == 0


def test_pytest_httpx(tmp_path: Path) -> None:
    pytest.importorskip("pytest_httpx")
    (tmp_path / "test_shown.py").write_text(TEST_FILE + shown("httpx_mock"), encoding="utf-8")
    assert "passed" in run_alone("-m", "pytest", "-q", "-p", "no:asyncio", "test_shown.py", where=tmp_path)


@pytest.mark.parametrize(
    ("words", "package"),
    [("from opentelemetry", "opentelemetry.instrumentation.httpx"), ("import sentry_sdk", "sentry_sdk")],
)
def test_documented_tracing_examples_run(words: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    run_alone("-c", shown(words).replace("https://...", "https://key@sentry.invalid/1"), where=tmp_path)
