"""What an execution costs: the same inputs always cost the same."""

import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import attrs

from up42_async.sandbox._processes import Process
from up42_async.sandbox._validation import item_urls


@attrs.frozen(kw_only=True)
class Price:
    """The price of one execution."""

    strategy: str
    credits: int
    size: float | None = None
    unit: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the answer to `POST .../cost`; size and unit are left out where the price does not depend on them."""
        body: dict[str, Any] = {"pricingStrategy": self.strategy, "totalCredits": self.credits}
        if self.size is not None:
            body |= {"totalSize": self.size, "unit": self.unit}
        return body


def item_area(url: str) -> float:
    """Return the area of an item in square kilometres, 1.0 to 100.9, computed from its URL without host and port."""
    drawn = int.from_bytes(sha256(urlsplit(url).path.encode()).digest()[:4], "big")
    return 1 + drawn % 1000 / 10


def price(process: Process, inputs: Mapping[str, Any], rate: int) -> Price:
    """Price inputs whose form is right.

    Args:
        process: The process they are for.
        inputs: What `_validation.checked_inputs` returned.
        rate: Credits for each square kilometre, or for the execution where the price is simple.
    """
    if process.pricing == "simple":
        return Price(strategy="simple", credits=rate)
    size = round(sum(item_area(url) for _, url in item_urls(process, inputs)), 1)
    return Price(strategy="area", credits=math.ceil(size * rate), size=size, unit="SQ_KM")
