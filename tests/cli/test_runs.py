"""`up42 run` and `up42 journal`: each item is executed once, whatever ends the program."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import run, started
from up42_async.sandbox import Sandbox

PROCESS = "detection-trees-spacept"


def item_urls(sandbox: Sandbox, number: int) -> list[str]:
    sandbox.add_assets(number)
    rows = run(sandbox, "items", "search", "-o", "ndjson").stdout.splitlines()
    return sorted(json.loads(line)["href"] for line in rows)[:number]


def run_words(items: str, journal: Path, *more: str) -> tuple[str, ...]:
    return ("run", PROCESS, "--items", items, "--journal", str(journal), "--max-credits", "100000", *more)


def test_a_run_executes_each_item_once_and_the_same_command_continues_it(sandbox: Sandbox, tmp_path: Path) -> None:
    urls = item_urls(sandbox, 3)
    items = tmp_path / "items.txt"
    items.write_text("\n".join(["# trees", *urls, ""]), encoding="utf-8")
    words = run_words(str(items), tmp_path / "run.db", "-d", str(tmp_path / "files"))
    done = run(sandbox, *words)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row["jobID"] for row in rows}) == 3
    assert all(Path(file).is_file() for row in rows for file in row["files"])
    assert re.search(r"3 done; [\d,]+ credits spent", done.stderr)
    again = run(sandbox, *words)
    assert again.exit_code == 0, again.output
    assert {json.loads(line)["jobID"] for line in again.stdout.splitlines()} == {row["jobID"] for row in rows}
    assert len(sandbox.executions) == 3


@pytest.mark.parametrize("kind", ["lines", "ndjson", "json", "geojson", "csv", "inputs"])
def test_items_are_read_in_many_forms(sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    urls = item_urls(sandbox, 2)
    features = [{"type": "Feature", "id": url, "links": [{"rel": "self", "href": url}]} for url in urls]
    text = {
        "lines": "\n".join(urls),
        "ndjson": "\n".join(map(json.dumps, features)),
        "json": json.dumps(urls),
        "geojson": json.dumps({"type": "FeatureCollection", "features": features}),
        "csv": "title,item\n" + "".join(f"Trees {place},{url}\n" for place, url in enumerate(urls)),
        "inputs": json.dumps({"title": "One", "item": urls[0]}),
    }[kind]
    done = run(sandbox, "run", PROCESS, "--items", "-", "--dry-run", "-o", "json", stdin=text)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    titles = {"csv": ["Trees 0", "Trees 1"], "inputs": ["One"]}
    names = titles.get(kind) or [f"{PROCESS} {url.rpartition('/')[2]}" for url in urls]
    assert [row["title"] for row in rows] == names
    assert all(row["credits"] > 0 for row in rows)
    assert re.search(r"credits in all; the account has [\d,]+\. Nothing was executed", done.stderr)
    assert len(sandbox.executions) == 0


def test_parameters_are_inputs_of_all_templates(sandbox: Sandbox, tmp_path: Path) -> None:
    url = item_urls(sandbox, 1)[0]
    row = f"sourceItem,referenceItem\n{url},{url}\n"
    words = ("run", "detection-change-simularity", "--items", "-", "--journal", str(tmp_path / "run.db"), "--yes")
    done = run(sandbox, *words, "--param", "sensitivity=3", "--param", "title=Change", "-o", "table", stdin=row)
    assert done.exit_code == 0, done.output
    (execution,) = sandbox.executions
    assert execution.inputs == {"sensitivity": 3, "title": "Change", "sourceItem": url, "referenceItem": url}
    assert "Change" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no items in stdin"),
        ("not-a-url", "item 1 must have an absolute URL"),
        ('{"title": "x"}', "item 1 names no item"),
        ("[1]", "item 1 is neither a URL, a STAC item nor an object with inputs: 1"),
        ('{"type": "Feature", "id": "a", "links": [{"rel": "next"}]}', "item 1 ('a') has no self link"),
        ('{"a": 1}\n{"b"', "the items are not JSON"),
    ],
)
def test_items_that_cannot_be_read_are_named_before_anything_is_asked(sandbox: Sandbox, text: str, said: str) -> None:
    done = run(sandbox, "run", PROCESS, "--items", "-", "--dry-run", stdin=text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert sandbox.count() == 0


def test_a_file_that_is_missing_and_a_parameter_without_a_value_are_named(sandbox: Sandbox) -> None:
    for words, said in (
        (("--items", "/nowhere/items"), "the items in /nowhere/items cannot be read"),
        (("--items", "-", "--param", "x"), "'x' is not a parameter; write name=value"),
    ):
        done = run(sandbox, "run", PROCESS, *words, "--dry-run")
        assert done.exit_code == 2
        assert said in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [((), "give --max-credits N, or --yes"), (("--max-credits", "5"), "give --journal FILE")],
)
def test_nothing_is_spent_without_a_limit_and_a_journal(sandbox: Sandbox, more: tuple[str, ...], said: str) -> None:
    done = run(sandbox, "run", PROCESS, "--items", "-", *more)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(sandbox.executions) == 0


def test_a_dry_run_shows_the_errors_of_each_item(sandbox: Sandbox) -> None:
    (url,) = item_urls(sandbox, 1)
    sandbox.set_eula(PROCESS, accepted=False)
    done = run(sandbox, "run", PROCESS, "--items", "-", "--dry-run", "-o", "json", stdin=url)
    assert done.exit_code == 1
    assert "EulaNotAccepted" in json.loads(done.stdout)[0]["error"]


def test_a_template_above_the_limit_is_not_executed(sandbox: Sandbox, tmp_path: Path) -> None:
    (url,) = item_urls(sandbox, 1)
    words = ("run", PROCESS, "--items", "-", "--journal", str(tmp_path / "run.db"), "--max-credits", "1")
    done = run(sandbox, *words, stdin=url)
    assert done.exit_code == 1
    row = json.loads(done.stdout)
    assert row["jobID"] is None
    assert "max_credits is 1" in row["error"]
    assert len(sandbox.executions) == 0


def lines_until(process: Any, wanted: int, journal: Path, sandbox: Sandbox) -> None:
    """Wait until so many executions are at the server."""
    until = time.monotonic() + 60
    while len(sandbox.executions) < wanted and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda end: end.name)
def test_a_run_that_was_interrupted_continues(sandbox: Sandbox, tmp_path: Path, end: signal.Signals) -> None:
    items = tmp_path / "items.txt"
    items.write_text("\n".join(item_urls(sandbox, 12)), encoding="utf-8")
    words = run_words(str(items), tmp_path / "run.db", "--max-running", "4")
    with started(sandbox, *words) as process:
        lines_until(process, 2, tmp_path / "run.db", sandbox)
        process.send_signal(end)
        _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    if end is signal.SIGINT:
        assert process.returncode == 130
        assert re.search(r"jobs? (is|are) under way at UP42: [0-9a-f-]{36}", said)
        assert f"The same command goes on from {tmp_path / 'run.db'}" in said
    # what was being sent when the program was killed may have to be looked for, and is executed if it is not found
    done = run(sandbox, *words, "--retry-uncertain")
    assert done.exit_code == 0, done.output
    assert len(sandbox.executions) == 12
    assert len({json.loads(line)["jobID"] for line in done.stdout.splitlines()}) == 12


def test_an_interruption_before_anything_was_executed_says_so(sandbox: Sandbox, tmp_path: Path) -> None:
    items = tmp_path / "items"
    os.mkfifo(items)
    with started(sandbox, *run_words(str(items), tmp_path / "run.db")) as process:
        with items.open("wb"):  # opens when the command does, which then waits for its items
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_journal_is_shown_in_every_format(sandbox: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "run.db"
    run(sandbox, *run_words("-", journal), stdin=item_urls(sandbox, 1)[0])
    (entry,) = json.loads(run(sandbox, "journal", "show", str(journal), "-o", "json").stdout)
    assert (entry["process_id"], entry["state"]) == (PROCESS, "done")
    shown = run(sandbox, "journal", "show", str(journal))
    assert entry["job_id"] in shown.stdout
    assert re.search(r"1 done; [\d,]+ credits spent", shown.stderr)


def test_a_file_that_is_not_a_journal_is_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    missing = run(sandbox, "journal", "show", str(tmp_path / "run.db"))
    assert missing.exit_code == 2
    assert "there is no journal" in missing.stderr
    other = tmp_path / "other.db"
    other.write_text("no journal", encoding="utf-8")
    done = run(sandbox, "journal", "show", str(other))
    assert done.exit_code == 1
    assert str(other) in done.stderr
