"""Proxies and certificates of the environment, over real sockets: which are used, and what errors name."""

import base64
import importlib.util
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests import raw_server
from tests.raw_server import answer, close_after_request, serve
from tests.wire import Message, wire
from up42_async import (
    Client,
    ConfigurationError,
    ConnectionFailedError,
    ConnectionLostError,
    Endpoints,
    RetryPolicy,
)
from up42_async._http import environment, transport
from up42_async._http.exchange import SendState

PROXY_VARIABLES = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]
CERTIFICATE_VARIABLES = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "SSLKEYLOGFILE"]
EVERY_PROXY_VARIABLE = [*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES)]
ELSEWHERE = "https://up42.invalid/x"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Clear the environment of all that is read from it, and forget certificates read before."""
    for name in (*CERTIFICATE_VARIABLES, *EVERY_PROXY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    environment._contexts.clear()
    return monkeypatch


def get(url: str, state: SendState | None = None) -> Message:
    return Message(url=url, headers={"Authorization": "Bearer x"}, state=state)


# Proxies


async def test_a_proxy_of_the_environment_is_used(outside: pytest.MonkeyPatch) -> None:
    async with serve(answer({"by": "proxy"})) as proxy, wire() as one:
        outside.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        response = await one.send(get("http://up42.invalid/x"))
    assert response.body == b'{"by": "proxy"}'
    assert proxy.requests[0].target == "http://up42.invalid/x"


async def test_one_proxy_serves_all_hosts(outside: pytest.MonkeyPatch) -> None:
    async with serve(answer()) as proxy, wire() as one:
        outside.setenv("all_proxy", proxy.url)
        await one.send(get("http://a.invalid/x"))
        await one.send(get("http://b.invalid/x"))
    assert [request.target for request in proxy.requests] == ["http://a.invalid/x", "http://b.invalid/x"]


async def test_a_proxy_gets_the_user_name_and_password_of_its_url(outside: pytest.MonkeyPatch) -> None:
    async with serve(answer()) as proxy, wire() as one:
        outside.setenv("http_proxy", f"http://us%40er:p%2Fw@127.0.0.1:{proxy.port}")
        await one.send(get("http://up42.invalid/x"))
    credentials = base64.b64encode(b"us@er:p/w").decode()
    assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {credentials}"


async def test_a_proxy_over_tls_is_verified_like_any_other_host(outside: pytest.MonkeyPatch) -> None:
    async with serve(answer(status=503), tls=True) as proxy, wire() as one:
        outside.setenv("https_proxy", f"https://127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
            await one.send(get(ELSEWHERE))
        outside.setenv("SSL_CERT_FILE", str(raw_server.UNTRUSTED))
        with pytest.raises(ConnectionFailedError, match="503"):
            await one.send(get(ELSEWHERE))
    assert [seen.method for seen in proxy.requests] == ["CONNECT"]


async def test_a_proxy_for_the_other_scheme_is_not_used(outside: pytest.MonkeyPatch) -> None:
    outside.setenv("https_proxy", "http://127.0.0.1:1")
    assert environment.proxy_for("http", "up42.invalid") is None


async def test_hosts_that_need_no_proxy_are_reached_directly(outside: pytest.MonkeyPatch) -> None:
    outside.setenv("http_proxy", "http://127.0.0.1:1")
    outside.setenv("no_proxy", "up42.invalid")
    assert environment.proxy_for("http", "up42.invalid") is None
    assert environment.proxy_for("http", "other.invalid") is not None


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_loopback_addresses_are_never_reached_through_a_proxy(outside: pytest.MonkeyPatch, variable: str) -> None:
    outside.setenv(variable, "http://127.0.0.1:1")
    async with serve(answer()) as server, wire() as one:
        for host in ("127.0.0.1", "localhost"):
            assert (await one.send(get(f"http://{host}:{server.port}/x"))).status == 200


async def test_a_proxy_that_refuses_connect_proves_that_nothing_was_sent(outside: pytest.MonkeyPatch) -> None:
    state = SendState()
    async with serve(answer(status=503)) as proxy, wire() as one:
        outside.setenv("https_proxy", proxy.url)
        for message in (get(ELSEWHERE), get(ELSEWHERE, state)):
            with pytest.raises(ConnectionFailedError, match="503") as caught:
                await one.send(message)
            assert not caught.value.permanent
    assert not state.sent
    assert [seen.method for seen in proxy.requests] == ["CONNECT", "CONNECT"]
    assert "authorization" not in proxy.requests[0].headers


async def test_a_407_of_a_proxy_is_not_retried(outside: pytest.MonkeyPatch) -> None:
    async with serve(answer(status=407)) as proxy, wire() as one:
        outside.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(ConnectionFailedError, match="407") as caught:
            await one.send(get(ELSEWHERE))
    assert caught.value.permanent


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
async def test_an_error_behind_a_proxy_names_its_host_and_its_variable(
    outside: pytest.MonkeyPatch, variable: str
) -> None:
    outside.setenv(variable, "http://person:SECRET@127.0.0.1:1")
    async with wire() as one:
        with pytest.raises(ConnectionFailedError) as caught:
            await one.send(get(ELSEWHERE))
    assert f"not sent to {httpx.URL(ELSEWHERE).host} through the proxy 127.0.0.1:1 in {variable}: " in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_the_error_of_a_lost_response_names_the_proxy(outside: pytest.MonkeyPatch) -> None:
    async with serve(close_after_request) as proxy, wire() as one:
        outside.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(ConnectionLostError, match=rf"through the proxy 127.0.0.1:{proxy.port} in HTTP_PROXY"):
            await one.send(get("http://up42.invalid/x"))


def test_a_proxy_of_the_system_settings_is_named_as_one(outside: pytest.MonkeyPatch) -> None:
    outside.setattr("urllib.request.getproxies", lambda: {"https": "proxy.test:3128"})
    outside.setattr("urllib.request.proxy_bypass", lambda _: False)
    found = environment.proxy_for("https", "up42.invalid")
    assert found is not None
    assert found.label == "the proxy proxy.test:3128 in the system settings"


PROXIES = {
    "HTTPS_PROXY": "gopher://person:SECRET@proxy.test",
    "https_proxy": "http://person:SECRET@proxy.test:port",
    "ALL_PROXY": "://SECRET",
    "all_proxy": "http://[::SECRET",
}


@pytest.mark.parametrize("name", PROXIES)
async def test_a_proxy_that_cannot_be_used_is_named_without_its_value(outside: pytest.MonkeyPatch, name: str) -> None:
    outside.setenv(name, PROXIES[name])
    state = SendState()
    async with wire() as one:
        with pytest.raises(ConfigurationError, match=f"the proxy in {name} cannot be used") as caught:
            await one.send(get(ELSEWHERE, state))
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in repr(caught.value)
    assert not state.sent


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="socksio is installed")
async def test_a_socks_proxy_without_its_package_names_what_to_install(outside: pytest.MonkeyPatch) -> None:
    outside.setenv("ALL_PROXY", "socks5://person:SECRET@127.0.0.1:1")
    async with wire() as one:
        with pytest.raises(ConfigurationError, match=r"ALL_PROXY is a SOCKS .*pip install 'httpx\[socks\]'") as caught:
            await one.send(get(ELSEWHERE))
    assert "SECRET" not in str(caught.value)


# Certificates


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """Return a directory of certificates as OpenSSL has them, by the hash of their names."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(raw_server.UNTRUSTED)]
    named = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603
    (tmp_path / f"{named}.0").write_bytes(raw_server.UNTRUSTED.read_bytes())
    return str(tmp_path)


async def test_certificates_of_the_environment_are_trusted(outside: pytest.MonkeyPatch, directory: str) -> None:
    file = str(raw_server.UNTRUSTED)
    async with serve(answer(), tls=True) as server, wire() as one:
        for name, value in [
            ("SSL_CERT_FILE", file),
            ("SSL_CERT_DIR", directory),
            ("REQUESTS_CA_BUNDLE", file),
            ("REQUESTS_CA_BUNDLE", directory),
        ]:
            outside.setenv(name, value)
            message = Message(url=f"{server.url}/x", fresh=True)
            assert (await one.send(message)).status == 200
            outside.delenv(name)


async def test_the_error_of_an_untrusted_certificate_says_how_to_trust_it() -> None:
    async with serve(answer(), tls=True) as server, wire() as one:
        with pytest.raises(ConnectionFailedError, match=r"certificate verify failed.*named by SSL_CERT_FILE"):
            await one.send(get(server.url))


def unusable_certificates(tmp_path: Path) -> dict[str, str]:
    broken = tmp_path / "SECRET.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nSECRET\n-----END CERTIFICATE-----\n")
    missing = str(tmp_path / "SECRET" / "missing")
    return {"broken": str(broken), "missing": missing, "directory": str(tmp_path)}


@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("SSL_CERT_FILE", "missing"),
        ("SSL_CERT_FILE", "broken"),
        ("SSL_CERT_FILE", "directory"),
        ("SSL_CERT_DIR", "missing"),
        ("SSL_CERT_DIR", "broken"),
        ("REQUESTS_CA_BUNDLE", "missing"),
        ("REQUESTS_CA_BUNDLE", "broken"),
        ("SSLKEYLOGFILE", "missing"),
    ],
)
async def test_certificates_that_cannot_be_used_are_named_without_their_path(
    outside: pytest.MonkeyPatch, tmp_path: Path, name: str, which: str
) -> None:
    outside.setenv(name, unusable_certificates(tmp_path)[which])
    async with Client("person", "password") as client:
        with pytest.raises(ConfigurationError, match=f" {name} ") as caught:
            await client.workspace_id()
    assert "SECRET" not in str(caught.value)


async def test_settings_that_were_corrected_are_read_again(outside: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outside.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    async with serve(answer(), tls=True) as server, wire() as one:
        with pytest.raises(ConfigurationError):
            await one.send(get(server.url))
        assert not one.stack.is_open
        outside.setenv("SSL_CERT_FILE", str(raw_server.UNTRUSTED))
        assert (await one.send(get(server.url))).status == 200


async def test_all_clients_share_the_certificates(outside: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.create_default_context(cafile=str(raw_server.UNTRUSTED)))
        return made[-1]

    outside.setattr(httpx, "create_ssl_context", make)
    async with serve(answer(), tls=True) as server:
        for _ in range(2):
            async with wire() as one:
                assert (await one.send(get(server.url))).status == 200
    assert len(made) == 1


def test_certificates_needed_by_two_threads_at_once_are_read_once(outside: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    both = threading.Barrier(2)

    def make() -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    def shared() -> ssl.SSLContext:
        both.wait(5)
        return environment._shared_context(())

    outside.setattr(httpx, "create_ssl_context", make)
    with ThreadPoolExecutor(2) as threads:
        contexts = [one.result(5) for one in [threads.submit(shared), threads.submit(shared)]]
    assert contexts == made * 2


async def test_making_clients_behind_proxies_reads_no_certificates_and_using_them_reads_them_once(
    outside: pytest.MonkeyPatch,
) -> None:
    """Reading them takes 25 ms, and httpx does it for itself and for each proxy."""
    plain, threads = ssl.create_default_context, list[int]()

    def make(*args: Any, **settings: Any) -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return plain(*args, **settings)

    outside.setattr(ssl, "create_default_context", make)
    endpoints = Endpoints(api="https://api.invalid", auth="https://auth.invalid")
    async with serve(answer(status=503)) as proxy:
        outside.setenv("https_proxy", proxy.url)
        outside.setenv("http_proxy", "http://127.0.0.1:1")
        clients = [Client("person", "password", endpoints=endpoints, retry=RetryPolicy(attempts=1)) for _ in range(3)]
        assert threads == []

        async def use(client: Client) -> None:
            async with client:
                with pytest.raises(ConnectionFailedError, match="503"):
                    await client.workspace_id()

        async with anyio.create_task_group() as group:
            group.start_soon(use, clients[0])
            group.start_soon(use, clients[1])
        await use(clients[2])
    assert [seen.method for seen in proxy.requests] == ["CONNECT"] * 3
    assert len(threads) == 1
    assert threads != [threading.get_ident()]


async def test_no_certificates_are_read_where_there_is_no_tls(outside: pytest.MonkeyPatch) -> None:
    outside.setattr(transport, "ssl_context", None)
    async with serve(answer()) as server, wire() as one:
        assert (await one.send(get(server.url))).status == 200
    assert environment._contexts == {}
