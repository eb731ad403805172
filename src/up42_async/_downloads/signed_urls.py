"""Ask for signed URLs of files, and judge them.

They name a host of the server's choice, which must not be one inside the caller's own network.
"""

import ipaddress
import re
import socket
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import attrs

from up42_async._client.pagination import follow
from up42_async._config import is_loopback
from up42_async._errors import UnexpectedResponseError, UntrustedURLError
from up42_async._http.requests import ApiRequest, Secret
from up42_async._http.session import Session

LONGEST: Final = 16_384

_LARGEST: Final = 2**63 - 1
_DOWNLOAD_URL: Final = "/download-url"
_ASSETS: Final = "/v2/assets/"

_UNREADABLE: Final = re.compile(r"[^\x21-\x7e]|\\")
_MEANT_AS_NUMBER: Final = re.compile(r"[0-9a-fx.]*[0-9][0-9a-fx.]*", re.IGNORECASE)


def _size(value: int | None) -> int | None:
    """Return a size that a file can have: what UP42 says may be any number."""
    return value if value is not None and 0 <= value <= _LARGEST else None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RemoteFile:
    """A file in UP42's storage."""

    href: str
    """Where a signed URL for it is had: a link to an asset, on the API host."""
    key: str
    """Its asset key, which is its name when nothing better is known."""
    size: int | None = attrs.field(default=None, converter=_size)
    """Its size in bytes, None when that is not known."""
    checksum: str | None = None
    """Its multihash, None when that is not known."""
    media_type: str = ""
    """Its media type, empty when that is not known."""
    item_id: str | None = None
    """The item it belongs to, None for a file that is no item's."""

    @property
    def source(self) -> str:
        """What stands for the file in every run: the path of its link."""
        try:
            return urlsplit(self.href).path.removesuffix(_DOWNLOAD_URL)
        except ValueError:  # a link that cannot be read, which is said when a signed URL for it is asked
            return self.href


def signed_url_request(file: RemoteFile, *, api: str) -> ApiRequest:
    """Return how to ask for a signed URL of a file.

    Args:
        file: The file.
        api: Base URL of the API.

    Raises:
        UntrustedURLError: Its link leads away from UP42, or to something else than an asset.
    """
    about = ApiRequest(method="POST", path=f"{_ASSETS}...{_DOWNLOAD_URL}")
    path = follow(file.href, api=api, request=about).path.removesuffix(_DOWNLOAD_URL)
    asset_id = path.removeprefix(_ASSETS)
    if not path.startswith(_ASSETS) or "/" in asset_id or asset_id in {"", ".", ".."}:
        message = "a file's link leads to something else than an asset; it was not followed"
        raise UntrustedURLError(message, request=str(about))
    return ApiRequest(method="POST", path=f"{path}{_DOWNLOAD_URL}")


async def ask_signed_url(session: Session, file: RemoteFile) -> Secret:
    """Ask for a signed URL of a file, which is valid for five minutes; one request.

    Args:
        session: What sends the request.
        file: The file.

    Raises:
        UntrustedURLError: The file's link, or the signed URL, leads to where it must not.
        APIError: It could not be asked for.
    """
    request = signed_url_request(file, api=session.api)
    return check_signed_url(_in_answer(await session.call(request)), api=session.api, request=request)


def _in_answer(answer: Any) -> Secret | None:
    url = answer.get("url") if isinstance(answer, dict) else None
    return Secret(url) if isinstance(url, str) else None


def check_signed_url(url: Secret | None, *, api: str, request: ApiRequest) -> Secret:
    """Return a signed URL without its fragment, if a file may be fetched from there.

    Args:
        url: As the answer has it, None when it has none.
        api: Base URL of the API: when it is on this machine, as the sandbox is, files may be as well, and without TLS.
        request: What was asked, for the error, which names the host and nothing else of the URL.

    Raises:
        UntrustedURLError: The host, or the way to it, is not one that files are fetched from.
        UnexpectedResponseError: It is no URL.
    """
    host = "" if url is None else host_of(url)
    if url is None or not host:
        message = "an answer without a signed URL that can be read"
        raise UnexpectedResponseError(message, request=str(request))
    problem = _problem(url, local=is_loopback(urlsplit(api).hostname or ""))
    if problem:
        message = f"a signed URL on {host}, {problem}; nothing was fetched from there"
        raise UntrustedURLError(message, request=str(request))
    return Secret(url.reveal().partition("#")[0])


def host_of(url: Secret) -> str:
    """Return the host of a signed URL, which may be shown; empty for what is no URL."""
    parts = _split(url)
    return "" if parts is None else parts.hostname or ""


# The parts of a signed URL stay inside functions that do not raise: a traceback shows the variables of its frames.


def _split(url: Secret) -> SplitResult | None:
    text = url.reveal()
    try:
        if len(text) > LONGEST or _UNREADABLE.search(text):
            return None
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    return parts if parts.hostname and port != 0 else None


def _problem(url: Secret, *, local: bool) -> str | None:
    """Say what is wrong with the way to a host, None when nothing is."""
    parts = urlsplit(url.reveal())
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
        # nothing that looks like a number is left to the resolver, which knows more ways of writing addresses
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
