"""Measure one call after the other, and many at once."""

import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.certificates import trusted
from benchmarks.findings import Findings, Result, Table, Target, at_least, at_most, ratios, table
from benchmarks.rounds import Server, measured, work
from benchmarks.scale import Scale
from benchmarks.server import job_id

LATENCIES = (0.0, 0.01, 0.05)
_AT_A_TIME = 100


def measure(scale: Scale) -> Findings:
    """Measure calls one after the other, and many at once."""
    tables: list[Table] = []
    targets: list[Target] = []
    with Server() as server:
        server.control("jobs", number=_AT_A_TIME)
        ids = [job_id(position) for position in range(_AT_A_TIME)]
        ids *= scale.calls // _AT_A_TIME
        samples = _in_turn(server, scale.rounds, ["up42-py", "plain httpx", "up42-async", "floor"], "calls", ids)
        caption = f"{scale.calls:,} times one job, one after the other, no latency"
        tables.append(table(caption, samples, "plain httpx", compared=["cpu", "wall"]))
        targets.append(
            at_most(
                "CPU of one call, times plain httpx's",
                1.3,
                ratios(samples["up42-async"], samples["plain httpx"], "cpu"),
            )
        )
        beside = _in_turn(server, scale.rounds, ["plain httpx", "up42-async"], "calls_at_a_time", ids)
        caption = f"{scale.calls:,} times one job, 20 at a time, no latency"
        tables.append(table(caption, beside, "plain httpx", compared=["cpu", "wall"]))
        targets.append(
            at_most(
                "CPU of one call, 20 at a time, times plain httpx's",
                0.5,
                ratios(beside["up42-async"], beside["plain httpx"], "cpu"),
                why=_BESIDE,
            )
        )
        shares = work("ours", "calls_shares", base=server.base, ids=ids, repeat=5)
        rows = [[payer, f"{share:.0%}"] for payer, share in shares["shares"].items()]
        tables.append(
            Table(caption=f"Whose code runs in one call, {shares['samples']} samples", columns=["", "share"], rows=rows)
        )
    with tempfile.TemporaryDirectory() as place, trusted(Path(place)) as trust:
        for latency in LATENCIES:
            for options, link in (({}, ""), ({"certificate": trust.server}, " with TLS")):
                how = f"{latency * 1000:.0f} ms latency{link}"
                at_once, judged = _burst(scale, how, latency=latency, **options)
                tables.append(at_once)
                targets += judged
    return Findings(
        title="Calls",
        how=(
            "One job is asked for at a time, after login and one short page. Plain httpx is a bare"
            " `httpx.AsyncClient` with its default limits (100 connections, of which it keeps 20), and one without"
            " limits, whose calls are really all under way at once. The client's pace of 50 requests a second is"
            " lifted here, since it would hide what a request costs. By default 20 of its requests are under way at"
            " once: at 50 ms these are 400 a second at the most, and 500 calls take 1.25 s, however little CPU they"
            " need. With `Limits(max_concurrency=100)` it has as many connections as the bare client, which opens one"
            " for nearly every call."
        ),
        tables=tables,
        targets=targets,
        facts={},
    )


def _burst(scale: Scale, how: str, **options: Any) -> tuple[Table, list[Target]]:
    """Measure many calls at once."""
    with Server(**options) as server:
        server.control("jobs", number=scale.burst)
        ids = [job_id(position) for position in range(scale.burst)]
        samples = _in_turn(server, scale.rounds, list(_AT_ONCE), "burst", ids)
    what = f"{scale.burst} calls at once, {how}: times the rate of a bare httpx.AsyncClient"
    why = _FLOOR if options["latency"] == max(LATENCIES) else _COSTS
    # with latency a bare client has five times as many requests under way, so the rates do not show its cost
    bound = 2.5 if not options["latency"] else 1.0
    return (
        table(
            f"{scale.burst} jobs asked for at once, {how}",
            samples,
            "plain httpx",
            compared=["wall", "cpu"],
            shown=["connections"],
        ),
        [
            at_least(what, bound, ratios(samples["plain httpx"], samples["up42-async"], "wall"), why=why),
            at_least(
                f"{what} without limits",
                bound,
                ratios(samples["plain httpx, no limits"], samples["up42-async"], "wall"),
                why=why,
            ),
        ],
    )


_FLOOR: Final = (
    "500 calls at once at 50 ms: with 20 requests under way at once they take 1.25 s whatever they cost. The bare"
    " client has 100 under way and a new connection for each, so it is bounded by its CPU, of which up42-async needs"
    " less than half (see the table, also for 100 requests under way)."
)
_BESIDE: Final = (
    "20 calls at a time: three quarters of the CPU of a call are httpx, httpcore and h11, which each request needs (see"
    " the table of shares); saved is the pool of a bare client, whose cost grows with the requests under way. The ratio"
    " varies by a fifth from round to round."
)
_COSTS: Final = (
    "500 calls at once without latency: three quarters of the CPU of a call are httpx, httpcore and h11 (see the table"
    " of shares), so a call cannot cost much less than it does. How much more a bare client costs depends on the"
    " machine: where the server answers at once, its pool has a dozen connections only, and its cost grows with their"
    " number. Between 1.8 and 3.5 times its rate were seen. TLS adds about a fifth to the CPU of either client:"
    " up42-async opens 21 connections for such a burst, and certificates are read once for all of them. Sessions are"
    " not resumed: neither httpcore nor anyio hands one on."
)
_AT_ONCE: Final[dict[str, dict[str, Any]]] = {
    "plain httpx": {},
    "plain httpx, no limits": {"unlimited": True},
    "up42-async": {},
    "up42-async, 100 under way": {"in_flight": 100},
    "up42-py in 32 threads": {},
}
_CLIENTS = {
    "up42-py": "up42_py",
    "up42-py in 32 threads": "up42_py",
    "plain httpx": "plain_httpx",
    "plain httpx, no limits": "plain_httpx",
    "up42-async": "ours",
    "up42-async, 100 under way": "ours",
    "floor": "raw",
}


def _in_turn(server: Server, rounds: int, labels: list[str], workload: str, ids: list[str]) -> dict[str, list[Result]]:
    samples: dict[str, list[Result]] = {label: [] for label in labels}
    for _ in range(rounds):
        for label, results in samples.items():
            results.append(measured(server, _CLIENTS[label], workload, ids=ids, **_AT_ONCE.get(label, {})))
    return samples
