"""Settings of a client: small frozen values, checked when they are made."""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

import attrs

from up42_async._config.arguments import integer, is_integer, is_real

VERSION: Final = "0.1.0"

# API host and Keycloak realm of each region
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
    """Return the parts of a URL, None if it has more than scheme, host, port and path or cannot be read."""
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
    """Any object with the fields of `Endpoints`, such as the sandbox's own."""

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
    """The hosts of UP42; needed only for hosts that are not those of a region."""

    api: str = attrs.field(converter=_base_url, validator=_is_base_url)
    """Base URL of the API, such as `https://api.up42.com`."""
    auth: str = attrs.field(converter=_base_url, validator=_is_base_url)
    """Base URL of the OpenID Connect endpoints; `/token` and `/userinfo` are below it."""

    @classmethod
    def of_region(cls, region: str) -> "Endpoints":
        """Return the endpoints of a region.

        Args:
            region: `"eu"` or `"sa"`.

        Raises:
            ValueError: There is no such region.
        """
        if region not in REGIONS:
            message = f"region {region!r} is not one of {', '.join(map(repr, REGIONS))}"
            raise ValueError(message)
        api, auth = REGIONS[region]
        return cls(api=api, auth=auth)


def checked_endpoints(given: object) -> Endpoints:
    """Return the argument `endpoints`, checked: any object with `api` and `auth`.

    Raises:
        TypeError: The object lacks one of the two.
        ValueError: One of them is not a URL, or is neither `https://` nor on this machine.
    """
    api, auth = getattr(given, "api", None), getattr(given, "auth", None)
    if api is None or auth is None:
        raise TypeError(f"endpoints must be Endpoints(api=..., auth=...), not a {type(given).__name__}")
    return Endpoints(api=api, auth=auth)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one attempt at a request may take, in seconds above 0; set deadlines for calls by `anyio.fail_after`."""

    connect: float = attrs.field(default=10.0, validator=POSITIVE)
    """Seconds to open a connection."""
    read: float = attrs.field(default=30.0, validator=POSITIVE)
    """Seconds without data from the server."""
    write: float = attrs.field(default=30.0, validator=POSITIVE)
    """Seconds until the server reads a piece of the request."""
    pool: float = attrs.field(default=5.0, validator=POSITIVE)
    """Seconds until a connection is free in the pool of an `http_client` of yours; the client's own never waits."""
    total: float = attrs.field(default=60.0, validator=POSITIVE)
    """Seconds for one whole attempt, with the body of the answer; downloads of files have no such bound."""
    cancel_grace: float = attrs.field(default=5.0, validator=POSITIVE)
    """Seconds for which the client waits for the answer to an execution after its caller was cancelled."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed request is sent again; an execution only if it never arrived, or was refused unprocessed."""

    attempts: int = attrs.field(default=5, validator=COUNT)
    """Most times that a request is sent, with the first; at least 1."""
    timeout: float = attrs.field(default=120.0, validator=POSITIVE)
    """Seconds after the first try in which another may begin, and for which a call waits during an outage; above 0.
    A longer `Retry-After` ends the call with its error."""
    wait_initial: float = attrs.field(default=0.5, validator=POSITIVE)
    """Most seconds before the second try, above 0; doubled for each further one. The wait is random below that."""
    wait_max: float = attrs.field(default=30.0, validator=POSITIVE)
    """Most seconds between two tries, above 0, unless the server asks for more."""
    max_retry_after: float = attrs.field(default=60.0, validator=POSITIVE)
    """Most seconds for which one `Retry-After` pauses the whole client; above 0."""
    budget: int = attrs.field(default=20, validator=NOT_NEGATIVE)
    """Retries available at the start; 0 or more."""
    budget_share: float = attrs.field(default=0.1, validator=NOT_NEGATIVE)
    """Retries earned by each successful request (0.1: one per ten), 0 or more; at most ten times `budget` are saved."""


@attrs.frozen(kw_only=True)
class Limits:
    """How many requests and downloads run at once, and how many requests are sent in a second."""

    max_concurrency: int = attrs.field(default=20, validator=COUNT)
    """Most requests under way at once, and connections to the API; at least 1."""
    requests_per_second: float = attrs.field(default=50.0, validator=POSITIVE)
    """Requests per second on average; above 0."""
    burst: int = attrs.field(default=100, validator=COUNT)
    """Requests that may be sent at once after a time without requests; at least 1."""
    max_downloads: int = attrs.field(default=4, validator=COUNT)
    """Most files downloaded at once, in addition to `max_concurrency`; at least 1."""
    max_response_bytes: int = attrs.field(default=16 * 2**20, validator=COUNT)
    """Most bytes of one answer, decompressed; at least 1. Files have no such bound. A page of 10,000 small items may be
    larger."""

    def split(self, workers: int) -> "Limits":
        """Return the limits of each of several workers that share these, such as the processes of a cluster.

        Each number but `max_response_bytes` is divided by `workers` and rounded down, and is at least 1.

        Args:
            workers: Number of workers, from 1 to `max_concurrency`.

        Raises:
            TypeError: `workers` is not a whole number.
            ValueError: It is below 1 or above `max_concurrency`.
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
