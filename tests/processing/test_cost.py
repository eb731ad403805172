"""What an execution costs, and how it compares."""

import copy
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from up42_async._errors import UnexpectedResponseError
from up42_async._http.requests import ApiRequest
from up42_async._processing.cost import Cost, read_cost

REQUEST = ApiRequest(method="POST", path="/v2/processing/processes/p/cost")
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.fractions()


@given(st.integers(), NUMBERS)
def test_a_cost_compares_with_a_number_as_its_credits_do(credits: int, number: Any) -> None:
    cost = Cost("area", credits)
    assert (cost < number) == (credits < number)
    assert (cost <= number) == (credits <= number)
    assert (cost > number) == (credits > number)
    assert (cost >= number) == (credits >= number)
    assert (number > cost) == (number > credits)


@given(st.integers(), st.integers())
def test_costs_compare_by_their_credits(one: int, other: int) -> None:
    ours, theirs = Cost("area", one, 3.5, "SQ_KM"), Cost("simple", other)
    assert (ours < theirs) == (one < other)
    assert (ours <= theirs) == (one <= other)
    assert (ours > theirs) == (one > other)
    assert (ours >= theirs) == (one >= other)


def test_nothing_is_above_or_below_nan() -> None:
    cost = Cost("area", 1)
    nan = float("nan")
    assert [cost < nan, cost <= nan, cost > nan, cost >= nan] == [False] * 4


@pytest.mark.parametrize("other", ["100", None, [100], 1j, Ellipsis], ids=str)
@pytest.mark.parametrize("operator", ["__lt__", "__le__", "__gt__", "__ge__"])
def test_what_is_no_number_and_no_cost_does_not_compare(operator: str, other: object) -> None:
    cost = Cost("area", 100)
    assert getattr(cost, operator)(other) is NotImplemented
    with pytest.raises(TypeError):
        assert cost < other  # type: ignore[operator]


def test_costs_are_values() -> None:
    cost = Cost("area", 63, 15.8, "SQ_KM")
    assert cost == Cost(strategy="area", credits=63, size=15.8, unit="SQ_KM")
    assert cost != Cost("area", 63)
    assert cost != 63
    assert len({cost, copy.copy(cost), pickle.loads(pickle.dumps(cost))}) == 1  # noqa: S301
    with pytest.raises(AttributeError):
        cost.credits = 0  # type: ignore[misc]


def test_the_size_is_a_float_and_may_be_missing() -> None:
    assert isinstance(Cost("area", 63, 15).size, float)
    assert Cost("simple", 5).size is None


def test_an_answer_becomes_a_cost() -> None:
    answer = {"pricingStrategy": "area", "totalCredits": 63, "totalSize": 15.8, "unit": "SQ_KM", "more": 1}
    assert read_cost(answer, REQUEST) == Cost("area", 63, 15.8, "SQ_KM")
    assert read_cost({"pricingStrategy": "simple", "totalCredits": 5.0}, REQUEST) == Cost("simple", 5)


@pytest.mark.parametrize(
    "change",
    [
        *({"totalCredits": bad} for bad in (math.nan, math.inf, -1, 2.5, True, "63", None, [63])),
        *({"totalSize": bad} for bad in (math.nan, math.inf, -1, "15", True)),
        {"pricingStrategy": None},
        {"unit": 3},
    ],
    ids=str,
)
def test_a_price_that_makes_no_sense_is_refused_with_the_request_named(change: dict[str, Any]) -> None:
    answer = {"pricingStrategy": "area", "totalCredits": 63, "totalSize": 15.8, "unit": "SQ_KM"}
    with pytest.raises(UnexpectedResponseError, match=r"POST /v2/processing/processes/p/cost: .*price"):
        read_cost({**answer, **change}, REQUEST)


@pytest.mark.parametrize("answer", [None, [], "63", {}, 63])
def test_an_answer_without_a_price_is_refused(answer: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="without a price"):
        read_cost(answer, REQUEST)


def test_a_cost_shows_in_one_line_in_notebooks() -> None:
    assert Cost("area", 1200, 15.8, "SQ_KM")._repr_html_() == "<p><b>1,200 credits</b> for 15.8 SQ_KM (area)</p>"
    assert Cost("<simple>", 3)._repr_html_() == "<p><b>3 credits</b> (&lt;simple&gt;)</p>"
