"""A sandbox on a clock that stands still until a test moves it, and a client that is logged in to it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.sandbox.asking import Clock, logged_in
from up42_async.sandbox import Sandbox


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=clock, token_lifetime=1_000_000) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with logged_in(sandbox) as client:
        yield client
