"""A template for each process that UP42 offers, and the classes to derive more from.

    template = DetectionTreesSpacept(title="Detect trees over UK", item=item)
    await template.evaluate()
    if template.is_valid and template.cost <= 100:
        job = await template.execute()

An item is a `pystac.Item` with a self link, or that link itself. Building a template sends nothing.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import attrs
import pystac

from up42_async._config import arguments
from up42_async._config.arguments import Attribute
from up42_async._processing.template import JobTemplate

__all__ = [
    "CoregistrationSimularity",
    "DetectionAircraftOI",
    "DetectionBuildingsSpacept",
    "DetectionCarsOI",
    "DetectionChangeSimularity",
    "DetectionShadowsSpacept",
    "DetectionShipsAirbus",
    "DetectionStorageTanksAirbus",
    "DetectionTreesSpacept",
    "DetectionTrucksOI",
    "DetectionWindTurbinesAirbus",
    "GreyWeight",
    "JobTemplate",
    "MultiItemJobTemplate",
    "OrthorectificationIntermap",
    "Pansharpening",
    "SimularityJobTemplate",
    "SingleItemJobTemplate",
    "TrueColorConversion",
    "UpsamplingNS",
    "UpsamplingNSSentinel",
]

JobTemplate.__module__ = __name__  # where users find it

DEFAULT_SENSITIVITY: Final = 2

LONGEST_TITLE: Final = 250
"""The most characters of a title."""

Item: TypeAlias = pystac.Item | str
"""A STAC item: the object, or the absolute URL of its self link."""


def _item_url(item: object, name: str) -> str:
    """Return the URL of an item, as the inputs of a process have it.

    Args:
        item: A `pystac.Item`, or its URL.
        name: Its name in the error.

    Raises:
        TypeError: It is neither an item nor a string.
        ValueError: It has no self link, or one that is no absolute URL.
    """
    url = item
    if not isinstance(item, str):
        if not isinstance(item, pystac.Item):
            message = f"{name} must be a pystac.Item or the URL of one, not {item!r:.80}"
            raise TypeError(message)
        url = item.get_self_href()
    if not isinstance(url, str) or not url:
        message = f"{name} has no self link, which UP42 needs; set it with set_self_href(), or give the URL instead"
        raise ValueError(message)
    if not _is_absolute(url):
        message = f"{name} must have an absolute URL (https://...), not {url!r:.80}"
        raise ValueError(message)
    return url


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"https", "http"} and bool(parts.hostname)


def _is_item(_: object, attribute: Attribute, value: object) -> None:
    """Refuse a value that is neither an item with a self link nor a URL."""
    _item_url(value, attribute.name)


def _are_items(_: object, attribute: Attribute, value: object) -> None:
    """Refuse a value that is no list of items, and an empty list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        message = f"{attribute.name} must be a list of items, not {value!r:.80}"
        raise TypeError(message)
    if not value:
        message = f"{attribute.name} must hold at least one item"
        raise ValueError(message)
    for position, item in enumerate(value):
        _item_url(item, f"{attribute.name}[{position}]")


def _is_title(_: object, attribute: Attribute, value: object) -> None:
    """Refuse a value that is no string of 1 to 250 characters: UP42 takes no other titles."""
    if not isinstance(value, str):
        message = f"{attribute.name} must be a string, not {value!r:.80}"
        raise TypeError(message)
    if not 1 <= len(value) <= LONGEST_TITLE:
        message = f"{attribute.name} must have 1 to {LONGEST_TITLE} characters, not {len(value)}"
        raise ValueError(message)


@attrs.define(slots=False, repr=False)
class SingleItemJobTemplate(JobTemplate):
    """A template for a process that takes one STAC item."""

    title: str = attrs.field(validator=_is_title)
    """The title of the resulting STAC item and collection, 1 to 250 characters."""
    item: Item = attrs.field(validator=_is_item)
    """The STAC item to process."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The title and the item."""
        return {"title": self.title, "item": _item_url(self.item, "item")}


@attrs.define(slots=False, repr=False)
class MultiItemJobTemplate(JobTemplate):
    """A template for a process that takes several STAC items."""

    title: str = attrs.field(validator=_is_title)
    """The title of the resulting STAC item and collection, 1 to 250 characters."""
    items: Sequence[Item] = attrs.field(validator=_are_items)
    """The STAC items to process, one or more."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The title and the items."""
        urls = [_item_url(item, f"items[{position}]") for position, item in enumerate(self.items)]
        return {"title": self.title, "items": urls}


class DetectionBuildingsSpacept(SingleItemJobTemplate):
    """Detect buildings (Spacept)."""

    process_id = "detection-buildings-spacept"


class DetectionTreesSpacept(SingleItemJobTemplate):
    """Detect trees (Spacept)."""

    process_id = "detection-trees-spacept"


class DetectionShadowsSpacept(SingleItemJobTemplate):
    """Detect shadows (Spacept)."""

    process_id = "detection-shadows-spacept"


class DetectionShipsAirbus(SingleItemJobTemplate):
    """Detect ships (Airbus)."""

    process_id = "detection-ships-airbus"


class DetectionWindTurbinesAirbus(SingleItemJobTemplate):
    """Detect wind turbines (Airbus)."""

    process_id = "detection-wind-turbines-airbus"


class DetectionStorageTanksAirbus(SingleItemJobTemplate):
    """Detect storage tanks (Airbus)."""

    process_id = "detection-storage-tanks-airbus"


class DetectionTrucksOI(SingleItemJobTemplate):
    """Detect trucks (Orbital Insight)."""

    process_id = "detection-trucks-oi"


class DetectionCarsOI(SingleItemJobTemplate):
    """Detect cars (Orbital Insight)."""

    process_id = "detection-cars-oi"


class DetectionAircraftOI(SingleItemJobTemplate):
    """Detect aircraft (Orbital Insight)."""

    process_id = "detection-aircraft-oi"


class UpsamplingNS(SingleItemJobTemplate):
    """Raise the resolution (NS Solutions)."""

    process_id = "upsampling-ns"


class UpsamplingNSSentinel(SingleItemJobTemplate):
    """Raise the resolution of Sentinel-2 (NS Solutions)."""

    process_id = "upsampling-ns-sentinel"


class TrueColorConversion(SingleItemJobTemplate):
    """Convert to true color."""

    process_id = "true-color-conversion"


class OrthorectificationIntermap(SingleItemJobTemplate):
    """Orthorectify (Intermap)."""

    process_id = "orthorectification-intermap"


def _is_name(_: object, attribute: Attribute, value: object) -> None:
    arguments.string(value, attribute.name)


@attrs.frozen
class GreyWeight:
    """The weight of a band in pansharpening."""

    band: str = attrs.field(validator=_is_name)
    """The name of the band."""
    weight: float = attrs.field(validator=arguments.is_real())
    """Its weight."""


def _are_grey_weights(_: object, attribute: Attribute, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence | None):
        message = f"{attribute.name} must be a list of GreyWeight, not {value!r:.80}"
        raise TypeError(message)
    for position, weight in enumerate(value or ()):
        if not isinstance(weight, GreyWeight):
            message = f"{attribute.name}[{position}] must be a GreyWeight, not {weight!r:.80}"
            raise TypeError(message)


@attrs.define(slots=False, repr=False)
class Pansharpening(SingleItemJobTemplate):
    """Pansharpen."""

    process_id = "pansharpening"

    grey_weights: Sequence[GreyWeight] | None = attrs.field(default=None, validator=_are_grey_weights)
    """The weights of the bands; UP42 chooses them when there are none."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The title, the item, and the weights if there are any."""
        if not self.grey_weights:
            return super().inputs
        return {**super().inputs, "greyWeights": [attrs.asdict(weight) for weight in self.grey_weights]}


@attrs.define(slots=False, repr=False)
class SimularityJobTemplate(JobTemplate):
    """A template for a process that compares two STAC items (Simularity)."""

    title: str = attrs.field(validator=_is_title)
    """The title of the resulting STAC item and collection, 1 to 250 characters."""
    source_item: Item = attrs.field(validator=_is_item)
    """The STAC item to process."""
    reference_item: Item = attrs.field(validator=_is_item)
    """The STAC item to compare it with."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The title and the two items."""
        return {
            "title": self.title,
            "sourceItem": _item_url(self.source_item, "source_item"),
            "referenceItem": _item_url(self.reference_item, "reference_item"),
        }


class CoregistrationSimularity(SimularityJobTemplate):
    """Align an item with another (Simularity)."""

    process_id = "coregistration-simularity"


@attrs.define(slots=False, repr=False)
class DetectionChangeSimularity(SimularityJobTemplate):
    """Detect changes between two items (Simularity)."""

    process_id = "detection-change-simularity"

    sensitivity: int = attrs.field(default=DEFAULT_SENSITIVITY, validator=arguments.is_integer(least=0))
    """The sensitivity of the detection, 0 or more."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The title, the two items, and the sensitivity."""
        return {**super().inputs, "sensitivity": self.sensitivity}
