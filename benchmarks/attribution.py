"""Attribute CPU time to packages: a sampling profiler."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Final, Self

INTERVAL: Final = 0.001
"""Seconds of CPU time between two samples; most systems round it up to 4 ms."""

OURS: Final = "up42_async"
FOR_US: Final = "anyio and asyncio, called by up42_async"
HTTPX: Final = "httpx and what is below it"
JSON: Final = "JSON decoding"
LOOP: Final = "event loop"
ELSE: Final = "the benchmark itself"

# asyncio, anyio and the rest of the standard library are attributed to their callers.
_PAYERS: Final = {"up42_async": OURS, "httpx": HTTPX, "httpcore": HTTPX, "h11": HTTPX, "json": JSON}


def payer(filename: str) -> str | None:
    """Return the package to which the time in a file is attributed, None for the caller's."""
    if filename.startswith("<attrs generated"):
        return OURS if OURS in filename else None
    folders = PurePath(filename).parts[:-1]
    return next((name for folder, name in _PAYERS.items() if folder in folders), None)


def is_loop(filename: str) -> bool:
    """Return whether a file belongs to the event loop, or to the part of anyio that hides which one it is."""
    return not {"anyio", "asyncio", "sniffio"}.isdisjoint(PurePath(filename).parts)


class Attribution:
    """Counts samples of CPU time by the innermost frame of a package; samples without one are the event loop's."""

    def __init__(self) -> None:
        """Set all counts to zero."""
        self._samples: Counter[str] = Counter()
        self._places: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Start sampling."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop sampling."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        del number
        names = [one.f_code.co_filename for one in _outwards(frame)]
        found = next((name for name in map(payer, names) if name is not None), None)
        if found == OURS:
            place = next(one for one in _outwards(frame) if payer(one.f_code.co_filename) == OURS)
            self._places[f"{PurePath(place.f_code.co_filename).stem}.{place.f_code.co_qualname}"] += 1
            if is_loop(names[0]):
                found = FOR_US
        self._samples[found or (LOOP if any(map(is_loop, names[:3])) else ELSE)] += 1

    def result(self, most: int = 25) -> dict[str, object]:
        """Return the share of each package, and of our own functions that cost most."""
        total = sum(self._samples.values()) or 1
        return {
            "samples": total,
            "shares": {name: count / total for name, count in self._samples.most_common()},
            "hottest": {name: count / total for name, count in self._places.most_common(most)},
        }


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
