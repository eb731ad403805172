"""The account: access tokens, credits, and the user."""

from random import Random
from typing import Literal, TypedDict
from uuid import UUID

import attrs

from up42_async.sandbox import _lifecycle
from up42_async.sandbox._jobs import Job
from up42_async.sandbox._scaled_clock import ScaledClock

REFRESH_LIFETIME = 1800
_UNDECIDED = frozenset({_lifecycle.CREATED, _lifecycle.LICENSED, _lifecycle.VALID})
_FREED = _lifecycle.REFUSED | {_lifecycle.RELEASED}


def draw_id(random: Random) -> str:
    """Draw a UUID from a seeded generator."""
    return str(UUID(int=random.getrandbits(128), version=4))


class Tokens:
    """Issues and checks access tokens.

    Args:
        clock: The clock; the lifetime of tokens is in its real seconds, whatever the speed of the sandbox.
        random: Draws the tokens.
        lifetime: Real seconds a token is valid.
    """

    def __init__(self, clock: ScaledClock, random: Random, lifetime: float) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._random = random
        self._expiry: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new token."""
        now = self._clock.elapsed()
        self._expiry = {token: expiry for token, expiry in self._expiry.items() if expiry > now}
        token = f"sandbox.{self._random.getrandbits(256):064x}.{self._random.getrandbits(128):032x}"
        self._expiry[token] = now + self.lifetime
        return token

    def is_good(self, authorization: str) -> bool:
        """Return whether the value of an Authorization header is a valid token now."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._expiry.get(token, 0.0) > self._clock.elapsed()

    def revoke_all(self) -> None:
        """Make every token expire now."""
        self._expiry.clear()


@attrs.frozen(kw_only=True)
class Balance:
    """An account's credits at one moment.

    Args:
        balance: Credits deposited, minus those captured.
        withheld: Credits of accepted jobs that have not ended.
        captured: Credits deducted so far.
        available: Credits a new execution may cost: the balance without those withheld or of jobs not yet accepted.
    """

    balance: int
    withheld: int
    captured: int
    available: int


Stage = Literal["undecided", "withheld", "captured", "freed"]


def stage_of(job: Job, now: int) -> Stage:
    """Return the state of the price of a job: not yet withheld, withheld, deducted, or given back."""
    status, settled = job.status_at(now), job.has_settled(now)
    if status == _lifecycle.CAPTURED or (settled and status == _lifecycle.SUCCESSFUL):
        return "captured"
    if status in _FREED or (settled and status == _lifecycle.FAILED):
        return "freed"
    return "undecided" if status in _UNDECIDED else "withheld"


class Ledger:
    """Follows the credits of executed jobs.

    Args:
        balance: Credits at the start.
    """

    def __init__(self, balance: int) -> None:
        self.deposited = balance
        self._followed: dict[str, Job] = {}
        self._open: dict[str, Job] = {}
        self._captured = 0

    def follow(self, job: Job) -> None:
        """Add the price of a job."""
        self._followed[job.id] = self._open[job.id] = job

    def recount(self, job: Job) -> None:
        """Compute the credits of a job again, after its timeline was changed."""
        if job.id in self._followed:
            self._open = dict(self._followed)
            self._captured = 0

    def at(self, now: int) -> Balance:
        """Return the credits at an instant."""
        undecided = withheld = 0
        for job in list(self._open.values()):
            stage = stage_of(job, now)
            if stage in {"captured", "freed"}:
                del self._open[job.id]
                self._captured += job.price if stage == "captured" else 0
            elif stage == "undecided":
                undecided += job.price
            else:
                withheld += job.price
        balance = self.deposited - self._captured
        available = balance - withheld - undecided
        return Balance(balance=balance, withheld=withheld, captured=self._captured, available=available)

    def available_at(self, instant: int) -> int:
        """Return the credits available for a new execution at an instant in the past, or now."""
        jobs = (job for job in self._followed.values() if job.timeline.instants[0] <= instant)
        return self.deposited - sum(job.price for job in jobs if stage_of(job, instant) != "freed")


class Credentials(TypedDict):
    """The credentials of the only user: `Client(**sandbox.credentials)`."""

    username: str
    password: str


@attrs.frozen(kw_only=True)
class Account:
    """The account and its only user."""

    id: str
    workspace_id: str
    username: str
    password: str

    @property
    def credentials(self) -> Credentials:
        """Return the credentials of the user."""
        return Credentials(username=self.username, password=self.password)
