"""Know checksums: multihashes, as `file:checksum` of the STAC file extension has them."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import attrs

# https://github.com/multiformats/multicodec/blob/master/table.csv; those that hashlib always has
_ALGORITHMS: Final[dict[int, tuple[str, int]]] = {
    0x11: ("sha1", 20),
    0x12: ("sha256", 32),
    0x13: ("sha512", 64),
    0x14: ("sha3_512", 64),
    0x15: ("sha3_384", 48),
    0x16: ("sha3_256", 32),
    0x17: ("sha3_224", 28),
    0x20: ("sha384", 48),
    0xD5: ("md5", 16),
    0x1013: ("sha224", 28),
    0xB220: ("blake2b", 32),
    0xB240: ("blake2b", 64),
    0xB260: ("blake2s", 32),
}
_LONGEST: Final = 200


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Checksum:
    """What the bytes of a file must hash to."""

    algorithm: str
    """As hashlib calls it."""
    digest: bytes

    def hasher(self) -> Any:
        """Return a new hash object of hashlib, with the right size of digest."""
        if self.algorithm.startswith("blake2"):
            make: Callable[..., Any] = getattr(hashlib, self.algorithm)
            return make(digest_size=len(self.digest))
        return hashlib.new(self.algorithm, usedforsecurity=False)


def read_multihash(text: str | None) -> Checksum | None:
    """Read a multihash in hexadecimal.

    Args:
        text: Such as `1220` and 64 more digits, for SHA-256.

    Returns:
        The checksum; None for one that cannot be read or computed, which is no reason to refuse a file.
    """
    if text is None or len(text) > _LONGEST:
        return None
    try:
        code, rest = _varint(bytes.fromhex(text))
        length, digest = _varint(rest)
    except (ValueError, IndexError):
        return None
    name, size = _ALGORITHMS.get(code, ("", 0))
    return Checksum(algorithm=name, digest=digest) if name and length == size == len(digest) else None


def _varint(data: bytes) -> tuple[int, bytes]:
    """Split off an unsigned number whose bytes have seven bits each, the lowest first."""
    number = position = 0
    while data[position] & 0x80:
        number |= (data[position] & 0x7F) << (7 * position)
        position += 1
    return number | data[position] << (7 * position), data[position + 1 :]
