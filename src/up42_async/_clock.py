"""Know the time: the only module that reads a clock or sleeps, so that tests can put days into milliseconds."""

import time

import anyio


def now() -> float:
    """Return the monotonic time of the running event loop, in seconds since an arbitrary moment."""
    return anyio.current_time()


def wall() -> float:
    """Return the time of day, in seconds since 1970: it may jump, and unlike `now` goes on while a machine sleeps."""
    return time.time()


async def sleep(seconds: float) -> None:
    """Wait.

    Args:
        seconds: How long, in seconds; 0 or less only lets the other tasks run.
    """
    await anyio.sleep(max(0.0, seconds))


async def wait_for(event: anyio.Event, seconds: float) -> bool:
    """Wait until an event happens or the time is up, whichever comes first.

    Args:
        event: What to wait for.
        seconds: How long to wait at the most.

    Returns:
        Whether the event has happened.
    """
    with anyio.move_on_after(max(0.0, seconds)):
        await event.wait()
    return event.is_set()
