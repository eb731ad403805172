"""Name everything that can go wrong, in one tree.

    Up42Error                               everything the world does wrong; catch this to catch all
    ├── ConfigurationError                  credentials file, proxy or certificate settings that cannot be used
    ├── APIError                            one request failed: `.request`, `.tries`, `.elapsed`
    │   ├── TransportError                  no answer came
    │   │   ├── ConnectionFailedError       ... and the request certainly never reached the server
    │   │   ├── ConnectionLostError         ... it may have been received
    │   │   └── RequestTimeoutError         ... it may have been received, or is being worked on
    │   ├── StatusError                     the server refused: `.status`, `.code`, `.detail`, `.payload`
    │   │   ├── AuthenticationError         401 that stays after a new login
    │   │   │   └── InvalidCredentialsError the login itself was refused
    │   │   ├── PermissionDeniedError       403: plan or role
    │   │   ├── NotFoundError               404
    │   │   ├── RateLimitError              429: `.retry_after`
    │   │   └── ServerError                 any 5xx: `.retry_after`
    │   └── UnexpectedResponseError         an answer that does not fit what UP42 documents
    │       ├── UntrustedURLError           a link that leads away from UP42
    │       └── PaginationError             pages that never end
    ├── JobFailedError                      `job.raise_for_status()`: `.job`                        (`_jobs`)
    ├── UnfinishedJob                       tracking ended first: `.finished`, `.unfinished`, `.reasons` (`_jobs`)
    ├── InvalidTemplateError                what UP42 has against it: `.errors`                     (`_processing`)
    ├── CostLimitError                      `.cost`, `.max_credits`                                 (`_processing`)
    ├── ExecutionUncertainError             a job may have been made: `.candidates`                 (`_processing`)
    ├── JournalError                        a journal that cannot be used: `.path`
    └── DownloadError                       a file did not come whole                               (`_downloads`)

The caller's mistakes are `ValueError`, `TypeError` and `RuntimeError`. No error holds a token, a password or a signed
URL, and all of them can be copied and pickled.
"""

from typing import Any


class Up42Error(Exception):
    """Everything that can go wrong outside the caller's own code."""


class ConfigurationError(Up42Error):
    """Settings outside the program (a credentials file, proxy or certificate variables) cannot be used."""


class JournalError(Up42Error):
    """A journal cannot be used: it is something else, damaged, of a newer version, of another account, or in use.

    The file stays as it was.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: object = None) -> None:
        """Say which file cannot be used, and why."""
        super().__init__(message)
        self.path = path


class APIError(Up42Error):
    """One request did not bring what it was sent for.

    Attributes:
        request: Method and path, without query.
        tries: How often the request was sent.
        elapsed: Seconds from the first try to the last.
    """

    def __init__(self, message: str, *, request: str = "", tries: int = 1, elapsed: float = 0.0) -> None:
        """Say what happened to which request."""
        super().__init__(message)
        self.request = request
        self.tries = tries
        self.elapsed = elapsed

    def __str__(self) -> str:
        """Return what happened, to which request, after how many tries."""
        text = super().__str__()
        if self.request:
            text = f"{self.request}: {text}"
        if self.tries > 1:
            text = f"{text} ({self.tries} tries in {self.elapsed:.1f} s)"
        return text


class TransportError(APIError):
    """No answer came.

    Attributes:
        may_have_arrived: False only when the request certainly never reached the server.
    """

    may_have_arrived: bool = True


class ConnectionFailedError(TransportError):
    """No connection could be had, so the request certainly never reached the server.

    Attributes:
        permanent: True when trying again cannot help, as with a certificate that is not trusted.
    """

    may_have_arrived = False

    def __init__(
        self, message: str, *, request: str = "", tries: int = 1, elapsed: float = 0.0, permanent: bool = False
    ) -> None:
        """Say why no connection could be had."""
        super().__init__(message, request=request, tries=tries, elapsed=elapsed)
        self.permanent = permanent


class ConnectionLostError(TransportError):
    """The connection broke before the answer was complete; the request may have been received."""


class RequestTimeoutError(TransportError):
    """The answer did not come in time; the request may have been received, or is being worked on."""


class StatusError(APIError):
    """The server refused the request.

    Attributes:
        status: HTTP status code.
        code: The server's own word for the error, if it gave one.
        detail: The server's own sentence, if it gave one.
        payload: The decoded JSON body, None for a body that is not JSON.
        retry_after: Seconds the server asks to wait, None if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        tries: int = 1,
        elapsed: float = 0.0,
        status: int = 0,
        code: str | None = None,
        detail: str | None = None,
        payload: Any = None,
        retry_after: float | None = None,
    ) -> None:
        """Say what the server answered."""
        super().__init__(message, request=request, tries=tries, elapsed=elapsed)
        self.status = status
        self.code = code
        self.detail = detail
        self.payload = payload
        self.retry_after = retry_after


class AuthenticationError(StatusError):
    """UP42 does not accept the token (401), even one that was just fetched."""


class InvalidCredentialsError(AuthenticationError):
    """UP42 refused the username or password; they are not sent again."""


class PermissionDeniedError(StatusError):
    """The account's plan or the user's role does not allow this (403)."""


class NotFoundError(StatusError):
    """There is no such thing, or it is not visible to this account (404)."""


class RateLimitError(StatusError):
    """Too many requests (429); the request was not processed."""


class ServerError(StatusError):
    """The server failed (any 5xx)."""


class UnexpectedResponseError(APIError):
    """An answer that does not fit what UP42 documents.

    Attributes:
        transient: True when the same request may well be answered properly the next time, as with a proxy's HTML page.
    """

    def __init__(
        self, message: str, *, request: str = "", tries: int = 1, elapsed: float = 0.0, transient: bool = False
    ) -> None:
        """Say what does not fit."""
        super().__init__(message, request=request, tries=tries, elapsed=elapsed)
        self.transient = transient


class UntrustedURLError(UnexpectedResponseError):
    """A link in an answer leads away from UP42; it was not followed, and the token was not sent there."""


class PaginationError(UnexpectedResponseError):
    """A list whose pages never end: a page that was seen before, or page after page without an item."""
