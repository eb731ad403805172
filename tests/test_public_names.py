"""What ``import up42_async`` offers, and under which names."""

import ast
import inspect
import pickle
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import up42_async
from up42_async import Up42Error

PUBLIC = [
    "APIError",
    "Asset",
    "AuthenticationError",
    "Balance",
    "Budget",
    "Client",
    "ConfigurationError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "Cost",
    "CostLimitError",
    "DownloadBatch",
    "DownloadError",
    "DownloadErrorGroup",
    "DownloadProgress",
    "Endpoints",
    "EvaluationBatch",
    "ExecutionBatch",
    "ExecutionResult",
    "ExecutionUncertainError",
    "FileProgress",
    "InvalidCredentialsError",
    "InvalidTemplateError",
    "Job",
    "JobFailedError",
    "JobList",
    "JobMetadata",
    "JobResults",
    "JobSorting",
    "JobStatus",
    "JobTracker",
    "Journal",
    "JournalEntry",
    "JournalError",
    "Limits",
    "NotFoundError",
    "PaginationError",
    "PermissionDeniedError",
    "PipelineBatch",
    "PipelineResult",
    "Polling",
    "Process",
    "ProcessInput",
    "ProcessPrice",
    "RateLimitError",
    "RequestTimeoutError",
    "ResultFile",
    "RetryPolicy",
    "ServerError",
    "SortingField",
    "Statistics",
    "StatusError",
    "StatusUpdates",
    "TERMINAL_STATUSES",
    "Timeouts",
    "TransportError",
    "UnexpectedResponseError",
    "UnfinishedJob",
    "UntrustedURLError",
    "Up42Error",
    "Up42Properties",
    "ValidationError",
    "ValidityPeriod",
    "delete_collection",
    "download",
    "download_items",
    "evaluate",
    "execute",
    "get_collection",
    "get_item",
    "get_queryables",
    "initialize_asset",
    "list_collections",
    "pipeline",
    "search_items",
    "set_default_client",
    "signed_url",
    "track",
    "update_item",
]
PACKAGE = Path(str(up42_async.__file__)).parent
INIT = (PACKAGE / "__init__.py").read_text(encoding="utf-8")


def offered() -> list[str]:
    """Return the names that ``import up42_async`` offers, its submodules left out."""
    return sorted(
        name for name, value in vars(up42_async).items() if not (name.startswith("_") or isinstance(value, ModuleType))
    )


def all_errors(error: type[Up42Error] = Up42Error) -> set[type[Up42Error]]:
    """Return this error and everything that is derived from it."""
    return {error}.union(*(all_errors(one) for one in error.__subclasses__()))


def test_the_package_exports_exactly_the_public_names() -> None:
    assert offered() == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_the_package_as_their_module(name: str) -> None:
    value = getattr(up42_async, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (value.__module__, value.__qualname__) == ("up42_async", name)
        assert pickle.loads(pickle.dumps(value)) is value  # noqa: S301


def test_public_names_are_re_exported_as_themselves() -> None:
    imports = [node for node in ast.parse(INIT).body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.level or str(node.module).startswith("up42_async")]
    public = [alias for node in ours for alias in node.names if not str(alias.asname).startswith("_")]
    assert {alias.name for alias in public} >= set(PUBLIC)
    assert [alias.asname for alias in public] == [alias.name for alias in public]


def test_the_version_is_the_one_that_the_build_reads() -> None:
    root = Path(__file__).parent.parent
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["version"]
    (found,) = re.findall(version["pattern"], (root / version["path"]).read_text(encoding="utf-8"))
    assert up42_async.__version__ == found


def test_every_error_is_public() -> None:
    ours = {error.__name__ for error in all_errors() if error.__module__.startswith("up42_async")}
    assert ours <= set(PUBLIC)


def test_the_docstring_of_the_package_names_every_module() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    named = set(re.findall(r"\w+", str(up42_async.__doc__)))
    assert (modules | packages) - named == set()


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
