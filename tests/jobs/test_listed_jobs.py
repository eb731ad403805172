"""`Job.all`: every filter of the reference, and servers that page, limit or break their lists."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import pytest

from tests.fake_platform import FakePlatform, client_of
from tests.job_answers import JOBS, answering, connected, page, queries
from tests.raw_server import answer as raw_answer
from tests.raw_server import serve
from up42_async import (
    APIError,
    Client,
    Job,
    JobSorting,
    JobStatus,
    PaginationError,
    SortingField,
    StatusError,
    UnexpectedResponseError,
    UntrustedURLError,
)
from up42_async._config import RetryPolicy
from up42_async.sandbox import Sandbox, faults

TREES, SHIPS = "detection-trees-spacept", "detection-ships-airbus"
RUNNING, CAPTURED, FAILED = JobStatus.RUNNING, JobStatus.CAPTURED, JobStatus.FAILED


async def ids_of(**filters: Any) -> list[str]:
    return [job.id async for job in Job.all(**filters)]


def lasting(sandbox: Sandbox, *seconds: int) -> list[str]:
    """Seed jobs that ran for these numbers of seconds."""
    timelines = [[(0.0, "created"), (10.0, "running"), (10.0 + length, "captured")] for length in seconds]
    return [job_id for timeline in timelines for job_id in sandbox.seed_jobs(1, timeline=timeline, spread=10_000)]


# Filters


async def test_all_jobs_are_listed_newest_first_with_five_hundred_a_request() -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(500, spread=6000)
        assert await ids_of() == seeded[::-1]
        assert queries(sandbox) == [{"limit": "500"}]


async def test_process_ids_select_jobs_of_any_of_them() -> None:
    async with connected() as sandbox:
        trees, ships = sandbox.seed_jobs(2, process_id=TREES), sandbox.seed_jobs(2, process_id=SHIPS)
        sandbox.seed_jobs(2, process_id="pansharpening")
        assert {job.process_id async for job in Job.all([TREES])} == {TREES}
        assert set(await ids_of(process_id=[TREES, SHIPS])) == {*trees, *ships}


async def test_a_workspace_selects_its_jobs_and_without_one_all_of_the_account_come() -> None:
    async with connected() as sandbox:
        mine, other = sandbox.seed_jobs(2), sandbox.seed_jobs(2, workspace_id="another")
        assert set(await ids_of(workspace_id="another")) == set(other)
        assert set(await ids_of(workspace_id=sandbox.workspace_id)) == set(mine)
        assert set(await ids_of()) == {*mine, *other}


async def test_statuses_select_jobs_with_any_of_them() -> None:
    async with connected() as sandbox:
        running, captured = sandbox.seed_jobs(2, status="running"), sandbox.seed_jobs(2, status="captured")
        odd = sandbox.seed_jobs(1, status="paused")
        assert set(await ids_of(status=[RUNNING])) == set(running)
        assert set(await ids_of(status=[RUNNING, CAPTURED])) == {*running, *captured}
        assert await ids_of(status=[JobStatus("paused")]) == odd


async def test_durations_select_jobs_that_ran_so_long() -> None:
    async with connected() as sandbox:
        short, middle, long = lasting(sandbox, 100, 200, 300)
        sandbox.seed_jobs(1, status="running")
        assert set(await ids_of(min_duration=200)) == {middle, long}
        assert set(await ids_of(max_duration=200)) == {short, middle}
        assert await ids_of(min_duration=150, max_duration=250) == [middle]


async def test_a_duration_of_zero_is_sent() -> None:
    async with connected() as sandbox:
        finished = lasting(sandbox, 100)
        sandbox.seed_jobs(1, status="running")
        assert await ids_of(min_duration=0) == finished
        assert await ids_of(max_duration=0) == []
        assert queries(sandbox) == [{"minDuration": "0", "limit": "500"}, {"maxDuration": "0", "limit": "500"}]


@pytest.mark.parametrize(
    ("sort_by", "value"),
    [
        (JobSorting.process_id, attrgetter("process_id")),
        (JobSorting.status, attrgetter("status.value")),
        (JobSorting.created, attrgetter("created")),
        (JobSorting.credits, attrgetter("credits")),
    ],
    ids=["process_id", "status", "created", "credits"],
)
@pytest.mark.parametrize("with_ids", [False, True])
async def test_jobs_come_in_the_order_asked_for_with_and_without_ids(
    sort_by: SortingField, value: Any, with_ids: bool
) -> None:
    async with connected() as sandbox:
        seeded = [
            job_id for word in ("running", "captured") for job_id in sandbox.seed_jobs(80, status=word, spread=6000)
        ]
        ids = seeded if with_ids else None
        for field in (sort_by, sort_by.asc, sort_by.desc):
            values = [value(job) async for job in Job.all(sort_by=field, ids=ids)]
            assert values == sorted(values, reverse=not field.ascending)
            assert len(values) == 160
        assert len(queries(sandbox)) == (6 if with_ids else 3)


async def test_a_listed_job_matches_all_filters() -> None:
    async with connected() as sandbox:
        (wanted,) = sandbox.seed_jobs(1, process_id=TREES, status="running", workspace_id="w")
        sandbox.seed_jobs(1, process_id=SHIPS, status="running", workspace_id="w")
        sandbox.seed_jobs(1, process_id=TREES, status="captured", workspace_id="w")
        sandbox.seed_jobs(1, process_id=TREES, status="running")
        assert await ids_of(process_id=[TREES], workspace_id="w", status=[RUNNING], sort_by=JobSorting.created) == [
            wanted
        ]


@pytest.mark.parametrize("name", ["process_id", "status", "ids"])
async def test_an_empty_list_matches_nothing_and_sends_nothing(name: str) -> None:
    async with connected() as sandbox:
        sandbox.seed_jobs(3)
        assert await ids_of(**{name: []}) == []
        assert await ids_of(**{"ids": ["job-1"], name: []}) == []
        assert await ids_of(**{name: [], "sort_by": JobSorting.created}) == []
        assert not sandbox.requests


async def test_mistakes_are_named_when_they_are_made_and_cost_no_request() -> None:
    async with connected() as sandbox:
        with pytest.raises(TypeError, match=r"process_id must be a list of strings; write \['trees'\]"):
            Job.all("trees")
        with pytest.raises(TypeError, match="status must be a list of JobStatus"):
            Job.all(status=RUNNING)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="page_size must be a whole number of jobs of at least 1, not 0"):
            Job.all(page_size=0)
        with pytest.raises(ValueError, match="with given ids can be sorted by one of processID, .*, not by 'updated'"):
            Job.all(ids=["job-1"], sort_by=SortingField("updated"))
        assert not sandbox.requests


async def test_the_server_says_what_is_wrong_with_a_filter() -> None:
    async with connected() as sandbox:
        with pytest.raises(StatusError, match="status 400: sort must be <field>,<asc"):
            await ids_of(sort_by=SortingField("colour"))
        assert len(sandbox.requests) == 2  # the second one without page size


# Pages


async def test_each_page_is_requested_when_the_one_before_is_used_up() -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(30, spread=6000)[::-1]
        jobs = Job.all(page_size=10)
        assert not sandbox.requests
        assert [(await anext(jobs)).id for _ in range(10)] == seeded[:10]
        assert len(sandbox.requests) == 1
        assert [job.id async for job in jobs] == seeded[10:]
        assert [query["limit"] for query in queries(sandbox)] == ["10", "10", "10"]


@pytest.mark.parametrize("strict", [False, True])
async def test_a_server_that_caps_its_pages_at_twenty_is_followed(strict: bool) -> None:
    async with connected(page_size_max=20, page_size_strict=strict) as sandbox:
        seeded = sandbox.seed_jobs(50, spread=6000)[::-1]
        assert await ids_of() == seeded
        assert len(sandbox.requests) == 4 if strict else 3
        assert [query.get("limit") for query in queries(sandbox)] == (
            ["500", None, None, None] if strict else ["500", "500", "500"]
        )


async def test_a_list_that_changes_while_it_is_read_never_repeats_a_job() -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(30, spread=6000)[::-1]
        sandbox.faults.add(faults.ShiftPages(inserted=3, removed=0))
        listed = await ids_of(page_size=10)
        assert len(listed) == len(set(listed))
        assert [job_id for job_id in listed if job_id in seeded] == seeded


@pytest.mark.parametrize("null", [False, True])
async def test_pages_without_links_are_the_last_ones(null: bool) -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(3, spread=6000)[::-1]
        sandbox.faults.add(faults.OmitKeys("links", null=null))
        assert await ids_of() == seeded


async def test_jobs_that_are_null_are_an_empty_page() -> None:
    async with connected() as sandbox:
        sandbox.seed_jobs(3)
        sandbox.faults.add(faults.OmitKeys("jobs", null=True))
        assert await ids_of() == []


async def test_a_page_without_jobs_is_an_error() -> None:
    async with connected() as sandbox:
        sandbox.seed_jobs(3)
        sandbox.faults.add(faults.OmitKeys("jobs"))
        with pytest.raises(UnexpectedResponseError, match=f"GET {JOBS}: an answer without a list of jobs"):
            await ids_of()


async def test_a_page_whose_next_link_leads_to_itself_is_an_error() -> None:
    async with connected() as sandbox:
        sandbox.seed_jobs(3)
        sandbox.faults.add(faults.NextLink())
        with pytest.raises(PaginationError, match=f"GET {JOBS}: .* read before"):
            await ids_of()
        assert len(sandbox.requests) == 1


async def test_empty_pages_without_end_are_an_error() -> None:
    async with connected() as sandbox:
        sandbox.faults.add(faults.EmptyPages())
        with pytest.raises(PaginationError, match="100 pages in a row without a new item"):
            await ids_of()
        assert len(sandbox.requests) == 100


@pytest.mark.parametrize(
    "link",
    ["{other}{path}", "//{host}{path}", "http://{home}@{host}{path}", "http://{home}.evil.test{path}", "@{host}{path}"],
)
async def test_a_next_link_to_another_host_is_an_error_and_gets_no_token(link: str) -> None:
    async with serve(raw_answer(page(["stolen"]))) as other, connected() as sandbox:
        sandbox.seed_jobs(3)
        host, home = other.url.removeprefix("http://"), sandbox.endpoints.api.removeprefix("http://")
        sandbox.faults.add(faults.NextLink(link.format(other=other.url, host=host, home=home, path=JOBS)))
        with pytest.raises(UntrustedURLError, match=f"GET {JOBS}: an answer held a link .* it was not followed"):
            await ids_of()
        assert other.accepted == 0
        assert len(sandbox.requests) == 1


async def test_an_absolute_link_to_the_api_is_followed() -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(4, spread=6000)[::-1]
        whole = f"{sandbox.endpoints.api}{JOBS}?limit=9"
        sandbox.faults.add(faults.NextLink(whole), times=1)
        assert await ids_of(page_size=2) == seeded


@pytest.mark.virtual_time
@pytest.mark.parametrize("body", [b"<html>proxy</html>", b'{"jobs": [{"jobID": "'])
async def test_a_page_that_is_not_json_is_requested_again(body: bytes) -> None:
    platform = FakePlatform()
    platform.api = answering(page(["a"], f"{JOBS}?cursor=1"), body, page(["b"]))
    async with client_of(platform):
        assert await ids_of() == ["a", "b"]
    assert len(platform.calls) == 3


@pytest.mark.virtual_time
async def test_a_page_that_is_never_json_is_an_api_error_after_the_jobs_before_it() -> None:
    platform = FakePlatform()
    platform.api = answering(page(["a"], f"{JOBS}?cursor=1"), b"<html>proxy</html>")
    async with client_of(platform, retry=RetryPolicy(attempts=3)):
        jobs = Job.all()
        assert (await anext(jobs)).id == "a"
        with pytest.raises(UnexpectedResponseError, match="a body that is not JSON"):
            await anext(jobs)
        platform.api = answering(page(["b"]))
        assert [job.id async for job in jobs] == ["b"]


@pytest.mark.parametrize("kind", [faults.Status(200, "html"), faults.Status(200, "invalid-json"), faults.Truncate()])
async def test_a_broken_page_of_a_real_server_is_requested_again(kind: faults.Kind) -> None:
    async with Sandbox() as sandbox:
        seeded = sandbox.seed_jobs(3, spread=6000)[::-1]
        sandbox.faults.add(kind, path=JOBS, times=1)
        quick = RetryPolicy(wait_initial=0.001)
        async with Client(**sandbox.credentials, endpoints=sandbox.endpoints, retry=quick):
            assert await ids_of() == seeded
        assert sandbox.count("GET", JOBS) == 2


async def test_a_job_that_cannot_be_read_is_in_errors_beside_the_others(caplog: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    odd = {**page(["c"])["jobs"][0], "created": "yesterday"}
    platform.api = answering({"jobs": [{"jobID": "b"}, *page(["a"])["jobs"], odd], "links": []})
    async with client_of(platform):
        for jobs in (Job.all(), Job.all(ids=["a", "b", "c"])):
            caplog.clear()
            assert [job.id async for job in jobs] == ["a", "c"]
            first, second = (str(error) for error in jobs.errors)
            assert first == f"GET {JOBS}: job 'b' cannot be read: status: None is no string"
            assert second.startswith(f"GET {JOBS}: job 'c' has fields that cannot be read and are None: created: ")
            assert caplog.messages == [first, second]


# Ids


def shuffled(ids: Sequence[str]) -> list[str]:
    """Return another order, the same each time."""
    return [*ids[1::2], *ids[::2]]


async def test_more_than_a_hundred_ids_are_asked_for_in_chunks_and_come_in_the_requested_order() -> None:
    async with connected() as sandbox:
        wanted = shuffled(sandbox.seed_jobs(250, spread=6000))
        assert await ids_of(ids=wanted) == wanted
        assert [len(query["ids"].split(",")) for query in queries(sandbox)] == [100, 100, 50]


async def test_a_repeated_id_comes_once_and_one_that_does_not_exist_not_at_all() -> None:
    async with connected() as sandbox:
        first, second = sandbox.seed_jobs(2)
        assert await ids_of(ids=[second, "nobody", first, second]) == [second, first]


async def test_ids_are_combined_with_other_filters() -> None:
    async with connected() as sandbox:
        running, captured = sandbox.seed_jobs(120, status="running"), sandbox.seed_jobs(120, status="captured")
        wanted = shuffled([*running, *captured])
        listed = await ids_of(ids=wanted, status=[CAPTURED])
        assert listed == [job_id for job_id in wanted if job_id in captured]


@pytest.mark.parametrize("status", [414, 413, 400])
@pytest.mark.parametrize("sort_by", [None, JobSorting.created.asc])
async def test_a_server_that_refuses_more_than_fifty_ids_is_asked_for_halves(
    status: int, sort_by: SortingField | None
) -> None:
    async with connected(ids_max=50, ids_max_status=status) as sandbox:
        seeded = sandbox.seed_jobs(220, spread=6000)
        assert await ids_of(ids=seeded, sort_by=sort_by) == seeded
        answered = [record for record in sandbox.requests if record.status == 200]
        assert len(answered) == 5
        assert len(sandbox.requests) <= 7


@pytest.mark.parametrize(
    "settings", [{"page_size_max": 20}, {"page_size_max": 20, "page_size_strict": True}, {"ids_page_size_max": 20}]
)
async def test_a_server_that_caps_its_pages_caps_those_of_ids_too(settings: dict[str, Any]) -> None:
    async with connected(**settings) as sandbox:
        wanted = shuffled(sandbox.seed_jobs(150, spread=6000))
        assert await ids_of(ids=wanted) == wanted


async def test_a_job_that_vanishes_between_pages_is_left_out() -> None:
    async with connected(page_size_max=20) as sandbox:
        seeded = sandbox.seed_jobs(60, spread=6000)
        jobs = Job.all(sort_by=JobSorting.created.asc)
        first = await anext(jobs)
        sandbox.forget(seeded[30])
        assert [first.id, *[job.id async for job in jobs]] == [*seeded[:30], *seeded[31:]]


async def test_an_error_is_raised_unchanged_and_the_loop_can_continue() -> None:
    async with connected() as sandbox:
        seeded = sandbox.seed_jobs(20, spread=6000)[::-1]
        sandbox.faults.add(faults.Status(403), path=JOBS, after=1, times=1)
        jobs, listed = Job.all(page_size=10), list[str]()
        listed += [(await anext(jobs)).id for _ in range(10)]
        with pytest.raises(APIError, match="status 403"):
            await anext(jobs)
        assert listed + [job.id async for job in jobs] == seeded
