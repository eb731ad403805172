"""Tokens and who the user is, as Keycloak answers."""

import httpx
import pytest

from tests.sandbox.asking import JOBS, Clock, form, logged_in
from up42_async.sandbox import Sandbox


async def test_a_token_is_given_for_the_password() -> None:
    async with Sandbox() as sandbox, logged_in(sandbox) as client:
        answer = await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox))
    token = answer.json()
    assert answer.status_code == 200
    assert (token["expires_in"], token["refresh_expires_in"], token["token_type"]) == (300, 1800, "Bearer")
    assert token["scope"] == "openid"
    assert token["access_token"] not in {"", token["refresh_token"]}


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"password": "wrong"}, 401, "invalid_grant"),
        ({"username": "somebody@example.com"}, 401, "invalid_grant"),
        ({"grant_type": "refresh_token"}, 400, "unsupported_grant_type"),
        ({"client_id": "another"}, 401, "invalid_client"),
    ],
)
async def test_anything_but_the_right_form_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, changes: dict[str, str], status: int, error: str
) -> None:
    answer = await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox, **changes))
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


async def test_credentials_in_json_are_refused(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{sandbox.endpoints.auth}/token", json=form(sandbox))
    assert answer.status_code == 415


async def test_posted_passwords_are_counted_right_or_wrong(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox))
    await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox, password="wrong"))
    await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox, grant_type="refresh_token"))
    assert sandbox.logins == 2


async def test_userinfo_names_the_own_workspace(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{sandbox.endpoints.auth}/userinfo")
    assert answer.json()["sub"] == sandbox.workspace_id


async def test_userinfo_wants_a_token(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{sandbox.endpoints.auth}/userinfo", headers={"authorization": "Bearer stale"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert "invalid_token" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer made-up", "Basic {token}", "{token}"])
async def test_the_api_wants_a_token_that_was_given_out(
    sandbox: Sandbox, client: httpx.AsyncClient, authorization: str | None
) -> None:
    token = client.headers.pop("authorization").removeprefix("Bearer ")
    headers = {} if authorization is None else {"authorization": authorization.format(token=token)}
    answer = await client.get(JOBS, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert answer.json()["data"] is None
    assert sandbox.requests[-1].has_authorization is (authorization is not None)


async def test_a_token_expires_after_its_lifetime_in_real_seconds(clock: Clock) -> None:
    async with Sandbox(clock=clock, speed=60, token_lifetime=10) as sandbox, logged_in(sandbox) as client:
        clock.seconds = 9.9
        assert (await client.get(JOBS)).status_code == 200
        clock.seconds = 10.0
        assert (await client.get(JOBS)).status_code == 401


async def test_a_fractional_lifetime_is_said_as_it_is() -> None:
    async with Sandbox(token_lifetime=0.5) as sandbox, logged_in(sandbox) as client:
        answer = await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox))
        assert answer.json()["expires_in"] == 0.5


async def test_all_tokens_can_be_ended_at_once(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.expire_tokens()
    assert (await client.get(JOBS)).status_code == 401


async def test_tokens_that_have_expired_are_not_kept(sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
    for _ in range(3):
        clock.seconds += 1_000_001
        await client.post(f"{sandbox.endpoints.auth}/token", data=form(sandbox))
    assert len(sandbox._world.tokens._expiry) == 1
