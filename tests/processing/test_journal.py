"""The journal: what is on disk, who may write it, and what is refused without touching the file."""

import datetime as dt
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from up42_async._client import Client
from up42_async._errors import JournalError
from up42_async._jobs.job import Job
from up42_async._processing.journal import Journal
from up42_async._processing.journal_run import JournalRun, Place
from up42_async._processing.order import Order
from up42_async._processing.recovery import ExecutionUncertainError
from up42_async._processing.template import execution_key

API = "https://api.up42.com"
SENT_AT = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
INPUTS = {"title": "Trees <in> \u00fcber", "item": "https://api.up42.com/v2/assets/stac/collections/c/items/i"}
KEY = execution_key("trees", "w", INPUTS)


def job_of(id_: str = "job-1", status: str = "running") -> Job:
    record: Any = {
        "processID": "trees",
        "jobID": id_,
        "accountID": "account",
        "workspaceID": "w",
        "definition": {"inputs": INPUTS},
        "results": None,
        "creditConsumption": None,
        "status": status,
        "created": "2026-03-01T12:00:00Z",
        "updated": "2026-03-01T12:00:00Z",
        "started": None,
        "finished": None,
    }
    return Job.from_metadata(record)


ORDER = Order(process_id="trees", workspace_id="w", inputs=INPUTS, fingerprint="f" * 64, key=KEY, label="trees")


async def intend(place: Place, *, credits: int = 10) -> None:
    await place.intend(credits=credits, sent_at=SENT_AT)


async def made(place: Place, id_: str = "job-1", status: str = "running") -> None:
    await place.made(job_of(id_, status), recovered=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trees & co?.db"


@pytest.fixture
async def run(path: Path) -> AsyncIterator[JournalRun]:
    run = await JournalRun(path).open(API, "user")
    yield run
    await run.aclose()


# Reading


def test_naming_a_journal_makes_and_opens_nothing(path: Path) -> None:
    journal = Journal(path)
    assert (journal.path, path.exists()) == (path, False)
    with journal:
        assert (journal.entries(), journal.jobs(), journal.spent, journal.counts) == ([], [], 0, {})
    assert list(path.parent.iterdir()) == []


def test_a_journal_is_named_by_a_path() -> None:
    with pytest.raises(TypeError):
        Journal(3)  # type: ignore[arg-type]


async def test_what_is_sent_is_readable_before_an_answer_came(run: JournalRun, path: Path) -> None:
    await intend(run.place(ORDER))
    (entry,) = Journal(path).entries()
    assert (entry.state, entry.credits, entry.inputs, entry.ordinal) == ("executing", 10, INPUTS, 1)
    assert (entry.sent_at, entry.job_id, entry.status, entry.files) == (SENT_AT, None, None, None)
    assert abs(entry.sent_at_local - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert Journal(path).spent == 10


async def test_what_came_of_each_execution_is_told_and_counted(run: JournalRun, path: Path) -> None:
    places = [run.place(ORDER) for _ in range(6)]
    for place in places:
        await intend(place)
    for place, status in zip(places, ("captured", "released", "running"), strict=False):
        await made(place, f"job-{status}", status)
    await places[3].refused("no credits")
    await places[4].uncertain(ExecutionUncertainError("lost", candidates=["a", "b"]))
    journal = Journal(path)
    states = [entry.state for entry in journal.entries()]
    assert states == ["done", "failed", "running", "refused", "uncertain", "executing"]
    assert journal.counts == dict.fromkeys(states, 1)
    assert journal.spent == 40  # neither the released nor the refused one
    assert [job.id for job in journal.jobs()] == ["job-captured", "job-released", "job-running"]
    assert journal.entries()[4].candidates == ("a", "b")
    assert (journal.entries()[3].error, journal.entries()[0].error) == ("no credits", None)


async def test_a_block_keeps_one_file_open_and_sees_what_is_written_meanwhile(run: JournalRun, path: Path) -> None:
    with Journal(path) as journal:
        assert journal.counts == {}
        await intend(run.place(ORDER))
        assert journal.counts == {"executing": 1}
        with journal:
            assert journal.spent == 10
    journal.close()
    assert journal.spent == 10


async def test_another_process_reads_while_this_one_writes(run: JournalRun, path: Path) -> None:
    await intend(run.place(ORDER))
    program = "import sys, up42_async._processing.journal as j; print(j.Journal(sys.argv[1]).counts)"
    done = await anyio.run_process([sys.executable, "-c", program, str(path)])
    assert done.stdout.decode().strip() == "{'executing': 1}"


async def test_the_state_of_a_job_and_its_files_are_kept(run: JournalRun, path: Path) -> None:
    place = run.place(ORDER)
    await intend(place)
    await made(place)
    assert run.unended(["captured"]) == ["job-1"]
    await run.seen([job_of(status="captured")])
    await run.seen([])
    await place.downloaded("all", [{"path": "results/job-1/a.tif"}])
    assert place.files("all") == [{"path": "results/job-1/a.tif"}]
    assert place.files("some") == []
    (entry,) = Journal(path).entries()
    assert (entry.state, entry.files) == ("done", ("results/job-1/a.tif",))
    assert run.unended(["captured"]) == []
    client = Client("user", "password")
    job = place.job(client)
    assert (job.id, job.status.value, job.client) == ("job-1", "captured", client)
    await run.write(("UPDATE executions SET job = NULL", ()))
    with pytest.raises(JournalError, match="is damaged"):
        place.job(client)


def test_a_short_repr_names_the_file_and_never_fails(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200)
    path.write_bytes(b"")
    assert len(repr(Journal(path))) <= 200
    assert "0 executions, 0 credits" in repr(Journal(path))
    broken = tmp_path / "broken"
    broken.write_bytes(b"no journal at all" * 100)
    assert "cannot be read" in repr(Journal(broken))
    assert "is not a journal" in Journal(broken)._repr_html_()
    assert "nothing executed" in Journal(path)._repr_html_()


def test_a_path_that_cannot_be_looked_at_is_an_error_of_the_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be read: File name too long"):
        Journal(tmp_path / ("x" * 300)).entries()


async def test_html_shows_the_executions_and_escapes_their_titles(run: JournalRun, path: Path) -> None:
    place = run.place(ORDER)
    await intend(place)
    await made(place)
    text = Journal(path)._repr_html_()
    assert "<table>" in text
    assert "<td>Trees &lt;in&gt; \u00fcber</td>" in text
    assert "1 running; 10 credits spent" in text


# Writing


async def test_equal_executions_have_places_of_their_own_in_the_order_they_are_asked_for(run: JournalRun) -> None:
    other = attrs.evolve(ORDER, key=execution_key("trees", "w", {}))
    places = [run.place(order) for order in (ORDER, other, ORDER)]
    assert [(place.order, place.ordinal) for place in places] == [(ORDER, 1), (other, 1), (ORDER, 2)]


def test_equal_executions_have_the_same_process_workspace_and_inputs() -> None:
    assert execution_key("trees", "w", {"a": 1, "b": 2}) == execution_key("trees", "w", {"b": 2, "a": 1})
    keys = {
        execution_key("trees", "w", {}),
        execution_key("cars", "w", {}),
        execution_key("trees", "v", {}),
        execution_key("trees", "w", {"a": 1}),
    }
    assert len(keys) == 4


async def test_a_job_belongs_to_one_execution(run: JournalRun) -> None:
    first, second, third = (run.place(ORDER) for _ in range(3))
    for place in (first, second):
        await intend(place)
    await made(first, "job-1")
    await second.uncertain(ExecutionUncertainError("lost", candidates=["job-2"]))
    assert [third.holds(id_) for id_ in ("job-1", "job-2", "job-3")] == [False, False, None]
    assert first.holds("job-1")
    assert second.holds("job-2")
    assert first.under_way() == []


async def test_an_execution_that_is_sent_again_forgets_how_it_ended_but_not_its_job(
    run: JournalRun, path: Path
) -> None:
    first, second = run.place(ORDER), run.place(ORDER)
    await intend(first)
    await made(first, "job-1", "released")
    await intend(first, credits=12)
    assert [entry.ordinal for _, entry in first.under_way()] == [first.ordinal]
    (entry,) = Journal(path).entries()
    assert (entry.job_id, entry.status, entry.state, entry.credits) == (None, None, "executing", 12)
    assert second.holds("job-1") is False
    assert first.holds("job-1")


async def test_many_writers_share_a_transaction(run: JournalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions: list[int] = []
    transact = run._transact

    def counted(statements: Any) -> None:
        transactions.append(len(statements))
        transact(statements)

    monkeypatch.setattr(run, "_transact", counted)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(intend, run.place(ORDER))
    assert sum(transactions) == 20
    assert len(transactions) < 5
    assert run.spent() == 200


async def test_a_full_disk_is_an_error_that_names_the_journal_and_passes(run: JournalRun, path: Path) -> None:
    assert run._written is not None
    (pages,) = run._written.execute("PRAGMA page_count").fetchone()
    run._written.execute(f"PRAGMA max_page_count = {pages}")

    async def fill() -> None:
        for _ in range(100):
            await intend(run.place(ORDER))

    with pytest.raises(JournalError, match=r"trees & co\?\.db cannot be used: database or disk is full") as caught:
        await fill()
    assert caught.value.path == path
    run._written.execute("PRAGMA max_page_count = 1000000")
    before = run.spent()
    await intend(run.place(ORDER))
    assert run.spent() == before + 10


async def test_a_statement_that_fails_leaves_nothing_of_its_transaction(run: JournalRun) -> None:
    with pytest.raises(JournalError, match="no such table"):
        await run.write(("INSERT INTO run VALUES ('a', 'b', 'c')", ()), ("DELETE FROM nowhere", ()))
    run.check(API, "user")
    await intend(run.place(ORDER))
    assert run.spent() == 10


async def test_a_journal_that_cannot_be_made_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("up42_async._processing.journal_file._make_tables", full)
        with pytest.raises(JournalError, match="database or disk is full"):
            await JournalRun(path).open(API, "user")
    run = await JournalRun(path).open(API, "user")
    await run.aclose()


async def test_a_writer_who_is_cancelled_has_written(run: JournalRun) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await intend(run.place(ORDER))
    assert run.spent() == 10


async def test_after_the_run_it_is_one_file_and_a_lock(path: Path) -> None:
    run = await JournalRun(path).open(API, "user")
    await intend(run.place(ORDER))
    await run.aclose()
    await run.aclose()
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, f"{path.name}-lock"]
    assert Journal(path).spent == 10
    with pytest.raises(JournalError, match="it is closed"):
        await intend(run.place(ORDER))
    with pytest.raises(RuntimeError, match="is closed"):
        run.spent()


async def test_a_reader_does_not_hinder_the_end_of_a_run(path: Path) -> None:
    run = await JournalRun(path).open(API, "user")
    await intend(run.place(ORDER))
    with Journal(path) as journal:
        file = journal._kept
        assert file is not None
        file.execute("BEGIN").execute("SELECT * FROM run").fetchall()
        await run.aclose()
        assert journal.spent == 10
    run = await JournalRun(path).open(API, "user")
    assert run.spent() == 10
    await run.aclose()


async def test_a_copy_taken_at_any_moment_opens_and_goes_on(path: Path, tmp_path: Path) -> None:
    """As far as files go, a copy of the file and its companions is what a crash leaves."""
    run = await JournalRun(path).open(API, "user")
    for count in range(1, 31):
        place = run.place(ORDER)
        await intend(place)
        copy = tmp_path / f"copy-{count}" / path.name
        copy.parent.mkdir()
        for one in path.parent.glob(f"{path.name}*"):
            if not one.name.endswith("-shm"):
                shutil.copy(one, copy.parent)
        assert Journal(copy).counts == {"executing": 1, **({"running": count - 1} if count > 1 else {})} or count > 1
        again = await JournalRun(copy).open(API, "user")
        assert [entry.ordinal for _, entry in again.place(ORDER).under_way()] == [place.ordinal]
        assert again.spent() == 10 * count
        await again.aclose()
        await made(place, f"job-{count}")
    await run.aclose()


# One run at a time


async def test_a_second_run_of_this_program_is_a_mistake(run: JournalRun, path: Path) -> None:
    with pytest.raises(RuntimeError, match="in use by another call of this program: a journal is one run"):
        await JournalRun(path).open(API, "user")
    await intend(run.place(ORDER))


HOLDER = """
import sys, anyio
from up42_async._processing.journal_run import JournalRun
async def main():
    await JournalRun(sys.argv[1]).open("https://api.up42.com", "user")
    print("open", flush=True)
    await anyio.sleep_forever()
from pathlib import Path
sys.argv[1] = Path(sys.argv[1])
anyio.run(main)
"""


async def test_a_run_of_another_process_is_named_and_its_death_sets_the_journal_free(path: Path) -> None:
    async with await anyio.open_process([sys.executable, "-c", HOLDER, str(path)]) as holder:
        assert holder.stdout is not None
        await holder.stdout.receive()
        with pytest.raises(JournalError, match=f"in use by process {holder.pid} on .*; wait for its end"):
            await JournalRun(path).open(API, "user")
        assert Journal(path).counts == {}
        holder.kill()
        await holder.wait()
    run = await JournalRun(path).open(API, "user")
    await run.aclose()


async def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No such file or directory"):
        await JournalRun(tmp_path / "nowhere" / "trees.db").open(API, "user")


async def test_a_journal_keeps_to_its_host_and_account(path: Path) -> None:
    run = await JournalRun(path).open(API, "user")
    await run.aclose()
    for api, account in (("https://api.sa.up42.com", "user"), (API, "another")):
        with pytest.raises(JournalError, match=f"belongs to user user at {API}, not to user {account} at {api}"):
            await JournalRun(path).open(api, account)
    run = await JournalRun(path).open(API, "user")  # those who were refused have let go of it
    with pytest.raises(JournalError, match="belongs to user user"):
        run.check(API, "another")
    await run.aclose()


# What is no journal stays as it is


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE measurements (id)")
    file.close()


def foreign_mark(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA application_id = 17")
    file.close()


def newer(path: Path) -> None:
    anyio.run(filled, path)
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 2")
    file.close()


async def filled(path: Path) -> None:
    run = await JournalRun(path).open(API, "user")
    for _ in range(100):
        await intend(run.place(ORDER))
    await run.aclose()


def cut_off(path: Path) -> None:
    anyio.run(filled, path)
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    anyio.run(filled, path)
    content = bytearray(path.read_bytes())
    content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)


def bad_row(path: Path) -> None:
    anyio.run(filled, path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE executions SET inputs = 'no JSON'")
    file.close()


BAD: dict[str, Callable[[Path], object]] = {
    "is not a journal: it is no SQLite file": lambda path: path.write_text("id,title\n" * 1000),
    "is not a journal, but another program's SQLite file": foreign,
    "is not a journal, but another program's": foreign_mark,
    "written by a newer version of up42-async": newer,
    "is damaged": cut_off,
    "is damaged.*left as it is": overwritten,
    "is not a journal: it is no file": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_journal_is_refused_and_stays_as_it_was(path: Path, message: str) -> None:
    BAD[message](path)
    before = path.is_file() and path.read_bytes()

    async def execute() -> None:
        await JournalRun(path).open(API, "user")

    with pytest.raises(JournalError, match=message) as caught:
        anyio.run(execute)
    assert str(path) in str(caught.value)
    with pytest.raises(JournalError):
        Journal(path).entries()
    assert (path.is_file() and path.read_bytes()) == before


def test_a_row_that_makes_no_sense_is_damage(path: Path) -> None:
    bad_row(path)
    with pytest.raises(JournalError, match="is damaged"):
        Journal(path).entries()
    with pytest.raises(JournalError, match="is damaged"), Journal(path) as journal:
        journal.entries()


def test_a_file_left_empty_by_a_crash_becomes_a_journal(path: Path) -> None:
    path.touch()
    assert Journal(path).counts == {}
    anyio.run(filled, path)
    assert Journal(path).counts == {"executing": 100}
