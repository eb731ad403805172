"""Certificates for servers on this machine; environment variables make every client trust them."""

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme  # pyright: ignore[reportMissingImports]

_VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Certificates:
    """The paths of the certificate files."""

    authority: str
    """What the clients trust."""
    server: str
    """Key and certificate of the servers."""


@contextlib.contextmanager
def trusted(place: Path) -> Generator[Certificates]:
    """Make them; processes started inside the block trust them.

    Args:
        place: The directory to put them into.
    """
    authority = trustme.CA()
    paths = Certificates(str(place / "authority.pem"), str(place / "server.pem"))
    authority.cert_pem.write_to_path(paths.authority)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(paths.server)
    os.environ.update(dict.fromkeys(_VARIABLES, paths.authority))
    try:
        yield paths
    finally:
        for name in _VARIABLES:
            del os.environ[name]
