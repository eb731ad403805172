"""The state of the sandbox: account, processes, jobs and credits, behind one lock."""

import threading
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import attrs

from up42_async.sandbox import _lifecycle, _pricing
from up42_async.sandbox._account import Account, Ledger, Tokens, draw_id
from up42_async.sandbox._jobs import Job, JobStore
from up42_async.sandbox._lifecycle import Outcome, Steps, Timeline
from up42_async.sandbox._processes import EXECUTABLE_WITH_ITEM, PROCESSES, Process, eulas
from up42_async.sandbox._scaled_clock import SECOND, ScaledClock
from up42_async.sandbox._settings import Settings
from up42_async.sandbox._signing import SignedUrls
from up42_async.sandbox._validation import SchemaError, checked_inputs, findings

_USERNAME = "sandbox@example.com"
_PASSWORD = "sandbox-password"  # noqa: S105 - it opens nothing but this sandbox
_DIGITS = (0, 3, 6, 9)
_ITEM_URL = "{api}/v2/assets/stac/collections/{collection_id}/items/{item_id}"


@attrs.frozen(kw_only=True)
class ExecutionRecord:
    """Hold what was executed; the public `Execution` adds what became of it."""

    job: Job
    budget_id: str | None
    outcome: Outcome


class World:
    """Hold everything the sandbox knows, and change it as the platform would.

    The server's thread and the user's come here at any time: methods that change something take the lock, and whoever
    reads more than one thing takes it too.

    Args:
        settings: How this sandbox behaves.
        clock: Returns seconds that only ever grow.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.clock = ScaledClock(clock, settings.speed)
        self._ids = Random(f"ids {settings.seed}")  # noqa: S311 - repeatable on purpose, no secret
        self._lives = Random(f"lives {settings.seed}")  # noqa: S311 - the same
        self.account = Account(
            id=draw_id(self._ids), workspace_id=draw_id(self._ids), username=_USERNAME, password=_PASSWORD
        )
        self.tokens = Tokens(self.clock, Random(f"tokens {settings.seed}"), settings.token_lifetime)  # noqa: S311
        self.ledger = Ledger(settings.balance)
        self.jobs = JobStore()
        self.processes = dict(PROCESSES)
        self.eulas = eulas(accepted=settings.eula_accepted)
        self.rates = {process.id: process.rate for process in PROCESSES.values()}
        self.unsuitable_items: dict[str, str] = {}
        self.executions: list[ExecutionRecord] = []
        self.scripts: list[Steps] = []
        self.signed_urls = SignedUrls(self.clock, settings.seed, settings.signed_url_lifetime)
        self.api_url = "https://sandbox.invalid"
        self.files_url = "https://files.sandbox.invalid"

    def now(self) -> int:
        """Return the instant at the sandbox."""
        return self.clock.now()

    def priced(self, process: Process, inputs: Mapping[str, Any]) -> _pricing.Price:
        """Price inputs whose form is right."""
        return _pricing.price(process, inputs, self.rates[process.id])

    def execute(self, process: Process, body: Any, workspace_id: str, budget_id: str | None) -> bytes:
        """Make a job, as the platform does for every execution request that it can read, and return its body.

        What is wrong with it (licence, inputs, credits) shows in the statuses that the job takes.
        """
        with self.lock:
            outcome, inputs, cost, errors = self._judge(process, body)
            job = self._make(
                process_id=process.id,
                workspace_id=workspace_id,
                inputs=inputs,
                cost=cost,
                timeline=self._life(outcome),
                errors=errors,
            )
            if outcome in {"success", "failure"}:
                self.ledger.follow(job)
            self.executions.append(ExecutionRecord(job=job, budget_id=budget_id, outcome=outcome))
            return job.body_at(self.now())

    def _judge(self, process: Process, body: Any) -> tuple[Outcome, Mapping[str, Any], int, list[dict[str, Any]]]:
        given = body["inputs"] if isinstance(body, dict) and isinstance(body.get("inputs"), dict) else {}
        if process.eula_id is not None and not self.eulas[process.eula_id].is_accepted:
            return "unlicensed", given, 0, []
        try:
            inputs = checked_inputs(process, body)
        except SchemaError as error:
            return "invalid", given, 0, [{"name": "InvalidSchema", "message": str(error)}]
        if found := findings(process, inputs, self.unsuitable_items):
            return "invalid", inputs, 0, [finding.body() for finding in found]
        cost = self.priced(process, inputs).credits
        if cost > self.ledger.at(self.now()).available:
            return "rejected", inputs, cost, []
        failed = self._lives.random() < self.settings.failure_rate
        return "failure" if failed else "success", inputs, cost, []

    def _life(self, outcome: Outcome) -> Timeline:
        if self.scripts and outcome in {"success", "failure"}:
            return _lifecycle.scripted(self.now(), self.scripts.pop(0))
        return _lifecycle.draw(self._lives, self.now(), outcome, self.settings.ending)

    def _make(
        self,
        *,
        process_id: str,
        workspace_id: str | None,
        inputs: Mapping[str, Any],
        cost: int,
        timeline: Timeline,
        errors: list[dict[str, Any]],
    ) -> Job:
        collection_id = draw_id(self._ids)
        job = Job(
            id=draw_id(self._ids),
            process_id=process_id,
            account_id=self.account.id,
            workspace_id=workspace_id,
            inputs=inputs,
            price=cost,
            collection_id=collection_id,
            collection_url=f"{self.api_url}/v2/assets/stac/collections/{collection_id}",
            digits=self._lives.choice(_DIGITS),
            timeline=timeline,
            errors=errors,
        )
        self.jobs.add(job)
        return job

    def seed(
        self,
        process_id: str | None,
        workspace_id: str | None,
        status: str | None,
        timeline: Steps | None,
        age: float,
    ) -> Job:
        """Make one job that nobody executed; its credits do not touch the balance."""
        with self.lock:
            process = self.processes[process_id or self._lives.choice(EXECUTABLE_WITH_ITEM)]
            start = self.now() - round(age * SECOND)
            inputs = self._made_up_inputs(process)
            cost = self.priced(process, inputs).credits
            return self._make(
                process_id=process.id,
                workspace_id=workspace_id,
                inputs=inputs,
                cost=cost,
                timeline=self._seeded_life(start, status, timeline),
                errors=_made_up_errors(),
            )

    def _seeded_life(self, start: int, status: str | None, timeline: Steps | None) -> Timeline:
        if timeline is not None:
            return _lifecycle.scripted(start, timeline)
        if status is not None:
            return _lifecycle.resting(self._lives, start - _lifecycle.LONGEST, status)
        outcome: Outcome = "failure" if self._lives.random() < self.settings.failure_rate else "success"
        return _lifecycle.draw(self._lives, start, outcome, self.settings.ending)

    def _made_up_inputs(self, process: Process) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for name, described in process.inputs.items():
            if name == "title":
                inputs[name] = f"{process.title} {len(self.jobs) + 1}"
            elif described.schema.get("format") == "uri":
                inputs[name] = self._made_up_item()
            elif described.schema.get("items", {}).get("format") == "uri":
                inputs[name] = [self._made_up_item(), self._made_up_item()]
            elif described.required:
                inputs[name] = described.schema["default"]
        return inputs

    def _made_up_item(self) -> str:
        return _ITEM_URL.format(api=self.api_url, collection_id=draw_id(self._ids), item_id=draw_id(self._ids))

    def reschedule(self, job_id: str, change: Callable[[Timeline], Timeline]) -> None:
        """Change a job's timeline.

        Raises:
            KeyError: There is no such job.
        """
        with self.lock:
            job = self.job(job_id)
            job.reschedule(change(job.timeline))
            if self.ledger.is_following(job):
                self.ledger.follow(job)

    def job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            KeyError: There is no such job.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise KeyError(f"The sandbox has no job {job_id!r}; `sandbox.jobs` shows those it has.")
        return job


def _made_up_errors() -> list[dict[str, Any]]:
    return [{"name": "InvalidItem", "message": "The item has no band that this process needs."}]
