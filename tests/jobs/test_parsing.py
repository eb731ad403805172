"""Reading a job as UP42 sends it: values are exact, unreadable fields are None, and id and status are required."""

import datetime as dt
import gzip
import json
import logging
import math
import re
import uuid
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.job_answers import API, TREES, metadata
from up42_async import TERMINAL_STATUSES, Job, JobMetadata, JobStatus, UnexpectedResponseError, ValidationError
from up42_async._http.requests import ApiRequest
from up42_async._jobs.job import read_job

REQUEST = ApiRequest(method="GET", path="/v2/processing/jobs/job-1")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(**changes: Any) -> Job:
    return read_job(None, metadata(**changes), REQUEST)


def problems(**changes: Any) -> dict[str, str]:
    """Return the problems of the fields that cannot be read in a job, by name."""
    return dict(read(**changes)._unreadable or {})


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


def test_unknown_keys_are_kept_and_do_not_affect_equality() -> None:
    job = read(progress=0.5, results={"collection": None, "errors": None, "log": []})
    assert job == read(results={})
    assert job.extra == {"progress": 0.5}
    assert read(progress=0.5, started=...).extra == read(progress=0.5, created="yesterday").extra == {"progress": 0.5}
    assert read().extra == read(started=...).extra == {}


def test_errors_of_a_job_keep_their_names_and_messages_whatever_else_they_hold() -> None:
    errors = [{"name": "InvalidTitle", "message": "too long", "path": "$.title"}, {"name": None}, {"message": 5}]
    assert read(results={"errors": errors}).errors == [
        ValidationError(message="too long", name="InvalidTitle"),
        ValidationError(message="", name=""),
        ValidationError(message="5", name=""),
    ]
    assert read(results={"errors": []}).errors is None


@pytest.mark.parametrize(
    ("errors", "messages"),
    [
        (["Out of memory", {"name": "n", "message": "m"}], ["Out of memory", "m"]),
        ("Out of memory", ["Out of memory"]),
        ({"name": "n", "message": "m"}, ["m"]),
        ([5, None], ["5"]),
    ],
)
def test_errors_may_be_strings(errors: Any, messages: list[str]) -> None:
    job = read(status="released", results={"collection": None, "errors": errors})
    assert [error.message for error in job.errors or ()] == messages
    assert job._unreadable is None


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


@pytest.mark.parametrize("value", [-1, 1.5, math.inf, math.nan, 10**15, 1e300, True, "5", [5], {"a": 1}])
def test_odd_credits_are_none_and_named(value: Any) -> None:
    assert read(creditConsumption={"credits": value}).credits is None
    assert "is not a number of credits" in problems(creditConsumption={"credits": value})["creditConsumption"]


def test_unreadable_credits_count_as_due() -> None:
    assert read(status="successful", creditConsumption=None).is_finished
    assert not read(status="successful", creditConsumption={"credits": "many"}).is_finished


NONSENSE: list[Any] = [..., None, 5, []]
SENSELESS: list[tuple[str, str, Any]] = [
    *(
        (name, attribute, value)
        for name, attribute in {
            "processID": "process_id",
            "accountID": "account_id",
            "created": "created",
            "updated": "updated",
            "definition": "definition",
        }.items()
        for value in NONSENSE
    ),
    ("created", "created", ""),
    ("definition", "definition", "text"),
    ("workspaceID", "workspace_id", 5),
    ("results", "errors", "text"),
    ("results", "collection_url", [1]),
    ("results.collection", "collection_url", {"collection": 5}),
    ("results.errors", "errors", {"errors": 5}),
    ("creditConsumption", "credits", 5),
    ("created", "created", "yesterday"),
    ("started", "started", 5),
    ("finished", "finished", "2024-13-01T00:00:00Z"),
    ("finished", "finished", "9999-12-31T23:59:59-23:00"),
]


@pytest.mark.parametrize(("name", "attribute", "value"), SENSELESS, ids=repr)
def test_an_unreadable_field_is_none_and_named_and_the_others_are_read(name: str, attribute: str, value: Any) -> None:
    changes = {name.partition(".")[0]: value}
    job = read(**changes)
    assert getattr(job, attribute) is None
    assert list(problems(**changes)) == [name]
    whole, lost = read(), {attribute} | ({"errors", "collection_url"} if name.startswith("results") else set())
    for field in attrs.fields(Job):
        assert field.name in lost or getattr(job, field.name) == getattr(whole, field.name)


@pytest.mark.parametrize("status", TERMINAL_STATUSES)
def test_a_terminal_status_is_finished_whatever_else_is_unreadable(status: JobStatus) -> None:
    odd = dict.fromkeys(metadata(), 5) | {"jobID": "job-1", "status": status.value.upper()}
    job = read_job(None, odd, REQUEST)
    assert (job.id, job.status, job.is_finished) == ("job-1", status, True)
    assert job.age == dt.timedelta(0)
    assert len(job._unreadable or ()) == len(odd) - 2


@pytest.mark.parametrize(
    "changes",
    [
        *({name: value} for name in ("jobID", "status") for value in NONSENSE),
        {"status": {"a": 1}},
        {"status": "x" * 101},
    ],
    ids=repr,
)
def test_a_job_without_id_or_status_is_an_error_that_names_job_and_request(changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        read(**changes)
    words = str(caught.value)
    assert words.startswith("GET /v2/processing/jobs/job-1: job ")
    assert f"cannot be read: {next(iter(changes))}: " in words
    assert "jobID" in changes or "job 'job-1'" in words
    assert len(words) < 400
    assert not caught.value.transient


def test_from_metadata_warns_of_fields_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    job = Job.from_metadata(cast("JobMetadata", metadata(created="yesterday")))
    assert job.created is None
    (message,) = caplog.messages
    assert message.startswith("job 'job-1' has fields that cannot be read and are None: created: ")


@pytest.mark.parametrize("answer", [None, [], 5, "job", True])
def test_a_value_that_is_not_an_object_is_not_a_job(answer: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="job None cannot be read"):
        read_job(None, answer, REQUEST)


def test_an_unknown_status_is_kept_is_not_finished_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    word = f"paused-{uuid.uuid4()}"
    jobs = [read(status=word) for _ in range(3)]
    assert [(job.status.value, job.is_finished, job.is_successful) for job in jobs] == [(word, False, False)] * 3
    assert [(record.levelno, word in record.getMessage()) for record in caplog.records] == [(logging.WARNING, True)]


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_an_object_with_arbitrary_keys_is_not_a_job(answer: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError):
        read_job(None, answer, REQUEST)


@given(st.dictionaries(st.sampled_from(list(metadata())), json_values, max_size=4))
def test_any_change_to_a_job_gives_fields_of_the_right_type_or_none(changes: dict[str, Any]) -> None:
    try:
        job = read(**changes)
    except UnexpectedResponseError:
        assert {"jobID", "status"} & set(changes)
        return
    assert isinstance(job.id, str)
    assert isinstance(job.status, JobStatus)
    texts = (job.process_id, job.account_id, job.workspace_id, job.collection_url)
    assert all(isinstance(text, str | None) for text in texts)
    assert isinstance(job.definition, dict | None)
    moments = (job.created, job.updated, job.started, job.finished)
    assert all(isinstance(moment, dt.datetime | None) for moment in moments)
    assert job.credits is None or (type(job.credits) is int and job.credits >= 0)
    assert job.errors is None or all(isinstance(error, ValidationError) for error in job.errors)
    assert read_job(None, json.loads(json.dumps(job.to_metadata()))) == job or job._unreadable


# Writing a job


def test_a_job_is_written_as_it_was_read() -> None:
    record = metadata(results=None, progress=0.5)
    assert Job.from_metadata(cast("JobMetadata", record)).to_metadata() == {
        **record,
        "created": "2024-05-01T10:00:00.123456Z",
        "started": "2024-05-01T10:01:00.000000Z",
        "finished": "2024-05-01T10:02:00.500000Z",
        "updated": "2024-05-01T10:03:00.100000Z",
    }


def test_empty_fields_are_written_as_none() -> None:
    empty: dict[str, Any] = {"collection": None, "errors": []}
    record = read(results=empty, creditConsumption={"credits": None}, started=None).to_metadata()
    assert (record["results"], record["creditConsumption"], record["started"]) == (None, None, None)


def recorded() -> list[dict[str, Any]]:
    """Return all 432 jobs that were recorded at UP42, without the names of people and places."""
    packed = Path(__file__).with_name("recorded_jobs.json.gz").read_bytes()
    return cast("list[dict[str, Any]]", json.loads(gzip.decompress(packed)))


def test_recorded_jobs_mean_the_same_when_they_are_read_and_written(caplog: pytest.LogCaptureFixture) -> None:
    records = recorded()
    assert len({record["jobID"] for record in records}) == len(records) == 432
    for record in records:
        job = Job.from_metadata(cast("JobMetadata", record))
        written = json.loads(json.dumps(job.to_metadata()))
        assert Job.from_metadata(written) == job
        assert job.extra == {}
        for name in ("created", "started", "finished", "updated"):
            assert written[name] is None or re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.[0-9]{6}Z", written[name])
            record[name], written[name] = moment(record[name]), moment(written[name])
        assert written == record
    assert not caplog.records  # nothing in them is odd


def moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
