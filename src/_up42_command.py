"""The entry point of the command `up42`, which handles Ctrl-C before the package is imported.

Importing the package takes some tenths of a second, in which Python answers Ctrl-C with a traceback. Only a module
outside of the package can run before that, so this one is beside it, and imports nothing that takes time.
"""

import os
import signal

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells have it."""


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, with exit code 130 and without a traceback."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def main() -> None:
    """Run the command `up42` with the arguments of the process, and end the process with its exit code."""
    end_on_interrupt()
    from up42_async.cli.main import main as run  # only after Ctrl-C is handled

    try:
        run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: Ctrl-C must not change its exit code
