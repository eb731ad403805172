"""The token of a client, shared by all its tasks: one login at a time, a refresh before expiry, no second refusal."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import anyio
import attrs

from up42_async import _clock
from up42_async._config import Endpoints, RetryPolicy
from up42_async._errors import (
    APIError,
    AuthenticationError,
    InvalidCredentialsError,
    StatusError,
    UnexpectedResponseError,
)
from up42_async._http.exchange import Sender
from up42_async._http.requests import ApiRequest, Secret
from up42_async._http.responses import decode
from up42_async._http.retry import RetryState, delays
from up42_async._http.single_flight import SingleFlight
from up42_async._http.throttling import RetryBudget

# UP42's Keycloak gives tokens of 300 s to this public client id
CLIENT_ID: Final = "up42-sdk"
USUAL_LIFETIME: Final = 300.0
SHORTEST_LIFETIME: Final = 10.0
LONGEST_LIFETIME: Final = 86_400.0
REFRESH_MARGIN: Final = 30.0
"""Seconds before expiry in which a token is refreshed; half its lifetime when that is shorter."""
REFRESH_PAUSE: Final = 5.0
"""Seconds from a refresh that failed to the next one, while the token is still valid."""

_HEADERS: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
LOGIN: Final = ApiRequest(method="POST", path="/token", host="auth")
_REFUSALS: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED})

ErrorT = TypeVar("ErrorT", bound=StatusError)


@attrs.frozen(kw_only=True)
class Credentials:
    """A username and its password."""

    username: str
    password: Secret


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Token:
    """A bearer token and when it expires, by two clocks, since each of them may stop or jump."""

    value: Secret
    expires: float
    expires_wall: float
    margin: float
    """Seconds before it expires in which it is refreshed."""

    def left(self) -> float:
        """Return the seconds until it expires, by the clock on which more time has passed."""
        return min(self.expires - _clock.now(), self.expires_wall - _clock.wall())


class TokenProvider:
    """The token of one client."""

    def __init__(
        self,
        read_credentials: Callable[[], Credentials],
        endpoints: Endpoints,
        sender: Sender,
        policy: RetryPolicy,
        closing: anyio.Event,
    ) -> None:
        """Send nothing yet. After `closing` is set there is no login."""
        self.logins = 0
        self._read_credentials = read_credentials
        self._url = f"{endpoints.auth}/token"
        self._sender = sender
        self._policy = policy
        self._budget = RetryBudget(policy)
        self._closing = closing
        self.current: Token | None = None
        """The newest token, which may have expired; None before the first login, and when UP42 refused it."""
        self._refresh_again_at = -math.inf
        self._refused: InvalidCredentialsError | None = None
        self._flight = SingleFlight[Token]()
        self._login_delays = delays(policy, least=0.5)
        self._next_post = -math.inf

    async def token(self, since: float = math.inf) -> Secret:
        """Return a valid token; at most one login runs at a time.

        Shortly before a token expires, the first task that asks for it waits for a new one; all others get the old one.

        Args:
            since: Monotonic time in seconds at which the caller began; when a login failed after it, its error is
                raised without another login.

        Raises:
            InvalidCredentialsError: UP42 refused the credentials, now or before.
            APIError: The login failed.
            ConfigurationError: The credentials file cannot be used.
        """
        token = self.current
        if token is None or (left := token.left()) <= 0:
            return (await self._flight.run(self._login, since=since)).value
        if left >= token.margin or self._flight.busy:
            return token.value
        if _clock.now() < max(self._refresh_again_at, self._next_post):
            return token.value
        return (await self._refresh(token)).value

    async def _refresh(self, token: Token) -> Token:
        """Return a new token; if the login fails, the old one while it is valid."""
        try:
            return await self._flight.run(self._login)
        except InvalidCredentialsError:
            raise
        except APIError:
            if token.left() <= 0:
                raise
            self._refresh_again_at = _clock.now() + REFRESH_PAUSE
            return token

    def invalidate(self, value: Secret) -> None:
        """Drop a token that was not accepted, unless it has been replaced meanwhile."""
        if self.current is not None and self.current.value == value:
            self.current = None

    async def _login(self) -> Token:
        """Log in, with retries here, since otherwise each task that waits for the token would retry."""
        if self._refused is not None:
            raise copy.copy(self._refused)
        credentials = self._read_credentials()
        retries = RetryState(policy=self._policy, try_withdraw=self._budget.try_withdraw, started=_clock.now())
        while True:
            # after a failed login the next one goes on with its delays, so the password is posted once for each delay
            if (left := self._next_post - _clock.now()) > 0:
                with anyio.move_on_after(left):
                    await self._closing.wait()
            if retries.began is None:
                retries.began = _clock.now()
            retries.tries += 1
            try:
                self.current = await self._post(credentials, retries.tries)
            except APIError as error:
                delay = retries.next_delay(error, idempotent=True, now=_clock.now())
                self._next_post = _clock.now() + max(delay or 0.0, next(self._login_delays))
                if delay is None:
                    raise
            else:
                self._budget.deposit()
                self._login_delays = delays(self._policy, least=0.5)
                return self.current

    async def _post(self, credentials: Credentials, attempt: int) -> Token:
        if self._closing.is_set():
            message = "this client is closed, so it does not log in; make a new one"
            raise RuntimeError(message)
        now, wall = _clock.now(), _clock.wall()
        self.logins += 1
        request = self._sender.build("POST", self._url, _HEADERS, _form(credentials))
        reply = await self._sender.send(request, label=str(LOGIN), secret=credentials.password, attempt=attempt)
        try:
            found = _token_in(decode(reply, LOGIN, secret=credentials.password))
        except StatusError as error:
            raise self._refusal(error) from None
        if found is None:  # raised here, where no frame holds the answer
            raise UnexpectedResponseError("an answer without a token that can be used", request=str(LOGIN))
        value, lifetime = found
        margin = min(REFRESH_MARGIN, lifetime / 2)
        return Token(value=value, expires=now + lifetime, expires_wall=wall + lifetime, margin=margin)

    def _refusal(self, error: StatusError) -> StatusError:
        """Return the error for an error status of the login; only `invalid_grant` means that credentials are wrong."""
        words = error.detail or error.code or "no reason given"
        if error.code == "invalid_grant" and error.status in _REFUSALS:
            message = (
                f"status {error.status}: UP42 refused the username or password ({words}). They are not sent"
                " again, since more tries could lock the account; make a new Client with the right ones"
            )
            self._refused = _converted(InvalidCredentialsError, error, message)
            return copy.copy(self._refused)  # the error that is raised collects frames; the kept one must not
        if isinstance(error, AuthenticationError):
            message = f"status {error.status}: UP42 refused the login, but not for the username or password ({words})"
            return _converted(AuthenticationError, error, message)
        return error


def _converted(kind: type[ErrorT], error: StatusError, message: str) -> ErrorT:
    return kind(message, **{name: value for name, value in vars(error).items() if not name.startswith("_")})


def _form(credentials: Credentials) -> Secret:
    form = {
        "grant_type": "password",
        "username": credentials.username,
        "password": credentials.password.reveal(),
        "client_id": CLIENT_ID,
        "scope": "openid",
    }
    return Secret(urlencode(form))


def _token_in(answer: Any) -> tuple[Secret, float] | None:
    """Return the token of an answer and its lifetime, within bounds: a lifetime of 0 would cause login after login."""
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        return None
    try:
        lifetime = float(answer["expires_in"])
    except (KeyError, TypeError, ValueError, OverflowError):
        lifetime = USUAL_LIFETIME
    if not math.isfinite(lifetime) or lifetime <= 0:
        lifetime = USUAL_LIFETIME
    return Secret(value), min(max(lifetime, SHORTEST_LIFETIME), LONGEST_LIFETIME)
