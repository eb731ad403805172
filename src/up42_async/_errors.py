"""The errors of this library, in one tree.

    Up42Error                               base of all errors below: catch it to catch them all
    ├── ConfigurationError                  credentials file, proxy or certificate settings that cannot be used
    ├── APIError                            one request failed: `.request`, `.tries`, `.elapsed`, `.transient`
    │   ├── TransportError                  no answer came
    │   │   ├── ConnectionFailedError       ... and the request certainly never reached the server
    │   │   ├── ConnectionLostError         ... it may have been received
    │   │   └── RequestTimeoutError         ... it may have been received, and may still be processed
    │   ├── StatusError                     an error status: `.status`, `.detail`, `.body`, `.from_platform`
    │   │   ├── AuthenticationError         UP42's 401 that stays after a new login
    │   │   │   └── InvalidCredentialsError the login itself was refused
    │   │   ├── PermissionDeniedError       UP42's 403: plan or role
    │   │   ├── NotFoundError               UP42's 404
    │   │   ├── RateLimitError              429, of UP42 or a gateway: `.retry_after`
    │   │   └── ServerError                 any 5xx, of UP42 or a gateway: `.retry_after`
    │   └── UnexpectedResponseError         an answer that does not fit what UP42 documents
    │       ├── UntrustedURLError           a link that leads away from UP42
    │       └── PaginationError             pages that never end
    ├── JobFailedError                      `job.raise_for_status()`: `.job`                        (`_jobs`)
    ├── UnfinishedJob                       tracking ended first: `.finished`, `.unfinished`, `.reasons` (`_jobs`)
    ├── InvalidTemplateError                what UP42 has against it: `.errors`                     (`_processing`)
    ├── CostLimitError                      `.cost`, `.max_credits`                                 (`_processing`)
    ├── ExecutionUncertainError             a job may have been made: `.candidates`                 (`_processing`)
    ├── JournalError                        a journal that cannot be used: `.path`
    └── DownloadError                       a file is not complete                                  (`_downloads`)
        └── DownloadErrorGroup              ... several files of one call; an exception group as well

Wrong arguments and wrong use raise `ValueError`, `TypeError` and `RuntimeError`. No error holds a token, a password or
a signed URL. All errors can be copied and pickled.
"""

from typing import Any, Final


class Up42Error(Exception):
    """Base of the errors that the caller's code did not cause: network, server, platform, files."""


class ConfigurationError(Up42Error):
    """Settings outside the program (a credentials file, proxy or certificate variables) cannot be used."""


class JournalError(Up42Error):
    """A file cannot be used as a journal: it is no journal, damaged, of a newer version or another account, or in use.

    The file stays unchanged.

    Attributes:
        path: Path of the file.
    """

    def __init__(self, message: str, *, path: object = None) -> None:
        super().__init__(message)
        self.path = path


class APIError(Up42Error):
    """One request to UP42 failed; the subclass says how.

    Attributes:
        request: Method and path, without query.
        tries: How often the request was sent.
        elapsed: Seconds from the first try to the last.
        transient: True when the same request may succeed later: in an outage, after the page of a gateway or a 429.
            The client has then retried it already, as far as its `RetryPolicy` and the request allow.
        request_id: The server's id of the request, for UP42's support; None when the response had none.
    """

    transient: bool = False

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        tries: int = 1,
        elapsed: float = 0.0,
        transient: bool | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.request = request
        self.tries = tries
        self.elapsed = elapsed
        self.request_id = request_id
        if transient is not None:  # else the value of the class
            self.transient = transient

    def __str__(self) -> str:
        """Return the request, the message, the number of tries and the request id."""
        text = super().__str__()
        if self.request:
            text = f"{self.request}: {text}"
        if self.tries > 1:
            text = f"{text} ({self.tries} tries in {self.elapsed:.1f} s)"
        if self.request_id:
            text = f"{text} (request id {self.request_id})"
        return text


class TransportError(APIError):
    """No answer came, because of the network, a timeout or the server. Try again later.

    Attributes:
        may_have_arrived: False only when the request certainly never reached the server.
    """

    transient = True
    may_have_arrived: bool = True


class ConnectionFailedError(TransportError):
    """The request was not sent: no connection could be opened, or UP42 has been failing for longer than the call waits.

    It certainly never reached the server, so it may be sent again. When `permanent` is set, check the network, the
    proxy and the certificates first.

    Attributes:
        permanent: True when another try cannot succeed, as with a certificate that is not trusted.
    """

    may_have_arrived = False

    def __init__(
        self, message: str, *, request: str = "", tries: int = 1, elapsed: float = 0.0, permanent: bool = False
    ) -> None:
        super().__init__(message, request=request, tries=tries, elapsed=elapsed, transient=not permanent)
        self.permanent = permanent


class ConnectionLostError(TransportError):
    """The connection broke before the answer was complete; the request may have been received."""


class RequestTimeoutError(TransportError):
    """The answer did not come within the time that `Timeouts` allows.

    The request may have been received, and may still be processed.
    """


class StatusError(APIError):
    """An error status: of UP42 itself (`from_platform`), or of a gateway between you and UP42.

    A status without a subclass, such as 400 or 422, means that the request is wrong: read `detail` and `payload`. The
    401, 403 or 404 of a gateway (a firewall, a load balancer) is a plain `StatusError`, too: it does not mean that a
    permission or a job is missing.

    Attributes:
        status: HTTP status code.
        code: The server's name for the error, None without one.
        detail: The server's explanation, one line of at most 500 characters, None without one.
        payload: The decoded JSON body, None for a body that is not JSON. Text in it that repeats the token is `"***"`.
        body: The first 4,096 characters of the body, `""` for an empty one.
        from_platform: True when the body is a JSON object, as UP42's own errors are; False for HTML, text or nothing.
        retry_after: Seconds that the server asks to wait, None when it does not ask.
    """

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        tries: int = 1,
        elapsed: float = 0.0,
        transient: bool | None = None,
        request_id: str | None = None,
        status: int = 0,
        code: str | None = None,
        detail: str | None = None,
        payload: Any = None,
        body: str = "",
        from_platform: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message, request=request, tries=tries, elapsed=elapsed, transient=transient, request_id=request_id
        )
        self.status = status
        self.code = code
        self.detail = detail
        self.payload = payload
        self.body = body
        self.from_platform = from_platform
        self.retry_after = retry_after

    @property
    def refused(self) -> bool:
        """Whether the status means that the request was not executed: 400 to 405, 413, 415, 422, 429."""
        return self.status in _REFUSALS


_REFUSALS: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429})


class AuthenticationError(StatusError):
    """UP42 does not accept the token (401), not even one that was just fetched."""


class InvalidCredentialsError(AuthenticationError):
    """UP42 refused the username or password. They are not sent again: make a new `Client` with the right ones."""


class PermissionDeniedError(StatusError):
    """The account's plan or the user's role does not allow this (403). Ask the account's administrator."""


class NotFoundError(StatusError):
    """UP42 does not have it, or does not show it to this account (404). Check the id and the account."""


class RateLimitError(StatusError):
    """Too many requests (429); this one was not processed. Wait `retry_after` seconds, or lower the rate: `Limits`."""

    transient = True


class ServerError(StatusError):
    """UP42 or a gateway failed (any 5xx). The request may have been processed. Try again later."""

    transient = True


class UnexpectedResponseError(APIError):
    """An answer that does not fit what UP42 documents.

    When it comes again and again, UP42 has changed or a gateway answers in its place: read the message, and look for a
    newer version of this library.
    """


class UntrustedURLError(UnexpectedResponseError):
    """A link in an answer leads to another host than UP42's; it was not followed, and the token was not sent there."""


class PaginationError(UnexpectedResponseError):
    """A list whose pages do not end: a page came again, 100 pages had no new item, or there were over 10,000.

    The items before it are valid. Ask again later, or narrow the list down by filters.
    """
