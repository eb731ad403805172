"""Rows on stdout: a table for people; JSON, NDJSON or CSV for programs."""

import csv
import datetime as dt
import enum
import io
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from up42_async._clock import as_text

T = TypeVar("T")
Row = Mapping[str, Any]

_WIDE: Final = 10_000
"""Width of a table in a file or a pipe, in characters: nothing is cut off there."""
_WHOLE: Final = frozenset({"credits", "id", "jobID", "job_id", "state", "status"})
"""Columns that are never folded: an id on two lines cannot be copied."""
_NARROWEST: Final = 12
"""Characters below which no other column is folded."""
_GAP: Final = 2
"""Characters between two columns."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*Z")


class Format(enum.StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def suited(format_: Format | None) -> Format:
    """Return the given format; by default a table on a terminal and NDJSON elsewhere."""
    return format_ or (Format.TABLE if sys.stdout.isatty() else Format.NDJSON)


async def write_all(
    things: AsyncIterator[T],
    format_: Format,
    *,
    row: Callable[[T], Row],
    columns: Sequence[str],
    limit: int | None = None,
) -> int:
    """Write a row for each value of an iterator: NDJSON and CSV at once, the other formats at the end.

    Args:
        things: The values.
        format_: The format.
        row: Returns the row of a value.
        columns: The columns of a table or CSV file; JSON has all keys.
        limit: The largest number of rows; None for all.

    Returns:
        The number of rows.
    """
    written = 0
    rows: list[Row] = []
    if format_ is Format.CSV:
        _write_csv([], columns, header=True)
    while limit is None or written < limit:
        try:
            thing = await anext(things)
        except StopAsyncIteration:
            break
        written += 1
        if format_ is Format.NDJSON:
            write_line(row(thing))
        elif format_ is Format.CSV:
            _write_csv([row(thing)], columns, header=False)
        else:
            rows.append(row(thing))
    if format_ in {Format.JSON, Format.TABLE}:
        write(rows, format_, columns=columns)
    return written


def write(rows: Iterable[Row], format_: Format, *, columns: Sequence[str]) -> None:
    """Write rows.

    Args:
        rows: The rows.
        format_: The format.
        columns: The columns of a table or CSV file; JSON has all keys.
    """
    match format_:
        case Format.JSON:
            sys.stdout.write(json.dumps(list(rows), indent=2, default=_text) + "\n")
        case Format.NDJSON:
            for row in rows:
                write_line(row)
        case Format.CSV:
            _write_csv(rows, columns, header=True)
        case _:
            _write_table(rows, columns)


def write_one(row: Row, format_: Format) -> None:
    """Write one row: a table has a line for each of its keys."""
    match format_:
        case Format.TABLE:
            _write_table([{"name": key, "value": value} for key, value in row.items()], ["name", "value"])
        case Format.JSON:
            sys.stdout.write(json.dumps(row, indent=2, default=_text) + "\n")
        case _:
            write([row], format_, columns=list(row))


def write_line(row: Row) -> None:
    """Write one line of NDJSON, and flush it for the reader of a pipe."""
    sys.stdout.write(json.dumps(row, default=_text) + "\n")
    sys.stdout.flush()


def _write_csv(rows: Iterable[Row], columns: Sequence[str], *, header: bool) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({name: _text(row.get(name)) for name in columns} for row in rows)
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()


def _write_table(rows: Iterable[Row], columns: Sequence[str]) -> None:
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
    cells = [{name: _TIME.sub(r"\1 \2", _text(row.get(name))) for name in columns} for row in rows]
    shown = _fitting(columns, cells, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, no_wrap=name in _WHOLE, overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in shown))
    console.print(table)
    if len(shown) < len(columns):
        console.print(f"(no room for {', '.join(columns[len(shown) :])}; `-o json` shows all)", style="dim")


def _fitting(columns: Sequence[str], rows: Sequence[Mapping[str, str]], room: int) -> Sequence[str]:
    """Return the first columns that fit into a number of characters, however far they are folded; at least one."""
    needed = -_GAP
    for place, name in enumerate(columns):
        natural = max([cell_len(name), *(cell_len(row[name]) for row in rows)])
        needed += _GAP + (natural if name in _WHOLE else min(natural, _NARROWEST))
        if needed > room and place:
            return columns[:place]
    return columns


def _text(value: object) -> str:
    """Return a value as text: nothing for None, a time as UP42 writes it, parts as JSON."""
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return as_text(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=_text)
    return str(value)
