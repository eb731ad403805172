"""The options of a download, as one value for all layers."""

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
    """Rates and times of a download; tests use shorter ones."""

    slow_rate: float = 1000.0
    """Bytes a second; a slower file gives its slot to waiting files."""
    slow_time: float = 10.0
    """Seconds over which the rate of a file is measured."""
    redraw: float = 0.1
    """Seconds between two drawings of a progress bar."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class DownloadOptions:
    """Which files are wanted, and whether they are resumed and unpacked."""

    keys: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_keys))
    """Only assets with these keys."""
    roles: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_roles))
    """Only assets with one of these roles."""
    media_types: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_media_types))
    """Only assets of one of these media types, compared without parameters unless some are given."""
    unpack: bool = False
    """Whether archives are unpacked, each into a directory beside it."""
    resume: bool = True
    """Whether the part file of an earlier run is continued, and one is kept for the next run."""
    max_jobs: int = 20
    """Jobs or items whose files are listed and downloaded at once; `Limits.max_downloads` limits the files."""
    timings: Timings = Timings()
