"""Processes, EULAs, validation and cost."""

from typing import Any

import httpx
import pytest

from tests.sandbox.asking import ITEM, TREES
from up42_async.sandbox import Sandbox

PROCESSES = "/v2/processing/processes"
TWO_ITEMS = {"title": "Two", "sourceItem": ITEM, "referenceItem": f"{ITEM}2"}
INPUTS: dict[str, dict[str, Any]] = {
    "detection-buildings-spacept": {"title": "T", "item": ITEM},
    "detection-trees-spacept": {"title": "T", "item": ITEM},
    "detection-shadows-spacept": {"title": "T", "item": ITEM},
    "detection-ships-airbus": {"title": "T", "item": ITEM},
    "detection-wind-turbines-airbus": {"title": "T", "item": ITEM},
    "detection-storage-tanks-airbus": {"title": "T", "item": ITEM},
    "detection-trucks-oi": {"title": "T", "item": ITEM},
    "detection-cars-oi": {"title": "T", "item": ITEM},
    "detection-aircraft-oi": {"title": "T", "item": ITEM},
    "upsampling-ns": {"title": "T", "item": ITEM},
    "upsampling-ns-sentinel": {"title": "T", "item": ITEM},
    "true-color-conversion": {"title": "T", "item": ITEM},
    "orthorectification-intermap": {"title": "T", "item": ITEM},
    "pansharpening": {"title": "T", "item": ITEM, "greyWeights": [{"band": "red", "weight": 0.3}]},
    "coregistration-simularity": TWO_ITEMS,
    "detection-change-simularity": {**TWO_ITEMS, "sensitivity": 2},
    "sandbox-mosaic": {"title": "T", "items": [ITEM, f"{ITEM}2"]},
}


def parameters(process: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry["value"] for entry in process["additionalParameters"]["parameters"]}


@pytest.mark.parametrize("process_id", INPUTS)
async def test_each_process_is_described_and_takes_its_inputs(client: httpx.AsyncClient, process_id: str) -> None:
    process = (await client.get(f"{PROCESSES}/{process_id}")).raise_for_status().json()
    assert process["id"] == process_id
    assert set(process["inputs"]) == set(INPUTS[process_id])
    assert {"title", "description", "minOccurs", "maxOccurs", "schema"} <= process["inputs"]["title"].keys()
    answer = await client.post(f"{PROCESSES}/{process_id}/validation", json={"inputs": INPUTS[process_id]})
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("call", ["", "/validation", "/cost", "/execution?workspaceId=w"])
async def test_an_unknown_process_is_a_404(client: httpx.AsyncClient, call: str) -> None:
    answer = await client.request("POST" if call else "GET", f"{PROCESSES}/alchemy{call}", json={"inputs": {}})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["title"] == "Not Found"


async def test_the_eula_of_a_process_can_be_asked_for(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    process = (await client.get(f"{PROCESSES}/{TREES}")).json()
    (eula_id,) = parameters(process)["eula-id"]
    assert parameters(process)["price"] == [{"credits": 1, "unit": "SQ_KM"}]
    eula = (await client.get(f"/v2/eulas/{eula_id}")).json()
    assert (eula["id"], eula["isAccepted"]) == (eula_id, True)
    sandbox.set_eula(TREES, accepted=False)
    assert (await client.get(f"/v2/eulas/{eula_id}")).json()["isAccepted"] is False


async def test_an_unknown_eula_is_a_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v2/eulas/none")
    assert (answer.status_code, answer.json()) == (404, {"code": 404, "message": "EULA not found.", "details": {}})


async def test_some_processes_need_no_eula(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    process = (await client.get(f"{PROCESSES}/pansharpening")).json()
    assert "eula-id" not in parameters(process)
    with pytest.raises(KeyError, match="'pansharpening' needs no EULA"):
        sandbox.set_eula("pansharpening", accepted=True)


async def test_eulas_can_be_unaccepted_from_the_beginning() -> None:
    assert not any(eula.is_accepted for eula in Sandbox(eula_accepted=False)._world.eulas.values())


GOOD = {"title": "T", "item": ITEM}


@pytest.mark.parametrize(
    ("process_id", "body", "words"),
    [
        (TREES, [], "an object with an object 'inputs' is required"),
        (TREES, {"inputs": None}, "an object with an object 'inputs' is required"),
        (TREES, {"inputs": {"title": "T"}}, "required property 'item' not found"),
        (TREES, {"inputs": {**GOOD, "extra": 1}}, "property 'extra' is not defined"),
        (TREES, {"inputs": {**GOOD, "title": ""}}, "$.inputs.title: minLength is 1"),
        (TREES, {"inputs": {**GOOD, "title": "t" * 251}}, "$.inputs.title: maxLength is 250"),
        (TREES, {"inputs": {**GOOD, "title": 5}}, "$.inputs.title: int found, string expected"),
        (TREES, {"inputs": {**GOOD, "item": "no-url"}}, "$.inputs.item: does not match the uri pattern"),
        ("detection-change-simularity", {"inputs": {**TWO_ITEMS, "sensitivity": True}}, "bool found, integer expected"),
        ("detection-change-simularity", {"inputs": {**TWO_ITEMS, "sensitivity": 0}}, "minimum is 1"),
        ("detection-change-simularity", {"inputs": {**TWO_ITEMS, "sensitivity": 6}}, "maximum is 5"),
        ("pansharpening", {"inputs": {**GOOD, "greyWeights": []}}, "minItems is 1"),
        ("pansharpening", {"inputs": {**GOOD, "greyWeights": [3]}}, "greyWeights[0]: int found, object expected"),
        ("pansharpening", {"inputs": {**GOOD, "greyWeights": [{"band": "red"}]}}, "required property 'weight'"),
        (
            "pansharpening",
            {"inputs": {**GOOD, "greyWeights": [{"band": "red", "weight": "1"}]}},
            "greyWeights[0].weight: str found, number expected",
        ),
        ("sandbox-mosaic", {"inputs": {"title": "T", "items": [ITEM, ""]}}, "items[1]: does not match the uri"),
    ],
)
@pytest.mark.parametrize("call", ["validation", "cost"])
async def test_a_wrong_form_is_a_schema_error(
    client: httpx.AsyncClient, call: str, process_id: str, body: Any, words: str
) -> None:
    answer = await client.post(f"{PROCESSES}/{process_id}/{call}", json=body)
    refusal = answer.json()
    assert (answer.status_code, refusal["status"], refusal["title"]) == (400, 400, "Bad Request")
    assert words in refusal["schema-error"]


async def test_an_item_that_is_none_is_a_finding(client: httpx.AsyncClient) -> None:
    body = {"inputs": {"title": "T", "item": "https://api.up42.com/v2/assets/something"}}
    answer = await client.post(f"{PROCESSES}/{TREES}/validation", json=body)
    (finding,) = answer.json()["errors"]
    assert (answer.status_code, answer.json()["title"], answer.json()["status"]) == (422, "Unprocessable Entity", 422)
    assert finding["name"] == "InvalidItem"
    assert "STAC item" in finding["message"]
    assert finding["path"] == "inputs.item"  # a key beside name and message


async def test_an_item_that_was_refused_is_a_finding(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.refuse_item("beef", "Too cloudy.")
    body = {"inputs": {"title": "T", "items": [f"{ITEM}2", ITEM]}}
    answer = await client.post(f"{PROCESSES}/sandbox-mosaic/validation", json=body)
    expected = [{"name": "UnsuitableItem", "message": "Too cloudy.", "path": "inputs.items[1]"}]
    assert (answer.status_code, answer.json()["errors"]) == (422, expected)


@pytest.mark.parametrize("call", ["validation", "cost", "execution?workspaceId=w"])
async def test_a_body_that_is_no_json_is_a_400(client: httpx.AsyncClient, call: str) -> None:
    answer = await client.post(f"{PROCESSES}/{TREES}/{call}", content=b"{")
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is not JSON.")


async def test_the_cost_follows_from_the_area_of_the_items(client: httpx.AsyncClient) -> None:
    one = (await client.post(f"{PROCESSES}/{TREES}/cost", json={"inputs": GOOD})).json()
    again = (await client.post(f"{PROCESSES}/{TREES}/cost", json={"inputs": {**GOOD, "title": "Other"}})).json()
    assert one == again
    assert (one["pricingStrategy"], one["unit"], type(one["totalSize"])) == ("area", "SQ_KM", float)
    assert one["totalSize"] <= one["totalCredits"] < one["totalSize"] + 1
    items = {"inputs": {"title": "T", "items": [ITEM, ITEM]}}
    both = (await client.post(f"{PROCESSES}/sandbox-mosaic/cost", json=items)).json()
    assert both["totalSize"] == round(2 * one["totalSize"], 1)


async def test_an_item_costs_the_same_at_every_sandbox(client: httpx.AsyncClient) -> None:
    elsewhere = ITEM.replace("//", "//elsewhere.", 1)
    assert elsewhere != ITEM
    costs = [
        (await client.post(f"{PROCESSES}/{TREES}/cost", json={"inputs": {**GOOD, "item": item}})).json()
        for item in (ITEM, elsewhere)
    ]
    assert costs[0] == costs[1]


async def test_a_simple_price_has_no_size(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{PROCESSES}/true-color-conversion/cost", json={"inputs": GOOD})
    assert answer.json() == {"pricingStrategy": "simple", "totalCredits": 5}


async def test_a_price_can_change(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.set_rate("true-color-conversion", 9)
    answer = await client.post(f"{PROCESSES}/true-color-conversion/cost", json={"inputs": GOOD})
    assert answer.json()["totalCredits"] == 9
    process = (await client.get(f"{PROCESSES}/true-color-conversion")).json()
    assert parameters(process)["price"] == [{"credits": 9, "unit": "ITEM"}]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2/nothing", 404), ("DELETE", "/v2/eulas/x", 405)])
async def test_unknown_paths_and_methods_have_the_plain_error_body(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, status)
    assert answer.json().keys() == {"code", "message", "details"}
