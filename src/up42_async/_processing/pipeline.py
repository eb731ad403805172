"""From templates to files in one line: evaluate, execute, track and download, all stages at once."""

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
    """Evaluate, execute, track and download, each template on its own way and all stages at once: this spends credits.

    `await pipeline(...)` returns a `PipelineResult` for each template, in the order given. `async with pipeline(...) as
    batch:` with `async for result in batch:` gives each as it is complete, and keeps only those that have not been
    read; leaving the block early stops what has not begun, and what has a job keeps it. The files of the first jobs
    land while the last ones are not yet executed. Whatever goes wrong with one template is in its result: a job that
    failed, a price above the limit, a file that did not come.

    With a journal the same line again, after whatever ended the program, goes on where it stopped: nothing is executed
    twice (see `execute`), jobs are tracked by their ids, and files that came whole are not fetched again.

    Requests: those of `evaluate`, `execute`, `track` and `download`; tracking is shared by all jobs of a client.

    Args:
        templates: The templates: a list, or an iterator or asynchronous iterator, from which each is taken when there
            is room for it. With `max_running` ten thousand are never held in memory at once.
        directory: Where to put the files: each job's into a directory with the job's id. None to download nothing.
        journal: A journal, or the path of its file, which is made when it is missing.
        max_credits: The most credits to spend in all, in all runs with the journal.
        max_running: The most jobs that are under way at UP42 at once; the next one is executed when one ends, or is
            left to itself. None for any number.
        wait: Seconds between two queries for a job, or `"adaptive"`, see `track`; the client's when left out.
        retries: How often to ask for a job at the most; the client's when left out.
        stalled_after: Seconds without a change after which a job is left to itself: its result has an `UnfinishedJob`
            as its error, and the same line tracks it again. None for never.
        retry_uncertain: Whether to execute again what may have been executed in an earlier run, when its job cannot be
            found: you may pay twice.
        retry_failed: Whether to execute again what ended without a result in an earlier run (FAILED, RELEASED,
            REJECTED, INVALID, UNLICENSED).
        budget_id: The ID of the budget that pays.
        keys: Only the assets with these keys.
        roles: Only the assets with one of these roles, such as `"data"`.
        media_types: Only the assets of these media types, such as `"image/tiff"`, whatever parameters they have.
        unpack: Whether to unpack archives, each into a directory beside it.
        resume: Whether to keep what came of a file that broke off, and go on from there the next time.
        bar: Whether to show how many templates are at each stage, as `track` does.
        client: The client to use; else each template's own, the one its items came from, or the current one.

    Raises:
        JournalError: (When awaited) the journal cannot be used, is in use, or belongs to another account.
        RuntimeError: There is no client, or another call of this program uses the journal (when awaited), or a board is
            wanted, and `rich` is not installed.
        TypeError: One template instead of several, or a limit that is no number.
        ValueError: A limit that cannot be right, or something is to be retried without a journal.
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
