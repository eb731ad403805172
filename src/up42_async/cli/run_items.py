"""The items that `up42 run` reads, and the templates made of them."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from up42_async import processing_templates
from up42_async.cli.arguments import STDIN, json_values

_LONGEST_TITLE: Final = 250
_ITEM_INPUTS: Final = ("item", "sourceItem", "referenceItem")


@attrs.define
class RunTemplate(processing_templates.JobTemplate):
    """A template of any process: its inputs come from one entry of the items and from `--param`."""

    values: dict[str, Any]

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs, as they are sent."""
        return self.values


def templates_of(
    process_id: str, source: str, parameters: Mapping[str, Any], workspace_id: str | None
) -> list[processing_templates.JobTemplate]:
    """Return a template for each item.

    An item without a title is given one made of the process and the id of the item. It is the same in every run, so
    that the same command finds in its journal what it has executed.

    Args:
        process_id: The process.
        source: A file, or `-` for stdin: a URL of an item on each line; NDJSON or a JSON list of STAC items or of
            inputs; a GeoJSON FeatureCollection; or CSV whose first line names the inputs, such as `item,title`.
        parameters: Inputs that all executions share.
        workspace_id: Where jobs are made; None for the client's workspace.

    Raises:
        ValueError: The file cannot be read, or an entry is not an item.
    """
    kind = type("RunTemplate", (RunTemplate,), {"process_id": process_id})
    rows = [_inputs(row, process_id, parameters, place) for place, row in enumerate(_rows(_text(source)), start=1)]
    if not rows:
        raise ValueError(f"no items in {'stdin' if source == STDIN else source}")
    return [kind(values=row, workspace_id=workspace_id) for row in rows]


def _text(source: str) -> str:
    if source == STDIN:
        return sys.stdin.read()
    try:
        with open(source, encoding="utf-8-sig") as file:  # noqa: PTH123 - a path as it was typed
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"the items in {source} cannot be read: {reason}") from None


def _rows(text: str) -> Iterator[Any]:
    start = text.lstrip()
    if start.startswith(("{", "[")):
        try:
            yield from json_values(start)
        except ValueError as error:
            raise ValueError(f"the items are not JSON: {error}") from None
        return
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    header = lines[0].split(",") if lines else []
    if any(name.strip() in _ITEM_INPUTS for name in header):
        for row in csv.DictReader(io.StringIO("\n".join(lines)), skipinitialspace=True):
            yield {name: _value(value) for name, value in row.items() if name and value}
    else:
        yield from (line.strip() for line in lines)


def _value(text: str) -> Any:
    """Return the value of a cell of a CSV file: read as JSON if it is JSON, else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _inputs(row: Any, process_id: str, parameters: Mapping[str, Any], place: int) -> dict[str, Any]:
    if isinstance(row, str):
        row = {"item": row}
    if not isinstance(row, dict):
        raise ValueError(  # noqa: TRY004 - a line of the file
            f"item {place} is neither a URL, a STAC item nor an object with inputs: {row!r:.80}"
        )
    if row.get("type") == "Feature":
        row = {"item": _self_link(row, place)}
    inputs = {**parameters, **row}
    urls = [inputs[name] for name in _ITEM_INPUTS if name in inputs]
    for url in urls:
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", "http"}:
            raise ValueError(f"item {place} must have an absolute URL (https://...), not {url!r:.80}")
    if not urls and "items" not in inputs:
        raise ValueError(f"item {place} names no item: {row!r:.80}")
    if "title" not in inputs:
        names = " and ".join(unquote(url.rstrip("/").rpartition("/")[2]) for url in urls)
        inputs = {"title": f"{process_id} {names}"[:_LONGEST_TITLE], **inputs}
    return inputs


def _self_link(feature: Mapping[str, Any], place: int) -> Any:
    for link in feature.get("links") or ():
        if isinstance(link, dict) and link.get("rel") == "self":
            return link.get("href")
    raise ValueError(f"item {place} ({feature.get('id')!r:.80}) has no self link, which the process needs as its input")
