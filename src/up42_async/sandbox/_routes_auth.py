"""The authentication server: tokens for a password, and who the user is."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from up42_async.sandbox import _answers
from up42_async.sandbox._account import REFRESH_LIFETIME
from up42_async.sandbox._traffic import Traffic
from up42_async.sandbox._world import World

REALM_PATH = "/realms/public/protocol/openid-connect"
_CLIENT_ID = "up42-sdk"


def auth_routes(world: World, traffic: Traffic) -> Sequence[Route]:
    """Return the routes of the realm."""
    endpoints = _Realm(world, traffic)
    return [
        Route(f"{REALM_PATH}/token", endpoints.token, methods=["POST"]),
        Route(f"{REALM_PATH}/userinfo", endpoints.userinfo, methods=["GET"]),
    ]


class _Realm:
    """Answers as Keycloak does.

    Args:
        world: The state of the sandbox.
        traffic: Counts the logins.
    """

    def __init__(self, world: World, traffic: Traffic) -> None:
        self._world = world
        self._traffic = traffic

    async def token(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return _refusal(415, "invalid_request", "HTTP 415 Unsupported Media Type")
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        if form.get("client_id") != _CLIENT_ID:
            return _refusal(401, "invalid_client", "Invalid client or Invalid client credentials")
        if form.get("grant_type") != "password":
            return _refusal(400, "unsupported_grant_type", "Unsupported grant_type")
        self._traffic.login()
        if {"username": form.get("username"), "password": form.get("password")} != self._world.account.credentials:
            return _refusal(401, "invalid_grant", "Invalid user credentials")
        return self._granted(form.get("scope", ""))

    def _granted(self, scope: str) -> Response:
        with self._world.lock:
            token = self._world.tokens.issue()
        lifetime = self._world.tokens.lifetime
        body = {
            "access_token": token,
            "expires_in": int(lifetime) if lifetime == int(lifetime) else lifetime,
            "refresh_expires_in": REFRESH_LIFETIME,
            "refresh_token": f"refresh-{token}",
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": scope,
        }
        return _answers.answer(body, headers={"cache-control": "no-store"})

    async def userinfo(self, request: Request) -> Response:
        with self._world.lock:
            good = self._world.tokens.is_good(request.headers.get("authorization", ""))
        if not good:
            refusal = _refusal(401, "invalid_token", "Token verification failed")
            refusal.headers["www-authenticate"] = 'Bearer realm="public", error="invalid_token"'
            return refusal
        account = self._world.account
        body = {"sub": account.workspace_id, "email": account.username, "email_verified": True, "name": "Sandbox User"}
        return _answers.answer(body)


def _refusal(status: int, error: str, description: str) -> Response:
    return _answers.answer({"error": error, "error_description": description}, status)
