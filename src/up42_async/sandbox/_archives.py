"""Write archives: good ones, and ones that are damaged, hostile or odd."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

Trick = Literal[
    "parent",
    "absolute",
    "drive",
    "backslash",
    "duplicate",
    "case",
    "deep",
    "many",
    "symlink",
    "hardlink",
    "device",
    "huge",
    "encrypted",
    "cut",
    "hidden",
    "colon",
    "long",
    "control",
    "trailing-dot",
    "device-name",
    "clash",
    "bomb",
    "headers",
    "damaged",
    "checksum",
]
TRICKS: tuple[Trick, ...] = get_args(Trick)

_MANY = 11_000
_DEEP = 100
_HUGE = 1 << 40
_BOMB = 64 << 20
_HEADERS, _HEADER_MEMBERS = 8 << 20, 128
_ZIP_COMMENT = b"x" * 65535
_LONG = "long/IMG_" + "x" * 150
_HONEST = "readme.txt"
_ODD_NAMES: Mapping[str, tuple[str, ...]] = {
    "parent": ("../../outside.txt",),
    "absolute": ("/outside.txt",),
    "drive": ("C:\\outside.txt",),
    "backslash": ("..\\..\\outside.txt",),
    "duplicate": (_HONEST,),
    "case": (_HONEST.upper(),),
    "deep": ("d/" * _DEEP + "deep.txt",),
    "many": tuple(f"many/{number}.txt" for number in range(_MANY)),
    "hidden": ("product/.index.json",),
    "colon": ("product/2024-05-01T10:00:00Z.tif",),
    "long": (f"{_LONG}_R1C1.tif", f"{_LONG}_R1C2.tif"),
    "control": ("product/bell\x07.tif", "product/right\u202eleft.tif"),
    "trailing-dot": ("product/image.tif.", "product/space "),
    "device-name": ("product/NUL.tif",),
    "clash": (f"{_HONEST}/inside.txt",),
    "headers": tuple(f"headers/{number}.txt" for number in range(_HEADER_MEMBERS)),
    "damaged": ("product/\u00e9.tif",),
}
_ODD_KINDS: Mapping[str, tuple[bytes, int]] = {
    "symlink": (tarfile.SYMTYPE, stat.S_IFLNK),
    "hardlink": (tarfile.LNKTYPE, stat.S_IFLNK),  # zip knows no hard links
    "device": (tarfile.CHRTYPE, stat.S_IFCHR),
}


def is_zip(name: str) -> bool:
    """Return whether an archive is a zip, by its name; the others are gzipped tars."""
    return name.endswith(".zip")


def archive(name: str, members: Mapping[str, bytes], trick: Trick | None = None) -> bytes:
    """Write an archive; the same arguments always give the same bytes.

    Args:
        name: Its file name.
        members: Its files, by path.
        trick: What is wrong with it; such an archive begins with a good member. Another member has a path out of
            the directory (`"parent"`, `"absolute"`, `"drive"`, `"backslash"`), has the name of another one
            (`"duplicate"`, or `"case"` where only case differs), is too `"deep"`, is one of too `"many"`, is not a
            file (`"symlink"`, `"hardlink"`, `"device"`), claims a size of one tebibyte (`"huge"`), inflates to 64 MiB
            (`"bomb"`), has a name that not every system takes (`"hidden"`, `"colon"`, `"long"`, `"control"`,
            `"trailing-dot"`, `"device-name"`), is below another file (`"clash"`), has 8 MiB of `"headers"`, is
            `"encrypted"` (zip only), has a `"damaged"` header, or a wrong `"checksum"`; or the archive is `"cut"` in
            half.

    Raises:
        ValueError: There is no such trick, or not for this kind of archive.
    """
    if trick not in {None, *TRICKS} or (trick == "encrypted" and not is_zip(name)):
        raise ValueError(f"{name!r} cannot be archived with the trick {trick!r}; there are {', '.join(TRICKS)}.")
    every = [*([] if trick is None else [(_HONEST, b"honest")]), *members.items()]
    every += [(odd, b"odd") for odd in _ODD_NAMES.get(trick or "", ())]
    every += [("zeros.bin", bytes(_BOMB))] if trick == "bomb" else []
    content = _zip(every, trick) if is_zip(name) else _tgz(every, trick)
    return content[: len(content) // 2] if trick == "cut" else content


def _zip(members: list[tuple[str, bytes]], trick: Trick | None) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as writer:
        for path, content in members:
            if path not in writer.NameToInfo:
                writer.writestr(_zip_info(path, stat.S_IFREG), content)
            else:
                _write_again(writer, path, content)
        if trick is not None and trick in _ODD_KINDS:
            writer.writestr(_zip_info("odd", _ODD_KINDS[trick][1]), "/etc/passwd")
        for info in writer.infolist() if trick == "headers" else ():
            info.comment = _ZIP_COMMENT
        last = writer.infolist()[-1]  # the directory at the end, which readers go by, is written from these
        last.file_size = _HUGE if trick == "huge" else last.file_size
        last.flag_bits |= trick == "encrypted"
        last.CRC ^= trick == "checksum"
    content = target.getvalue()
    return content.replace("\u00e9".encode(), b"\xc3\xff") if trick == "damaged" else content  # no longer UTF-8


def _write_again(writer: zipfile.ZipFile, path: str, content: bytes) -> None:
    del writer.NameToInfo[path]  # it is only there to warn
    writer.writestr(_zip_info(path, stat.S_IFREG), content)


def _zip_info(path: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path)
    info.filename = path  # as it is: the constructor would have made backslashes harmless on Windows
    info.external_attr = (kind | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _tgz(members: list[tuple[str, bytes]], trick: Trick | None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as writer:
        for info, content in _tar_members(members, trick):
            writer.addfile(info, None if content is None else io.BytesIO(content))
        if trick == "huge":
            odd = tarfile.TarInfo("odd")
            odd.size = _HUGE
            target.write(odd.tobuf(tarfile.GNU_FORMAT))  # past the writer, which would want the bytes that it claims
    plain = target.getvalue()
    if trick == "damaged":
        plain = plain.replace(b"GNU.sparse.map=5", b"GNU.sparse.map=x")  # a number that is none
    packed = gzip.compress(plain, 1, mtime=0)
    return packed[:-8] + bytes(4) + packed[-4:] if trick == "checksum" else packed


def _tar_members(
    members: list[tuple[str, bytes]], trick: Trick | None
) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    for path, content in members:
        info = tarfile.TarInfo(path)
        info.size = len(content)
        if trick == "headers" and path == _HONEST:
            info.pax_headers = {"comment": "x" * _HEADERS}
        if trick == "damaged" and path != _HONEST:
            info.pax_headers = {"GNU.sparse.map": "5", "GNU.sparse.size": "5", "GNU.sparse.name": "y"}
        yield info, content
    if trick is not None and trick in _ODD_KINDS:
        odd = tarfile.TarInfo("odd")
        odd.type, odd.linkname = _ODD_KINDS[trick][0], "/etc/passwd"
        yield odd, None
