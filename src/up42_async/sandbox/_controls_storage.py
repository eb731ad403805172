"""Methods that change the storage of a sandbox and read it."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from random import Random

from up42_async.sandbox import _results, _stac
from up42_async.sandbox._account import draw_id
from up42_async.sandbox._archives import Trick, archive
from up42_async.sandbox._contents import Content, Drawn, MadeUp
from up42_async.sandbox._controls import Controls
from up42_async.sandbox._items import Bounds, Collection, File, Item
from up42_async.sandbox._seeding import REFERENCE_ASSET, seed_reference_job
from up42_async.sandbox._storage import Storage
from up42_async.sandbox._traffic import Traffic
from up42_async.sandbox._views import StoredFile, shown_file

_LARGEST_CHECKED = 1 << 24


class StorageControls(Controls):
    """Changes and reads the storage of a sandbox, from any thread.

    Args:
        storage: The storage.
        traffic: The requests and connections.
    """

    def __init__(self, storage: Storage, traffic: Traffic) -> None:
        super().__init__(storage.world, traffic)
        self._storage = storage
        self._seed_storage()

    def _seed_storage(self) -> None:
        self._draws = Random(f"storage {self._world.settings.seed}")  # noqa: S311 - repeatable on purpose, no secret
        self._numbers = count()
        self.add_asset(REFERENCE_ASSET, title="London")
        seed_reference_job(self._world, self.items_of(REFERENCE_ASSET)[0])

    # Assets and results

    def add_asset(
        self,
        asset_id: str | None = None,
        *,
        title: str = "Made up",
        name: str | None = None,
        size: int | None = None,
        content: bytes | None = None,
        media_type: str = _results.TIFF,
        checksum: bool | None = None,
        disposition: str | None = None,
    ) -> str:
        """Put an asset into storage: one file, with one item in a collection of its own.

        Args:
            asset_id: Its id; None draws one. An asset with this id is replaced by another version of the file.
            title: Its title.
            name: Its file name; None for one that ends in `.tif`.
            size: Bytes of generated content, which takes no memory; None for a small real GeoTIFF.
            content: Its bytes, in place of generated ones.
            media_type: Its media type.
            checksum: Whether the item has `file:checksum`; None for all but generated content above 16 MiB, since the
                checksum takes about a second for each gigabyte.
            disposition: The Content-Disposition of its signed URLs, valid or not; None for one with the name.

        Returns:
            The asset's id.

        Raises:
            ValueError: Both a size and a content are given, or the size is negative, or the asset is a result of a job.
        """
        if (size is not None and content is not None) or (size is not None and size < 0):
            raise ValueError(f"An asset has a size of at least 0 or a content; got size {size!r}, content {content!r}.")
        with self._world.lock:
            number = next(self._numbers)
            bounds = _results.bounds_of(number)
            drawn = _results.Picture(bounds, number) if content is None else Drawn(lambda: content)
            bytes_of: Content = drawn if size is None else MadeUp(size, number)
            file = _results.file(self._draws, name or f"asset-{number}.tif", media_type, ["data"], bytes_of)
            file.id = file.id if asset_id is None else asset_id
            file.disposition = file.disposition if disposition is None else disposition
            file.shows_checksum = bytes_of.size <= _LARGEST_CHECKED if checksum is None else checksum
            self._keep_alone(file, title, bounds)
        if file.shows_checksum:
            _ = bytes_of.checksum  # computed here, so that the server never has to
        return file.id

    def _keep_alone(self, file: File, title: str, bounds: Bounds) -> None:
        replaced = self._storage.file(file.id)
        if replaced is not None:
            if replaced[0].job is not None:
                raise ValueError(f"The asset {file.id!r} is a result; `replace_results` changes those.")
            self._storage.remove(replaced[0].collection_id)
        item = Item(
            id=draw_id(self._draws),
            collection_id=draw_id(self._draws),
            files=[file],
            bounds=bounds,
            moment=self._world.now(),
            title=title,
            order_id=draw_id(self._draws),
        )
        packed = Drawn(partial(_results.delivery, bounds))
        delivery = _results.file(
            self._draws, "delivery.zip", _results.archive_type(".zip"), ["data", "original"], packed
        )
        collection = Collection(id=item.collection_id, title=title, items=[item], delivery=delivery)
        self._storage.keep(collection)

    def add_assets(self, number: int, *, size: int | None = None) -> list[str]:
        """Put a number of assets into storage, as `add_asset` does, and return their ids."""
        return [self.add_asset(size=size) for _ in range(number)]

    def add_archive(
        self,
        name: str = "delivery.zip",
        *,
        members: Mapping[str, bytes] | None = None,
        trick: Trick | None = None,
        title: str = "Delivery",
    ) -> str:
        """Put an archive into storage, as the platform delivers ordered data.

        Args:
            name: Its file name: `.zip`, or `.tgz` for a gzipped tar.
            members: Its files, by path; None for a picture and a text.
            trick: What is wrong with it: members that have paths out of the directory (`"parent"`, `"absolute"`,
                `"drive"`, `"backslash"`), have the same name (`"duplicate"`, or `"case"` where only case differs), are
                too `"deep"` or too `"many"`, are not files (`"symlink"`, `"hardlink"`, `"device"`), claim a size of
                one tebibyte (`"huge"`), inflate to 64 MiB (`"bomb"`), have names that not every system takes
                (`"hidden"`, `"colon"`, `"long"`, `"control"`, `"trailing-dot"`, `"device-name"`), are below another
                file (`"clash"`), have 8 MiB of `"headers"`, are `"encrypted"` (zip only), have a `"damaged"` header or
                a wrong `"checksum"`; or the archive is `"cut"` in half.
            title: Its title.

        Returns:
            The asset's id.

        Raises:
            ValueError: There is no such trick, or not for this kind of archive.
        """
        members = _results.delivered(_results.bounds_of(0)) if members is None else members
        content = archive(name, members, trick)
        return self.add_asset(title=title, name=name, content=content, media_type=_results.archive_type(name))

    def replace_results(self, job_id: str, asset_ids: Sequence[str]) -> None:
        """Replace the results of a job by assets, each in an item of its own.

        The assets move: from now on they are results, and visible when results are.

        Args:
            job_id: The job, in whatever status.
            asset_ids: Assets in storage; at least one.

        Raises:
            KeyError: There is no such job, or no such asset.
            ValueError: There are no assets.
        """
        if not asset_ids:
            raise ValueError("Results are at least one asset.")
        with self._world.lock:
            job = self._world.job(job_id)
            stored = [self._stored(asset_id) for asset_id in asset_ids]
            items = [
                Item(
                    id=draw_id(self._draws),
                    collection_id=job.collection_id,
                    files=[file],
                    bounds=item.bounds,
                    moment=self._world.now(),
                    title=item.title,
                    job=job,
                )
                for item, file in stored
            ]
            for item, _ in stored:
                self._storage.remove(item.collection_id)
            self._storage.keep(Collection(id=job.collection_id, title=items[0].title or "", items=items, job=job))

    def asset_ids(self) -> list[str]:
        """Return the ids of all visible assets, those of results included."""
        with self._world.lock:
            return [item.asset_id for item in self._storage.items()]

    def items_of(self, asset_id: str) -> list[str]:
        """Return the self links of an asset's items.

        Raises:
            KeyError: There is no such asset, or it is not visible yet.
        """
        with self._world.lock:
            item, _ = self._stored(asset_id)
            return [_stac.item_href(self._world, item)]

    def stored_file(self, asset_id: str) -> StoredFile:
        """Return one file, with its real size and checksum.

        Raises:
            KeyError: There is no such file, or it is not visible yet.
        """
        with self._world.lock:
            return shown_file(*self._stored(asset_id))

    def results_of(self, job_id: str) -> Sequence[StoredFile]:
        """Return the files of a job's results; none before they are visible.

        Raises:
            KeyError: There is no such job.
        """
        with self._world.lock:
            collection = self._storage.collection(self._world.job(job_id).collection_id)
            items = () if collection is None else collection.items
            return tuple(shown_file(item, file) for item in items for file in item.files)

    def _stored(self, asset_id: str) -> tuple[Item, File]:
        found = self._storage.file(asset_id)
        if found is None:
            raise KeyError(f"The sandbox has no asset {asset_id!r}; `sandbox.asset_ids()` returns those it has.")
        return found

    # Signed URLs

    def expire_signed_urls(self) -> None:
        """Make every signed URL expire now."""
        with self._world.lock:
            self._world.signed_urls.revoke_all()

    @property
    def tokens_leaked(self) -> int:
        """Return how many requests for files had an Authorization or Cookie header; a correct client sends none."""
        return sum(record.has_authorization or record.has_cookie for record in self.requests if record.origin != "api")
