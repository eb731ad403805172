"""What the examples say was spent is what the sandbox's own account says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from up42_async.sandbox import Sandbox

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["batch_execute", "detect_trees"])
def test_the_credits_that_an_example_sums_are_those_of_the_account(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Sandbox] = []

    def keep(**settings: Any) -> Sandbox:
        kept.append(Sandbox(**settings))
        return kept[-1]

    module = example(name)
    monkeypatch.setattr(module, "Sandbox", keep)
    monkeypatch.setattr("sys.argv", [name])
    anyio.run(module.main)
    (said,) = re.findall(r"([\d,]+) credits spent", capsys.readouterr().out)
    (sandbox,) = kept
    assert sandbox.balance.captured == int(said.replace(",", "")) > 0
    assert sandbox.balance.withheld == 0
