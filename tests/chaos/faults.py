"""The faults of the chaos run: faults of the sandbox, grouped under the names in the report."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import attrs

from up42_async.sandbox import faults

EXECUTION: Final = "/v2/processing/processes/[^/]+/execution"
JOB_LIST: Final = "/v2/processing/jobs$"
LOGIN: Final = ".*/token"
API: Final = "/v2/"
FILES: Final = "/up42-sandbox-assets/"
BY_ID: Final = "(^|&)ids="
FIRST_PAGE: Final = "^((?!cursor=|ids=).)*$"
NEXT_BY_OFFSET: Final = "cursor=" + b'["offset"'.hex()
"""Start of the cursor in the sandbox's next link of a list that is paged by offset."""


@attrs.frozen
class Rule:
    """One fault, and the requests that it hits."""

    kind: faults.Kind
    probability: float
    """Probability that a matching request is hit, 0 to 1."""
    path: str = API
    query: str = attrs.field(default="", kw_only=True)


@attrs.frozen(kw_only=True)
class FaultGroup:
    """Faults that are active at the same time, under one name in the report."""

    what: str
    """What happens, as the report says it."""
    rules: Sequence[Rule] = ()
    """The faults."""
    resets: int = 0
    """New connections that are reset at each turn, a quarter of a second."""
    cuts: bool = False
    """Whether all open connections are reset at each turn."""
    refuses: bool = False
    """Whether the server stops listening."""
    length: float = 1.0
    """Factor of its duration."""


ALWAYS: Final[Sequence[Rule]] = (
    Rule(faults.DropConnection(), 0.01),
    Rule(faults.DropConnection(reset=True), 0.01),
    Rule(faults.Truncate(), 0.01),
    Rule(faults.Status(503, "html"), 0.01),
    Rule(faults.Status(429), 0.01),
    Rule(faults.LoseAnswer(), 0.05, EXECUTION),
    Rule(faults.Delay(0.5), 0.4, EXECUTION),
    Rule(faults.Delay(0.5, before=True), 0.3, EXECUTION),
    Rule(faults.ExpireTokens(), 0.005),
    Rule(faults.DropConnection(), 0.02, FILES),
    Rule(faults.Truncate(), 0.02, FILES),
)
"""Faults that are active during the whole run."""

FAULTS: Final[Mapping[str, FaultGroup]] = {
    "dropped connections": FaultGroup(
        what="connections end before, in and after the answer, with FIN and with RST",
        rules=(
            Rule(faults.DropConnection(), 0.08),
            Rule(faults.DropConnection(reset=True), 0.08),
            Rule(faults.LoseAnswer(reset=True), 0.08),
            Rule(faults.Truncate(), 0.06),
            Rule(faults.Truncate(chunked=True, reset=True), 0.06),
            Rule(faults.Truncate(), 0.05, LOGIN),
        ),
    ),
    "resets": FaultGroup(what="every quarter of a second two new connections are reset", resets=2),
    "cut lines": FaultGroup(what="every quarter of a second all connections are reset", cuts=True, length=0.2),
    "outage": FaultGroup(what="nobody listens, and open connections are cut", refuses=True, length=0.4),
    "too many requests": FaultGroup(
        what="429, without Retry-After and with one in seconds, as a date and in nonsense",
        rules=(
            Rule(faults.Status(429), 0.15),
            Rule(faults.Status(429, "wrapped", retry_after=1), 0.05),
            Rule(faults.Status(429, "plain", retry_after=timedelta(seconds=1)), 0.05),
            Rule(faults.Status(429, "html", retry_after="soon"), 0.05),
        ),
    ),
    "server errors": FaultGroup(
        what="500 to 542, with bodies of every kind, some after the work was done",
        rules=(
            Rule(faults.Status(500, "wrapped"), 0.06),
            Rule(faults.Status(502, "html", acts=True), 0.06),
            Rule(faults.Status(503, "plain", retry_after=1), 0.04),
            Rule(faults.Status(504, "empty", acts=True), 0.06),
            Rule(faults.Status(524, "html"), 0.06),
            Rule(faults.Status(542, "problem", acts=True), 0.06),
            Rule(faults.Status(503, "html"), 0.3, LOGIN),
        ),
    ),
    "nonsense": FaultGroup(
        what="HTML pages and half a JSON with status 200, bytes that are no HTTP, redirects",
        rules=(
            Rule(faults.Status(200, "html"), 0.06),
            Rule(faults.Status(200, "invalid-json", acts=True), 0.06),
            Rule(faults.Status(200, "empty", acts=True), 0.04, EXECUTION),
            Rule(faults.RawAnswer(), 0.06),
            Rule(faults.RawAnswer(b"HTTP/1.1 200 OK\r\ncontent-", acts=True), 0.06),
            Rule(faults.Redirect("https://elsewhere.example/"), 0.03),
        ),
    ),
    "tokens": FaultGroup(
        what="tokens are revoked, and logins fail",
        rules=(Rule(faults.ExpireTokens(), 0.1), Rule(faults.Status(503), 0.4, LOGIN)),
    ),
    "lost executions": FaultGroup(
        what="jobs are made and their answers lost: connection, silence, garbage, 5xx",
        rules=(
            Rule(faults.LoseAnswer(), 0.15, EXECUTION),
            Rule(faults.LoseAnswer(reset=True), 0.1, EXECUTION),
            Rule(faults.Hang(acts=True), 0.1, EXECUTION),
            Rule(faults.Truncate(), 0.1, EXECUTION),
            Rule(faults.Status(409, acts=True), 0.05, EXECUTION),
            Rule(faults.OmitKeys("jobID"), 0.05, EXECUTION),
            Rule(faults.DropConnection(), 0.1, EXECUTION),
        ),
    ),
    "broken files": FaultGroup(
        what="files break off, stall, change, come in wrong parts or lengths; signed URLs expire",
        rules=(
            Rule(faults.Truncate(), 0.1, FILES),
            Rule(faults.Truncate(100, reset=True), 0.1, FILES),
            Rule(faults.Truncate(chunked=True), 0.05, FILES),
            Rule(faults.Stall(50), 0.03, FILES),
            Rule(faults.DropConnection(reset=True), 0.05, FILES),
            Rule(faults.ExpireSignedUrls(), 0.05, FILES),
            Rule(faults.Status(503, "html"), 0.05, FILES),
            Rule(faults.Status(429), 0.05, FILES),
            Rule(faults.ChangeEtag(), 0.1, FILES),
            Rule(faults.IgnoreRange(), 0.1, FILES),
            Rule(faults.WrongRange(), 0.1, FILES),
            Rule(faults.WrongLength(-7, announced=False), 0.05, FILES),
            Rule(faults.WrongLength(7, announced=False), 0.05, FILES),
            Rule(faults.WrongLength(-7), 0.05, FILES),
            Rule(faults.WrongLength(7), 0.05, FILES),
            Rule(faults.Status(200, "html"), 0.05, FILES),
        ),
    ),
    "slowness": FaultGroup(
        what="answers come late, in small pieces, or never",
        rules=(
            Rule(faults.Delay(0.2), 0.2),
            Rule(faults.Delay(0.6, before=True), 0.1),
            Rule(faults.Drip(0.05, size=200), 0.05),
            Rule(faults.Hang(acts=False), 0.03),
        ),
    ),
    "odd lists": FaultGroup(
        what="lists shift between pages, have jobs missing or unknown statuses, go round in circles, or lead elsewhere",
        rules=(
            Rule(faults.OmitKeys("jobs", "links", null=True), 0.1, JOB_LIST, query=BY_ID),
            Rule(faults.ShiftPages(), 0.5, JOB_LIST, query=FIRST_PAGE),
            Rule(faults.ShiftPages(), 1.0, JOB_LIST, query=NEXT_BY_OFFSET),
            Rule(faults.UnknownStatus(), 0.1, JOB_LIST),
            Rule(faults.OmitJobs(), 0.2, JOB_LIST, query=BY_ID),
            Rule(faults.NextLink(), 0.03, JOB_LIST),
            Rule(faults.NextLink("https://elsewhere.example/v2/processing/jobs"), 0.03, JOB_LIST),
        ),
    ),
}
"""Faults that are active for some periods of the run, by name."""
