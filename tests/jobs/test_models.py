"""Statuses and sorting fields are those of the reference; unknown statuses are kept unchanged."""

import copy
import json
import logging
import pickle
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from up42_async import TERMINAL_STATUSES, JobSorting, JobStatus, SortingField, ValidationError
from up42_async._jobs.models import SETTLING_STATUSES, SUCCESSFUL_STATUSES, passed

WORDS = (
    "created licensed unlicensed valid invalid accepted rejected running successful failed captured released".split()
)


def new_word() -> str:
    return f"paused-{uuid.uuid4()}"


def test_every_status_of_the_reference_is_there_and_no_other() -> None:
    assert {status.name: status.value for status in JobStatus} == {word.upper(): word for word in WORDS}
    assert all(status.is_known for status in JobStatus)


def test_the_terminal_statuses_are_those_of_the_reference() -> None:
    assert [status.name for status in TERMINAL_STATUSES] == "CAPTURED RELEASED INVALID REJECTED UNLICENSED".split()


def test_successful_and_failed_may_be_the_end_and_are_not_terminal() -> None:
    assert set(SETTLING_STATUSES) == {JobStatus.SUCCESSFUL, JobStatus.FAILED}
    assert not set(SETTLING_STATUSES) & set(TERMINAL_STATUSES)


def test_results_are_in_storage_after_successful_and_captured() -> None:
    assert set(SUCCESSFUL_STATUSES) == {JobStatus.SUCCESSFUL, JobStatus.CAPTURED}


def test_an_unknown_word_is_kept_and_is_the_same_status_each_time() -> None:
    word = new_word()
    status = JobStatus(word)
    assert (status.value, status.name, status.is_known) == (word, word.upper(), False)
    assert JobStatus(word) is status
    assert status not in list(JobStatus)
    assert status not in TERMINAL_STATUSES


def test_an_unknown_word_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    word = new_word()
    JobStatus(word)
    JobStatus(word)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("up42_async", logging.WARNING)
    assert record.getMessage() == f"UP42 used an unknown job status: {word!r}; a job that has it counts as unfinished"


@pytest.mark.parametrize("word", ["Captured", "CAPTURED", " captured "])
def test_a_known_word_in_other_letters_is_that_word(word: str, caplog: pytest.LogCaptureFixture) -> None:
    assert JobStatus(word) is JobStatus.CAPTURED
    assert caplog.messages == []


def test_a_status_is_a_string() -> None:
    status = JobStatus.CAPTURED
    assert status == "captured"
    assert f"{status} {status!s}" == "captured captured"
    assert json.dumps({"status": status}) == '{"status": "captured"}'
    word = new_word()
    assert JobStatus(word) == word
    assert f"{JobStatus(word)}" == word
    assert {JobStatus(word), word} == {word}


@pytest.mark.parametrize(
    ("word", "before"),
    [
        ("created", "created"),
        ("invalid", "created licensed invalid"),
        ("unlicensed", "created unlicensed"),
        ("captured", "created licensed valid accepted running successful captured"),
        ("released", "created licensed valid accepted running failed released"),
        ("a word of tomorrow", None),
    ],
)
def test_each_status_implies_the_ones_that_come_before_it(word: str, before: str | None) -> None:
    assert passed(JobStatus(word)) == (set(before.split()) if before else {word})


def test_an_unknown_status_survives_pickling_and_copying() -> None:
    status = JobStatus(new_word())
    assert pickle.loads(pickle.dumps(status)) is status  # noqa: S301 - it was made here
    assert copy.copy(status) is status
    assert copy.deepcopy(status) is status


@pytest.mark.parametrize("value", [None, 1, True, ["captured"], {"a": 1}, "x" * 101])
def test_a_value_that_is_not_a_short_string_is_not_a_status(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid JobStatus"):
        JobStatus(value)


@given(st.text(max_size=100))
def test_any_word_is_a_status_with_that_value(word: str) -> None:
    known = word.strip().lower() in WORDS
    assert JobStatus(word).value == (word.strip().lower() if known else word)
    assert JobStatus(word).is_known == known


@pytest.mark.parametrize(
    ("field", "default", "ascending", "descending"),
    [
        (JobSorting.process_id, "processID,asc", "processID,asc", "processID,desc"),
        (JobSorting.status, "status,desc", "status,asc", "status,desc"),
        (JobSorting.created, "created,desc", "created,asc", "created,desc"),
        (
            JobSorting.credits,
            "creditConsumption.credits,desc",
            "creditConsumption.credits,asc",
            "creditConsumption.credits,desc",
        ),
    ],
)
def test_sorting_has_the_default_direction_of_the_reference_and_both_others(
    field: SortingField, default: str, ascending: str, descending: str
) -> None:
    assert (str(field), str(field.asc), str(field.desc)) == (default, ascending, descending)


def test_a_custom_sorting_field_is_ascending_by_default() -> None:
    assert SortingField("updated") == SortingField("updated", ascending=True)
    assert str(SortingField("updated", ascending=False)) == "updated,desc"


def test_validation_errors_are_values_that_fit_into_a_set() -> None:
    one, same = ValidationError(message="m", name="n"), ValidationError("m", "n")
    assert {one, same} == {one}
    assert (one.message, one.name) == ("m", "n")
