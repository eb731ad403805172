"""What people write on the command line: ids, periods, statuses, and `name=value` pairs."""

import datetime as dt
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import up42_async as up42

STDIN: Final = "-"

_PERIOD: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def ids_of(words: Sequence[str]) -> list[str]:
    """Return ids as they were given, those on stdin in the place of `-`, each once.

    Raises:
        ValueError: There is none.
    """
    ids: dict[str, None] = {}
    for word in words:
        ids.update(dict.fromkeys(_from_stdin() if word == STDIN else [word]))
    if not ids:
        raise ValueError("no job ids: give them as arguments, or `-` and one a line on stdin")
    return list(ids)


def _from_stdin() -> list[str]:
    """Read ids, separated by white space; a line of NDJSON stands for the job it describes."""
    ids: list[str] = []
    for line in sys.stdin:
        text = line.strip()
        if text.startswith("{"):
            ids.append(str(json.loads(text)["jobID"]))
        else:
            ids.extend(text.split())
    return ids


def seconds_of(text: str) -> float:
    """Read a period such as `90s`, `15m`, `2h`, `7d` or `1w`; a bare number is seconds.

    Raises:
        ValueError: It is no period.
    """
    match = _PERIOD.fullmatch(text.strip().lower())
    if match is not None:
        return float(match[1]) * _SECONDS[match[2]]
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no period; write 90s, 15m, 2h, 7d or 1w") from None


def schedule_of(text: str | None) -> Any:
    """Read how long to wait between two queries: a period, or `adaptive`; None where nothing is said.

    Raises:
        ValueError: It is neither.
    """
    return text if text is None or text == "adaptive" else seconds_of(text)


def since(text: str, now: dt.datetime) -> dt.datetime:
    """Read a moment: an ISO date or time, or a period before now.

    Raises:
        ValueError: It is neither.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return now - dt.timedelta(seconds=seconds_of(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def statuses_of(words: Sequence[str]) -> list[up42.JobStatus] | None:
    """Return statuses by their words, comma-joined or apart; None for none.

    Raises:
        ValueError: There is no such status.
    """
    known = {status.value: status for status in up42.JobStatus}
    names = [name.strip().lower() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is no status; there are {', '.join(known)}")
    return [known[name] for name in names] or None


def pairs_of(words: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value that is JSON is what it says, any other is text.

    Raises:
        ValueError: A word without a name or `=`.
    """
    pairs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"{word!r} is no parameter; write name=value")
        try:
            pairs[name] = json.loads(value)
        except ValueError:
            pairs[name] = value
    return pairs
