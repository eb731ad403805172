"""Read what the environment says about the way to the servers: proxies, and whose certificates are trusted."""

import functools
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from up42_async._errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    import httpcore

_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_CERTIFICATE_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_HTTP_PROXIES: Final = frozenset({"http", "https"})
_SOCKS_PROXIES: Final = frozenset({"socks5", "socks5h"})


def proxy_for(scheme: str, host: str) -> "httpcore.Proxy | None":
    """Return the proxy that the environment asks for, read by the standard library's rules.

    Args:
        scheme: Of the URL that is to be asked.
        host: Of the URL that is to be asked.

    Raises:
        ConfigurationError: It cannot be used.
    """
    import urllib.request

    proxies = urllib.request.getproxies()
    if not proxies or urllib.request.proxy_bypass(host):
        return None
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return None
    try:
        return _proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, TypeError):
        names = [name for name in _PROXY_VARIABLES if os.environ.get(name)]
        source = " or ".join(names) or "the system settings"
        message = f"the proxy in {source} cannot be used; give http://host:port or unset it"
        raise ConfigurationError(message) from None


def _proxy(url: str) -> "httpcore.Proxy":
    import httpcore

    parts = urlsplit(url)
    usable = _HTTP_PROXIES | _SOCKS_PROXIES if importlib.util.find_spec("socksio") else _HTTP_PROXIES
    if parts.scheme not in usable or not parts.hostname:
        raise ValueError
    place = httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target="/")
    named = parts.username is not None
    auth = (unquote(parts.username or "").encode(), unquote(parts.password or "").encode()) if named else None
    return httpcore.Proxy(place, auth=auth, ssl_context=ssl_context() if parts.scheme == "https" else None)


def ssl_context() -> "ssl.SSLContext":
    """Return the TLS settings that all clients share, unless the environment has changed meanwhile.

    Raises:
        ConfigurationError: The certificate variables of the environment cannot be used.
    """
    return shared_ssl_context(os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None)


@functools.lru_cache(maxsize=4)
def shared_ssl_context(file: str | None, directory: str | None) -> "ssl.SSLContext":
    """Make TLS settings, once: that costs 150 times what making a client does.

    Args:
        file: Certificates to trust, None for those that `certifi` brings.
        directory: The same as a directory, which counts only without a file.

    Raises:
        ConfigurationError: They cannot be read.
    """
    import ssl

    import certifi

    try:
        if not file and directory:
            _check_directories(directory)  # OpenSSL does not complain about one that is missing
            return ssl.create_default_context(capath=directory)
        return ssl.create_default_context(cafile=file or certifi.where())
    except OSError:
        names = [name for name in _CERTIFICATE_VARIABLES if os.environ.get(name)]
        message = f"the files named by {' and '.join(names)} cannot be used; correct or unset the variable"
        raise ConfigurationError(message) from None


def _check_directories(directories: str) -> None:
    if not any(Path(one).is_dir() for one in directories.split(os.pathsep)):
        raise NotADirectoryError
