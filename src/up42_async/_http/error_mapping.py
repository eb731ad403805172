"""Turn the errors of httpx, httpcore, and whatever else a transport raises, into ours: the only place that does.

They are told apart by name, since httpx2 has the same names in other classes.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from up42_async._config import Timeouts
from up42_async._errors import ConnectionFailedError, ConnectionLostError, RequestTimeoutError, TransportError
from up42_async._http.requests import Secret, printable

_PATIENCE: Final[Mapping[str, str]] = {
    "ConnectTimeout": "no connection within {0.connect:g} s",
    "ReadTimeout": "silence for {0.read:g} s",
    "WriteTimeout": "the server took nothing of the request for {0.write:g} s",
    "PoolTimeout": "no free connection within {0.pool:g} s; the pool of the http_client is smaller than its use",
}
_QUOTING_HEADERS: Final = ("LocalProtocolError", "UnicodeError")
_PROXY_REFUSES: Final = "407"
_LONGEST: Final = 300


def translate(
    error: Exception, *, label: str, sent: bool, timeouts: Timeouts, proxy: str | None, secret: Secret
) -> TransportError:
    """Return one of our errors for whatever a transport raised.

    Args:
        error: What it raised.
        label: Method and path of the request.
        sent: False only when it is proved that nothing of the request has left.
        timeouts: What the client waits for.
        proxy: What to call the proxy that was used, None without one.
        secret: What was sent with the request, and is not to be repeated.
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
        failure = ConnectionFailedError(f"not sent{via}: {words}", request=label, permanent=permanent)
    elif is_named(error, "TimeoutException"):
        failure = RequestTimeoutError(f"no answer in time{via}: {words}", request=label)
    else:
        failure = ConnectionLostError(f"the connection broke{via}: {words}", request=label)
    # an error that quotes headers may quote the token
    quotes = is_named(error, *_QUOTING_HEADERS) or any(secret.appears_in(str(cause)) for cause in _chain(error))
    failure.__cause__ = None if quotes else without_frames(error)
    return failure


def is_refused_by_us(error: BaseException) -> bool:
    """Return whether httpx itself would not send a request."""
    return is_named(error, "UnsupportedProtocol", "LocalProtocolError")


def is_named(error: BaseException, *names: str) -> bool:
    """Return whether an error is of a kind, by name."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def without_frames(error: Exception) -> Exception:
    """Return an error without what holds the request: its frames, and httpx's reference to it.

    In the frames of httpcore and h11 the headers, the target and the body stand as plain bytes.
    """
    for one in _chain(error):
        one.__traceback__ = None
        if isinstance(getattr(type(one), "request", None), property):
            one.request = None  # type: ignore[attr-defined] # a property of httpx's errors
    return error


def _words(error: Exception, timeouts: Timeouts, secret: Secret) -> str:
    """Return the first words in the chain of errors; never those that may quote a header or repeat a secret."""
    name = type(error).__name__
    if name in _PATIENCE:
        return _PATIENCE[name].format(timeouts)
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
