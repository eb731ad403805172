"""The items of results work with pystac, odc-stac and stackstac.

Tests of the latter two are skipped where they are not installed; `nox -s consumers` installs them.
"""

import copy
import pickle
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import pystac
import pytest

import up42_async as up42
from tests.test_documentation import ROOT, compiled, finished_job, snippets
from up42_async.sandbox import Sandbox

WGS84: Final = 4326
HINT: Final = "is not installed; `nox -s consumers` runs these tests"

pytestmark = [
    pytest.mark.filterwarnings(warning)
    for warning in (
        # odc-geo, below odc-stac, and stackstac multiply matrices and transform shapes as older affine and shapely do
        r"ignore:Use `@` matmul instead:PendingDeprecationWarning:(odc\.geo|stackstac)\.",
        r"ignore:The 'shapely.ops.transform:DeprecationWarning:odc\.geo\.",
    )
]


@attrs.frozen(kw_only=True)
class Results:
    """Results of jobs: collections and items as UP42 sends them, and the downloaded images."""

    collections: list[pystac.Collection]
    items: list[pystac.Item]
    paths: dict[str, Path]
    """The file of each image, by its asset key."""

    def key(self, item: pystac.Item) -> str:
        """Return the asset key of an item's image."""
        return next(key for key in item.assets if key in self.paths)

    def with_local_image(self, item: pystac.Item, copied_by: Callable[[pystac.Item], pystac.Item]) -> pystac.Item:
        """Return a copy of an item with one asset: its downloaded image."""
        copied, key = copied_by(item), self.key(item)
        copied.assets = {"image": copied.assets[key]}
        copied.assets["image"].href = self.paths[key].as_uri()
        return copied

    def with_local_images(self) -> list[pystac.Item]:
        """Return such copies of all items."""
        return [self.with_local_image(item, pystac.Item.clone) for item in self.items]


@attrs.frozen(kw_only=True)
class Picture:
    """An image as rasterio reads it."""

    pixels: Any
    bounds: tuple[float, float, float, float]
    resolution: float
    """Size of a pixel in degrees."""

    @classmethod
    def of(cls, path: Path) -> "Picture":
        """Read a file."""
        with pytest.importorskip("rasterio").open(path) as image:
            return cls(
                pixels=image.read(1),
                bounds=tuple(image.bounds),
                resolution=image.res[0],
            )

    def equals(self, loaded: Any) -> bool:
        """Return whether the loaded pixels are the same."""
        return self.pixels.shape == loaded.shape and bool((self.pixels == loaded).all())


@pytest.fixture
async def results(anyio_backend: object, tmp_path: Path) -> AsyncIterator[Results]:
    """Run two jobs and download their images, on each loop; check that the test itself sends UP42 no request."""
    with Sandbox(speed=36_000, failure_rate=0.0) as sandbox:
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints):
            results = await download_results(tmp_path / "files")
        asked = sandbox.count()
        yield results
        assert sandbox.count() == asked


async def download_results(directory: Path) -> Results:
    results = Results(collections=[], items=[], paths={})
    for number in range(2):
        job = await finished_job(f"Trees {number}")
        collection = await job.collection()
        assert collection is not None
        results.collections.append(collection)
        results.items.extend([one async for one in job.items()])
        paths = await job.download(directory / job.id, media_types=["image/tiff"])
        results.paths.update({path.name: path for path in paths})
    assert len(results.items) == len(results.paths) > 2
    return results


@pytest.fixture
def odc_stac() -> Any:
    return pytest.importorskip("odc.stac", reason=f"odc-stac {HINT}")


@pytest.fixture
def stackstac() -> Any:
    return pytest.importorskip("stackstac", reason=f"stackstac {HINT}")


def through_pickle(item: pystac.Item) -> pystac.Item:
    copied = pickle.loads(pickle.dumps(item))  # noqa: S301
    assert isinstance(copied, pystac.Item)
    return copied


COPIES: Final[dict[str, Callable[[pystac.Item], pystac.Item]]] = {
    "a clone": pystac.Item.clone,
    "a deep copy": copy.deepcopy,
    "through pickle": through_pickle,
}
GATHERINGS: Final[dict[str, Callable[[Iterable[pystac.Item]], Any]]] = {
    "a list": list,
    "an item collection": pystac.ItemCollection,
}


def test_odc_stac_parses_the_items_unchanged(odc_stac: Any, results: Results) -> None:
    parsed = list(odc_stac.parse_items(results.items))
    assert [one.id for one in parsed] == [item.id for item in results.items]
    for one, item in zip(parsed, results.items, strict=True):
        key = results.key(item)
        assert {band: source.uri for band, source in one.bands.items()} == {(key, 1): item.assets[key].href}
        assert (one.collection.name, one.datetime) == (item.collection_id, item.datetime)
        assert list(one.geometry.boundingbox) == item.bbox
        planned = odc_stac.load([item], crs=WGS84, resolution=0.0001, chunks={})
        assert list(planned.data_vars) == [key]


@pytest.mark.parametrize("how", COPIES)
def test_odc_stac_loads_the_pixels_of_the_file_from_a_copy_of_its_item(
    odc_stac: Any, results: Results, how: str
) -> None:
    before = [item.to_dict() for item in results.items]
    for item in results.items:
        picture = Picture.of(results.paths[results.key(item)])
        loaded = odc_stac.load([results.with_local_image(item, COPIES[how])], crs=WGS84, resolution=picture.resolution)
        assert picture.equals(loaded.image.values[0])
    assert [item.to_dict() for item in results.items] == before


@pytest.mark.parametrize("gathering", GATHERINGS)
def test_odc_stac_loads_the_items_of_several_jobs_together(odc_stac: Any, results: Results, gathering: str) -> None:
    picture = Picture.of(results.paths[results.key(results.items[1])])
    loaded = odc_stac.load(
        GATHERINGS[gathering](results.with_local_images()),
        crs=WGS84,
        resolution=picture.resolution,
        bbox=picture.bounds,
        groupby="id",
        preserve_original_order=True,
    )
    has_pixels = [bool((plane >= 0).any()) for plane in loaded.image.values]  # elsewhere is NaN
    assert has_pixels == [position == 1 for position in range(len(results.items))]
    assert picture.equals(loaded.image.values[1])


@pytest.mark.parametrize("how", COPIES)
def test_odc_stac_reads_the_grid_from_the_item(odc_stac: Any, results: Results, how: str) -> None:
    for item in results.items:
        picture = Picture.of(results.paths[results.key(item)])
        assert picture.equals(odc_stac.load([results.with_local_image(item, COPIES[how])]).image.values[0])


@pytest.mark.parametrize("gathering", GATHERINGS)
def test_stackstac_stacks_the_items_unchanged(stackstac: Any, results: Results, gathering: str) -> None:
    planned = stackstac.stack(GATHERINGS[gathering](results.items), epsg=WGS84, resolution=0.0001)
    assert sorted(planned.id.values) == sorted(item.id for item in results.items)
    assert sorted(planned.band.values) == sorted(results.paths)
    assert set(planned["up42-system:job_id"].values) == {up42.Up42Properties(item).job_id for item in results.items}


def stacked(stackstac: Any, items: Any, picture: Picture) -> Any:
    """Compute the stack on the grid of an image, without the rounding of bounds that would add a row at its edge."""
    grid = {"epsg": WGS84, "resolution": picture.resolution, "bounds": picture.bounds, "snap_bounds": False}
    return stackstac.stack(items, **grid).compute()


@pytest.mark.parametrize("gathering", GATHERINGS)
@pytest.mark.parametrize("how", COPIES)
def test_stackstac_computes_the_pixels_of_the_file_from_a_copy_of_its_item(
    stackstac: Any, results: Results, how: str, gathering: str
) -> None:
    for item in results.items:
        picture = Picture.of(results.paths[results.key(item)])
        items = GATHERINGS[gathering]([results.with_local_image(item, COPIES[how])])
        assert picture.equals(stacked(stackstac, items, picture).values[0, 0])


def test_stackstac_reads_resolution_and_bounds_from_the_item(stackstac: Any, results: Results) -> None:
    for item in results.with_local_images():
        picture = Picture.of(results.paths[str(item.assets["image"].title)])
        told = {"epsg": WGS84, "snap_bounds": False}  # newer releases of pystac rename the field of the EPSG code
        assert picture.equals(stackstac.stack([item], **told).compute().values[0, 0])


@pytest.mark.parametrize("gathering", GATHERINGS)
def test_stackstac_selects_the_image_within_the_bounds_from_several_jobs(
    stackstac: Any, results: Results, gathering: str
) -> None:
    items = GATHERINGS[gathering](results.with_local_images())
    for item in results.items:
        picture = Picture.of(results.paths[results.key(item)])
        stack = stacked(stackstac, items, picture)
        assert stack.id.values.tolist() == [item.id]
        assert picture.equals(stack.values[0, 0])


def test_an_item_collection_is_unchanged_after_saving_and_loading(results: Results, tmp_path: Path) -> None:
    gathered = pystac.ItemCollection(results.items)
    gathered.save_object(str(tmp_path / "items.json"))
    loaded = pystac.ItemCollection.from_file(str(tmp_path / "items.json"))
    assert loaded.to_dict() == gathered.to_dict() == gathered.clone().to_dict()
    assert [item.id for item in loaded] == [item.id for item in results.items]


def own_catalog(results: Results) -> pystac.Catalog:
    """Return a new catalog of the collections, with the items and their downloaded images in them."""
    catalog = pystac.Catalog("mine", "What I keep.")
    catalog.add_children(results.collections)
    for item in results.with_local_images():
        (collection,) = (one for one in results.collections if one.id == item.collection_id)
        collection.add_item(item)
        assert item.get_collection() is item.get_parent() is collection
    return catalog


def test_a_catalog_of_results_is_saved_and_read_offline(results: Results, tmp_path: Path) -> None:
    catalog = own_catalog(results)
    catalog.normalize_hrefs(str(tmp_path / "catalog"))
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    read = pystac.Catalog.from_file(str(tmp_path / "catalog" / "catalog.json"))
    assert [one.id for one in read.get_children()] == [one.id for one in results.collections]
    items = list(read.get_items(recursive=True))
    assert {item.id: item.assets["image"].href for item in items} == {
        item.id: item.assets["image"].href for item in results.with_local_images()
    }
    for item in items:
        collection = item.get_collection()
        assert collection is not None
        assert collection.id == item.collection_id
        assert item.get_root() is read


def test_a_collection_is_saved_offline_and_its_full_copy_read_offline(results: Results, tmp_path: Path) -> None:
    for collection in results.collections:
        mine = [item for item in results.with_local_images() if item.collection_id == collection.id]
        collection.add_items(mine)
        copied = collection.full_copy()  # the copy is its own root; the root of the collection is at UP42
        for number, one in enumerate((collection, copied)):
            one.normalize_and_save(str(tmp_path / collection.id / str(number)), pystac.CatalogType.SELF_CONTAINED)
        saved = [pystac.Item.from_file(str(path)) for path in (tmp_path / collection.id / "0").glob("*/*.json")]
        read = pystac.Collection.from_file(str(tmp_path / collection.id / "1" / "collection.json"))
        assert {item.id for item in saved} == {item.id for item in read.get_items()} == {item.id for item in mine}


def test_odc_stac_and_stackstac_load_items_read_from_a_saved_catalog(
    odc_stac: Any, stackstac: Any, results: Results, tmp_path: Path
) -> None:
    own_catalog(results).normalize_and_save(str(tmp_path / "catalog"), pystac.CatalogType.SELF_CONTAINED)
    read = pystac.Catalog.from_file(str(tmp_path / "catalog" / "catalog.json"))
    for item in read.get_items(recursive=True):
        picture = Picture.of(results.paths[str(item.assets["image"].title)])
        loaded = odc_stac.load([item], crs=WGS84, resolution=picture.resolution)
        assert picture.equals(loaded.image.values[0])
        assert picture.equals(stacked(stackstac, [item], picture).values[0, 0])


def test_collections_and_items_are_valid_stac(results: Results) -> None:
    pytest.importorskip("jsonschema")
    for collection in results.collections:
        collection.validate()
    for item in results.items:
        plain = item.clone()
        plain.stac_extensions = []  # their schemas are on the network; pystac contains those of STAC itself
        plain.validate()


async def test_the_documented_odc_stac_snippet_loads_pixels(
    odc_stac: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del odc_stac
    monkeypatch.chdir(tmp_path)
    (shown,) = (one for one in snippets(ROOT / "docs" / "results.md") if "import odc" in one)
    with Sandbox(speed=36_000, failure_rate=0.0) as sandbox:
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints):
            job = await finished_job()
            names: dict[str, Any] = {"job": job, "up42": up42}
            await eval(compiled(shown), names)  # noqa: S307 - our own documentation
            loaded = names["pixels"]
    assert list(loaded.data_vars) == ["image"]
    assert (loaded.image.values > 0).any()
