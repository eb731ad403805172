"""Measure waiting for jobs: requests, CPU, memory, and how soon the end of a job is noticed."""

import random
import statistics
from typing import Any, Final

from benchmarks.findings import Findings, Result, Table, Target, at_least, at_most, ratios, table
from benchmarks.rounds import Server, measured
from benchmarks.scale import Scale
from benchmarks.server import job_id

LATENCY: Final = 0.05
WAIT: Final = 1.0
_MIDDLE: Final = 500
_ROUNDS: Final = 3

VARIANTS: Final = {
    "up42-py, a thread a job": ("up42_py", "track_threads"),
    "plain httpx, gather": ("plain_httpx", "track_gather"),
    "up42-async, one track()": ("ours", "track_together"),
    "up42-async, a task a job": ("ours", "track_apart"),
}
_PEER, _GATHER, _OURS, _TASKS = VARIANTS


def measure(scale: Scale) -> Findings:
    """Measure for each number of jobs."""
    tables: list[Table] = []
    targets: list[Target] = []
    facts: dict[str, dict[str, list[float]]] = {}
    with Server(latency=LATENCY, page_max=max(scale.tracked)) as server:
        for number in scale.tracked:
            rounds = _ROUNDS if number == _MIDDLE else 1
            samples: dict[str, list[Result]] = {label: [] for label in VARIANTS}
            for turn in range(rounds):
                for label, (client, workload) in VARIANTS.items():
                    samples[label].append(_tracked(server, client, workload, number, scale, seed=turn))
            caption = f"{number:,} jobs that end within {scale.tracked_for[0]:g} to {scale.tracked_for[1]:g} s"
            tables.append(
                table(
                    caption,
                    samples,
                    _PEER,
                    compared=["requests", "cpu"],
                    shown=["grown", "median", "p95", "connections"],
                )
            )
            if number == _MIDDLE or len(scale.tracked) == 1:
                targets += _judged(number, samples)
                delays = {label: results[0]["delays"] for label, results in samples.items()}
                notices = {label: results[0]["notices"] for label, results in samples.items()}
                facts = {"delays": delays, "run": {"ended": samples[_PEER][0]["ends"], **notices}}
    return Findings(
        title="Tracking jobs",
        how=(
            f"Each job ends at a moment drawn at random; it is asked for every {WAIT:g} s, at {LATENCY * 1000:.0f}"
            " ms latency. The delay is the time from the end at the server to the client's notice. Everything is"
            " faster than in life, where one asks every 60 s and jobs take half an hour: the ratios carry over. A"
            " client that notices late sends fewer requests for it: that is no saving."
        ),
        tables=tables,
        targets=targets,
        facts=facts,
    )


def _tracked(server: Server, client: str, workload: str, number: int, scale: Scale, *, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)  # noqa: S311 - when jobs end, not a secret
    flips = [draw.uniform(*scale.tracked_for) for _ in range(number)]
    # a process needs time to start, and the clients list the jobs first: the first job must end after that
    started = server.control("jobs", number=number, flips=[_START + flip for flip in flips])["started"]
    result = measured(server, client, workload, wait=WAIT)
    noticed = result.pop("noticed")
    notices = [noticed[job_id(position)] - started - _START for position in range(number)]
    delays = sorted(notice - flip for notice, flip in zip(notices, flips, strict=True))
    summary = {"median": statistics.median(delays), "p95": delays[int(len(delays) * 0.95)]}
    return {**result, **summary, "delays": delays, "notices": sorted(notices), "ends": sorted(flips)}


_START: Final = 1.0


def _judged(number: int, samples: dict[str, list[Result]]) -> list[Target]:
    peer, ours, tasks = samples[_PEER], samples[_OURS], samples[_TASKS]
    return [
        at_least(f"Tracking {number} jobs: up42-py's requests, times ours", 50, ratios(peer, ours, "requests")),
        at_least(f"Tracking {number} jobs: up42-py's CPU, times ours", 20, ratios(peer, ours, "cpu")),
        at_most(f"Tracking {number} jobs: median delay, times up42-py's", 1.05, ratios(ours, peer, "median")),
        at_most(
            f"Tracking {number} jobs: 95th percentile of the delay, times up42-py's", 1.05, ratios(ours, peer, "p95")
        ),
        at_most(f"{number} tasks in job.track(): CPU, times one track()", 1.5, ratios(tasks, ours, "cpu")),
    ]
