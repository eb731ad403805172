"""What came of executing one template."""

from typing import Generic, TypeVar

import attrs

from up42_async import _display
from up42_async._jobs.job import Job

T = TypeVar("T")


@attrs.frozen
class ExecutionResult(Generic[T]):
    """What came of executing a template: either a job or an error."""

    template: T
    """The template."""
    job: Job | None = None
    """The job that was made."""
    error: Exception | None = None
    """Why there is none, or why it is not known: see `ExecutionUncertainError`."""
    recovered: bool = attrs.field(default=False, kw_only=True)
    """Whether UP42's answer was lost, and the job was found in the list of jobs."""

    def __attrs_post_init__(self) -> None:
        """Refuse what is neither, or both."""
        if (self.job is None) == (self.error is None):
            message = "an ExecutionResult has either a job or an error"
            raise ValueError(message)

    def __repr__(self) -> str:
        """Return what came of it, in one line of at most 200 characters."""
        values = [("template", str(self.template)), ("job", None if self.job is None else self.job.id)]
        return _display.line("ExecutionResult", [*values, ("error", _display.error_words(self.error))])
