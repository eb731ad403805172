"""Counts of the requests, logins and jobs of a client."""

import datetime as dt

import attrs


@attrs.frozen(kw_only=True)
class Statistics:
    """Counts of the requests, logins and jobs of a client, since it was made and at this moment."""

    requests: int
    """Requests sent to the API, with retries, without logins and downloads of files."""
    retried: int
    """Requests among them that were sent because an earlier try failed."""
    in_flight: int
    """Requests under way at this moment."""
    logins: int
    """Requests for a token, with retries."""
    waiting: int = 0
    """Calls that wait: for one of the `Limits.max_concurrency` slots, for the next try, or for the end of an outage."""
    paused_until: dt.datetime | None = None
    """Time until which UP42 asked the client to wait (429), by this machine's clock (aware, UTC); None without one."""
    tracked: int = 0
    """Jobs that are tracked at this moment; a job that several tasks track counts once."""
    spent: int = 0
    """Credits of all that was, or may have been, executed with this client, at the prices when it was sent."""
