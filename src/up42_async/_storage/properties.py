"""The properties that UP42 adds to STAC items and collections."""

from typing import Any, Final, Generic, TypeVar, overload

import pystac

T = TypeVar("T")

TITLE: Final = "up42-user:title"
TAGS: Final = "up42-user:tags"


class _Property(Generic[T]):
    """A descriptor of one property, by its UP42 name."""

    def __init__(self, key: str, description: str) -> None:
        self.key = key
        self.__doc__ = description

    @overload
    def __get__(self, view: None, kind: type[object]) -> "_Property[T]": ...

    @overload
    def __get__(self, view: "Up42Properties", kind: type[object]) -> T | None: ...

    def __get__(self, view: "Up42Properties | None", kind: type[object]) -> "_Property[T] | T | None":
        if view is None:
            return self
        value: T | None = view.content.get(self.key)
        return value

    def __set__(self, view: "Up42Properties", value: T | None) -> None:
        view.content[self.key] = value


class Up42Properties:
    """A typed view of the properties that UP42 adds to an item or collection; it reads and writes the object itself.

    A missing property is None. `await update_item(item)` sends the title and the tags.
    """

    title: _Property[str] = _Property(TITLE, "Title given by the user.")
    tags: _Property[list[str]] = _Property(TAGS, "Tags given by the user.")
    asset_id: _Property[str] = _Property("up42-system:asset_id", "The asset it is part of.")
    account_id: _Property[str] = _Property("up42-system:account_id", "The account it belongs to.")
    workspace_id: _Property[str] = _Property("up42-system:workspace_id", "The workspace it belongs to.")
    job_id: _Property[str] = _Property("up42-system:job_id", "The job that made it.")
    source: _Property[str] = _Property("up42-system:source", "Where it came from, such as `ARCHIVE` or `ANALYTICS`.")
    metadata_version: _Property[str] = _Property("up42-system:metadata_version", "Version of UP42's own metadata.")
    order_id: _Property[str] = _Property("up42-order:id", "The order that it was delivered for.")
    product_id: _Property[str] = _Property("up42-product:product_id", "The data product.")
    collection_name: _Property[str] = _Property(
        "up42-product:collection_name", "The geospatial collection, such as `phr`."
    )
    modality: _Property[str] = _Property("up42-product:modality", "Kind of imagery, such as `multispectral`.")

    def __init__(self, stac_object: pystac.Item | pystac.Collection) -> None:
        """View an item or collection.

        Args:
            stac_object: The item or collection, which the view reads and writes.
        """
        properties: dict[str, Any] | None = getattr(stac_object, "properties", None)
        self.content: dict[str, Any] = stac_object.extra_fields if properties is None else properties

    def __repr__(self) -> str:
        """Return the UP42 properties of the object."""
        return f"Up42Properties({ {key: value for key, value in self.content.items() if key.startswith('up42-')} })"
