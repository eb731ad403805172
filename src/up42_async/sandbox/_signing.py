"""Signed URLs: each gives access to one file for a while, without a token."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

from up42_async.sandbox._scaled_clock import ScaledClock, timestamp

BUCKET = "up42-sandbox-assets"
_ALGORITHM = "GOOG4-HMAC-SHA256"
_CREDENTIAL = "storage@up42-sandbox.iam.gserviceaccount.com"
_SERIAL, _UNTIL, _SIGNATURE = "X-Sandbox-Serial", "X-Sandbox-Until", "X-Goog-Signature"
DISPOSITION = "response-content-disposition"

Refusal = Literal["expired", "tampered"]


class SignedUrls:
    """Signs URLs as Google Cloud Storage does (version 4), and checks them.

    Args:
        clock: The clock; the lifetime of URLs is in its real seconds.
        seed: The seed of the signing key.
        lifetime: Real seconds a URL is valid.
    """

    def __init__(self, clock: ScaledClock, seed: int, lifetime: float) -> None:
        self._clock = clock
        self._key = f"signing key {seed}".encode()
        self._lifetime = lifetime
        self._serial = self._revoked = 0

    def url(self, origin: str, file_id: str, disposition: str | None) -> str:
        """Return a new signed URL.

        Args:
            origin: Where the files are, without a final slash.
            file_id: The file.
            disposition: The Content-Disposition that the answer shall have; None for none.
        """
        self._serial += 1
        now = self._clock.now()
        date = timestamp(now, 0).replace("-", "").replace(":", "")
        query = [
            ("X-Goog-Algorithm", _ALGORITHM),
            ("X-Goog-Credential", f"{_CREDENTIAL}/{date[:8]}/auto/storage/goog4_request"),
            ("X-Goog-Date", date),
            ("X-Goog-Expires", str(round(self._lifetime))),
            ("X-Goog-SignedHeaders", "host"),
            (_SERIAL, str(self._serial)),
            (_UNTIL, repr(self._clock.elapsed() + self._lifetime)),
        ]
        if disposition is not None:
            query.append((DISPOSITION, disposition))
        path = f"/{BUCKET}/{file_id}"
        signature = self._signature(path, query)
        return f"{origin}{path}?{urlencode([*query, (_SIGNATURE, signature)], quote_via=quote, safe='')}"

    def _signature(self, path: str, query: Sequence[tuple[str, str]]) -> str:
        signed = "\n".join([path, *(f"{name}={value}" for name, value in query)])
        return hmac.new(self._key, signed.encode(), hashlib.sha256).hexdigest()

    def refusal(self, path: str, query: str) -> Refusal | None:
        """Return why a URL is refused now; None if it is valid.

        Args:
            path: The path as it was sent.
            query: The query as it was sent.
        """
        pairs = parse_qsl(query, keep_blank_values=True)
        rest = [(name, value) for name, value in pairs if name != _SIGNATURE]
        given = dict(pairs).get(_SIGNATURE, "")
        if not hmac.compare_digest(given.encode(), self._signature(path, rest).encode()):
            return "tampered"
        facts = dict(rest)
        if int(facts[_SERIAL]) <= self._revoked or float(facts[_UNTIL]) <= self._clock.elapsed():
            return "expired"
        return None

    def revoke_all(self) -> None:
        """Make every URL signed so far expire."""
        self._revoked = self._serial


def disposition_of(query: str) -> bytes | None:
    """Return the Content-Disposition that a signed URL asks for, as a header can hold it; None for none.

    Args:
        query: The query as it was sent.
    """
    asked = dict(parse_qsl(query)).get(DISPOSITION)
    return None if asked is None else header_value(asked)


def header_value(text: str) -> bytes:
    """Return a text as a header can hold it, with `_` for control characters."""
    return re.sub(rb"[\x00-\x1f\x7f]", b"_", text.encode()).strip()
