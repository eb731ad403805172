"""The settings of a sandbox, and their checks."""

from typing import Literal

import attrs
from attrs import validators

Ending = Literal["captured", "successful", "mixed"]
LivesKind = Literal["short", "recorded"]

DEFAULT_SPEED = 1.0
DEFAULT_PAGE_SIZE = 50
DEFAULT_PAGE_SIZE_MAX = 1000
DEFAULT_TOKEN_LIFETIME = 300.0
DEFAULT_SIGNED_URL_LIFETIME = 300.0
DEFAULT_BALANCE = 1_000_000
DEFAULT_FAILURE_RATE = 1 / 15
DEFAULT_KEEP_ALIVE = 75.0
"""Seconds an idle connection is kept: longer than HTTP clients keep theirs, as load balancers do."""

_finite = validators.lt(float("inf"))
_port = validators.and_(validators.instance_of(int), validators.ge(0), validators.le(65535))
_optional_count = validators.optional(validators.and_(validators.instance_of(int), validators.ge(1)))


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of one sandbox; `Sandbox` documents each of them, with its unit."""

    speed: float = attrs.field(default=DEFAULT_SPEED, validator=[validators.gt(0), _finite])
    port: int = attrs.field(default=0, validator=_port)
    files_port: int = attrs.field(default=0, validator=_port)
    control_port: int | None = attrs.field(default=None, validator=validators.optional(_port))
    ending: Ending = attrs.field(default="captured", validator=validators.in_(("captured", "successful", "mixed")))
    lives: LivesKind = attrs.field(default="short", validator=validators.in_(("short", "recorded")))
    failure_rate: float = attrs.field(default=DEFAULT_FAILURE_RATE, validator=[validators.ge(0), validators.le(1)])
    page_size_default: int = attrs.field(default=DEFAULT_PAGE_SIZE, validator=validators.ge(1))
    page_size_max: int = attrs.field(default=DEFAULT_PAGE_SIZE_MAX, validator=validators.ge(1))
    page_size_strict: bool = False
    ids_max: int | None = attrs.field(default=None, validator=_optional_count)
    ids_max_status: int = attrs.field(default=414, validator=validators.in_((400, 413, 414)))
    ids_page_size_max: int | None = attrs.field(default=None, validator=_optional_count)
    token_lifetime: float = attrs.field(default=DEFAULT_TOKEN_LIFETIME, validator=[validators.gt(0), _finite])
    signed_url_lifetime: float = attrs.field(default=DEFAULT_SIGNED_URL_LIFETIME, validator=[validators.gt(0), _finite])
    results_delay: float = attrs.field(default=0.0, validator=[validators.ge(0), _finite])
    next_link_origin: str | None = None
    bandwidth: float | None = attrs.field(default=None, validator=validators.optional(validators.gt(0)))
    balance: int = attrs.field(default=DEFAULT_BALANCE, validator=[validators.instance_of(int), validators.ge(0)])
    eula_accepted: bool = True
    seed: int = 0
    latency: float = attrs.field(default=0.0, validator=[validators.ge(0), _finite])
    keep_alive: float = attrs.field(default=DEFAULT_KEEP_ALIVE, validator=[validators.gt(0), _finite])
