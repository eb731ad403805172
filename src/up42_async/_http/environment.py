"""Read the proxies and the trusted certificates that the environment sets.

httpx reads these variables only for transports that it makes itself, so they are read here for ours.
"""

import os
import ssl
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio.to_thread
import attrs
import httpx

from up42_async._config import is_loopback
from up42_async._errors import ConfigurationError

_CERTIFICATE_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "SSLKEYLOGFILE")
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ProxySetting:
    """A proxy, and the name of its setting."""

    url: httpx.URL
    """May hold a user name and password."""
    source: str
    """Name of the environment variable, or "the system settings"."""

    @property
    def label(self) -> str:
        """Host, port and source for errors, without user name and password."""
        port = f":{self.url.port}" if self.url.port else ""
        return f"the proxy {self.url.host}{port} in {self.source}"


def proxy_for(scheme: str, host: str) -> ProxySetting | None:
    """Return the proxy for a host, by the rules of `urllib.request`; None for this machine.

    Args:
        scheme: Scheme of the URL to request.
        host: Its host.

    Raises:
        ConfigurationError: The proxy cannot be used; its variable is named, never its value.
    """
    if is_loopback(host):
        return None
    proxies = urllib.request.getproxies()
    value = proxies.get(scheme) or proxies.get("all")
    if not value or urllib.request.proxy_bypass(host):
        return None
    source = _source(value, scheme)
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in _PROXY_SCHEMES or not url.host:
        message = f"the proxy in {source} cannot be used; set it to http://host:port or unset it"
        raise ConfigurationError(message)
    return ProxySetting(url=url, source=source)


def _source(url: str, scheme: str) -> str:
    """Return the variable that holds the URL of a proxy; `urllib.request`, which prefers lower case, does not tell."""
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    return next((name for name in names if os.environ.get(name) == url), "the system settings")


async def ssl_context() -> ssl.SSLContext:
    """Return the TLS settings that all clients of the process share; made again only when the variables change.

    Raises:
        ConfigurationError: The certificate variables of the environment cannot be used.
    """
    source = tuple((name, os.environ[name]) for name in _CERTIFICATE_VARIABLES if os.environ.get(name))
    if source in _contexts:
        return _contexts[source]
    return await anyio.to_thread.run_sync(_shared_context, source)  # reading the certificates takes some 25 ms


_Source = tuple[tuple[str, str], ...]
_contexts: Final[dict[_Source, ssl.SSLContext]] = {}
_making: Final = threading.Lock()


def _shared_context(source: _Source) -> ssl.SSLContext:
    with _making:
        if source not in _contexts:
            _contexts.clear()
            _contexts[source] = _new_context(dict(source))
        return _contexts[source]


def _new_context(variables: Mapping[str, str]) -> ssl.SSLContext:
    """Read the certificates as httpx does; when neither of its variables is set, those of `REQUESTS_CA_BUNDLE`."""
    file, directory = variables.get("SSL_CERT_FILE"), variables.get("SSL_CERT_DIR")
    bundle = variables.get("REQUESTS_CA_BUNDLE")
    try:
        if directory and not file and not any(Path(one).is_dir() for one in directory.split(os.pathsep)):
            raise NotADirectoryError  # OpenSSL would trust no certificate without naming the reason
        if file or directory or not bundle:
            return httpx.create_ssl_context()
        if Path(bundle).is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError:
        message = f"the files named by {' and '.join(variables)} cannot be used; correct or unset the variable"
        raise ConfigurationError(message) from None
