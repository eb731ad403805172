"""Measure everything, or what is named: `python -m benchmarks [quick] [listing calling tracking ...] [render]`."""

import importlib
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.findings import Findings
from benchmarks.rounds import ROOT, WorkFailed
from benchmarks.scale import FULL, QUICK

ORDER: Final = ("listing", "calling", "tracking", "modelling", "polling", "executing", "downloading", "importing")
PAGE: Final = ROOT / "docs" / "benchmarks.md"
BUILD: Final = ROOT / "build"
"""Where figures are kept as JSON, and pages that do not show all of them."""


def main(words: list[str]) -> None:
    """Measure, keep the findings of each benchmark as soon as they are there, and write the page.

    Args:
        words: Names of benchmarks, none for all of them; `quick` for small sizes, kept apart; `render` to measure
            nothing.
    """
    unknown = set(words) - {*ORDER, "quick", "render"}
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(ORDER)}")
    scale = QUICK if "quick" in words else FULL
    folder = BUILD / f"benchmarks-{scale.name}"
    names = [] if "render" in words else [name for name in ORDER if name in words] or list(ORDER)
    failed = [name for name in names if not _measure(name, folder)]
    is_whole = scale is FULL and all((folder / f"{name}.json").exists() for name in ORDER)
    page = PAGE if is_whole else folder.with_suffix(".md")
    report.render(folder, page, ORDER)
    print(f"\n{page}")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _measure(name: str, folder: Path) -> bool:
    """Run one benchmark; an error is printed, and the others still run."""
    scale = QUICK if folder.name.endswith("quick") else FULL
    started = time.monotonic()
    print(f"{name} ...", flush=True)
    try:
        findings: Findings = importlib.import_module(f"benchmarks.{name}").measure(scale)
    except WorkFailed as error:
        print(f"  {error}", flush=True)
        return False
    report.keep(folder, name, findings, scale.name)
    for target in findings["targets"]:
        print(
            f"  {'met   ' if target['met'] else 'MISSED'} {target['what']}: {target['seen']} ({target['bound']})",
            flush=True,
        )
    print(f"  {time.monotonic() - started:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
