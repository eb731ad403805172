"""Name files: what the server calls them, made safe, since every word of it may be hostile."""

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

LONGEST: Final = 150
"""Bytes of a name at the most; file systems take 255, and `.part.json` is added meanwhile."""

PART: Final = ".part"
"""Ending of a file that is not whole yet."""

_NOT_ALLOWED: Final = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_SEPARATORS: Final = frozenset("/\\:")
_SUFFIX: Final = re.compile(r"(\.tar)?\.[A-Za-z][A-Za-z0-9]{0,7}$")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$", re.IGNORECASE)


def names_of(url: str, header: str | None, key: str) -> list[str]:
    """Return what a file may be called, the best name first; those without ending get the one of the URL's path.

    Args:
        url: The signed URL.
        header: The Content-Disposition of the answer, None when there is none.
        key: The asset key.
    """
    path = name_in_path(url)
    suffix = PurePosixPath(path).suffix
    names = [name_in_url(url), name_in_disposition(header), key, path]
    return [name if _SUFFIX.search(name) else name + suffix for name in names if name]


def name_in_url(url: str) -> str | None:
    """Return the name a signed URL gives to its file, None when it gives none.

    Args:
        url: A signed URL; its `response-content-disposition` is what the storage host will send as Content-Disposition.
    """
    query = parse_qs(urlsplit(url).query)
    return name_in_disposition(next(iter(query.get("response-content-disposition", [])), None))


def name_in_disposition(value: str | None) -> str | None:
    """Return the file name of a Content-Disposition, None when there is none."""
    if not value:
        return None
    from email.message import Message

    header = Message()
    header["Content-Disposition"] = re.sub(r"[\r\n]", "_", value)
    return header.get_filename() or None


def name_in_path(url: str) -> str:
    """Return the last part of a URL's path, which may be empty."""
    return unquote(PurePosixPath(urlsplit(url).path).name)


def safe_name(name: str) -> str:
    """Make a name safe: one part of a path, that means the same everywhere and hides nothing.

    Args:
        name: What the server calls the file.

    Returns:
        The name; empty when nothing of it can be used.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    visible = "".join("_" if _is_separator(char) else char for char in last if char.isprintable())
    clean = _shortened(_NOT_ALLOWED.sub("_", visible).strip(" ."))
    if _RESERVED.match(clean):
        clean = f"_{clean}"
    return f"{clean}_" if clean.casefold().endswith((PART, f"{PART}.json")) else clean


def _is_separator(char: str) -> bool:
    """Return whether a character is another way of writing one that separates names."""
    return not char.isascii() and not _SEPARATORS.isdisjoint(unicodedata.normalize("NFKC", char))


def with_digest(name: str, source: str) -> str:
    """Return a name that is told from the same name of another source, and is the same every time.

    Args:
        name: A safe name.
        source: What the file is fetched from.
    """
    stem, suffix = _split(name)
    digest = hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{stem}-{digest}{suffix}"


def same_name(name: str) -> str:
    """Return what two names have in common that some file systems take for one."""
    return unicodedata.normalize("NFKC", name).casefold()


def _split(name: str) -> tuple[str, str]:
    found = _SUFFIX.search(name)
    return (name, "") if found is None or not found.start() else (name[: found.start()], found.group())


def _shortened(name: str) -> str:
    longest = LONGEST - 2  # what makes a name harmless may be added
    if len(name.encode()) <= longest:
        return name
    stem, suffix = _split(name)
    return stem.encode()[: longest - len(suffix)].decode(errors="ignore").rstrip(" .") + suffix
