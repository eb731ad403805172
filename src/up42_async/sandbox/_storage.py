"""The storage: collections, items and files, and whether they are visible."""

from collections.abc import Iterator

from up42_async.sandbox._items import Collection, File, Item
from up42_async.sandbox._jobs import Job
from up42_async.sandbox._lifecycle import SUCCEEDED
from up42_async.sandbox._results import results_of
from up42_async.sandbox._scaled_clock import SECOND
from up42_async.sandbox._world import World


class Storage:
    """All collections, items and files; results become visible `results_delay` after their job has succeeded.

    The results of a job depend on the job only, and are generated when they are first asked for. Callers hold the lock
    of the world.

    Args:
        world: The state of the sandbox.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._collections: dict[str, Collection] = {}
        self._files: dict[str, tuple[Item, File]] = {}
        self._deleted: set[str] = set()

    def reset(self) -> None:
        """Remove everything."""
        self._collections.clear()
        self._files.clear()
        self._deleted.clear()

    def keep(self, collection: Collection) -> None:
        """Put a collection into storage; it replaces one with the same id."""
        self._collections[collection.id] = collection
        self._deleted.discard(collection.id)
        for item in collection.items:
            for file in item.files:
                self._files[file.id] = (item, file)
        if collection.delivery is not None:
            self._files[collection.delivery.id] = (collection.items[0], collection.delivery)

    def remove(self, collection_id: str) -> None:
        """Take a collection out of storage; its files are visible again only in another collection."""
        self._collections.pop(collection_id, None)

    def delete(self, collection_id: str) -> bool:
        """Delete a collection for good, with its items and files; return whether it was there."""
        if self.collection(collection_id) is None:
            return False
        self._deleted.add(collection_id)
        return True

    def workspace_of(self, item: Item) -> str | None:
        """Return the workspace that an item belongs to."""
        return self.world.account.workspace_id if item.job is None else item.job.workspace_id

    def collections(self) -> list[Collection]:
        """Return every visible collection, those of orders first, both in order of creation."""
        ordered = [collection for collection in self._collections.values() if collection.job is None]
        results = [self._results(job) for job in list(self.world.jobs)]
        every = [*ordered, *(collection for collection in results if collection is not None)]
        return [collection for collection in every if collection.id not in self._deleted]

    def collection(self, collection_id: str) -> Collection | None:
        """Return a collection, if it is visible."""
        if collection_id in self._deleted:
            return None
        job = self.world.jobs.of_collection(collection_id)
        if job is not None:
            return self._results(job)
        found = self._collections.get(collection_id)
        return found if found is not None and found.job is None else None

    def _results(self, job: Job) -> Collection | None:
        if not self._shows(job):
            return None
        if job.collection_id not in self._collections:
            self.keep(results_of(job))
        return self._collections[job.collection_id]

    def _shows(self, job: Job) -> bool:
        """Return whether a job succeeded at least `results_delay` ago."""
        now = self.world.now()
        index = job.timeline.index_at(now)
        finished = job.timeline.finished_by(index)
        delay = round(self.world.settings.results_delay * SECOND)
        return job.timeline.statuses[index] in SUCCEEDED and finished is not None and finished + delay <= now

    def item(self, collection_id: str, item_id: str) -> Item | None:
        """Return an item, if it is visible."""
        collection = self.collection(collection_id)
        items = () if collection is None else collection.items
        return next((item for item in items if item.id == item_id), None)

    def items(self) -> Iterator[Item]:
        """Yield every visible item."""
        for collection in self.collections():
            yield from collection.items

    def file(self, file_id: str) -> tuple[Item, File] | None:
        """Return a file and its item, if they are visible."""
        if file_id not in self._files:
            for _ in self.items():  # generates the results that have become visible
                pass
        found = self._files.get(file_id)
        return None if found is None or self.item(found[0].collection_id, found[0].id) is not found[0] else found
