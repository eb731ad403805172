"""Settings are checked when they are created."""

from typing import Any

import attrs
import pytest

from tests.fake_platform import PASSWORD, USERNAME
from up42_async import Client
from up42_async._config import REGIONS, Endpoints, Limits, Polling, RetryPolicy, Timeouts, is_loopback

SETTINGS: list[type[Any]] = [Limits, RetryPolicy, Timeouts]
FIELDS = [(kind, field.name) for kind in SETTINGS for field in attrs.fields(kind)]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), ("5", TypeError), (None, TypeError), (True, TypeError)])
def test_a_setting_out_of_range_is_refused_by_name(
    kind: type[Any], name: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^{name} must be a"):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), [one for one in FIELDS if not one[1].startswith("budget")])
def test_zero_is_refused_where_a_setting_must_be_positive(kind: type[Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be a"):
        kind(**{name: 0})


def test_the_retry_budget_may_be_zero() -> None:
    assert RetryPolicy(budget=0, budget_share=0.0).budget == 0


@pytest.mark.parametrize(
    ("kind", "name"), [(RetryPolicy, "attempts"), (Limits, "max_concurrency"), (Limits, "max_response_bytes")]
)
def test_a_count_is_a_whole_number(kind: type[Any], name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a whole number of at least 1, not 1\.5$"):
        kind(**{name: 1.5})


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_are_frozen_and_keyword_only(kind: type[Any]) -> None:
    settings = kind()
    name = attrs.fields(kind)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(settings, name, 1)
    with pytest.raises(TypeError):
        kind(1)


POLLING = [field.name for field in attrs.fields(Polling)]


def test_the_default_schedule_is_that_of_the_reference() -> None:
    assert Polling() == Polling(wait=60, retries=4320, settle=5, recover=60, visible=15)


@pytest.mark.parametrize("name", POLLING)
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError)])
def test_a_schedule_out_of_range_is_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    kind = TypeError if name == "retries" and value != -1 else ValueError if name == "wait" else error
    with pytest.raises(kind, match=rf"^{name} must be "):
        Polling(**{name: value})


def test_a_client_takes_any_object_with_the_fields_of_polling() -> None:
    class Quick:
        wait = 1
        retries = 5
        settle = 0.5
        recover = 2.0
        visible = 1.5

    client = Client(USERNAME, PASSWORD, polling=Quick())
    assert client._polling == Polling(wait=1, retries=5, settle=0.5, recover=2.0, visible=1.5)
    with pytest.raises(
        TypeError, match=r"polling must be Polling\(\.\.\.\) or have its fields wait, retries, .* not {'wait': 5}"
    ):
        Client(USERNAME, PASSWORD, polling={"wait": 5})  # type: ignore[arg-type]
    Quick.retries = 0
    with pytest.raises(ValueError, match="retries must be a whole number of queries of at least 1, not 0"):
        Client(USERNAME, PASSWORD, polling=Quick())


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_has_endpoints(region: str) -> None:
    assert Endpoints.of_region(region) == Endpoints(api=REGIONS[region][0], auth=REGIONS[region][1])


def test_an_unknown_region_is_refused_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"^region 'mars' is not one of 'eu', 'sa'$"):
        Endpoints.of_region("mars")


def test_a_slash_at_the_end_of_an_endpoint_is_removed() -> None:
    assert Endpoints(api="https://a.test/x/", auth="https://b.test//").api == "https://a.test/x"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:1", "[::1]:80", "127.8.9.10"])
def test_loopback_endpoints_may_use_plain_http(host: str) -> None:
    assert Endpoints(api=f"http://{host}", auth=f"http://{host}/auth").auth == f"http://{host}/auth"


HOSTILE = [
    "http://api.up42.com",
    "http://127.0.0.1.evil.test",
    "http://localhost.evil.test",
    "ftp://api.up42.com",
    "//api.up42.com",
    "api.up42.com",
    "https://",
    "https:///path",
    "https://SECRET@api.up42.com",
    "https://user:SECRET@api.up42.com",
    "https://@api.up42.com",
    "https://api.up42.com?token=SECRET",
    "https://api.up42.com?",
    "https://api.up42.com#SECRET",
    "https://api.up42.com#",
    "https://api.up42.com:99999",
    "https://api.up42.com:0",
    "https://api.up42.com:x",
    "https://[::1",
    "https://api.up42.com\\@evil.test",
    "https://api.up42.com /",
    "https://api.up42.com\r\nHost: evil.test",
    "https://api.up42.c\u043em",
    "",
    None,
    5,
    b"https://api.up42.com",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_an_unsafe_endpoint_is_refused_without_quoting_it(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^auth must be") as caught:
        Endpoints(api="https://api.up42.com", auth=value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("8.8.8.8", False), ("api.up42.com", False), ("", False)],
)
def test_loopback_addresses_are_recognized(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("workers", [1, 3, 7, 20])
def test_the_shares_of_all_workers_never_exceed_the_limits(workers: int) -> None:
    whole = Limits(max_concurrency=20, requests_per_second=50, burst=100, max_downloads=20)
    share = whole.split(workers)
    for name in ("max_concurrency", "requests_per_second", "burst", "max_downloads"):
        assert getattr(whole, name) - workers < getattr(share, name) * workers <= getattr(whole, name)
    assert share.max_response_bytes == whole.max_response_bytes


def test_each_share_allows_one_request_and_one_download() -> None:
    share = Limits(max_concurrency=8, requests_per_second=2, burst=3, max_downloads=4).split(8)
    assert (share.max_concurrency, share.requests_per_second, share.burst, share.max_downloads) == (1, 1, 1, 1)


@pytest.mark.parametrize("workers", [0, -1, 21])
def test_limits_are_not_split_among_more_workers_than_concurrent_requests(workers: int) -> None:
    with pytest.raises(ValueError, match=rf"^workers must be .*, not {workers}"):
        Limits().split(workers)


@pytest.mark.parametrize("workers", [2.0, "2", True, None])
def test_the_number_of_workers_must_be_a_whole_number(workers: Any) -> None:
    with pytest.raises(TypeError, match="workers must be a whole number"):
        Limits().split(workers)
