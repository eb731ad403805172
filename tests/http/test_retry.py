"""Whether and when a failed request is sent again: the decision, and its effects on a virtual clock."""

import collections
import datetime as dt
import email.utils
import itertools
from collections.abc import Callable

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_platform import Asked, FakePlatform, client_of
from up42_async import Client, _clock
from up42_async._config import Limits, RetryPolicy
from up42_async._errors import (
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidCredentialsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
    UntrustedURLError,
)
from up42_async._http.requests import ApiRequest
from up42_async._http.retry import RetryState, delays, is_retryable
from up42_async._http.throttling import RetryBudget

pytestmark = pytest.mark.virtual_time

LIST = ApiRequest(method="GET", path="/v2/processing/jobs")
EXECUTE = ApiRequest(method="POST", path="/v2/processing/processes/x/execution", idempotent=False)


def attempts(policy: RetryPolicy, budget: RetryBudget | None = None, *, tries: int = 1) -> RetryState:
    budget = budget or RetryBudget(policy)
    return RetryState(policy=policy, try_withdraw=budget.try_withdraw, started=100.0, tries=tries)


class TestDecision:
    @pytest.mark.parametrize(
        ("error", "harmless", "execution"),
        [
            (ConnectionFailedError("refused"), True, True),
            (ConnectionFailedError("certificate", permanent=True), False, False),
            (ConnectionLostError("reset"), True, False),
            (RequestTimeoutError("slow"), True, False),
            (RateLimitError("429", status=429), True, True),
            (ServerError("500", status=500), True, False),
            (ServerError("502", status=502), True, False),
            (ServerError("524", status=524), True, False),
            (ServerError("542", status=542), True, False),
            (StatusError("400", status=400), False, False),
            (StatusError("408", status=408, transient=True), True, False),
            (StatusError("409", status=409), False, False),
            (StatusError("422", status=422), False, False),
            (AuthenticationError("401", status=401), False, False),
            (InvalidCredentialsError("401", status=401), False, False),
            (PermissionDeniedError("403", status=403), False, False),
            (NotFoundError("404", status=404), False, False),
            (UnexpectedResponseError("html", transient=True), True, False),
            (UnexpectedResponseError("too large"), False, False),
            (UntrustedURLError("evil.test"), False, False),
            (APIError("who knows"), False, False),
        ],
        ids=str,
    )
    def test_only_transient_errors_of_safe_requests_are_retried(
        self, error: APIError, harmless: bool, execution: bool
    ) -> None:
        assert is_retryable(error, idempotent=True) is harmless
        assert is_retryable(error, idempotent=False) is execution


class TestWaits:
    @given(st.floats(0.01, 10), st.floats(0.01, 100))
    def test_waits_are_random_below_a_bound_that_doubles_up_to_the_longest(self, first: float, longest: float) -> None:
        numbers = itertools.islice(delays(RetryPolicy(wait_initial=first, wait_max=longest)), 12)
        for number, bound in zip(numbers, (min(first * 2**power, longest) for power in range(12)), strict=True):
            assert 0 <= number <= bound

    def test_two_callers_wait_for_different_times(self) -> None:
        policy = RetryPolicy()
        assert len({next(delays(policy)) for _ in range(100)}) > 90


class TestAttempts:
    def test_an_error_has_the_number_of_tries_and_the_time_they_took(self) -> None:
        error = ServerError("down", request="GET /x", status=503)
        attempts(RetryPolicy(), tries=3).next_delay(error, idempotent=True, now=104.26)
        assert str(error) == "GET /x: down (3 tries in 4.3 s)"

    def test_the_last_try_is_the_last(self) -> None:
        policy = RetryPolicy(attempts=3)
        pauses = [
            attempts(policy, tries=tries).next_delay(ServerError("down"), idempotent=True, now=100)
            for tries in (1, 2, 3)
        ]
        assert [pause is None for pause in pauses] == [False, False, True]

    def test_no_try_begins_after_the_total_time(self) -> None:
        row = attempts(RetryPolicy(timeout=60))
        assert row.next_delay(RateLimitError("slow", retry_after=50.0), idempotent=True, now=105) is not None
        assert row.next_delay(RateLimitError("slow", retry_after=50.0), idempotent=True, now=111) is None

    @pytest.mark.parametrize("kind", [RateLimitError, ServerError])
    def test_the_delay_is_retry_after_and_a_jitter(self, kind: type[StatusError]) -> None:
        pauses = [
            attempts(RetryPolicy()).next_delay(kind("", retry_after=2.0), idempotent=True, now=100) for _ in range(50)
        ]
        assert all(pause is not None and 2.0 <= pause <= 2.5 for pause in pauses)
        assert len(set(pauses)) > 40

    def test_a_retry_after_of_0_still_has_a_delay(self) -> None:
        pauses = [
            attempts(RetryPolicy()).next_delay(RateLimitError("", retry_after=0.0), idempotent=True, now=100)
            for _ in range(50)
        ]
        assert len(set(pauses)) > 40

    def test_a_429_costs_no_budget_and_a_503_does(self) -> None:
        policy = RetryPolicy(budget=1)
        budget = RetryBudget(policy)
        for _ in range(5):
            assert attempts(policy, budget).next_delay(RateLimitError("429"), idempotent=True, now=100) is not None
        assert attempts(policy, budget).next_delay(ServerError("503"), idempotent=True, now=100) is not None
        assert attempts(policy, budget).next_delay(ServerError("503"), idempotent=True, now=100) is None

    @given(
        st.integers(1, 10),
        st.none() | st.floats(0, 1e9),
        st.floats(0, 1e4),
        st.booleans(),
        st.sampled_from([429, 503, 404]),
    )
    @settings(deadline=None)
    def test_a_pause_is_never_negative_nor_beyond_the_total_time(
        self, tries: int, asked: float | None, elapsed: float, idempotent: bool, status: int
    ) -> None:
        kind = {429: RateLimitError, 503: ServerError, 404: NotFoundError}[status]
        row = attempts(RetryPolicy(timeout=60), tries=tries)
        pause = row.next_delay(kind("", status=status, retry_after=asked), idempotent=idempotent, now=100 + elapsed)
        assert pause is None or (asked or 0.0) <= pause <= 60 - elapsed + 1e-6


def failing(times: int, status: int, headers: Callable[[], dict[str, str]] = dict) -> Callable[[Asked], httpx.Response]:
    """Refuse the first calls, then answer."""
    return lambda asked: httpx.Response(status if asked.number <= times else 200, json={}, headers=headers())


def date_in(seconds: float) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    form = [email.utils.format_datetime(moment, usegmt=True) for moment in (now + dt.timedelta(seconds=seconds), now)]
    return {"Retry-After": form[0], "Date": form[1]}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("headers", [lambda: {"Retry-After": "2"}, lambda: date_in(2)], ids=["seconds", "date"])
async def test_the_next_try_is_not_before_the_server_wants_it(
    status: int, headers: Callable[[], dict[str, str]]
) -> None:
    platform = FakePlatform()
    platform.api = failing(1, status, headers)
    async with client_of(platform) as client:
        assert await client._session.call(LIST) == {}
    first, second = platform.calls
    assert 2.0 <= second.at - first.at < 3.0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "headers", [lambda: {"Retry-After": "3600"}, lambda: date_in(365 * 86_400)], ids=["hour", "year"]
)
async def test_a_wait_beyond_the_total_time_is_not_begun(status: int, headers: Callable[[], dict[str, str]]) -> None:
    platform = FakePlatform()
    platform.api = failing(99, status, headers)
    started = _clock.now()
    async with client_of(platform, retry=RetryPolicy(timeout=60)) as client:
        with pytest.raises(StatusError) as caught:
            await client._session.call(LIST)
    assert _clock.now() == started
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 3600
    assert len(platform.calls) == 1


@pytest.mark.parametrize(
    "value", ["-5", "inf", "nan", "1_000", "\u0663", "soon", "", "1.5", "Thu, 01 Jan 1970 00:00:00 GMT"]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_that_cannot_be_read_is_ignored(value: str, status: int) -> None:
    platform = FakePlatform()
    platform.api = lambda asked: httpx.Response(
        status if asked.number == 1 else 200, json={}, headers=[(b"retry-after", value.encode())]
    )
    async with client_of(platform) as client:
        assert await client._session.call(LIST) == {}
    first, second = platform.calls
    assert 0 < second.at - first.at <= 0.5 + 0.1


async def test_one_refusal_for_too_many_requests_pauses_everybody() -> None:
    platform = FakePlatform(latency=0.01)
    platform.api = failing(1, 429, lambda: {"Retry-After": "2"})
    async with client_of(platform, limits=Limits()) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client._session.call, LIST)
        await anyio.sleep(0.05)
        for _ in range(60):
            tasks.start_soon(client._session.call, LIST)
            await anyio.sleep(0.01)
    first, *after = [call.at for call in platform.calls]
    assert len(after) == 61
    assert min(after) >= first + 2.0
    assert max(after) < first + 4.0
    assert max(collections.Counter(int(at / 0.1) for at in after).values()) <= 0.2 * len(after)


async def test_a_pause_of_the_whole_client_is_bounded() -> None:
    platform = FakePlatform()
    platform.api = failing(1, 429, lambda: {"Retry-After": "3600"})
    async with client_of(platform, retry=RetryPolicy(max_retry_after=30)) as client:
        with pytest.raises(RateLimitError):
            await client._session.call(LIST)
        await client._session.call(LIST)
    first, second = platform.calls
    assert 30 <= second.at - first.at < 31


async def test_an_execution_that_was_refused_unprocessed_is_sent_again() -> None:
    platform = FakePlatform()
    platform.api = failing(2, 429)
    async with client_of(platform) as client:
        await client._session.call(EXECUTE)
    assert len(platform.calls) == 3


@pytest.mark.parametrize("status", [408, 409, 500, 502, 504, 524, 542])
async def test_an_execution_that_may_have_been_processed_is_not_sent_again(status: int) -> None:
    platform = FakePlatform()
    platform.api = failing(99, status)
    async with client_of(platform) as client:
        with pytest.raises(StatusError):
            await client._session.call(EXECUTE)
    assert len(platform.calls) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [LIST, EXECUTE], ids=str)
async def test_a_redirect_is_neither_followed_nor_retried(request_: ApiRequest, status: int) -> None:
    platform = FakePlatform()
    platform.api = lambda _: httpx.Response(status, headers={"Location": "https://evil.test/x"})
    async with client_of(platform) as client:
        with pytest.raises(UnexpectedResponseError, match=r"a redirect to evil\.test, which was not followed"):
            await client._session.call(request_)
    assert [call.url.partition("/v2/")[0] for call in platform.calls] == ["https://api.up42.com"]


class Outage:
    """Let callers ask again and again while the platform is down, and count."""

    def __init__(self, policy: RetryPolicy, *, callers: int, seconds: float) -> None:
        self.platform = FakePlatform(latency=0.02)
        self.policy = policy
        self.callers = callers
        self.seconds = seconds
        self.asked = 0
        self.retried = 0
        self.pauses: list[float] = []

    async def run(self) -> None:
        started = _clock.now()
        self.platform.api = lambda asked: httpx.Response(503 if asked.at - started < self.seconds else 200, json={})
        async with client_of(self.platform, retry=self.policy) as client:
            pause = client._session.pause

            async def note_pause(seconds: float) -> None:
                self.pauses.append(seconds)
                await pause(seconds)

            client._session.pause = note_pause  # type: ignore[method-assign]
            async with anyio.create_task_group() as tasks:
                for _ in range(self.callers):
                    tasks.start_soon(self._ask, client)
            self.retried = client.statistics().retried

    async def _ask(self, client: Client) -> None:
        while True:
            self.asked += 1
            try:
                await client._session.call(LIST)
            except (ServerError, ConnectionFailedError):
                await anyio.sleep(20)
            else:
                return


async def test_an_outage_does_not_multiply_the_load() -> None:
    outage = Outage(RetryPolicy(timeout=20), callers=300, seconds=60)
    await outage.run()
    assert outage.asked >= 300 * 2
    assert 0 < outage.retried <= 20 + 0.1 * outage.asked
    assert len(outage.platform.calls) <= 300 + 60


async def test_an_outage_that_is_shorter_than_the_timeout_fails_nobody() -> None:
    outage = Outage(RetryPolicy(), callers=300, seconds=60)
    await outage.run()
    assert outage.asked == 300
    assert len(outage.platform.calls) <= 300 + 40


async def test_callers_that_failed_together_do_not_retry_together() -> None:
    outage = Outage(RetryPolicy(), callers=300, seconds=8)
    await outage.run()
    slots = collections.Counter(int(pause / 0.1) for pause in outage.pauses)
    assert max(slots.values()) <= max(10, 0.2 * 300)


async def test_every_failure_leaves_the_client_as_an_error_of_ours_with_its_facts() -> None:
    platform = FakePlatform()
    platform.api = failing(99, 503)
    async with client_of(platform, retry=RetryPolicy(attempts=3)) as client:
        with pytest.raises(
            ServerError, match=r"^GET /v2/processing/jobs: status 503 \(3 tries in \d\.\d s\)$"
        ) as caught:
            await client._session.call(LIST)
    assert caught.value.tries == 3
    assert caught.value.elapsed == pytest.approx(platform.calls[-1].at - platform.calls[0].at)
