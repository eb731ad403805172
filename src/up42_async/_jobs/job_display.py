"""Show a job in one line, or as a table in a notebook."""

import datetime as dt
import html
from collections.abc import Iterable
from typing import Any, Final

_LONGEST_LINE: Final = 200
_LONGEST_VALUE: Final = 48


def line(kind: str, values: Iterable[tuple[str, Any]]) -> str:
    """Return an object in one line of at most 200 characters.

    Args:
        kind: The name of its class.
        values: Its attributes to show; those that are None are left out.
    """
    shown = ", ".join(f"{name}={_short(value)}" for name, value in values if value is not None)
    text = f"{kind}({shown})"
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE - 4]}...)"


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Return names and values as an HTML table; rows whose value is None are left out."""
    cells = "".join(
        f"<tr><th style='text-align: left'>{html.escape(name)}</th>"
        f"<td style='text-align: left'>{html.escape(_plain(value))}</td></tr>"
        for name, value in rows
        if value is not None
    )
    return f"<table>{cells}</table>"


def _short(value: Any) -> str:
    text = _plain(value)
    if len(text) > _LONGEST_VALUE:
        text = f"{text[: _LONGEST_VALUE - 3]}..."
    return text if isinstance(value, int) else repr(text)


def _plain(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, dt.datetime) else str(value)
