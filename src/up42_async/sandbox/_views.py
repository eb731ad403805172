"""The values that a sandbox returns; they do not change later."""

from collections.abc import Iterator, Mapping
from typing import Any, Self, TypedDict

import attrs

from up42_async.sandbox._budgets import Budget
from up42_async.sandbox._contents import SHA2_256, Content
from up42_async.sandbox._items import File, Item
from up42_async.sandbox._jobs import Job
from up42_async.sandbox._lifecycle import Steps
from up42_async.sandbox._world import ExecutionRecord


@attrs.frozen(kw_only=True)
class SandboxEndpoints:
    """The addresses of a sandbox.

    Args:
        api: The origin of the API, without a final slash.
        auth: The realm: `{auth}/token` and `{auth}/userinfo`.
    """

    api: str
    auth: str


@attrs.frozen(kw_only=True)
class SandboxControl:
    """The address of the controls over HTTP.

    Args:
        url: The origin, without a final slash; on 127.0.0.1.
        secret: Requests need the header `Authorization: Bearer <secret>`; a new one for each sandbox.
    """

    url: str
    secret: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class SandboxPolling:
    """How a client polls a sandbox: the client's own defaults, divided by the speed of the sandbox.

    Args:
        wait: Real seconds between two queries for a job.
        retries: Queries until tracking ends unfinished.
        settle: Real seconds after which SUCCESSFUL or FAILED counts as the end.
        recover: Real seconds for which the client looks for the job of an execution whose answer was lost.
        visible: Real seconds that results may take to become visible.
    """

    wait: float = 60.0
    retries: int = 60 * 24 * 3
    settle: float = 5.0
    recover: float = 60.0
    visible: float = 15.0

    @classmethod
    def at(cls, speed: float) -> Self:
        """Return the defaults divided by the speed of a sandbox, all but `retries`."""
        real = cls()
        return cls(
            wait=real.wait / speed,
            settle=real.settle / speed,
            recover=real.recover / speed,
            visible=real.visible / speed,
        )


class ClientSettings(TypedDict):
    """The arguments of a client for a sandbox: `up42.Client(**sandbox.settings)`."""

    username: str
    password: str
    endpoints: SandboxEndpoints
    polling: SandboxPolling


@attrs.frozen(kw_only=True)
class SandboxJob:
    """One job as it was when it was asked for.

    Args:
        id: The job's id.
        process_id: The process it runs.
        workspace_id: The workspace it belongs to.
        status: Its status.
        inputs: Its inputs.
        price: Its price in credits if it succeeds.
        credits: Its creditConsumption.
        collection_id: The collection of its results once it has succeeded.
        timeline: Its statuses, each with the offset in sandbox seconds from its creation.
    """

    id: str
    process_id: str
    workspace_id: str | None
    status: str
    inputs: Mapping[str, Any]
    price: int
    credits: int | None
    collection_id: str
    timeline: Steps


@attrs.frozen(kw_only=True)
class Execution:
    """One execution that the sandbox has accepted, with the state of its job.

    Args:
        job_id: The job that it created.
        process_id: The process.
        workspace_id: The workspace.
        budget_id: The budget, if it has one.
        inputs: The inputs.
        price: Its price in credits if it succeeds; 0 if it can never be accepted.
        credits: The creditConsumption of the job.
    """

    job_id: str
    process_id: str
    workspace_id: str | None
    budget_id: str | None
    inputs: Mapping[str, Any]
    price: int
    credits: int | None


@attrs.frozen(kw_only=True)
class SandboxBudget:
    """One budget as it was when it was asked for.

    Args:
        id: Its id.
        name: Its name.
        status: `"ACTIVE"` or `"INACTIVE"`.
        spend_limit: Credits that may be spent; None for no limit.
        consumed: Credits spent or withheld.
    """

    id: str
    name: str
    status: str
    spend_limit: int | None
    consumed: int


@attrs.frozen(kw_only=True)
class StoredFile:
    """One file in storage.

    Args:
        id: The id of its asset.
        item_id: Its item.
        collection_id: The collection of the item.
        key: Its key among the assets of the item.
        name: Its file name.
        media_type: Its media type.
        size: Bytes.
        content: Its bytes.
    """

    id: str
    item_id: str
    collection_id: str
    key: str
    name: str
    media_type: str
    size: int
    content: Content = attrs.field(repr=False)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of its bytes, in hexadecimal; takes about a second for each gigabyte."""
        return self.content.checksum.removeprefix(SHA2_256)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield its bytes."""
        return self.content.pieces(0, self.size)


def shown_job(job: Job, now: int) -> SandboxJob:
    """Return a job as it is now."""
    return SandboxJob(
        id=job.id,
        process_id=job.process_id,
        workspace_id=job.workspace_id,
        status=job.status_at(now),
        inputs=job.inputs,
        price=job.price,
        credits=job.credits_at(now),
        collection_id=job.collection_id,
        timeline=job.timeline.steps(),
    )


def shown_budget(budget: Budget, consumed: int) -> SandboxBudget:
    """Return a budget as it is now."""
    return SandboxBudget(
        id=budget.id, name=budget.name, status=budget.status, spend_limit=budget.spend_limit, consumed=consumed
    )


def shown_execution(record: ExecutionRecord, now: int) -> Execution:
    """Return an execution as it is now."""
    return Execution(
        job_id=record.job.id,
        process_id=record.job.process_id,
        workspace_id=record.job.workspace_id,
        budget_id=record.budget_id,
        inputs=record.job.inputs,
        price=record.job.price,
        credits=record.job.credits_at(now),
    )


def shown_file(item: Item, file: File) -> StoredFile:
    """Return a file as it is now."""
    return StoredFile(
        id=file.id,
        item_id=item.id,
        collection_id=item.collection_id,
        key=file.key,
        name=file.name,
        media_type=file.media_type,
        size=file.content.size,
        content=file.content,
    )
