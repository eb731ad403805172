"""Every object has a repr of one line of at most 200 characters and well-formed HTML, whatever values it has."""

import datetime as dt
import html.parser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.job_answers import metadata
from up42_async import (
    Asset,
    Budget,
    Client,
    Cost,
    ExecutionResult,
    Job,
    Journal,
    JournalEntry,
    PipelineResult,
    Process,
    ResultFile,
    StatusError,
    track,
)
from up42_async._client import display
from up42_async._jobs.board import BoardState
from up42_async.processing_templates import DetectionTreesSpacept, GreyWeight, MultiItemJobTemplate, Pansharpening

ITEM = "https://api.up42.com/v2/assets/stac/collections/c/items/i"
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)


class Many(MultiItemJobTemplate):
    process_id = "many"


odd_texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="\x00\n\r\t\x1b[2J\u202e\u2028<>&\"'\ud800a", min_size=1, max_size=60),
    st.sampled_from(
        ["x" * 10_000, "\n" * 300, "\u202e" * 300, "<script>alert(1)</script>", "https://x.test/" + "p/" * 200]
    ),
)


def job_of(text: str) -> Job:
    return Job.from_metadata(
        metadata(
            text or "j",
            processID=text,
            creditConsumption={"credits": 10**14},
            results={"collection": text, "errors": [{"name": text, "message": text}] * 40},
        )  # type: ignore[arg-type]
    )


def objects_of(text: str) -> list[Any]:
    """Return one object of each displayed type, with this text in each of its string fields."""
    job = job_of(text)
    title = text.replace("\ud800", "?")[:250].strip() or "t"
    template = DetectionTreesSpacept(title, ITEM, workspace_id="w" * 500)
    error = StatusError(text, status=500)
    file = ResultFile(
        job_id=text, item_id=text, asset_key=text, path=Path(text.replace("\x00", "") or "p"), error=error
    )
    entry = JournalEntry(
        fingerprint=text, ordinal=1, process_id=text, workspace_id=text, inputs={}, credits=10**300, state=text,
        sent_at=NOW, sent_at_local=NOW, job_id=text, error=text, candidates=(text,) * 9, files=(text,) * 9,
    )  # fmt: skip
    return [
        job,
        Cost(text, 10**300, 1e300, text),
        template,
        Many(title, [ITEM * 9] * 100),
        Pansharpening(title, ITEM * 9, [GreyWeight("red", 0.1)] * 100),
        ExecutionResult(template, job),
        ExecutionResult(template, error=error),
        PipelineResult(template=template, job=job, files=(file,) * 9, error=error),
        file,
        entry,
        Journal(text.replace("\x00", "") or "p"),
        Asset(id=text, title=text, name=text, tags=[text] * 9, created=NOW),
        Budget(id=text, name=text, description=text, status=text, spend_limit=1e300),
        Process(id=text, title=text, description=text),
    ]


class Page(html.parser.HTMLParser):
    """Parsed HTML: its tags, the tags left open, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_well_formed(page: str) -> None:
    page.encode()
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p", "b"}


@given(odd_texts)
def test_every_object_is_one_short_line_and_well_formed_html(text: str) -> None:
    for value in objects_of(text):
        shown = repr(value)
        assert len(shown) <= 200, shown
        assert shown.isprintable(), shown
        assert shown.startswith((type(value).__name__, "<up42_async."))
        if hasattr(value, "_repr_html_"):
            assert_well_formed(value._repr_html_())


ODD_WORDS = ["x" * 60, "new\nline", "\x1b[2J", "\u202e", "<b>&", "'\"", "\ud800"]


def test_a_board_and_a_tracker_show_odd_statuses_in_one_line() -> None:
    state = BoardState(counts=dict.fromkeys(ODD_WORDS, 10**6), ended=0, total=1, requests=1)
    assert state.line(0).isprintable()
    assert_well_formed(state.html())
    jobs = [Job.from_metadata(metadata(f"j{place}", status=word)) for place, word in enumerate(ODD_WORDS)]  # type: ignore[arg-type]
    tracker = track(jobs, client=Client("u", "p"))
    assert len(repr(tracker)) <= 200
    assert repr(tracker).isprintable()
    assert_well_formed(tracker._repr_html_())


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "job", "0 jobs"),
        (1, "job", "1 job"),
        (1.0, "credit", "1 credit"),
        (2000, "credit", "2,000 credits"),
        (0.5, "credit", "0.5 credits"),
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
    ],
)
def test_a_number_stands_with_its_noun(number: float, noun: str, text: str) -> None:
    assert display.counted(number, noun) == text


def test_a_shortened_value_keeps_the_part_that_identifies_it() -> None:
    assert display.line("X", [("a", 1), ("b", None), ("c", 2.5), ("d", True), ("e", NOW)]) == (
        "X(a=1, c=2.5, d=True, e='2026-01-02 03:04:05 UTC')"
    )
    assert display.value("x" * 50) == f"'{'x' * 45}...'"
    assert display.value(f"https://x.test/{'p/' * 30}items/i1") == f"'...{'/p' * 18}/items/i1'"
    assert display.value(Path("long/" * 20, "image.tif")).endswith("long/image.tif'")
    assert display.value([]) == "[]"
    assert display.value([1]) == "[1]"
    assert display.value(("a", "b")) == "['a', ... 2 in all]"


def test_a_template_shows_its_own_values_and_a_workspace_only_when_it_has_one() -> None:
    assert repr(DetectionTreesSpacept("Trees", ITEM)) == (
        "DetectionTreesSpacept(title='Trees', item='...up42.com/v2/assets/stac/collections/c/items/i')"
    )
    assert repr(DetectionTreesSpacept("T", ITEM, workspace_id="w")).endswith(", workspace_id='w')")


@pytest.mark.parametrize(
    ("number", "more"), [(50, ""), (51, "<p>... and 1 more</p>"), (2050, "<p>... and 2,000 more</p>")]
)
def test_a_table_shows_fifty_rows_and_how_many_more_there_are(number: int, more: str) -> None:
    page = display.listing("a & b", ["<x>", "y"], [(place, None) for place in range(number)])
    assert page.startswith("<p>a &amp; b</p><table><thead><tr><th>&lt;x&gt;</th><th>y</th></tr></thead>")
    assert page.count("<td></td>") == 50
    assert page.endswith(f"</table>{more}")
