"""Which fault hits which request."""

import re
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Exchange, Reply, raw_path, raw_query
from up42_async.sandbox._fault_checks import is_kind
from up42_async.sandbox._fault_kinds_wire import Kind
from up42_async.sandbox._world import World


class Fault:
    """One fault that was switched on; `remove()` switches it off.

    Attributes:
        kind: Its kind.
        hits: The number of requests it has hit.
    """

    def __init__(self, kind: Kind, rule: "Rule", faults: "Faults") -> None:
        self.kind = kind
        self.hits: int = 0
        self._seen = 0
        self._rule = rule
        self._faults = faults

    def remove(self) -> None:
        """Switch the fault off; a second call does nothing."""
        self._faults.discard(self)

    def suits(self, method: str, path: str, query: str) -> bool:
        """Return whether the rule of the fault matches a request."""
        rule = self._rule
        return (
            (rule.method is None or rule.method == method)
            and rule.path.match(path) is not None
            and rule.query.search(query) is not None
        )

    def takes(self, random: Random) -> bool:
        """Count a request that matches, and return whether the fault hits it."""
        rule = self._rule
        self._seen += 1
        if self._seen <= rule.after or (rule.times is not None and self.hits >= rule.times):
            return False
        if random.random() >= rule.probability:
            return False
        self.hits += 1
        return True


@attrs.frozen(kw_only=True)
class Rule:
    """Which requests a fault hits."""

    path: re.Pattern[str]
    query: re.Pattern[str]
    method: str | None
    times: int | None = attrs.field(validator=checks.optional(checks.whole(1)))
    after: int = attrs.field(validator=checks.whole(0))
    probability: float = attrs.field(validator=[checks.real(0), attrs.validators.le(1)])


class Faults:
    """The faults that are switched on.

    Where several match a request, the one added first is the outermost: a request that it lets pass reaches the next.

    Args:
        seed: The seed of the generator for `probability`.
    """

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Switch all faults off, and start the generator again from the seed."""
        with self._lock:
            self._random = Random(f"faults {self._seed}")  # noqa: S311 - repeatable on purpose, no secret
            self._active: tuple[Fault, ...] = ()

    def add(
        self,
        kind: Kind,
        *,
        path: str = "",
        query: str = "",
        method: str | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
    ) -> Fault:
        """Switch a fault on.

        Args:
            kind: The kind of the fault, one of `up42_async.sandbox.faults`.
            path: Regular expression for the start of the path as it is sent; a plain prefix is one. End it with `$`
                for the whole path. Empty for every path, also that of the login.
            query: Regular expression for anything in the query as it is sent.
            method: The HTTP method; None for all.
            times: How many requests it hits, at least 1; None for all.
            after: How many matching requests pass before the first is hit, 0 or more.
            probability: The probability that a matching request is hit, 0 to 1, drawn from the sandbox's seed.

        Returns:
            The fault, with its `hits` and `remove()`.

        Raises:
            TypeError: The kind is not an object that can be a fault (a class is not), or a value has the wrong type.
            ValueError: A number is out of its range, or a pattern is not a regular expression.
        """
        if not is_kind(kind):
            example = f"{kind.__name__}(...)" if isinstance(kind, type) else "faults.Status(503)"
            raise TypeError(
                f"A fault is an object with `async def apply(self, exchange, act)`, such as {example}; got {kind!r}."
            )
        rule = Rule(
            path=_pattern("path", path),
            query=_pattern("query", query),
            method=None if method is None else method.upper(),
            times=times,
            after=after,
            probability=probability,
        )
        fault = Fault(kind, rule, self)
        with self._lock:
            self._active = (*self._active, fault)
        return fault

    @contextmanager
    def during(
        self,
        kind: Kind,
        *,
        path: str = "",
        query: str = "",
        method: str | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
    ) -> Generator[Fault]:
        """Switch a fault on for a `with` block; the arguments are those of `add`."""
        fault = self.add(kind, path=path, query=query, method=method, times=times, after=after, probability=probability)
        try:
            yield fault
        finally:
            fault.remove()

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._active = ()

    def is_on(self, fault: Fault) -> bool:
        """Return whether a fault is switched on, also if it has hit `times` requests."""
        return fault in self._active

    def discard(self, fault: Fault) -> None:
        """Switch one fault off, if it is on."""
        with self._lock:
            self._active = tuple(active for active in self._active if active is not fault)

    def suiting(self, method: str, path: str, query: str) -> list[Fault]:
        """Return the faults that match a request."""
        return [fault for fault in self._active if fault.suits(method, path, query)]

    def take(self, fault: Fault) -> bool:
        """Count a request that a fault matches, and return whether the fault hits it."""
        with self._lock:
            return fault.takes(self._random)


def _pattern(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{name} must be a regular expression, not {text!r}: {error}.") from error


class FaultyApp:
    """Applies faults to requests before the application gets them.

    Args:
        app: The application.
        faults: The faults that are on.
        world: The state of the sandbox.
    """

    def __init__(self, app: ASGIApp, faults: Faults, world: World) -> None:
        self._app = app
        self._faults = faults
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        suiting = iter(self._faults.suiting(scope["method"], raw_path(scope), raw_query(scope)))
        fault = self._first_taken(suiting)
        if fault is None:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._world)
        reply = await fault.kind.apply(exchange, partial(self._through, suiting, exchange))
        await reply.delivery(exchange, reply)

    def _first_taken(self, suiting: Iterator[Fault]) -> Fault | None:
        return next((fault for fault in suiting if self._faults.take(fault)), None)

    async def _through(self, suiting: Iterator[Fault], exchange: Exchange) -> Reply:
        fault = self._first_taken(suiting)
        if fault is None:
            return await exchange.act(self._app)
        return await fault.kind.apply(exchange, partial(self._through, suiting, exchange))
