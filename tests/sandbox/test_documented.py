"""Every fault has a place in the documentation."""

from pathlib import Path

import pytest

from up42_async.sandbox import faults

TESTING = Path(__file__).parents[2] / "docs" / "testing.md"
KINDS = [name for name, member in vars(faults).items() if isinstance(member, type) and hasattr(member, "apply")]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "Kind"])
def test_every_kind_of_fault_is_in_the_table(name: str) -> None:
    if not TESTING.exists():
        pytest.skip("the documentation is not here")
    rows = [line for line in TESTING.read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in row.split("|")[1] for row in rows)
