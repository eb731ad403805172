"""Filters in CQL2-JSON."""

from typing import Any

import pytest

from up42_async.sandbox._cql2 import BadFilter, condition, required_values

ITEM = {
    "id": "item-1",
    "datetime": "2024-05-01T12:00:00Z",
    "up42-system:job_id": "job-1",
    "up42-user:title": "Trees, 100% of them",
    "cloud": 12.5,
    "checked": True,
}


def op(operator: str, *args: Any) -> dict[str, Any]:
    return {"op": operator, "args": list(args)}


def prop(name: str) -> dict[str, str]:
    return {"property": name}


YES, NO, UNKNOWN = op("=", prop("id"), "item-1"), op("=", prop("id"), "x"), op("=", prop("missing"), "x")


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        (op("=", prop("job_id"), "job-1"), True),
        (op("=", prop("up42-system:job_id"), "job-2"), False),
        (op("=", prop("properties.cloud"), 12.5), True),
        (op("=", prop("checked"), True), True),
        (op("<>", prop("cloud"), 12.5), False),
        (op("<", prop("cloud"), 12.5), False),
        (op("<=", prop("cloud"), 12.5), True),
        (op(">", prop("cloud"), 12), True),
        (op(">=", prop("cloud"), 13), False),
        (op(">", 13, prop("cloud")), True),
        (op("<", prop("title"), "Z"), True),
        (op("=", prop("cloud"), "12.5"), None),
        (op("=", prop("missing"), 1), None),
        (op("=", prop("datetime"), {"timestamp": "2024-05-01T14:00:00+02:00"}), True),
        (op(">", prop("datetime"), "2024-05-01T11:59:59.999Z"), True),
        (op("<", "2024-05-01T12:00:01Z", prop("datetime")), False),
        (op(">=", prop("datetime"), {"date": "2024-05-01"}), True),
        (op("=", prop("datetime"), "noon"), None),
        (op("=", "noon", prop("datetime")), None),
        (op("in", prop("id"), ["x", "item-1"]), True),
        (op("in", prop("id"), ["x"]), False),
        (op("in", prop("missing"), ["x"]), None),
        (op("like", prop("title"), "Trees%"), True),
        (op("like", prop("title"), "trees%"), False),
        (op("like", prop("title"), "%100\\% of _hem"), True),
        (op("like", prop("title"), "%100\\_ of%"), False),
        (op("like", prop("id"), "item.1"), False),
        (op("like", prop("cloud"), "%"), None),
        (op("isNull", prop("missing")), True),
        (op("isNull", prop("id")), False),
        (op("and", YES, YES), True),
        (op("and", YES, NO, UNKNOWN), False),
        (op("and", YES, UNKNOWN), None),
        (op("or", NO, YES, UNKNOWN), True),
        (op("or", NO, UNKNOWN), None),
        (op("or", NO, NO), False),
        (op("not", YES), False),
        (op("not", NO), True),
        (op("not", UNKNOWN), None),
    ],
    ids=str,
)
def test_a_filter_is_true_false_or_neither(expression: Any, truth: bool | None) -> None:
    assert condition(expression)(ITEM) is truth


def nested(depth: int) -> dict[str, Any]:
    return YES if depth == 0 else op("not", nested(depth - 1))


@pytest.mark.parametrize(
    "expression",
    [
        None,
        "id = 1",
        [],
        {},
        {"op": "="},
        {"op": "=", "args": "ab"},
        {"args": [1, 2]},
        op("=", prop("id")),
        op("=", prop("id"), 1, 2),
        op("=", prop("id"), None),
        op("=", prop("id"), [1]),
        op("=", prop("id"), {"property": 5}),
        op("=", prop("datetime"), {"timestamp": "noon"}),
        op("=", prop("datetime"), {"date": "2024-13-01"}),
        op("in", prop("id"), "ab"),
        op("in", prop("id"), []),
        op("like", prop("id"), 5),
        op("isNull"),
        op("between", prop("cloud"), 1, 2),
        op("and"),
        op("or"),
        op("not", YES, NO),
        op("and", YES, "x"),
        nested(30),
    ],
    ids=lambda expression: str(expression)[:60],
)
def test_what_is_no_filter_is_refused(expression: Any) -> None:
    with pytest.raises(BadFilter):
        condition(expression)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        (op("=", prop("job_id"), "a"), {"a"}),
        (op("in", prop("up42-system:job_id"), ["a", "b"]), {"a", "b"}),
        (op("and", YES, op("=", prop("job_id"), "a")), {"a"}),
        (op("or", YES, op("=", prop("job_id"), "a")), None),
        (op("not", op("=", prop("job_id"), "a")), None),
        (op("=", "a", prop("job_id")), None),
        (op("=", prop("job_id"), 5), None),
        (op("=", prop("job_id"), prop("id")), None),
        (op("<>", prop("job_id"), "a"), None),
        (op("and", YES, YES), None),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
def test_texts_that_a_property_must_have_are_known_if_that_is_plain(expression: Any, values: set[str] | None) -> None:
    condition(expression)
    assert required_values(expression, "up42-system:job_id") == values
