"""Count what a program holds: descriptors, tasks, connections in use, and memory."""

import asyncio
import contextlib
import enum
import gc
from collections import Counter
from pathlib import Path
from typing import Any, Final

import sniffio

import up42_async as up42
from benchmarks.meter import memory_now

DESCRIPTORS: Final = Path("/dev/fd")
LIBRARIES: Final = ("up42_async", "httpx", "httpcore", "h11")


def descriptors() -> frozenset[tuple[str, int]]:
    """Return the open files and sockets of this process, by descriptor and inode; none without /dev/fd.

    Each of them, not their number: what was open before may be closed meanwhile, and would hide as many new ones.
    """
    gc.collect()
    found = set[tuple[str, int]]()
    for entry in DESCRIPTORS.iterdir() if DESCRIPTORS.is_dir() else ():
        with contextlib.suppress(OSError):  # closed since, such as the descriptor of this listing
            found.add((entry.name, entry.stat().st_ino))
    return frozenset(found)


def objects() -> Counter[str]:
    """Return the number of living objects of the library, httpx, httpcore and h11, by type."""
    gc.collect()
    types = (type(one) for one in gc.get_objects() if not isinstance(one, enum.Enum))
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in types)
    return Counter(name for name in names if name.startswith(LIBRARIES))


def tasks() -> int:
    """Return the number of tasks of the running event loop, asyncio's or trio's."""
    if sniffio.current_async_library() == "asyncio":
        return len(asyncio.all_tasks())
    import trio  # noqa: PLC0415 - only where it is the event loop

    return trio.lowlevel.current_statistics().tasks_living


def in_use(client: up42.Client) -> int:
    """Return the number of slots and connections that an idle client has not released."""
    held = client.statistics().in_flight + int(client._session.file_slots.borrowed_tokens)
    return held + client._session._stack._lent + lost_connections(client.http_client)


def lost_connections(http_client: Any) -> int:
    """Return the number of entries in the pool of a user's AsyncClient that belong to no request and cannot be used.

    Args:
        http_client: An AsyncClient that sends nothing at the moment.
    """
    pool = getattr(getattr(http_client, "_transport", None), "_pool", None)
    if pool is None:
        return 0
    return len(pool._requests) + sum(not (one.is_idle() or one.is_closed()) for one in pool.connections)


def memory() -> int:
    """Return the bytes of memory this process uses."""
    return memory_now()
