"""Templates as plain values: what they send, and what they refuse when they are built."""

import copy
import datetime as dt
import pickle
from typing import Any, ClassVar

import attrs
import pystac
import pytest

from up42_async import Client, processing_templates
from up42_async.processing_templates import (
    CoregistrationSimularity,
    DetectionChangeSimularity,
    DetectionTreesSpacept,
    GreyWeight,
    JobTemplate,
    MultiItemJobTemplate,
    Pansharpening,
    SingleItemJobTemplate,
)

URL = "https://api.up42.com/v2/assets/stac/collections/c/items/one"
OTHER = "https://api.up42.com/v2/assets/stac/collections/c/items/two"

SINGLE_ITEM = {
    "DetectionBuildingsSpacept": "detection-buildings-spacept",
    "DetectionTreesSpacept": "detection-trees-spacept",
    "DetectionShadowsSpacept": "detection-shadows-spacept",
    "DetectionShipsAirbus": "detection-ships-airbus",
    "DetectionWindTurbinesAirbus": "detection-wind-turbines-airbus",
    "DetectionStorageTanksAirbus": "detection-storage-tanks-airbus",
    "DetectionTrucksOI": "detection-trucks-oi",
    "DetectionCarsOI": "detection-cars-oi",
    "DetectionAircraftOI": "detection-aircraft-oi",
    "UpsamplingNS": "upsampling-ns",
    "UpsamplingNSSentinel": "upsampling-ns-sentinel",
    "TrueColorConversion": "true-color-conversion",
    "OrthorectificationIntermap": "orthorectification-intermap",
    "Pansharpening": "pansharpening",
}
TWO_ITEMS = {
    "CoregistrationSimularity": "coregistration-simularity",
    "DetectionChangeSimularity": "detection-change-simularity",
}


def item(url: str | None = URL) -> pystac.Item:
    made = pystac.Item(
        id="one", geometry=None, bbox=None, datetime=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), properties={}
    )
    if url is not None:
        made.set_self_href(url)
    return made


@attrs.define
class Mosaic(MultiItemJobTemplate):
    """A process that the library does not know."""

    process_id: ClassVar[str] = "mosaic"


@attrs.define
class CloudMask(SingleItemJobTemplate):
    """Another one, with an input more."""

    process_id = "cloud-mask"
    threshold: float = 0.5

    @property
    def inputs(self) -> dict[str, Any]:
        return {**super().inputs, "threshold": self.threshold}


@pytest.mark.parametrize(("name", "process_id"), SINGLE_ITEM.items())
@pytest.mark.parametrize("given", [URL, item()], ids=["url", "item"])
def test_processes_of_one_item_send_title_and_item(name: str, process_id: str, given: Any) -> None:
    template = getattr(processing_templates, name)(title="A title", item=given)
    assert template.process_id == process_id
    assert template.inputs == {"title": "A title", "item": URL}


@pytest.mark.parametrize(("name", "process_id"), TWO_ITEMS.items())
def test_processes_of_two_items_send_both(name: str, process_id: str) -> None:
    template = getattr(processing_templates, name)(title="A title", source_item=item(), reference_item=OTHER)
    assert template.process_id == process_id
    assert {**template.inputs, "sensitivity": 0} == {
        "title": "A title",
        "sourceItem": URL,
        "referenceItem": OTHER,
        "sensitivity": 0,
    }


def test_the_sensitivity_is_always_sent() -> None:
    assert DetectionChangeSimularity("t", URL, OTHER).inputs["sensitivity"] == 2
    assert DetectionChangeSimularity("t", URL, OTHER, 5).inputs["sensitivity"] == 5
    assert "sensitivity" not in CoregistrationSimularity("t", URL, OTHER).inputs


@pytest.mark.parametrize("none", [None, []])
def test_grey_weights_are_left_out_when_there_are_none(none: Any) -> None:
    assert "greyWeights" not in Pansharpening("t", URL, none).inputs


def test_grey_weights_are_sent_as_band_and_weight() -> None:
    weights = [GreyWeight("red", 0.2), GreyWeight(band="nir", weight=1)]
    assert Pansharpening("t", URL, grey_weights=weights).inputs["greyWeights"] == [
        {"band": "red", "weight": 0.2},
        {"band": "nir", "weight": 1},
    ]


def test_processes_of_several_items_send_them_in_order() -> None:
    assert Mosaic("t", [OTHER, item()]).inputs == {"title": "t", "items": [OTHER, URL]}


def test_there_are_sixteen_processes() -> None:
    known = {
        one.process_id
        for one in vars(processing_templates).values()
        if isinstance(one, type) and issubclass(one, JobTemplate) and "process_id" in vars(one)
    }
    assert known == {*SINGLE_ITEM.values(), *TWO_ITEMS.values()}


def test_every_name_that_is_offered_is_there() -> None:
    offered = processing_templates.__all__
    assert offered == sorted(offered)
    assert {*SINGLE_ITEM, *TWO_ITEMS, "JobTemplate", "SingleItemJobTemplate", "MultiItemJobTemplate"} <= set(offered)
    assert all(hasattr(processing_templates, name) for name in offered)


@pytest.mark.parametrize(
    ("title", "error"),
    [("", ValueError), ("x" * 251, ValueError), (None, TypeError), (3, TypeError), (b"t", TypeError)],
)
def test_a_title_that_cannot_be_right_is_refused(title: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="title must"):
        DetectionTreesSpacept(title=title, item=URL)


@pytest.mark.parametrize("title", ["x", "x" * 250, "Bäume 🌳"])
def test_titles_of_1_to_250_characters_will_do(title: str) -> None:
    assert DetectionTreesSpacept(title=title, item=URL).title == title


def test_an_item_without_a_self_link_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"item has no self link.*set_self_href"):
        DetectionTreesSpacept(title="t", item=item(None))


@pytest.mark.parametrize(
    "url", ["", "item.json", "/v2/items/one", "ftp://host/item", "https://", "https://[x/item", "C:\\i"]
)
def test_an_item_url_that_is_not_absolute_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="item (must have an absolute URL|has no self link)"):
        DetectionTreesSpacept(title="t", item=url)


@pytest.mark.parametrize("wrong", [None, 3, {"href": URL}, object()])
def test_what_is_no_item_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"item must be a pystac\.Item or the URL"):
        DetectionTreesSpacept(title="t", item=wrong)


@pytest.mark.parametrize("name", ["source_item", "reference_item"])
def test_the_field_that_is_wrong_is_named(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be"):
        CoregistrationSimularity(**{"title": "t", "source_item": URL, "reference_item": URL, name: 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (URL, "items must be a list"),
        (3, "items must be a list"),
        ([], "at least one item"),
        ([URL, 3], r"items\[1\] must be"),
        ([URL, item(None)], r"items\[1\] has no self link"),
    ],
)
def test_items_that_cannot_be_right_are_refused(items: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Mosaic(title="t", items=items)


@pytest.mark.parametrize("wrong", ["2", 2.5, float("nan"), None, True])
def test_a_sensitivity_that_is_no_whole_number_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="sensitivity must be a whole number"):
        DetectionChangeSimularity("t", URL, OTHER, sensitivity=wrong)


@pytest.mark.parametrize(
    ("band", "weight", "message"),
    [
        ("red", "0.2", "weight must be a finite number"),
        ("red", True, "weight must be a finite number"),
        ("red", None, "weight must be a finite number"),
        ("red", float("nan"), "weight must be a finite number"),
        ("red", float("inf"), "weight must be a finite number"),
        ("", 1, "band must not be an empty string"),
        (3, 1, "band must be a string"),
    ],
)
def test_a_weight_that_is_no_number_is_refused(band: Any, weight: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        GreyWeight(band, weight)


@pytest.mark.parametrize(
    ("wrong", "message"), [("red", "must be a list"), (3, "must be a list"), ([("red", 1)], r"\[0\]")]
)
def test_grey_weights_that_are_none_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"grey_weights.*{message}"):
        Pansharpening("t", URL, wrong)


@pytest.mark.parametrize(("wrong", "error"), [("", ValueError), (3, TypeError)])
def test_a_workspace_that_cannot_be_right_is_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="workspace_id must"):
        DetectionTreesSpacept("t", URL, workspace_id=wrong)


def test_a_change_is_checked_like_a_new_template() -> None:
    template = DetectionTreesSpacept("t", URL)
    template.title = "another"
    with pytest.raises(ValueError, match="title must"):
        template.title = ""
    assert template.inputs["title"] == "another"


@pytest.mark.parametrize("name", processing_templates.__all__)
def test_templates_show_where_users_find_them(name: str) -> None:
    value = getattr(processing_templates, name)
    assert (value.__module__, value.__qualname__) == ("up42_async.processing_templates", name)
    assert pickle.loads(pickle.dumps(value)) is value  # noqa: S301


def test_users_derive_templates_for_processes_of_their_own() -> None:
    assert CloudMask("t", item(), 0.7).inputs == {"title": "t", "item": URL, "threshold": 0.7}
    assert CloudMask("t", URL).process_id == "cloud-mask"


def test_a_template_without_a_process_or_without_inputs_is_refused() -> None:
    with pytest.raises(TypeError, match="SingleItemJobTemplate has no process; set it in the class"):
        SingleItemJobTemplate("t", URL)
    with pytest.raises(TypeError, match="abstract"):
        JobTemplate()  # type: ignore[abstract]


def test_templates_compare_by_what_they_say() -> None:
    assert DetectionTreesSpacept("t", URL) == DetectionTreesSpacept(title="t", item=URL)
    assert DetectionTreesSpacept("t", URL) != DetectionTreesSpacept("t", OTHER)
    assert DetectionTreesSpacept("t", URL) != processing_templates.DetectionShadowsSpacept("t", URL)


@pytest.mark.parametrize(
    "template", [DetectionTreesSpacept("t", URL, workspace_id="w"), CloudMask("t", URL, 0.1)], ids=repr
)
def test_templates_can_be_copied_and_pickled(template: JobTemplate) -> None:
    copies = [copy.copy(template), copy.deepcopy(template), pickle.loads(pickle.dumps(template))]  # noqa: S301
    for copied in copies:
        assert copied == template
        assert (copied.inputs, copied.workspace_id, copied.executions) == (template.inputs, template.workspace_id, ())


def test_copies_keep_the_client_and_pickles_leave_it_out() -> None:
    client = Client("person@example.com", "SECRET")
    template = DetectionTreesSpacept("t", URL, client=client)
    assert copy.copy(template).client is copy.deepcopy(template).client is client
    content = pickle.dumps(template)
    assert b"SECRET" not in content
    assert pickle.loads(content).client is None  # noqa: S301


def test_a_deep_copy_has_fields_of_its_own() -> None:
    weights = [GreyWeight("red", 1.0)]
    copied = copy.deepcopy(Pansharpening("t", URL, weights))
    weights.append(GreyWeight("blue", 1.0))
    assert copied.grey_weights is not None
    assert len(copied.grey_weights) == 1


def test_a_template_says_what_it_is() -> None:
    assert str(DetectionTreesSpacept("Trees", URL)) == "detection-trees-spacept ('Trees')"
    assert repr(DetectionTreesSpacept("Trees", URL)).startswith("DetectionTreesSpacept(")


@pytest.mark.parametrize("name", ["is_valid", "errors", "cost"])
def test_what_only_up42_knows_cannot_be_read_before_it_was_asked(name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"{name} is not known yet; `await template\.evaluate\(\)` first"):
        getattr(DetectionTreesSpacept("t", URL), name)
