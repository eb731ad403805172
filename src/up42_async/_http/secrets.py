"""Secrets as values that do not show themselves: not in reprs, and so not in tracebacks with local variables."""

import json
from typing import Final, NoReturn
from urllib.parse import quote_plus

_TELLING: Final = 8
"""Consecutive characters of a secret that a text must not hold."""

_SHORTEST: Final = 4
"""Characters below which a secret cannot be told from the other words of a text."""


class Secret:
    """A password, token or signed URL; `reveal` is called where it is written into a request, and nowhere else."""

    __slots__ = ("_parts", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._parts: frozenset[str] | None = None

    @classmethod
    def of(cls, value: str | None) -> "Secret | None":
        """Return a value that the caller or the environment gave, or left out, as a secret."""
        return None if value is None else cls(value)

    def reveal(self) -> str:
        """Return the secret itself; keep it out of local variables."""
        return self._value

    def appears_in(self, text: str) -> bool:
        """Return whether a text holds 8 consecutive characters of the secret, or all of one of 4 to 7.

        Args:
            text: Words of a server, such as the body of an error, which may repeat what was sent. It is walked through
                once, character by character, so let it be short (64 kB take 10 ms).
        """
        if len(self._value) < _SHORTEST:
            return False
        if self._parts is None:
            value = self._value  # and as forms and JSON write it
            forms = {value, quote_plus(value), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
            self._parts = frozenset(
                form[start : start + _TELLING] for form in forms for start in range(max(1, len(form) - _TELLING + 1))
            )
        return any(
            text[start : start + length] in self._parts
            for length in {len(part) for part in self._parts}
            for start in range(len(text) - length + 1)
        )

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


NO_SECRET: Final = Secret("")
"""For what is not sent with one; it appears in no text."""


class SecretBytes(bytes):
    """A secret as bytes, where httpx takes nothing else."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretBytes(b'***')"
