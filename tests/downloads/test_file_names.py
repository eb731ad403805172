"""Safe file names from the names that a server sends."""

import time
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_host import StoredFile, serving
from up42_async._downloads.directory import Downloads, fetch_all
from up42_async._downloads.file_names import (
    LONGEST,
    RECORD,
    name_in_disposition,
    names_of,
    safe_name,
    with_asset_id,
    with_digest,
)
from up42_async._downloads.options import DownloadOptions
from up42_async._downloads.part_file import read_multihash
from up42_async._downloads.signed_urls import RemoteFile

HOSTILE = [
    "../../../evil.tif",
    "/etc/cron.d/evil.tif",
    "..\\..\\evil.tif",
    "C:\\Windows\\evil.tif",
    "\\\\server\\share\\evil.tif",
    "..",
    ".",
    "",
    "   ",
    "evil\x00.tif",
    "evil\r\nX-Header: 1.tif",
    "CON",
    "nul.tif",
    "evil.tif:stream",
    ".bashrc",
    "evil.tif. .",
    "\u202efit.live",
    "x" * 5000 + ".tif",
    "\u00e4" * 5000,
    "/",
    "evil/",
    "~root",
    "\uff0e\uff0e\uff0foutside.tif",
    "c\uff1a\u29f5outside.tif",
    'a|b<c>d?e*f"g.tif',
    "evil.tif.part",
    "evil.tif.PART.json",
    "\ud800.tif",
]


DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
"""Names that Windows opens as devices, whatever extension they have."""


def is_safe(name: str) -> bool:
    return (
        name == PurePosixPath(name).name == PureWindowsPath(name).name
        and name.partition(".")[0].strip().upper() not in DEVICES
        and len(name.encode()) <= LONGEST
        and name == name.strip(" .")
        and name.isprintable()
        and not set(name) & set('<>:"|?*/\\')
        and not name.casefold().endswith((".part", ".part.json"))
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_safe(name: str) -> None:
    safe = safe_name(name)
    assert safe == "" or is_safe(safe)


@given(st.text(max_size=300))
def test_safe_name_is_safe_and_idempotent_for_any_name(name: str) -> None:
    safe = safe_name(name)
    assert safe == "" or is_safe(safe)
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    "name", ["result.tif", "Ergebnis \u00fcber Z\u00fcrich.tar.gz", "a-b_c (1).geojson", "\u7d50\u679c.tif"]
)
def test_safe_names_are_unchanged(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "expected"), [("x" * 500 + ".tif", ".tif"), ("x" * 500 + ".tar.gz", ".tar.gz"), ("y" * 500, "y")]
)
def test_long_names_keep_their_extension(name: str, expected: str) -> None:
    assert safe_name(name).endswith(expected)
    assert len(safe_name(name)) == LONGEST - 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('attachment; filename="a b.tif"', "a b.tif"),
        ("attachment; filename=a.tif", "a.tif"),
        ("attachment;filename=a.tif;size=7", "a.tif"),
        ("attachment; filename*=UTF-8''%e2%82%ac.tif", "\u20ac.tif"),
        ("attachment", None),
        ("attachment; filename=\"plain.tif\"; filename*=UTF-8''better.tif", "better.tif"),
        ("attachment; filename*=utf-8'en'better.tif; filename=plain.tif", "better.tif"),
        ("attachment; filename*=ISO-8859-1''%E4.tif; filename=plain.tif", "\u00e4.tif"),
        ("attachment; filename*=\"UTF-8''quoted.tif\"", "quoted.tif"),
        ("attachment; filename*=undefined''x; filename=plain.tif", "plain.tif"),
        ("attachment; filename*=UTF-8''%ff%fe; filename=plain.tif", "plain.tif"),
        ("attachment; filename*=UTF-8''\ud800; filename=plain.tif", "plain.tif"),
        ("attachment; filename*=a\x00b''x", None),
        ("attachment; filename*0=a.tif; filename*=UTF-8''a.tif", "a.tif"),
        ("attachment; filename*=idna''x; filename*=punycode''y", None),
        ('attachment; name="; filename=evil.tif"; filename=good.tif', "good.tif"),
        ('attachment; filename="with \\\\ and \\" inside.tif"', 'with \\ and " inside.tif'),
        ('attachment; filename="not closed.tif', '"not closed.tif'),
        ("filename=no type.tif", "no type.tif"),
        ("attachment; FileName = spaced.tif ; x", "spaced.tif"),
        ("attachment; filename=first.tif; filename=second.tif", "first.tif"),
        (';;;=;="', None),
        ("attachment; filename=", None),
        ("", None),
        (None, None),
    ],
)
def test_content_disposition_is_parsed_as_in_rfc_6266(value: str | None, expected: str | None) -> None:
    assert name_in_disposition(value) == expected


@given(st.text(max_size=500))
def test_any_content_disposition_gives_a_name_or_none(value: str) -> None:
    name = name_in_disposition(value)
    assert name is None or name in value or "filename" in value.lower()


def test_a_hostile_content_disposition_is_parsed_in_bounded_time() -> None:
    started = time.process_time()
    for value in (';"\\' * 50_000, "; a=" + '"\\' * 50_000, " " * 100_000 + "; filename=x", "filename*=" * 50_000):
        name_in_disposition(value)
    assert time.process_time() - started < 0.5


def test_the_asset_id_is_inserted_before_the_extension() -> None:
    source = "/v2/assets/68567134-27ad-7bd7-4b65-d61adb11fc78"
    assert with_asset_id("a.tar.gz", source) == "a-68567134.tar.gz"
    assert with_asset_id("a", source) == "a-68567134"
    assert with_asset_id("a.tif", "/v2/assets/%2F") == with_digest("a.tif", "/v2/assets/%2F")


def test_names_are_in_order_of_preference_and_get_an_extension_if_they_have_none() -> None:
    url = "https://s.example/bucket/data.tif?response-content-disposition=attachment%3B%20filename%3Dscene"
    assert names_of(url, 'attachment; filename="header.png"', "key") == [
        "scene.tif",
        "header.png",
        "key.tif",
        "data.tif",
    ]


def test_a_name_gets_no_extension_if_the_url_has_none() -> None:
    assert names_of("https://s.example/bucket/data", None, "key") == ["key", "data"]


def test_the_digest_is_inserted_before_the_extension() -> None:
    assert with_digest("a.tar.gz", "one").endswith(".tar.gz")
    assert with_digest("a.tif", "one") != with_digest("a.tif", "two")
    assert with_digest(".tif", "one").startswith(".tif-")


@pytest.mark.parametrize("where", ["url", "header", "key"])
@pytest.mark.parametrize("name", HOSTILE[:16])
async def test_a_hostile_name_is_saved_inside_the_directory(
    tmp_path_factory: pytest.TempPathFactory, where: str, name: str
) -> None:
    directory = tmp_path_factory.mktemp("place") / "inside"
    printable = name.replace("\r\n", "_").replace("\x00", "_")  # which no header can carry
    with serving() as host:
        host.files["a1"] = StoredFile(b"content", name=name if where == "url" else None)
        host.files["a1"].header = f'attachment; filename="{printable}"' if where == "header" else None
        async with host.client() as client:
            file = RemoteFile(href="/v2/assets/a1", key=name if where == "key" else "key")
            (path,) = await fetch_all(Downloads(client, directory, DownloadOptions()), [file])
    assert path.parent == directory
    assert {entry.name for entry in directory.iterdir()} == {path.name, RECORD}
    assert path.read_bytes() == b"content"
    assert is_safe(path.name)


async def test_a_file_without_any_name_gets_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("place")
    with serving() as host:
        host.files[".."] = StoredFile(b"content", name="..")
        host.sign = lambda _: f"{host.storage}/bucket/...bin?response-content-disposition=filename%3D.."
        async with host.client() as client:
            (path,) = await fetch_all(
                Downloads(client, directory, DownloadOptions()), [RemoteFile(href="/v2/assets/x", key="..")]
            )
    assert path.name.strip(".") == path.name != ""


@pytest.mark.parametrize(
    "text", ["", "zz", "12", "80", "ff" * 300, "1220" + "00" * 31, "1221" + "00" * 33, "00" + "20" + "00" * 32]
)
def test_invalid_multihashes_are_none(text: str) -> None:
    assert read_multihash(text) is None
