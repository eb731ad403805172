"""Names of files: read from the response of the server, which may be hostile, and made safe."""

import hashlib
import os
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit

LONGEST: Final = 150
"""Most bytes of a name; file systems allow 255, of which `.part.json` and others need some."""

PART: Final = ".part"
"""Suffix of a file that is being downloaded."""

RECORD: Final = ".up42.json"
"""Name of the record of a directory."""

_PARAMETER: Final = re.compile(r'(?:^|;)\s*([^\s=;"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^;]*))?')
_CHARSETS: Final = frozenset({"utf-8", "iso-8859-1"})  # the two of RFC 8187
_LONGEST_HEADER: Final = 4096
_ID_LETTERS: Final = 8

_NOT_ALLOWED: Final = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_SEPARATORS: Final = frozenset("/\\:")
_SUFFIX: Final = re.compile(r"(\.tar)?\.[A-Za-z][A-Za-z0-9]{0,7}$")
_HIDING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]|[\u202a-\u202e\u2066-\u2069]+|[\ud800-\udfff]+")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$", re.IGNORECASE)


def names_of(url: str, header: str | None, key: str) -> list[str]:
    """Return the names a file may have, the best one first; a name without suffix gets that of the URL's path.

    The order: the Content-Disposition in the query of the signed URL, that of the response, the asset key, the last
    part of the URL's path.

    Args:
        url: The signed URL.
        header: The Content-Disposition of the response, None when there is none.
        key: The asset key.
    """
    path = name_in_path(url)
    suffix = PurePosixPath(path).suffix
    names = [name_in_url(url), name_in_disposition(header), key, path]
    return [name if _SUFFIX.search(name) else name + suffix for name in names if name] or ["file"]


def name_in_url(url: str) -> str | None:
    """Return the name of the file in the query of its signed URL, None when there is none.

    Args:
        url: The signed URL. The storage host sends its `response-content-disposition` as Content-Disposition.
    """
    query = parse_qs(urlsplit(url).query)
    return name_in_disposition(next(iter(query.get("response-content-disposition", [])), None))


def name_in_disposition(value: str | None) -> str | None:
    """Return the file name of a Content-Disposition (RFC 6266), None when there is none.

    `filename*` comes before `filename`, unless it cannot be decoded. The type before the first parameter may be
    missing, since some storage hosts leave it out.

    Args:
        value: The header, None when there is none.
    """
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer((value or "")[:_LONGEST_HEADER]):
        found.setdefault(match[1].lower(), (match[2] or "").strip())
    extended = _decoded(_unquoted(found.get("filename*", "")))
    return extended or _unquoted(found.get("filename", "")) or None


def _unquoted(value: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", value[1:-1]) if len(value) > 1 and value[0] == value[-1] == '"' else value


def _decoded(value: str) -> str | None:
    """Decode an extended value such as `UTF-8''%e2%82%ac.tif` (RFC 8187), None when it cannot be decoded."""
    charset, _, rest = value.partition("'")
    text = rest.partition("'")[2]
    if charset.lower() not in _CHARSETS:
        return None
    try:
        return unquote_to_bytes(text).decode(charset)
    except UnicodeError:
        return None


def name_in_path(url: str) -> str:
    """Return the last part of a URL's path, which may be empty."""
    return unquote(PurePosixPath(urlsplit(url).path).name)


def safe_name(name: str) -> str:
    """Return a name that is one part of a path, allowed on every system, and without invisible characters.

    Args:
        name: The name that the server gives the file.

    Returns:
        The safe name; empty when no character of it can be used.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    visible = "".join("_" if _is_separator(char) else char for char in last if char.isprintable())
    clean = _shortened(_NOT_ALLOWED.sub("_", visible).strip(" ."))
    if _RESERVED.match(clean):
        clean = f"_{clean}"
    return f"{clean}_" if clean.casefold().endswith((PART, f"{PART}.json")) else clean


def _is_separator(char: str) -> bool:
    """Return whether a character is a compatibility form of a path separator, such as a fullwidth slash."""
    return not char.isascii() and not _SEPARATORS.isdisjoint(unicodedata.normalize("NFKC", char))


def with_asset_id(name: str, source: str) -> str:
    """Return a name with the first 8 characters of the asset's id, the same in every run.

    Args:
        name: A safe name.
        source: What the file is fetched from, whose last part is the asset's id.
    """
    asset_id = safe_name(source.rpartition("/")[2])[:_ID_LETTERS]
    if not asset_id.replace("-", "").isalnum():
        return with_digest(name, source)
    stem, suffix = _split(name)
    return f"{stem}-{asset_id}{suffix}"


def with_digest(name: str, source: str) -> str:
    """Return a name with 8 characters of a digest of the source, the same in every run.

    Args:
        name: A safe name.
        source: What the file is fetched from.
    """
    stem, suffix = _split(name)
    digest = hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:_ID_LETTERS]
    return f"{stem}-{digest}{suffix}"


def member_name(word: str) -> str:
    """Return one part of the path of a member of an archive, changed only where it is dangerous.

    The files of a product refer to each other by name, so hidden files, colons and long names stay. Control characters
    and those that change the reading direction are replaced, since they make a listing show another name.

    Args:
        word: The part, without separators.

    Returns:
        The name; empty when the part is empty.
    """
    if os.name == "nt":  # pragma: no cover - where reserved names open devices, and a colon opens a stream
        return safe_name(word)
    clean = _HIDING.sub("_", word)
    return f"_{clean}" if clean.casefold() == RECORD else clean


def same_name(name: str) -> str:
    """Return a form of a name that is equal for names that some file systems take for the same one."""
    return unicodedata.normalize("NFKC", name).casefold()


def _split(name: str) -> tuple[str, str]:
    found = _SUFFIX.search(name)
    return (name, "") if found is None or not found.start() else (name[: found.start()], found.group())


def _shortened(name: str) -> str:
    longest = LONGEST - 2  # for the underscores that `safe_name` may add
    if len(name.encode()) <= longest:
        return name
    stem, suffix = _split(name)
    return stem.encode()[: longest - len(suffix)].decode(errors="ignore").rstrip(" .") + suffix
