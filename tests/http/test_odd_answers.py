"""Whatever a server sends as HTTP, a call ends in a value or in an error of ours, in bounded time and memory.

Answers that are right are mutated at random, but the same way in each run: status lines, headers, lengths, encodings,
and any byte. A seed that fails is named by the test. What odd JSON does to each public call is tested for all of them
in `tests/test_odd_answers.py`; here it is the one call under all of them, and the login.
"""

import gzip
import json
import random
import resource
import sys
import zlib
from typing import Any, Final

import anyio

import up42_async as up42
from tests.raw_server import Act, Connection, Platform, platform, raw_and_close, response
from up42_async._http.requests import ApiRequest

ABOUT: Final = ApiRequest(method="GET", path="/v2/things/1")
BODY: Final = json.dumps({"id": "1", "items": list(range(50)), "title": "Ünï ☃", "none": None}).encode()
GOOD: Final = response(BODY, headers=[("Content-Type", "application/json"), ("Date", "Wed, 21 Oct 2015 07:28:00 GMT")])
ROUNDS: Final = 150
LOGINS: Final = 25
PATIENCE: Final = 15.0
"""Seconds for one call; all timeouts below together are less."""
MOST_MEMORY: Final = 100 * 2**20

SETTINGS: Final[dict[str, Any]] = {
    "timeouts": up42.Timeouts(connect=1, read=0.3, write=1, total=1, cancel_grace=0.1),
    "retry": up42.RetryPolicy(
        attempts=2, wait_initial=0.001, wait_max=0.002, timeout=1, max_retry_after=0.01, budget=10**6
    ),
}

STATUS_LINES: Final = [
    *(f"HTTP/1.1 {status} X".encode() for status in (200, 201, 204, 206, 299, 300, 304, 307, 400, 401, 403, 404)),
    *(f"HTTP/1.1 {status} X".encode() for status in (407, 408, 409, 413, 418, 422, 425, 429, 431, 499, 500, 503, 599)),
    *(b"HTTP/1.0 200 OK", b"HTTP/2 200", b"HTTP/1.1 100 Continue", b"HTTP/1.1 099 X", b"HTTP/1.1 600 X"),
    *(
        b"HTTP/1.1 999 X",
        b"HTTP/1.1 20 X",
        b"HTTP/1.1 101 X",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 \xff\x01",
        b"HTTP/1.1 -200 X",
    ),
    *(
        b"",
        b"\x00",
        b"SSH-2.0-OpenSSH",
        b"200 OK",
        b"HTTP/1.1 200 \xff\x01",
        b"<html>",
        b"ICY 200 OK",
        b"http/1.1 200 ok",
        b"HTTP/1.1 200 " + b"x" * 200_000,
    ),
]
HEADERS: Final = [
    *(b"Content-Length: -1", b"Content-Length: 5, 6", b"Content-Length: 0", b"Content-Length: 9" + b"9" * 400),
    *(b"Content-Length: 7\r\nContent-Length: 8", b"Content-Length: x", b"Content-Length: 100000"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: gzip, gzip", b"Content-Encoding: \xff"),
    *(b"Content-Encoding: identity", b"Content-Encoding:", b"Content-Type: text/html; charset=\x80", b"Content-Type:"),
    *(b"Retry-After: 0", b"Retry-After: -5", b"Retry-After: 1e999", b"Retry-After: Fri, 31 Dec 9999 23:59:59 -1200"),
    *(b"Date: Fri, 31 Dec 9999 23:59:59 -1200", b"Date: x", b"Date: Mon, 01 Jan 0001 00:00:00 +2300", b"Date:"),
    *(b"Location: http://[", b"Location: //evil.test:99999/", b"Location: \xff\x00", b"Connection: close, upgrade"),
    *(b"Set-Cookie: a=b; Domain=.com", b"X-Request-Id: \xff\x01" + b"y" * 5000, b"Link: <x>; rel=next"),
    *(
        b" folded: x",
        b"no colon",
        b": no name",
        b"x\x00y: z",
        b"Big: " + b"z" * 150_000,
        b"Trailer: x",
        b"Upgrade: h2c",
    ),
]


def gzip_bomb() -> bytes:
    """Return 49 kB that inflate to 48 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(b"[]," * 2**20) for _ in range(16)] + [packer.flush()])


BOMB: Final = gzip_bomb()
BODIES: Final = [
    *(
        b"",
        b" ",
        b"null",
        b"true",
        b"0",
        b"[]",
        b"{}",
        b'""',
        b"[[]]",
        b"NaN",
        b"\xef\xbb\xbf" + BODY,
        b"\xff\xfe{\x00",
    ),
    *(
        b"<html><title>x</title></html>",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
        b'"\\ud800"',
        b"[" + b"0," * 600_000,
    ),
]


def mutated_bytes(random_: random.Random, data: bytes) -> bytes:
    """Return data with some bytes cut, doubled, moved or changed."""
    result = bytearray(data)
    for _ in range(random_.randint(1, 8)):
        start = random_.randrange(len(result) + 1)
        end = min(len(result), start + random_.choice([1, 1, 2, 10, 100]))
        replacement = random_.choice(
            [b"", bytes(result[start:end]) * 2, random_.randbytes(end - start), b'"', b"null", b"}", b"-1", b"1e999"]
        )
        result[start:end] = replacement
    return bytes(result)


def cut(random_: random.Random, data: bytes) -> bytes:
    return data[: random_.randrange(len(data) + 1)]


def doubled(random_: random.Random, data: bytes) -> bytes:
    at = random_.randrange(len(data) + 1)
    return data[:at] + cut(random_, data) + data[at:]


def in_chunks(random_: random.Random, body: bytes) -> bytes:
    """Return a body in one chunk, whose size or end may be wrong."""
    size = random_.choice([b"%x" % len(body), b"0", b"-1", b"zz", b"f" * 20, b"5;x=y", b""])
    return size + b"\r\n" + body + random_.choice([b"\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n", b""])


def answer_of(random_: random.Random) -> bytes:
    """Return an answer with one to three things wrong: any byte, status line, header, framing or packing."""
    status, headers, body, encoded = b"HTTP/1.1 200 OK", list[bytes](), BODY, False
    for _ in range(random_.randint(1, 3)):
        match random_.randrange(6):
            case 0:
                status = random_.choice(STATUS_LINES)
            case 1:
                headers.append(random_.choice(HEADERS))
            case 2:
                body = random_.choice(BODIES)
            case 3:
                body = random_.choice([mutated_bytes, cut, doubled])(random_, body)
            case 4:
                body, encoded = (BOMB if random_.random() < 0.3 else gzip.compress(body)), True
            case _:
                body = in_chunks(random_, body)
                headers.append(b"Transfer-Encoding: chunked")
    if encoded:
        headers.append(b"Content-Encoding: gzip")
        if random_.random() < 0.3:
            body = mutated_bytes(random_, body)
    if not any(header.lower().startswith((b"content-length", b"transfer-encoding")) for header in headers):
        headers.append(b"Content-Length: %d" % (len(body) + random_.choice([0, 0, 0, 0, -1, 1])))
    whole = b"\r\n".join([status, *headers, b"", b""]) + body
    return mutated_bytes(random_, whole) if random_.random() < 0.1 else whole


def odd(name: str) -> Act:
    """Answer oddly, another way for each request; each seed has its own row of answers."""
    random_ = random.Random(name)  # noqa: S311 - the same in each run

    async def act(connection: Connection) -> None:
        await raw_and_close(answer_of(random_))(connection)

    return act


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


async def outcome_of(up: Platform) -> object:
    """Return what came of a call; other errors than ours go through."""
    with anyio.fail_after(PATIENCE):
        try:
            return await up.client._session.call(ABOUT)
        except up42.Up42Error as error:
            assert str(error).isprintable()
            assert len(str(error)) < 3000
            return error


async def test_an_odd_response_gives_a_value_or_an_up42_error_in_bounded_time_and_memory() -> None:
    ends: set[type] = set()
    async with platform(raw_and_close(GOOD), **SETTINGS) as up:
        assert await outcome_of(up) == json.loads(BODY)
        before = peak()
        for seed in range(ROUNDS):
            up.api.acts[:] = [odd(str(seed))]
            try:
                outcome = await outcome_of(up)
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise
            ends.add(type(outcome))
        up.api.acts[:] = [raw_and_close(GOOD)]
        assert await outcome_of(up) == json.loads(BODY)  # nothing that came has spoilt the client
    assert len(ends) > 5
    assert peak() - before < MOST_MEMORY


async def test_an_odd_response_to_the_login_gives_an_up42_error() -> None:
    for seed in range(LOGINS):
        async with platform(raw_and_close(GOOD), login=odd(f"login {seed}"), **SETTINGS) as up:
            await outcome_of(up)
