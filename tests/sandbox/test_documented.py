"""Every fault has a place in the documentation."""

import shlex
from pathlib import Path

import httpx
import pytest

from up42_async.sandbox import Sandbox, faults

TESTING = Path(__file__).parents[2] / "docs" / "testing.md"
KINDS = [name for name, member in vars(faults).items() if isinstance(member, type) and hasattr(member, "apply")]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "Kind"])
def test_every_kind_of_fault_is_in_the_table(name: str) -> None:
    if not TESTING.exists():
        pytest.skip("the documentation is not here")
    rows = [line for line in TESTING.read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in row.split("|")[1] for row in rows)


def test_the_lines_for_a_sandbox_in_another_process_work() -> None:
    if not TESTING.exists():
        pytest.skip("the documentation is not here")
    text = TESTING.read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(lines) == 4
    with Sandbox(control_port=0) as sandbox:
        control = sandbox.control
        assert control is not None
        for line in lines:
            words = shlex.split(line.replace("$SECRET", control.secret).replace("$URL", control.url))[1:]
            header, (url,) = words[words.index("-H") + 1], [word for word in words if word.startswith("http://")]
            body = words[words.index("-d") + 1] if "-d" in words else None
            answer = httpx.request(
                "GET" if body is None else "POST", url, headers=dict([header.split(": ")]), content=body
            )
            assert answer.status_code == 200, (line, answer.text)
        assert len(sandbox.jobs) == 300
