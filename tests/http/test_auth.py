"""One token for all tasks of a client: one login, a refresh before expiry, a new login after a refusal."""

import itertools
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from tests.fake_platform import PASSWORD, USERNAME, Asked, FakePlatform, accepting_only, client_of, grant
from tests.wire import on_transport
from up42_async import Client, _clock
from up42_async._client.credentials import CredentialsFile
from up42_async._config import Endpoints, Limits, RetryPolicy
from up42_async._errors import (
    APIError,
    AuthenticationError,
    ConnectionLostError,
    InvalidCredentialsError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._http.auth import REFRESH_PAUSE, Credentials, TokenProvider
from up42_async._http.requests import ApiRequest, Secret

pytestmark = pytest.mark.virtual_time

LIST = ApiRequest(method="GET", path="/v2/processing/jobs")
EXECUTE = ApiRequest(method="POST", path="/v2/processing/processes/x/execution", idempotent=False)


def invalid_grant(_: Asked) -> httpx.Response:
    return httpx.Response(401, json={"error": "invalid_grant"})


def auth_of(
    platform: FakePlatform,
    policy: RetryPolicy | None = None,
    *,
    credentials: CredentialsFile | None = None,
    closing: anyio.Event | None = None,
) -> TokenProvider:
    known = Credentials(username=USERNAME, password=Secret(PASSWORD))
    return TokenProvider(
        credentials.read if credentials is not None else lambda: known,
        Endpoints.of_region("eu"),
        on_transport(platform).sender,
        policy or RetryPolicy(),
        closing or anyio.Event(),
    )


async def together(run: Callable[[], Awaitable[Any]], count: int) -> list[Any]:
    """Run tasks together; return what each got, errors included."""
    outcomes: list[Any] = []

    async def one() -> None:
        try:
            outcomes.append(await run())
        except Exception as error:  # noqa: BLE001 - what tasks get is what is looked at
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return outcomes


class WallClock:
    """A time of day that can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr(_clock, "wall", lambda: 1_800_000_000 + _clock.now() + self.ahead)


class TestLogin:
    async def test_a_token_is_requested_as_the_platform_expects(self) -> None:
        platform = FakePlatform()
        assert await auth_of(platform).token() == Secret("token-1")
        (login,) = platform.logins
        assert (login.method, login.url) == ("POST", Endpoints.of_region("eu").auth + "/token")
        assert dict(httpx.QueryParams(login.body.decode())) == {
            "grant_type": "password",
            "username": USERNAME,
            "password": PASSWORD,
            "client_id": "up42-sdk",
            "scope": "openid",
        }

    async def test_no_login_is_sent_before_a_token_is_needed(self) -> None:
        platform = FakePlatform()
        async with client_of(platform):
            await anyio.sleep(1)
        assert platform.logins == []

    async def test_one_login_serves_all_waiting_calls(self) -> None:
        platform = FakePlatform(latency=0.5)
        auth = auth_of(platform)
        assert await together(auth.token, 200) == [Secret("token-1")] * 200
        assert len(platform.logins) == auth.logins == 1

    async def test_one_login_serves_all_calls_whose_token_has_expired(self) -> None:
        platform = FakePlatform(latency=0.5)
        auth = auth_of(platform)
        await auth.token()
        await anyio.sleep(301)
        assert await together(auth.token, 200) == [Secret("token-2")] * 200

    async def test_when_the_task_that_logs_in_is_cancelled_the_next_one_logs_in(self) -> None:
        platform = FakePlatform(latency=1)
        auth = auth_of(platform)
        tokens: list[Any] = []
        leader = anyio.CancelScope()

        async def lead() -> None:
            with leader:
                await auth.token()

        async def others() -> None:
            tokens.extend(await together(auth.token, 199))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead)
            await anyio.sleep(0.5)
            tasks.start_soon(others)
            await anyio.sleep(0.1)
            leader.cancel()
        assert tokens == [Secret("token-2")] * 199
        assert len(platform.logins) == 2

    async def test_a_login_needs_no_slot(self) -> None:
        platform = FakePlatform(latency=0.1)
        async with client_of(platform, limits=Limits(max_concurrency=1)) as client:
            with anyio.fail_after(60):
                outcomes = await together(lambda: client._session.call(LIST), 20)
        assert outcomes == [{}] * 20
        assert len(platform.logins) == 1


class TestOutageOfTheLogin:
    async def test_a_failing_login_is_posted_once_a_delay_for_all_who_wait(self) -> None:
        platform = FakePlatform(latency=0.01)
        platform.login = lambda _: httpx.Response(503)
        auth = auth_of(platform, RetryPolicy(attempts=5))
        errors = await together(auth.token, 200)
        assert len(platform.logins) == 5
        assert {type(error) for error in errors} == {ServerError}
        assert len({id(error) for error in errors}) == 200
        assert {error.tries for error in errors} == {5}
        assert {str(error)[:33] for error in errors} == {"POST /token: status 503 (5 tries "}

    async def test_a_call_does_not_retry_after_the_login_has_used_its_retries(self) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(503)
        async with client_of(platform, retry=RetryPolicy(attempts=3)) as client:
            with pytest.raises(ServerError):
                await client._session.call(LIST)
        assert len(platform.logins) == 3
        assert platform.calls == []

    async def test_a_login_with_a_transient_error_is_retried(self) -> None:
        platform = FakePlatform()
        platform.login = lambda asked: httpx.Response(503) if asked.number < 3 else grant(asked)
        assert await auth_of(platform).token() == Secret("token-3")

    async def test_the_login_waits_as_long_as_the_server_asks(self) -> None:
        platform = FakePlatform()
        platform.login = lambda asked: (
            httpx.Response(429, headers={"Retry-After": "7"}) if asked.number == 1 else grant(asked)
        )
        await auth_of(platform).token()
        assert 7.0 <= platform.logins[1].at - platform.logins[0].at < 8.0

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (httpx.Response(429, json={"error": "slow_down"}), RateLimitError),
            (httpx.Response(500), ServerError),
            (httpx.Response(503, json={"error": "invalid_grant"}), ServerError),
            (httpx.Response(400, json={"error": "invalid_request"}), StatusError),
            (httpx.Response(400), StatusError),
            (httpx.Response(403, json={"error": "invalid_grant"}), StatusError),
            (httpx.Response(404), StatusError),
            (httpx.ReadTimeout("slow"), RequestTimeoutError),
            (httpx.ReadError("reset"), ConnectionLostError),
            (httpx.Response(302, headers={"Location": "https://evil.test/"}), UnexpectedResponseError),
            (httpx.Response(200, text="<html>"), UnexpectedResponseError),
            (httpx.Response(200), UnexpectedResponseError),
        ],
        ids=lambda value: getattr(value, "__name__", repr(value)),
    )
    async def test_only_invalid_grant_means_wrong_credentials(
        self, answer: httpx.Response | Exception, kind: type[APIError]
    ) -> None:
        def login(_: Asked) -> httpx.Response:
            if isinstance(answer, Exception):
                raise answer
            return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

        platform = FakePlatform()
        platform.login = login
        auth = auth_of(platform)
        with pytest.raises(kind) as caught:
            await auth.token()
        assert not isinstance(caught.value, AuthenticationError)
        platform.login = grant
        assert (await auth.token()).reveal().startswith("token-")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_of_the_login_is_not_followed(self, status: int) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(status, headers={"Location": "http://auth.up42.com/token"})
        with pytest.raises(UnexpectedResponseError, match=r"a redirect to auth\.up42\.com, which was not followed"):
            await auth_of(platform).token()
        assert len(platform.logins) == 1

    @pytest.mark.parametrize("status", [503, 429, 401])
    async def test_a_failed_login_counts_for_all_calls_that_had_begun(self, status: int) -> None:
        """The 200 have 20 slots: those who had to wait for one hear of it with the first."""
        platform = FakePlatform(latency=0.05)
        platform.login = lambda _: httpx.Response(status)
        ends: list[float] = []
        async with client_of(platform) as client:

            async def note_end() -> None:
                with pytest.raises(APIError) as caught:
                    await client._session.call(LIST)
                ends.append(_clock.now())
                errors.add(id(caught.value))
                kept.append(caught.value)

            errors, kept = set[int](), list[APIError]()
            async with anyio.create_task_group() as tasks:
                for _ in range(200):
                    tasks.start_soon(note_end)
        assert len(platform.logins) == 5
        assert max(ends) - min(ends) < 0.5
        assert len(errors) == len(kept) == 200

    async def test_a_call_that_begins_after_a_failed_login_logs_in_anew(self) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(503)
        auth = auth_of(platform, RetryPolicy(attempts=1))
        with pytest.raises(ServerError):
            await auth.token(_clock.now())
        await anyio.sleep(1)
        platform.login = grant
        assert await auth.token(_clock.now()) == Secret("token-2")

    async def test_at_most_one_login_is_sent_in_each_step_of_an_outage(self) -> None:
        platform = FakePlatform()
        platform.login = lambda asked: httpx.Response(503) if asked.at < 600 else grant(asked)
        auth = auth_of(platform, RetryPolicy(attempts=3))
        started = _clock.now()
        platform.login = lambda asked: httpx.Response(503) if asked.at - started < 600 else grant(asked)

        async def ask_until_it_works() -> None:
            while True:
                try:
                    await auth.token(_clock.now())
                except ServerError:
                    continue
                return

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(ask_until_it_works)
        gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(platform.logins)]
        for number, gap in enumerate(gaps[:-1]):
            assert gap >= min(0.25 * 2**number, 15)
        assert 20 < len(platform.logins) < 60

    async def test_calls_with_a_valid_token_do_not_wait_for_the_next_login(self) -> None:
        platform = FakePlatform()
        auth = auth_of(platform, RetryPolicy(attempts=1, wait_initial=20, wait_max=20))
        await auth.token()
        platform.login = lambda _: httpx.Response(503)
        await anyio.sleep(271)
        started = _clock.now()
        for _ in range(20):
            assert await auth.token() == Secret("token-1")
            await anyio.sleep(1)
        assert _clock.now() - started == pytest.approx(20)


class TestWrongCredentials:
    @pytest.mark.parametrize("status", [400, 401])
    async def test_a_wrong_password_is_posted_once_and_never_again(self, status: int) -> None:
        platform = FakePlatform(latency=0.1)
        platform.login = lambda _: httpx.Response(
            status, json={"error": "invalid_grant", "error_description": "Account disabled"}
        )
        async with client_of(platform) as client:
            errors = await together(lambda: client._session.call(LIST), 200)
            for _ in range(100):
                errors += await together(lambda: client._session.call(LIST), 1)
        assert len(platform.logins) == 1
        assert {type(error) for error in errors} == {InvalidCredentialsError}
        assert len({id(error) for error in errors}) == 300
        message = (
            f"POST /token: status {status}: UP42 refused the username or password (Account disabled). They are not sent"
            " again, since more tries could lock the account; make a new Client with the right ones"
        )
        assert {str(error) for error in errors} == {message}
        assert {(error.status, error.code, error.detail) for error in errors} == {
            (status, "invalid_grant", "Account disabled")
        }

    async def test_an_error_status_without_a_body_is_an_error_of_its_class(self) -> None:
        platform = FakePlatform()
        platform.login = invalid_grant
        with pytest.raises(InvalidCredentialsError, match=r"refused the username or password \(invalid_grant\)"):
            await auth_of(platform).token()

    @pytest.mark.parametrize("answer", [{"error": "invalid_client"}, {"error": "unauthorized_client"}, {}], ids=repr)
    async def test_a_refused_client_id_is_not_blamed_on_the_credentials(self, answer: object) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(401, json=answer)
        auth = auth_of(platform)
        with pytest.raises(
            AuthenticationError, match="refused the login, but not for the username or password"
        ) as caught:
            await auth.token()
        assert not isinstance(caught.value, InvalidCredentialsError)
        assert (caught.value.status, caught.value.payload, caught.value.request) == (401, answer, "POST /token")
        platform.login = grant
        assert await auth.token() == Secret("token-2")

    @pytest.mark.parametrize(
        "answer",
        [{}, {"text": "no"}, {"html": "<html>Access denied by gateway</html>"}, {"json": "invalid_grant"}],
        ids=repr,
    )
    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_a_gateway_error_at_login_is_an_outage(self, status: int, answer: dict[str, Any]) -> None:
        platform = FakePlatform()
        platform.login = lambda asked: httpx.Response(status, **answer) if asked.number < 4 else grant(asked)
        assert await auth_of(platform).token() == Secret("token-4")

    async def test_a_refused_login_whose_answer_repeats_the_password_stays_refused(self) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(400, json={"error": "invalid_grant", "error_description": PASSWORD})
        auth = auth_of(platform)
        for _ in range(2):
            with pytest.raises(InvalidCredentialsError) as caught:
                await auth.token()
            assert PASSWORD not in str(caught.value) + repr(vars(caught.value))
        assert len(platform.logins) == 1

    async def test_the_kept_refusal_holds_no_frames_of_its_callers(self) -> None:
        platform = FakePlatform()
        platform.login = invalid_grant
        auth = auth_of(platform)
        for _ in range(3):
            with pytest.raises(InvalidCredentialsError):
                await auth.token()
        assert auth._refused is not None
        assert auth._refused.__traceback__ is None

    async def test_a_changed_password_is_an_error_at_the_next_refresh(self) -> None:
        platform = FakePlatform()
        auth = auth_of(platform)
        await auth.token()
        platform.login = invalid_grant
        await anyio.sleep(280)
        with pytest.raises(InvalidCredentialsError):
            await auth.token()


class TestRefusedToken:
    async def test_a_refused_token_costs_one_login_and_one_more_request(self) -> None:
        platform = FakePlatform()
        platform.api = accepting_only(lambda token: token != "token-1")
        async with client_of(platform) as client:
            assert await client._session.call(LIST) == {}
            assert await client._session.call(LIST) == {}
        assert [call.token for call in platform.calls] == ["token-1", "token-2", "token-2"]
        assert len(platform.logins) == 2

    async def test_an_execution_is_sent_once_more_after_a_401_too(self) -> None:
        platform = FakePlatform()
        platform.api = accepting_only(lambda token: token != "token-1")
        async with client_of(platform) as client:
            assert await client._session.call(EXECUTE) == {}
        assert [call.token for call in platform.calls] == ["token-1", "token-2"]

    @pytest.mark.parametrize("request_", [LIST, EXECUTE], ids=str)
    async def test_the_second_401_is_raised(self, request_: ApiRequest) -> None:
        platform = FakePlatform()
        platform.api = accepting_only(lambda _: False)
        async with client_of(platform) as client:
            with pytest.raises(
                AuthenticationError, match="status 401: the token was not accepted, not even a new one"
            ) as caught:
                await client._session.call(request_)
        assert not isinstance(caught.value, InvalidCredentialsError)
        assert (len(platform.calls), len(platform.logins)) == (2, 2)

    async def test_calls_refused_at_the_same_time_share_one_login(self) -> None:
        platform = FakePlatform(latency=0.2)
        async with client_of(
            platform, limits=Limits(max_concurrency=200, requests_per_second=1e6, burst=10**6)
        ) as client:
            await client._session.call(LIST)
            platform.api = accepting_only(lambda token: token != "token-1")
            outcomes = await together(lambda: client._session.call(LIST), 200)
        assert outcomes == [{}] * 200
        assert len(platform.logins) == 2
        assert len(platform.calls) == 401

    async def test_a_late_refusal_does_not_throw_away_a_newer_token(self) -> None:
        platform = FakePlatform()
        auth = auth_of(platform)
        await auth.token()
        auth.invalidate(Secret("token-1"))
        await auth.token()
        auth.invalidate(Secret("token-1"))
        assert await auth.token() == Secret("token-2")

    async def test_a_refusal_before_the_first_login_changes_nothing(self) -> None:
        auth = auth_of(FakePlatform())
        auth.invalidate(Secret("token-0"))
        assert await auth.token() == Secret("token-1")


class TestRefresh:
    async def test_a_token_is_kept_until_shortly_before_it_expires(self) -> None:
        platform = FakePlatform()
        auth = auth_of(platform)
        await auth.token()
        await anyio.sleep(269)
        assert await auth.token() == Secret("token-1")
        await anyio.sleep(2)
        assert await auth.token() == Secret("token-2")

    async def test_only_the_first_task_waits_for_a_refresh(self) -> None:
        platform = FakePlatform(latency=1)
        auth = auth_of(platform)
        await auth.token()
        await anyio.sleep(275)
        started = _clock.now()
        waited: list[tuple[Secret, float]] = []

        async def note() -> None:
            waited.append((await auth.token(), _clock.now() - started))

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(note)
        assert waited == [(Secret("token-1"), 0.0)] * 199 + [(Secret("token-2"), 1.0)]
        assert len(platform.logins) == 2

    async def test_the_token_lifetime_counts_from_before_the_login_was_sent(self) -> None:
        platform = FakePlatform(latency=20)
        auth = auth_of(platform)
        await auth.token()
        await anyio.sleep(255)
        await auth.token()
        assert len(platform.logins) == 2

    @pytest.mark.parametrize(
        "answer", [httpx.Response(503), httpx.Response(404), httpx.Response(200, text="<html>")], ids=repr
    )
    async def test_the_token_stays_in_use_while_it_is_valid_when_a_refresh_fails(self, answer: httpx.Response) -> None:
        platform = FakePlatform()
        auth = auth_of(platform, RetryPolicy(attempts=1))
        await auth.token()
        platform.login = lambda _: httpx.Response(answer.status_code, content=answer.content)
        await anyio.sleep(275)
        assert await auth.token() == Secret("token-1")
        await anyio.sleep(26)
        with pytest.raises(APIError):
            await auth.token()
        platform.login = grant
        assert (await auth.token()).reveal().startswith("token-")

    async def test_a_token_that_expires_during_a_renewal_that_fails_is_not_used(self) -> None:
        platform = FakePlatform()
        auth = auth_of(platform, RetryPolicy(attempts=1))
        await auth.token()
        platform.login = lambda _: httpx.Response(503)
        platform.latency = 10
        await anyio.sleep(295)
        with pytest.raises(ServerError):
            await auth.token()

    async def test_a_refresh_that_failed_is_not_repeated_with_each_call(self) -> None:
        platform = FakePlatform()
        auth = auth_of(platform, RetryPolicy(attempts=1))
        await auth.token()
        platform.login = lambda _: httpx.Response(503)
        await anyio.sleep(271)
        for _ in range(1000):
            assert await auth.token() == Secret("token-1")
            await anyio.sleep(0.02)
        assert 2 <= len(platform.logins) <= 2 + 20 / REFRESH_PAUSE

    @pytest.mark.parametrize(
        "lifetime", [None, 0, -1, 1, 10, "300", "soon", [], True, 1e12, 10**400, float("1e400"), "nan"], ids=repr
    )
    async def test_no_token_lifetime_causes_a_login_for_each_call(self, lifetime: object) -> None:
        facts = "" if lifetime is None else f', "expires_in": {_json(lifetime)}'
        platform = FakePlatform()
        platform.login = lambda asked: httpx.Response(200, text=f'{{"access_token": "token-{asked.number}"{facts}}}')
        auth = auth_of(platform)
        for _ in range(100):
            await auth.token()
            await anyio.sleep(0.3)
        times = [login.at for login in platform.logins]
        assert all(later - earlier >= 4.9 for earlier, later in itertools.pairwise(times))

    @pytest.mark.parametrize(("lifetime", "expected"), [(1e12, 86_400), ("300", 300), (None, 300), (0, 300), (20, 20)])
    async def test_a_token_is_used_for_its_lifetime_and_a_day_at_the_most(
        self, lifetime: object, expected: float
    ) -> None:
        platform = FakePlatform()
        platform.login = lambda asked: grant(asked, expires_in=lifetime)
        auth = auth_of(platform)
        await auth.token()
        await anyio.sleep(expected - min(30, expected / 2) - 1)
        assert await auth.token() == Secret("token-1")
        await anyio.sleep(2)
        assert await auth.token() == Secret("token-2")

    @pytest.mark.parametrize(
        "token",
        ["", "SECRET\n", "SECRET\r\nX-Evil: 1", "SECRET x", "SECR\u00c9T", "SECRET\x00", "\ud800", None, 5, ["SECRET"]],
        ids=repr,
    )
    async def test_a_token_that_cannot_be_sent_is_refused_without_quoting_it(self, token: object) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(200, content=json.dumps({"access_token": token}))
        with pytest.raises(
            UnexpectedResponseError, match="POST /token: an answer without a token that can be used"
        ) as caught:
            await auth_of(platform).token()
        assert "SECRET" not in str(caught.value) + repr(vars(caught.value))


class TestClocks:
    @pytest.mark.parametrize("jump", [3600.0, -3600.0])
    async def test_a_wall_clock_that_jumps_costs_one_login_at_the_most(
        self, jump: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wall, platform = WallClock(monkeypatch), FakePlatform(latency=0.01)
        issued: dict[str, float] = {}

        def login(asked: Asked) -> httpx.Response:
            issued[f"token-{asked.number}"] = asked.at
            return grant(asked)

        platform.login = login
        platform.api = accepting_only(lambda token: _clock.now() - issued[token] < 300)
        async with client_of(platform) as client:
            for second in range(200):
                if second == 100:
                    wall.ahead = jump
                assert await client._session.call(LIST) == {}
                await anyio.sleep(1)
        assert len(platform.logins) <= 2
        assert len(platform.calls) == 200

    async def test_a_wall_clock_that_is_set_back_does_not_make_a_token_live_longer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wall, platform = WallClock(monkeypatch), FakePlatform()
        auth = auth_of(platform)
        await auth.token()
        wall.ahead = -3600.0
        await anyio.sleep(301)
        assert await auth.token() == Secret("token-2")

    async def test_a_machine_that_slept_logs_in_before_it_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wall, platform = WallClock(monkeypatch), FakePlatform(latency=0.01)
        async with client_of(platform) as client:
            await client._session.call(LIST)
            wall.ahead = 8 * 3600.0  # the monotonic clock stands still while a machine is suspended
            platform.api = accepting_only(lambda token: token != "token-1")
            assert await together(lambda: client._session.call(LIST), 50) == [{}] * 50
            assert client.statistics().retried == 0
        assert len(platform.logins) == 2

    @pytest.mark.parametrize("jump", [3600.0, -3600.0, 8 * 3600.0])
    async def test_a_jump_of_the_wall_clock_does_not_change_the_retries(
        self, jump: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wall, platform = WallClock(monkeypatch), FakePlatform(latency=0.01)

        def api(asked: Asked) -> httpx.Response:
            wall.ahead += jump
            return httpx.Response(503 if asked.number <= 4 else 200, json={})

        platform.api = api
        async with client_of(platform) as client:
            with anyio.fail_after(20):
                assert await client._session.call(LIST) == {}
        assert len(platform.calls) == 5


class TestCredentialsFile:
    async def test_the_credentials_file_is_read_once_when_the_client_is_entered(self, tmp_path: Any) -> None:
        path = tmp_path / "credentials.json"
        path.write_text(f'{{"username": "{USERNAME}", "password": "{PASSWORD}"}}')
        path.chmod(0o600)
        platform = FakePlatform()
        async with Client(cfg_file=path, http_client=httpx.AsyncClient(transport=platform)) as client:
            path.unlink()
            await client._session.call(LIST)
            platform.api = accepting_only(lambda token: token != "token-1")
            await client._session.call(LIST)
        assert PASSWORD in dict(httpx.QueryParams(platform.logins[1].body.decode())).values()

    async def test_a_client_that_is_not_entered_reads_the_credentials_file_at_its_first_call(
        self, tmp_path: Any
    ) -> None:
        path = tmp_path / "credentials.json"
        path.write_text(f'{{"username": "{USERNAME}", "password": "{PASSWORD}"}}')
        path.chmod(0o600)
        assert await auth_of(FakePlatform(), credentials=CredentialsFile(path=path)).token() == Secret("token-1")


class TestClosing:
    async def test_a_login_that_waits_to_retry_ends_when_the_client_is_closed(self) -> None:
        platform = FakePlatform()
        platform.login = lambda _: httpx.Response(429, headers={"Retry-After": "50"})
        closing = anyio.Event()
        auth = auth_of(platform, closing=closing)
        started = _clock.now()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_expect_closed, auth)
            await anyio.sleep(1)
            closing.set()
        assert _clock.now() - started == pytest.approx(1)
        assert len(platform.logins) == 1

    async def test_no_login_is_sent_after_the_client_was_closed(self) -> None:
        platform, closing = FakePlatform(), anyio.Event()
        closing.set()
        await _expect_closed(auth_of(platform, closing=closing))
        assert platform.logins == []


async def _expect_closed(auth: TokenProvider) -> None:
    with pytest.raises(RuntimeError, match="this client is closed, so it does not log in; make a new one"):
        await auth.token()


def _json(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "1e400"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
