"""A fixture that serves an API and a storage host."""

from collections.abc import Iterator

import pytest

from tests.storage_host import StorageHost, serving


@pytest.fixture
def host() -> Iterator[StorageHost]:
    with serving() as host:
        yield host
