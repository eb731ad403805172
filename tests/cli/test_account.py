"""`up42 auth`, `up42 processes`, `up42 balance`, `up42 budgets`: what surrounds a job."""

import csv
import io
import json
import re

import anyio
import pytest

from tests.cli.command import run
from up42_async.cli.settings import Region, Settings
from up42_async.sandbox import Sandbox, faults

PROCESS = "detection-trees-spacept"


def test_credentials_that_are_right_are_said_to_be(sandbox: Sandbox) -> None:
    done = run(sandbox, "auth", "check")
    assert (done.exit_code, done.stdout) == (0, f"{sandbox.workspace_id}\n")
    assert done.stderr == "up42: the credentials are accepted\n"
    assert run(sandbox, "--quiet", "auth", "check").stderr == ""


def test_wrong_credentials_are_an_error_without_a_traceback(sandbox: Sandbox) -> None:
    done = run(sandbox, "auth", "check", more={"UP42_PASSWORD": "canary"})
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("up42: POST /token: status 401")
    assert "Traceback" not in done.stderr
    assert "canary" not in done.output


def test_missing_credentials_are_wrong_usage(sandbox: Sandbox) -> None:
    done = run(sandbox, "auth", "check", more={"UP42_USERNAME": "", "UP42_PASSWORD": ""})
    assert done.exit_code == 2
    assert "UP42_USERNAME and UP42_PASSWORD" in done.stderr


def test_an_interruption_is_exit_code_130(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)
    done = run(sandbox, "balance")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("given", [("--region", "mars"), ()], ids=["option", "variable"])
def test_an_unknown_region_is_wrong_usage_although_addresses_are_given(
    sandbox: Sandbox, given: tuple[str, ...]
) -> None:
    done = run(sandbox, *given, "balance", more={} if given else {"UP42_REGION": "mars"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert "'mars' is not one of 'eu', 'sa'" in done.stderr


def test_without_addresses_the_region_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP42_USERNAME", "person@example.com")
    monkeypatch.setenv("UP42_PASSWORD", "password")
    assert "https://api.sa.up42.com" in repr(Settings(region=Region.SA).client())


def test_half_an_address_is_wrong_usage(sandbox: Sandbox) -> None:
    done = run(sandbox, "auth", "check", more={"UP42_AUTH_URL": ""})
    assert done.exit_code == 2
    assert "give both --api and --auth" in done.stderr


def test_processes_are_listed_and_shown(sandbox: Sandbox) -> None:
    listed = run(sandbox, "processes", "list", "-o", "csv")
    ids = [row["id"] for row in csv.DictReader(io.StringIO(listed.stdout))]
    assert PROCESS in ids
    shown = json.loads(run(sandbox, "processes", "show", PROCESS).stdout)
    assert shown["id"] == PROCESS
    assert shown["inputs"]["item"]["schema"]


def test_a_process_is_shown_as_two_tables(sandbox: Sandbox) -> None:
    sandbox.set_eula(PROCESS, accepted=False)
    shown = run(sandbox, "processes", "show", PROCESS, "-o", "table").stdout
    process, inputs = ([re.split(" {2,}", line.rstrip()) for line in part.splitlines()] for part in shown.split("\n\n"))
    assert process == [
        ["name", "value"],
        ["id", PROCESS],
        ["title", "Tree detection"],
        ["description", "Finds trees and their crowns."],
        ["price", "1 credit per SQ_KM"],
        ["EULA", "not accepted: accept it in the UP42 console"],
    ]
    assert inputs[0] == ["input", "type", "required", "description"]
    assert ["item", "string", "yes", "The self link of a STAC item in your storage."] in inputs


def test_a_process_of_which_little_is_known_is_shown(sandbox: Sandbox) -> None:
    parameters = {"parameters": [{"name": "price", "value": [{"credits": 2}]}]}
    bare = faults.Rewrite(
        lambda _: {"id": PROCESS, "inputs": {"item": {"minOccurs": 0}}, "additionalParameters": parameters}
    )
    with sandbox.faults.during(bare, path=f"/v2/processing/processes/{PROCESS}"):
        done = run(sandbox, "processes", "show", PROCESS, "-o", "table")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[4:6] == [["price", "2", "credits"], ["EULA", "none"]]
    assert lines[-1] == ["item", "no"]


def test_a_process_that_does_not_exist_is_an_error(sandbox: Sandbox) -> None:
    done = run(sandbox, "processes", "show", "nonsense")
    assert done.exit_code == 1
    assert "status 404" in done.stderr


def test_the_balance_is_shown_as_a_table_or_as_json(sandbox: Sandbox) -> None:
    assert json.loads(run(sandbox, "balance", "-o", "json").stdout)["credits"] == sandbox.balance.available
    table = run(sandbox, "balance").stdout
    assert [line.split()[0] for line in table.splitlines()] == ["name", "credits", "unit"]
    line = json.loads(run(sandbox, "balance", "-o", "ndjson").stdout)
    assert line["unit"] == "CREDIT"


def test_budgets_are_listed_with_what_is_left_of_them(sandbox: Sandbox) -> None:
    rows = json.loads(run(sandbox, "budgets", "list", "--usage", "-o", "json").stdout)
    assert rows
    assert {row["remaining_credits"] is not None for row in rows} == {True}
    assert [row["created_at"] for row in rows] == [row["metadata"]["createdAt"] for row in rows]  # as UP42 writes times
    assert "remaining" not in run(sandbox, "budgets", "list", "-o", "csv").stdout


def test_an_account_without_budgets_is_no_failure_and_says_so(sandbox: Sandbox) -> None:
    sandbox.faults.add(faults.Rewrite(lambda body: {**body, "content": []}), path="/v2/budgets")
    done = run(sandbox, "budgets", "list", "-o", "ndjson")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "up42: the account has no budgets\n")


def test_without_credentials_the_command_says_where_they_come_from(sandbox: Sandbox) -> None:
    done = run(sandbox, "balance", more={"UP42_USERNAME": "", "UP42_PASSWORD": ""})
    assert done.stderr.startswith("up42: no credentials: set UP42_USERNAME and UP42_PASSWORD, or give --cfg-file FILE")
