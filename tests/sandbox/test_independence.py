"""The sandbox shares no code with the client it is there to test."""

import ast
from importlib.metadata import packages_distributions
from pathlib import Path
from sys import stdlib_module_names

import pytest

import up42_async.sandbox

FOLDER = Path(up42_async.sandbox.__file__).parent
ALLOWED = {"anyio", "attrs", "cql2", "starlette", "uvicorn"}


def imported_by(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(f"{'.' * node.level}{node.module or ''}")
    return names


@pytest.mark.parametrize("file", sorted(FOLDER.glob("**/*.py")), ids=lambda file: file.name)
def test_a_module_imports_only_the_sandbox_the_standard_library_and_its_server(file: Path) -> None:
    others = {
        name
        for name in imported_by(file)
        if not f"{name}.".startswith("up42_async.sandbox.") and name.partition(".")[0] not in stdlib_module_names
    }
    assert {name.partition(".")[0] for name in others} <= ALLOWED


def test_what_it_may_import_is_what_its_extra_installs() -> None:
    assert packages_distributions().keys() >= ALLOWED
