"""One execution to be sent, as a value."""

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Order:
    """One execution to be sent: process, workspace and inputs."""

    process_id: str
    workspace_id: str
    """The workspace in which the job is made."""
    inputs: Mapping[str, Any]
    """The inputs as JSON has them."""
    fingerprint: str
    """The `fingerprint` of the template."""
    key: str
    """The same for equal executions, see `template.execution_key`."""
    label: str
    """What messages call it: the process, and the title if there is one."""
