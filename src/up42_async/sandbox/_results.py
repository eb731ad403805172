"""Results of jobs: one to three items, each a picture, a picture with detected objects, or an archive."""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from up42_async.sandbox._account import draw_id
from up42_async.sandbox._answers import JSON, json_bytes
from up42_async.sandbox._archives import archive, is_zip
from up42_async.sandbox._contents import Content, Drawn
from up42_async.sandbox._geotiff import TILE, geotiff
from up42_async.sandbox._items import Bounds, Collection, File, Item
from up42_async.sandbox._jobs import Job
from up42_async.sandbox._processes import MOSAIC

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOJSON = "application/geo+json"
ARCHIVES = {".zip": "application/zip", ".tgz": "application/gzip"}
DEGREES = 0.01
"""The length of each side of an item, in degrees."""
MOST_ITEMS = 3
PLACES = 1_000_000

_ARCHIVED = {"coregistration-simularity": ".zip", MOSAIC: ".tgz"}


class Picture(Drawn):
    """A GeoTIFF of one band, north up and in degrees.

    Args:
        bounds: Its bounding box.
        seed: The seed of its pixels.
    """

    def __init__(self, bounds: Bounds, seed: int) -> None:
        super().__init__(partial(picture, bounds, seed))
        self._bounds, self._side = bounds, TILE * _tiles(seed)

    def grid(self) -> dict[str, list[float]]:
        """Return its pixels as the STAC projection extension has them."""
        west, _, _, north = self._bounds
        pixel = DEGREES / self._side
        return {"proj:shape": [self._side] * 2, "proj:transform": [pixel, 0.0, west, 0.0, -pixel, north]}


def results_of(job: Job) -> Collection:
    """Return the results of a job; they depend on the job only."""
    random = Random(f"results {job.id}")  # noqa: S311 - repeatable on purpose, no secret
    title = str(job.inputs.get("title", job.process_id))
    place = random.randrange(0, PLACES, MOST_ITEMS + 1)  # those of one job lie side by side, as what they show does
    items = [_item(job, title, bounds_of(place + number), random) for number in range(random.randint(1, MOST_ITEMS))]
    return Collection(id=job.collection_id, title=title, items=items, job=job)


def _item(job: Job, title: str, bounds: Bounds, random: Random) -> Item:
    item_id = draw_id(random)
    return Item(
        id=item_id,
        collection_id=job.collection_id,
        files=_files(job.process_id, f"{job.process_id}-{item_id[:8]}", bounds, random),
        bounds=bounds,
        moment=job.timeline.instants[-1],
        title=title,
        job=job,
    )


def _files(process_id: str, stem: str, bounds: Bounds, random: Random) -> list[File]:
    seed = random.getrandbits(32)
    role = process_id.partition("-")[0]
    if process_id in _ARCHIVED:
        ending = _ARCHIVED[process_id]
        packed = partial(_packed, stem, ending, partial(picture, bounds, seed))
        return [file(random, stem + ending, ARCHIVES[ending], ["data", role], Drawn(packed))]
    files = [file(random, f"{stem}.tif", TIFF, ["data", role], Picture(bounds, seed))]
    if role == "detection":
        objects = Drawn(partial(_objects, bounds, seed))
        files.append(file(random, f"{stem}.geojson", GEOJSON, ["data", "vector"], objects))
    return files


def file(random: Random, name: str, media_type: str, roles: list[str], content: Content) -> File:
    """Return a file as the platform has them: some links end in `/download-url`, some have no checksum."""
    quotes = '"' if random.random() < 0.5 else ""  # noqa: PLR2004 - one half and the other
    return File(
        id=draw_id(random),
        key=name,
        name=name,
        media_type=media_type,
        roles=roles,
        content=content,
        shows_checksum=random.random() < 0.75,  # noqa: PLR2004 - most
        is_linked_directly=random.random() < 0.5,  # noqa: PLR2004 - one half and the other
        disposition=f"attachment; filename={quotes}{name}{quotes}",
        etag=f'"{random.getrandbits(128):032x}"',
    )


def bounds_of(number: int) -> Bounds:
    """Return one of a million places, none of which overlaps another."""
    west = round(-10 + number % 1000 * 2 * DEGREES, 6)
    south = round(40 + number // 1000 * 2 * DEGREES, 6)
    return west, south, round(west + DEGREES, 6), round(south + DEGREES, 6)


def picture(bounds: Bounds, seed: int) -> bytes:
    """Draw a GeoTIFF of one band."""
    west, _, _, north = bounds
    return geotiff(_tiles(seed), west=west, north=north, degrees=DEGREES, seed=seed)


def _tiles(seed: int) -> int:
    return 1 + seed % 2


def _objects(bounds: Bounds, seed: int) -> bytes:
    """Draw a feature collection with a few points."""
    west, south, east, north = bounds
    random = Random(seed)  # noqa: S311 - repeatable on purpose, no secret
    features = [
        {
            "type": "Feature",
            "properties": {"confidence": round(random.uniform(0.5, 1), 3)},
            "geometry": {"type": "Point", "coordinates": [random.uniform(west, east), random.uniform(south, north)]},
        }
        for _ in range(5 + seed % 20)
    ]
    return json_bytes({"type": "FeatureCollection", "features": features})


def _packed(stem: str, ending: str, image: Callable[[], bytes]) -> bytes:
    about = json_bytes({"name": stem, "mediaType": JSON})
    return archive(stem + ending, {f"{stem}/image.tif": image(), f"{stem}/about.json": about})


def delivered(bounds: Bounds) -> Mapping[str, bytes]:
    """Return the files of a delivered order by path: a picture and a text."""
    return {"delivery/image.tif": picture(bounds, 0), "delivery/readme.txt": b"A picture.\n"}


def delivery(bounds: Bounds) -> bytes:
    """Return the archive in which an order is delivered."""
    return archive("delivery.zip", delivered(bounds))


def archive_type(name: str) -> str:
    """Return the media type of an archive, by its name."""
    return ARCHIVES[".zip" if is_zip(name) else ".tgz"]
