"""Errors: one tree, helpful messages, and copies and pickles that keep all attributes."""

import copy
import inspect
import pickle
from typing import Any

import pytest

from up42_async import _errors
from up42_async._errors import (
    APIError,
    ConnectionFailedError,
    StatusError,
    TransportError,
    Up42Error,
)

ERRORS = [error for _, error in inspect.getmembers(_errors, inspect.isclass) if issubclass(error, Up42Error)]
DOCUMENTED = [line for line in inspect.getdoc(_errors).splitlines() if "Error " in line or "──" in line]  # type: ignore[union-attr]


def facts_of(error: type[Up42Error]) -> dict[str, Any]:
    """Return a value for every keyword argument of an error, different from its default."""
    facts: dict[str, Any] = {}
    if issubclass(error, APIError):
        facts |= {"request": "GET /v2/processing/jobs", "tries": 3, "elapsed": 4.25}
    if issubclass(error, ConnectionFailedError):
        facts |= {"permanent": True}
    elif issubclass(error, APIError):
        facts |= {"transient": not error.transient, "request_id": "4bf92f35"}
    if issubclass(error, StatusError):
        facts |= {"status": 429, "code": "slow", "detail": "slow down", "payload": {"a": [1, None]}, "retry_after": 2.5}
        facts |= {"body": '{"a": [1, null]}', "from_platform": False}
    return facts


def through_pickle(error: Up42Error) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - our own errors


def parent_in_the_docstring(name: str) -> str:
    """Return the parent of an error in the tree in the module's docstring."""
    depths: list[tuple[int, str]] = []
    for line in DOCUMENTED:
        here = line.lstrip(" │├└─")
        depth, word = len(line) - len(here), here.split()[0]
        depths = [one for one in depths if one[0] < depth]
        if word == name:
            return depths[-1][1] if depths else "Exception"
        depths.append((depth, word))
    raise AssertionError(name)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_the_error_tree_in_the_docstring_matches_the_classes(error: type[Up42Error]) -> None:
    assert error.__base__ is not None
    assert parent_in_the_docstring(error.__name__) == error.__base__.__name__


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, through_pickle],
    ids=["copy", "deepcopy", "pickle"],
)
def test_errors_survive_copy_and_pickle(error: type[Up42Error], again: Any) -> None:
    facts = facts_of(error)
    first = error("what happened", **facts)
    first.add_note("a note")
    second = again(first)
    assert (type(second), str(second), second.args) == (error, str(first), first.args)
    assert {name: getattr(second, name) for name in facts} == facts
    assert second.__notes__ == ["a note"]


def test_the_message_names_the_request_the_problem_and_the_tries() -> None:
    error = APIError("no answer in time", request="GET /v2/processing/jobs", tries=3, elapsed=4.26)
    assert str(error) == "GET /v2/processing/jobs: no answer in time (3 tries in 4.3 s)"


def test_the_message_does_not_mention_a_single_try() -> None:
    assert str(APIError("gone", request="GET /a", tries=1, elapsed=9.0)) == "GET /a: gone"


def test_an_error_without_a_request_is_just_its_message() -> None:
    assert str(APIError("gone")) == "gone"


def test_the_message_names_the_request_id() -> None:
    assert str(APIError("gone", request="GET /a", request_id="4bf92f35")) == "GET /a: gone (request id 4bf92f35)"


def test_transient_and_permanent_errors_are_told_apart() -> None:
    failed = [error for error in ERRORS if issubclass(error, APIError)]
    assert {error.__name__ for error in failed if error("down").transient} == {
        *("TransportError", "ConnectionFailedError", "ConnectionLostError", "RequestTimeoutError"),
        *("RateLimitError", "ServerError"),
    }
    assert not ConnectionFailedError("an untrusted certificate", permanent=True).transient


@pytest.mark.parametrize("status", range(400, 600))
def test_some_statuses_mean_that_the_request_was_not_executed(status: int) -> None:
    refusals = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429}
    assert StatusError("no", status=status).refused == (status in refusals)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_the_name_of_every_error_ends_in_error_and_it_has_a_docstring(error: type[Up42Error]) -> None:
    assert error.__name__.endswith("Error")
    assert error.__doc__ != error.__base__.__doc__


def test_only_a_connection_that_failed_proves_that_the_server_got_nothing() -> None:
    transport = [error for error in ERRORS if issubclass(error, TransportError)]
    assert [error.__name__ for error in transport if not error("gone").may_have_arrived] == ["ConnectionFailedError"]
