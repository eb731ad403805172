"""Methods that change the state of a sandbox and read it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from up42_async.sandbox import _lifecycle
from up42_async.sandbox._account import Balance, draw_id
from up42_async.sandbox._budgets import STATUSES, Budget, BudgetStatus
from up42_async.sandbox._lifecycle import Steps
from up42_async.sandbox._scaled_clock import moment_of
from up42_async.sandbox._seeding import Seeds, seed
from up42_async.sandbox._traffic import Connections, RequestRecord, Traffic
from up42_async.sandbox._views import Execution, SandboxBudget, SandboxJob, shown_budget, shown_execution, shown_job
from up42_async.sandbox._world import World


class Controls:
    """Changes and reads the state of a sandbox, from any thread.

    Args:
        world: The state.
        traffic: The requests and connections.
    """

    def __init__(self, world: World, traffic: Traffic) -> None:
        self._world = world
        self._traffic = traffic

    # Requests and connections

    @property
    def requests(self) -> Sequence[RequestRecord]:
        """Return every request since the start or `reset_counts`, in order of arrival."""
        return self._traffic.records

    def count(self, method: str | None = None, path: str | None = None, *, origin: str | None = None) -> int:
        """Count requests.

        Args:
            method: The HTTP method; None for all.
            path: Regular expression for the beginning of the path as it was sent, as for `faults.add`; None for all.
            origin: `"api"` or `"files"`; None for both.
        """
        return self._traffic.count(method, path, origin)

    @property
    def connections(self) -> Connections:
        """Return the numbers of connections: opened so far, open now, and most at once."""
        return self._traffic.connections

    @property
    def in_flight(self) -> int:
        """Return how many requests are in progress."""
        return self._traffic.in_flight

    @property
    def peak_in_flight(self) -> int:
        """Return the largest number of requests in progress at once."""
        return self._traffic.peak_in_flight

    @property
    def logins(self) -> int:
        """Return the number of logins, with right and wrong passwords."""
        return self._traffic.logins

    def reset_counts(self) -> None:
        """Set the counts of requests, connections, logins and peaks to zero; executions stay."""
        self._traffic.reset()

    # Clock

    @property
    def now(self) -> datetime:
        """Return the time at the sandbox, in UTC."""
        return moment_of(self._world.now())

    @property
    def speed(self) -> float:
        """Return how many sandbox seconds pass in each real second."""
        return self._world.settings.speed

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock ahead, and with it all jobs.

        Tokens, signed URLs and all other durations in real seconds do not change.

        Args:
            seconds: How many sandbox seconds, 0 or more.

        Raises:
            ValueError: They are negative, or not finite.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"The clock is moved ahead by a finite number of seconds from 0, not by {seconds!r}.")
        with self._world.lock:
            self._world.clock.advance(seconds)

    # Account

    @property
    def balance(self) -> Balance:
        """Return the account's credits; seeded jobs do not change them."""
        with self._world.lock:
            return self._world.ledger.at(self._world.now())

    def deposit(self, amount: int) -> None:
        """Add credits to the account.

        Args:
            amount: Credits; a negative number takes credits away.
        """
        with self._world.lock:
            self._world.ledger.deposited += amount

    @property
    def budgets(self) -> Mapping[str, SandboxBudget]:
        """Return all budgets by id, with the credits consumed now."""
        with self._world.lock:
            return {
                budget.id: shown_budget(budget, self._world.consumed(budget.id))
                for budget in self._world.budgets.values()
            }

    def add_budget(
        self,
        name: str,
        *,
        spend_limit: int | None = None,
        status: BudgetStatus = "ACTIVE",
        description: str | None = None,
        external_id: str | None = None,
    ) -> str:
        """Create a budget; a new sandbox has one that is ACTIVE and one that is INACTIVE.

        Args:
            name: Its name.
            spend_limit: Credits that executions with this budget may spend; None for no limit.
            status: `"ACTIVE"` or `"INACTIVE"`; both limit executions alike.
            description: What it is for.
            external_id: Your own id for it.

        Returns:
            Its id.

        Raises:
            ValueError: The limit is negative, or the status is another one.
        """
        if status not in STATUSES or (spend_limit is not None and spend_limit < 0):
            raise ValueError(
                f"A budget has a status of {', '.join(STATUSES)} and a spend_limit of at least 0 or None; "
                f"got {status!r} and {spend_limit!r}."
            )
        with self._world.lock:
            now = self._world.now()
            budget = Budget(
                id=draw_id(self._world.ids),
                name=name,
                description=description,
                external_id=external_id,
                status=status,
                created_by=self._world.account.workspace_id,
                created=now,
                updated=now,
                spend_limit=spend_limit,
                valid=None,
            )
            self._world.budgets[budget.id] = budget
        return budget.id

    def enforce_budgets(self, *, enabled: bool) -> None:
        """Set what the settings of budgets answer; executions without a budget are accepted either way."""
        with self._world.lock:
            self._world.budgets_enforced = enabled

    def set_eula(self, process_id: str, *, accepted: bool) -> None:
        """Accept the EULA of a process, or withdraw that; processes of one provider share a EULA.

        Raises:
            KeyError: There is no such process, or it needs no EULA.
        """
        with self._world.lock:
            eula_id = self._world.processes[process_id].eula_id
            if eula_id is None:
                raise KeyError(f"The process {process_id!r} needs no EULA.")
            self._world.eulas[eula_id].is_accepted = accepted

    def set_rate(self, process_id: str, rate: int) -> None:
        """Change the price of a process from now on.

        Args:
            process_id: The process.
            rate: Credits for each square kilometre, or for each execution where the price is simple; 0 or more.

        Raises:
            KeyError: There is no such process.
        """
        with self._world.lock:
            self._world.rates[self._world.processes[process_id].id] = rate

    def refuse_item(self, item_id: str, reason: str = "The item has no band that this process needs.") -> None:
        """Make validation refuse an item with 422, and executions of it end as INVALID."""
        with self._world.lock:
            self._world.unsuitable_items[item_id] = reason

    def expire_tokens(self) -> None:
        """Make every access token expire now."""
        with self._world.lock:
            self._world.tokens.revoke_all()

    # Jobs

    @property
    def executions(self) -> Sequence[Execution]:
        """Return every accepted execution in order, whether or not its answer arrived."""
        with self._world.lock:
            now = self._world.now()
            return tuple(shown_execution(record, now) for record in self._world.executions)

    @property
    def jobs(self) -> Mapping[str, SandboxJob]:
        """Return all jobs as they are now, by id, in order of creation."""
        with self._world.lock:
            now = self._world.now()
            return {job.id: shown_job(job, now) for job in self._world.jobs}

    def job(self, job_id: str) -> SandboxJob:
        """Return one job as it is now.

        Raises:
            KeyError: There is no such job.
        """
        with self._world.lock:
            return shown_job(self._world.job(job_id), self._world.now())

    def seed_jobs(
        self,
        number: int,
        *,
        process_id: str | None = None,
        workspace_id: str | None = None,
        status: str | None = None,
        timeline: Steps | None = None,
        spread: float = 0.0,
    ) -> list[str]:
        """Create jobs without executing them; their credits do not change the balance.

        Args:
            number: How many.
            process_id: Their process; None draws one for each.
            workspace_id: Their workspace; None for the user's own.
            status: A status that they have reached in the last hour and keep; any word. None for jobs that go on.
            timeline: Their timeline: (offset in sandbox seconds from the creation, status), offsets not decreasing.
            spread: Past sandbox seconds over which they were created evenly, the oldest first; 0 for all at once.

        Returns:
            Their ids, in order of creation.

        Raises:
            KeyError: There is no such process.
            ValueError: Both a status and a timeline are given, or the timeline has no steps or its offsets decrease.
        """
        if status is not None and timeline is not None:
            raise ValueError("Jobs are seeded with a status or with a timeline, not with both.")
        workspace = self._world.account.workspace_id if workspace_id is None else workspace_id
        ages = (spread * (number - position) / number for position in range(number))
        seeds = Seeds(process_id=process_id, workspace_id=workspace, status=status, timeline=timeline)
        return [seed(self._world, seeds, age).id for age in ages]

    def set_status(self, job_id: str, status: str) -> None:
        """Set the status of a job from now on; any word. Nothing follows it.

        Raises:
            KeyError: There is no such job.
        """
        self._world.reschedule(job_id, lambda timeline: timeline.changed(self._world.now(), status))

    def set_timeline(self, job_id: str, steps: Steps) -> None:
        """Set the rest of a job's timeline.

        Args:
            job_id: The job.
            steps: The next steps: (offset in sandbox seconds from now, status), offsets not decreasing.

        Raises:
            KeyError: There is no such job.
            ValueError: There are no steps, or their offsets decrease.
        """
        self._world.reschedule(job_id, lambda timeline: timeline.continued(self._world.now(), steps))

    def script_executions(self, timelines: Iterable[Steps]) -> None:
        """Set the timelines of the jobs that the next accepted executions create.

        Args:
            timelines: One for each: (offset in sandbox seconds from the creation, status), offsets not decreasing.

        Raises:
            ValueError: One has no steps, or its offsets decrease.
        """
        checked = list(timelines)
        for timeline in checked:
            _lifecycle.scripted(0, timeline)
        with self._world.lock:
            self._world.scripts.extend(checked)

    def forget(self, job_id: str) -> None:
        """Remove a job, as if it had never existed; its execution stays in `executions`.

        Raises:
            KeyError: There is no such job.
        """
        with self._world.lock:
            self._world.jobs.remove(self._world.job(job_id))
