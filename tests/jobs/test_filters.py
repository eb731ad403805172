"""The filters of a list of jobs: each is sent as UP42 expects it; an invalid one is refused without a request."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from up42_async import JobSorting, JobStatus
from up42_async._jobs.filters import Filters, arranged, checked, checked_page_size

NONE: dict[str, Any] = {
    "process_id": None,
    "workspace_id": None,
    "status": None,
    "min_duration": None,
    "max_duration": None,
    "sort_by": None,
    "ids": None,
}


def filters(**given_ones: Any) -> Filters:
    return checked(**{**NONE, **given_ones})


def query(limit: int | None = None, **given_ones: Any) -> dict[str, str]:
    parameters = parse_qs(filters(**given_ones).query(limit=limit), keep_blank_values=True, strict_parsing=True)
    return {name: value for name, (value,) in parameters.items()}


@pytest.mark.parametrize(
    ("given_ones", "expected"),
    [
        ({"process_id": ["a", "b"]}, {"processId": "a,b"}),
        ({"process_id": iter(["a"])}, {"processId": "a"}),
        ({"workspace_id": "w"}, {"workspaceId": "w"}),
        ({"status": [JobStatus.RUNNING, JobStatus.FAILED]}, {"status": "running,failed"}),
        ({"status": iter([JobStatus.CAPTURED])}, {"status": "captured"}),
        ({"status": [JobStatus("paused")]}, {"status": "paused"}),
        ({"min_duration": 0}, {"minDuration": "0"}),
        ({"min_duration": 5}, {"minDuration": "5"}),
        ({"max_duration": 0}, {"maxDuration": "0"}),
        ({"max_duration": 500}, {"maxDuration": "500"}),
        ({"sort_by": JobSorting.process_id}, {"sort": "processID,asc"}),
        ({"sort_by": JobSorting.status}, {"sort": "status,desc"}),
        ({"sort_by": JobSorting.created.asc}, {"sort": "created,asc"}),
        ({"sort_by": JobSorting.credits}, {"sort": "creditConsumption.credits,desc"}),
        ({"ids": ["1", "2", "1"]}, {"ids": "1,2,1"}),
        ({"limit": 20}, {"limit": "20"}),
        ({"process_id": {"only": 1}}, {"processId": "only"}),
        ({"workspace_id": "a&b=c d/é"}, {"workspaceId": "a&b=c d/é"}),
    ],
)
def test_each_filter_goes_into_the_query_as_up42_reads_it(given_ones: dict[str, Any], expected: dict[str, str]) -> None:
    assert query(**given_ones) == expected


def test_no_filter_is_no_query() -> None:
    assert filters().query(limit=None) == ""
    assert not filters().match_nothing


def test_the_parameters_are_in_a_fixed_order() -> None:
    everything = filters(
        ids=["i"],
        sort_by=JobSorting.created,
        max_duration=2,
        min_duration=1,
        status=[JobStatus.VALID],
        workspace_id="w",
        process_id=["p", "q"],
    )
    assert everything.query(limit=3) == (
        "workspaceId=w&processId=p%2Cq&status=valid&minDuration=1&maxDuration=2&limit=3&sort=created%2Cdesc&ids=i"
    )


@pytest.mark.parametrize("name", ["process_id", "status", "ids"])
@pytest.mark.parametrize("empty", [list, tuple, set, lambda: iter(())])
def test_an_empty_list_matches_nothing(name: str, empty: Callable[[], Iterable[Any]]) -> None:
    assert filters(**{name: empty()}).match_nothing


@pytest.mark.parametrize(
    ("given_ones", "kind", "message"),
    [
        ({"process_id": "a"}, TypeError, r"process_id must be a list of strings; write \['a'\]"),
        ({"process_id": 5}, TypeError, "process_id must be a list of strings, not 5"),
        ({"process_id": [5]}, TypeError, r"process_id\[0\] must be a string, not 5"),
        ({"process_id": [None]}, TypeError, r"process_id\[0\] must be a string, not None"),
        ({"process_id": b"ab"}, TypeError, "process_id must be a list of strings, not b'ab'"),
        ({"process_id": [""]}, ValueError, r"process_id\[0\] must not be an empty string"),
        ({"process_id": ["a,b"]}, ValueError, "process_id must not hold a comma: 'a,b'; give a list of several"),
        ({"ids": "a"}, TypeError, r"ids must be a list of strings; write \['a'\]"),
        ({"ids": ["a\r\nb"]}, ValueError, "ids 'a.*b' cannot be right"),
        ({"ids": ["x" * 10_000]}, ValueError, r"ids 'xxxxxxxxxxxxxxxxxxxx\.\.\.' cannot be right"),
        ({"ids": [".."]}, ValueError, r"ids '\.\.' cannot be right"),
        ({"workspace_id": ""}, ValueError, "workspace_id '' cannot be right"),
        ({"workspace_id": 5}, TypeError, "workspace_id must be a string, not int"),
        ({"status": "running"}, TypeError, "status must be a list of JobStatus, such as .* not 'running'"),
        ({"status": JobStatus.RUNNING}, TypeError, "status must be a list of JobStatus"),
        ({"status": ["running"]}, TypeError, r"status must be a list of JobStatus.* not \['running'\]"),
        ({"status": [JobStatus("one,two")]}, ValueError, "status must not hold a comma"),
        ({"min_duration": -1}, ValueError, "min_duration must be a whole number of seconds of at least 0, not -1"),
        ({"min_duration": True}, TypeError, "min_duration must be a whole number of seconds of at least 0, not True"),
        ({"max_duration": 1.5}, TypeError, "max_duration must be a whole number .* not 1.5"),
        ({"max_duration": "9"}, TypeError, "max_duration must be a whole number .* not '9'"),
        ({"sort_by": "created"}, TypeError, "sort_by must be one of JobSorting, .* not 'created'"),
        ({"sort_by": JobSorting}, TypeError, "sort_by must be one of JobSorting"),
    ],
)
def test_an_invalid_filter_is_refused(given_ones: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        filters(**given_ones)


@pytest.mark.parametrize(("value", "kind"), [(0, ValueError), (-5, ValueError), (True, TypeError), (1.0, TypeError)])
def test_a_page_size_is_a_whole_number_of_at_least_one(value: Any, kind: type[Exception]) -> None:
    assert checked_page_size(1) == 1
    with pytest.raises(kind, match=f"page_size must be a whole number of jobs of at least 1, not {value}"):
        checked_page_size(value)


@given(st.lists(st.none() | st.integers()), st.booleans())
def test_arranged_sorts_and_puts_missing_values_last(values: list[int | None], ascending: bool) -> None:
    in_order = arranged(values, value=lambda one: one, ascending=ascending)
    known = [one for one in values if one is not None]
    assert in_order == sorted(known, reverse=not ascending) + [None] * (len(values) - len(known))
