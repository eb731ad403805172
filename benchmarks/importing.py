"""Measure importing the package, against httpx and up42-py."""

import os
import resource
import subprocess
import sys
import time
from typing import Any, Final

from benchmarks.findings import Findings, Result, at_most, ratios, table
from benchmarks.scale import Scale

_STATEMENTS: Final = {
    "httpx": "import httpx",
    # pystac imports urllib3 where it finds it; here up42-py brings it, which this package does without
    "up42-async": "import sys; sys.modules['urllib3'] = None; import up42_async",
    "up42-py": "import up42",
    "httpx, anyio and attrs": "import httpx, anyio, anyio.lowlevel, attrs",
}

_RETRIES: Final = (
    "Importing: backoff, whose waits pace retries, imports asyncio and with it ssl and subprocess. It is imported with"
    " the package, since an import in the middle of a failure can fail itself; without it, the import costs 2.25 times"
    " that of httpx."
)


def measure(scale: Scale) -> Findings:
    """Measure each import in a new interpreter, less the time that the interpreter takes to start."""
    samples: dict[str, list[Result]] = {label: [] for label in _STATEMENTS}
    for label in _STATEMENTS:
        _cost(_STATEMENTS[label])  # so that every module is compiled
    for _ in range(scale.rounds * 3):
        bare = _cost("pass")
        for label, statement in _STATEMENTS.items():
            whole = _cost(statement)
            samples[label].append({name: max(whole[name] - bare[name], 1e-6) for name in whole})
    ours = samples["up42-async"]
    return Findings(
        title="Importing",
        how=(
            "Each import in a fresh interpreter, whose own start is taken off. up42-py's question to PyPI for a"
            " newer version of itself, which importing it asks otherwise, is switched off. urllib3, which comes with"
            " up42-py and which pystac imports where it is installed, is hidden from up42-async, which needs none."
        ),
        tables=[table("Importing", samples, "httpx", compared=["cpu", "wall"])],
        targets=[
            at_most(
                "`import up42_async`, CPU times `import httpx`",
                2.2,
                ratios(ours, samples["httpx"], "cpu"),
                why=_RETRIES,
            ),
            at_most("`import up42_async`, CPU times `import up42`", 1.0, ratios(ours, samples["up42-py"], "cpu")),
        ],
        facts={},
    )


def _cost(statement: str) -> dict[str, Any]:
    environment = {**os.environ, "UP42_DISABLE_VERSION_CHECK": "true"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an import is measured, not a compiler
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], env=environment, check=True)  # noqa: S603 - our own words
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "wall": wall}
