"""Lists in numbered pages, such as budgets and assets, and the query parameters they share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from up42_async.sandbox._answers import BadQuery

SIZE_DEFAULT, SIZE_MAX = 20, 1000

T = TypeVar("T")


def page_of(entries: Sequence[T], query: QueryParams, body: Callable[[T], Any]) -> dict[str, Any]:
    """Return the page of a list that a query asks for, by `page` (from 0) and `size`.

    Args:
        entries: The whole list.
        query: The query.
        body: Turns an entry into JSON.

    Raises:
        BadQuery: `page` or `size` is not a whole number in its range.
    """
    number = _whole(query, "page", default=0, least=0)
    size = min(_whole(query, "size", default=SIZE_DEFAULT, least=1), SIZE_MAX)
    pages = -(-len(entries) // size)
    return {
        "content": [body(entry) for entry in entries[number * size : (number + 1) * size]],
        "number": number,
        "size": size,
        "totalElements": len(entries),
        "totalPages": pages,
        "first": number == 0,
        "last": number >= pages - 1,
    }


def _whole(query: QueryParams, name: str, *, default: int, least: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise BadQuery(f"{name} must be a whole number from {least}, not {text!r}.")
    return int(text)


def words_of(query: QueryParams, name: str) -> frozenset[str] | None:
    """Return the words of a parameter, joined by commas or repeated; None if it is not there."""
    given = query.getlist(name)
    return frozenset(word for text in given for word in text.split(",")) if given else None


def flag_of(query: QueryParams, name: str) -> bool:
    """Return a parameter that is true or false; false if it is not there.

    Raises:
        BadQuery: It is another word.
    """
    text = query.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise BadQuery(f"{name} must be true or false, not {text!r}.")
    return text == "true"


def in_order(entries: Sequence[T], query: QueryParams, keys: Mapping[str, Callable[[T], Any]]) -> list[T]:
    """Return a list in the order that `sort=<field>,<asc|desc>` asks for.

    Args:
        entries: The list.
        query: The query; without `sort` it asks for the first field, falling.
        keys: The sort key of an entry, by field.

    Raises:
        BadQuery: It asks for another field or order.
    """
    field, _, order = query.get("sort", f"{next(iter(keys))},desc").partition(",")
    if field not in keys or order not in {"asc", "desc", ""}:
        raise BadQuery(f"sort must be <field>,<asc|desc> with a field of {', '.join(keys)}.")
    return sorted(entries, key=keys[field], reverse=order == "desc")
