"""Translate the errors of httpx, httpcore and other transports into ours; no other module does.

Errors are recognized by the names of their classes, since httpx2 has classes of its own with the same names.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from up42_async._config import Timeouts
from up42_async._errors import ConnectionFailedError, ConnectionLostError, RequestTimeoutError, TransportError
from up42_async._http.requests import Secret, printable

_TIMEOUTS: Final[Mapping[str, str]] = {
    "ConnectTimeout": "no connection within {0.connect:g} s (Timeouts.connect)",
    "ReadTimeout": "no data for {0.read:g} s (Timeouts.read)",
    "WriteTimeout": "the server read nothing of the request for {0.write:g} s (Timeouts.write)",
    "PoolTimeout": "no free connection within {0.pool:g} s (Timeouts.pool); give the http_client a larger pool",
}
_QUOTING_HEADERS: Final = ("LocalProtocolError", "UnicodeError")
_PROXY_REFUSES: Final = "407"
_LONGEST: Final = 300


def translate(
    error: Exception, *, label: str, host: str, sent: bool, timeouts: Timeouts, proxy: str | None, secret: Secret
) -> TransportError:
    """Return one of our errors for an error of a transport.

    Args:
        error: The error of the transport.
        label: Method and path of the request.
        host: Host and port of its URL.
        sent: False only when it is certain that nothing of the request was sent.
        timeouts: The timeouts of the client, for the message.
        proxy: Name of the proxy that was used, None without one.
        secret: The secret that the request carries; the error must not repeat it.
    """
    words = _words(error, timeouts, secret)
    via = f" through {proxy}" if proxy else ""
    failure: TransportError
    if not sent:
        distrusted = any(is_named(cause, "SSLCertVerificationError") for cause in _chain(error))
        refused = is_named(error, "ProxyError") and str(error).startswith(_PROXY_REFUSES)
        if distrusted:
            words += "; a certificate authority of your own is trusted when its file is named by SSL_CERT_FILE"
        permanent = distrusted or refused or is_refused_by_us(error)
        failure = ConnectionFailedError(f"not sent to {host}{via}: {words}", request=label, permanent=permanent)
    elif is_named(error, "TimeoutException"):
        failure = RequestTimeoutError(f"no answer in time{via}: {words}", request=label)
    else:
        failure = ConnectionLostError(f"the connection broke{via}: {words}", request=label)
    # an error that quotes headers may repeat the token, so it does not become the cause
    quotes = is_named(error, *_QUOTING_HEADERS) or any(secret.appears_in(str(cause)) for cause in _chain(error))
    failure.__cause__ = None if quotes else without_frames(error)
    return failure


def is_refused_by_us(error: BaseException) -> bool:
    """Return whether httpx itself refused to send the request."""
    return is_named(error, "UnsupportedProtocol", "LocalProtocolError")


def is_named(error: BaseException, *names: str) -> bool:
    """Return whether an error is an instance of a class with one of these names."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def without_frames(error: Exception) -> Exception:
    """Return an error without its frames and without httpx's reference to the request.

    Frames of httpcore and h11 hold the headers, the target and the body as plain bytes.
    """
    for one in _chain(error):
        one.__traceback__ = None
        if isinstance(getattr(type(one), "request", None), property):
            one.request = None  # type: ignore[attr-defined] # a property of httpx's errors
    return error


def _words(error: Exception, timeouts: Timeouts, secret: Secret) -> str:
    """Return the first message in the chain of errors; never one that may quote a header or repeat the secret."""
    name = type(error).__name__
    if name in _TIMEOUTS:
        return _TIMEOUTS[name].format(timeouts)
    if is_named(error, *_QUOTING_HEADERS):
        return name
    for cause in _chain(error):
        if isinstance(cause, Exception) and str(cause) and not isinstance(cause, ExceptionGroup):
            return name if secret.appears_in(str(cause)) else printable(str(cause), _LONGEST)
    return name


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        first = seen.exceptions[0] if isinstance(seen, BaseExceptionGroup) else None
        seen = first or seen.__cause__ or seen.__context__
