"""Judge signed URLs: they name a host of the server's choice, which must not be one inside the caller's own network."""

import ipaddress
import re
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

from up42_async._config import is_loopback
from up42_async._errors import ForeignLink, UnexpectedResponse
from up42_async._wire import Request

LONGEST: Final = 16_384

_UNREADABLE: Final = re.compile(r"[^\x21-\x7e]|\\")
_MEANT_AS_NUMBER: Final = re.compile(r"[0-9a-fx.]*[0-9][0-9a-fx.]*", re.IGNORECASE)


def check_signed_url(url: object, *, api: str, request: Request) -> str:
    """Return a signed URL without its fragment, if a file may be fetched from there.

    Args:
        url: As the answer has it.
        api: Base URL of the API: when it is on this machine, as the sandbox is, files may be as well, and without TLS.
        request: What was asked, for the error, which names the host and nothing else of the URL.

    Raises:
        ForeignLink: The host, or the way to it, is not one that files are fetched from.
        UnexpectedResponse: It is no URL.
    """
    parts = _split(url)
    if not isinstance(url, str) or parts is None:
        message = "an answer without a signed URL that can be read"
        raise UnexpectedResponse(message, request=str(request))
    problem = _problem(parts, local=is_loopback(urlsplit(api).hostname or ""))
    if problem:
        message = f"a signed URL on {parts.hostname}, {problem}; nothing was fetched from there"
        raise ForeignLink(message, request=str(request))
    return url.partition("#")[0]


def _split(url: object) -> SplitResult | None:
    try:
        if not isinstance(url, str) or len(url) > LONGEST or _UNREADABLE.search(url):
            return None
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _problem(parts: SplitResult, *, local: bool) -> str | None:
    """Say what is wrong with a host, None when nothing is."""
    host = parts.hostname or ""
    if "@" in parts.netloc:
        return "with a user name before the host"
    if parts.scheme != "https" and not (local and parts.scheme == "http" and is_loopback(host)):
        return f"not over https but {parts.scheme}"
    if not local and _is_inside(host.rstrip(".")):
        return "an address inside this network"
    return None


def _is_inside(host: str) -> bool:
    """Return whether a host is, by its looks, not on the internet; names are not resolved."""
    address = _address(host)
    if address is None:
        # nothing that looks like a number is left to the resolver, which knows more ways of writing addresses than we do
        return host == "localhost" or host.endswith(".localhost") or bool(_MEANT_AS_NUMBER.fullmatch(host))
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not mapped.is_global or mapped.is_multicast


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # such as 127.1 and 0x7f000001, as resolvers read them
    except OSError:
        return None
