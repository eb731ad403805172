"""The filters of a list of jobs: checked, and written as the query that UP42 expects."""

from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeVar

import attrs

from up42_async._config.arguments import integer, optional, strings
from up42_async._http.requests import query, segment
from up42_async._jobs.models import JobSorting, JobStatus, SortingField

T = TypeVar("T")

_SORTED_BY: Final = {
    JobSorting.process_id.name: attrgetter("process_id"),
    JobSorting.status.name: attrgetter("status.value"),
    JobSorting.created.name: attrgetter("created"),
    JobSorting.credits.name: attrgetter("credits"),
}


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Filters:
    """Which jobs a list has, and in which order."""

    process_id: list[str] | None = None
    workspace_id: str | None = None
    status: list[str] | None = None
    min_duration: int | None = None
    max_duration: int | None = None
    sort_by: SortingField | None = None
    ids: list[str] | None = None

    @property
    def match_nothing(self) -> bool:
        """Whether one of the lists is empty, so that no job matches."""
        return any(values is not None and not values for values in (self.process_id, self.status, self.ids))

    def query(self, *, limit: int | None) -> str:
        """Return the query, with its parameters in the order of the official SDK.

        Args:
            limit: Jobs a page; None for the server's default.
        """
        return query(
            {
                "workspaceId": self.workspace_id,
                "processId": self.process_id,
                "status": self.status,
                "minDuration": self.min_duration,
                "maxDuration": self.max_duration,
                "limit": limit,
                "sort": None if self.sort_by is None else str(self.sort_by),
                "ids": self.ids,
            }
        )


def checked(
    *,
    process_id: Iterable[str] | None,
    workspace_id: str | None,
    status: Iterable[JobStatus] | None,
    min_duration: int | None,
    max_duration: int | None,
    sort_by: SortingField | None,
    ids: Iterable[str] | None,
) -> Filters:
    """Return the filters of a user, checked.

    Raises:
        TypeError: A filter of the wrong type, such as one string where a list of them is expected.
        ValueError: A filter that cannot be right.
    """
    if sort_by is not None and not isinstance(sort_by, SortingField):
        message = f"sort_by must be one of JobSorting, such as JobSorting.created.desc, not {sort_by!r}"
        raise TypeError(message)
    if workspace_id is not None:
        segment(workspace_id, "workspace_id")
    return Filters(
        process_id=_texts(process_id, "process_id"),
        workspace_id=workspace_id,
        status=_texts(statuses(status, "status"), "status"),
        min_duration=optional(integer, min_duration, "min_duration", least=0, unit="seconds"),
        max_duration=optional(integer, max_duration, "max_duration", least=0, unit="seconds"),
        sort_by=sort_by,
        ids=_texts(ids, "ids"),
    )


def checked_page_size(value: int) -> int:
    """Check a page size.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is less than 1.
    """
    return integer(value, "page_size", least=1, unit="jobs")


def statuses(values: Iterable[JobStatus] | None, name: str) -> list[JobStatus] | None:
    """Return a list of statuses, checked; a single status is refused, though it is a string and so an iterable.

    Args:
        values: The statuses; None when no filter was given.
        name: Name of the argument, for the error.

    Raises:
        TypeError: It is not a list of statuses.
    """
    if values is None:
        return None
    found = [] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    if (
        isinstance(values, str)
        or not isinstance(values, Iterable)
        or not all(isinstance(entry, JobStatus) for entry in found)
    ):
        raise TypeError(f"{name} must be a list of JobStatus, such as [JobStatus.RUNNING], not {values!r:.80}")
    return found


def _texts(values: Iterable[str] | None, name: str) -> list[str] | None:
    """Return a list of strings, checked; UP42 expects it joined by commas."""
    if values is None:
        return None
    texts = strings(values, name)
    for text in texts:
        segment(text, name)
        if "," in text:
            raise ValueError(f"{name} must not hold a comma: {text!r}; give a list of several")
    return texts


def arranged(jobs: list[T], *, value: Callable[[T], Any], ascending: bool) -> list[T]:
    """Sort jobs that came in several lists as the server would; jobs without a value come last."""
    known = [job for job in jobs if value(job) is not None]
    unknown = [job for job in jobs if value(job) is None]
    return sorted(known, key=value, reverse=not ascending) + unknown


def sorter(field: SortingField) -> Callable[[list[Any]], list[Any]]:
    """Return the function that sorts jobs that came in several lists.

    Raises:
        ValueError: The client cannot sort by this field.
    """
    value = _SORTED_BY.get(field.name)
    if value is None:
        message = f"jobs with given ids can be sorted by one of {', '.join(_SORTED_BY)}, not by {field.name!r}"
        raise ValueError(message)
    return partial(arranged, value=value, ascending=field.ascending)
