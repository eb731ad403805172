"""The checks of arguments: a wrong type is a TypeError, a wrong value a ValueError, and the message names both."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from up42_async import Limits, RetryPolicy
from up42_async._config.arguments import integer, is_number, optional, real, string, strings


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integer_returns_an_int_for_any_whole_number(value: Any) -> None:
    number = integer(value, "size", least=1)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize(
    ("value", "kind"), [(1.5, float), (np.float32(1.5), float), (Fraction(3, 2), float), (2, int), (np.int16(2), int)]
)
def test_real_returns_an_int_or_a_float_for_any_number(value: Any, kind: type) -> None:
    number = real(value, "size")
    assert (number, type(number)) == (value, kind)


@pytest.mark.parametrize("value", [True, np.bool_(1), "3", 1.0, None, Decimal(3)])
def test_a_value_that_is_not_a_whole_number_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^size must be a whole number of bytes of at least 1, not "):
        integer(value, "size", least=1, unit="bytes")


@pytest.mark.parametrize("value", [0, 11, np.int64(0)])
def test_a_whole_number_out_of_bounds_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^size must be a whole number from 1 to 10, not "):
        integer(value, "size", least=1, most=10)


@pytest.mark.parametrize("value", [True, "3", None, Decimal(3), 1j])
def test_a_value_that_is_not_a_number_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^wait must be a number of seconds from 0 to 10, not "):
        real(value, "wait", least=0, most=10, unit="seconds")


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (math.nan, {}, "size must be a finite number, not nan"),
        (math.inf, {}, "size must be a finite number, not inf"),
        (Fraction(10**400, 3), {}, "size must be a finite number, not Fraction"),
        (-1, {"least": 0}, "size must be a number of at least 0, not -1"),
        (math.nan, {"least": 0}, "size must be a number of at least 0, not nan"),
        (0, {"above": 0}, "size must be a number above 0, not 0"),
        (11, {"least": 0, "most": 10}, "size must be a number from 0 to 10, not 11"),
    ],
)
def test_a_number_out_of_bounds_is_a_value_error(value: Any, bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        real(value, "size", **bounds)


def test_infinity_with_a_lower_bound_only_and_huge_integers_are_accepted() -> None:
    assert real(math.inf, "timeout", above=0) == math.inf
    assert real(10**400, "size") == 10**400


@pytest.mark.parametrize("values", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}, iter("ab")])
def test_any_iterable_of_strings_is_accepted(values: Any) -> None:
    assert strings(values, "keys") == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("abc", r"keys must be a list of strings; write \['abc'\]"),
        (b"abc", "keys must be a list of strings, not b'abc'"),
        (7, "keys must be a list of strings, not 7"),
        (["a", 7], r"keys\[1\] must be a string, not 7"),
    ],
)
def test_a_value_that_is_not_a_list_of_strings_is_a_type_error(values: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        strings(values, "keys")


def test_an_empty_string_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^keys\[0\] must not be an empty string$"):
        strings([""], "keys")


def test_optional_returns_none_unchanged_and_checks_other_values() -> None:
    assert optional(string, None, "title") is None
    assert optional(integer, 0, "size", least=0) == 0


def test_settings_accept_numpy_numbers_and_store_python_numbers() -> None:
    limits = Limits(max_concurrency=np.int64(5), requests_per_second=np.float32(2.5))  # type: ignore[arg-type]
    assert (limits.max_concurrency, type(limits.max_concurrency)) == (5, int)
    assert (limits.requests_per_second, type(limits.requests_per_second)) == (2.5, float)
    assert RetryPolicy(timeout=math.inf).timeout == math.inf


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, True), (-1.5, True), (10**17, True), (True, False), ("1", False), (None, False), (1e300, False)]
    + [(value, False) for value in (math.nan, math.inf, -math.inf, 10**400)],
)
def test_is_number_accepts_finite_numbers_of_plausible_size_only(value: Any, expected: bool) -> None:
    assert is_number(value) is expected
