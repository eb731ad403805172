"""The parts of the benchmarks: the servers they measure against, their statistics, tables and report page."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.attribution import HTTPX, JSON, OURS, payer
from benchmarks.findings import Findings, at_least, at_most, ratios, table
from benchmarks.modelling import together
from benchmarks.rounds import Server
from benchmarks.server import job_id
from up42_async import Client, Endpoints, Job, JobStatus, Limits, track

NO_PACE = Limits(requests_per_second=1e6, burst=10**6)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(page_default=50, page_max=100) as server:
        yield server


def connected(server: Server) -> Client:
    endpoints = Endpoints(api=server.base, auth=f"{server.base}/auth")
    return Client("benchmark", "benchmark", endpoints=endpoints, limits=NO_PACE)


async def test_the_server_lists_every_job_once_and_caps_the_page(server: Server) -> None:
    server.control("jobs", number=250)
    server.control("reset")
    async with connected(server):
        ids = [job.id async for job in Job.all()]
    assert ids == [job_id(position) for position in range(250)]
    assert server.control("counts")["requests"] == 4  # a login, and 250 jobs at 100 a page


async def test_the_server_ends_jobs_at_the_given_times(server: Server) -> None:
    server.control("jobs", number=2, flips=[0.0, 3600.0])
    async with connected(server):
        first, second = [await Job.get(job_id(position)) for position in range(2)]
        assert (first.status, second.status) == (JobStatus.CAPTURED, JobStatus.RUNNING)
        (finished,) = await track([first.id])
    assert finished.id == first.id


def test_the_file_server_sends_the_requested_number_of_bytes() -> None:
    with Server("file_server") as files, urllib.request.urlopen(f"{files.base}/files/700000/a.tif") as answer:  # noqa: S310
        assert len(answer.read()) == 700_000


def test_ratios_are_computed_for_each_round() -> None:
    ours, theirs = [{"cpu": 1.0}, {"cpu": 4.0}], [{"cpu": 2.0}, {"cpu": 2.0}]
    assert ratios(ours, theirs, "cpu") == [0.5, 2.0]


def test_a_target_compares_the_median_and_shows_the_range() -> None:
    assert at_most("CPU", 1.0, [0.5, 0.9, 3.0], why="It is hard.") == {
        "what": "CPU",
        "bound": "at most 1",
        "seen": "0.9 (0.5 to 3)",
        "met": True,
        "why": "It is hard.",
    }
    assert not at_least("rate", 1.0, [0.5, 0.9, 3.0])["met"]


def test_a_table_shows_medians_and_ratios_to_the_baseline() -> None:
    samples = {
        "theirs": [{"cpu": 2.0, "wall": 4.0, "server_cpu": 1.0, "requests": 10}],
        "ours": [{"cpu": 1.0, "wall": 2.0, "server_cpu": 1.0, "requests": 5}],
    }
    made = table("Both", samples, "theirs", compared=["cpu"], shown=["requests"])
    assert made["columns"] == ["", "CPU", "CPU, times theirs", "requests", "server busy"]
    assert made["rows"] == [
        ["theirs", "2 s", "1", "10", "25% of the time"],
        ["ours", "1 s", "0.5", "5", "50% of the time"],
    ]


def test_the_page_and_its_pictures_are_rendered_from_saved_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="pictures are drawn where matplotlib is installed: nox -s bench")
    from benchmarks import report  # noqa: PLC0415 - it needs matplotlib

    def circumstances(scale: str) -> dict[str, Any]:
        return {**CIRCUMSTANCES, "scale": scale}

    monkeypatch.setattr(report, "circumstances", circumstances)
    lines = {"a request a job": {"100": 4000, "1000": 40_000}, "together": {"100": 250}, "the library": {"100": 250}}
    findings = Findings(
        title="Three days",
        how="By counting.",
        tables=[table("Both", {"ours": [{"cpu": 1.0}]}, "ours", compared=["cpu"])],
        targets=[at_most("CPU", 1.0, [2.0], why="It is slow."), at_most("Wall", 1.0, [0.5], why="It is fast.")],
        facts={"requests": lines},
    )
    tracked = {"ours": [0.1, 0.4, 0.9], "theirs": [0.2, 0.5, 0.8]}
    facts = {"delays": tracked, "run": {"ended": [1.0, 2.0, 3.0], **tracked}}
    report.keep(tmp_path / "kept", "tracking", {**findings, "targets": [], "facts": facts}, "quick")
    report.keep(tmp_path / "kept", "listing", {**findings, "targets": [], "facts": {}}, "quick")
    report.keep(tmp_path / "kept", "modelling", findings, "quick")
    page = tmp_path / "page.md"
    report.render(tmp_path / "kept", page, ("listing", "tracking", "modelling"))
    text = page.read_text(encoding="utf-8")
    assert "| CPU | at most 1 | 2 | **no** |" in text
    assert "## Three days\n\nBy counting.\n\n![Requests against number of jobs](page-requests.svg)\n\n**Both**" in text
    assert "What was missed, and why:\n\n- It is slow.\n" in text
    assert "It is fast." not in text
    assert "a quick look" in text
    assert json.loads((tmp_path / "kept" / "modelling.json").read_text())["targets"][0]["met"] is False
    for name in ("listing", "delay", "run", "requests"):
        picture = (tmp_path / f"page-{name}.svg").read_text(encoding="utf-8")
        assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - our own picture


CIRCUMSTANCES = {"python": "3.11", "system": "Linux", "cores": 2, "packages": {"httpx": "0.28.1"}}


def test_the_model_counts_a_request_for_each_hundred_open_jobs() -> None:
    # 101 jobs that end within the first minute, and one that ends in the third: 2 requests, 2 more, then 1 and 1
    assert together([30.0] * 101 + [170.0]) == 2 + 2 + 1 + 1


def test_a_profile_sample_is_attributed_to_a_package_by_its_file() -> None:
    assert payer("/site-packages/httpcore/_async/http11.py") == HTTPX
    assert payer("/lib/python3.11/json/decoder.py") == JSON
    assert payer("<attrs generated methods up42_async._jobs.job.Job>") == OURS
    assert payer("/site-packages/anyio/_core/_tasks.py") is None
