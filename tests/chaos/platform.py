"""The platform in a process of its own: a sandbox, its faults, and its records at the end."""

import logging
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self, cast

import attrs

from tests.chaos.faults import ALWAYS, FAULTS, FaultGroup, Rule
from tests.chaos.plan import Plan
from up42_async.sandbox import Fault, Sandbox

TURN: Final = 0.25
"""Seconds between two updates of the active faults."""
TOKEN_LIFETIME: Final = 20.0
PATIENCE: Final = 60.0
"""Seconds to wait for an answer of the other process."""


@attrs.frozen(kw_only=True)
class Address:
    """How to reach the sandbox, and when its faults began."""

    api: str
    auth: str
    username: str
    password: str = attrs.field(repr=False)
    started: float
    """By the monotonic clock, which all processes share."""

    def now(self) -> float:
        """Return the seconds since the faults began."""
        return time.monotonic() - self.started


@attrs.frozen(kw_only=True)
class ServerJob:
    """The platform's record of one executed job."""

    title: str
    status: str
    credits: int | None
    price: int
    files: Mapping[str, str]
    """SHA-256 of each file of its results, by name."""


@attrs.frozen(kw_only=True)
class Sample:
    """The platform's counts at a time, in seconds since the faults began."""

    moment: float
    executed: int
    captured: int


@attrs.frozen(kw_only=True)
class ServerState:
    """The platform's records at the end."""

    jobs: Mapping[str, ServerJob]
    """Every job that was executed, by id."""
    captured: int
    """Credits deducted."""
    withheld: int
    """Credits still withheld."""
    requests: int
    logins: int
    hits: Mapping[str, int]
    """Number of requests that each fault has hit."""
    strangers: int
    """Requests for files that were sent with a token."""
    crashes: Sequence[str]
    """Errors of the sandbox itself."""
    samples: Sequence[Sample]


class Platform:
    """The other process, a context manager: entering starts the process, leaving ends it.

    Args:
        plan: The faults.
    """

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(self._theirs, plan), name="platform")

    def __enter__(self) -> Self:
        """Start the process; its faults begin when `address` is called."""
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(PATIENCE)

    def address(self) -> Address:
        """Start the faults, and return the address of the sandbox."""
        return cast("Address", self._answer())

    def state(self) -> ServerState:
        """End any active faults, and return the platform's records."""
        self._pipe.send("state")
        return cast("ServerState", self._answer())

    def _answer(self) -> object:
        if not self._pipe.poll(PATIENCE):
            message = f"the sandbox's process said nothing for {PATIENCE:g} s"
            raise TimeoutError(message)
        return self._pipe.recv()


def serve(pipe: Connection, plan: Plan) -> None:
    """Run the sandbox in this process.

    Args:
        pipe: The connection to the process that started this one.
        plan: The faults.
    """
    sandbox = Sandbox(
        speed=plan.speed,
        ending="mixed",
        failure_rate=0.1,
        ids_max=60,
        page_size_max=40,
        token_lifetime=TOKEN_LIFETIME,
        seed=plan.seed,
    )
    with sandbox:
        address = Address(
            api=sandbox.endpoints.api, auth=sandbox.endpoints.auth, **sandbox.credentials, started=time.monotonic()
        )
        crashes = Crashes()
        logging.getLogger("up42_async.sandbox").addHandler(crashes)
        pipe.send(address)
        schedule = FaultSchedule(sandbox, plan)
        samples: list[Sample] = []
        while not pipe.poll(TURN):
            schedule.turn(address.now())
            samples.append(
                Sample(moment=address.now(), executed=len(sandbox.executions), captured=sandbox.balance.captured)
            )
        try:
            while pipe.recv():
                schedule.turn(plan.seconds)
                pipe.send(state_of(sandbox, schedule, samples, crashes.seen))
        except EOFError:
            pass  # the other process has closed the pipe


class Crashes(logging.Handler):
    """Records errors of the sandbox itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Record one error."""
        error = record.exc_info[1] if record.exc_info else None
        self.seen.append(f"{record.getMessage()} {error!r}")


class FaultSchedule:
    """The faults of a plan, each switched on and off at its time.

    Args:
        sandbox: The sandbox that has the faults.
        plan: The times of the faults.
    """

    def __init__(self, sandbox: Sandbox, plan: Plan) -> None:
        self.hits: dict[str, int] = dict.fromkeys(["always", *FAULTS], 0)
        self._sandbox = sandbox
        self._plan = plan
        self._active: dict[str, list[Fault]] = {}

    def turn(self, moment: float) -> None:
        """Add the faults that have begun, and remove those that are over.

        Args:
            moment: Seconds since the start of the faults.
        """
        wanted = self._plan.active(moment) | ({"always"} if moment < self._plan.seconds else frozenset())
        for name in self._active.keys() - wanted:
            self._end(name)
        for name in sorted(wanted - self._active.keys()):
            self._begin(name)
        for name in wanted & FAULTS.keys():
            self._shake(name, FAULTS[name])

    def _begin(self, name: str) -> None:
        rules: Sequence[Rule] = ALWAYS if name == "always" else FAULTS[name].rules
        add = self._sandbox.faults.add
        self._active[name] = [
            add(rule.kind, path=rule.path, query=rule.query, probability=rule.probability) for rule in rules
        ]
        if name != "always" and FAULTS[name].refuses:
            self._sandbox.stop_listening()

    def _shake(self, name: str, fault: FaultGroup) -> None:
        """Cut or reset connections, if the fault does so at every turn."""
        if fault.cuts:
            self.hits[name] += self._sandbox.connections.open
            self._sandbox.drop_connections(reset=True)
        if fault.resets:
            self.hits[name] += fault.resets
            self._sandbox.reset_next_connections(fault.resets)
        if fault.refuses:
            self.hits[name] += 1

    def _end(self, name: str) -> None:
        for fault in self._active.pop(name):
            fault.remove()
            self.hits[name] += fault.hits
        group = FAULTS.get(name)
        if group is not None and group.refuses:
            self._sandbox.start_listening()
        if group is not None and group.resets:
            self._sandbox.reset_next_connections(0)


def state_of(
    sandbox: Sandbox, schedule: FaultSchedule, samples: Sequence[Sample], crashes: Sequence[str]
) -> ServerState:
    """Return the records of a sandbox.

    Args:
        sandbox: The sandbox.
        schedule: The faults, with their hits.
        samples: Counts over time.
        crashes: Errors of the sandbox itself.
    """
    jobs = sandbox.jobs
    executed = {
        execution.job_id: ServerJob(
            title=str(execution.inputs.get("title")),
            status=jobs[execution.job_id].status,
            credits=execution.credits,
            price=execution.price,
            files={file.name: file.sha256 for file in sandbox.results_of(execution.job_id)},
        )
        for execution in sandbox.executions
    }
    balance = sandbox.balance
    return ServerState(
        jobs=executed,
        captured=balance.captured,
        withheld=balance.withheld,
        requests=len(sandbox.requests),
        logins=sandbox.logins,
        hits=schedule.hits,
        strangers=sandbox.tokens_leaked,
        crashes=crashes,
        samples=samples,
    )
