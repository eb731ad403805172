"""Lists whose entries are read one by one: an entry that cannot be read does not hide the others."""

import logging
from typing import Any

import pytest

from tests.job_answers import FakeClient
from up42_async import UnexpectedResponseError
from up42_async._client.readable_list import MOST_MALFORMED, ReadableList, entry_id, numbered_page
from up42_async._http.requests import ApiRequest

FIRST = ApiRequest(method="GET", path="/v2/budgets", query="page=0")


def read(content: Any, request: ApiRequest) -> int:
    if not isinstance(content, int):
        raise UnexpectedResponseError(f"no number: {content}", request=str(request))
    return content


def entries(*pages: list[Any]) -> ReadableList[int]:
    def answer(request: ApiRequest) -> Any:
        return {"content": pages[int(request.query.removeprefix("page="))], "totalPages": len(pages)}

    return ReadableList(FakeClient(answer).client._session, FIRST, numbered_page, read, key=str)


async def test_an_unreadable_entry_is_an_error_and_the_others_are_returned(caplog: pytest.LogCaptureFixture) -> None:
    items = entries([1, "a", 2], ["b", 3])
    with caplog.at_level(logging.WARNING, "up42_async"):
        assert [item async for item in items] == [1, 2, 3]
    messages = ["GET /v2/budgets: no number: a", "GET /v2/budgets: no number: b"]
    assert [str(error) for error in items.errors] == caplog.messages == messages


async def test_a_page_that_is_mostly_unreadable_is_refused_and_the_errors_are_bounded() -> None:
    odd = [f"x{number}" for number in range(MOST_MALFORMED)]
    items = entries([*odd, 1], [*(f"y{word}" for word in odd), "z", 2])
    assert await anext(items) == 1
    with pytest.raises(UnexpectedResponseError, match="a page of which more than 100 entries cannot be read"):
        await anext(items)
    assert len(items.errors) == 2 * MOST_MALFORMED + 1


def test_an_entry_without_an_id_equals_no_other() -> None:
    assert entry_id({"id": "a"}) == entry_id({"id": "a", "more": 1}) == "a"
    assert len({entry_id({"title": str(number)}) for number in range(1000)}) == 1000
