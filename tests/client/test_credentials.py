"""Exactly one source of credentials, and a file that is refused without quoting it."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from up42_async._client.credentials import CredentialsFile, find_credentials
from up42_async._errors import ConfigurationError
from up42_async._http.auth import Credentials
from up42_async._http.requests import Secret

GOOD = '{"username": "person@example.com", "password": "SECRET"}'
ENVIRONMENT = {"UP42_USERNAME": "of the environment", "UP42_PASSWORD": "SECRET"}

pytestmark = pytest.mark.filterwarnings("error")
posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


def file_with(tmp_path: Path, content: str | bytes, mode: int = 0o600) -> CredentialsFile:
    path = tmp_path / "credentials.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return CredentialsFile(path=path)


class TestFile:
    @pytest.mark.parametrize("content", [GOOD, "\ufeff" + GOOD, f"\n {GOOD}\r\n"], ids=["plain", "BOM", "spaces"])
    def test_a_file_with_username_and_password_is_read(self, tmp_path: Path, content: str) -> None:
        credentials = file_with(tmp_path, content).read()
        assert (credentials.username, credentials.password) == ("person@example.com", Secret("SECRET"))

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            ("", "is not JSON"),
            ("SECRET", "is not JSON"),
            (GOOD[:-1], "is not JSON"),
            (GOOD.encode("utf-16"), "is not JSON"),
            (b'{"username": "\xff", "password": "SECRET"}', "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("NaN", "does not hold a JSON object"),
            ('["person@example.com", "SECRET"]', "does not hold a JSON object"),
            ('"SECRET"', "does not hold a JSON object"),
            ("null", "does not hold a JSON object"),
            ("{}", "has no password and no username"),
            ('{"username": "person@example.com"}', "has no password"),
            ('{"password": "SECRET"}', "has no username"),
            ('{"Username": "person@example.com", "password": "SECRET"}', "has no username"),
            (GOOD[:-1] + ', "SECRET": "SECRET"}', "has 1 more fields than username and password"),
            (GOOD[:-1] + ', "project_id": "SECRET", "x": 1}', "has 2 more fields than username and password"),
            ('{"username": "", "password": "SECRET"}', "has a username that is empty or not text"),
            ('{"username": "person@example.com", "password": ""}', "has a password that is empty or not text"),
            ('{"username": "person@example.com", "password": null}', "has a password that is empty or not text"),
            ('{"username": 5, "password": "SECRET"}', "has a username that is empty or not text"),
            (
                '{"username": "person@example.com", "password": "SECRET\\ud800"}',
                "has a password that is empty or not text",
            ),
        ],
    )
    def test_a_file_with_anything_else_is_refused_without_quoting_it(
        self, tmp_path: Path, content: str | bytes, what: str
    ) -> None:
        file = file_with(tmp_path, content)
        with pytest.raises(ConfigurationError) as caught:
            file.read()
        assert str(caught.value) == (
            f'the credentials file {file.path} {what}; expected {{"username": "...", "password": "..."}}'
        )
        seen: BaseException | None = caught.value
        while seen is not None:
            assert "SECRET" not in repr(seen) + repr(vars(seen)) + repr(getattr(seen, "doc", ""))
            seen = seen.__context__

    def test_a_missing_file_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"nowhere\.json cannot be read \(No such file or directory\)"):
            CredentialsFile(path=tmp_path / "nowhere.json").read()

    def test_a_directory_is_refused_as_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            CredentialsFile(path=tmp_path).read()

    @posix_only
    @pytest.mark.parametrize("mode", [0o644, 0o666, 0o640, 0o604, 0o660])
    def test_a_file_that_others_can_read_gives_a_warning_with_path_and_mode(
        self, tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = file_with(tmp_path, GOOD, mode)
        file.read()
        assert caplog.record_tuples == [
            (
                "up42_async",
                logging.WARNING,
                f"the credentials file {file.path} can be read by others (mode 0{mode:o}); chmod 600 it",
            )
        ]

    @posix_only
    @pytest.mark.parametrize("mode", [0o600, 0o400])
    def test_a_private_file_gives_no_warning(self, tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
        file_with(tmp_path, GOOD, mode).read()
        assert caplog.records == []


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


class TestSources:
    @pytest.mark.usefixtures("environment")
    def test_arguments_take_precedence_over_the_environment(self) -> None:
        found = find_credentials("person@example.com", Secret("SECRET"), None)
        assert found == Credentials(username="person@example.com", password=Secret("SECRET"))

    @pytest.mark.usefixtures("environment")
    def test_a_file_takes_precedence_over_the_environment_and_is_not_read_yet(self) -> None:
        assert find_credentials(None, None, "nowhere.json") == CredentialsFile(path=Path("nowhere.json"))

    @pytest.mark.usefixtures("environment")
    def test_the_environment_is_used_when_no_argument_is_given(self) -> None:
        found = find_credentials(None, None, None)
        assert found == Credentials(username="of the environment", password=Secret("SECRET"))

    @pytest.mark.parametrize(("username", "password"), [("person", None), (None, "SECRET"), ("person", "SECRET")])
    def test_two_sources_are_refused(self, username: str | None, password: str | None) -> None:
        with pytest.raises(ValueError, match=r"^give either username and password or cfg_file, not both$"):
            find_credentials(username, Secret.of(password), "credentials.json")

    def test_without_a_source_the_error_names_all_sources(self) -> None:
        with pytest.raises(
            ValueError, match="give username and password, or cfg_file, or set UP42_USERNAME and UP42_P"
        ):
            find_credentials(None, None, None)

    @pytest.mark.parametrize(
        ("username", "password"), [("person", None), (None, "SECRET"), ("", "SECRET"), ("person", "")]
    )
    @pytest.mark.usefixtures("environment")
    def test_the_environment_does_not_complete_a_missing_argument(
        self, username: str | None, password: str | None
    ) -> None:
        with pytest.raises(ValueError, match=r"^username and password must both be given and not empty$"):
            find_credentials(username, Secret.of(password), None)

    @pytest.mark.parametrize(
        "environ", [{"UP42_USERNAME": "person"}, {"UP42_PASSWORD": "SECRET"}, {**ENVIRONMENT, "UP42_PASSWORD": ""}]
    )
    def test_one_of_the_two_variables_is_not_enough(
        self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=r"^UP42_USERNAME and UP42_PASSWORD must both be given and not empty$"):
            find_credentials(None, None, None)

    @pytest.mark.parametrize(
        ("username", "password"), [(5, "SECRET"), ("person", 5), (b"person", "SECRET"), ("person", ["SECRET"])]
    )
    def test_credentials_must_be_strings(self, username: object, password: Any) -> None:
        with pytest.raises(TypeError, match=r"^username and password must be strings$"):
            find_credentials(username, Secret.of(password), None)

    @pytest.mark.parametrize(("username", "password"), [("person\ud800", "x"), ("person", "SECRET\udcff")])
    def test_credentials_that_cannot_be_encoded_are_refused_at_once_without_quoting_them(
        self, username: str, password: str
    ) -> None:
        with pytest.raises(
            ValueError, match=r"^username and password must be text that can be encoded as UTF-8$"
        ) as caught:
            find_credentials(username, Secret.of(password), None)
        assert not isinstance(caught.value, UnicodeError)
        assert caught.value.__context__ is None


def test_the_repr_does_not_show_the_password() -> None:
    assert "SECRET" not in repr(Credentials(username="person", password=Secret("SECRET")))


def test_any_text_that_may_be_a_password_is_read_from_a_file(tmp_path: Path) -> None:
    password = 'p\u00e4ss"w\\ord \U0001f511\t\x00'
    content = json.dumps({"username": "person", "password": password})
    assert file_with(tmp_path, content).read().password == Secret(password)
