"""Run one workload with one client in a process of its own, and print its cost as JSON.

python -m benchmarks.worker '{"client": "ours", "workload": "listing", "base": "http://127.0.0.1:8080", ...}'
"""

import importlib
import inspect
import json
import sys
import threading
from typing import Any

_STACK = 256 * 1024  # a thread for each job must fit in memory, whoever's threads they are


def main() -> None:
    """Run the workload that the command line names."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    module = importlib.import_module(f"benchmarks.clients.{order.pop('client')}")
    work = getattr(module, order.pop("workload"))
    threading.stack_size(_STACK)
    if inspect.iscoroutinefunction(work):
        import asyncio  # noqa: PLC0415 - importing it is part of what some workloads measure

        result = asyncio.run(work(**order))
    else:
        result = work(**order)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
