"""Check the arguments of `Client.request`, which sends a request that this library has no function for."""

import re
from collections.abc import Mapping
from typing import Any, Final

from up42_async._http.requests import ApiRequest, query

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = _READS | {"DELETE", "PATCH", "POST", "PUT"}
_PATH: Final = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")


def plain_request(method: object, path: object, *, params: Mapping[str, Any] | None, json: Any) -> ApiRequest:
    """Return the request of `Client.request`.

    Args:
        method: HTTP method; only reads (GET, HEAD, OPTIONS) count as idempotent.
        path: Path on the API host, ids quoted.
        params: Query parameters.
        json: Body, None for none.

    Raises:
        TypeError: The method or the path is not a string.
        ValueError: The method is unknown, or the path has more than quoted segments: a host, `.`, `..` or a query.
    """
    if not isinstance(method, str) or not isinstance(path, str):
        raise TypeError(f"method and path must be strings, not {type(method).__name__} and {type(path).__name__}")
    if method.upper() not in _METHODS:
        raise ValueError(f"method {method[:20]!r} is not one of {', '.join(sorted(_METHODS))}")
    segments = path.lower().replace("%2e", ".").split("/")
    if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(segments):
        raise ValueError(
            f"path {path[:80]!r} cannot be right: expected '/v2/...', quoted where needed, without host, '.', '..' and"
            " query (give `params=`)"
        )
    return ApiRequest(
        method=method.upper(),
        path=path,
        query=query(params or {}),
        json=json,
        idempotent=method.upper() in _READS,
        empty_ok=True,
    )
