"""Measure listing: page sizes, latency, very many jobs, and the share of each package."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.attribution import FOR_US, OURS
from benchmarks.findings import (
    Findings,
    Result,
    Samples,
    Table,
    Target,
    at_least,
    at_most,
    middle,
    ratios,
    spread,
    table,
)
from benchmarks.rounds import Server, measured, work
from benchmarks.scale import Scale

VARIANTS = {"up42-py": "up42_py", "plain httpx": "plain_httpx", "up42-async": "ours", "floor": "raw"}
PAGE_SIZES = (10, 100, 500, 1000)
FEW_PAGE_SIZES = (100, 500)
LATENCY = 0.05
DEFAULT_PAGE = 50
_SMALL_PAGE = 100
_MAKING_JOBS = (
    "Our own share of listing: plain httpx makes dictionaries. Making jobs of them (times, statuses, checks of types)"
    " costs 0.4 times what decoding their JSON costs; then each is compared with those that were seen, and handed"
    " over. The larger the pages, the larger this share, since the requests cost less."
)
_SEEN_IDS = (
    "Peak memory of listing: a list may change while it is read, and then repeats entries. So a number is kept for each"
    " id that was seen, about 80 bytes with what Python needs for it: 8 MB for 100,000 jobs."
)
_LAST_PAGES = (
    "Listing at 50 ms: 20 pages of 500, each asked for when the one before was used up, are 1 s of waiting; the rest is"
    " the CPU of decoding them and making jobs."
)


def measure(scale: Scale) -> Findings:
    """Run all measurements of listing."""
    tables: list[Table] = []
    targets: list[Target] = []
    with Server() as server:
        for step in (_at_once, _shares, _very_many):
            more_tables, more_targets = step(server, scale)
            tables += more_tables
            targets += more_targets
    with Server(latency=LATENCY, page_default=DEFAULT_PAGE) as server:
        more_tables, more_targets = _with_latency(server, scale)
        tables += more_tables
        targets += more_targets
    return Findings(
        title="Listing jobs",
        how=(
            "All jobs are listed once, after login and one short page. The floor is the same bytes over a blocking"
            " socket, decoded as JSON and thrown away; plain httpx makes dictionaries, up42-py and up42-async make"
            " jobs."
        ),
        tables=tables,
        targets=targets,
        facts={},
    )


def _sizes(scale: Scale) -> tuple[int, ...]:
    return PAGE_SIZES if scale.name == "full" else FEW_PAGE_SIZES


def _in_turn(server: Server, rounds: int, variants: Iterable[str] = VARIANTS, **order: Any) -> dict[str, list[Result]]:
    samples: dict[str, list[Result]] = {label: [] for label in variants}
    for _ in range(rounds):
        for label, results in samples.items():
            results.append(measured(server, VARIANTS[label], "listing", **order))
    return samples


def _at_once(server: Server, scale: Scale) -> tuple[list[Table], list[Target]]:
    """Measure without latency, at the same page size: the time is CPU time."""
    server.control("jobs", number=scale.jobs)
    tables: list[Table] = []
    by_size: dict[int, Mapping[str, list[Result]]] = {}
    for size in _sizes(scale):
        samples = by_size[size] = _in_turn(server, scale.rounds if size >= _SMALL_PAGE else scale.few, page_size=size)
        caption = f"{scale.jobs:,} jobs, {size} a page, no latency"
        tables.append(table(caption, samples, "up42-py", compared=["cpu", "wall"], shown=["requests", "grown"]))
    bare = [work("raw", "bytes_only", base=server.base, page_size=_SMALL_PAGE) for _ in range(scale.rounds)]
    tables.append(_server_speed(bare, by_size[_SMALL_PAGE]))
    targets = [
        at_most(
            f"CPU of listing {scale.jobs:,} jobs without latency, {size} a page, times up42-py's",
            bound,
            ratios(by_size[size]["up42-async"], by_size[size]["up42-py"], "cpu"),
            why=_MAKING_JOBS,
        )
        for size, bound in ((100, 1.1), (500, 1.05))
    ]
    small = by_size[_SMALL_PAGE]
    targets.append(
        at_most(
            f"Share of that CPU, {_SMALL_PAGE} a page, that a plain httpx loop which makes no jobs does without",
            0.15,
            sorted(1 - share for share in ratios(small["plain httpx"], small["up42-async"], "cpu")),
            why=_MAKING_JOBS,
        )
    )
    return tables, targets


def _server_speed(bare: list[dict[str, Any]], samples: Samples) -> Table:
    """Measure the server with a client that only reads."""
    rows = [["bytes read and thrown away", f"{middle(bare, 'wall'):.3g} s", "1"]]
    rows += [
        [label, f"{middle(results, 'wall'):.3g} s", spread(ratios(results, bare, "wall"))]
        for label, results in samples.items()
    ]
    caption = f"Is the server the bottleneck? The same listing, {_SMALL_PAGE} a page, by a client that looks at nothing"
    return Table(caption=caption, columns=["", "wall", "times that"], rows=rows)


def _shares(server: Server, scale: Scale) -> tuple[list[Table], list[Target]]:
    """Measure the share of each package in the CPU time."""
    repeat = max(1, 300_000 // scale.jobs) if scale.name == "full" else 10
    found = {
        size: work("ours", "listing_shares", base=server.base, page_size=size, repeat=repeat) for size in (100, 500)
    }
    payers = list(found[100]["shares"])
    rows = [[payer, *(f"{found[size]['shares'].get(payer, 0):.0%}" for size in found)] for payer in payers]
    caption = f"Whose code runs: shares of CPU time, {found[100]['samples']} and {found[500]['samples']} samples"
    hottest = [[name, f"{share:.1%}"] for name, share in list(found[100]["hottest"].items())[:12]]
    target = at_most(
        "Our own share of the CPU time of listing, 100 a page, by a profiler",
        0.15,
        [sum(found[100]["shares"].get(payer, 0) for payer in (OURS, FOR_US))],
        why=_MAKING_JOBS,
    )
    return [
        Table(caption=caption, columns=["", "100 a page", "500 a page"], rows=rows),
        Table(caption="Our own functions that cost most, 100 a page", columns=["function", "share"], rows=hottest),
    ], [target]


def _very_many(server: Server, scale: Scale) -> tuple[list[Table], list[Target]]:
    """Measure whether memory stays flat."""
    few = _in_turn(server, scale.few, ["up42-py", "up42-async"], page_size=500)
    server.control("jobs", number=scale.many_jobs)
    many = _in_turn(server, scale.few, page_size=500)
    caption = f"{scale.many_jobs:,} jobs, 500 a page, no latency"
    grown = ratios(many["up42-async"], few["up42-async"], "peak")
    what = f"Peak memory of listing {scale.many_jobs:,} jobs, times that of {scale.jobs:,}"
    return [table(caption, many, "up42-py", compared=["cpu", "wall"], shown=["grown", "peak"])], [
        at_most(what, 1.2, grown, why=_SEEN_IDS)
    ]


def _with_latency(server: Server, scale: Scale) -> tuple[list[Table], list[Target]]:
    """Measure with latency, where the number of requests decides."""
    server.control("jobs", number=scale.jobs)
    default = _in_turn(server, scale.few)
    milliseconds = f"{LATENCY * 1000:.0f} ms latency"
    caption = f"{scale.jobs:,} jobs, everything at its default, {milliseconds}, server's default page {DEFAULT_PAGE}"
    tables = [table(caption, default, "up42-py", compared=["wall", "cpu"], shown=["requests", "grown"])]
    for size in _sizes(scale):
        if size < _SMALL_PAGE:
            continue  # a thousand pages of 50 ms each, for each client: a tenth of the jobs says as much, below
        samples = _in_turn(server, 1, page_size=size)
        caption = f"{scale.jobs:,} jobs, {size} a page, {milliseconds}"
        tables.append(table(caption, samples, "up42-py", compared=["wall", "cpu"], shown=["requests"]))
    server.control("jobs", number=1000)
    samples = _in_turn(server, 1, page_size=10)
    tables.append(
        table(
            f"1,000 jobs, 10 a page, {milliseconds}", samples, "up42-py", compared=["wall", "cpu"], shown=["requests"]
        )
    )
    ours = default["up42-async"]
    pages = -(-scale.jobs // 500)
    return tables, [
        at_least(
            f"Listing {scale.jobs:,} jobs with defaults at 50 ms: times faster than up42-py",
            8,
            ratios(default["up42-py"], ours, "wall"),
        ),
        at_most(
            "The same: wall time, times pages x round trip",
            1.25,
            sorted(one["wall"] / (pages * LATENCY) for one in ours),
            why=_LAST_PAGES,
        ),
    ]
