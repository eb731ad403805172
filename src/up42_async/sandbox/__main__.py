"""Run a sandbox alone: `python -m up42_async.sandbox --speed 60`."""

import argparse
import sys
import time
from collections.abc import Sequence

from up42_async.sandbox import REFERENCE_ASSET, Sandbox

_MESSAGE = """\
An UP42 of your own is running, {speed:g} times as fast as the real one. Ctrl-C ends it.

    import up42_async as up42

    client = up42.Client(
        username="{username}",
        password="{password}",
        endpoints=up42.Endpoints(
            api="{api}",
            auth="{auth}",
        ),
    )

Of its {assets} asset(s) in storage, {reference} is the one of the reference's examples.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m up42_async.sandbox", description="Run an UP42 of your own.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; a free one if not given")
    parser.add_argument("--files-port", type=int, default=0, help="the port of the files; a free one if not given")
    parser.add_argument("--speed", type=float, default=1.0, help="sandbox seconds for each real second (default 1)")
    parser.add_argument("--jobs", type=int, default=0, help="how many jobs it begins with (default 0)")
    parser.add_argument("--spread", type=float, default=0.0, help="create those over so many past seconds (default 0)")
    parser.add_argument("--status", help="the status at which those stay; they live on if not given")
    parser.add_argument(
        "--ending", choices=["captured", "successful", "mixed"], default="captured", help="where jobs end"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to every answer (default 0)")
    parser.add_argument("--page-size-default", type=int, default=50, help="jobs on a page without limit (default 50)")
    parser.add_argument("--page-size-max", type=int, default=1000, help="the largest page (default 1000)")
    parser.add_argument("--ids-max", type=int, help="the most ids in one list request; any number if not given")
    parser.add_argument("--token-lifetime", type=float, default=300.0, help="seconds a token is good (default 300)")
    parser.add_argument("--assets", type=int, default=0, help="how many more assets it begins with (default 0)")
    parser.add_argument("--results-delay", type=float, default=0.0, help="seconds until results show (default 0)")
    parser.add_argument("--bandwidth", type=float, help="bytes a second for files; any number if not given")
    parser.add_argument("--balance", type=int, default=1_000_000, help="credits on the account (default 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random generators (default 0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until Ctrl-C.

    Args:
        arguments: The command line; that of the process if not given.

    Returns:
        The exit status: 0 after Ctrl-C, 2 if a setting is wrong or the port is taken.
    """
    options = vars(_parser().parse_args(arguments))
    jobs, spread, status, assets = (options.pop(name) for name in ("jobs", "spread", "status", "assets"))
    try:
        with Sandbox(**options) as sandbox:
            sandbox.seed_jobs(jobs, status=status, spread=spread)
            sandbox.add_assets(assets)
            sys.stdout.write(_message(sandbox, options["speed"]))
            sys.stdout.flush()
            _wait()
    except KeyboardInterrupt:
        sys.stdout.write("\nThe sandbox has ended.\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _message(sandbox: Sandbox, speed: float) -> str:
    return _MESSAGE.format(
        speed=speed,
        api=sandbox.endpoints.api,
        auth=sandbox.endpoints.auth,
        assets=len(sandbox.asset_ids()),
        reference=REFERENCE_ASSET,
        **sandbox.credentials,
    )


def _wait() -> None:
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
