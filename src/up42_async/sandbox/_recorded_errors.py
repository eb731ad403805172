"""The errors of recorded INVALID jobs: 44 of 432 jobs, with one error each."""

from collections.abc import Mapping
from random import Random
from typing import Any, Final

from up42_async.sandbox._recorded_lives import Deck

_UNSUPPORTED: Final = ("InvalidDataProduct", "The STAC item isn't a supported data product")
_UNSUPPORTED_WITH_STOP: Final = ("InvalidDataProduct", "The STAC item isn't a supported data product.")
_NOT_FOUND: Final = ("NotFound", "item={item} is not found")
_NOT_MATCHING: Final = ("NotMatchingProducts", "The STAC items aren't the same data products.")
_ONE_ITEM: Final = (*[_UNSUPPORTED] * 28, *[_UNSUPPORTED_WITH_STOP] * 2, *[_NOT_FOUND] * 11)
_SEVERAL_ITEMS: Final = (_UNSUPPORTED_WITH_STOP, *[_NOT_MATCHING] * 2)

USUAL: Final[list[dict[str, Any]]] = [{"name": _UNSUPPORTED[0], "message": _UNSUPPORTED[1]}]
"""The most frequent error."""


class RecordedErrors:
    """Draws the errors of an INVALID job, each as often as it was recorded.

    Args:
        random: The generator.
    """

    def __init__(self, random: Random) -> None:
        self._one_item = Deck(random, _ONE_ITEM)
        self._several_items = Deck(random, _SEVERAL_ITEMS)

    def draw(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the errors of a job with these inputs."""
        deck = self._one_item if "item" in inputs else self._several_items
        name, message = deck.deal()
        return [{"name": name, "message": message.format(item=inputs.get("item"))}]
