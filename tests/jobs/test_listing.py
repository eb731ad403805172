"""Lists of jobs, and many jobs by id, from servers that limit their pages and the ids they accept."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.job_answers import API, JOBS, FakeClient, collect, ids_in, metadata, page, parameters
from up42_async import APIError, NotFoundError, ServerError, StatusError, UnexpectedResponseError, UntrustedURLError
from up42_async._http.requests import ApiRequest
from up42_async._jobs.filters import Filters, arranged
from up42_async._jobs.id_queries import ById
from up42_async._jobs.listing import IdPager
from up42_async._jobs.parsing import JobPager, Unreadable, job_request, page_of
from up42_async._jobs.polling_state import QueryFailure

LIST = ApiRequest(method="GET", path=JOBS)
MANY = [f"job-{number:03}" for number in range(250)]
GONE = "gone"


class BareJob(str):
    """A job with an id only, and the fields that could not be read."""

    __slots__ = ("_unreadable",)
    _unreadable: Unreadable | None

    @property
    def id(self) -> str:
        return str(self)


def read(answer: Any, request: ApiRequest) -> BareJob:
    """Read the id of a job; one without status cannot be read."""
    if not isinstance(answer, dict) or "status" not in answer:
        raise UnexpectedResponseError("no job", request=str(request))
    job = BareJob(answer["jobID"])
    job._unreadable = {"created": "no time"} if answer["created"] is None else None
    return job


def key(job: str) -> str:
    return job


def following(request: ApiRequest, **changes: str) -> str:
    parameters_then = {**parameters(request), **changes}
    return f"{JOBS}?" + "&".join(f"{name}={value}" for name, value in parameters_then.items())


class Server:
    """A server that has some jobs, and limits its pages and the ids it accepts."""

    def __init__(
        self,
        known: Sequence[str] = MANY,
        *,
        most: int = 1000,
        refusal: int = 414,
        page_size: int = 1000,
        strict: bool = False,
        bad: Sequence[str] = (),
    ) -> None:
        self.known = list(known)
        self.most = most
        self.refusal = refusal
        self.page_size = page_size
        self.strict = strict
        self.bad = bad

    def __call__(self, request: ApiRequest) -> Any:
        if request.path != JOBS:
            (job_id,) = ids_in(request)
            return metadata(job_id) if job_id in self.known else 404
        wanted, query = ids_in(request), parameters(request)
        if len(wanted) > self.most:
            return self.refusal
        if set(wanted) & set(self.bad) or (self.strict and int(query.get("limit", 0)) > self.page_size):
            return 400
        jobs = [job for job in self.known if job in wanted]
        start, size = int(query.get("cursor", 0)), min(self.page_size, int(query.get("limit", 1000)))
        link = following(request, cursor=str(start + size)) if start + size < len(jobs) else None
        return page(jobs[start : start + size], link)


def id_pager(
    fake: FakeClient, ids: Sequence[str], *, limit: int = 500, arranging: bool | None = None
) -> IdPager[BareJob]:
    arrange: Any = None if arranging is None else partial(arranged, value=key, ascending=arranging)
    return IdPager(fake.client, read, Filters(ids=list(ids)), limit=limit, key=key, arrange=arrange)


def lists(fake: FakeClient) -> list[int]:
    """Return how many ids each list was asked for, 0 for a single job."""
    return [len(ids_in(request)) if request.path == JOBS else 0 for request in fake.asked]


# One page


def test_one_job_is_requested_by_its_quoted_id() -> None:
    assert job_request("a/b?c#d") == ApiRequest(method="GET", path=f"{JOBS}/a%2Fb%3Fc%23d")


@pytest.mark.parametrize("job_id", ["", ".", "..", "\r\n", "x" * 10_000])
def test_an_invalid_id_is_refused(job_id: str) -> None:
    with pytest.raises(ValueError, match="job id .* cannot be right"):
        job_request(job_id)


def test_an_id_that_is_not_a_string_is_refused() -> None:
    with pytest.raises(TypeError, match="job id must be a string, not int"):
        job_request(5)


@pytest.mark.parametrize("links", [None, ..., [], {}, [{}], [{"rel": "self", "href": "/v2/x"}], [{"rel": "next"}], [7]])
def test_a_page_without_next_link_is_the_last(links: Any) -> None:
    answer = page(["a", "b"])
    answer["links"] = links
    if links is ...:
        del answer["links"]
    last = page_of(read, API, [], answer, LIST)
    assert (last.items, last.next) == (["a", "b"], None)


@pytest.mark.parametrize("links", ["/v2/next", {"next": "/v2/next"}, 7])
def test_invalid_links_are_an_error_after_the_jobs_of_the_page(links: Any) -> None:
    answered = page_of(read, API, [], page(["a"]) | {"links": links}, LIST)
    assert answered.items == ["a"]
    assert str(answered.next) == "GET /v2/processing/jobs: an answer whose links are no list"


def test_jobs_that_are_null_are_an_empty_page() -> None:
    assert page_of(read, API, [], {"jobs": None}, LIST).items == []


@pytest.mark.parametrize("answer", [None, [], {}, "jobs", {"jobs": {}}, {"jobs": "a"}, {"jobs": 0}, {"data": []}])
def test_an_answer_without_a_list_of_jobs_is_an_error(answer: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="GET /v2/processing/jobs: an answer without a list of jobs"):
        page_of(read, API, [], answer, LIST)


@pytest.mark.parametrize("href", [f"{JOBS}?cursor=1", f"{API}{JOBS}?cursor=1", f"http://api.up42.com{JOBS}?cursor=1"])
def test_a_next_link_is_requested_from_the_api_host(href: str) -> None:
    assert page_of(read, API, [], page([], href), LIST).next == ApiRequest(method="GET", path=JOBS, query="cursor=1")


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.test/v2/processing/jobs",
        "https://api.up42.com.evil.test/v2/processing/jobs",
        "https://api.up42.com@evil.test/v2/processing/jobs",
        "//evil.test/v2/processing/jobs",
        "https://api.up42.com:99999/v2/processing/jobs",
        "@evil.test/x",
        ["/v2"],
    ],
)
def test_a_next_link_to_another_host_is_an_error_after_the_page(href: Any) -> None:
    answered = page_of(read, API, [], page(["a"], href), LIST)
    assert answered.items == ["a"]
    assert isinstance(answered.next, UntrustedURLError)
    assert "it was not followed" in str(answered.next)


# Lists of ids for users


@pytest.mark.parametrize("page_size", [1000, 20, 7])
async def test_ids_are_requested_in_hundreds_and_returned_in_the_requested_order(page_size: int) -> None:
    fake = FakeClient(Server(page_size=page_size))
    wanted = [*MANY[::-1], MANY[3]]
    assert [job async for job in id_pager(fake, wanted)] == MANY[::-1]
    firsts = [request for request in fake.asked if "cursor" not in parameters(request)]
    assert [len(ids_in(request)) for request in firsts] == [100, 100, 50]
    assert [parameters(request)["limit"] for request in firsts] == ["100", "100", "50"]


async def test_each_part_of_the_ids_is_requested_when_it_is_needed() -> None:
    fake = FakeClient(Server())
    jobs = id_pager(fake, MANY)
    assert fake.asked == []
    assert [await anext(jobs) for _ in range(100)] == MANY[:100]
    assert lists(fake) == [100]


async def test_missing_ids_and_jobs_that_were_not_requested_are_left_out() -> None:
    fake = FakeClient(lambda _: page(["b", "stranger", "a"]))
    assert [job async for job in id_pager(fake, ["a", GONE, "b"])] == ["a", "b"]
    assert [job async for job in id_pager(fake, ["a", GONE, "b"], arranging=True)] == ["b", "a"]


async def test_no_ids_cost_no_request() -> None:
    fake = FakeClient(Server())
    assert [job async for job in id_pager(fake, [])] == []
    assert [job async for job in id_pager(fake, [], arranging=True)] == []
    assert fake.asked == []


async def test_a_single_list_stays_as_the_server_has_sorted_it() -> None:
    fake = FakeClient(lambda _: page(["b", "c", "a"]))
    assert [job async for job in id_pager(fake, ["a", "b", "c"], arranging=True)] == ["b", "c", "a"]


@pytest.mark.parametrize("ascending", [True, False])
async def test_several_lists_are_sorted_together(ascending: bool) -> None:
    fake = FakeClient(Server())
    jobs = id_pager(fake, MANY[::-1], arranging=ascending)
    assert await anext(jobs) == (MANY[0] if ascending else MANY[-1])
    assert lists(fake) == [100, 100, 50]
    assert [job async for job in jobs] == (MANY[1:] if ascending else MANY[-2::-1])


@pytest.mark.parametrize("refusal", [400, 413, 414, 422, 431])
@pytest.mark.parametrize("arranging", [None, True])
async def test_a_refused_list_and_those_after_it_are_requested_in_halves(refusal: int, arranging: bool | None) -> None:
    fake = FakeClient(Server(most=50, refusal=refusal))
    assert [job async for job in id_pager(fake, MANY, arranging=arranging)] == MANY
    refused = 2 if refusal in {400, 422} else 1  # which may be for the page size
    assert lists(fake) == [100] * refused + [50] * 5


async def test_one_refused_list_is_sorted_again_when_its_halves_are_there() -> None:
    fake = FakeClient(Server(["c", "b", "d", "a"], most=2))
    assert [job async for job in id_pager(fake, ["d", "b", "c", "a"], arranging=True)] == ["a", "b", "c", "d"]


async def test_a_single_id_that_is_refused_is_an_error() -> None:
    fake = FakeClient(Server(bad=["bad"]))
    jobs = id_pager(fake, ["job-001", "job-002", "bad"])
    assert [await anext(jobs), await anext(jobs)] == ["job-001", "job-002"]
    with pytest.raises(StatusError, match="status 400"):
        await anext(jobs)


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_other_refusals_are_not_about_the_number_of_ids(status: int) -> None:
    fake = FakeClient(lambda _: status)
    with pytest.raises(StatusError, match=f"status {status}"):
        await anext(id_pager(fake, MANY))
    assert lists(fake) == [100]


@pytest.mark.parametrize("arranging", [None, True])
async def test_after_an_error_only_missing_jobs_are_requested_again(arranging: bool | None) -> None:
    server, failing = Server(), iter([False, True, False, False])
    fake = FakeClient(lambda request: 503 if next(failing) else server(request))
    jobs, seen = id_pager(fake, MANY, arranging=arranging), list[str]()
    with pytest.raises(ServerError):
        await collect(jobs, seen)
    seen += [job async for job in jobs]
    assert seen == MANY
    assert lists(fake) == [100, 100, 100, 50]


async def test_a_refused_page_size_is_not_sent_again() -> None:
    fake = FakeClient(Server(page_size=20, strict=True))
    assert [job async for job in id_pager(fake, MANY)] == MANY
    assert sum("limit" in parameters(request) for request in fake.asked) == 1


async def test_a_small_page_size_holds_for_lists_of_ids_too() -> None:
    fake = FakeClient(Server())
    assert [job async for job in id_pager(fake, MANY[:90], limit=40)] == MANY[:90]
    assert [parameters(request)["limit"] for request in fake.asked] == ["40", "40", "40"]


async def test_a_refusal_without_page_size_is_not_asked_again() -> None:
    fake = FakeClient(lambda _: 400)
    with pytest.raises(StatusError):
        await anext(JobPager(fake.client, read, Filters().query, limit=None, key=key))
    assert len(fake.asked) == 1


class SlowClient(FakeClient):
    """Has a checkpoint in each request, so that other tasks run meanwhile."""

    async def call(self, request: ApiRequest) -> Any:
        answer = await super().call(request)
        await anyio.sleep(0.001)
        return answer


async def test_tasks_that_share_an_iterator_get_each_job_once_and_request_each_part_once() -> None:
    fake = SlowClient(Server(most=20))
    jobs, seen = id_pager(fake, MANY), list[str]()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(collect, jobs, seen)
    assert sorted(seen) == MANY
    assert lists(fake)[:3] == [100, 50, 25]
    assert sum(lists(fake)[3:]) == 250


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(MANY), max_size=250),
    st.integers(1, 120),
    st.integers(1, 120),
    st.booleans(),
    st.sampled_from([400, 413, 414]),
)
async def test_with_any_limits_of_the_server_each_job_is_returned_once_in_the_requested_order(
    wanted: list[str], most: int, page_size: int, strict: bool, refusal: int
) -> None:
    known = MANY[::2]
    fake = FakeClient(Server(known, most=most, page_size=page_size, strict=strict, refusal=refusal))
    expected = [job for job in dict.fromkeys(wanted) if job in known]
    assert [job async for job in id_pager(fake, wanted)] == expected
    assert [job async for job in id_pager(fake, wanted, arranging=True)] == sorted(expected)


# Many ids for the tracker, with an answer for each


Answers = dict[str, BareJob | APIError]


class QueryRecorder:
    """Requests jobs by id, and records the answers."""

    def __init__(self, fake: FakeClient) -> None:
        self._by_id = ById(fake.client, read, key)
        self.refused: set[str] = set()
        """Ids for which UP42 itself refuses to answer."""

    async def ask(self, ids: Sequence[str]) -> Answers:
        answers: Answers = {}

        def give(given: Mapping[str, BareJob | QueryFailure]) -> None:
            assert answers.keys().isdisjoint(given)
            for id_, answer in given.items():
                answers[id_] = answer.error if isinstance(answer, QueryFailure) else answer
                if isinstance(answer, QueryFailure) and answer.is_refusal:
                    self.refused.add(id_)

        await self._by_id.ask(ids, give)
        return answers


def by_id(fake: FakeClient) -> QueryRecorder:
    return QueryRecorder(fake)


async def test_a_hundred_ids_are_one_request() -> None:
    fake = FakeClient(Server())
    assert await by_id(fake).ask(MANY[:100]) == {job: job for job in MANY[:100]}
    assert lists(fake) == [100]
    assert parameters(fake.asked[0])["limit"] == "100"


async def test_one_id_is_requested_as_a_single_job() -> None:
    fake = FakeClient(Server())
    assert await by_id(fake).ask(["job-001"]) == {"job-001": "job-001"}
    assert lists(fake) == [0]


async def test_no_ids_are_no_request() -> None:
    fake = FakeClient(Server())
    assert await by_id(fake).ask([]) == {}
    assert fake.asked == []


async def test_a_capped_page_is_followed() -> None:
    fake = FakeClient(Server(page_size=20))
    assert await by_id(fake).ask(MANY[:100]) == {job: job for job in MANY[:100]}
    assert lists(fake) == [100] * 5


async def test_pages_are_not_followed_further_than_needed() -> None:
    fake = FakeClient(lambda request: page(["a", "b"], following(request, cursor="1")))
    assert await by_id(fake).ask(["a", "b"]) == {"a": "a", "b": "b"}
    assert lists(fake) == [2]


async def test_ids_that_are_missing_from_a_list_are_requested_one_by_one() -> None:
    server = Server()
    fake = FakeClient(lambda request: page(ids_in(request)[2:]) if request.path == JOBS else server(request))
    answers = await by_id(fake).ask([GONE, *MANY[:9]])
    assert isinstance(answers.pop(GONE), NotFoundError)
    assert answers == {job: job for job in MANY[:9]}
    assert lists(fake) == [10, 0, 0]


@pytest.mark.parametrize("refusal", [400, 413, 414, 422, 431])
async def test_the_number_of_ids_that_a_server_takes_is_learned(refusal: int) -> None:
    fake = FakeClient(Server(most=30, refusal=refusal))
    many = by_id(fake)
    assert await many.ask(MANY[:100]) == {job: job for job in MANY[:100]}
    fake.asked.clear()
    assert await many.ask(MANY[:100]) == {job: job for job in MANY[:100]}
    assert lists(fake) == [25] * 4


async def test_a_server_that_takes_no_lists_is_asked_for_single_jobs() -> None:
    fake = FakeClient(Server(most=1))
    many = by_id(fake)
    assert await many.ask(MANY[:10]) == {job: job for job in MANY[:10]}
    fake.asked.clear()
    assert await many.ask(MANY[:10]) == {job: job for job in MANY[:10]}
    assert lists(fake) == [0] * 10


@pytest.mark.parametrize("others", [1, 2, 3, 4, 5, 6, 20, 99])
async def test_one_bad_id_affects_neither_the_others_nor_the_learned_number_of_ids(others: int) -> None:
    fake = FakeClient(Server(bad=["bad"]))
    many = by_id(fake)
    wanted = [*MANY[:others], "bad"]
    answers = await many.ask(wanted)
    assert isinstance(answers.pop("bad"), NotFoundError)
    assert answers == {job: job for job in MANY[:others]}
    fake.asked.clear()
    await many.ask(MANY[:100])
    assert lists(fake) == [100]


async def test_an_outage_while_halves_are_requested_changes_no_learned_limit() -> None:
    server, answers = Server(), iter([414, 503, 503])
    fake = FakeClient(lambda request: next(answers, None) or server(request))
    many = by_id(fake)
    assert all(isinstance(answer, ServerError) for answer in (await many.ask(MANY[:10])).values())
    fake.asked.clear()
    await many.ask(MANY[:100])
    assert lists(fake) == [100]


async def test_a_refused_page_size_is_learned() -> None:
    fake = FakeClient(Server(page_size=20, strict=True))
    many = by_id(fake)
    for expected in (6, 5):
        fake.asked.clear()
        assert await many.ask(MANY[:100]) == {job: job for job in MANY[:100]}
        assert lists(fake) == [100] * expected


@pytest.mark.parametrize("answer", [503, 429, {"no": "jobs"}, page([], "https://evil.test/")])
async def test_a_list_that_fails_is_the_answer_for_each_id(answer: Any) -> None:
    fake = FakeClient(lambda _: answer)
    answers = await by_id(fake).ask(MANY[:10])
    assert set(answers) == set(MANY[:10])
    assert all(isinstance(error, APIError) for error in answers.values())
    assert lists(fake) == [10]


async def test_answers_of_a_list_that_breaks_off_are_kept() -> None:
    answers = iter([page(MANY[:4], f"{JOBS}?cursor=4"), 503])
    found = await by_id(FakeClient(lambda _: next(answers))).ask(MANY[:10])
    assert {job: found[job] for job in MANY[:4]} == {job: job for job in MANY[:4]}
    assert all(isinstance(found[job], ServerError) for job in MANY[4:10])


async def test_a_job_that_cannot_be_read_does_not_hide_the_others() -> None:
    def answer(request: ApiRequest) -> Any:
        if request.path != JOBS:
            return 404
        return {"jobs": [metadata("a"), metadata("b", status=...), None, {}, 7, metadata("c")]}

    found = await by_id(FakeClient(answer)).ask(["a", "b", "c", "d"])
    assert isinstance(found["b"], UnexpectedResponseError)
    assert isinstance(found["d"], NotFoundError)
    assert (found["a"], found["c"]) == ("a", "c")


async def test_an_error_that_is_no_answer_is_raised_unchanged() -> None:
    fake = FakeClient(lambda request: RuntimeError("closed") if request.path != JOBS else page([]))
    with pytest.raises(RuntimeError, match="closed"):
        await by_id(fake).ask(["a", "b", "c"])


@settings(max_examples=100)
@given(
    st.sets(st.sampled_from([*MANY, GONE, "bad"]), max_size=100),
    st.integers(1, 120),
    st.integers(1, 120),
    st.booleans(),
    st.sampled_from([400, 413, 414]),
)
async def test_every_id_has_its_answer_whatever_the_server_limits(
    wanted: set[str], most: int, page_size: int, strict: bool, refusal: int
) -> None:
    server = Server(most=most, page_size=page_size, strict=strict, refusal=refusal, bad=["bad"])
    many = by_id(FakeClient(server))
    for _ in range(2):
        answers = await many.ask(list(wanted))
        assert set(answers) == wanted
        lost = {id_ for id_, answer in answers.items() if isinstance(answer, NotFoundError)}
        assert lost == wanted & {GONE, "bad"}
        assert all(answers[id_] == id_ for id_ in wanted - lost)


# Refusals of UP42 and of gateways

GATEWAY_PAGE = StatusError("page", status=404, body="<html>", from_platform=False, transient=True)
EMPTY = StatusError("nothing", status=404, body="", from_platform=False, transient=True)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_list_that_a_gateway_refuses_is_not_split(status: int) -> None:
    error = StatusError("page", status=status, body="<html>", from_platform=False, transient=True)
    fake = FakeClient(lambda _: error)
    many = by_id(fake)
    assert await many.ask(MANY[:10]) == dict.fromkeys(MANY[:10], error)
    assert (lists(fake), many.refused) == ([10], set())


async def test_a_gateways_page_about_one_job_is_no_refusal() -> None:
    many = by_id(FakeClient(lambda _: GATEWAY_PAGE))
    assert await many.ask(["a"]) == {"a": GATEWAY_PAGE}
    assert many.refused == set()


async def test_an_empty_refusal_is_the_platforms_when_a_list_came_without_the_id() -> None:
    fake = FakeClient(lambda request: page(["a"]) if request.path == JOBS else EMPTY)
    many = by_id(fake)
    assert await many.ask(["a", GONE]) == {"a": "a", GONE: EMPTY}
    assert (lists(fake), many.refused) == ([2, 0], {GONE})


@pytest.mark.parametrize(
    ("listed", "refused", "answer"), [(page([]), {"a"}, EMPTY), (503, set(), EMPTY), (page(["a"]), set(), "a")]
)
async def test_an_empty_refusal_of_a_single_id_is_compared_with_a_list(
    listed: Any, refused: set[str], answer: Any
) -> None:
    fake = FakeClient(lambda request: listed if request.path == JOBS else EMPTY)
    many = by_id(fake)
    assert await many.ask(["a"]) == {"a": answer}
    assert (lists(fake), many.refused) == ([0, 1], refused)


async def test_an_empty_answer_of_an_outage_is_no_refusal() -> None:
    fake = FakeClient(lambda _: ServerError("down", status=503, body="", from_platform=False, transient=True))
    many = by_id(fake)
    assert list(await many.ask(["a"])) == ["a"]
    assert (lists(fake), many.refused) == ([0], set())


async def test_another_job_than_the_requested_one_is_an_error() -> None:
    many = by_id(FakeClient(lambda _: metadata("stranger")))
    error = (await many.ask(["a"]))["a"]
    assert isinstance(error, UnexpectedResponseError)
    assert (str(error), error.transient) == (f"GET {JOBS}/a: an answer about job 'stranger' instead of 'a'", True)
    assert many.refused == set()


async def test_an_id_is_the_same_in_capitals() -> None:
    assert await by_id(FakeClient(lambda _: metadata("abc-1"))).ask(["ABC-1"]) == {"ABC-1": "abc-1"}


async def test_answers_are_handed_over_as_they_arrive() -> None:
    """A job that is missing from the list, and whose own request hangs, delays no other."""

    class Hanging(FakeClient):
        async def call(self, request: ApiRequest) -> Any:
            answer = await super().call(request)
            if request.path != JOBS:
                await anyio.sleep_forever()
            return answer

    seen: list[str] = []
    fake = Hanging(lambda request: page(["a", "b"]) if request.path == JOBS else metadata("c"))
    with anyio.move_on_after(0.05):
        await ById(fake.client, read, key).ask(["a", "b", "c"], seen.extend)
    assert seen == ["a", "b"]


async def test_the_answers_of_a_page_are_handed_over_while_the_next_one_hangs() -> None:
    class Hanging(FakeClient):
        async def call(self, request: ApiRequest) -> Any:
            if self.asked:
                await anyio.sleep_forever()
            return await super().call(request)

    seen: list[str] = []
    fake = Hanging(lambda _: page(["a", "b"], f"{JOBS}?cursor=1"))
    with anyio.move_on_after(0.05):
        await ById(fake.client, read, key).ask(["a", "b", "c"], seen.extend)
    assert seen == ["a", "b"]


async def test_fields_that_cannot_be_read_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = iter([page(["a", "b"], created=None), metadata("b", created=None), page(["a", "b"], created=None)])
    many = by_id(FakeClient(lambda _: next(answers)))
    for ids in (["a", "b"], ["b"], ["a", "b"]):
        await many.ask(ids)
    assert sorted(caplog.messages) == [
        f"GET {JOBS}: job '{id_}' has fields that cannot be read and are None: created: no time" for id_ in "ab"
    ]


# Unreadable jobs


async def test_entries_that_cannot_be_read_are_in_errors_beside_the_jobs(caplog: pytest.LogCaptureFixture) -> None:
    entries = [metadata("a"), {"jobID": "b"}, None, metadata("c", created=None)]
    jobs = id_pager(FakeClient(lambda _: {"jobs": entries}), ["a", "b", "c"])
    assert [job async for job in jobs] == ["a", "c"]
    assert [str(error).removeprefix(f"GET {JOBS}: ") for error in jobs.errors] == [
        "no job",
        "no job",
        "job 'c' has fields that cannot be read and are None: created: no time",
    ]
    assert caplog.messages == [str(error) for error in jobs.errors]


def test_a_page_with_too_many_unreadable_jobs_is_refused() -> None:
    with pytest.raises(UnexpectedResponseError, match="more than 100 jobs that cannot be read, the last: .* no job"):
        page_of(read, API, [], {"jobs": [{}] * 101}, LIST)
    assert page_of(read, API, [], {"jobs": [{}] * 100}, LIST).items == []
