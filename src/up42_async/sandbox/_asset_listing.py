"""The list of assets: filters and order."""

from collections.abc import Callable, Mapping

from starlette.datastructures import QueryParams

from up42_async.sandbox._answers import BadQuery
from up42_async.sandbox._items import File, Item
from up42_async.sandbox._paging import in_order, words_of
from up42_async.sandbox._scaled_clock import instant_of
from up42_async.sandbox._stac import COLLECTION_NAME, PRODUCER_NAME, source_of
from up42_async.sandbox._storage import Storage

SOURCES = frozenset({"ARCHIVE", "TASKING", "PROCESSING", "ANALYTICS", "USER"})
"""`PROCESSING` and its older name `ANALYTICS` mean the same: results of jobs."""

Entry = tuple[Item, File]
Condition = Callable[[Entry], bool]

_KEYS: Mapping[str, Callable[[Entry], object]] = {
    "createdAt": lambda entry: (entry[0].moment, entry[1].id),
    "updatedAt": lambda entry: (entry[0].moment, entry[1].id),
    "name": lambda entry: (entry[1].name, entry[1].id),
    "title": lambda entry: (entry[0].title or "", entry[1].id),
    "size": lambda entry: (entry[1].content.size, entry[1].id),
    "source": lambda entry: (source_of(entry[0]), entry[1].id),
}


def assets_of(storage: Storage, query: QueryParams) -> list[Entry]:
    """Return the assets that match a query, in its order; by default the newest first.

    Raises:
        BadQuery: A parameter is one that the platform refuses.
    """
    conditions = _conditions(storage, query)
    entries = [(item, file) for item in storage.items() for file in item.files]
    chosen = [entry for entry in entries if all(condition(entry) for condition in conditions)]
    return in_order(chosen, query, _KEYS)


def _conditions(storage: Storage, query: QueryParams) -> list[Condition]:
    conditions: list[Condition] = []
    if (after := _instant(query, "createdAfter")) is not None:
        conditions.append(lambda entry: entry[0].moment >= after)
    if (before := _instant(query, "createdBefore")) is not None:
        conditions.append(lambda entry: entry[0].moment <= before)
    if (workspace_id := query.get("workspaceId")) is not None:
        conditions.append(lambda entry: storage.workspace_of(entry[0]) == workspace_id)
    if (tags := words_of(query, "tags")) is not None:
        conditions.append(lambda entry: not tags.isdisjoint(entry[0].tags or ()))
    if (sources := _sources(query)) is not None:
        conditions.append(lambda entry: source_of(entry[0]) in sources)
    if (collections := words_of(query, "collectionNames")) is not None:
        conditions.append(lambda entry: entry[0].job is None and COLLECTION_NAME in collections)
    if (producers := words_of(query, "producerNames")) is not None:
        conditions.append(lambda entry: entry[0].job is None and PRODUCER_NAME in producers)
    if (text := query.get("search")) is not None:
        conditions.append(lambda entry: _mentions(entry, text.casefold()))
    return conditions


def _instant(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    try:
        return None if text is None else instant_of(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise BadQuery(f"{name} must be a date or a timestamp with an offset, not {text!r}.") from error


def _sources(query: QueryParams) -> frozenset[str] | None:
    sources = words_of(query, "sources")
    if sources is not None and (unknown := sources - SOURCES):
        raise BadQuery(f"sources must be of {', '.join(sorted(SOURCES))}, not {', '.join(sorted(unknown))}.")
    return None if sources is None else sources | {"ANALYTICS"} if "PROCESSING" in sources else sources


def _mentions(entry: Entry, text: str) -> bool:
    item, file = entry
    words = (file.id, file.name, item.title or "", item.order_id or "", *(item.tags or ()))
    return any(text in word.casefold() for word in words)
