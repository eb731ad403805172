"""Check what goes into a template, when it is built: an item, a title, a number."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import attrs
import pystac

LONGEST_TITLE: Final = 250
"""Characters of a title at the most."""

Item: TypeAlias = pystac.Item | str
"""A STAC item: the object, or the absolute URL of its self link."""

Attribute: TypeAlias = "attrs.Attribute[Any]"


def item_url(item: object, name: str) -> str:
    """Return the URL that stands for an item.

    Args:
        item: A `pystac.Item`, or its URL.
        name: What it is called in the error.

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
        message = (
            f"{name} has no self link, which UP42 knows it by; set it with set_self_href(), or give the URL instead"
        )
        raise ValueError(message)
    if not _is_absolute(url):
        message = f"{name} must be known by an absolute URL (https://...), not {url!r:.80}"
        raise ValueError(message)
    return url


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"https", "http"} and bool(parts.hostname)


def is_item(_: object, attribute: Attribute, value: object) -> None:
    """Refuse what is neither an item with a self link nor its URL."""
    item_url(value, attribute.name)


def are_items(_: object, attribute: Attribute, value: object) -> None:
    """Refuse what is no list of items, or an empty one."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        message = f"{attribute.name} must be a list of items, not {value!r:.80}"
        raise TypeError(message)
    if not value:
        message = f"{attribute.name} must hold at least one item"
        raise ValueError(message)
    for position, item in enumerate(value):
        item_url(item, f"{attribute.name}[{position}]")


def is_title(_: object, attribute: Attribute, value: object) -> None:
    """Refuse what is no title: UP42 takes 1 to 250 characters."""
    if not isinstance(value, str):
        message = f"{attribute.name} must be a string, not {value!r:.80}"
        raise TypeError(message)
    if not 1 <= len(value) <= LONGEST_TITLE:
        message = f"{attribute.name} must have 1 to {LONGEST_TITLE} characters, not {len(value)}"
        raise ValueError(message)
