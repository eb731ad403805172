"""Requests, answers, links and timestamps: pure, and safe whatever the server sends."""

import codecs
import datetime as dt
import email.utils
import json
import math
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from up42_async import _clock
from up42_async._client.pagination import follow
from up42_async._clock import timestamp
from up42_async._errors import (
    APIError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
    UntrustedURLError,
)
from up42_async._http.requests import LONGEST_ID, NO_SECRET, ApiRequest, answered_segment, query, segment
from up42_async._http.responses import ApiResponse, Body, decode, http_date, parse_json, retry_after

API = "https://api.up42.com"
ASKED = ApiRequest(method="GET", path="/v2/processing/jobs", query="status=RUNNING")
NOW = dt.datetime(2026, 3, 1, 12, 0, 0, tzinfo=dt.UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> ApiResponse:
    return ApiResponse(status=status, headers=headers or {}, body=body)


def refused(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> StatusError:
    with pytest.raises(StatusError) as caught:
        decode(reply(status, body, headers), ASKED)
    return caught.value


class TestIds:
    @given(st.text(max_size=LONGEST_ID + 2) | st.text("./%?#\\@:~ ", max_size=6))
    @example("../../users/me")
    @example("a/b")
    @example("x?y")
    @example("x#y")
    @example("%2e%2e")
    @example("\ud800")
    @settings(deadline=None)
    def test_an_id_is_refused_or_is_exactly_one_segment_of_the_path_that_is_sent(self, value: str) -> None:
        try:
            quoted = segment(value)
        except ValueError as error:
            assert not isinstance(error, UnicodeError)
            return
        sent = httpx.URL(f"{API}/v2/jobs/{quoted}/result").raw_path.decode()
        assert sent.startswith("/v2/jobs/")
        assert sent.endswith("/result")
        assert unquote(sent.removeprefix("/v2/jobs/").removesuffix("/result")) == value
        assert sent.count("/") == 4

    @pytest.mark.parametrize(
        "value", ["", ".", "..", "\r\n", "a\r\nX-Evil: 1", "\x00", "\x7f", "\x85", "\ud800", "x" * 10_000]
    )
    def test_an_invalid_id_is_refused_with_the_name_of_the_argument(self, value: str) -> None:
        with pytest.raises(
            ValueError, match=r"^job_id .* cannot be right: expected 1 to 256 printable characters"
        ) as caught:
            segment(value, "job_id")
        assert len(str(caught.value)) < 500

    @pytest.mark.parametrize("value", [None, 5, b"68567134", ["68567134"]])
    def test_an_id_that_is_not_a_string_is_a_type_error(self, value: object) -> None:
        with pytest.raises(TypeError, match=f"^job_id must be a string, not {type(value).__name__}$"):
            segment(value, "job_id")

    def test_an_ordinary_id_is_sent_unchanged(self) -> None:
        assert segment("68567134-27ad-7bd7-4b65-d61adb11fc78") == "68567134-27ad-7bd7-4b65-d61adb11fc78"

    @pytest.mark.parametrize("value", [".", "", 5, None, "x" * 300, "\r\n"])
    def test_an_invalid_id_in_a_response_is_an_error_of_the_server(self, value: object) -> None:
        with pytest.raises(
            UnexpectedResponseError, match="^GET /v2/processing/jobs: an answer whose EULA id "
        ) as caught:
            answered_segment(value, "EULA id", ASKED)
        assert caught.value.__suppress_context__
        assert answered_segment("a/b", "EULA id", ASKED) == "a%2Fb"


class TestQueries:
    def test_lists_are_joined_by_commas_and_none_is_left_out(self) -> None:
        encoded = query(
            {"status": ["RUNNING", "FAILED"], "workspaceId": None, "minDuration": 0, "sort": "created,desc"}
        )
        assert httpx.QueryParams(encoded).multi_items() == [
            ("status", "RUNNING,FAILED"),
            ("minDuration", "0"),
            ("sort", "created,desc"),
        ]

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"])),
        )
    )
    def test_the_server_decodes_the_same_parameters(self, parameters: dict[str, str]) -> None:
        url = httpx.URL(f"{API}/v2/processing/jobs?{query(parameters)}")
        assert dict(url.params) == parameters
        assert url.host == "api.up42.com"


class TestRequests:
    def test_a_request_shows_method_and_path_only(self) -> None:
        request = ApiRequest(method="POST", path="/v2/x", query="token=SECRET", json={"password": "SECRET"})
        assert str(request) == "POST /v2/x"
        assert "password" not in repr(request)

    @given(JSON.filter(lambda value: value is not None))
    def test_the_body_is_json(self, value: Any) -> None:
        body = ApiRequest(method="POST", path="/v2/x", json=value).body
        assert body is not None
        assert json.loads(body) == value

    def test_there_is_no_body_without_json(self) -> None:
        assert ASKED.body == b""

    def test_nan_is_refused_as_json(self) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            _ = ApiRequest(method="POST", path="/v2/x", json={"credits": math.nan}).body

    def test_the_repr_of_a_response_shows_no_body_and_no_headers(self) -> None:
        assert "SECRET" not in repr(reply(200, b"SECRET", {"set-cookie": "SECRET"}))


HOME = [
    ("/v2/processing/jobs?page=2&limit=5", "/v2/processing/jobs", "page=2&limit=5"),
    ("/v2/processing/jobs?next=a%3Ab", "/v2/processing/jobs", "next=a%3Ab"),
    ("/v2/x?redirect=https://evil.test/", "/v2/x", "redirect=https://evil.test/"),
    ("/@evil.test/x", "/@evil.test/x", ""),
    ("/v2/x#fragment", "/v2/x", ""),
    ("https://api.up42.com/v2/x?page=2", "/v2/x", "page=2"),
    ("https://api.up42.com:443/v2/x", "/v2/x", ""),
    ("HTTPS://API.UP42.COM/v2/x", "/v2/x", ""),
    ("http://api.up42.com/v2/x", "/v2/x", ""),
    ("http://api.up42.com:80/v2/x", "/v2/x", ""),
    ("https://api.up42.com?page=2", "/v2/processing/jobs", "page=2"),
    ("?page=2", "/v2/processing/jobs", "page=2"),
]
AWAY = [
    ("https://evil.test/v2/x", "evil.test"),
    ("https://api.up42.com.evil.test/v2/x", "api.up42.com.evil.test"),
    ("https://evil-api.up42.com/v2/x", "evil-api.up42.com"),
    ("https://api.up42.com@evil.test/v2/x", "evil.test"),
    ("https://api.up42.com:SECRET@evil.test/v2/x", "evil.test"),
    ("https://SECRET@api.up42.com/v2/x", "api.up42.com"),
    ("https://@api.up42.com/v2/x", "api.up42.com"),
    ("https://api.up42.com:8443/v2/x", "api.up42.com"),
    ("https://api.up42.com:80/v2/x", "api.up42.com"),
    ("https://api.up42.com:0/v2/x", "api.up42.com"),
    ("http://api.up42.com:443/v2/x", "api.up42.com"),
    ("ftp://api.up42.com/v2/x", "api.up42.com"),
    ("ws://api.up42.com/v2/x", "api.up42.com"),
    ("//evil.test/v2/x", "evil.test"),
    ("//api.up42.com/v2/x", "api.up42.com"),
    ("https:///v2/x", "nowhere"),
    ("https:/v2/x", "nowhere"),
    ("https:v2/x", "nowhere"),
    ("javascript:alert('SECRET')", "nowhere"),
    ("file:///etc/passwd", "nowhere"),
    ("data:text/html,SECRET", "nowhere"),
    ("@evil.test/x", "nowhere"),
    (":1@evil.test/x", "nowhere"),
    (".evil.test/x", "nowhere"),
    ("v2/x?page=2", "nowhere"),
    ("../x", "nowhere"),
    ("https://api.up42.com./v2/x", "api.up42.com."),
    ("https://api.up42.c\u043em/v2/x", "api.up42.c\u043em"),
    ("https://xn--pi-6kc.up42.com/v2/x", "xn--pi-6kc.up42.com"),
    ("https://evil.test%2f@api.up42.com/v2/x", "api.up42.com"),
    ("https://evil.test\x80/v2/x", "evil.test "),
]
UNREADABLE = [
    "",
    None,
    5,
    {"href": "/v2/x"},
    ["/v2/x"],
    b"/v2/x",
    "https://api.up42.com:99999/v2/x",
    "https://api.up42.com:-1/v2/x",
    "https://api.up42.com:port/v2/x",
    "https://[api.up42.com/v2/x",
    "https://api.up42.com\uff0fevil.test/v2/x",
    "\\\\evil.test\\x",
    "/\\evil.test/x",
    "https://api.up42.com\\@evil.test/x",
    "\thttps://evil.test/x",
    "ht\ntps://evil.test/x",
    "/v2/x\r\nX-Evil: 1",
    "/v2/x y",
    " /v2/x",
    "/v2/\x00",
    "/v2/\ud800",
    "https://\ud800/v2/x",
]


class TestLinks:
    @pytest.mark.parametrize(("link", "path", "encoded"), HOME)
    def test_a_link_to_the_api_becomes_a_request_to_the_api(self, link: str, path: str, encoded: str) -> None:
        assert follow(link, api=API, request=ASKED) == ApiRequest(method="GET", path=path, query=encoded)

    @pytest.mark.parametrize(("link", "host"), AWAY)
    def test_the_error_of_a_link_to_another_host_names_the_host_only(self, link: str, host: str) -> None:
        with pytest.raises(UntrustedURLError) as caught:
            follow(link, api=API, request=ASKED)
        assert f"a link to {host}, which is not UP42's api.up42.com; it was not followed" in str(caught.value)
        assert str(caught.value).startswith("GET /v2/processing/jobs: ")
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize("link", UNREADABLE)
    def test_a_link_that_cannot_be_read_is_refused(self, link: object) -> None:
        with pytest.raises(UntrustedURLError, match="an answer held a link that cannot be read; it was not followed"):
            follow(link, api=API, request=ASKED)

    def test_three_slashes_are_a_path_on_the_api_host(self) -> None:
        request = follow("///evil.test/x", api=API, request=ASKED)
        assert httpx.URL(f"{API}{request.path}").host == "api.up42.com"

    def test_the_port_of_the_api_is_part_of_its_host(self) -> None:
        api = "http://127.0.0.1:8080"
        assert follow("http://127.0.0.1:8080/v2/x", api=api, request=ASKED).path == "/v2/x"
        for link in ("http://127.0.0.1/v2/x", "http://127.0.0.1:8081/v2/x", "https://127.0.0.1:8080/v2/x"):
            with pytest.raises(UntrustedURLError):
                follow(link, api=api, request=ASKED)

    @pytest.mark.parametrize("link", ["https://proxy.test/up42/v2/x?page=2", "/v2/x?page=2"])
    def test_links_to_an_api_under_a_path_stay_under_that_path(self, link: str) -> None:
        request = follow(link, api="https://proxy.test/up42", request=ASKED)
        assert (request.path, request.query) == ("/v2/x", "page=2")

    @given(st.text() | st.text("/:@\\?#.%evil0\u043e[]").map(lambda tail: f"https://api.up42.com{tail}") | JSON)
    @settings(deadline=None)
    def test_any_link_is_refused_or_gives_a_request_to_the_api_host(self, link: object) -> None:
        try:
            request = follow(link, api=API, request=ASKED)
        except UntrustedURLError:
            return
        url = httpx.URL(f"{API}{request.path}?{request.query}")
        assert (url.scheme, url.host, url.port, url.userinfo) == ("https", "api.up42.com", None, b"")


class TestTimestamps:
    @given(
        st.datetimes(min_value=dt.datetime(2, 1, 1), max_value=dt.datetime(9998, 1, 1)),  # noqa: DTZ001
        st.integers(-23 * 60 - 59, 23 * 60 + 59),
    )
    def test_any_offset_gives_the_same_instant(self, moment: dt.datetime, minutes: int) -> None:
        instant = moment.replace(tzinfo=dt.UTC)
        there = instant.astimezone(dt.timezone(dt.timedelta(minutes=minutes)))
        assert timestamp(there.isoformat()) == instant
        assert timestamp(there.isoformat()).tzinfo is dt.UTC

    @pytest.mark.parametrize(
        ("digits", "microseconds"),
        [
            ("", 0),
            (".1", 100_000),
            (".123", 123_000),
            (".123456", 123_456),
            (".1234567", 123_456),
            (".123456789", 123_456),
        ],
    )
    def test_up_to_nine_digits_are_exact_to_the_microsecond(self, digits: str, microseconds: int) -> None:
        expected = dt.datetime(2024, 5, 6, 7, 8, 9, microseconds, tzinfo=dt.UTC)
        assert timestamp(f"2024-05-06T07:08:09{digits}Z") == expected

    def test_a_timestamp_without_offset_is_utc(self) -> None:
        assert timestamp("2024-05-06T07:08:09") == dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)

    @pytest.mark.parametrize(
        "value", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "9999-01-01T00:00:00Z"]
    )
    def test_a_timestamp_at_the_end_of_the_calendar_is_refused(self, value: str) -> None:
        with pytest.raises(ValueError, match="before the year 2 or after 9998"):
            timestamp(value)

    @given(JSON | st.text("0123456789-:.+TZ"))
    @example("")
    @example(None)
    @example(1_700_000_000)
    @example("\ud800")
    def test_any_text_is_a_timestamp_or_a_value_error(self, value: object) -> None:
        try:
            moment = timestamp(value)
        except ValueError:
            return
        assert moment.tzinfo is dt.UTC


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("2", 2.0),
            ("0", 0.0),
            (" 7 ", 7.0),
            ("3600", 3600.0),
            (email.utils.format_datetime(NOW + dt.timedelta(seconds=2), usegmt=True), 2.0),
            (email.utils.format_datetime(NOW + dt.timedelta(days=365), usegmt=True), 365 * 86_400.0),
            (
                email.utils.format_datetime(
                    (NOW + dt.timedelta(seconds=2)).astimezone(dt.timezone(dt.timedelta(hours=5)))
                ),
                2.0,
            ),
            (email.utils.format_datetime(NOW - dt.timedelta(hours=1), usegmt=True), 0.0),
            ("Sun Mar  1 12:00:02 2026", 2.0),
        ],
    )
    def test_a_retry_after_is_seconds_or_a_date(self, value: str, seconds: float) -> None:
        date = email.utils.format_datetime(NOW, usegmt=True)
        assert retry_after({"retry-after": value, "date": date}) == seconds

    @pytest.mark.parametrize(
        "value", ["-5", "1.5", "inf", "nan", "1_000", "\u0663", "\u00b2", "soon", "", " ", "2, 2", "+5", "0x10", "1e3"]
    )
    def test_an_invalid_retry_after_is_none(self, value: str) -> None:
        assert retry_after({"retry-after": value}) is None

    def test_a_missing_retry_after_is_none(self) -> None:
        assert retry_after({}) is None

    def test_a_retry_after_date_is_compared_with_the_servers_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_clock, "wall", lambda: NOW.timestamp() + 3600)
        date = email.utils.format_datetime(NOW, usegmt=True)
        until = email.utils.format_datetime(NOW + dt.timedelta(seconds=30), usegmt=True)
        assert retry_after({"retry-after": until, "date": date}) == 30.0

    @pytest.mark.parametrize("headers", [{}, {"date": "nonsense"}])
    def test_without_a_date_header_the_local_clock_is_used_and_the_delay_rounded_up(
        self, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
    ) -> None:
        monkeypatch.setattr(_clock, "wall", lambda: NOW.timestamp() + 0.9)
        until = email.utils.format_datetime(NOW + dt.timedelta(seconds=2.9), usegmt=True)
        assert retry_after({"retry-after": until, **headers}) == pytest.approx(2.1)

    @given(
        st.text() | st.text("0123456789", max_size=400) | st.text("0123456789 ,:+-JanFebMonGMT"),
        st.none() | st.text() | st.text("0123456789 ,:+-JanFebMonGMT"),
    )
    @example("9" * 400, None)
    @example("Jan 99999999999999999999 Jan 12:00:00 99999999999999999999 2020", None)
    def test_any_retry_after_gives_a_finite_delay_or_none(self, value: str, date: str | None) -> None:
        seconds = retry_after({"retry-after": value} | ({} if date is None else {"date": date}))
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)

    @pytest.mark.parametrize("value", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -1200"])
    def test_a_date_at_the_end_of_the_calendar_is_refused(self, value: str) -> None:
        assert http_date(value) is None

    def test_dates_without_a_zone_are_utc(self) -> None:
        assert http_date("Sun, 01 Mar 2026 12:00:00") == NOW


class TestBodies:
    def test_nothing_is_kept_of_a_body_that_is_too_large(self) -> None:
        body = Body(200, "", limit=3, label="GET /v2/things", secret=NO_SECRET)
        assert [body.append(b"abc"), body.append(b"")] == [None, None]
        problem = body.append(b"d")
        assert str(problem) == "GET /v2/things: status 200 with a body of more than 3 bytes (Limits.max_response_bytes)"
        assert body.append(b"") is problem
        with pytest.raises(UnexpectedResponseError) as caught:
            body.finish()
        assert caught.value is problem


class TestAnswers:
    @given(JSON)
    def test_decoded_json_is_returned_unchanged(self, value: Any) -> None:
        assert decode(reply(200, json.dumps(value).encode()), ASKED) == value

    @given(st.integers(100, 599), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
    @settings(deadline=None)
    def test_any_bytes_give_a_value_or_an_api_error(self, status: int, body: bytes) -> None:
        try:
            decode(reply(status, body), ASKED)
        except (UnexpectedResponseError, StatusError) as error:
            assert str(error).startswith(f"GET /v2/processing/jobs: status {status}")
            assert str(error).encode()
            assert isinstance(error, StatusError) is (status >= 400)
        else:
            assert 200 <= status < 300

    @pytest.mark.parametrize("status", [200, 201, 204])
    def test_an_empty_body_is_a_transient_error(self, status: int) -> None:
        with pytest.raises(UnexpectedResponseError, match="with an empty body") as caught:
            decode(reply(status), ASKED)
        assert caught.value.transient

    def test_an_empty_body_is_accepted_where_it_is_documented(self) -> None:
        validation = ApiRequest(method="POST", path="/v2/x/validation", empty_ok=True)
        assert decode(reply(200), validation) is None
        with pytest.raises(UnexpectedResponseError, match="not JSON"):
            decode(reply(200, b"<html>"), validation)

    def test_a_byte_order_mark_is_skipped(self) -> None:
        assert decode(reply(200, codecs.BOM_UTF8 + b'{"a": 1}'), ASKED) == {"a": 1}

    def test_nan_and_infinity_are_decoded_as_floats(self) -> None:
        assert repr(decode(reply(200, b"[NaN, Infinity, -Infinity, 1e999]"), ASKED)) == "[nan, inf, -inf, inf]"

    @pytest.mark.parametrize(
        "body",
        [
            b"[" + b"[]," * 250_000 + b"[]]",
            b'{"jobs": [' + b"{}," * 250_000 + b"{}]}",
            b"[" + b"0," * 500_000 + b"0]",
        ],
        ids=["lists", "objects", "numbers"],
    )
    @pytest.mark.parametrize("status", [200, 400])
    def test_json_of_too_many_values_is_not_decoded(self, body: bytes, status: int) -> None:
        with pytest.raises(APIError) as caught:
            decode(reply(status, body), ASKED)
        assert not caught.value.transient
        assert ("with more than 500,000 values" in str(caught.value)) is (status == 200)

    def test_text_that_takes_four_bytes_for_each_character_is_not_decoded_when_it_is_long(self) -> None:
        body = b'"' + b"x" * (8 * 2**20) + "\U0001f6f0".encode() + b'"'
        with pytest.raises(UnexpectedResponseError, match="more than 8 MiB of text in wide characters") as caught:
            decode(reply(200, body), ASKED)
        assert not caught.value.transient
        assert len(decode(reply(200, body.replace(b"\xf0\x9f\x9b\xb0", b"")), ASKED)) == 8 * 2**20
        assert len(decode(reply(200, body.replace(b"xxxx", b"", 9)), ASKED)) == 8 * 2**20 - 35

    @pytest.mark.parametrize(
        "body",
        [
            b"<html>SECRET</html>",
            b'{"credits": ',
            b'\xff\xfe{"a": 1}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"1" * 5_000,
        ],
        ids=lambda body: repr(body[:12]),
    )
    def test_a_success_without_json_is_transient_and_its_body_not_quoted(self, body: bytes) -> None:
        with pytest.raises(UnexpectedResponseError) as caught:
            decode(reply(200, body, {"content-type": "text/html; charset=utf-8"}), ASKED)
        assert caught.value.transient
        assert str(caught.value).endswith(f"status 200 with a body that is not JSON ({len(body)} bytes, text/html)")

    def test_a_long_content_type_is_shortened_in_the_message(self) -> None:
        with pytest.raises(UnexpectedResponseError) as caught:
            decode(reply(200, b"x", {"content-type": "text/" + "\x1b\ud800" * 5_000}), ASKED)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 250

    def test_an_error_about_a_body_does_not_keep_the_body(self) -> None:
        body = b'{"access_token": "SECRET", '
        with pytest.raises(UnexpectedResponseError) as caught:
            decode(reply(200, body), ASKED)
        seen: BaseException | None = caught.value
        while seen is not None:
            assert "SECRET" not in repr(vars(seen)) + repr(seen.args) + repr(getattr(seen, "doc", ""))
            seen = seen.__context__

    def test_an_error_about_invalid_json_does_not_keep_the_error_of_the_decoder(self) -> None:
        with pytest.raises(ValueError, match=r"^a body that is not JSON$") as caught:
            parse_json(b'{"password": "SECRET"')
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, StatusError),
            (401, AuthenticationError),
            (403, PermissionDeniedError),
            (404, NotFoundError),
            (408, StatusError),
            (409, StatusError),
            (422, StatusError),
            (429, RateLimitError),
            (500, ServerError),
            (503, ServerError),
            (524, ServerError),
            (542, ServerError),
            (599, ServerError),
        ],
    )
    def test_an_error_status_has_a_class_and_a_status(self, status: int, kind: type[StatusError]) -> None:
        error = refused(status, b"{}")
        assert type(error) is kind
        assert error.from_platform
        assert (error.status, error.request) == (status, "GET /v2/processing/jobs")

    @pytest.mark.parametrize(
        ("body", "code", "detail"),
        [
            ({"data": None, "error": {"code": "E1", "message": "no such job", "details": {}}}, "E1", "no such job"),
            ({"type": "about:blank", "title": "Bad", "status": 400, "detail": "wrong id"}, "Bad", "wrong id"),
            ({"code": 17, "message": "nothing", "details": None}, "17", "nothing"),
            ({"error": "invalid_grant", "error_description": "Account disabled"}, "invalid_grant", "Account disabled"),
            (
                {"title": "Bad Request", "status": 400, "schema-error": "item is missing"},
                "Bad Request",
                "item is missing",
            ),
            ({"title": "Bad Request"}, "Bad Request", "Bad Request"),
            (
                {"title": "Bad Request", "errors": [{"name": "X", "message": "sort is UNKNOWN"}]},
                "Bad Request",
                'Bad Request: [{"name": "X", "message": "sort is UNKNOWN"}]',
            ),
            ({"detail": [{"loc": ["limit"], "msg": "too large"}]}, None, '[{"loc": ["limit"], "msg": "too large"}]'),
            ({"error": {"message": "no", "details": {"why": "x"}}}, None, 'no: {"why": "x"}'),
            ({"reason": "quota", "left": 0}, None, '{"reason": "quota", "left": 0}'),
            ({"code": None, "message": " "}, None, '{"code": null, "message": " "}'),
            ({"code": "E2"}, "E2", None),
            ({}, None, None),
            ([1], None, "[1]"),
            ("The sort\nfield", None, '"The sort\\nfield"'),
            (None, None, "null"),
        ],
    )
    def test_an_error_status_keeps_the_servers_explanation(
        self, body: Any, code: str | None, detail: str | None
    ) -> None:
        error = refused(400, json.dumps(body).encode())
        assert (error.code, error.detail, error.payload, error.body) == (code, detail, body, json.dumps(body))
        assert str(error).endswith(f"status 400: {detail or code}" if detail or code else "status 400")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"The workspace is\n SUSPENDED", "The workspace is SUSPENDED"),
            (b"<html><title>Blocked by WAF</title>Ray&nbsp;ID 8a</html>", "Blocked by WAF Ray ID 8a"),
            (b"<style>p {}</style><script>x < y</script>\n<p>Down", "Down"),
            (b"<" * 100_000, "<" * 500),
            (b"\xff", "\ufffd"),
            (b"<p>", None),
        ],
    )
    def test_the_text_of_a_gateway_page_is_shown_without_markup(self, body: bytes, words: str | None) -> None:
        error = refused(502, body)
        assert (error.code, error.detail, error.payload, error.from_platform) == (None, words, None, False)
        assert str(error).endswith(f"status 502: {words}" if words else "status 502")
        assert error.body == body[:4096].decode(errors="replace")

    @pytest.mark.parametrize("status", [401, 403, 404])
    @pytest.mark.parametrize(
        "body", [b"", b"<html>no</html>", b"no", b'"no"', b"[]", b'{"code": ', b'{"a": "' + b"x" * 2**16 + b'"}']
    )
    def test_a_404_of_a_gateway_does_not_mean_that_a_job_is_missing(self, status: int, body: bytes) -> None:
        error = refused(status, body)
        assert type(error) is StatusError
        assert error.transient
        assert not error.from_platform
        assert (error.body == "") is (body == b"")
        assert "a gateway's answer, not UP42's own" in str(error)
        assert ("(empty body)" in str(error)) is (body == b"")

    @pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"{}"])
    @pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (500, ServerError), (542, ServerError)])
    def test_a_429_or_5xx_means_the_same_from_a_gateway(
        self, body: bytes, status: int, kind: type[StatusError]
    ) -> None:
        assert type(refused(status, body)) is kind
        assert refused(status, body).transient

    @pytest.mark.parametrize(("status", "passes"), [(400, False), (405, False), (407, False), (408, True), (425, True)])
    @pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"{}"])
    def test_of_the_other_statuses_only_408_and_425_are_transient(self, body: bytes, status: int, passes: bool) -> None:
        assert refused(status, body).transient is passes

    @pytest.mark.parametrize("name", ["x-request-id", "x-correlation-id", "request-id", "x-trace-id", "cf-ray"])
    @pytest.mark.parametrize("status", [200, 302, 404])
    def test_the_request_id_of_the_server_is_kept(self, name: str, status: int) -> None:
        with pytest.raises(APIError) as caught:
            decode(reply(status, b"<", {name: "4bf92f35\x1b"}), ASKED)
        assert caught.value.request_id == "4bf92f35 "

    def test_control_characters_of_the_server_are_removed_from_messages(self) -> None:
        error = refused(400, json.dumps({"message": "a\x1b[31m\nb\ud800" + "x" * 10_000}).encode())
        assert str(error).isprintable()
        assert len(str(error)) < 700
        assert traceback.format_exception_only(error)[0].encode()

    @pytest.mark.parametrize(
        ("status", "word"), [(401, "token"), (403, "role"), (404, "no such thing"), (429, "try again")]
    )
    def test_the_message_explains_statuses_with_a_special_meaning(self, status: int, word: str) -> None:
        assert word in str(refused(status, b"{}"))

    def test_an_error_status_has_the_seconds_of_retry_after(self) -> None:
        error = refused(429, b"{}", headers={"retry-after": "7"})
        assert error.retry_after == 7.0
        assert str(error).endswith("try again later. (the server asks to wait 7 s)")
        assert refused(503).retry_after is None

    @pytest.mark.parametrize(
        ("location", "where"),
        [
            ("https://evil.test/x?token=SECRET", "evil.test"),
            ("https://user:SECRET@evil.test/", "evil.test"),
            ("/v2/other?token=SECRET", "the same host"),
            ("https://[evil/SECRET", "an unreadable address"),
            ("", "nowhere"),
        ],
    )
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_an_error_that_names_the_host_only(self, status: int, location: str, where: str) -> None:
        with pytest.raises(UnexpectedResponseError) as caught:
            decode(reply(status, b"SECRET", {"location": location}), ASKED)
        assert f"status {status} instead of an answer: a redirect to {where}, which was not followed" in str(
            caught.value
        )
        assert "SECRET" not in str(caught.value)
        assert not caught.value.transient


def test_every_error_status_is_an_api_error() -> None:
    assert isinstance(refused(418), APIError)
