"""Measure one call after the other, and many at once."""

from benchmarks.findings import Findings, Result, Table, Target, at_least, at_most, ratios, table
from benchmarks.rounds import Server, measured, work
from benchmarks.scale import Scale
from benchmarks.server import job_id

LATENCIES = (0.0, 0.01, 0.05)
_AT_A_TIME = 100


def measure(scale: Scale) -> Findings:
    """Measure both."""
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
                1.25,
                ratios(samples["up42-async"], samples["plain httpx"], "cpu"),
            )
        )
        shares = work("ours", "calls_shares", base=server.base, ids=ids, repeat=5)
        rows = [[payer, f"{share:.0%}"] for payer, share in shares["shares"].items()]
        tables.append(
            Table(caption=f"Whose code runs in one call, {shares['samples']} samples", columns=["", "share"], rows=rows)
        )
    for latency in LATENCIES:
        with Server(latency=latency) as server:
            server.control("jobs", number=scale.burst)
            ids = [job_id(position) for position in range(scale.burst)]
            samples = _in_turn(
                server, scale.rounds, ["plain httpx", "up42-async", "up42-py in 32 threads"], "burst", ids
            )
        caption = f"{scale.burst} jobs asked for at once, {latency * 1000:.0f} ms latency"
        tables.append(table(caption, samples, "plain httpx", compared=["wall", "cpu"], shown=["connections"]))
        what = f"{scale.burst} calls at once, {latency * 1000:.0f} ms: times the rate of a bare httpx.AsyncClient"
        targets.append(at_least(what, 3, ratios(samples["plain httpx"], samples["up42-async"], "wall")))
    return Findings(
        title="Calls",
        how=(
            "One job is asked for at a time, after login and one short page. Plain httpx is a bare"
            " `httpx.AsyncClient` with default limits. The client's pace of 50 requests a second is lifted here,"
            " since it would hide what a request costs. At 50 ms 20 requests at a time are 400 a second at the"
            " most, httpx's 100 are 2,000: what the bare client loses, it loses in its own pool."
        ),
        tables=tables,
        targets=targets,
        facts={},
    )


_CLIENTS = {
    "up42-py": "up42_py",
    "up42-py in 32 threads": "up42_py",
    "plain httpx": "plain_httpx",
    "up42-async": "ours",
    "floor": "raw",
}


def _in_turn(server: Server, rounds: int, labels: list[str], workload: str, ids: list[str]) -> dict[str, list[Result]]:
    samples: dict[str, list[Result]] = {label: [] for label in labels}
    for _ in range(rounds):
        for label, results in samples.items():
            results.append(measured(server, _CLIENTS[label], workload, ids=ids))
    return samples
