"""The GeoTIFFs that the sandbox writes: real ones."""

import struct
from pathlib import Path

import pytest

from up42_async.sandbox._geotiff import TILE, geotiff

Tags = dict[int, tuple[float, ...]]


def read_tags(content: bytes) -> Tags:
    """Return the fields of the only directory, as the specification of TIFF 6.0 tells to read them."""
    order, magic, at = struct.unpack_from("<2sHI", content)
    assert (order, magic) == (b"II", 42)
    (number,) = struct.unpack_from("<H", content, at)
    tags: Tags = {}
    for position in range(number):
        tag, kind, count = struct.unpack_from("<HHI", content, at + 2 + 12 * position)
        code, size = {3: ("H", 2), 4: ("I", 4), 12: ("d", 8)}[kind]
        field = at + 2 + 12 * position + 8
        place = field if count * size <= 4 else struct.unpack_from("<I", content, field)[0]
        tags[tag] = struct.unpack_from(f"<{count}{code}", content, place)
    (following,) = struct.unpack_from("<I", content, at + 2 + 12 * number)
    assert following == 0
    assert list(tags) == sorted(tags)
    return tags


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_a_picture_is_tiled_and_says_where_it_is(tiles: int) -> None:
    content = geotiff(tiles, west=10.0, north=50.0, degrees=0.5, seed=3)
    tags = read_tags(content)
    side = tiles * TILE
    assert (tags[256], tags[257], tags[322], tags[323]) == ((side,), (side,), (TILE,), (TILE,))
    assert tags[33550] == (0.5 / side, 0.5 / side, 0.0)
    assert tags[33922] == (0.0, 0.0, 0.0, 10.0, 50.0, 0.0)
    assert tags[34735][-4:] == (2048, 0, 1, 4326)
    assert tags[325] == (TILE * TILE,) * tiles**2
    assert [int(offset) for offset in tags[324]] == [
        len(content) - (tiles**2 - position) * TILE * TILE for position in range(tiles**2)
    ]


def test_the_directory_comes_before_the_tiles_as_cloud_optimised_readers_want_it() -> None:
    content = geotiff(2, west=0, north=0, degrees=1, seed=0)
    assert struct.unpack_from("<I", content, 4) == (8,)
    assert min(read_tags(content)[324]) < 1000


def test_the_same_seed_draws_the_same_picture_and_another_another() -> None:
    one, same, other = (geotiff(2, west=1, north=2, degrees=3, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_the_tiles_of_a_geotiff_differ() -> None:
    content = geotiff(2, west=0, north=0, degrees=1, seed=5)
    assert len({content[-(place + 1) * TILE * TILE :][: TILE * TILE] for place in range(4)}) == 4


def test_rasterio_opens_it(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    file = tmp_path / "image.tif"
    file.write_bytes(geotiff(2, west=10.0, north=50.0, degrees=0.5, seed=3))
    with rasterio.open(file) as image:
        assert (image.driver, image.count, image.width, image.height) == ("GTiff", 1, 512, 512)
        assert image.crs.to_epsg() == 4326
        assert tuple(image.bounds) == pytest.approx((10.0, 49.5, 10.5, 50.0))
        assert image.block_shapes == [(256, 256)]
        pixels = image.read(1)
        assert (pixels.shape, int(pixels[0, 0]), int(pixels[0, 1])) == ((512, 512), 3, 7)
