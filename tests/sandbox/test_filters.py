"""Filters in CQL2-JSON."""

from typing import Any

import httpx
import pytest

from tests.sandbox.asking import equal, found
from up42_async.sandbox import Sandbox
from up42_async.sandbox._filters import BadFilter, Filter

ITEM = {
    "type": "Feature",
    "id": "item-1",
    "collection": "collection-1",
    "geometry": {"type": "Point", "coordinates": [1.0, 2.0]},
    "properties": {
        "datetime": "2024-05-01T12:00:00.000000Z",
        "up42-system:job_id": "job-1",
        "up42-order:id": "order-1",
        "up42-user:title": "Trees, 100% of them",
        "up42-user:tags": ["forest", "uk"],
        "cloud": 12.5,
        "checked": True,
    },
}


def op(operator: str, *args: Any) -> dict[str, Any]:
    return {"op": operator, "args": list(args)}


def prop(name: str) -> dict[str, str]:
    return {"property": name}


YES, NO, UNKNOWN = op("=", prop("id"), "item-1"), op("=", prop("id"), "x"), op("=", prop("missing"), "x")


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        (op("=", prop("job_id"), "job-1"), True),
        (op("=", prop("up42-system:job_id"), "job-2"), False),
        (op("=", prop("order_id"), "order-1"), True),
        (op("=", prop("up42-order:id"), "order-1"), True),
        (op("=", prop("properties.up42-order:id"), "order-1"), True),
        (op("=", prop("collection"), "collection-1"), True),
        (op("=", prop("properties.cloud"), 12.5), True),
        (op("=", prop("checked"), True), True),
        (op("<>", prop("cloud"), 12.5), False),
        (op(">", 13, prop("cloud")), True),
        (op("between", prop("cloud"), 12, 13), True),
        (op("<", prop("title"), "Z"), True),
        (op("=", prop("cloud"), "12.5"), False),
        (op("=", prop("missing"), 1), False),
        (op("not", op("=", prop("missing"), 1)), False),
        (op("=", prop("datetime"), {"timestamp": "2024-05-01T14:00:00+02:00"}), True),
        (op("=", prop("datetime"), "2024-05-01T14:00:00+02:00"), True),
        (op("<=", prop("datetime"), "2024-05-01T12:00:00Z"), True),
        (op("<", "2024-05-01T12:00:01Z", prop("datetime")), False),
        (op(">=", prop("datetime"), {"date": "2024-05-01"}), True),
        (op("<", prop("datetime"), "2024-05-01"), False),
        (op("t_after", prop("datetime"), {"date": "2020-01-01"}), True),
        (op("t_during", prop("datetime"), {"interval": ["2024-01-01T00:00:00Z", ".."]}), True),
        (op("in", prop("id"), ["x", "item-1"]), True),
        (op("in", prop("id"), ["x"]), False),
        (op("like", prop("title"), "Trees%"), True),
        (op("like", prop("up42-user:title"), "trees%"), False),
        (op("like", prop("title"), "%100\\% of _hem"), True),
        (op("like", op("casei", prop("title")), op("casei", "TREES%")), True),
        (op("isNull", prop("missing")), True),
        (op("isNull", prop("id")), False),
        (op("a_contains", prop("tags"), ["uk"]), True),
        (op("a_contains", prop("up42-user:tags"), ["uk", "forest"]), True),
        (op("a_contains", prop("tags"), ["uk", "city"]), False),
        (op("a_contains", prop("missing"), ["uk"]), False),
        (op("s_intersects", prop("geometry"), {"type": "Point", "coordinates": [1.0, 2.0]}), True),
        (op("and", YES, YES), True),
        (op("and", YES, NO, UNKNOWN), False),
        (op("and", YES, UNKNOWN), False),
        (op("or", NO, YES, UNKNOWN), True),
        (op("or", NO, NO), False),
        (op("not", NO), True),
        (op("not", UNKNOWN), False),
    ],
    ids=str,
)
def test_a_filter_matches_an_item_or_not(expression: Any, matches: bool) -> None:
    assert Filter(expression).matches(ITEM) is matches


def nested(depth: int) -> dict[str, Any]:
    return YES if depth == 0 else op("not", nested(depth - 1))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (None, "op and args"),
        ("id = 1", "op and args"),
        ([], "op and args"),
        (True, "op and args"),
        ({}, "op and args"),
        ({"op": "="}, "not CQL2-JSON"),
        ({"op": "=", "args": "ab"}, "not CQL2-JSON"),
        (op("=", prop("id")), "not CQL2-JSON"),
        (op("=", prop("id"), None), "not CQL2-JSON"),
        (op("=", prop("id"), {"property": 5}), "not CQL2-JSON"),
        (op("=", prop("datetime"), {"timestamp": "noon"}), "'noonT00:00:00Z' is not a timestamp"),
        (op("=", prop("datetime"), {"date": "2024-13-01"}), "'2024-13-01T00:00:00Z' is not a timestamp"),
        (op("=", prop("datetime"), "2024-05-01T12:00:00"), "not a timestamp with an offset"),
        (op("=", prop("cloud"), {"timestamp": "noon"}), "not a timestamp"),
        (op("like", prop("id"), 5), "not CQL2-JSON"),
        (op("a_contains", prop("tags"), "uk"), "not CQL2-JSON"),
        (op("near", prop("id"), 1), "operator 'near' is not supported; there are <, "),
        (op("and"), "not CQL2-JSON"),
        (op("not", YES, NO), "not CQL2-JSON"),
        (op("and", YES, "x"), "not CQL2-JSON"),
        (nested(30), "at most 20 levels"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_filter_is_refused(expression: Any, message: str) -> None:
    with pytest.raises(BadFilter, match=message.replace("(", r"\(")) as caught:
        Filter(expression)
    assert len(str(caught.value)) < 500


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
def test_values_that_a_property_must_have_are_known_where_that_is_obvious(
    expression: Any, values: set[str] | None
) -> None:
    assert Filter(expression).required_values("up42-system:job_id") == values


async def test_a_search_filters_by_tag_and_by_title(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.add_asset(title="Harbour")
    (item,) = await found(client, filter=equal("up42-user:title", "Harbour"))
    await client.patch(item["links"][0]["href"], json={"up42-user:tags": ["sea", "ships"]})
    for name in ("tags", "up42-user:tags"):
        filter_ = op("a_contains", prop(name), ["ships"])
        assert [one["id"] for one in await found(client, filter=filter_)] == [item["id"]]
    order_id = item["properties"]["up42-order:id"]
    assert [one["id"] for one in await found(client, filter=equal("up42-order:id", order_id))] == [item["id"]]
