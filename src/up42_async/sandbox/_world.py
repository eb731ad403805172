"""The state of the sandbox: account, processes, jobs and credits, behind one lock."""

import threading
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import attrs

from up42_async.sandbox import _pricing
from up42_async.sandbox._account import Account, Ledger, Tokens, draw_id, stage_of
from up42_async.sandbox._budgets import Budget, seeded_budgets
from up42_async.sandbox._jobs import Job, JobStore
from up42_async.sandbox._lifecycle import Steps, Timeline
from up42_async.sandbox._lives import Life, Lives, ShortLives
from up42_async.sandbox._processes import PROCESSES, Eula, Process, eulas
from up42_async.sandbox._recorded_errors import RecordedErrors
from up42_async.sandbox._recorded_lives import RecordedLives
from up42_async.sandbox._scaled_clock import ScaledClock
from up42_async.sandbox._settings import Settings
from up42_async.sandbox._signing import SignedUrls

_USERNAME = "sandbox@example.com"
_PASSWORD = "sandbox-password"  # noqa: S105 - it opens nothing but this sandbox
_DIGITS = (0, 3, 6, 9)
_STAC_COLLECTION = "{api}/v2/assets/stac/collections/{id}"


@attrs.frozen(kw_only=True)
class ExecutionRecord:
    """One execution; the public `Execution` adds the state of its job."""

    job: Job
    budget_id: str | None


class World:
    """The state of a sandbox, except its storage.

    The threads of the server and of the user share it: methods that change it take the lock, and so does code that
    reads more than one value.

    Args:
        settings: The settings of the sandbox.
        clock: Returns seconds that never decrease.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.lock: Final = threading.RLock()
        self.clock: Final = ScaledClock(clock, settings.speed)
        self.processes: dict[str, Process] = dict(PROCESSES)
        self.tokens: Final = Tokens(self.clock, Random(f"tokens {settings.seed}"), settings.token_lifetime)  # noqa: S311 - repeatable on purpose, no secret
        self.signed_urls: Final = SignedUrls(self.clock, settings.seed, settings.signed_url_lifetime)
        self._request_ids = Random(f"requests {settings.seed}")  # noqa: S311 - the same
        self.api_url: str = "https://sandbox.invalid"
        self.files_url: str = "https://files.sandbox.invalid"
        self.reset()

    def reset(self) -> None:
        """Go back to the state after construction, except for the clock, tokens, signed URLs and addresses."""
        settings = self.settings
        with self.lock:
            self.ids: Random = Random(f"ids {settings.seed}")  # noqa: S311 - repeatable on purpose, no secret
            self.random: Random = Random(f"lives {settings.seed}")  # noqa: S311 - the same
            self.account: Account = Account(
                id=draw_id(self.ids), workspace_id=draw_id(self.ids), username=_USERNAME, password=_PASSWORD
            )
            self.lives: Lives = _lives(settings, self.random)
            self.errors: RecordedErrors = RecordedErrors(Random(f"errors {settings.seed}"))  # noqa: S311 - the same
            self.ledger: Ledger = Ledger(settings.balance)
            self.jobs: JobStore = JobStore()
            self.eulas: dict[str, Eula] = eulas(accepted=settings.eula_accepted)
            self.rates: dict[str, int] = {process.id: process.rate for process in PROCESSES.values()}
            self.unsuitable_items: dict[str, str] = {}
            self.executions: list[ExecutionRecord] = []
            self.scripts: list[Steps] = []
            budgets = Random(f"budgets {settings.seed}")  # noqa: S311 - the same
            self.budgets: dict[str, Budget] = seeded_budgets(budgets, self.account.workspace_id, self.now())
            self.budget_setting_id: str = draw_id(budgets)
            self.budgets_enforced = False

    def serve_at(self, api_url: str, files_url: str) -> None:
        """Set the addresses of the server, also in the links of jobs that exist already."""
        with self.lock:
            self.jobs.move(self.api_url, api_url)
            self.api_url, self.files_url = api_url, files_url

    def now(self) -> int:
        """Return the instant at the sandbox."""
        return self.clock.now()

    def priced(self, process: Process, inputs: Mapping[str, Any]) -> _pricing.Price:
        """Return the price of inputs that match the schema."""
        return _pricing.price(process, inputs, self.rates[process.id])

    def consumed(self, budget_id: str, *, with_undecided: bool = False) -> int:
        """Return the credits of a budget that are withheld or deducted.

        Args:
            budget_id: The budget.
            with_undecided: Also count jobs that are not accepted yet.
        """
        now, counted = self.now(), {"withheld", "captured", "undecided" if with_undecided else "captured"}
        jobs = (record.job for record in self.executions if record.budget_id == budget_id)
        return sum(job.price for job in jobs if stage_of(job, now) in counted)

    def request_id(self) -> str:
        """Return a new request id, as the answers of errors have it."""
        with self.lock:
            return draw_id(self._request_ids)

    def new_job(
        self,
        *,
        process_id: str,
        workspace_id: str | None,
        inputs: Mapping[str, Any],
        price: int,
        life: Life,
        errors: list[dict[str, Any]],
        job_id: str | None = None,
    ) -> Job:
        """Return a job that is in no list yet; a job id is drawn if none is given."""
        collection_id = draw_id(self.ids)
        return Job(
            id=draw_id(self.ids) if job_id is None else job_id,
            process_id=process_id,
            account_id=self.account.id,
            workspace_id=workspace_id,
            inputs=inputs,
            price=0 if life.is_free else price,
            collection_id=collection_id,
            collection_url=_STAC_COLLECTION.format(api=self.api_url, id=collection_id),
            digits=self.random.choice(_DIGITS),
            timeline=life.timeline,
            errors=errors,
            shows_collection=life.shows_collection,
        )

    def reschedule(self, job_id: str, change: Callable[[Timeline], Timeline]) -> None:
        """Change a job's timeline.

        Raises:
            KeyError: There is no such job.
        """
        with self.lock:
            job = self.job(job_id)
            job.reschedule(change(job.timeline))
            self.ledger.recount(job)

    def job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            KeyError: There is no such job.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise KeyError(f"The sandbox has no job {job_id!r}; `sandbox.jobs` shows those it has.")
        return job


def _lives(settings: Settings, random: Random) -> Lives:
    if settings.lives == "recorded":
        return RecordedLives(random)
    return ShortLives(random, settings.ending, settings.failure_rate)
