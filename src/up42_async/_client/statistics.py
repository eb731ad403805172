"""What a client has done so far, and is doing."""

import datetime as dt

import attrs


@attrs.frozen(kw_only=True)
class Statistics:
    """What a client has done so far, and is doing."""

    requests: int
    """Requests sent to the API, repeated ones included; logins and files are not."""
    retried: int
    """How many of them were sent because an earlier try failed."""
    in_flight: int
    """Requests under way now."""
    logins: int
    """Tokens asked for."""
    waiting: int = 0
    """Calls that wait: for their turn, for another try, or for the end of an outage."""
    paused_until: dt.datetime | None = None
    """Until when UP42 asked the client to wait (429), on this machine's clock (aware, UTC); None when it did not."""
    tracked: int = 0
    """Jobs that are waited for now, each once however many wait for it."""
    spent: int = 0
    """Credits of what was, or may have been, executed with this client, as priced when it was sent."""
