"""Whether a template would run, and for how much."""

import copy
import pickle
from typing import Any

import anyio
import httpx
import pytest

from tests.paying_platform import ITEM, PayingPlatform, client_of, described, titles, trees
from up42_async import Client
from up42_async._errors import NotFoundError, PermissionDeniedError, ServerError, StatusError, UnexpectedResponseError
from up42_async._jobs.models import ValidationError
from up42_async._processing.batch import evaluate
from up42_async._processing.cost import Cost
from up42_async._processing.evaluation import InvalidTemplateError
from up42_async.processing_templates import DetectionShadowsSpacept, DetectionTreesSpacept, JobTemplate

pytestmark = pytest.mark.virtual_time

NOT_FOUND = ValidationError("The process detection-trees-spacept does not exist.", "ProcessNotFound")
NOT_ACCEPTED = ValidationError(
    "EULA for the process detection-trees-spacept not accepted. Accept EULA the-eula in the UP42 console.",
    "EulaNotAccepted",
)


async def test_a_valid_template_gets_its_price(client: Client) -> None:
    template = trees(client=client)
    assert await template.evaluate() is template
    assert template.is_valid
    assert template.errors == set()
    assert template.cost == Cost("area", 10, 15.8, "SQ_KM")
    assert template.cost <= 100


async def test_the_current_client_is_used(platform: PayingPlatform) -> None:
    template = trees()
    async with client_of(platform):
        assert (await template.evaluate()).is_valid
    with pytest.raises(RuntimeError, match="no UP42 client"):
        await trees().evaluate()


async def test_a_template_costs_two_requests_and_a_process_two_more(platform: PayingPlatform, client: Client) -> None:
    await trees("one", client=client).evaluate()
    await trees("two", client=client).evaluate()
    assert platform.count("GET processing/processes/detection-trees-spacept") == 1
    assert platform.count("GET eulas/the-eula") == 1
    assert platform.count("POST .*/validation") == platform.count("POST .*/cost") == 2
    assert client.statistics().requests == 2 + 4


async def test_200_templates_of_one_process_cost_402_requests(client: Client) -> None:
    templates = [trees(title) for title in titles(200)]
    assert await evaluate(templates, client=client) == templates
    assert client.statistics().requests == 2 + 400
    assert all(template.cost.credits == 10 for template in templates)


async def test_processes_with_the_same_eula_ask_for_it_once(platform: PayingPlatform, client: Client) -> None:
    await evaluate([trees(), DetectionShadowsSpacept("t", ITEM)], client=client)
    assert platform.count("GET eulas/the-eula") == 1


async def test_a_process_that_does_not_exist_is_an_error_of_the_template(
    platform: PayingPlatform, client: Client
) -> None:
    platform.describe = lambda _: None
    template = await trees(client=client).evaluate()
    assert not template.is_valid
    assert template.errors == {NOT_FOUND}
    assert len(platform.asked) == 2  # the login and the process


async def test_a_eula_that_is_not_accepted_is_asked_for_again_by_the_next_evaluation(
    platform: PayingPlatform, client: Client
) -> None:
    platform.eula_accepted = False
    template = await trees(client=client).evaluate()
    assert template.errors == {NOT_ACCEPTED}
    assert platform.count("POST .*/(validation|cost)") == 0
    platform.eula_accepted = True
    assert (await template.evaluate()).is_valid
    assert (await trees(client=client).evaluate()).is_valid
    assert platform.count("GET processing/processes/[^/]+") == 1
    assert platform.count("GET eulas/.*") == 2


@pytest.mark.parametrize("objection", ["process", "eula"])
async def test_what_stands_in_the_way_of_all_is_asked_for_once(
    platform: PayingPlatform, client: Client, objection: str
) -> None:
    if objection == "process":
        platform.describe = lambda _: None
    platform.eula_accepted = False
    templates = await evaluate([trees(title) for title in titles(500)], client=client)
    assert all(len(template.errors) == 1 for template in templates)
    assert client.statistics().requests == (1 if objection == "process" else 2)


@pytest.mark.parametrize(
    "description",
    [
        {},
        [],
        {"additionalParameters": None},
        {"additionalParameters": {"parameters": None}},
        {"additionalParameters": {"parameters": [3, {"name": "price"}]}},
        {"additionalParameters": {"parameters": [{"name": "eula-id"}]}},
        {"additionalParameters": {"parameters": [{"name": "eula-id", "value": []}]}},
    ],
    ids=str,
)
async def test_a_process_without_a_eula_needs_none(platform: PayingPlatform, client: Client, description: Any) -> None:
    platform.describe = lambda _: description
    assert (await trees(client=client).evaluate()).is_valid
    assert platform.count("GET eulas/.*") == 0


async def test_a_eula_id_that_is_no_list_is_understood(platform: PayingPlatform, client: Client) -> None:
    platform.describe = lambda _: {"additionalParameters": {"parameters": [{"name": "eula-id", "value": "other"}]}}
    await trees(client=client).evaluate()
    assert platform.count("GET eulas/other") == 1


@pytest.mark.parametrize("accepted", [None, "true", 1])
async def test_a_eula_that_does_not_say_whether_it_is_accepted_is_no_answer(
    platform: PayingPlatform, client: Client, accepted: Any
) -> None:
    platform.eula_accepted = accepted
    with pytest.raises(UnexpectedResponseError, match="isAccepted"):
        await trees(client=client).evaluate()


async def test_a_schema_error_is_the_message_of_invalid_schema(platform: PayingPlatform, client: Client) -> None:
    platform.validation = httpx.Response(400, json={"title": "Bad", "status": 400, "schema-error": "$.item: missing"})
    template = await trees(client=client).evaluate()
    assert template.errors == {ValidationError(name="InvalidSchema", message="$.item: missing")}
    assert platform.count("POST .*/cost") == 0


async def test_validation_errors_pass_through(platform: PayingPlatform, client: Client) -> None:
    errors = [
        {"name": "InvalidItem", "message": "Not in storage.", "path": "$.item"},
        {"name": "TooSmall", "reason": "10 px."},
        {"message": "Something."},
        "odd",
    ]
    platform.validation = httpx.Response(422, json={"title": "Unprocessable", "status": 422, "errors": errors})
    template = await trees(client=client).evaluate()
    assert template.errors == {
        ValidationError("Not in storage.", "InvalidItem"),
        ValidationError("10 px.", "TooSmall"),
        ValidationError("Something.", "InvalidInput"),
        ValidationError("odd", "InvalidInput"),
    }


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"title": "Bad"}), StatusError),
        (httpx.Response(400, text="<html>"), StatusError),
        (httpx.Response(422, json={"errors": None}), StatusError),
        (httpx.Response(422, json={"errors": []}), StatusError),
        (httpx.Response(403, json={}), PermissionDeniedError),
        (httpx.Response(404, json={}), NotFoundError),
        (httpx.Response(500), ServerError),
    ],
    ids=lambda value: str(getattr(value, "content", "")),
)
async def test_a_refusal_that_is_none_of_validation_is_raised(
    platform: PayingPlatform, client: Client, answer: httpx.Response, error: type[StatusError]
) -> None:
    platform.validation = answer
    with pytest.raises(error, match="POST /v2/processing/processes/detection-trees-spacept/validation"):
        await trees(client=client).evaluate()


@pytest.mark.parametrize("price", [b'{"pricingStrategy": "area", "totalCredits": NaN}', {"totalCredits": -1}, []])
async def test_a_price_that_makes_no_sense_is_never_compared(
    platform: PayingPlatform, client: Client, price: Any
) -> None:
    platform.prices = lambda _: price
    template = trees(client=client)
    with pytest.raises(UnexpectedResponseError, match="/cost"):
        await template.evaluate()
    with pytest.raises(RuntimeError, match="not known yet"):
        _ = template.cost


async def test_a_template_that_is_not_valid_has_no_price_and_says_why(platform: PayingPlatform, client: Client) -> None:
    platform.eula_accepted = False
    template = await trees(client=client).evaluate()
    with pytest.raises(RuntimeError, match="has no cost, since it is not valid: EulaNotAccepted: EULA for the process"):
        _ = template.cost


async def test_a_template_that_changed_has_to_be_evaluated_again(client: Client) -> None:
    template = await trees(client=client).evaluate()
    template.title = "another"
    for name in ("is_valid", "errors", "cost"):
        with pytest.raises(RuntimeError, match=rf"changed since it was evaluated.*to know {name}"):
            getattr(template, name)
    assert (await template.evaluate()).is_valid


async def test_an_evaluation_goes_with_copies_but_its_client_does_not(client: Client) -> None:
    template = trees()
    await evaluate([template], client=client)
    for copied in (copy.copy(template), pickle.loads(pickle.dumps(template))):  # noqa: S301
        assert copied.cost == template.cost
        with pytest.raises(RuntimeError, match="no UP42 client"):
            await copied.evaluate()


async def test_odd_process_ids_stay_one_segment_of_the_path(platform: PayingPlatform, client: Client) -> None:
    class Odd(DetectionTreesSpacept):
        process_id = "a/b?c"

    class Impossible(DetectionTreesSpacept):
        process_id = ".."

    await Odd("t", ITEM, client=client).evaluate()
    assert platform.count("POST processing/processes/a%2Fb%3Fc/validation") == 1
    with pytest.raises(ValueError, match="process_id"):
        await Impossible("t", ITEM, client=client).evaluate()


async def test_200_templates_are_evaluated_at_once(client: Client) -> None:
    started = anyio.current_time()
    await evaluate([trees(title) for title in titles(200)], client=client)
    # 20 at a time, 0.1 s each, and the login, the process and its EULA before
    assert anyio.current_time() - started == pytest.approx(0.1 * (400 / 20 + 3), rel=0.1)


async def test_each_template_can_be_had_as_soon_as_it_is_known(client: Client) -> None:
    templates = [trees(title) for title in titles(50)]
    seen: list[JobTemplate] = []
    async with evaluate(templates, client=client) as evaluated:
        async for template in evaluated:
            assert template.is_valid
            seen.append(template)
    assert sorted(map(str, seen)) == sorted(map(str, templates))
    assert evaluated.results == templates


async def test_the_first_error_ends_it_and_leaves_as_itself(platform: PayingPlatform, client: Client) -> None:
    def prices(inputs: Any) -> Any:
        return {} if inputs["title"] == "title 30" else 10

    platform.prices = prices
    templates = [trees(title) for title in titles(300)]
    with pytest.raises(UnexpectedResponseError, match="without a price"):
        await evaluate(templates, client=client)
    assert templates[0].is_valid
    assert platform.count("POST .*/validation") < 200


async def evaluate_and_fail(client: Client) -> None:
    async with evaluate([trees()], client=client):
        await anyio.sleep(10)
        raise KeyError


async def test_an_error_nobody_iterated_to_leaves_the_block(platform: PayingPlatform, client: Client) -> None:
    platform.prices = lambda _: {}
    with pytest.raises(UnexpectedResponseError):
        async with evaluate([trees()], client=client):
            await anyio.sleep(10)
    with pytest.raises(KeyError):
        await evaluate_and_fail(client)


async def test_each_template_uses_its_own_client_unless_one_is_given(platform: PayingPlatform, client: Client) -> None:
    other_platform = PayingPlatform()
    other_platform.prices = lambda _: 99
    other = client_of(other_platform)
    mine, theirs = trees(client=client), trees(client=other)
    await evaluate([mine, theirs])
    assert (mine.cost.credits, theirs.cost.credits) == (10, 99)
    await evaluate([mine, theirs], client=other)
    assert (mine.cost.credits, theirs.cost.credits) == (99, 99)
    await other.aclose()


async def test_an_evaluation_ends_when_its_caller_is_cancelled(platform: PayingPlatform, client: Client) -> None:
    with anyio.move_on_after(0.35) as scope:
        await evaluate([trees(title) for title in titles(100)], client=client)
    assert scope.cancelled_caught
    asked = len(platform.asked)
    await anyio.sleep(10)
    assert len(platform.asked) == asked
    assert (await trees(client=client).evaluate()).is_valid


@pytest.mark.parametrize("wrong", [trees(), 3, None, [3], "ab"], ids=str)
async def test_what_is_no_list_of_templates_is_refused_at_once(client: Client, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"evaluate\(\) takes"):
        evaluate(wrong, client=client)


async def test_nothing_is_evaluated_for_nothing(platform: PayingPlatform, client: Client) -> None:
    assert await evaluate([], client=client) == []
    assert platform.asked == []


async def test_a_description_is_what_a_process_needs() -> None:
    assert described("p")["id"] == "p"


async def test_invalid_templates_say_what_is_wrong(platform: PayingPlatform, client: Client) -> None:
    platform.eula_accepted = False
    with pytest.raises(InvalidTemplateError, match="EulaNotAccepted") as caught:
        await trees("Trees", client=client).execute()
    assert caught.value.errors == {NOT_ACCEPTED}
    for copied in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert (str(copied), copied.errors) == (str(caught.value), caught.value.errors)
    assert platform.posts == 0
