"""Turn a sandbox's responses into odd ones, drawn from a seed: mutated JSON, and bodies that are not JSON.

    async with odd_platform() as odd:
        job = await Job.get(job_id)
        await odd.attack(lambda: Job.get(job_id), expected=is_job, rounds=50)

Each round mutates the responses to one call. The call must return a value that `expected` accepts or raise an
`Up42Error`, within `SECONDS`. A failure names the seed of its round; `attack(..., only=seed)` repeats it.
"""

import contextlib
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import anyio
import attrs

from up42_async import Client, Limits, Polling, RetryPolicy, Timeouts, Up42Error
from up42_async.sandbox import Sandbox

SECONDS: Final = 15.0
"""The longest a call may take, however odd the responses; a usual call takes some milliseconds."""

ODD_VALUES: Final[list[Any]] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**40,
    10**400,
    float("nan"),
    float("inf"),
    "",
    ".",
    "..",
    "../../users/me",
    "x" * 300,
    "\ud800",
    "\u202efdp.tif",
    "soon",
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+12:00",
    "https://evil.test/v2/x",
    "http://[x",
    "//evil.test",
    [],
    {},
    [[]],
    [None],
    {"id": None},
    {"": ""},
]

ODD_BODIES: Final[list[bytes]] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b'"text"',
    b"<html><body>502 Bad Gateway</body></html>",
    b"{",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe",
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
]

Place = tuple[Any, Any]
"""A list or an object, and an index or a key in it."""


def places(value: Any) -> list[Place]:
    """Return the place of every value in decoded JSON."""
    found: list[Place] = []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found.append((value, key))
        found += places(one)
    return found


def mutate(value: Any, draw: random.Random) -> Any:
    """Change decoded JSON, in place where possible, at one to three places; return it."""
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        found = places(value)
        if not found:
            return draw.choice(ODD_VALUES)
        draw.choice(MUTATIONS)(*draw.choice(found), draw)
    return value


def _replace(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = draw.choice(ODD_VALUES)


def _remove(holder: Any, key: Any, draw: random.Random) -> None:
    del holder[key]


def _wrap(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = draw.choice([[holder[key]], {"value": holder[key]}, str(holder[key])])


def _repeat(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder, list):
        holder.extend([holder[key]] * draw.choice([1, 2, 200]))
    else:
        holder[f"{key}X"] = holder[key]


def _swap(holder: Any, key: Any, draw: random.Random) -> None:
    other = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


MUTATIONS: Final = [_replace, _replace, _replace, _remove, _remove, _wrap, _repeat, _swap]


@attrs.frozen
class OddAnswers:
    """A fault of the sandbox: each successful response is mutated or, one time in ten, gets an odd body."""

    draw: random.Random

    async def apply(self, _: Any, act: Callable[[], Awaitable[Any]]) -> Any:
        """Handle the request, and return an odd response."""
        reply = await act()
        if self.draw.random() < 0.1:
            return reply.with_body(self.draw.choice(ODD_BODIES))
        try:
            content = json.loads(reply.body)
        except ValueError:
            return reply
        return reply.with_body(json.dumps(mutate(content, self.draw)).encode())


@attrs.frozen
class OddPlatform:
    """A sandbox and its client, with a method that makes the sandbox's responses odd."""

    sandbox: Sandbox
    client: Client

    async def attack(
        self,
        call: Callable[[], Awaitable[Any]],
        *,
        expected: Callable[[Any], bool],
        rounds: int = 50,
        only: int | None = None,
        path: str = "/v2/",
    ) -> int:
        """Make a call in each round while responses are odd.

        Args:
            call: A function that makes the call; called once a round.
            expected: Returns whether a value is documented.
            rounds: Number of rounds, with the seeds from 0.
            only: Run only the round of this seed, to repeat a failure.
            path: Paths whose responses become odd.

        Returns:
            The number of rounds in which the call returned a value.
        """
        values = 0
        for seed in range(rounds) if only is None else [only]:
            draw = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret
            with self.sandbox.faults.during(OddAnswers(draw), path=path):
                try:
                    with anyio.fail_after(SECONDS):
                        value = await call()
                except Up42Error:
                    continue
                except Exception as error:
                    error.add_note(f"odd answers of seed {seed}")
                    raise
            assert expected(value), f"odd answers of seed {seed} gave {value!r:.200}"
            values += 1
        return values


@contextlib.asynccontextmanager
async def odd_platform(**settings: Any) -> AsyncGenerator[OddPlatform]:
    """Run a sandbox and make a client with few retries and short timeouts the current one."""
    defaults: dict[str, Any] = {
        "retry": RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.002, budget=10**6),
        "timeouts": Timeouts(read=5.0, total=10.0),
        "limits": Limits(requests_per_second=1e6, burst=10**6),
        "polling": Polling(wait=0.01, retries=3, settle=0.01, recover=0.05, visible=0.01),
    }
    async with Sandbox(speed=36_000, failure_rate=0.0) as sandbox:
        given: dict[str, Any] = {**sandbox.settings, **defaults, **settings}
        async with Client(**given) as client:
            await client.workspace_id()
            yield OddPlatform(sandbox, client)
