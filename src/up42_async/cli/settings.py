"""How a command reaches UP42, and how much it says: the options before the command's name."""

from pathlib import Path
from typing import Any

import attrs

import up42_async as up42


@attrs.frozen(kw_only=True)
class Settings:
    """The options that stand before the name of a command."""

    cfg_file: Path | None = None
    region: str = "eu"
    workspace_id: str | None = None
    api: str | None = None
    auth: str | None = None
    quiet: bool = False
    verbose: bool = False

    def client(self) -> up42.Client:
        """Return a client with these settings; credentials come from the file, or from the environment.

        Raises:
            ValueError: No credentials, or only one of the two hosts.
        """
        more: dict[str, Any] = {}
        if (self.api is None) != (self.auth is None):
            raise ValueError("give both --api and --auth (UP42_API_URL and UP42_AUTH_URL), or neither")
        if self.api is not None and self.auth is not None:
            more["endpoints"] = up42.Endpoints(api=self.api, auth=self.auth)
        return up42.Client(cfg_file=self.cfg_file, region=self.region, workspace_id=self.workspace_id, **more)
