"""Measure downloads against curl and up42-py: bare, with TLS, many at once, and over a link of limited speed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.certificates import Certificates, trusted
from benchmarks.findings import Findings, Result, Table, Target, at_least, at_most, middle, ratios, table
from benchmarks.rounds import Server, work
from benchmarks.scale import Scale
from benchmarks.server import job_id

GIGABIT: Final = 125_000_000
_MANY: Final = 8
_VARIANTS: Final = ("curl", "up42-py", "up42-async")


def measure(scale: Scale) -> Findings:
    """Measure each kind of link."""
    tables: list[Table] = []
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(dir=_fast_place()) as place, trusted(Path(place)) as trust, Server() as api:
        api.control("jobs", number=1)
        links: dict[str, Mapping[str, Any]] = {
            "over loopback": {},
            "over loopback with TLS": {"certificate": trust.server},
            "over a link of 1 Gbit/s": {"rate": GIGABIT},
            "over a link of 1 Gbit/s with TLS": {"rate": GIGABIT, "certificate": trust.server},
        }
        for number in (1, _MANY):
            for link, options in links.items():
                if number == _MANY and "rate" in options and "certificate" in options:
                    continue
                # a slow link needs no large file to take long
                bench = _Bench(
                    api, Path(place), trust, number, scale.file // (2 if "rate" in options else 1), scale.few
                )
                samples = bench.compare(options)
                what = f"{_count(number)} of {bench.size / 1e6:,.0f} MB {link}"
                tables.append(table(what, samples, "curl", compared=["wall", "cpu"], shown=["peak"]))
                targets += _judged(what, samples, limited="rate" in options)
        lags: dict[str, list[Mapping[str, Any]]] = {}
        for what, number, options in (
            ("one file is downloaded", 1, {}),
            (f"{_MANY} files are downloaded over TLS", _MANY, {"certificate": trust.server}),
        ):
            bench = _Bench(api, Path(place), trust, number, scale.file, 1)
            lags[what] = [bench.lag(options) for _ in range(scale.few)]
    for what, measured in lags.items():
        longest = sorted(lag["longest"] * 1000 for lag in measured)
        targets.append(at_most(f"The event loop's longest pause while {what}, in ms", 20, longest))
        tables.append(_pauses(what, measured))
    return Findings(
        title="Downloading",
        how=(
            "up42-async brings the result of a job home (items, signed URL, `.part` file, `fsync`, rename);"
            " up42-py downloads from the signed URL; curl is given the URL. The files land on a RAM disk where"
            " there is one. The server's CPU is not shown: it runs in a process of its own, and curl, the fastest"
            " client, shows that it can be faster than the others. curl's CPU and memory are its own process's."
            " Before pauses of the event loop are measured, one item is read: the first one in a process makes pystac"
            " look for its extensions, which takes some 40 ms once."
        ),
        tables=tables,
        targets=targets,
        facts={"lags": lags},
    )


class _Bench:
    """The same files for every client."""

    def __init__(self, api: Server, place: Path, trust: Certificates, number: int, size: int, rounds: int) -> None:
        self.size = size // number
        self._api = api
        self._place = place
        self._trust = trust
        self._names = [f"file-{position}" for position in range(number)]
        self._rounds = rounds

    def compare(self, options: Mapping[str, Any]) -> dict[str, list[Result]]:
        """Download with each client in turn."""
        samples: dict[str, list[Result]] = {label: [] for label in _VARIANTS}
        with self._serving(options) as files:
            for _ in range(self._rounds):
                for label, results in samples.items():
                    results.append(self._download(label, files))
        return samples

    def lag(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Download with our client, while another task measures the pauses of the event loop."""
        with self._serving(options), self._directory() as directory:
            return work("ours", "download_lag", base=self._api.base, job_id=job_id(0), directory=directory)

    @contextlib.contextmanager
    def _serving(self, options: Mapping[str, Any]) -> Generator[Server]:
        with Server("file_server", **options) as files:
            self._api.control("files", origin=files.base, number=len(self._names), size=self.size)
            yield files

    @contextlib.contextmanager
    def _directory(self) -> Generator[str]:
        directory = tempfile.mkdtemp(dir=self._place)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def _download(self, label: str, files: Server) -> dict[str, Any]:
        base = self._api.base
        with self._directory() as directory:
            if label == "curl":
                urls = [f"{files.base}/files/{self.size}/{name}" for name in self._names]
                result = work("curl", "download", urls=urls, directory=directory, authority=self._trust.authority)
            elif label == "up42-py":
                result = work("up42_py", "download", base=base, names=self._names, directory=directory)
            else:
                result = work("ours", "download", base=base, job_id=job_id(0), directory=directory)
            sizes = {path.stat().st_size for path in Path(directory).iterdir() if not path.name.startswith(".")}
        if sizes != {self.size}:
            raise AssertionError(f"{label} left files of {sizes} bytes instead of {self.size}")
        return result


def _judged(what: str, samples: Mapping[str, list[Result]], *, limited: bool) -> list[Target]:
    if limited:
        return [
            at_most(f"{what}: wall time, times curl's", 1.05, ratios(samples["up42-async"], samples["curl"], "wall"))
        ]
    faster = ratios(samples["up42-py"], samples["up42-async"], "wall")
    flat = middle(samples["up42-async"], "grown") / 1e6
    return [
        at_least(f"{what}: times faster than up42-py", 1.5, faster),
        at_most(f"{what}: memory grown by, in MB", 64, [flat]),
    ]


def _pauses(what: str, lags: Sequence[Mapping[str, Any]]) -> Table:
    """Measure by how much a task that wakes every 2 ms is late."""
    rows = [
        [row, *(f"{lag[name] * 1000:.1f} ms" for lag in lags)]
        for row, name in (
            ("longest, while nothing is downloaded", "quiet"),
            (f"99 % of all, while {what}", "p99"),
            (f"longest, while {what}", "longest"),
        )
    ]
    columns = ["", *(f"run {number + 1}" for number in range(len(lags)))]
    return Table(caption=f"By how much a task that wakes every 2 ms is late while {what}", columns=columns, rows=rows)


def _count(number: int) -> str:
    return "One file" if number == 1 else f"{number} files at once"


def _fast_place() -> str | None:
    """Return a RAM disk, so that no disk is measured; None where there is none."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made there
    return str(memory) if os.access(memory, os.W_OK) else None
