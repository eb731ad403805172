"""A job as UP42 sends it: read exactly, tolerantly where that is normal, and refused where it makes no sense."""

import datetime as dt
import logging
import math
import uuid
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.job_answers import API, TREES, metadata
from up42_async import Job, JobMetadata, JobStatus, UnexpectedResponseError, ValidationError
from up42_async._http.messages import ApiRequest
from up42_async._jobs.job import read_job

REQUEST = ApiRequest(method="GET", path="/v2/processing/jobs/job-1")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(**changes: Any) -> Job:
    return read_job(None, metadata(**changes), REQUEST)


def utc(*numbers: int) -> dt.datetime:
    return dt.datetime(*cast("tuple[int, int, int]", numbers), tzinfo=dt.UTC)


def test_every_attribute_of_the_reference_is_filled_in() -> None:
    job = Job.from_metadata(cast("JobMetadata", metadata()))
    assert job == Job(
        process_id=TREES,
        id="job-1",
        account_id="account-1",
        workspace_id="workspace-1",
        definition={"inputs": {"title": "Trees", "item": f"{API}/v2/assets/stac/collections/c/items/i"}},
        status=JobStatus.CAPTURED,
        created=utc(2024, 5, 1, 10, 0, 0, 123456),
        updated=utc(2024, 5, 1, 10, 3, 0, 100000),
        collection_url=f"{API}/v2/assets/stac/collections/result",
        errors=None,
        credits=63,
        started=utc(2024, 5, 1, 10, 1, 0),
        finished=utc(2024, 5, 1, 10, 2, 0, 500000),
    )
    assert job.client is None


@pytest.mark.parametrize("name", ["results", "creditConsumption", "workspaceID", "started", "finished"])
@pytest.mark.parametrize("value", [None, ...])
def test_what_may_be_absent_may_be_null_or_missing(name: str, value: Any) -> None:
    job = read(**{name: value})
    attributes = {
        "results": job.collection_url,
        "creditConsumption": job.credits,
        "workspaceID": job.workspace_id,
        "started": job.started,
        "finished": job.finished,
    }
    assert attributes[name] is None
    assert sum(attribute is None for attribute in attributes.values()) == 1


def test_keys_nobody_knows_are_ignored() -> None:
    assert read(progress=0.5, results={"collection": None, "errors": None, "log": []}) == read(results={})


def test_errors_of_a_job_keep_their_names_and_messages_whatever_else_they_hold() -> None:
    errors = [{"name": "InvalidTitle", "message": "too long", "path": "$.title"}, {"name": None}, {"message": 5}]
    assert read(results={"errors": errors}).errors == [
        ValidationError(message="too long", name="InvalidTitle"),
        ValidationError(message="", name=""),
        ValidationError(message="5", name=""),
    ]
    assert read(results={"errors": []}).errors is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01T10:00:00Z", utc(2024, 5, 1, 10)),
        ("2024-05-01T10:00:00.1Z", utc(2024, 5, 1, 10, 0, 0, 100000)),
        ("2024-05-01T10:00:00.123Z", utc(2024, 5, 1, 10, 0, 0, 123000)),
        ("2024-05-01T10:00:00.123456789Z", utc(2024, 5, 1, 10, 0, 0, 123456)),
        ("2024-05-01T10:00:00.999999999+05:30", utc(2024, 5, 1, 4, 30, 0, 999999)),
    ],
)
def test_timestamps_are_aware_and_exact_to_the_microsecond(text: str, moment: dt.datetime) -> None:
    job = read(created=text, updated=text, started=text, finished=text)
    assert [job.created, job.updated, job.started, job.finished] == [moment] * 4
    assert all(time is not None and time.tzinfo is dt.UTC for time in (job.created, job.started))


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (63, 63), (5.0, 5), (None, None)])
def test_credits_are_whole_numbers(value: Any, expected: int | None) -> None:
    credits = read(creditConsumption={"credits": value}).credits
    assert credits == expected
    assert not isinstance(credits, float)


@pytest.mark.parametrize("value", [-1, 1.5, math.inf, math.nan, 10**15, 1e300, True, "5", [5], {}])
def test_odd_credits_are_refused(value: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="job 'job-1' cannot be read: .* is not a number of credits"):
        read(creditConsumption={"credits": value})


NONSENSE: list[Any] = [..., None, 5, []]
SENSELESS: list[dict[str, Any]] = [
    *(
        {name: value}
        for name in ("processID", "jobID", "accountID", "status", "created", "updated", "definition")
        for value in NONSENSE
    ),
    {"created": ""},
    {"definition": "text"},
    {"workspaceID": 5},
    {"results": "text"},
    {"results": [1]},
    {"results": {"collection": 5}},
    {"results": {"errors": "text"}},
    {"results": {"errors": 5}},
    {"results": {"errors": [5]}},
    {"creditConsumption": 5},
    {"created": "yesterday"},
    {"started": 5},
    {"finished": "2024-13-01T00:00:00Z"},
    {"finished": "9999-12-31T23:59:59-23:00"},
    {"status": {"word": "running"}},
    {"status": "x" * 101},
]


@pytest.mark.parametrize("changes", SENSELESS, ids=repr)
def test_what_makes_no_sense_is_an_error_that_names_job_and_request(changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        read(**changes)
    words = str(caught.value)
    assert words.startswith("GET /v2/processing/jobs/job-1: job ")
    assert "cannot be read: " in words
    assert "jobID" in changes or "job 'job-1'" in words
    assert len(words) < 400
    assert not caught.value.transient


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UnexpectedResponseError, match="job 'job-1' cannot be read: 'status' is missing"):
        read(status=...)


@pytest.mark.parametrize("answer", [None, [], 5, "job", True])
def test_what_is_no_object_is_no_job(answer: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="job None cannot be read"):
        read_job(None, answer, REQUEST)


def test_an_unknown_status_is_kept_is_not_finished_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    word = f"paused-{uuid.uuid4()}"
    jobs = [read(status=word) for _ in range(3)]
    assert [(job.status.value, job.is_finished, job.is_successful) for job in jobs] == [(word, False, False)] * 3
    assert [(record.levelno, word in record.getMessage()) for record in caplog.records] == [(logging.WARNING, True)]


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_any_json_object_is_no_job(answer: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError):
        read_job(None, answer, REQUEST)


@given(st.dictionaries(st.sampled_from(list(metadata())), json_values, max_size=4))
def test_any_change_to_a_job_gives_a_job_of_the_right_types_or_an_unexpected_response(changes: dict[str, Any]) -> None:
    try:
        job = read(**changes)
    except UnexpectedResponseError:
        return
    texts = (job.process_id, job.id, job.account_id)
    assert all(isinstance(text, str) for text in texts)
    assert all(isinstance(text, str | None) for text in (job.workspace_id, job.collection_url))
    assert isinstance(job.definition, dict)
    assert isinstance(job.status, JobStatus)
    assert all(isinstance(moment, dt.datetime) for moment in (job.created, job.updated))
    assert all(isinstance(moment, dt.datetime | None) for moment in (job.started, job.finished))
    assert job.credits is None or (type(job.credits) is int and job.credits >= 0)
    assert job.errors is None or all(isinstance(error, ValidationError) for error in job.errors)
