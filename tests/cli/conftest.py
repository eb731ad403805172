"""A sandbox for the command, and a process that is as before when it has ended."""

import logging
import signal
from collections.abc import Iterator

import pytest

from up42_async.sandbox import Sandbox


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(speed=600, failure_rate=0.0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    server.reset()
    return server


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Take back what a command sets in its process: the log, and what Ctrl-C does."""
    logger = logging.getLogger("up42_async")
    before = (logger.handlers[:], logger.propagate, logger.level)
    interrupt = signal.getsignal(signal.SIGINT)
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])
    signal.signal(signal.SIGINT, interrupt)
