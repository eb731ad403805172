"""Run the asynchronous part of a command, and turn its end into an exit code."""

import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Final, NoReturn

import anyio
import attrs
import typer

import up42_async as up42
from up42_async._client import display
from up42_async.cli.settings import Settings

GOOD: Final = 0
FAILED: Final = 1
"""A job failed, or a request to UP42 did."""
USAGE: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT
"""Ctrl-C, as shells have it."""

_FORMAT: Final = "%(levelname)s %(message)s"


@attrs.define
class Interruption:
    """The message when Ctrl-C ends a command: which jobs go on at UP42, and how to go on with them."""

    words: Callable[[], str] | None = None


def counted(number: int, state: str) -> str:
    """Return how many jobs are in a state: `1 job is under way`."""
    jobs = display.counted(number, "job") if number else "no jobs"
    return f"{jobs} {'is' if number == 1 else 'are'} {state}"


def say(text: str, settings: Settings) -> None:
    """Write a message to stderr, unless `--quiet` is given."""
    if not settings.quiet:
        typer.echo(text, err=True)


def run(
    settings: Settings, work: Callable[[up42.Client], Awaitable[int]], interruption: Interruption | None = None
) -> NoReturn:
    """Open a client, do the work of a command with it, and end the process with the exit code of the work.

    Args:
        settings: The options given before the command.
        work: The work, which returns the exit code.
        interruption: The message when Ctrl-C ends it.
    """

    async def with_client() -> int:
        async with settings.client() as client:
            return await work(client)

    run_without_client(settings, with_client, interruption)


def run_without_client(
    settings: Settings, work: Callable[[], Awaitable[int]], interruption: Interruption | None = None
) -> NoReturn:
    """Do the work of a command, and end the process with its exit code."""
    _set_up_log(settings)
    with reporting(interruption):
        code = anyio.run(work)
    raise typer.Exit(code)


@contextlib.contextmanager
def reporting(interruption: Interruption | None = None) -> Generator[None]:
    """Turn errors into a line on stderr and an exit code: 1 for an `Up42Error`, 2 for wrong usage, 130 for Ctrl-C.

    Commands read stdin inside of this block and outside of the event loop, which would keep Ctrl-C from ending the
    wait. Ctrl-C is a KeyboardInterrupt only inside of the block; before and after, it ends the process
    at once, as the entry point of the command has set it up.
    """
    otherwise = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    except KeyboardInterrupt:
        # a second Ctrl-C must not end the process before the message is printed
        otherwise = signal.SIG_IGN
        signal.signal(signal.SIGINT, otherwise)
        if interruption is not None and interruption.words is not None:
            typer.echo(interruption.words(), err=True)
        raise typer.Exit(INTERRUPTED) from None
    except up42.Up42Error as error:
        typer.echo(f"up42: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except ValueError as error:
        typer.echo(f"up42: {error}", err=True)
        raise typer.Exit(USAGE) from None
    except BrokenPipeError:
        # the reader of stdout has closed it, as `head` does; Python would report that once more when it flushes at exit
        sys.stdout = None
        raise typer.Exit(FAILED) from None
    finally:
        signal.signal(signal.SIGINT, otherwise)


def _set_up_log(settings: Settings) -> None:
    """Show warnings of the library on stderr; with `-v` also one line for each request."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger = logging.getLogger("up42_async")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if settings.verbose else logging.ERROR if settings.quiet else logging.WARNING)
