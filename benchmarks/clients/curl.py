"""curl, the yardstick for downloads."""

import resource
import subprocess
import time
from pathlib import Path
from typing import Any


def download(urls: list[str], directory: str, authority: str = "") -> dict[str, Any]:
    """Fetch files, all at once."""
    trust = ["--cacert", authority] if authority else []
    targets = [word for url in urls for word in (url, "--output", str(Path(directory) / url.rpartition("/")[2]))]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        *trust,
        *(["--parallel"] if len(urls) > 1 else []),
        *targets,
    ]
    subprocess.run(command, check=True)  # noqa: S603 - our own words
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "wall": wall, "peak": after.ru_maxrss * 1024, "grown": after.ru_maxrss * 1024}
