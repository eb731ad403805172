"""Measure what a process spends on one part of its work."""

import gc
import os
import resource
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")
_KILOBYTE = 1024


def cpu_seconds() -> float:
    """Return the CPU time of this process so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory_now() -> int:
    """Return the memory of this process that is in use, in bytes."""
    return _from_status("VmRSS") if _STATUS.exists() else _largest()


def memory_peak() -> int:
    """Return the most memory this process used since the peak was reset, or since it started."""
    return _from_status("VmHWM") if _STATUS.exists() else _largest()


def forget_peak() -> None:
    """Reset the peak, where the system supports it (Linux)."""
    if os.access(_RESET_PEAK, os.W_OK):
        _RESET_PEAK.write_text("5", encoding="ascii")


def _from_status(name: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) * _KILOBYTE


def _largest() -> int:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * _KILOBYTE


class Meter:
    """CPU time, wall time and memory between entering and leaving; imports, login and warming up come before."""

    def __init__(self) -> None:
        """Set all figures to zero."""
        self.cpu = self.wall = 0.0
        self.memory = self.peak = 0

    def __enter__(self) -> Self:
        """Start measuring."""
        gc.collect()
        forget_peak()
        self.memory = memory_now()
        self.cpu, self.wall = cpu_seconds(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop measuring."""
        self.wall = time.perf_counter() - self.wall
        self.cpu = cpu_seconds() - self.cpu
        self.peak = memory_peak()

    def result(self, **facts: Any) -> dict[str, Any]:
        """Return what was measured: seconds, and bytes; `grown` is by how much memory rose at the most."""
        return {"cpu": self.cpu, "wall": self.wall, "peak": self.peak, "grown": self.peak - self.memory, **facts}
