"""`up42 jobs`: data on stdout, talk on stderr, and an exit code that tells how it went."""

import csv
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.cli.command import environment, run, started
from up42_async._jobs import job
from up42_async._jobs.polling_state import Timings
from up42_async.cli import jobs, output
from up42_async.sandbox import Sandbox, faults

LIKE_JQ = "import json, sys; print(*(job['jobID'] for job in json.load(sys.stdin)), sep=chr(10))"
PERIODS = ["1h", "60m", "3600s", "3600", "1d", "1w"]


def seeded(sandbox: Sandbox, number: int, status: str = "captured") -> list[str]:
    return list(sandbox.seed_jobs(number, status=status))


@pytest.mark.parametrize("output", ["json", "ndjson", "csv", "table"])
def test_jobs_are_listed_in_every_format(sandbox: Sandbox, output: str) -> None:
    ids = seeded(sandbox, 3)
    done = run(sandbox, "jobs", "list", "-o", output)
    assert (done.exit_code, done.stderr) == (0, "")
    text = done.stdout
    if output == "json":
        found = [row["jobID"] for row in json.loads(text)]
    elif output == "ndjson":
        found = [json.loads(line)["jobID"] for line in text.splitlines()]
    elif output == "csv":
        found = [row["jobID"] for row in csv.DictReader(io.StringIO(text))]
    else:
        found = [line.split()[0] for line in text.splitlines()[1:]]
    assert sorted(found) == sorted(ids)


def test_nested_values_are_json_in_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.write([{"one": {"a": [1]}, "two": ("b",)}], output.Format.CSV, columns=["one", "two"])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [["one", "two"], ['{"a": [1]}', '["b"]']]


def test_missing_values_are_empty_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output.write([{"one": None, "two": 2}, {}], output.Format.CSV, columns=["one", "two"])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [["one", "two"], ["", "2"], ["", ""]]


def test_columns_that_do_not_fit_are_named_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_WIDE", 60)
    row = {"id": "i" * 36, "title": "a title of several words", "href": "https://example.com", "size": 5}
    output.write([row], output.Format.TABLE, columns=["id", "title", "href", "size"])
    header, first, *_, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "title"]
    assert first.split()[0] == row["id"]
    assert last.rstrip() == "(no room for href, size; `-o json` shows all)"


def test_the_first_column_is_shown_on_any_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_WIDE", 5)
    output.write([], output.Format.TABLE, columns=["description"])
    assert "descr" in capsys.readouterr().out


def test_a_list_has_filters_and_a_limit(sandbox: Sandbox) -> None:
    seeded(sandbox, 3)
    (running,) = seeded(sandbox, 1, "running")
    rows = json.loads(run(sandbox, "jobs", "list", "--status", "running,accepted", "-o", "json").stdout)
    assert [row["jobID"] for row in rows] == [running]
    assert len(json.loads(run(sandbox, "jobs", "list", "--limit", "2", "-o", "json").stdout)) == 2
    assert json.loads(run(sandbox, "jobs", "list", "--process", "nothing", "-o", "json").stdout) == []


@pytest.mark.parametrize("period", PERIODS)
def test_a_list_goes_back_to_a_moment(sandbox: Sandbox, period: str) -> None:
    ids = seeded(sandbox, 2)
    rows = json.loads(run(sandbox, "jobs", "list", "--since", period, "-o", "json").stdout)
    assert {row["jobID"] for row in rows} == set(ids)


def test_a_job_whose_time_cannot_be_read_is_listed_however_old_it_may_be(sandbox: Sandbox) -> None:
    (id_,) = seeded(sandbox, 1)
    untimed = faults.Rewrite(lambda page: {**page, "jobs": [{**job, "created": None} for job in page["jobs"]]})
    with sandbox.faults.during(untimed, path="/v2/processing/jobs"):
        rows = json.loads(run(sandbox, "jobs", "list", "--since", "1h", "-o", "json").stdout)
    assert [row["jobID"] for row in rows] == [id_]


def test_nothing_is_listed_that_is_older_than_asked_for(sandbox: Sandbox) -> None:
    seeded(sandbox, 2)
    for moment in ("2099-01-01", "2099-01-01T00:00:00+00:00"):
        assert json.loads(run(sandbox, "jobs", "list", "--since", moment, "-o", "json").stdout) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("list", "--since", "yesterday"),
            "'yesterday' is neither a period (90s, 15m, 2h, 7d, 1w) nor an ISO date or time",
        ),
        (("list", "--status", "tired"), "'tired' is not a status; choose from created, "),
        (("track", "-"), "no job ids: give them as arguments, or give `-` and write them to stdin, one on each line"),
        (("track", "x", "--wait", "soon"), "'soon' is not a period; write seconds, or 90s, 15m, 2h, 7d or 1w"),
        (("track", "x", "--timeout", "-5"), "'-5' is not a period"),
    ],
)
def test_an_invalid_option_is_wrong_usage(sandbox: Sandbox, words: tuple[str, ...], said: str) -> None:
    done = run(sandbox, "jobs", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"up42: {said}")


def test_an_empty_list_is_no_failure_and_is_said_to_be_empty(sandbox: Sandbox) -> None:
    done = run(sandbox, "jobs", "list", "-o", "json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "[]\n", "up42: no jobs match\n")
    assert run(sandbox, "--quiet", "jobs", "list", "-o", "json").stderr == ""


def test_jobs_as_json_on_stdin_stand_for_their_ids(sandbox: Sandbox) -> None:
    ids = seeded(sandbox, 2)
    listed = run(sandbox, "jobs", "list", "-o", "json").stdout
    assert {row["jobID"] for row in json.loads(run(sandbox, "jobs", "get", "-", stdin=listed).stdout)} == set(ids)
    for wrong in ('[{"id": "an item"}]', '{"jobID": null}'):
        done = run(sandbox, "jobs", "get", "-", stdin=wrong)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "stdin must hold job ids, or jobs as JSON; this value has no jobID: {" in done.stderr


def test_a_board_takes_the_place_of_lines_for_people(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "shows_board", lambda _: True)
    good, bad = seeded(sandbox, 1) + seeded(sandbox, 1, "released")
    done = run(sandbox, "jobs", "track", good)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "1/1 finished" in done.stderr
    assert run(sandbox, "jobs", "track", bad, "--fail-fast").exit_code == 1


def test_queries_can_be_spaced_along_the_age_of_jobs(sandbox: Sandbox) -> None:
    (id_,) = seeded(sandbox, 1)
    assert run(sandbox, "jobs", "track", id_, "--wait", "adaptive").exit_code == 0


def test_jobs_are_got_as_lines(sandbox: Sandbox) -> None:
    ids = seeded(sandbox, 2)
    lines = run(sandbox, "jobs", "get", *ids, "-o", "ndjson").stdout.splitlines()
    assert [json.loads(line)["jobID"] for line in lines] == ids
    table = run(sandbox, "jobs", "get", *ids, "-o", "csv").stdout
    assert [row["jobID"] for row in csv.DictReader(io.StringIO(table))] == ids


def test_jobs_are_got_by_id_and_missing_ones_are_named(sandbox: Sandbox) -> None:
    ids = seeded(sandbox, 2)
    assert [row["jobID"] for row in json.loads(run(sandbox, "jobs", "get", *ids).stdout)] == ids
    done = run(sandbox, "jobs", "get", ids[0], "11111111-1111-1111-1111-111111111111")
    assert done.exit_code == 1
    assert "there is no job 11111111-1111-1111-1111-111111111111" in done.stderr
    assert len(json.loads(done.stdout)) == 1


def test_a_list_goes_through_a_pipe_into_tracking(sandbox: Sandbox) -> None:
    ids = list(sandbox.seed_jobs(3))
    listed = run(sandbox, "jobs", "list", "-o", "ndjson").stdout
    plain = "\n".join(json.loads(line)["jobID"] for line in listed.splitlines())
    for stdin in (listed, plain):
        done = run(sandbox, "jobs", "track", "-", stdin=stdin)
        assert done.exit_code == 0, done.output
        changes = [json.loads(line) for line in done.stdout.splitlines()]
        assert {change["jobID"] for change in changes} == set(ids)


def test_a_list_goes_through_a_pipe_of_a_shell(sandbox: Sandbox) -> None:
    ids = sandbox.seed_jobs(3)
    up42 = f"{shlex.quote(sys.executable)} -m up42_async"
    jq = "jq -r '.[].jobID'" if shutil.which("jq") else f"{sys.executable} -c {shlex.quote(LIKE_JQ)}"
    line = f"set -o pipefail; {up42} jobs list -o json | {jq} | {up42} jobs track -"
    env = {**os.environ, **environment(sandbox)}
    done = subprocess.run(["/bin/bash", "-c", line], env=env, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    last = {change["jobID"]: change["status"] for change in map(json.loads, done.stdout.splitlines())}
    assert last == dict.fromkeys(ids, "captured")


def test_a_job_that_failed_is_exit_code_1(sandbox: Sandbox) -> None:
    ids = seeded(sandbox, 1, "released")
    done = run(sandbox, "jobs", "track", *ids)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["status"] == "released"


def test_the_first_failure_ends_tracking_where_that_is_asked_for(sandbox: Sandbox) -> None:
    failed = seeded(sandbox, 1, "failed") + seeded(sandbox, 1, "running")
    begun = time.monotonic()
    done = run(sandbox, "jobs", "track", *failed, "--fail-fast", "--timeout", "30s")
    assert done.exit_code == 1
    assert time.monotonic() - begun < 20


def test_tracking_ends_when_the_time_is_up_and_names_what_goes_on(sandbox: Sandbox) -> None:
    (running,) = seeded(sandbox, 1, "running")
    done = run(sandbox, "jobs", "track", running, "--timeout", "0.3")
    assert done.exit_code == 1
    assert f"1 job is still under way at UP42: {running}" in done.stderr
    quiet = run(sandbox, "--quiet", "jobs", "track", running, "--timeout", "0.3")
    assert (quiet.exit_code, quiet.stderr) == (1, "")


def test_tracking_ends_at_a_status_that_is_asked_for(sandbox: Sandbox) -> None:
    (running,) = seeded(sandbox, 1, "running")
    done = run(sandbox, "jobs", "track", running, "--until", "running", "--timeout", "30s")
    assert done.exit_code == 0, done.output


def test_each_job_that_does_not_exist_is_named_with_the_reason(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "Timings", partial(Timings, refused=0.3))  # the ten seconds of real life
    done = run(sandbox, "jobs", "track", "nowhere", "nothing", "--timeout", "60s")
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert [line.partition(": GET")[0] for line in lines] == ["up42: job nowhere", "up42: job nothing"]
    assert all("status 404" in line for line in lines)


def test_files_are_downloaded_once(sandbox: Sandbox, tmp_path: Path) -> None:
    (id_,) = seeded(sandbox, 1)
    done = run(sandbox, "jobs", "download", id_, "-d", str(tmp_path))
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["jobID"] for row in rows} == {id_}
    assert all(Path(row["path"]).is_file() for row in rows)
    fetched = sandbox.count("GET", origin="files")
    again = run(sandbox, "jobs", "download", id_, "-d", str(tmp_path), "-o", "json")
    assert {row["path"] for row in json.loads(again.stdout)} == {row["path"] for row in rows}
    assert again.exit_code == 0
    assert sandbox.count("GET", origin="files") - fetched <= len(rows)


def test_a_job_without_files_is_an_error_beside_the_files_of_others(sandbox: Sandbox, tmp_path: Path) -> None:
    good, bad = seeded(sandbox, 1) + seeded(sandbox, 1, "released")
    done = run(sandbox, "jobs", "download", good, bad, "-d", str(tmp_path))
    assert done.exit_code == 1
    assert f"up42: job {bad}: " in done.stderr
    assert {json.loads(line)["jobID"] for line in done.stdout.splitlines()} == {good}


def test_a_job_that_does_not_exist_is_an_error_beside_the_files_of_others(sandbox: Sandbox, tmp_path: Path) -> None:
    (good,) = seeded(sandbox, 1)
    done = run(sandbox, "jobs", "download", "nowhere", good, "-d", str(tmp_path))
    assert (done.exit_code, done.stderr) == (1, "up42: there is no job nowhere in this account\n")
    assert {json.loads(line)["jobID"] for line in done.stdout.splitlines()} == {good}


def test_requests_are_shown_on_stderr_without_secrets(sandbox: Sandbox) -> None:
    seeded(sandbox, 1)
    done = run(sandbox, "-v", "jobs", "list", "-o", "json")
    assert "DEBUG GET /v2/processing/jobs" in done.stderr
    assert sandbox.credentials["password"] not in done.stderr
    json.loads(done.stdout)


def test_a_closed_pipe_gives_no_traceback(sandbox: Sandbox) -> None:
    seeded(sandbox, 400)  # more lines than a pipe holds
    with started(sandbox, "jobs", "list", "-o", "ndjson") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "BrokenPipeError" not in said


def test_an_interruption_is_exit_code_130_and_names_what_goes_on(sandbox: Sandbox) -> None:
    (running,) = seeded(sandbox, 1, "running")
    with started(sandbox, "jobs", "track", running) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"1 job is still under way at UP42: {running}" in said


def test_the_command_runs_as_a_program_of_its_own(sandbox: Sandbox) -> None:
    with started(sandbox, "--version") as process:
        text, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert text.startswith("up42-async ")
    assert isinstance(process, subprocess.Popen)
