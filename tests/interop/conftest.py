"""A sandbox for each test. What is not installed is skipped; `nox -s interop` has all of it."""

from collections.abc import Iterator

import pytest

from up42_async.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=36_000, failure_rate=0.0) as here:
        yield here
