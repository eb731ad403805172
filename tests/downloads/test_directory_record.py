"""The record of a directory: the source of each file, kept across runs and processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from up42_async._downloads import safe_open
from up42_async._downloads.destination import DirectoryRecord
from up42_async._downloads.file_names import RECORD

ONE, TWO = "/v2/assets/one", "/v2/assets/two"


def claim(directory: Path, source: str, *names: str, record: DirectoryRecord | None = None) -> str:
    """Claim a name, and create the file."""
    record = record or DirectoryRecord(directory)
    with record.locked():
        name = record.claim(names, source)
        (directory / name).touch()
    return name


def entries(directory: Path) -> dict[str, str]:
    return {name: entry["source"] for name, entry in json.loads((directory / RECORD).read_text()).items()}


def test_a_name_belongs_to_the_first_source_in_every_run(tmp_path: Path) -> None:
    for _ in range(3):
        assert claim(tmp_path, ONE, "a.tif", "a-one.tif") == "a.tif"
        assert claim(tmp_path, TWO, "a.tif", "a-two.tif") == "a-two.tif"
    assert entries(tmp_path) == {"a.tif": ONE, "a-two.tif": TWO}


def test_a_source_keeps_its_name_even_if_another_one_is_preferred_later(tmp_path: Path) -> None:
    claim(tmp_path, ONE, "a.tif")
    claim(tmp_path, TWO, "a.tif", "a-two.tif")
    (tmp_path / "a.tif").unlink()
    assert claim(tmp_path, TWO, "a.tif", "a-two.tif") == "a-two.tif"
    assert claim(tmp_path, TWO, "renamed.tif") == "a-two.tif"


def test_a_claimed_name_without_a_file_is_free_again(tmp_path: Path) -> None:
    claim(tmp_path, ONE, "a.tif")
    (tmp_path / "a.tif").unlink()
    assert claim(tmp_path, TWO, "a.tif", "a-two.tif") == "a.tif"
    assert claim(tmp_path, ONE, "a.tif", "a-one.tif") == "a-one.tif"


def test_a_part_file_keeps_its_name_reserved(tmp_path: Path) -> None:
    claim(tmp_path, ONE, "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.tif.part")
    assert claim(tmp_path, TWO, "a.tif", "a-two.tif") == "a-two.tif"


def test_a_file_that_is_not_in_the_record_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"mine")
    assert claim(tmp_path, ONE, "a.tif", "a-one.tif") == "a-one.tif"


def test_names_that_differ_only_in_case_are_not_both_claimed(tmp_path: Path) -> None:
    claim(tmp_path, ONE, "a.tif")
    assert claim(tmp_path, TWO, "A.TIF", "A-two.TIF") == "A-two.TIF"


def test_the_error_shows_the_names_if_all_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(FileExistsError, match=r"the names 'a\.tif' belong to other files"):
        claim(tmp_path, ONE, "a.tif")


def test_claiming_a_name_again_writes_no_second_entry(tmp_path: Path) -> None:
    for _ in range(5):
        claim(tmp_path, ONE, "a.tif")
    assert (tmp_path / RECORD).read_text().count("one") == 1


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-7],
    "cut off in an entry": lambda content: content[:-25],
    "with zeros at its end": lambda content: content + bytes(100),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_record_damaged_by_a_crash_keeps_its_complete_entries(tmp_path: Path, how: str) -> None:
    claim(tmp_path, ONE, "a.tif")
    claim(tmp_path, TWO, "b.tif")
    (tmp_path / RECORD).write_bytes(DAMAGED[how]((tmp_path / RECORD).read_bytes()))
    assert claim(tmp_path, TWO, "a.tif", "c.tif") in {"b.tif", "c.tif"}
    assert entries(tmp_path)["a.tif"] == ONE


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no json",
        "[]",
        "7",
        "{",
        "[" * 100_000,
        '{"a.tif": 7}\n}\n',
        '{"a.tif": {"source": null}}',
        '{"../a.tif": {"source": "/v2/assets/one"}}',
        '{"b/a.tif": {"source": "/v2/assets/one"}}',
        '{"": {"source": "/v2/assets/one"}, "..": {"source": "/v2/assets/one"}}',
        '{".up42.json": {"source": "/v2/assets/one"}}',
    ],
)
def test_invalid_records_are_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    assert claim(tmp_path, ONE, "new.tif") == "new.tif"
    assert entries(tmp_path)["new.tif"] == ONE


def test_a_reformatted_record_is_read(tmp_path: Path) -> None:
    claim(tmp_path, ONE, "a.tif")
    (tmp_path / RECORD).write_text(json.dumps(json.loads((tmp_path / RECORD).read_text()), indent=4))
    assert claim(tmp_path, TWO, "a.tif", "b.tif") == "b.tif"
    assert entries(tmp_path) == {"a.tif": ONE, "b.tif": TWO}


def test_entries_written_by_others_in_the_meantime_are_read(tmp_path: Path) -> None:
    record = DirectoryRecord(tmp_path)
    claim(tmp_path, ONE, "a.tif", record=record)
    claim(tmp_path, TWO, "b.tif")
    assert claim(tmp_path, "/v2/assets/three", "b.tif", "c.tif", record=record) == "c.tif"
    assert len(entries(tmp_path)) == 3


def test_a_link_in_place_of_the_record_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / RECORD).symlink_to(tmp_path / "victim")
    claim(tmp_path / "place", ONE, "a.tif")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_the_record_works_without_file_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_open, "fcntl", None)
    claim(tmp_path, ONE, "a.tif")
    assert entries(tmp_path) == {"a.tif": ONE}


def test_the_time_for_an_entry_does_not_grow_with_their_number(tmp_path: Path) -> None:
    record = DirectoryRecord(tmp_path)
    durations = []
    for block in range(2):
        started = time.process_time()
        for number in range(1000):
            claim(tmp_path, f"/v2/assets/{block}-{number}", f"{block}-{number}.tif", record=record)
        durations.append(time.process_time() - started)
    assert durations[1] < 3 * durations[0]
    assert len(entries(tmp_path)) == 2000


PROGRAM = """
import sys
from pathlib import Path
import anyio, anyio.to_thread
from up42_async._downloads.destination import DirectoryRecord

directory, me = Path(sys.argv[1]), sys.argv[2]
record = DirectoryRecord(directory)

def claim(number):
    with record.locked():
        name = record.claim([f"{number}.tif", f"{number}-{me}.tif"], f"/v2/assets/{me}/{number}")
        (directory / name).touch()

async def main():
    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(anyio.to_thread.run_sync, claim, number)

anyio.run(main)
"""


@pytest.mark.slow
def test_processes_that_write_one_directory_lose_no_entry(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), str(number)])  # noqa: S603
        for number in range(4)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
    names = entries(tmp_path)
    assert len(names) == len(set(names.values())) == 160
    assert {path.name for path in tmp_path.iterdir() if path.name != RECORD} == names.keys()


async def test_waiting_for_the_record_can_be_cancelled(tmp_path: Path) -> None:
    holder = DirectoryRecord(tmp_path)
    with holder.locked(), anyio.move_on_after(0.05) as scope:
        await anyio.to_thread.run_sync(claim, tmp_path, ONE, "a.tif")
    assert scope.cancelled_caught
    assert not (tmp_path / "a.tif").exists()
