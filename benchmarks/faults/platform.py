"""The platform in a process of its own: a sandbox, its troubles, and at the end what it knows."""

import logging
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self, cast

import attrs

from benchmarks.faults.plan import Plan
from benchmarks.faults.troubles import ALWAYS, TROUBLES, Rule, Trouble
from up42_async.sandbox import Fault, Sandbox

TURN: Final = 0.25
"""Seconds between two looks at the plan."""
TOKEN_LIFETIME: Final = 20.0
PATIENCE: Final = 60.0
"""Seconds the other process may take to answer."""


@attrs.frozen(kw_only=True)
class Address:
    """How to reach the sandbox, and when its troubles began."""

    api: str
    auth: str
    username: str
    password: str = attrs.field(repr=False)
    started: float
    """By the monotonic clock, which all processes share."""

    def now(self) -> float:
        """Return the seconds since the troubles began."""
        return time.monotonic() - self.started


@attrs.frozen(kw_only=True)
class ServerJob:
    """What the platform knows of one job that was executed."""

    title: str
    status: str
    credits: int | None
    price: int
    files: Mapping[str, str]
    """SHA-256 of each file of its results, by name."""


@attrs.frozen(kw_only=True)
class Sample:
    """What had happened by some moment, in seconds since the troubles began."""

    moment: float
    executed: int
    captured: int


@attrs.frozen(kw_only=True)
class Truth:
    """What the platform knows at the end."""

    jobs: Mapping[str, ServerJob]
    """Every job that was executed, by id."""
    captured: int
    """Credits deducted."""
    withheld: int
    """Credits still withheld."""
    requests: int
    logins: int
    hits: Mapping[str, int]
    """How many requests each trouble has hit."""
    strangers: int
    """Requests for files that came with a token."""
    crashes: Sequence[str]
    """Errors of the sandbox itself."""
    samples: Sequence[Sample]


class Platform:
    """The other process: enter it to start it, ask it for the truth, leave it to end it."""

    def __init__(self, plan: Plan) -> None:
        """Start nothing yet.

        Args:
            plan: What goes wrong.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(self._theirs, plan), name="platform")

    def __enter__(self) -> Self:
        """Start it; its troubles begin when it is asked for its address."""
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self._pipe.close()
        self._process.join(PATIENCE)

    def address(self) -> Address:
        """Begin with the troubles, and return how to reach it."""
        return cast("Address", self._answer())

    def truth(self) -> Truth:
        """Return what it knows; its troubles end if they have not."""
        self._pipe.send("truth")
        return cast("Truth", self._answer())

    def _answer(self) -> object:
        if not self._pipe.poll(PATIENCE):
            message = f"the sandbox's process said nothing for {PATIENCE:g} s"
            raise TimeoutError(message)
        return self._pipe.recv()


def serve(pipe: Connection, plan: Plan) -> None:
    """Be the other process.

    Args:
        pipe: Where the one who started it asks.
        plan: What goes wrong.
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
        weather = Weather(sandbox, plan)
        samples: list[Sample] = []
        while not pipe.poll(TURN):
            weather.turn(address.now())
            samples.append(
                Sample(moment=address.now(), executed=len(sandbox.executions), captured=sandbox.balance.captured)
            )
        try:
            while pipe.recv():
                weather.turn(plan.seconds)
                pipe.send(truth_of(sandbox, weather, samples, crashes.seen))
        except EOFError:
            pass  # whoever asked has ended


class Crashes(logging.Handler):
    """Notes what goes wrong in the sandbox without being asked to."""

    def __init__(self) -> None:
        """Note nothing yet."""
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note one error."""
        error = record.exc_info[1] if record.exc_info else None
        self.seen.append(f"{record.getMessage()} {error!r}")


class Weather:
    """The troubles of a plan, each switched on and off at its time."""

    def __init__(self, sandbox: Sandbox, plan: Plan) -> None:
        """Begin with fair weather.

        Args:
            sandbox: Whom they come over.
            plan: When.
        """
        self.hits: dict[str, int] = dict.fromkeys(["always", *TROUBLES], 0)
        self._sandbox = sandbox
        self._plan = plan
        self._active: dict[str, list[Fault]] = {}

    def turn(self, moment: float) -> None:
        """Switch on what has begun, and off what is over.

        Args:
            moment: Seconds since the beginning.
        """
        wanted = self._plan.active(moment) | ({"always"} if moment < self._plan.seconds else frozenset())
        for name in self._active.keys() - wanted:
            self._end(name)
        for name in sorted(wanted - self._active.keys()):
            self._begin(name)
        for name in wanted & TROUBLES.keys():
            self._shake(name, TROUBLES[name])

    def _begin(self, name: str) -> None:
        rules: Sequence[Rule] = ALWAYS if name == "always" else TROUBLES[name].rules
        add = self._sandbox.faults.add
        self._active[name] = [
            add(rule.kind, path=rule.path, query=rule.query, probability=rule.probability) for rule in rules
        ]
        if name != "always" and TROUBLES[name].refuses:
            self._sandbox.stop_listening()

    def _shake(self, name: str, trouble: Trouble) -> None:
        """Do what a trouble does at every turn."""
        if trouble.cuts:
            self.hits[name] += self._sandbox.connections.open
            self._sandbox.drop_connections(reset=True)
        if trouble.resets:
            self.hits[name] += trouble.resets
            self._sandbox.reset_next_connections(trouble.resets)
        if trouble.refuses:
            self.hits[name] += 1

    def _end(self, name: str) -> None:
        for fault in self._active.pop(name):
            fault.remove()
            self.hits[name] += fault.hits
        trouble = TROUBLES.get(name)
        if trouble is not None and trouble.refuses:
            self._sandbox.start_listening()
        if trouble is not None and trouble.resets:
            self._sandbox.reset_next_connections(0)


def truth_of(sandbox: Sandbox, weather: Weather, samples: Sequence[Sample], crashes: Sequence[str]) -> Truth:
    """Return what a sandbox knows.

    Args:
        sandbox: The sandbox.
        weather: What went wrong.
        samples: What had happened when.
        crashes: Errors of its own.
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
    return Truth(
        jobs=executed,
        captured=balance.captured,
        withheld=balance.withheld,
        requests=len(sandbox.requests),
        logins=sandbox.logins,
        hits=weather.hits,
        strangers=sandbox.tokens_leaked,
        crashes=crashes,
        samples=samples,
    )
