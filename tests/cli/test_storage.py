"""`up42 assets` and `up42 items`."""

import json

import pytest

from tests.cli.command import run
from up42_async.sandbox import REFERENCE_ASSET, Sandbox


def test_the_items_of_an_asset_are_listed(sandbox: Sandbox) -> None:
    rows = json.loads(run(sandbox, "assets", "items", REFERENCE_ASSET, "-o", "json").stdout)
    assert [row["href"] for row in rows] == sandbox.items_of(REFERENCE_ASSET)
    assert rows[0]["type"] == "Feature"
    table = run(sandbox, "assets", "items", REFERENCE_ASSET).stdout
    assert rows[0]["href"] in table


def test_items_are_searched(sandbox: Sandbox) -> None:
    (url,) = sandbox.items_of(REFERENCE_ASSET)
    item = url.rpartition("/")[2]
    found = json.loads(run(sandbox, "items", "search", "--id", item, "-o", "json").stdout)
    assert [row["id"] for row in found] == [item]
    box = ",".join(map(str, found[0]["bbox"][:4]))
    asset_is = json.dumps({"op": "=", "args": [{"property": "asset_id"}, REFERENCE_ASSET]})
    for words in (
        ("--bbox", box),
        ("--filter", asset_is),
        ("--collection", found[0]["collection"]),
        ("--datetime", "2000-01-01T00:00:00Z/.."),
    ):
        lines = run(sandbox, "items", "search", *words, "-o", "ndjson").stdout.splitlines()
        assert item in [json.loads(line)["id"] for line in lines], words
    sandbox.add_assets(3)
    assert len(run(sandbox, "items", "search", "--limit", "2", "-o", "ndjson").stdout.splitlines()) == 2


def test_a_box_or_filter_that_cannot_be_read_is_wrong_usage(sandbox: Sandbox) -> None:
    for words in (("--bbox", "a,b"), ("--bbox", "1,2"), ("--filter", "{")):
        done = run(sandbox, "items", "search", *words)
        assert done.exit_code == 2, words
        assert done.stderr.startswith("up42: ")


def test_an_asset_that_does_not_exist_is_an_error(sandbox: Sandbox) -> None:
    done = run(sandbox, "assets", "items", "nonsense")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "status 404" in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--bbox", "a,b,c,d", "--bbox must be west,south,east,north in degrees, not 'a,b,c,d'"),
        ("--filter", "{", "--filter must be CQL2-JSON; '{' is not JSON"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(sandbox: Sandbox, option: str, value: str, said: str) -> None:
    done = run(sandbox, "items", "search", option, value)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"up42: {said}")


def test_a_search_without_a_match_is_no_failure_and_says_so(sandbox: Sandbox) -> None:
    done = run(sandbox, "items", "search", "--id", "nowhere", "-o", "json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "[]\n", "up42: no items match\n")
