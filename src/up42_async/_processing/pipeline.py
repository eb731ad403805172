"""The verb `pipeline`: evaluate, execute, track and download, all stages at once."""

import os
from collections.abc import AsyncIterable, Iterable
from pathlib import Path

from up42_async._client import Client
from up42_async._config import Wait, arguments
from up42_async._downloads.options import DownloadOptions
from up42_async._processing.executor import Executor
from up42_async._processing.journal import Journal
from up42_async._processing.pipeline_batch import PipelineBatch
from up42_async._processing.template import JobTemplate, TemplateT


def pipeline(
    templates: "Iterable[TemplateT] | AsyncIterable[TemplateT]",
    directory: str | os.PathLike[str] | None = None,
    *,
    journal: Journal | str | os.PathLike[str] | None = None,
    max_credits: float | None = None,
    max_running: int | None = None,
    wait: Wait | None = None,
    retries: int | None = None,
    stalled_after: float | None = None,
    retry_uncertain: bool = False,
    retry_failed: bool = False,
    budget_id: str | None = None,
    keys: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
    media_types: Iterable[str] | None = None,
    unpack: bool = False,
    resume: bool = True,
    bar: bool = False,
    client: Client | None = None,
) -> PipelineBatch[TemplateT]:
    """Evaluate, execute, track and download many templates, each independently of the others: this spends credits.

    `await pipeline(...)` returns a `PipelineResult` for each template, in the order given. `async with pipeline(...) as
    batch:` with `async for result in batch:` gives each as it is complete, and keeps only those that have not been
    read. Leaving the block early stops templates that were not sent yet; the others keep their jobs. The files of the
    first jobs are downloaded while the last templates are not yet executed. An error of one template is in its result
    only: a job that failed, a price above the limit, a file that was not downloaded.

    With a journal the same call again, however the program ended, continues where it stopped: nothing is executed twice
    (see `execute`), jobs are tracked by their ids, and files that are complete are not downloaded again.

    Requests: those of `evaluate`, `execute`, `track` and `download`; the jobs of one client are tracked together. One
    more for the balance when a job is rejected.

    Args:
        templates: The templates: a list, or an iterator or asynchronous iterator. Each is taken when it can be
            executed. With `max_running` at most 100 more than that are held in memory while results are read.
        directory: Where to put the files: those of each job into a directory with the job's id. None to download
            nothing.
        journal: A journal, or the path of its file, which is made when it is missing.
        max_credits: The most credits to spend on all templates together, with a journal in all its runs.
        max_running: The most jobs that are under way at UP42 at once, 1 or more; the next template is executed when a
            job ends or is no longer tracked. None for any number.
        wait: Seconds between two queries for a job, or `"adaptive"`, see `track`; the client's when left out.
        retries: The most queries for one job; the client's when left out.
        stalled_after: Seconds without a change after which a job is no longer tracked: its result has an
            `UnfinishedJob` as its error, and the same call with the journal tracks it again. None for never.
        retry_uncertain: Whether to execute a template again that may have been executed in an earlier run, when its job
            cannot be found: you may pay twice.
        retry_failed: Whether to execute a template again whose job ended without a result in an earlier run (FAILED,
            RELEASED, REJECTED, INVALID, UNLICENSED).
        budget_id: The ID of the budget that pays.
        keys: Only the assets with these keys.
        roles: Only the assets with one of these roles, such as `"data"`.
        media_types: Only the assets of these media types, such as `"image/tiff"`, with any parameters.
        unpack: Whether to unpack archives, each into a directory beside it.
        resume: Whether to keep the first part of a file whose download broke off, and continue it the next time.
        bar: Whether to show how many templates are at each stage, as `track` does.
        client: The client to use; else each template's own, the one its items came from, or the current one.

    Raises:
        JournalError: (When awaited) the journal cannot be used, is in use, or belongs to another account.
        RuntimeError: (When awaited) there is no client, or another call of this program uses the journal; or `bar` is
            set and `rich` is not installed.
        TypeError: A single template instead of several, or an argument of the wrong type.
        ValueError: An argument out of its range, or something is to be retried without a journal.
    """
    if isinstance(templates, JobTemplate) or not isinstance(templates, Iterable | AsyncIterable):
        raise TypeError("pipeline() takes many templates: a list, an iterator or an asynchronous iterator")
    given = {"wait": wait, "retries": retries, "stalled_after": stalled_after}
    return PipelineBatch(
        templates,
        None if directory is None else Path(directory),
        Executor(
            max_credits,
            budget_id=budget_id,
            journal=journal,
            retry_uncertain=retry_uncertain,
            retry_failed=retry_failed,
        ),
        DownloadOptions(keys=keys, roles=roles, media_types=media_types, unpack=unpack, resume=resume),
        client,
        max_running=arguments.optional(arguments.integer, max_running, "max_running", least=1, unit="jobs"),
        tracking={name: value for name, value in given.items() if value is not None},
        bar=bar,
    )
