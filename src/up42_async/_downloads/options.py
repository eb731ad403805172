"""What a caller may choose about a download, as one value that goes through all layers."""

from collections.abc import Iterable

import attrs

from up42_async._config.arguments import strings


def _keys(values: Iterable[str]) -> frozenset[str]:
    return frozenset(strings(values, "keys"))


def _roles(values: Iterable[str]) -> frozenset[str]:
    return frozenset(strings(values, "roles"))


def _media_types(values: Iterable[str]) -> frozenset[str]:
    return frozenset(strings(values, "media_types"))


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Timings:
    """How patient a download is; tests are less so."""

    slow_rate: float = 1000.0
    """Bytes a second; a file that comes more slowly lets others come first."""
    slow_time: float = 10.0
    """Seconds over which its rate is measured."""
    redraw: float = 0.1
    """Seconds between two drawings of a progress bar."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class DownloadOptions:
    """Which files are wanted, and what is done with them."""

    keys: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_keys))
    """Only assets with these keys."""
    roles: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_roles))
    """Only assets with one of these roles."""
    media_types: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_media_types))
    """Only assets of these media types, compared without parameters unless some are given."""
    unpack: bool = False
    """Whether archives are unpacked, each into a directory beside it."""
    resume: bool = True
    """Whether what an earlier run left is continued, and something is left that the next run can continue."""
    max_jobs: int = 20
    """Jobs whose files are looked up and fetched at once; how many files that makes is for the client to limit."""
    timings: Timings = Timings()
