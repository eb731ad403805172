"""Write small tiled GeoTIFFs without an imaging library."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

TILE = 256
"""Pixels along the side of a tile."""

_SHORT, _LONG, _DOUBLE = 3, 4, 12
_CODES = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_HEADER = 8

# GeoTIFF 1.1: geographic coordinates in degrees, WGS 84 (EPSG 4326), pixels are areas
_GEO_KEYS = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326)


class Tag(NamedTuple):
    """One field of a TIFF directory."""

    number: int
    kind: int
    values: Sequence[float]

    def packed(self) -> bytes:
        """Return the values as they stand in the file."""
        code = _CODES[self.kind]
        values = self.values if self.kind == _DOUBLE else [int(value) for value in self.values]
        return struct.pack(f"<{len(values)}{code}", *values)


def geotiff(tiles: int, *, west: float, north: float, degrees: float, seed: int) -> bytes:
    """Write a square image of one band of bytes.

    Args:
        tiles: Tiles of 256 x 256 pixels along each side, 1 or more.
        west: Longitude of its western edge, in degrees.
        north: Latitude of its northern edge, in degrees.
        degrees: Length of each side, in degrees.
        seed: The seed of its pixels.

    Returns:
        The file.
    """
    side = tiles * TILE
    data = [_tile(column, row, seed) for row in range(tiles) for column in range(tiles)]
    pixel = degrees / side
    tags = [
        Tag(256, _LONG, [side]),  # ImageWidth
        Tag(257, _LONG, [side]),  # ImageLength
        Tag(258, _SHORT, [8]),  # BitsPerSample
        Tag(259, _SHORT, [1]),  # Compression: none
        Tag(262, _SHORT, [1]),  # PhotometricInterpretation: black is zero
        Tag(277, _SHORT, [1]),  # SamplesPerPixel
        Tag(284, _SHORT, [1]),  # PlanarConfiguration
        Tag(322, _LONG, [TILE]),  # TileWidth
        Tag(323, _LONG, [TILE]),  # TileLength
        Tag(324, _LONG, [0] * len(data)),  # TileOffsets, known below
        Tag(325, _LONG, [len(tile) for tile in data]),  # TileByteCounts
        Tag(33550, _DOUBLE, [pixel, pixel, 0.0]),  # ModelPixelScale
        Tag(33922, _DOUBLE, [0.0, 0.0, 0.0, west, north, 0.0]),  # ModelTiepoint
        Tag(34735, _SHORT, _GEO_KEYS),  # GeoKeyDirectory
    ]
    first = _HEADER + len(_directory(tags))
    offsets = [first + position * TILE * TILE for position in range(len(data))]
    placed = [tag._replace(values=offsets) if tag.number == 324 else tag for tag in tags]  # noqa: PLR2004 - TileOffsets
    return struct.pack("<2sHI", b"II", 42, _HEADER) + _directory(placed) + b"".join(data)


def _directory(tags: Sequence[Tag]) -> bytes:
    """Return the directory and, behind it, the values that have no room in it."""
    entries, outside = b"", b""
    room = _HEADER + 2 + 12 * len(tags) + 4
    for tag in tags:
        packed = tag.packed()
        if len(packed) <= 4:  # noqa: PLR2004 - the room that an entry has for values
            field = packed.ljust(4, b"\0")
        else:
            field = struct.pack("<I", room + len(outside))
            outside += packed + b"\0" * (len(packed) % 2)
        entries += struct.pack("<HHI", tag.number, tag.kind, len(tag.values)) + field
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + outside


def _tile(column: int, row: int, seed: int) -> bytes:
    """Return diagonal stripes that differ from tile to tile."""
    step = seed % 7 + 1
    line = bytes((x * step + column * 31 + row * 17 + seed) % 256 for x in range(2 * TILE))
    return b"".join(line[y : y + TILE] for y in range(TILE))
