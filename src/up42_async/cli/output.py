"""Rows of data on stdout: a table for people, JSON, NDJSON or CSV for programs."""

import csv
import enum
import io
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")
Row = Mapping[str, Any]

_WIDE: Final = 10_000
"""Columns of a table that is written to a file or a pipe: nothing is cut off there."""
_WHOLE: Final = frozenset({"credits", "id", "jobID", "job_id", "state", "status"})
"""Columns that a terminal shows whole, however narrow it is: an id that is cut cannot be copied."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*Z")


class Format(enum.StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def suited(format_: Format | None) -> Format:
    """Return a format, or where none was asked for a table on a terminal and NDJSON elsewhere."""
    return format_ or (Format.TABLE if sys.stdout.isatty() else Format.NDJSON)


async def write_all(
    things: AsyncIterator[T],
    format_: Format,
    *,
    row: Callable[[T], Row],
    columns: Sequence[str],
    limit: int | None = None,
) -> int:
    """Write what an iterator brings; NDJSON and CSV as it comes, the others at the end.

    Args:
        things: What to write.
        format_: How.
        row: Makes a row of one thing.
        columns: The columns of a table or CSV file; JSON has all keys.
        limit: How many at the most, None for all.

    Returns:
        How many were written.
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
        format_: How.
        columns: The columns of a table or CSV file; JSON has all keys.
    """
    match format_:
        case Format.JSON:
            sys.stdout.write(json.dumps(list(rows), indent=2, default=str) + "\n")
        case Format.NDJSON:
            for row in rows:
                write_line(row)
        case Format.CSV:
            _write_csv(rows, columns, header=True)
        case _:
            _write_table(rows, columns)


def write_one(row: Row, format_: Format) -> None:
    """Write one thing: a table has a line for each of its keys."""
    match format_:
        case Format.TABLE:
            _write_table([{"name": key, "value": value} for key, value in row.items()], ["name", "value"])
        case Format.JSON:
            sys.stdout.write(json.dumps(row, indent=2, default=str) + "\n")
        case _:
            write([row], format_, columns=list(row))


def write_line(row: Row) -> None:
    """Write one line of NDJSON, and flush it, so that the reader of a pipe has it at once."""
    sys.stdout.write(json.dumps(row, default=str) + "\n")
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
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name in _WHOLE, overflow="fold")
    for row in rows:
        table.add_row(*(_TIME.sub(r"\1 \2", _text(row.get(name))) for name in columns))
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return str(value)
