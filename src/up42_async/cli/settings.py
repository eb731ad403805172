"""The options given before a command: how to reach UP42, and how much to write to stderr."""

import enum
import os
from pathlib import Path
from typing import Any, Final

import attrs

import up42_async as up42

_CREDENTIALS: Final = ("UP42_USERNAME", "UP42_PASSWORD")


class Region(enum.StrEnum):
    """Regions of UP42."""

    EU = "eu"
    SA = "sa"


@attrs.frozen(kw_only=True)
class Settings:
    """The options given before a command."""

    cfg_file: Path | None = None
    region: Region = Region.EU
    workspace_id: str | None = None
    api: str | None = None
    auth: str | None = None
    quiet: bool = False
    verbose: bool = False

    def client(self) -> up42.Client:
        """Return a client with these settings; credentials come from the file, or from the environment.

        Raises:
            ValueError: There are no credentials, or only one of the two addresses.
        """
        if self.cfg_file is None and not any(map(os.environ.get, _CREDENTIALS)):
            raise ValueError(
                "no credentials: set UP42_USERNAME and UP42_PASSWORD, or give --cfg-file FILE before the command;"
                " without an account, `up42 sandbox` prints lines to paste"
            )
        more: dict[str, Any] = {}
        if (self.api is None) != (self.auth is None):
            raise ValueError("give both --api and --auth (UP42_API_URL and UP42_AUTH_URL), or neither")
        if self.api is not None and self.auth is not None:
            more["endpoints"] = up42.Endpoints(api=self.api, auth=self.auth)
        return up42.Client(cfg_file=self.cfg_file, region=self.region.value, workspace_id=self.workspace_id, **more)
