"""The kinds of AsyncClient that connection tests run with: the library's own, and a user's with httpcore's pool."""

import functools
import ssl
from collections.abc import Callable
from typing import Any, Final

import httpx

Maker = Callable[[], Any]

CONNECTIONS: Final = 20
"""Connections in the user's pool: as many as a client uses at once by default."""


def with_pool(connections: int = CONNECTIONS) -> httpx.AsyncClient:
    """Return an AsyncClient as a user makes it, with httpcore's connection pool."""
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=connections), verify=_trusted())


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Read the certificates once, since that takes longer than most tests."""
    return httpx.create_ssl_context()


HTTP_CLIENTS: Final[dict[str, Maker]] = {"default client": lambda: None, "client of the user's": with_pool}
