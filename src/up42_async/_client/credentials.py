"""Find the username and password: in the arguments, in a file, or in the environment."""

import logging
import os
from pathlib import Path

import attrs

from up42_async._errors import ConfigurationError
from up42_async._http.auth import Credentials
from up42_async._http.requests import Secret
from up42_async._http.responses import parse_json

logger = logging.getLogger("up42_async")


@attrs.define(kw_only=True)
class CredentialsFile:
    """A JSON file with `username` and `password`, read when they are first needed."""

    path: Path
    _found: Credentials | None = attrs.field(init=False, default=None)

    def read(self) -> Credentials:
        """Return the credentials in the file, which is read once.

        Raises:
            ConfigurationError: The file cannot be read, or does not hold exactly a username and a password.
        """
        if self._found is None:
            try:
                self._warn_if_open_to_others()
                found = _read_content(self.path.read_bytes())
            except OSError as error:
                raise self._unusable(f"cannot be read ({error.strerror})") from None
            if isinstance(found, str):
                raise self._unusable(found)
            self._found = found
        return self._found

    def _unusable(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f'the credentials file {self.path} {what}; expected {{"username": "...", "password": "..."}}'
        )

    def _warn_if_open_to_others(self) -> None:
        mode = self.path.stat().st_mode & 0o777
        if os.name == "posix" and mode & 0o077:
            logger.warning("the credentials file %s can be read by others (mode %04o); chmod 600 it", self.path, mode)


def _read_content(body: bytes) -> Credentials | str:
    """Return the credentials in a file, or the problem as text: no frame of an error may hold the content."""
    try:
        content = parse_json(body)
    except ValueError:
        return "is not JSON"
    if not isinstance(content, dict):
        return "does not hold a JSON object"
    names = {"username", "password"}
    if missing := names - content.keys():
        return f"has no {' and no '.join(sorted(missing))}"
    if unknown := len(content.keys() - names):
        return f"has {unknown} more fields than username and password"
    for name in sorted(names):
        if not _can_be_sent(content[name]):
            return f"has a {name} that is empty or not text"
    return Credentials(username=content["username"], password=Secret(content["password"]))


def find_credentials(
    username: object, password: Secret | None, cfg_file: str | os.PathLike[str] | None
) -> Credentials | CredentialsFile:
    """Return the single source of credentials; the environment is used when no argument is given.

    Args:
        username: The argument of `Client`, of any type.
        password: The argument of `Client`, of any type; a `Secret`, so that no frame of an error shows it.
        cfg_file: Path of a file that has both.

    Raises:
        TypeError: The username or the password is not a string.
        ValueError: No source, two sources, only one of username and password, or text that cannot be encoded.
    """
    if cfg_file is not None:
        if username is not None or password is not None:
            message = "give either username and password or cfg_file, not both"
            raise ValueError(message)
        return CredentialsFile(path=Path(cfg_file))
    source = "username and password"
    if username is None and password is None:
        source = "UP42_USERNAME and UP42_PASSWORD"
        username, password = os.environ.get("UP42_USERNAME"), Secret.of(os.environ.get("UP42_PASSWORD"))
    if username is None and password is None:
        message = "no credentials: give username and password, or cfg_file, or set UP42_USERNAME and UP42_PASSWORD"
        raise ValueError(message)
    if not isinstance(username, str | None) or (password is not None and not isinstance(password.reveal(), str)):
        message = f"{source} must be strings"
        raise TypeError(message)
    if not username or password is None or not password.reveal():
        message = f"{source} must both be given and not empty"
        raise ValueError(message)
    if not _can_be_sent(username) or not _can_be_sent(password.reveal()):
        message = f"{source} must be text that can be encoded as UTF-8"
        raise ValueError(message)
    return Credentials(username=username, password=password)


def _can_be_sent(value: object) -> bool:
    """Return whether a value is text that can be encoded: the error of encoding it would hold the password."""
    return isinstance(value, str) and value != "" and not any("\ud800" <= character <= "\udfff" for character in value)
