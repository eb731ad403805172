"""The processes that the sandbox offers, as the platform describes them, and their EULAs."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

import attrs

Pricing = Literal["area", "simple"]

TITLE_MAX_LENGTH = 250
_ITEM_SCHEMA = {"type": "string", "format": "uri", "contentMediaType": "application/geo+json"}


@attrs.frozen(kw_only=True)
class Input:
    """One input of a process; `schema` is the part of JSON Schema that `_validation` knows."""

    title: str
    description: str
    schema: Mapping[str, Any]
    required: bool = True

    def description_body(self) -> dict[str, Any]:
        """Return the input as the platform describes it."""
        return {
            "title": self.title,
            "description": self.description,
            "minOccurs": int(self.required),
            "maxOccurs": 1,
            "schema": self.schema,
        }


@attrs.frozen(kw_only=True)
class Process:
    """One process: its inputs, its price and its EULA."""

    id: str
    title: str
    description: str
    inputs: Mapping[str, Input]
    eula_id: str | None
    rate: int
    pricing: Pricing = "area"

    def description_body(self, rate: int) -> dict[str, Any]:
        """Return the answer to `GET /v2/processing/processes/{id}`, with the rate in force."""
        unit = "SQ_KM" if self.pricing == "area" else "ITEM"
        parameters: list[dict[str, Any]] = [{"name": "price", "value": [{"credits": rate, "unit": unit}]}]
        if self.eula_id is not None:
            parameters.insert(0, {"name": "eula-id", "value": [self.eula_id]})
        return {
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "version": "1.0.0",
            "jobControlOptions": ["async-execute"],
            "inputs": {name: described.description_body() for name, described in self.inputs.items()},
            "outputs": {"collection": {"title": "STAC collection", "schema": {"type": "string", "format": "uri"}}},
            "additionalParameters": {"parameters": parameters},
        }


@attrs.define(kw_only=True)
class Eula:
    """One end user licence agreement, and whether the account has accepted it."""

    id: str
    name: str
    is_accepted: bool

    def body(self) -> dict[str, Any]:
        """Return the answer to `GET /v2/eulas/{id}`."""
        return {"id": self.id, "name": self.name, "isAccepted": self.is_accepted, "type": "processing"}


_PROVIDERS = {
    "spacept": "Spacept",
    "airbus": "Airbus",
    "oi": "Orbital Insight",
    "ns": "NS Solutions",
    "intermap": "Intermap",
    "simularity": "Simularity",
}


def _eula_id(provider: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"https://up42.com/eulas/{provider}"))


def eulas(*, accepted: bool) -> dict[str, Eula]:
    """Return a fresh set of the providers' EULAs, by id."""
    made = (Eula(id=_eula_id(key), name=f"{name} EULA", is_accepted=accepted) for key, name in _PROVIDERS.items())
    return {eula.id: eula for eula in made}


def _title() -> Input:
    return Input(
        title="Title",
        description="The title of the resulting STAC item and collection.",
        schema={"type": "string", "minLength": 1, "maxLength": TITLE_MAX_LENGTH},
    )


def _item(title: str = "STAC item") -> Input:
    return Input(title=title, description="The self link of a STAC item in your storage.", schema=_ITEM_SCHEMA)


def _process(
    process_id: str,
    title: str,
    description: str,
    provider: str | None,
    rate: int,
    *,
    inputs: Mapping[str, Input] | None = None,
    pricing: Pricing = "area",
) -> Process:
    return Process(
        id=process_id,
        title=title,
        description=description,
        inputs={"title": _title(), **({"item": _item()} if inputs is None else inputs)},
        eula_id=None if provider is None else _eula_id(provider),
        rate=rate,
        pricing=pricing,
    )


_TWO_ITEMS = {"sourceItem": _item("Source STAC item"), "referenceItem": _item("Reference STAC item")}
_SENSITIVITY = Input(
    title="Sensitivity",
    description="How small a change is still reported, from 1 (large ones only) to 5.",
    schema={"type": "integer", "minimum": 1, "maximum": 5, "default": 2},
)
_GREY_WEIGHTS = Input(
    title="Grey weights",
    description="How much each band weighs in the panchromatic estimate.",
    schema={
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["band", "weight"],
            "properties": {"band": {"type": "string", "minLength": 1}, "weight": {"type": "number", "minimum": 0}},
        },
    },
    required=False,
)
_ITEMS = Input(
    title="STAC items",
    description="The self links of STAC items in your storage.",
    schema={"type": "array", "minItems": 1, "items": _ITEM_SCHEMA},
)

MOSAIC = "sandbox-mosaic"
"""A process that only the sandbox has: it takes `items`, and its description names no EULA."""

_ALL = (
    _process("detection-buildings-spacept", "Building detection", "Outlines buildings.", "spacept", 2),
    _process("detection-trees-spacept", "Tree detection", "Finds trees and their crowns.", "spacept", 1),
    _process("detection-shadows-spacept", "Shadow detection", "Outlines shadows of buildings.", "spacept", 1),
    _process("detection-ships-airbus", "Ship detection", "Finds ships at sea and in ports.", "airbus", 3),
    _process("detection-wind-turbines-airbus", "Wind turbine detection", "Finds wind turbines.", "airbus", 1),
    _process("detection-storage-tanks-airbus", "Storage tank detection", "Finds storage tanks.", "airbus", 3),
    _process("detection-trucks-oi", "Truck detection", "Counts trucks.", "oi", 4),
    _process("detection-cars-oi", "Car detection", "Counts cars.", "oi", 4),
    _process("detection-aircraft-oi", "Aircraft detection", "Finds and classifies aircraft.", "oi", 5),
    _process("upsampling-ns", "Upsampling", "Raises the resolution of optical images.", "ns", 2),
    _process("upsampling-ns-sentinel", "Sentinel-2 upsampling", "Raises Sentinel-2 to 2.5 m.", "ns", 1),
    _process(
        "true-color-conversion", "True color conversion", "Makes an image for the eye.", None, 5, pricing="simple"
    ),
    _process("orthorectification-intermap", "Orthorectification", "Removes terrain distortion.", "intermap", 2),
    _process(
        "pansharpening",
        "Pansharpening",
        "Joins panchromatic detail and multispectral colour.",
        None,
        1,
        inputs={"item": _item(), "greyWeights": _GREY_WEIGHTS},
    ),
    _process(
        "coregistration-simularity",
        "Coregistration",
        "Aligns one image to another.",
        "simularity",
        2,
        inputs=_TWO_ITEMS,
    ),
    _process(
        "detection-change-simularity",
        "Change detection",
        "Marks what differs between two images.",
        "simularity",
        3,
        inputs={**_TWO_ITEMS, "sensitivity": _SENSITIVITY},
    ),
    _process(MOSAIC, "Mosaic", "Joins several images into one.", None, 1, inputs={"items": _ITEMS}),
)

PROCESSES: Mapping[str, Process] = {process.id: process for process in _ALL}
EXECUTABLE_WITH_ITEM = tuple(process.id for process in _ALL if set(process.inputs) == {"title", "item"})
