"""How the files of items are selected, whatever the fields of their assets contain."""

from typing import Any

import pystac
import pytest

from up42_async._downloads.options import DownloadOptions
from up42_async._storage.items import files_of


def asset(**changes: Any) -> pystac.Asset:
    made = pystac.Asset("/v2/assets/a1", media_type="image/tiff", roles=["data"])
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def keys_of(options: DownloadOptions, **assets: pystac.Asset) -> list[str]:
    item = pystac.Item("i1", None, None, pystac.utils.str_to_datetime("2024-05-01T00:00:00Z"), {})
    item.assets = assets
    return [file.key for file in files_of([item], options)]


@pytest.mark.parametrize("roles", ["data", 7, None, {"data": 1}, [["data"], {}, None]])
def test_invalid_roles_match_nothing_and_hide_no_other_asset(roles: Any) -> None:
    assert keys_of(DownloadOptions(roles=["data"]), odd=asset(roles=roles), plain=asset()) == ["plain"]
    assert keys_of(DownloadOptions(), odd=asset(roles=roles), plain=asset()) == ["odd", "plain"]


@pytest.mark.parametrize("media_type", [7, None, "", ["image/tiff"]])
def test_an_invalid_media_type_matches_nothing_and_hides_no_other_asset(media_type: Any) -> None:
    options = DownloadOptions(media_types=["image/tiff"])
    assert keys_of(options, odd=asset(media_type=media_type), plain=asset()) == ["plain"]


@pytest.mark.parametrize("size", [True, -1, 1.5, "1", 10**310, None])
def test_an_invalid_size_is_none(size: Any) -> None:
    item = pystac.Item("i1", None, None, pystac.utils.str_to_datetime("2024-05-01T00:00:00Z"), {})
    item.assets = {"a": asset(extra_fields={"file:size": size, "file:checksum": 7}, href=5)}
    (file,) = files_of([item], DownloadOptions())
    assert (file.size, file.checksum, file.href, file.item_id) == (None, None, "", "i1")


@pytest.mark.parametrize("argument", ["keys", "roles", "media_types"])
@pytest.mark.parametrize(
    ("value", "message"), [("a", r"write \['a'\]"), (7, "not 7"), ([7], r"\[0\] must be a string")]
)
def test_a_filter_that_is_not_a_list_of_strings_is_a_type_error(argument: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"{argument}.*{message}"):
        DownloadOptions(**{argument: value})
