"""Get signed URLs of files, and check them.

The server chooses the host of a signed URL; it must not be a host inside the caller's own network.
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
"""Most characters of a signed URL."""

_LARGEST: Final = 2**63 - 1
_DOWNLOAD_URL: Final = "/download-url"
_ASSETS: Final = "/v2/assets/"

_UNREADABLE: Final = re.compile(r"[^\x21-\x7e]|\\")
_MEANT_AS_NUMBER: Final = re.compile(r"[0-9a-fx.]*[0-9][0-9a-fx.]*", re.IGNORECASE)


def _size(value: int | None) -> int | None:
    """Return the size of a file, None for a number that no file can have as its size."""
    return value if value is not None and 0 <= value <= _LARGEST else None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RemoteFile:
    """A file in UP42's storage."""

    href: str
    """Link to its asset on the API host, from which the request for a signed URL is made."""
    key: str
    """Its asset key, which is its name when the server gives none."""
    size: int | None = attrs.field(default=None, converter=_size)
    """Its size in bytes, None when it is not known."""
    checksum: str | None = None
    """Its multihash, None when it is not known."""
    media_type: str = ""
    """Its media type, empty when it is not known."""
    item_id: str | None = None
    """The id of its item, None for a file that is no item's."""

    @property
    def source(self) -> str:
        """The path of its link, which identifies the file in every run."""
        try:
            return urlsplit(self.href).path.removesuffix(_DOWNLOAD_URL)
        except ValueError:  # the request for a signed URL raises an error for such a link
            return self.href


def signed_url_request(file: RemoteFile, *, api: str) -> ApiRequest:
    """Return the request for a signed URL of a file.

    Args:
        file: The file.
        api: Base URL of the API.

    Raises:
        UntrustedURLError: The link of the file leads to another host, or not to an asset.
    """
    about = ApiRequest(method="POST", path=f"{_ASSETS}...{_DOWNLOAD_URL}")
    path = follow(file.href, api=api, request=about).path.removesuffix(_DOWNLOAD_URL)
    asset_id = path.removeprefix(_ASSETS)
    if not path.startswith(_ASSETS) or "/" in asset_id or asset_id in {"", ".", ".."}:
        message = "a file's link leads to something else than an asset; it was not followed"
        raise UntrustedURLError(message, request=str(about))
    return ApiRequest(method="POST", path=f"{path}{_DOWNLOAD_URL}")


async def ask_signed_url(session: Session, file: RemoteFile) -> Secret:
    """Get a signed URL of a file, which is valid for five minutes; one request.

    Args:
        session: The session that sends the request.
        file: The file.

    Raises:
        UntrustedURLError: The link of the file, or the signed URL, leads to a host that is not trusted.
        APIError: The request failed.
    """
    request = signed_url_request(file, api=session.api)
    return check_signed_url(_in_answer(await session.call(request)), api=session.api, request=request)


def _in_answer(answer: Any) -> Secret | None:
    url = answer.get("url") if isinstance(answer, dict) else None
    return Secret(url) if isinstance(url, str) else None


def check_signed_url(url: Secret | None, *, api: str, request: ApiRequest) -> Secret:
    """Return a signed URL without its fragment, if files may be downloaded from it.

    Args:
        url: The URL, None when the response has none.
        api: Base URL of the API. When it is on this machine, like the sandbox, files may be too, and without TLS.
        request: The request that brought the URL, for the error, which names the host and no other part of the URL.

    Raises:
        UntrustedURLError: The URL is not over https, has a user name, or leads to an address inside this network.
        UnexpectedResponseError: It is missing, or no URL.
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
    """Return the host of a signed URL, which is no secret; empty when it is no URL."""
    parts = _split(url)
    return "" if parts is None else parts.hostname or ""


# Only functions that do not raise hold parts of a signed URL, since a traceback may show the variables of its frames.


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
    """Return why files must not be downloaded from a URL, None when they may."""
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
    """Return whether a host is no public address; names are not resolved."""
    address = _address(host)
    if address is None:
        # a resolver reads more notations of addresses than `ipaddress`, so no name that looks like a number is trusted
        return host == "localhost" or host.endswith(".localhost") or bool(_MEANT_AS_NUMBER.fullmatch(host))
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not mapped.is_global or mapped.is_multicast


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # such as 127.1 and 0x7f000001, which resolvers read
    except OSError:
        return None
