"""Range requests, https://www.rfc-editor.org/rfc/rfc9110#name-range-requests."""

import re

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins after the end of the file."""


def part_of(size: int, header: str | None) -> tuple[int, int] | None:
    """Return the bytes that a Range header asks for.

    Args:
        size: Bytes of the whole.
        header: The Range header.

    Returns:
        The offset of the first byte, and that after the last; None for the whole file, also where the header is not a
        range, or several.

    Raises:
        Unsatisfiable: The range is empty.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), size if not last else min(int(last) + 1, size)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise Unsatisfiable
    return start, stop
