"""What most tests of executions need: a platform that takes money, and a client on it."""

from collections.abc import AsyncIterator

import pytest

from tests.paying_platform import PayingPlatform, client_of
from up42_async import Client


@pytest.fixture
def platform() -> PayingPlatform:
    return PayingPlatform()


@pytest.fixture
async def client(platform: PayingPlatform) -> AsyncIterator[Client]:
    client = client_of(platform)
    yield client
    await client.aclose()
