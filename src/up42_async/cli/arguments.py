"""Read arguments and stdin: job ids, periods, statuses, `name=value` pairs and JSON."""

import datetime as dt
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import up42_async as up42

STDIN: Final = "-"

_PERIOD: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def ids_of(words: Sequence[str]) -> list[str]:
    """Return job ids in the order given, each once; `-` is replaced by the ids on stdin.

    Raises:
        ValueError: There are no ids, or stdin is JSON without job ids.
    """
    ids: dict[str, None] = {}
    for word in words:
        ids.update(dict.fromkeys(_from_stdin() if word == STDIN else [word]))
    if not ids:
        raise ValueError("no job ids: give them as arguments, or give `-` and write them to stdin, one on each line")
    return list(ids)


def _from_stdin() -> list[str]:
    """Read ids separated by white space, or jobs as JSON or NDJSON, as `up42 jobs list` writes them."""
    text = sys.stdin.read().strip()
    return [_id_of(job) for job in json_values(text)] if text.startswith(("{", "[")) else text.split()


def _id_of(job: Any) -> str:
    if isinstance(job, dict) and isinstance(job.get("jobID"), str):
        return str(job["jobID"])
    raise ValueError(f"stdin must hold job ids, or jobs as JSON; this value has no jobID: {job!r:.80}")


def json_values(text: str) -> Iterator[Any]:
    """Yield the values of a JSON list, the features of a FeatureCollection, one JSON value, or those of NDJSON.

    Raises:
        ValueError: The text is not JSON.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    yield from content if isinstance(content, list) else [content]


def seconds_of(text: str) -> float:
    """Return the seconds of a period such as `90s`, `15m`, `2h`, `7d` or `1w`; a number without a unit is seconds.

    Raises:
        ValueError: The text is not a period.
    """
    match = _PERIOD.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a period; write seconds, or 90s, 15m, 2h, 7d or 1w")
    return float(match[1]) * _SECONDS[match[2]]


def schedule_of(text: str | None) -> Any:
    """Return the seconds between two queries, `adaptive`, or None if the option is not given.

    Raises:
        ValueError: The text is neither a period nor `adaptive`.
    """
    return text if text is None or text == "adaptive" else seconds_of(text)


def since(text: str, now: dt.datetime) -> dt.datetime:
    """Return the time that an ISO date or time stands for (UTC if it has no offset), or a period before now.

    Raises:
        ValueError: The text is neither.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - dt.timedelta(seconds=seconds_of(text))
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a period (90s, 15m, 2h, 7d, 1w) nor an ISO date or time (2026-01-31)"
            ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def statuses_of(words: Sequence[str]) -> list[up42.JobStatus] | None:
    """Return statuses from words that hold one or several, separated by commas; None if there are none.

    Raises:
        ValueError: A word is not a status.
    """
    known = {status.value: status for status in up42.JobStatus}
    names = [name.strip().lower() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is not a status; choose from {', '.join(known)}")
    return [known[name] for name in names] or None


def pairs_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of `name=value` pairs by name; a value is read as JSON if it is JSON, else as text.

    Raises:
        ValueError: A word has no name or no `=`.
    """
    pairs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"{word!r} is not a parameter; write name=value")
        try:
            pairs[name] = json.loads(value)
        except ValueError:
            pairs[name] = value
    return pairs
