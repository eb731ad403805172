"""Paged lists: every item once and in order, however the pages are cut, and an end to lists that have none."""

import contextlib
import itertools
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.job_answers import FakeClient, collect
from up42_async import PaginationError, ServerError, StatusError, UnexpectedResponseError, UntrustedURLError
from up42_async._client.pagination import MOST_EMPTY_PAGES, MOST_PAGES, Page, Pager, next_page
from up42_async._http.requests import ApiRequest


def number(position: int) -> ApiRequest:
    return ApiRequest(method="GET", path="/list", query=f"page={position}")


FIRST = number(0)
WITHOUT_LIMIT = ApiRequest(method="GET", path="/list")


def position_of(request: ApiRequest) -> int:
    return int(request.query.removeprefix("page=") or 0)


def read(answer: Any, _: ApiRequest) -> Page[Any]:
    """Read what the askers below answer: the items and the number of the next page."""
    items, following = answer
    return Page(items=items, next=None if following is None else number(following))


def pages(*cut: Sequence[Any]) -> Callable[[ApiRequest], Any]:
    """Answer with these pages, one after another."""

    def answer(request: ApiRequest) -> Any:
        position = position_of(request)
        return [cut[position], position + 1 if position + 1 < len(cut) else None]

    return answer


def pager(fake: FakeClient, without_limit: ApiRequest | None = None) -> Pager[Any]:
    plain = None if without_limit is None else lambda: without_limit
    return Pager(fake.client._session, FIRST, read, key=lambda item: item, without_limit=plain)


async def test_items_are_in_order_and_each_page_is_requested_when_it_is_needed() -> None:
    fake = FakeClient(pages([1, 2], [], [3]))
    items = pager(fake)
    assert fake.asked == []
    assert [await anext(items), await anext(items)] == [1, 2]
    assert fake.asked == [number(0)]
    assert [item async for item in items] == [3]
    assert fake.asked == [number(0), number(1), number(2)]


async def test_items_can_be_read_one_by_one_and_by_page_in_turn() -> None:
    fake = FakeClient(pages([1, 2, 3], [3], [4, 5]))
    items = pager(fake)
    assert await anext(items) == 1
    assert list(await items.next_items()) == [2, 3]
    assert list(await items.next_items()) == []
    assert list(await items.next_items()) == [4, 5]
    assert len(fake.asked) == 3
    with pytest.raises(StopAsyncIteration):
        await items.next_items()


async def test_after_the_last_page_no_request_is_sent() -> None:
    fake = FakeClient(pages([1]))
    items = pager(fake)
    assert [item async for item in items] == [1]
    assert [item async for item in items] == []
    assert len(fake.asked) == 1


async def test_a_repeated_item_is_left_out() -> None:
    assert [item async for item in pager(FakeClient(pages([1, 2, 2], [2, 3], [1, 2, 3], [4])))] == [1, 2, 3, 4]


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 20), max_size=5), min_size=1, max_size=8))
async def test_any_split_into_pages_with_any_repetition_gives_the_same_items_once_in_order(
    cut: list[list[int]],
) -> None:
    fake = FakeClient(pages(*cut))
    assert [item async for item in pager(fake)] == list(dict.fromkeys(item for part in cut for item in part))
    assert len(fake.asked) == len(cut)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
async def test_random_next_links_end_without_repeating_an_item(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    links = data.draw(st.lists(st.none() | st.integers(0, size - 1), min_size=size, max_size=size))
    contents = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=size, max_size=size))
    fake = FakeClient(lambda request: [contents[position_of(request)], links[position_of(request)]])
    seen: list[int] = []
    with contextlib.suppress(PaginationError):
        await collect(pager(fake), seen)
    assert len(seen) == len(set(seen))
    assert len(fake.asked) == len({position_of(request) for request in fake.asked})


@pytest.mark.parametrize("back", [0, 1, 2])
async def test_a_repeated_page_is_an_error_after_the_items_before_it(back: int) -> None:
    fake = FakeClient(lambda request: [[position_of(request)], (1, 2, back)[position_of(request)]])
    items = pager(fake)
    assert [await anext(items) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):  # it stays an error: the list has not ended
        with pytest.raises(PaginationError, match="GET /list: a list without an end: .* read before; ask again later"):
            await anext(items)
    assert len(fake.asked) == 3


API = "https://api.up42.com"
SEARCH = ApiRequest(method="POST", path="/v2/assets/stac/search", json={"limit": 10, "ids": ["a"]})


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ({"href": f"{API}/v2/list?page=2"}, ApiRequest(method="GET", path="/v2/list", query="page=2")),
        ({"href": "?page=2"}, ApiRequest(method="GET", path="/list", query="page=2")),
        (
            {"href": "/list?page=2", "method": "POST", "body": {}},
            ApiRequest(method="GET", path="/list", query="page=2"),
        ),
        ({"href": ""}, None),
        ({"href": None}, None),
        ({}, None),
    ],
)
def test_the_next_page_of_a_list_is_a_get(link: Any, expected: ApiRequest | None) -> None:
    assert next_page({"links": [5, {"rel": "self", "href": "/x"}, {"rel": "next", **link}]}, API, FIRST) == expected


@pytest.mark.parametrize("href", [{}, {"href": f"http://api.up42.com{SEARCH.path}"}, {"href": SEARCH.path}])
@pytest.mark.parametrize("method", [{}, {"method": "POST"}, {"method": "post", "merge": False}])
def test_the_next_page_of_a_search_is_a_post(href: Any, method: Any) -> None:
    link = {"rel": "next", "body": {"token": "t"}, **href, **method}
    expected = ApiRequest(method="POST", path=SEARCH.path, json={"limit": 10, "ids": ["a"], "token": "t"})
    assert next_page({"links": [link]}, API, SEARCH) == expected


def test_a_token_in_the_query_is_put_into_the_body_of_a_search() -> None:
    link = {"rel": "next", "href": "?token=next:2&limit=3"}
    expected = ApiRequest(method="POST", path=SEARCH.path, json={"limit": 10, "ids": ["a"], "token": "next:2"})
    assert next_page({"links": [link]}, API, SEARCH) == expected


def test_the_next_page_of_a_search_is_a_get_where_the_link_says_so() -> None:
    link = {"rel": "next", "href": f"{SEARCH.path}?limit=10&page=2", "method": "get"}
    assert next_page({"links": [link]}, API, SEARCH) == ApiRequest(
        method="GET", path=SEARCH.path, query="limit=10&page=2"
    )


@pytest.mark.parametrize("links", ["/v2/next", {"next": "/v2/next"}, 7])
def test_links_that_are_not_a_list_are_an_error_in_place_of_the_next_page(links: Any) -> None:
    assert "an answer whose links are no list" in str(next_page({"links": links}, API, FIRST))


@pytest.mark.parametrize("links", [None, [], {}, 0])
def test_a_page_without_links_is_the_last(links: Any) -> None:
    assert next_page({"links": links}, API, FIRST) is None
    assert next_page({}, API, FIRST) is None


async def test_the_items_of_a_page_with_a_bad_next_link_come_before_its_error() -> None:
    def read_with_link(answer: Any, request: ApiRequest) -> Page[int]:
        return Page(items=answer, next=next_page({"links": [{"rel": "next", "href": "//evil.test/"}]}, API, request))

    items = Pager(FakeClient(lambda _: [1, 2]).client._session, FIRST, read_with_link, key=lambda item: item)
    assert [await anext(items), await anext(items)] == [1, 2]
    errors = []
    for _ in range(2):  # it stays an error: the list has not ended
        with pytest.raises(UntrustedURLError, match=r"a link to evil\.test, which is not UP42's") as caught:
            await anext(items)
        errors.append(caught.value)
    assert errors[0] is not errors[1]


@pytest.mark.parametrize(
    "first",
    [
        ApiRequest(method="GET", path="/list", query="page=0&limit=5"),
        ApiRequest(method="GET", path="/list", query="page=0&size=5"),
        ApiRequest(method="POST", path="/list", query="page=0", json={"limit": 5}),
    ],
)
async def test_a_page_of_more_than_ten_times_its_size_is_refused(first: ApiRequest) -> None:
    sizes = iter([50, 51])
    fake = FakeClient(lambda _: [list(range(start := next(sizes), 2 * start)), 1])
    items = Pager(fake.client._session, first, read, key=lambda item: item)
    assert [await anext(items) for _ in range(50)] == list(range(50, 100))
    with pytest.raises(UnexpectedResponseError, match="/list: a page of 51 entries where 5 were asked for"):
        await anext(items)


async def test_without_a_page_size_pages_may_have_any_size() -> None:
    first = ApiRequest(method="GET", path="/list", query="limit=5")
    fake = FakeClient(lambda request: [list(range(100)), None] if request == WITHOUT_LIMIT else 400)
    items = Pager(fake.client._session, first, read, key=lambda item: item, without_limit=lambda: WITHOUT_LIMIT)
    assert len([item async for item in items]) == 100
    assert len([item async for item in Pager(fake.client._session, WITHOUT_LIMIT, read, key=int)]) == 100


async def test_endless_empty_pages_are_an_error() -> None:
    fake = FakeClient(lambda request: [[], position_of(request) + 1])
    with pytest.raises(PaginationError, match="100 pages in a row without a new item"):
        await anext(pager(fake))
    assert len(fake.asked) == MOST_EMPTY_PAGES == 100


async def test_endless_pages_of_repeated_items_are_an_error() -> None:
    """A server that does not know our parameter for the page sends the first one again and again."""
    fake = FakeClient(lambda request: [[1, 2], position_of(request) + 1])
    items = pager(fake)
    assert [await anext(items), await anext(items)] == [1, 2]
    with pytest.raises(PaginationError, match="100 pages in a row without a new item"):
        await anext(items)
    assert len(fake.asked) == 1 + MOST_EMPTY_PAGES


async def test_a_few_empty_pages_do_not_end_a_list() -> None:
    cut: list[list[int]] = [[]] * 99 + [[1]] + [[]] * 99 + [[2]]
    assert [item async for item in pager(FakeClient(pages(*cut)))] == [1, 2]


async def test_more_than_ten_thousand_pages_are_an_error() -> None:
    fake = FakeClient(lambda request: [[position_of(request)], position_of(request) + 1])
    seen: list[int] = []
    with pytest.raises(PaginationError, match="more than 10000 pages; narrow it down by filters"):
        await collect(pager(fake), seen)
    assert len(seen) == len(fake.asked) == MOST_PAGES == 10_000


async def test_ten_thousand_pages_are_no_error() -> None:
    last = MOST_PAGES - 1
    fake = FakeClient(lambda request: [[p := position_of(request)], p + 1 if p < last else None])
    assert [item async for item in pager(fake)] == list(range(MOST_PAGES))


async def test_after_an_error_the_same_page_is_requested_again() -> None:
    answers = iter([[[1], 1], 503, ["broken"], [[2], None]])
    items = pager(FakeClient(lambda _: next(answers)))
    assert await anext(items) == 1
    with pytest.raises(ServerError):
        await anext(items)
    with pytest.raises(ValueError, match="unpack"):
        await anext(items)
    assert [item async for item in items] == [2]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refused_page_size_is_left_out(status: int) -> None:
    fake = FakeClient(lambda request: [[1], None] if request == WITHOUT_LIMIT else status)
    items = pager(fake, WITHOUT_LIMIT)
    assert not items.refused_limit
    assert [item async for item in items] == [1]
    assert items.refused_limit
    assert fake.asked == [FIRST, WITHOUT_LIMIT]


async def test_a_refused_page_size_stays_left_out_after_an_error() -> None:
    answers = iter([400, 503, [[1], None]])
    fake = FakeClient(lambda _: next(answers))
    items = pager(fake, WITHOUT_LIMIT)
    with pytest.raises(ServerError):
        await anext(items)
    assert await anext(items) == 1
    assert fake.asked == [FIRST, WITHOUT_LIMIT, WITHOUT_LIMIT]


async def test_a_request_that_is_refused_without_a_page_size_too_is_an_error() -> None:
    fake = FakeClient(lambda _: 400)
    items = pager(fake, WITHOUT_LIMIT)
    for requests in (2, 3):
        with pytest.raises(StatusError, match="status 400"):
            await anext(items)
        assert len(fake.asked) == requests


@pytest.mark.parametrize("status", [403, 404, 413, 414, 500])
async def test_other_error_statuses_are_not_about_the_page_size(status: int) -> None:
    fake = FakeClient(lambda _: status)
    with pytest.raises(StatusError, match=f"status {status}"):
        await anext(pager(fake, WITHOUT_LIMIT))
    assert len(fake.asked) == 1


async def test_a_refusal_of_a_later_page_is_not_about_the_page_size() -> None:
    answers = iter([[[1], 1], 400])
    items = pager(FakeClient(lambda _: next(answers)), WITHOUT_LIMIT)
    assert await anext(items) == 1
    with pytest.raises(StatusError, match="status 400"):
        await anext(items)


async def test_a_next_link_to_the_request_without_page_size_is_an_error_at_once() -> None:
    def answer(request: ApiRequest) -> Any:
        return 400 if request == FIRST else [[1], 7]

    fake = FakeClient(answer)
    items = Pager(
        fake.client._session,
        FIRST,
        lambda page, _: Page(items=page[0], next=WITHOUT_LIMIT),
        key=lambda item: item,
        without_limit=lambda: WITHOUT_LIMIT,
    )
    assert await anext(items) == 1
    with pytest.raises(PaginationError):
        await anext(items)
    assert fake.asked == [FIRST, WITHOUT_LIMIT]


async def test_pages_that_differ_in_their_body_only_are_different_pages() -> None:
    def read_posted(answer: Any, request: ApiRequest) -> Page[int]:
        following = ApiRequest(method="POST", path="/search", json={"token": answer[0]})
        return Page(items=answer, next=following if request.json["token"] < 3 else None)

    fake = FakeClient(lambda request: [request.json["token"] + 1])
    first = ApiRequest(method="POST", path="/search", json={"token": 0})
    assert [item async for item in Pager(fake.client._session, first, read_posted, key=lambda item: item)] == [
        1,
        2,
        3,
        4,
    ]


class SlowClient(FakeClient):
    """Let others work while it is asked."""

    async def call(self, request: ApiRequest) -> Any:
        answer = await super().call(request)
        await anyio.sleep(0.001 * (1 + position_of(request) % 3))
        return answer


async def test_tasks_that_share_an_iterator_get_each_item_once_and_request_each_page_once() -> None:
    fake = SlowClient(pages(*[[10 * part + item for item in range(10)] for part in range(12)]))
    items, seen = pager(fake), list[int]()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(collect, items, seen)
    assert sorted(seen) == list(range(120))
    assert len(fake.asked) == 12


async def test_a_cancelled_step_loses_nothing() -> None:
    fake = SlowClient(pages([1], [2], [3]))
    items, seen = pager(fake), list[int]()
    for patience in itertools.cycle(range(7)):
        with anyio.move_on_after(0.001 * patience):
            await collect(items, seen)
            break
    assert seen == [1, 2, 3]


async def test_a_long_list_needs_little_memory() -> None:
    def answer(request: ApiRequest) -> Any:
        position = position_of(request)
        return [
            [f"{position * 200 + item:020}" + "x" * 2000 for item in range(200)],
            position + 1 if position < 99 else None,
        ]

    items, count = pager(FakeClient(answer)), 0
    tracemalloc.start()
    try:
        async for _ in items:
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 8 * 2**20  # the items alone are 40 MB


async def test_a_page_that_cannot_be_read_is_requested_again_with_all_its_items() -> None:
    def read_strictly(answer: Any, request: ApiRequest) -> Page[Any]:
        if answer[0] == ["bad"]:
            raise UnexpectedResponseError("no page", request=str(request))
        return read(answer, request)

    answers = iter([[["bad"], None], [["good"], None]])
    items = Pager(FakeClient(lambda _: next(answers)).client._session, FIRST, read_strictly, key=lambda item: item)
    with pytest.raises(UnexpectedResponseError, match="GET /list: no page"):
        await anext(items)
    assert [item async for item in items] == ["good"]
