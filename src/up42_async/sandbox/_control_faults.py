"""Faults as JSON, for controls over HTTP: `{"kind": "Status", "arguments": {"status": 503}}`."""

import base64
import binascii
import inspect
from collections.abc import Mapping
from typing import Any

from up42_async.sandbox import faults
from up42_async.sandbox._fault_checks import is_kind
from up42_async.sandbox._fault_kinds_wire import Kind
from up42_async.sandbox._faults import Fault, Faults

_OCTETS = frozenset({("RawAnswer", "data"), ("Endless", "piece")})
_NO_KINDS = frozenset({"Rewrite", "Kind"})
"""Names that cannot be written as JSON: `Rewrite` needs a function, `Kind` is the protocol of the others."""

KINDS: Mapping[str, type] = {
    name: member
    for name, member in vars(faults).items()
    if inspect.isclass(member) and hasattr(member, "apply") and name not in _NO_KINDS
}
"""The kinds of faults that can be written as JSON, by name."""


def octets_of(value: Any) -> bytes:
    """Return the bytes that a string stands for, or an object with `base64`.

    Raises:
        TypeError: It is neither.
        ValueError: It is not base64.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Mapping) and set(value) == {"base64"}:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (binascii.Error, TypeError) as error:
            raise ValueError(f"base64 must be a string in base64, not {value['base64']!r}.") from error
    raise TypeError(f'Bytes are a string or {{"base64": "..."}}, not {value!r}.')


def kind_of(spec: Any) -> Kind:
    """Make a fault from JSON.

    Args:
        spec: The name of the kind, or an object with `kind` and `arguments`: an object by name, or a list by position.
            An argument that is a fault itself is written in the same way.

    Raises:
        ValueError: There is no such kind, or the object has other keys.
        TypeError: The kind does not take these arguments.
    """
    given = {"kind": spec} if isinstance(spec, str) else spec
    if not isinstance(given, Mapping) or not {"kind"} <= given.keys() <= {"kind", "arguments"}:
        raise ValueError(f'A fault is {{"kind": name, "arguments": {{...}}}}, not {spec!r}.')
    name, arguments = given["kind"], given.get("arguments", {})
    made = KINDS.get(name) if isinstance(name, str) else None
    if made is None:
        raise ValueError(f"There is no fault {name!r}; there are {', '.join(sorted(KINDS))}.")
    if isinstance(arguments, list):
        fault = made(*arguments)
    elif isinstance(arguments, Mapping):
        fault = made(**{key: _argument(name, key, value) for key, value in arguments.items()})
    else:
        raise TypeError(f"The arguments of {name} must be an object or a list, not {arguments!r}.")
    assert is_kind(fault)  # noqa: S101 - for type checkers: all kinds are
    return fault  # type: ignore[no-any-return]


def _argument(name: str, key: str, value: Any) -> Any:
    if key == "kind":
        return kind_of(value)
    return octets_of(value) if (name, key) in _OCTETS else value


class NumberedFaults:
    """Adds faults written as JSON, and numbers them from 0.

    Args:
        faults: Where they are added.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._added: list[Fault] = []

    def add_fault(self, kind: Any, **rule: Any) -> int:
        """Switch a fault on.

        Args:
            kind: The fault as JSON, see `kind_of`.
            **rule: Which requests it hits: path, query, method, times, after and probability, as for `faults.add`.

        Returns:
            Its number.
        """
        self._added.append(self._faults.add(kind_of(kind), **rule))
        return len(self._added) - 1

    def remove_fault(self, fault: int) -> None:
        """Switch off the fault with this number; a second call does nothing.

        Raises:
            KeyError: There is no such fault.
        """
        if not isinstance(fault, int) or not 0 <= fault < len(self._added):
            raise KeyError(f"There is no fault {fault!r}; `GET /faults` lists those that were added.")
        self._added[fault].remove()

    def clear_faults(self) -> None:
        """Switch all faults off, also those that were not added here."""
        self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Return all faults added here: number, kind, hits, and whether each is on."""
        return [
            {"fault": number, "kind": repr(fault.kind), "hits": fault.hits, "is_on": self._faults.is_on(fault)}
            for number, fault in enumerate(self._added)
        ]
