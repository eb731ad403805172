"""What is known of processes: inputs, prices, EULAs, however odd the answers are."""

import logging
from typing import Any

import anyio
import pytest

from tests.storage_host import StorageHost
from up42_async import NotFoundError, Process, ProcessInput, ProcessPrice, ServerError, UnexpectedResponseError
from up42_async._account.processes import ProcessCache

PROCESSES = "/v2/processing/processes"
TREES = "detection-trees-spacept"


def described(process_id: str = TREES, eula_id: str | None = "e1", **changes: Any) -> dict[str, Any]:
    """Return a process as UP42 sends it."""
    parameters: list[dict[str, Any]] = [{"name": "price", "value": [{"credits": 1, "unit": "SQ_KM"}]}]
    if eula_id is not None:
        parameters.append({"name": "eula-id", "value": [eula_id]})
    return {
        "id": process_id,
        "title": "Trees",
        "description": "Finds trees.",
        "inputs": {
            "title": {"title": "Title", "minOccurs": 1, "maxOccurs": 1, "schema": {"type": "string"}},
            "greyWeights": {"description": "Weights.", "minOccurs": 0, "maxOccurs": "unbounded"},
        },
        "additionalParameters": {"parameters": parameters},
        **changes,
    }


async def test_a_process_has_inputs_prices_and_the_state_of_its_eula(host: StorageHost) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = described()
    host.answers["GET /v2/eulas/e1"] = {"id": "e1", "isAccepted": True}
    async with host.client() as client:
        process = await Process.get(TREES, client=client)
        assert await Process.get(TREES) == process
    assert (process.id, process.title, process.description) == (TREES, "Trees", "Finds trees.")
    assert (process.eula_id, process.eula_accepted) == ("e1", True)
    assert process.prices == (ProcessPrice(credits=1, unit="SQ_KM"),)
    title, weights = process.inputs["title"], process.inputs["greyWeights"]
    assert (title.is_required, title.max_occurs, title.schema) == (True, 1, {"type": "string"})
    assert (weights.is_required, weights.max_occurs, weights.description) == (False, None, "Weights.")
    assert process.metadata == described()
    assert host.asked["GET /v2/eulas/e1"] == 1  # an accepted one is not asked for again


async def test_a_eula_that_is_not_accepted_is_requested_again(host: StorageHost) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = described()
    host.answers["GET /v2/eulas/e1"] = {"isAccepted": False}
    async with host.client():
        assert (await Process.get(TREES)).eula_accepted is False
        host.answers["GET /v2/eulas/e1"] = {"isAccepted": True}
        assert (await Process.get(TREES)).eula_accepted is True


async def test_a_process_without_eula_needs_none(host: StorageHost) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = described(eula_id=None)
    async with host.client():
        process = await Process.get(TREES)
    assert (process.eula_id, process.eula_accepted) == (None, None)


async def test_a_process_that_does_not_exist_is_not_found(host: StorageHost) -> None:
    async with host.client():
        with pytest.raises(NotFoundError):
            await Process.get("nothing")
        with pytest.raises(ValueError, match="process_id"):
            await Process.get("..")


async def test_a_process_that_was_not_requested_is_an_error(host: StorageHost) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = described("another")
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match=f"process 'another' instead of '{TREES}'") as caught:
            await Process.get(TREES)
    assert caught.value.transient


@pytest.mark.parametrize("answer", [7, "text", [], {"title": "x"}, {"id": 7}])
async def test_a_response_without_an_id_is_not_a_process(host: StorageHost, answer: Any) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = answer
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match=f"{PROCESSES}/{TREES}: an answer that is no process"):
            await Process.get(TREES)


def parameters(*values: Any) -> dict[str, Any]:
    return {"additionalParameters": {"parameters": list(values)}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"title": 7, "description": []}, {"title": None, "description": None}),
        ({"inputs": [1]}, {"inputs": {}}),
        ({"inputs": {"a": 7}}, {"inputs": {"a": ProcessInput(name="a")}}),
        (
            {"inputs": {"a": {"minOccurs": "1", "maxOccurs": [], "schema": 7, "title": 1}}},
            {"inputs": {"a": ProcessInput(name="a")}},
        ),
        ({"additionalParameters": None}, {"prices": (), "eula_id": None}),
        (parameters(7, {"name": "price", "value": 5}), {"prices": ()}),
        (parameters({"name": "price", "value": [{"credits": "1"}]}), {"prices": ()}),
        (
            parameters({"name": "price", "value": {"credits": 2, "unit": 5}}),
            {"prices": (ProcessPrice(credits=2),)},
        ),
        (parameters({"name": "eula-id", "value": ["", 7]}), {"eula_id": None}),
        ({"additionalParameters": {"parameters": {"name": "eula-id"}}}, {"eula_id": None}),
    ],
)
async def test_an_unreadable_part_of_a_process_hides_no_other(
    host: StorageHost, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = described(eula_id=None, **changes)
    async with host.client():
        process = await Process.get(TREES)
    assert {name: getattr(process, name) for name in expected} == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda listed: listed,
        lambda listed: {"processes": listed},
        lambda listed: {"links": [], "processes": listed},
        lambda listed: {"content": listed},
    ],
)
async def test_processes_are_listed_from_responses_of_each_shape(host: StorageHost, wrap: Any) -> None:
    host.answers[f"GET {PROCESSES}"] = wrap([described("a"), described("b"), described("c", eula_id=None)])
    host.answers["GET /v2/eulas/e1"] = {"isAccepted": True}
    async with host.client() as client:
        listed = [(one.id, one.eula_accepted) async for one in Process.all(client=client)]
    assert listed == [("a", True), ("b", True), ("c", None)]
    assert host.asked["GET /v2/eulas/e1"] == 1


async def test_a_list_of_processes_follows_its_next_link(host: StorageHost) -> None:
    link = {"rel": "next", "href": f"{PROCESSES}/page2"}
    host.answers[f"GET {PROCESSES}"] = {"processes": [described("a", None)], "links": [{"rel": "self"}, 7, link]}
    host.answers[f"GET {PROCESSES}/page2"] = {"processes": [described("b", None)], "links": None}
    async with host.client():
        assert [one.id async for one in Process.all()] == ["a", "b"]


@pytest.mark.parametrize("answer", [7, {}, {"processes": None, "x": 1}, {"links": []}])
async def test_a_response_without_a_list_is_not_a_list_of_processes(host: StorageHost, answer: Any) -> None:
    host.answers[f"GET {PROCESSES}"] = answer
    async with host.client():
        with pytest.raises(UnexpectedResponseError, match="an answer without a list of processes"):
            await anext(Process.all())


async def test_an_unreadable_process_is_named_and_the_others_are_returned(
    host: StorageHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.answers[f"GET {PROCESSES}"] = [described("a", None), {"title": "x"}, 7, described("b", eula_id="e2")]
    host.answers["GET /v2/eulas/e2"] = {"id": "e2"}
    async with host.client():
        processes = Process.all()
        listed = [(one.id, one.eula_accepted) async for one in processes]
    assert listed == [("a", None), ("b", None)]
    assert ["it has no id" in str(error) for error in processes.errors] == [True, True, False]
    assert "whether the EULA e2 is accepted" in str(processes.errors[2])
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [str(error) for error in processes.errors]


async def test_a_process_whose_eula_request_failed_is_returned_by_the_next_call(host: StorageHost) -> None:
    host.answers[f"GET {PROCESSES}"] = [described("a"), described("b", None)]
    host.answers["GET /v2/eulas/e1"] = (503, {})
    async with host.client():
        processes = Process.all()
        with pytest.raises(ServerError):
            await anext(processes)
        host.answers["GET /v2/eulas/e1"] = {"isAccepted": True}
        assert [one.id async for one in processes] == ["a", "b"]


async def test_an_invalid_eula_id_is_an_error_of_the_server(host: StorageHost) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = described(eula_id=".")
    async with host.client() as client:
        with pytest.raises(UnexpectedResponseError, match="EULA id '.' cannot be right"):
            await Process.get(TREES)
        with pytest.raises(UnexpectedResponseError, match="EULA id '.' cannot be right"):
            await ProcessCache(client).find(TREES, 0)


@pytest.mark.parametrize("description", [{"title": "Trees"}, {"id": 7}, 7, []])
async def test_an_odd_description_of_a_process_does_not_prevent_an_evaluation(
    host: StorageHost, description: Any
) -> None:
    host.answers[f"GET {PROCESSES}/{TREES}"] = description
    async with host.client() as client:
        process = await ProcessCache(client).find(TREES, 0)
        assert process is not None
        assert (process.id, process.eula_accepted) == (TREES, None)


async def test_a_process_that_does_not_exist_is_requested_again_only_by_later_calls(
    host: StorageHost,
) -> None:
    async with host.client() as client:
        began = anyio.current_time()
        cache = ProcessCache(client)
        for _ in range(2):
            assert await cache.find(TREES, began) is None
        assert host.asked[f"GET {PROCESSES}/{TREES}"] == 1
        host.answers[f"GET {PROCESSES}/{TREES}"] = described(eula_id=None)
        assert await cache.find(TREES, anyio.current_time()) is not None
        assert cache.counts() == {}
        cache.close()
