"""An answer whose bytes are odd ends in a value or an `Up42Error`: status line, headers, framing, any byte."""

import gzip
import json
import random
from collections.abc import Callable
from typing import Any, Final

import anyio
import pytest

from tests.raw_server import platform, raw_and_close, response
from up42_async import RetryPolicy, Timeouts, Up42Error
from up42_async._http.requests import ApiRequest

ABOUT = ApiRequest(method="GET", path="/v2/things/1")
BODY = json.dumps({"id": "1", "items": list(range(50)), "title": "Ünï ☃"}).encode()
ROUNDS = 150
SECONDS = 10.0

HEADERS: Final = [
    "Content-Length: -1",
    "Content-Length: 5",
    "Content-Length: 99999999999999999999",
    "Content-Length: 10, 10",
    "Content-Length: ten",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Content-Encoding: gzip",
    "Content-Encoding: br",
    "Content-Encoding: gzip, gzip",
    "Content-Encoding: utf-8",
    "Content-Type: text/html; charset=\xff",
    "Retry-After: -5",
    "Retry-After: Wed, 31 Dec 9999 23:59:59 GMT",
    "Date: yesterday",
    "Location: http://[x",
    "Location: https://evil.test/",
    "Set-Cookie: a=b; Domain=.com",
    "Connection: upgrade",
    "X: " + "x" * 70_000,
    ": no name",
    "no colon",
    " folded",
    "Bad\x00Name: x",
]
STATUS_LINES: Final = [
    "HTTP/1.1 200",
    "HTTP/1.0 200 OK",
    "HTTP/2 200 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 999 Odd",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 101 Switching",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 301 Moved",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 418 Teapot",
    "HTTP/1.1 200 " + "x" * 5000,
    "ICY 200 OK",
    "",
    "<html>",
]


def other_status(good: bytes, draw: random.Random) -> bytes:
    _, _, rest = good.partition(b"\r\n")
    return draw.choice(STATUS_LINES).encode("latin-1") + b"\r\n" + rest


def other_header(good: bytes, draw: random.Random) -> bytes:
    first, _, rest = good.partition(b"\r\n")
    if draw.random() < 0.5:
        _, _, rest = rest.partition(b"\r\n")  # in place of the length
    return first + b"\r\n" + draw.choice(HEADERS).encode("latin-1") + b"\r\n" + rest


def flipped(good: bytes, draw: random.Random) -> bytes:
    odd = bytearray(good)
    for _ in range(draw.choice([1, 2, 10])):
        odd[draw.randrange(len(odd))] = draw.randrange(256)
    return bytes(odd)


def cut(good: bytes, draw: random.Random) -> bytes:
    return good[: draw.randrange(len(good))]


def doubled(good: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(good))
    return good[:at] + good[: draw.randrange(len(good))] + good[at:]


def packed(good: bytes, draw: random.Random) -> bytes:
    body = bytearray(gzip.compress(BODY))
    for _ in range(draw.choice([0, 1, 3])):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return response(bytes(body[: draw.choice([len(body), len(body) // 2])]), headers=[("Content-Encoding", "gzip")])


def chunked(good: bytes, draw: random.Random) -> bytes:
    size = draw.choice([f"{len(BODY):x}", "0", "-1", "zz", "f" * 20, "5;x=y", ""])
    end = draw.choice([b"\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n", b""])
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size.encode() + b"\r\n" + BODY + end


MUTATIONS: Final[list[Callable[[bytes, random.Random], bytes]]] = [
    other_status,
    other_header,
    flipped,
    cut,
    doubled,
    packed,
    chunked,
]


@pytest.mark.slow
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
async def test_odd_bytes_end_in_a_value_or_in_an_error_of_ours(mutate: Callable[[bytes, random.Random], bytes]) -> None:
    retry = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.002, max_retry_after=0.01, budget=10**6)
    timeouts = Timeouts(read=1.0, total=2.0)
    good = response(BODY, headers=[("Content-Type", "application/json"), ("Date", "Wed, 21 Oct 2015 07:28:00 GMT")])
    async with platform(raw_and_close(good), retry=retry, timeouts=timeouts) as up:
        assert (await up.client._session.call(ABOUT))["id"] == "1"
        for seed in range(ROUNDS):
            odd = mutate(good, random.Random(seed))  # noqa: S311 - repeatable on purpose, no secret
            up.api.acts[:] = [raw_and_close(odd)]
            try:
                with anyio.fail_after(SECONDS):
                    value: Any = await up.client._session.call(ABOUT)
            except Up42Error:
                continue
            except Exception as error:
                error.add_note(f"seed {seed}: {odd!r:.200}")
                raise
            json.dumps(value)
        up.api.acts[:] = [raw_and_close(good)]
        assert (await up.client._session.call(ABOUT))["id"] == "1"  # nothing that came has spoilt the client
