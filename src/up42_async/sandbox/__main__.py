"""Run a sandbox in a process of its own: `python -m up42_async.sandbox --speed 60`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence

import attrs

from up42_async.sandbox import REFERENCE_ASSET, Sandbox

_MESSAGE = """\
The sandbox is running at {speed:g} x the speed of UP42. Ctrl-C ends it.

    import up42_async as up42

    client = up42.Client(
        username="{username}",
        password="{password}",
        endpoints=up42.Endpoints(
            api="{api}",
            auth="{auth}",
        ),
        polling=up42.Polling(wait={wait:g}, settle={settle:g}, recover={recover:g}, visible={visible:g}),
    )

Assets in storage: {assets}. {reference} is the one of UP42's examples.
"""
_CONTROL = """
Its controls are at {url}; requests need the header

    Authorization: Bearer {secret}

"""
_EPILOG = """\
With --control, the sandbox can be controlled over HTTP on 127.0.0.1, with the secret that is printed at the start:

  curl -H "Authorization: Bearer $SECRET" $URL/                     the names of the state and of the methods
  curl ... $URL/requests                                            also /jobs /executions /counts /faults /balance
                                                                    /budgets /assets /time /settings
  curl ... -d '{"number": 300}' $URL/seed_jobs                      methods of Sandbox, with their arguments as JSON
  curl ... -d '{"kind": {"kind": "Status", "arguments": {"status": 503}}, "path": "/v2/", "times": 2}' $URL/add_fault
  curl ... -d '{"fault": 0}' $URL/remove_fault                      or -d '' $URL/clear_faults
  curl ... -d '{"seconds": 3600}' $URL/advance                      move the clock, and all jobs with it, ahead
  curl ... -d '' $URL/reset                                         restore the state at the start
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m up42_async.sandbox",
        description="Run a sandbox, a local server that behaves like UP42, until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; a free one if not given")
    parser.add_argument("--files-port", type=int, default=0, help="the port of the files; a free one if not given")
    parser.add_argument("--control", action="store_true", help="serve controls over HTTP, see below")
    parser.add_argument("--control-port", type=int, default=0, help="the port of the controls; a free one if not given")
    parser.add_argument("--json", action="store_true", help="print settings and controls as one line of JSON instead")
    parser.add_argument("--speed", type=float, default=1.0, help="sandbox seconds for each real second (default 1)")
    parser.add_argument("--jobs", type=int, default=0, help="number of jobs at the start (default 0)")
    parser.add_argument(
        "--spread", type=float, default=0.0, help="seconds in the past over which they were created (default 0)"
    )
    parser.add_argument("--status", help="a status that they keep; without it they go on")
    parser.add_argument(
        "--ending",
        choices=["captured", "successful", "mixed"],
        default="captured",
        help="last statuses of jobs (default captured)",
    )
    parser.add_argument(
        "--lives",
        choices=["short", "recorded"],
        default="short",
        help="timelines of jobs: short, all of them end, or as recorded (default short)",
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer (default 0)")
    parser.add_argument("--page-size-default", type=int, default=50, help="jobs on a page without limit (default 50)")
    parser.add_argument("--page-size-max", type=int, default=1000, help="the largest page (default 1000)")
    parser.add_argument("--ids-max", type=int, help="the most ids in one list request; any number if not given")
    parser.add_argument("--token-lifetime", type=float, default=300.0, help="seconds a token is valid (default 300)")
    parser.add_argument("--assets", type=int, default=0, help="number of further assets at the start (default 0)")
    parser.add_argument(
        "--results-delay", type=float, default=0.0, help="sandbox seconds until results are visible (default 0)"
    )
    parser.add_argument("--bandwidth", type=float, help="bytes a second for all files together; no limit if not given")
    parser.add_argument("--balance", type=int, default=1_000_000, help="credits on the account (default 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random generators (default 0)")
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
    as_json, with_control = options.pop("json"), options.pop("control")
    options["control_port"] = options["control_port"] if with_control else None
    try:
        with Sandbox(**options) as sandbox:
            sandbox.seed_jobs(jobs, status=status, spread=spread)
            sandbox.add_assets(assets)
            sys.stdout.write(_json(sandbox) if as_json else _message(sandbox))
            sys.stdout.flush()
            _wait()
    except KeyboardInterrupt:
        sys.stdout.write("" if as_json else "\nThe sandbox has ended.\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _message(sandbox: Sandbox) -> str:
    message = _MESSAGE.format(
        speed=sandbox.speed,
        api=sandbox.endpoints.api,
        auth=sandbox.endpoints.auth,
        assets=len(sandbox.asset_ids()),
        reference=REFERENCE_ASSET,
        **sandbox.credentials,
        **attrs.asdict(sandbox.settings["polling"]),
    )
    control = sandbox.control
    return message if control is None else message + _CONTROL.format(url=control.url, secret=control.secret)


def _json(sandbox: Sandbox) -> str:
    settings = sandbox.settings
    values = {"endpoints": attrs.asdict(settings["endpoints"]), "polling": attrs.asdict(settings["polling"])}
    control = None if sandbox.control is None else attrs.asdict(sandbox.control)
    return json.dumps({"settings": {**settings, **values}, "control": control}) + "\n"


def _wait() -> None:
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
