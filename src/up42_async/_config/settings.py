"""Hold the settings of a client: small frozen values, checked when they are made."""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

import attrs

from up42_async._config.arguments import integer, is_integer, is_real

VERSION: Final = "0.1.0"

# one API host and one Keycloak realm a region.
REGIONS: Mapping[str, tuple[str, str]] = {
    "eu": ("https://api.up42.com", "https://auth.up42.com/realms/public/protocol/openid-connect"),
    "sa": ("https://api.sa.up42.com", "https://auth.sa.up42.com/realms/public/protocol/openid-connect"),
}

POSITIVE: Final = is_real(above=0)
NOT_NEGATIVE: Final = is_real(least=0)
COUNT: Final = is_integer(least=1)

_NOT_IN_BASE_URLS = frozenset(" \\@?#")


def is_loopback(host: str) -> bool:
    """Return whether a host name is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_url(value: str) -> str:
    return str(value).rstrip("/")


def _parts_of(value: str) -> SplitResult | None:
    """Return scheme, host, port and path of a URL, None if it has anything else or cannot be read."""
    if not value.isascii() or not value.isprintable() or set(value) & _NOT_IN_BASE_URLS:
        return None
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _is_base_url(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    parts = _parts_of(value)
    if parts is None:
        message = f"{attribute.name} must be a URL such as {REGIONS['eu'][0]!r}, without user, query or fragment"
        raise ValueError(message)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        message = f"{attribute.name} must begin with https:// (http:// only for this machine), not {parts.scheme}://"
        raise ValueError(message)


class EndpointsLike(Protocol):
    """Anything that names two hosts, such as `Endpoints` or the sandbox's own."""

    @property
    def api(self) -> str:
        """Base URL of the API."""
        ...

    @property
    def auth(self) -> str:
        """Base URL of the OpenID Connect endpoints."""
        ...


@attrs.frozen(kw_only=True)
class Endpoints:
    """Where UP42 is: needed only for a host that is not one of the regions."""

    api: str = attrs.field(converter=_base_url, validator=_is_base_url)
    """Base URL of the API, such as `https://api.up42.com`."""
    auth: str = attrs.field(converter=_base_url, validator=_is_base_url)
    """Base URL of the OpenID Connect endpoints; `/token` and `/userinfo` are below it."""

    @classmethod
    def of(cls, given: object) -> "Endpoints":
        """Return the endpoints that anything with `api` and `auth` names.

        Raises:
            TypeError: It lacks one of the two.
            ValueError: One of them is no URL that can be used.
        """
        api, auth = getattr(given, "api", None), getattr(given, "auth", None)
        if api is None or auth is None:
            raise TypeError(f"endpoints must be Endpoints(api=..., auth=...), not a {type(given).__name__}")
        return cls(api=api, auth=auth)

    @classmethod
    def of_region(cls, region: str) -> "Endpoints":
        """Return the endpoints of a region.

        Args:
            region: `"eu"` or `"sa"`.

        Raises:
            ValueError: No such region.
        """
        if region not in REGIONS:
            message = f"region {region!r} is not one of {', '.join(map(repr, REGIONS))}"
            raise ValueError(message)
        api, auth = REGIONS[region]
        return cls(api=api, auth=auth)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one attempt at a request may take; the caller's own deadlines (`anyio.fail_after`) go around calls."""

    connect: float = attrs.field(default=10.0, validator=POSITIVE)
    """Seconds to open a connection."""
    read: float = attrs.field(default=30.0, validator=POSITIVE)
    """Seconds of silence from the server."""
    write: float = attrs.field(default=30.0, validator=POSITIVE)
    """Seconds until the server takes a piece of the request."""
    pool: float = attrs.field(default=5.0, validator=POSITIVE)
    """Seconds until a connection is free in a transport of your own; ours has one for each request."""
    total: float = attrs.field(default=60.0, validator=POSITIVE)
    """Seconds for one attempt in all, however slowly the answer trickles in (downloads of files are exempt)."""
    cancel_grace: float = attrs.field(default=5.0, validator=POSITIVE)
    """Seconds the answer to an execution is still waited for after its caller was cancelled."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed request is sent again; an execution only if it never arrived or was refused unprocessed."""

    attempts: int = attrs.field(default=5, validator=COUNT)
    """How often a request is sent at the most, the first time included."""
    timeout: float = attrs.field(default=120.0, validator=POSITIVE)
    """Seconds after the first try in which another may begin, and for which a call waits during an outage. A
    `Retry-After` beyond it is not waited for."""
    wait_initial: float = attrs.field(default=0.5, validator=POSITIVE)
    """Seconds before the second try at the most; doubled for each further one. The wait is random below that."""
    wait_max: float = attrs.field(default=30.0, validator=POSITIVE)
    """Seconds between two tries at the most, unless the server asks for more."""
    max_retry_after: float = attrs.field(default=60.0, validator=POSITIVE)
    """Seconds for which one `Retry-After` can pause the whole client at the most."""
    budget: int = attrs.field(default=20, validator=NOT_NEGATIVE)
    """Retries available at the start."""
    budget_share: float = attrs.field(default=0.1, validator=NOT_NEGATIVE)
    """Retries earned by each successful request (0.1: one per ten); at most ten times `budget` are saved up."""


@attrs.frozen(kw_only=True)
class Limits:
    """How much a client does at once."""

    max_concurrency: int = attrs.field(default=20, validator=COUNT)
    """Requests under way at once, and connections to the API; a request costs the same CPU however many there are."""
    requests_per_second: float = attrs.field(default=50.0, validator=POSITIVE)
    """Requests a second in the long run."""
    burst: int = attrs.field(default=100, validator=COUNT)
    """Requests that may be sent at once after a quiet time."""
    max_downloads: int = attrs.field(default=4, validator=COUNT)
    """Files fetched at once, beside `max_concurrency`."""
    max_response_bytes: int = attrs.field(default=16 * 2**20, validator=COUNT)
    """Bytes of one answer at the most, decompressed (files are exempt). A page of 10,000 small items may take more."""

    def split(self, workers: int) -> "Limits":
        """Return the limits for each of several workers that share this pace, such as processes of a cluster.

        Each number but `max_response_bytes` is divided and rounded down, and is at least 1.

        Args:
            workers: How many there are, from 1 to `max_concurrency`.

        Raises:
            TypeError: It is no whole number.
            ValueError: It is below 1, or there are more workers than requests may be under way at once.
        """
        workers = integer(workers, "workers", least=1)
        if workers > self.max_concurrency:
            message = (
                f"workers must be from 1 to max_concurrency ({self.max_concurrency}), not {workers};"
                " raise max_concurrency, or use fewer workers"
            )
            raise ValueError(message)
        return attrs.evolve(
            self,
            max_concurrency=self.max_concurrency // workers,
            requests_per_second=max(1.0, self.requests_per_second // workers),
            burst=max(1, self.burst // workers),
            max_downloads=max(1, self.max_downloads // workers),
        )
