"""No password, token or signature is shown in errors, copies, pickles, logs, reprs or tracebacks."""

import base64
import copy
import json
import logging
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import pytest

from tests import raw_server
from tests.fake_platform import Asked, FakePlatform
from up42_async import Client
from up42_async._client.pagination import follow
from up42_async._config import Endpoints, RetryPolicy, Timeouts
from up42_async._errors import (
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidCredentialsError,
    RequestTimeoutError,
    ServerError,
    StatusError,
    TransportError,
    UnexpectedResponseError,
    UntrustedURLError,
    Up42Error,
)
from up42_async._http.auth import Credentials, Token
from up42_async._http.exchange import SendState
from up42_async._http.requests import ApiRequest, RequestBuilder, Secret
from up42_async._http.responses import ApiResponse, decode

PASSWORD = 'CANARY-pass word/+&=%"\\\u00e9'
TOKEN = "CANARY." + base64.urlsafe_b64encode(b"token").decode()
SIGNED = "https://storage.test/file.tif?X-Goog-Signature=CANARY-signature"
CALLS = [
    ApiRequest(method="GET", path="/v2/processing/jobs", query="signature=CANARY-signature"),
    ApiRequest(method="POST", path="/v2/processing/processes/x/execution", json={"item": SIGNED}, idempotent=False),
]


def everything_seen_of(error: BaseException) -> Iterator[str]:
    """Yield all texts that users, loggers and crash reporters see of an error and of its causes."""
    yield "".join(traceback.format_exception(error))
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), repr(seen.args))
        if isinstance(seen, Up42Error):
            again = pickle.loads(pickle.dumps(seen))  # noqa: S301 - our own errors
            assert str(again) == str(seen)
            yield from (repr(vars(seen)), repr(vars(copy.copy(seen))), str(pickle.dumps(seen)), repr(vars(again)))
        seen = seen.__cause__ or seen.__context__


def no_canary_in(texts: Iterator[str]) -> bool:
    """Return whether none of the texts contains the marker CANARY, plain or in base64."""
    return not any("CANARY" in text or base64.b64encode(b"CANARY").decode() in text for text in texts)


def login(asked: Asked) -> httpx.Response:
    return httpx.Response(
        200, json={"access_token": TOKEN, "refresh_token": "CANARY-refresh", "expires_in": 300, "n": asked.number}
    )


def answer(status: int, body: str = "", **headers: str) -> Callable[[Asked], httpx.Response]:
    return lambda _: httpx.Response(
        status, content=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def failing(error: Exception) -> Callable[[Asked], httpx.Response]:
    def fail(_: Asked) -> httpx.Response:
        raise error

    return fail


def echo(status: int) -> Callable[[Asked], httpx.Response]:
    """Answer with the received request in the body, as some proxies do."""

    def repeat(asked: Asked) -> httpx.Response:
        form = dict(httpx.QueryParams(asked.body.decode())) if asked.token is None else {}
        words = {"error": "rejected", "message": f"you sent {asked.body!r}", "form": form, "token": asked.token}
        return httpx.Response(status, content=json.dumps(words))

    return repeat


AT_LOGIN: dict[str, tuple[Callable[[Asked], httpx.Response], type[APIError]]] = {
    "refused": (answer(401, '{"error": "invalid_grant"}'), InvalidCredentialsError),
    "refused with an echo": (echo(401), AuthenticationError),
    "bad request with an echo": (echo(400), StatusError),
    "broken with an echo": (echo(500), ServerError),
    "an echo in plain text": (answer(502, PASSWORD), ServerError),
    "an echo as a page": (answer(200, f"<html>{PASSWORD}</html>"), UnexpectedResponseError),
    "a redirect": (answer(302, location=f"https://CANARY:CANARY@evil.test/?p={TOKEN}"), UnexpectedResponseError),
    "half a token": (answer(200, f'{{"access_token": "{TOKEN}'), UnexpectedResponseError),
    "a token with a new line": (answer(200, json.dumps({"access_token": f"{TOKEN}\n"})), UnexpectedResponseError),
    "a token in another alphabet": (
        answer(200, json.dumps({"access_token": f"{TOKEN}\u00e9"})),
        UnexpectedResponseError,
    ),
    "a token in a list": (answer(200, json.dumps([TOKEN])), UnexpectedResponseError),
    "a broken connection": (failing(httpx.ReadError("reset")), ConnectionLostError),
    "no answer": (failing(httpx.ReadTimeout("")), RequestTimeoutError),
}
AT_CALL: dict[str, tuple[Callable[[Asked], httpx.Response], type[APIError]]] = {
    "the token refused": (answer(401, "{}"), AuthenticationError),
    "the token refused with an echo": (echo(401), AuthenticationError),
    "forbidden with an echo": (echo(403), StatusError),
    "bad request with an echo": (echo(400), StatusError),
    "broken with an echo": (echo(503), ServerError),
    "an echo as a page": (answer(200, f"<html>{TOKEN}</html>"), UnexpectedResponseError),
    "half an answer": (answer(200, f'{{"url": "{SIGNED}'), UnexpectedResponseError),
    "a redirect to a signed address": (answer(307, location=SIGNED), UnexpectedResponseError),
    "a strange encoding": (answer(200, TOKEN, content_encoding="br"), UnexpectedResponseError),
    "a broken connection": (failing(httpx.RemoteProtocolError("closed")), ConnectionLostError),
    "a header that cannot be sent": (
        failing(httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}\\n'")),
        TransportError,
    ),
    "no answer": (failing(httpx.ReadTimeout("")), RequestTimeoutError),
    "a mistake of the transport's": (
        failing(UnicodeEncodeError("ascii", f"{TOKEN}\u00e9", 0, 1, "no")),
        ConnectionLostError,
    ),
}


async def failure_of(platform: FakePlatform, request: ApiRequest, kind: type[APIError]) -> APIError:
    retry, http_client = RetryPolicy(attempts=2), httpx.AsyncClient(transport=platform)
    async with Client("person@example.com", PASSWORD, http_client=http_client, retry=retry) as client:
        with pytest.raises(kind) as caught:
            await client._session.call(request, state=None if request.idempotent else SendState())
        assert no_canary_in(iter([repr(client), str(client), repr(client.statistics())]))
    return caught.value


@pytest.mark.virtual_time
@pytest.mark.parametrize("request_", CALLS, ids=str)
@pytest.mark.parametrize("what", AT_LOGIN)
async def test_a_login_that_fails_shows_no_secret(
    what: str, request_: ApiRequest, caplog: pytest.LogCaptureFixture
) -> None:
    platform = FakePlatform()
    platform.login, kind = AT_LOGIN[what]
    with caplog.at_level(logging.DEBUG, "up42_async"):
        error = await failure_of(platform, request_, kind)
    assert no_canary_in(everything_seen_of(error))
    assert "CANARY" not in caplog.text
    assert "CANARY" in httpx.QueryParams(platform.logins[0].body.decode())["password"]


@pytest.mark.virtual_time
@pytest.mark.parametrize("request_", CALLS, ids=str)
@pytest.mark.parametrize("what", AT_CALL)
async def test_a_call_that_fails_shows_no_secret(
    what: str, request_: ApiRequest, caplog: pytest.LogCaptureFixture
) -> None:
    platform = FakePlatform()
    platform.login = login
    platform.api, kind = AT_CALL[what]
    with caplog.at_level(logging.DEBUG, "up42_async"):
        error = await failure_of(platform, request_, kind)
    assert no_canary_in(everything_seen_of(error))
    assert "CANARY" not in caplog.text
    assert platform.calls[0].token == TOKEN


async def test_a_connection_that_fails_shows_no_secret(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://person:CANARY@127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    nowhere = Endpoints(api="http://127.0.0.1:1", auth="http://127.0.0.1:1/auth")
    with caplog.at_level(logging.DEBUG, "up42_async"):
        async with Client(
            "person", PASSWORD, endpoints=nowhere, retry=RetryPolicy(attempts=2, wait_initial=0.001)
        ) as client:
            with pytest.raises(ConnectionFailedError) as caught:
                await client._session.call(CALLS[0])
    assert no_canary_in(everything_seen_of(caught.value))
    assert "CANARY" not in caplog.text


ECHOES: dict[str, Callable[[str], str]] = {
    "as a form": lambda secret: json.dumps({"message": urlencode({"password": secret})}),
    "as JSON": lambda secret: json.dumps({"detail": f"you sent {secret}"}),
    "as JSON in UTF-8": lambda secret: json.dumps({"error": {"message": secret}}, ensure_ascii=False),
    "as the code": lambda secret: json.dumps({"code": secret, "message": "no"}),
    "deep inside": lambda secret: json.dumps({"request": [{"headers": {"authorization": f"Bearer {secret}"}}]}),
}


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN, "CANARY"], ids=["password", "token", "word"])
@pytest.mark.parametrize("how", [how for how in ECHOES if how != "as the code"])
@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_response_that_repeats_the_secret_is_not_quoted(secret: str, how: str, status: int) -> None:
    with pytest.raises(StatusError) as caught:
        decode(
            ApiResponse(status=status, headers={}, body=ECHOES[how](secret).encode()), CALLS[0], secret=Secret(secret)
        )
    assert caught.value.status == status
    assert no_canary_in(everything_seen_of(caught.value))


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN], ids=["password", "token"])
def test_an_error_code_that_contains_the_secret_is_not_quoted(secret: str) -> None:
    response = ApiResponse(status=400, headers={}, body=ECHOES["as the code"](secret).encode())
    with pytest.raises(StatusError) as caught:
        decode(response, CALLS[0], secret=Secret(secret))
    assert no_canary_in(everything_seen_of(caught.value))


ECHOED_HEADERS = [
    (200, {"content-type": TOKEN}, b"<"),
    (302, {"location": f"https://{TOKEN}.test/"}, b""),
    (404, {"x-request-id": TOKEN}, b"{}"),
    (403, {}, TOKEN.encode()),
    (403, {}, b'{"a": "' + "".join(f"\\u{ord(one):04x}" for one in TOKEN).encode() + b'"}'),
]


@pytest.mark.parametrize(("status", "headers", "body"), ECHOED_HEADERS)
def test_no_part_of_a_response_that_repeats_the_token_is_quoted(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(APIError) as caught:
        decode(ApiResponse(status=status, headers=headers, body=body), CALLS[0], secret=Secret(TOKEN))
    assert "***" in str(caught.value)
    assert no_canary_in(everything_seen_of(caught.value))


def test_eight_consecutive_characters_of_a_secret_are_recognized() -> None:
    secret = Secret("0123456789abcdef")
    assert [secret.appears_in(f"x{secret.reveal()[3 : 3 + length]}x") for length in (7, 8, 13)] == [False, True, True]
    assert Secret("short").appears_in("a short one")
    assert not Secret("short").appears_in("a shor t one")


def test_the_job_id_is_kept_when_a_repeated_token_is_hidden() -> None:
    body = json.dumps(
        {"jobID": "68567134-27ad-7bd7", "status": "created", "sent": {"authorization": f"Bearer {TOKEN}"}}
    )
    with pytest.raises(StatusError) as caught:
        decode(ApiResponse(status=429, headers={}, body=body.encode()), CALLS[0], secret=Secret(TOKEN))
    hidden = {"jobID": "68567134-27ad-7bd7", "status": "created", "sent": {"authorization": "***"}}
    assert caught.value.payload == hidden
    assert json.loads(caught.value.body) == hidden


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_secret_cannot_be_copied_or_shown(again: Callable[[Any], Any]) -> None:
    secret = Secret(TOKEN)
    assert no_canary_in(iter([repr(secret), str(secret), f"{secret}"]))
    assert (secret, hash(secret)) == (Secret(TOKEN), hash(Secret(TOKEN)))
    assert secret != TOKEN
    with pytest.raises(TypeError, match="a secret cannot be pickled or copied"):
        again(secret)


@pytest.mark.parametrize("link", [SIGNED, f"https://{TOKEN}@api.up42.com/", f"javascript:{TOKEN}", f"/v2/x {TOKEN}"])
def test_a_link_that_is_not_followed_shows_no_secret(link: str) -> None:
    with pytest.raises(UntrustedURLError) as caught:
        follow(link, api="https://api.up42.com", request=CALLS[0])
    assert no_canary_in(everything_seen_of(caught.value))


def shown_by_frames(error: BaseException) -> list[str]:
    """Return the local variables of all frames of an error's traceback, without the frame of the test itself."""
    ours = list(traceback.TracebackException.from_exception(error, capture_locals=True).stack)[1:]
    assert ours
    return [value for frame in ours for value in (frame.locals or {}).values()]


@pytest.mark.virtual_time
@pytest.mark.parametrize(("where", "what"), [*(("login", one) for one in AT_LOGIN), *(("api", one) for one in AT_CALL)])
async def test_no_frame_of_an_error_holds_the_password_or_the_token(where: str, what: str) -> None:
    platform = FakePlatform()
    platform.login = login
    behaviour, kind = (AT_LOGIN if where == "login" else AT_CALL)[what]
    setattr(platform, where, behaviour)
    error = await failure_of(platform, ApiRequest(method="GET", path="/v2/processing/jobs"), kind)
    assert no_canary_in(iter(shown_by_frames(error)))


def test_no_frame_of_a_request_that_cannot_be_built_holds_a_secret() -> None:
    builder = RequestBuilder(httpx.AsyncClient(), Timeouts())
    headers = {"Authorization": Secret(f"{TOKEN}\u00e9")}
    with pytest.raises(ConnectionFailedError, match="httpx cannot build the request") as caught:
        builder.build("POST", Secret(SIGNED), headers, Secret(PASSWORD))
    assert no_canary_in(everything_seen_of(caught.value))
    assert no_canary_in(iter(shown_by_frames(caught.value)))


@pytest.mark.parametrize(
    ("username", "password", "cfg_file"),
    [("person", PASSWORD, "x.json"), (5, PASSWORD, None), ("", PASSWORD, None), ("person", f"{PASSWORD}\ud800", None)],
)
def test_refused_credentials_are_not_shown_even_with_local_variables(
    username: Any, password: str, cfg_file: str | None
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Client(username, password, cfg_file)
    assert no_canary_in(everything_seen_of(caught.value))
    assert no_canary_in(iter(shown_by_frames(caught.value)))


def test_a_refused_password_from_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UP42_USERNAME", raising=False)
    monkeypatch.setenv("UP42_PASSWORD", PASSWORD)
    with pytest.raises(ValueError, match="must both be given") as caught:
        Client()
    assert no_canary_in(iter(shown_by_frames(caught.value)))


VALUES = [
    Credentials(username="person", password=Secret(PASSWORD)),
    Token(value=Secret(TOKEN), expires=300, expires_wall=300, margin=30),
    ApiResponse(status=200, headers={"set-cookie": TOKEN}, body=TOKEN.encode()),
    SendState(sent=True, response=ApiResponse(status=200, headers={"location": SIGNED}, body=TOKEN.encode())),
    ApiRequest(method="POST", path="/v2/x", json={"password": PASSWORD}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_that_carry_secrets_do_not_show_them(value: object) -> None:
    assert "CANARY" not in repr(value) + str(value)


BROKEN: dict[str, raw_server.Act] = {
    "FIN": raw_server.close_after_request,
    "silence": raw_server.hang,
    "garbage": raw_server.raw_and_close(b"%&?!\r\n\r\n"),
}


def frames_shown(error: BaseException) -> str:
    """Return an error's traceback with causes and local variables, as loguru or rich show it, without test files."""
    details = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(one for one in "".join(details.format()).split("  File ") if "/tests/" not in one.split("\n")[0])


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("what", ["login", "call", "file"])
async def test_no_frame_of_a_broken_connection_shows_a_secret(
    name: str, what: str, http_client: httpx.AsyncClient | None
) -> None:
    """The frames of httpx, httpcore and h11 hold headers, body and target as plain bytes, so they are left out."""
    settings: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "timeouts": Timeouts(read=0.05), "password": PASSWORD}
    login = BROKEN[name] if what == "login" else raw_server.token(TOKEN)
    async with raw_server.platform(BROKEN[name], login=login, http_client=http_client, **settings) as up:
        url = Secret(f"{up.api.url}/file?signature=CANARY")
        fetch = partial(up.client._session.fetch, url, {}, cast("Any", None), label="GET file")
        with pytest.raises(TransportError) as caught:
            await (fetch() if what == "file" else up.client._session.call(CALLS[1]))
    assert isinstance(caught.value.__cause__, httpx.TransportError)
    shown = frames_shown(caught.value)
    assert "CANARY" not in shown
    assert [name for name in ("httpx", "httpcore", "h11") if f"{os.sep}{name}{os.sep}" in shown] == []


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_is_neither_copied_nor_pickled(again: Callable[[object], object]) -> None:
    client = Client("person@example.com", PASSWORD)
    with pytest.raises(TypeError, match="it cannot be pickled or copied; make a new one") as caught:
        again(client)
    assert no_canary_in(everything_seen_of(caught.value))


def test_a_refused_setting_shows_no_password_even_with_local_variables() -> None:
    with pytest.raises(TypeError) as caught:
        Client("person", PASSWORD, timeouts=cast("Any", 5))
    assert no_canary_in(iter(shown_by_frames(caught.value)))
