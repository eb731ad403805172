"""Show objects: as a line in a terminal, as a table in a notebook."""

import datetime as dt
import html
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final

LONGEST_LINE: Final = 200
_LONGEST_NAME: Final = 40
_LONGEST_VALUE: Final = 48
_LONGEST_CELL: Final = 500
_MOST_ROWS: Final = 50


def line(kind: str, values: Iterable[tuple[str, Any]]) -> str:
    """Return an object in one line of at most 200 characters.

    Args:
        kind: Name of its class.
        values: Names and values of its attributes; None is left out.
    """
    shown = ", ".join(f"{word(name)}={value(content)}" for name, content in values if content is not None)
    return bounded(f"{kind}({shown})")


def attributes(shown: object, *names: str) -> str:
    """Return an object in one line of at most 200 characters, with the attributes of these names."""
    return line(type(shown).__name__, [(name, getattr(shown, name)) for name in names])


def bounded(text: str) -> str:
    """Return the repr of an object, which ends with a bracket, with at most 200 characters."""
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 4]}...{text[-1]}"


def word(text: str) -> str:
    """Return a word of UP42 for a line: at most 40 characters, and none that moves the cursor of a terminal."""
    return "".join(one if one.isprintable() else "?" for one in _cut(text, _LONGEST_NAME))


def value(content: Any) -> str:
    """Return a value for a line, at most 48 characters: the first ones, but of paths and URLs the last, with the id."""
    if isinstance(content, list | tuple):
        first = ", ".join(map(value, content[:1]))
        return f"[{first}]" if len(content) <= 1 else f"[{first}, ... {len(content)} in all]"
    if not isinstance(content, str | dt.datetime | PurePath):
        return "".join(one if one.isprintable() else "?" for one in _cut(repr(content), _LONGEST_VALUE))
    text = _plain(content)
    if len(text) > _LONGEST_VALUE and (isinstance(content, PurePath) or text.startswith(("https://", "http://"))):
        text = f"...{text[3 - _LONGEST_VALUE :]}"
    return repr(_cut(text, _LONGEST_VALUE))


def counted(number: float, noun: str) -> str:
    """Return a number with its noun: `1 job`, `2,000 jobs`, `1 query`, `3 queries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def error_words(error: BaseException | None) -> str | None:
    """Return the class and the message of an error, None for None."""
    return None if error is None else f"{type(error).__name__}: {error}"


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Return names and values as an HTML table; rows whose value is None are left out."""
    cells = "".join(
        f"<tr><th style='text-align: left'>{cell(name)}</th><td style='text-align: left'>{cell(content)}</td></tr>"
        for name, content in rows
        if content is not None
    )
    return f"<table>{cells}</table>"


def listing(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a title and the first 50 rows of a table as HTML.

    Args:
        title: The line above the table.
        names: Names of the columns.
        rows: The values; None for an empty cell.
    """
    head = "".join(f"<th>{cell(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell(content)}</td>' for content in row)}</tr>" for row in rows[:_MOST_ROWS])
    more = f"<p>... and {len(rows) - _MOST_ROWS:,} more</p>" if len(rows) > _MOST_ROWS else ""
    return f"<p>{cell(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def cell(content: Any) -> str:
    """Return a value for HTML: escaped, at most 500 characters, and without surrogates, which UTF-8 cannot encode."""
    text = "" if content is None else _cut(_plain(content), _LONGEST_CELL)
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _plain(content: Any) -> str:
    return f"{content:%Y-%m-%d %H:%M:%S} UTC" if isinstance(content, dt.datetime) else str(content)
