"""The same calls as up42-py, the official synchronous SDK, against the same server: the same fields, the same queries.

Times are the exception: up42-py cuts them to naive milliseconds, ours are aware and exact. So is `limit`, which up42-py
leaves to the server. Skipped where up42-py is not installed; `nox -s peer` installs it.
"""

import datetime as dt
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any, Final

import anyio.to_thread
import attrs
import pytest

from tests.job_answers import connected
from up42_async import Job, JobMetadata, JobSorting, JobStatus, SortingField
from up42_async.sandbox import Sandbox

VERSION: Final = "4.3.0"
TREES, SHIPS = "detection-trees-spacept", "detection-ships-airbus"
FIELDS: Final = [field.name for field in attrs.fields(Job) if not field.name.startswith("_")]
TIMES: Final = ("created", "updated", "started", "finished")
LIMIT: Final = re.compile(r"(^|&)limit=\d+")

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # up42-py warns of a status that the platform still uses


@pytest.fixture(scope="module")
def peer() -> Any:
    """Import up42-py, whose import asks the network for newer versions and warns of this and that."""
    pytest.importorskip("up42", reason="up42-py is not installed; `nox -s peer` compares with it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("up42")
    assert importlib.metadata.version("up42-py") == VERSION
    return module


@pytest.fixture
def login(peer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sandbox], None]:
    """Return what points up42-py, whose hosts are fixed, to a sandbox and logs in."""

    def log_in(sandbox: Sandbox) -> None:
        host = importlib.import_module("up42.host")
        monkeypatch.setattr(host, "endpoint", sandbox.endpoints.api.__add__)
        monkeypatch.setattr(host, "token_endpoint", lambda: f"{sandbox.endpoints.auth}/token")
        monkeypatch.setattr(host, "user_info_endpoint", lambda: f"{sandbox.endpoints.auth}/userinfo")
        peer.authenticate(**sandbox.credentials)
        sandbox.reset_counts()

    return log_in


def seed(sandbox: Sandbox) -> list[str]:
    """Make a hundred jobs of every status, with times of every precision."""
    words = [status.value for status in JobStatus]
    return [
        job_id
        for number in range(100)
        for job_id in sandbox.seed_jobs(
            1,
            status=words[number % len(words)],
            process_id=(TREES, SHIPS)[number % 2],
            workspace_id=None if number % 3 else "another",
            spread=10_000 + 60 * number,
        )
    ]


def same(ours: Job, theirs: Any) -> Iterator[bool]:
    """Compare all fields of a job."""
    for name in FIELDS:
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name == "status":
            yield (mine.name, mine.value) == (other.name, other.value)
        elif name == "errors":
            yield [(e.name, e.message) for e in mine or ()] == [(e.name, e.message) for e in other or ()]
        elif name in TIMES and mine is not None:
            cut = mine.replace(microsecond=mine.microsecond // 1000 * 1000, tzinfo=None)
            yield mine.tzinfo is dt.UTC and other.replace(tzinfo=None) == cut
        else:
            yield mine == other


def queries(sandbox: Sandbox, *, limit: bool) -> list[str]:
    """Return the queries since the last look, in order, with or without the page size."""
    asked = [record.query for record in sandbox.requests]
    sandbox.reset_counts()
    return asked if limit else [LIMIT.sub("", query).removeprefix("&") for query in asked]


CALLS: list[dict[str, Any]] = [
    {},
    {"process_id": [TREES]},
    {"process_id": [TREES, SHIPS]},
    {"workspace_id": "another"},
    {"status": ["running"]},
    {"status": ["running", "captured", "invalid"]},
    {"min_duration": 1},
    {"max_duration": 900},
    {"min_duration": 300, "max_duration": 900},
    {"sort_by": "process_id"},
    {"sort_by": "status"},
    {"sort_by": "created"},
    {"sort_by": "credits"},
    {"sort_by": "process_id.desc"},
    {"sort_by": "status.asc"},
    {"sort_by": "created.asc"},
    {"sort_by": "credits.asc"},
    {"process_id": [SHIPS], "workspace_id": "another", "status": ["captured", "failed"], "sort_by": "created"},
    {"page_size": 7},
    {"page_size": 7, "status": ["captured"], "sort_by": "created.asc"},
]


def arguments(call: dict[str, Any], statuses: Any, sorting: Any) -> dict[str, Any]:
    """Fill in the words of one library or the other."""
    filled = dict(call)
    if "status" in call:
        filled["status"] = [statuses(word) for word in call["status"]]
    if "sort_by" in call:
        filled["sort_by"] = attrgetter(call["sort_by"])(sorting)
    return filled


@pytest.mark.parametrize("call", CALLS, ids=lambda call: "-".join(map(str, call)) or "all")
async def test_lists_have_the_same_jobs_from_the_same_queries(
    peer: Any, login: Callable[[Sandbox], None], call: dict[str, Any]
) -> None:
    async with connected() as sandbox:
        seed(sandbox)
        await anyio.to_thread.run_sync(login, sandbox)
        theirs = await anyio.to_thread.run_sync(
            lambda: list(peer.Job.all(**arguments(call, peer.JobStatus, peer.JobSorting)))
        )
        asked_by_them = queries(sandbox, limit="page_size" in call)
        ours = [job async for job in Job.all(**arguments(call, JobStatus, JobSorting))]
        asked_by_us = queries(sandbox, limit="page_size" in call)
        assert [job.id for job in ours] == [job.id for job in theirs]
        assert ours
        assert all(all(same(mine, other)) for mine, other in zip(ours, theirs, strict=True))
        assert asked_by_us == asked_by_them[: len(asked_by_us)]
        if "page_size" in call:
            assert asked_by_us == asked_by_them


async def test_lists_by_ids_have_the_same_jobs_from_the_same_query(peer: Any, login: Callable[[Sandbox], None]) -> None:
    async with connected() as sandbox:
        wanted = seed(sandbox)[:40]
        await anyio.to_thread.run_sync(login, sandbox)
        theirs = await anyio.to_thread.run_sync(lambda: list(peer.Job.all(ids=wanted)))
        asked_by_them = queries(sandbox, limit=False)
        ours = [job async for job in Job.all(ids=wanted)]
        assert queries(sandbox, limit=False) == asked_by_them
        assert [job.id for job in ours] == wanted  # in the requested order, theirs in the server's
        by_id = {job.id: job for job in theirs}
        assert all(all(same(mine, by_id[mine.id])) for mine in ours)


async def test_single_jobs_are_the_same_fetched_and_tracked(peer: Any, login: Callable[[Sandbox], None]) -> None:
    async with connected() as sandbox:
        job_ids = seed(sandbox)[:24]
        await anyio.to_thread.run_sync(login, sandbox)
        for job_id in job_ids:
            theirs = await anyio.to_thread.run_sync(peer.Job.get, job_id)
            ours = await Job.get(job_id)
            assert all(same(ours, theirs))
            if ours.is_finished:
                await anyio.to_thread.run_sync(partial(theirs.track, wait=0, retries=1))
                await ours.track(wait=0, retries=1)
                assert all(same(ours, theirs))


def test_metadata_are_read_to_the_same_fields(peer: Any) -> None:
    metadata: Any = {
        "processID": "p",
        "jobID": "j",
        "accountID": "a",
        "workspaceID": None,
        "definition": {"inputs": {}},
        "results": {"collection": None, "errors": [{"name": "n", "message": "m"}]},
        "creditConsumption": {"credits": 5},
        "status": "invalid",
        "created": "2024-05-01T10:00:00.123456789Z",
        "started": None,
        "finished": "2024-05-01T10:00:01.5Z",
        "updated": "2024-05-01T10:00:02Z",
    }
    ours, theirs = Job.from_metadata(metadata), peer.Job.from_metadata(metadata)
    assert all(same(ours, theirs))
    assert ours.created == dt.datetime(2024, 5, 1, 10, 0, 0, 123456, dt.UTC)


def test_the_words_are_the_same(peer: Any) -> None:
    processing = importlib.import_module("up42.processing")
    assert {s.name: s.value for s in JobStatus} == {s.name: s.value for s in list(peer.JobStatus)}
    for name in ("process_id", "status", "created", "credits"):
        ours: SortingField = getattr(JobSorting, name)
        theirs = getattr(processing.JobSorting, name)
        assert [str(ours), str(ours.asc), str(ours.desc)] == [str(theirs), str(theirs.asc), str(theirs.desc)]
    assert set(processing.JobMetadata.__annotations__) == set(JobMetadata.__annotations__)
