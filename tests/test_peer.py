"""The same calls with up42-py, the official synchronous SDK, on the same server give the same fields and queries.

There are two exceptions: up42-py truncates times to naive milliseconds, while ours are aware and exact; and it sends no
`limit`. Skipped where up42-py is not installed; `nox -s peer` installs it.
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
import pystac
import pytest

from tests.job_answers import connected
from up42_async import (
    TERMINAL_STATUSES,
    Budget,
    Job,
    JobMetadata,
    JobSorting,
    JobStatus,
    SortingField,
    Up42Properties,
    get_item,
    search_items,
    update_item,
)
from up42_async._clock import timestamp
from up42_async.sandbox import Sandbox

VERSION: Final = "4.3.0"
TREES, SHIPS = "detection-trees-spacept", "detection-ships-airbus"
OURS: Final = ("extra",)
"""Fields that up42-py does not have."""
FIELDS: Final = [field.name for field in attrs.fields(Job) if not field.name.startswith("_") and field.name not in OURS]
TIMES: Final = ("created", "updated", "started", "finished")
LIMIT: Final = re.compile(r"(^|&)limit=\d+")

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # up42-py warns of a status that the platform still uses


@pytest.fixture(scope="module")
def peer() -> Any:
    """Import up42-py, whose import checks the network for a newer version and gives warnings."""
    pytest.importorskip("up42", reason="up42-py is not installed; `nox -s peer` compares with it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("up42")
    assert importlib.metadata.version("up42-py") == VERSION
    return module


@pytest.fixture
def login(peer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sandbox], None]:
    """Return a function that logs up42-py in to a sandbox; its hosts are constants, so they are patched."""

    def log_in(sandbox: Sandbox) -> None:
        host = importlib.import_module("up42.host")
        monkeypatch.setattr(host, "endpoint", sandbox.endpoints.api.__add__)
        monkeypatch.setattr(host, "token_endpoint", lambda: f"{sandbox.endpoints.auth}/token")
        monkeypatch.setattr(host, "user_info_endpoint", lambda: f"{sandbox.endpoints.auth}/userinfo")
        peer.authenticate(**sandbox.credentials)
        sandbox.reset_counts()

    return log_in


def seed(sandbox: Sandbox) -> list[str]:
    """Add a hundred jobs of all statuses, two processes and two workspaces, with times of every precision."""
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
    """Yield for each field of a job whether both have the same value."""
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
    """Return the queries since the last call of this function, in order, with or without the page size."""
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
    """Return the arguments with the status and sorting objects of one of the two libraries."""
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


async def test_fetched_and_tracked_jobs_are_the_same(peer: Any, login: Callable[[Sandbox], None]) -> None:
    async with connected() as sandbox:
        job_ids = seed(sandbox)[:24]
        await anyio.to_thread.run_sync(login, sandbox)
        for job_id in job_ids:
            theirs = await anyio.to_thread.run_sync(peer.Job.get, job_id)
            ours = await Job.get(job_id)
            assert all(same(ours, theirs))
            if ours.status in TERMINAL_STATUSES:  # FAILED without credits is final too, but not for up42-py
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


def test_statuses_sorting_fields_and_metadata_keys_are_the_same(peer: Any) -> None:
    processing = importlib.import_module("up42.processing")
    assert {s.name: s.value for s in JobStatus} == {s.name: s.value for s in list(peer.JobStatus)}
    for name in ("process_id", "status", "created", "credits"):
        ours: SortingField = getattr(JobSorting, name)
        theirs = getattr(processing.JobSorting, name)
        assert [str(ours), str(ours.asc), str(ours.desc)] == [str(theirs), str(theirs.asc), str(theirs.desc)]
    assert set(processing.JobMetadata.__annotations__) == set(JobMetadata.__annotations__)


BUDGET_FIELDS: Final = (
    "id name description external_id status created_by spend_limit consumed_credits remaining_credits usage_percentage"
).split()


def same_budget(ours: Budget, theirs: Any) -> Iterator[bool]:
    """Yield for each field of a budget whether both have the same value; up42-py leaves times as strings."""
    for name in BUDGET_FIELDS:
        yield getattr(ours, name) == getattr(theirs, name)
    yield ours.created_at == timestamp(theirs.created_at)
    yield ours.updated_at == timestamp(theirs.updated_at)
    mine, other = ours.validity_period, theirs.validity_period
    yield (mine is None) == (other is None)
    if mine is not None:
        yield mine.start_date == timestamp(other.start_date)
        yield mine.end_date == timestamp(other.end_date)


@pytest.mark.parametrize(
    "call", [{}, {"status": ["ACTIVE"]}, {"status": ["ACTIVE", "INACTIVE"], "include_usage": True}]
)
async def test_listed_and_fetched_budgets_are_the_same(
    peer: Any, login: Callable[[Sandbox], None], call: dict[str, Any]
) -> None:
    budgets = importlib.import_module("up42.budgets")
    async with connected() as sandbox:
        for number in range(25):
            sandbox.add_budget(f"budget {number}", spend_limit=100 * number)
        await anyio.to_thread.run_sync(login, sandbox)
        theirs = await anyio.to_thread.run_sync(lambda: list(budgets.Budget.all(**call)))
        ours = [budget async for budget in Budget.all(**call)]
        assert [budget.id for budget in ours] == [budget.id for budget in theirs]
        assert len(ours) > 20  # more than UP42 gives on a page
        assert all(all(same_budget(mine, other)) for mine, other in zip(ours, theirs, strict=True))
        usage = call.get("include_usage", False)
        one = await anyio.to_thread.run_sync(partial(budgets.Budget.get, ours[0].id, include_usage=usage or None))
        assert all(same_budget(await Budget.get(ours[0].id, include_usage=usage), one))
        consumed = await anyio.to_thread.run_sync(one.get_usage)
        assert await ours[0].usage() == consumed.consumed_credits
        settings = await anyio.to_thread.run_sync(budgets.BudgetSettings.get)
        assert await Budget.is_enforced() is settings.enforcement_enabled


def same_item(ours: pystac.Item, theirs: pystac.Item) -> bool:
    """Return whether two items have the same content and the same properties of UP42's extension."""
    names = [name for name in vars(Up42Properties) if not name.startswith("_")]
    extension = theirs.up42  # type: ignore[attr-defined]
    added = all(getattr(Up42Properties(ours), name) == getattr(extension, name) for name in names)
    return added and without_links(ours.to_dict()) == without_links(theirs.to_dict())


def without_links(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out the links, since pystac-client adds its own root, and the license, which only pystac migrates."""
    return {name: value for name, value in content.items() if name not in {"links", "license"}}


async def test_items_and_collections_of_a_job_are_the_same(peer: Any, login: Callable[[Sandbox], None]) -> None:
    async with connected() as sandbox:
        (job_id,) = sandbox.seed_jobs(1, process_id=TREES, status="captured")
        await anyio.to_thread.run_sync(login, sandbox)
        job = await Job.get(job_id)
        ours = [item async for item in job.items()]
        collection = await job.collection()
        assert collection is not None

        def ask() -> tuple[Any, list[Any], list[Any]]:
            client = peer.stac_client()
            wanted = {"op": "=", "args": [{"property": "job_id"}, job_id]}
            found = list(client.search(filter=wanted, filter_lang="cql2-json", limit=2).items())
            mine = peer.Job.get(job_id).collection
            return mine, found, list(client.get_collection(collection.id).get_items())

        theirs, found, listed = await anyio.to_thread.run_sync(ask)
        assert without_links(collection.to_dict()) == without_links(theirs.to_dict())
        for items in (found, listed):
            by_id = {item.id: item for item in items}
            assert len(by_id) == len(items) == len(ours) > 1
            assert all(same_item(item, by_id[item.id]) for item in ours)


async def test_an_item_is_updated_in_the_same_way(peer: Any, login: Callable[[Sandbox], None]) -> None:
    async with connected() as sandbox:
        await anyio.to_thread.run_sync(login, sandbox)
        ours = await anext(search_items(limit=1))
        theirs = ours.clone()
        for item, title in ((ours, "ours"), (theirs, "theirs")):
            Up42Properties(item).title, Up42Properties(item).tags = title, ["one", "two"]
        await update_item(ours)
        after_ours = await get_item(str(ours.collection_id), ours.id)
        await anyio.to_thread.run_sync(theirs.update)  # type: ignore[attr-defined]
        after_theirs = await get_item(str(ours.collection_id), ours.id)
        assert (Up42Properties(after_ours).title, Up42Properties(after_theirs).title) == ("ours", "theirs")
        assert Up42Properties(after_ours).tags == Up42Properties(after_theirs).tags == ["one", "two"]
        assert ours.properties == after_ours.properties
