"""Faults check what they are given: a wrong kind of value is a TypeError, a wrong value a ValueError, both named."""

from collections.abc import Callable
from typing import Any

import pytest

from up42_async.sandbox import Sandbox, faults

A: Any = faults
"""The kinds, without their types: what is given here is wrong on purpose."""


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: A.Status("503"), TypeError, "Status: status must be a whole number from 200 to 599, not '503'"),
        (lambda: A.Status(True), TypeError, "Status: status must be"),
        (lambda: A.Status(99), ValueError, "Status: status must be a whole number from 200 to 599, not 99"),
        (lambda: A.Status(600), ValueError, "not 600"),
        (lambda: A.Status(503, "yaml"), ValueError, "Status: body must be one of 'wrapped', .* not 'yaml'"),
        (lambda: A.Status(503, retry_after=[1]), TypeError, r"retry_after must be seconds, .* not \[1\]"),
        (lambda: A.Status(503, retry_after="\u2014"), ValueError, "retry_after must be Latin-1"),
        (lambda: A.Status(503, headers={"x": 5}), TypeError, "Status: headers must be a string, not 5"),
        (lambda: A.Status(503, headers="x"), TypeError, "Status: headers must be a mapping, not 'x'"),
        (lambda: A.Status(503, acts=1), TypeError, "Status: acts must be True or False, not 1"),
        (lambda: A.GatewayPage(502, "xml"), ValueError, "GatewayPage: body must be one of 'html', 'text', 'empty'"),
        (lambda: A.GatewayPage(502, retry_after=-1), ValueError, "retry_after must be a finite number from 0, not -1"),
        (lambda: A.ExecutedAnyway(0), ValueError, "ExecutedAnyway: status"),
        (lambda: A.EchoHeaders("trailer"), ValueError, "EchoHeaders: where must be one of 'body', 'header'"),
        (lambda: A.Redirect("\u2014"), ValueError, "Redirect: location must be Latin-1 for a header"),
        (lambda: A.Redirect("/x", 200), ValueError, "Redirect: status must be one of 301, 302, 303, 307, 308, not 200"),
        (lambda: A.Rewrite({}), TypeError, r"Rewrite: change must be a function, not \{\}"),
        (lambda: A.ChangeHeaders({"x": 5}), TypeError, "ChangeHeaders: changes must be a string, not 5"),
        (lambda: A.DeepJson(0), ValueError, "DeepJson: depth"),
        (lambda: A.LargeHeaders(1.5), TypeError, "LargeHeaders: size"),
        (lambda: A.GzipBomb(-1), ValueError, "GzipBomb: mebibytes"),
        (lambda: A.Delay(-1), ValueError, "Delay: seconds must be a finite number from 0, not -1"),
        (lambda: A.Delay("soon"), TypeError, "Delay: seconds must be a finite number from 0, not 'soon'"),
        (lambda: A.Delay(float("nan")), ValueError, "Delay: seconds .* not nan"),
        (lambda: A.Drip(size=0), ValueError, "Drip: size must be a whole number from 1, not 0"),
        (lambda: A.SlowBody(0), ValueError, "SlowBody: bytes_per_second must be a finite number above 0, not 0"),
        (lambda: A.Truncate(-1), ValueError, "Truncate: keep"),
        (lambda: A.Stall("x"), TypeError, "Stall: after"),
        (lambda: A.RawAnswer("text"), TypeError, "RawAnswer: data must be bytes, not 'text'"),
        (lambda: A.Endless("text"), TypeError, "Endless: piece must be bytes"),
        (lambda: A.Hang(acts="no"), TypeError, "Hang: acts"),
        (lambda: A.LoseAnswer(reset=None), TypeError, "LoseAnswer: reset must be True or False, not None"),
        (lambda: A.UnknownStatus(5), TypeError, "UnknownStatus: word must be a string, not 5"),
        (lambda: A.OmitJobs("an-id"), TypeError, "OmitJobs: ids must be a list of strings, not 'an-id'"),
        (lambda: A.OmitJobs([5]), TypeError, r"OmitJobs: ids must be a list of strings, not \[5\]"),
        (lambda: A.OmitKeys(5), TypeError, r"OmitKeys: names must be strings, not \(5,\)"),
        (lambda: A.NextLink(5), TypeError, "NextLink: href"),
        (lambda: A.ShiftPages(inserted=-1), ValueError, "ShiftPages: inserted"),
        (lambda: A.ChangeJobs("status"), TypeError, "ChangeJobs: changes must be a mapping, not 'status'"),
        (lambda: A.ChangeItems({}, ids=5), TypeError, "ChangeItems: ids"),
        (lambda: A.ManyEntries(0), ValueError, "ManyEntries: number"),
        (lambda: A.ManyEntries(name="things"), ValueError, "ManyEntries: name must be one of 'jobs', 'features'"),
        (lambda: A.OtherJob(None), TypeError, "OtherJob: job_id must be a string, not None"),
        (lambda: A.ShiftTimes(float("inf")), ValueError, "ShiftTimes: seconds"),
        (lambda: A.RaisePrice(0), ValueError, "RaisePrice: factor must be a finite number above 0, not 0"),
        (lambda: A.SignedUrlAt(5), TypeError, "SignedUrlAt: origin"),
        (lambda: A.FileName("x", "query"), ValueError, "FileName: where must be one of 'url', 'header', not 'query'"),
        (lambda: A.AssetFields(5), TypeError, "AssetFields: changes"),
        (lambda: A.Corrupt(-1), ValueError, "Corrupt: at"),
        (lambda: A.WrongLength("x"), TypeError, "WrongLength: by must be a whole number of bytes, not 'x'"),
        (lambda: A.ChangeEtag("no"), TypeError, "ChangeEtag: heeds_if_range"),
        (lambda: A.WrongRange(0.5), TypeError, "WrongRange: by"),
        (lambda: A.StoredEncoding(5), TypeError, "StoredEncoding: encoding"),
        (lambda: A.RedirectFile(304), ValueError, "RedirectFile: status"),
        (lambda: A.Waves(503), TypeError, r"Waves: kind must be a fault such as Status\(503\), not 503"),
        (lambda: A.Waves(A.Hang(), seconds=0), ValueError, "Waves: seconds must be a finite number above 0, not 0"),
        (lambda: A.LaterPages(A.Hang), TypeError, "LaterPages: kind must be a fault such as"),
    ],
)
def test_a_kind_names_the_argument_that_is_wrong(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (A.DeepJson, r"such as DeepJson\(...\); got <class"),
        (503, r"such as faults.Status\(503\); got 503"),
        (None, "got None"),
    ],
)
def test_what_is_no_fault_cannot_be_added(kind: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Sandbox().faults.add(kind)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ({"path": "("}, ValueError, r"path must be a regular expression, not '\('"),
        ({"query": "["}, ValueError, r"query must be a regular expression, not '\['"),
        ({"times": 0}, ValueError, "times must be a whole number from 1, not 0"),
        ({"times": "2"}, TypeError, "times must be a whole number from 1, not '2'"),
        ({"after": -1}, ValueError, "after must be a whole number from 0, not -1"),
        ({"probability": 1.1}, ValueError, "probability"),
        ({"probability": "half"}, TypeError, "probability must be a finite number from 0, not 'half'"),
    ],
)
def test_a_rule_names_the_argument_that_is_wrong(rule: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Sandbox().faults.add(faults.Status(503), **rule)
