"""Whatever the server sends, a call returns a documented value or raises an `Up42Error`, in bounded time and memory."""

import resource
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pystac
import pytest

from tests.odd_answers import odd_platform
from up42_async import (
    Asset,
    Balance,
    Budget,
    Client,
    Job,
    Process,
    Up42Error,
    delete_collection,
    get_collection,
    get_item,
    get_queryables,
    list_collections,
    processing_templates,
    search_items,
    update_item,
)
from up42_async._account.processes import ProcessCache
from up42_async._storage.job_results import result_collection, result_items

ROUNDS = 40
MEBIBYTE = 2**20

TREES = "detection-trees-spacept"


async def listed(entries: Any) -> list[Any]:
    """Return all entries of a list, and check that the errors of unreadable entries are Up42Errors."""
    found = [entry async for entry in entries]
    assert all(isinstance(error, Up42Error) for error in entries.errors)
    return found


def all_are(kind: type) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, list) and all(isinstance(value, kind) for value in values)


def is_a(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


CALLS: dict[str, tuple[Callable[["Thing"], Awaitable[Any]], Callable[[Any], bool]]] = {
    "search_items": (lambda here: listed(search_items(limit=2, max_items=6)), all_are(pystac.Item)),
    "search_items by id": (lambda here: listed(search_items(ids=[here.item.id])), all_are(pystac.Item)),
    "items of a job": (lambda here: listed(result_items(here.client, here.url)), all_are(pystac.Item)),
    "collection of a job": (lambda here: result_collection(here.client, here.url), is_a(pystac.Collection)),
    "get_collection": (lambda here: get_collection(str(here.item.collection_id)), is_a(pystac.Collection)),
    "list_collections": (lambda here: listed(list_collections(limit=2)), all_are(pystac.Collection)),
    "get_item": (lambda here: get_item(str(here.item.collection_id), here.item.id), is_a(pystac.Item)),
    "update_item": (lambda here: update_item(here.item.clone()), is_a(pystac.Item)),
    "get_queryables": (lambda here: get_queryables(), is_a(dict)),
    "Asset.all": (lambda here: listed(Asset.all(page_size=3)), all_are(Asset)),
    "Asset.get": (lambda here: Asset.get(here.asset.id), is_a(Asset)),
    "asset.stac_items": (lambda here: here.asset.stac_items(), all_are(pystac.Item)),
    "Process.all": (lambda here: listed(Process.all()), all_are(Process)),
    "Process.get": (lambda here: Process.get(TREES), is_a(Process)),
    "a process to evaluate": (lambda here: ProcessCache(here.client).find(TREES, 0), is_a(Process)),
    "Budget.all": (lambda here: listed(Budget.all(include_usage=True, page_size=1)), all_are(Budget)),
    "Budget.get": (lambda here: Budget.get(here.budget.id), is_a(Budget)),
    "budget.usage": (lambda here: here.budget.usage(), is_a((int, float))),  # type: ignore[arg-type]
    "Budget.is_enforced": (lambda here: Budget.is_enforced(), is_a(bool)),
    "client.balance": (lambda here: here.client.balance(), is_a(Balance)),
    "evaluate": (lambda here: here.template().evaluate(), is_a(processing_templates.JobTemplate)),
    "execute": (lambda here: here.template().execute(), is_a(Job)),
    "delete_collection": (lambda here: delete_collection("not-there"), lambda value: value is None),
}


class Thing:
    """The objects that the calls use, fetched before the responses become odd."""

    client: Client
    url: str
    item: pystac.Item
    asset: Asset
    budget: Budget

    def template(self) -> processing_templates.DetectionTreesSpacept:
        return processing_templates.DetectionTreesSpacept(title="t", item=self.item)

    @classmethod
    async def of(cls, sandbox: Any, client: Client) -> "Thing":
        here = cls()
        here.client = client
        (job_id,) = sandbox.seed_jobs(1, process_id="pansharpening", status="captured")
        here.url = f"https://api.up42.com/v2/assets/stac/collections/{sandbox.jobs[job_id].collection_id}"
        (here.item, *_) = [item async for item in search_items(job_id=job_id)]
        here.asset = await anext(Asset.all())
        here.budget = await anext(Budget.all())
        return here


@pytest.fixture(scope="module")
def memory() -> Iterator[None]:
    """Check that the peak memory of the process grows by less than 150 MiB in this file."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 150 * MEBIBYTE


@pytest.mark.slow
@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("name", CALLS)
async def test_odd_responses_give_a_documented_value_or_an_up42_error(name: str) -> None:
    call, expected = CALLS[name]
    async with odd_platform() as odd:
        here = await Thing.of(odd.sandbox, odd.client)
        await odd.attack(lambda: call(here), expected=expected, rounds=ROUNDS)
