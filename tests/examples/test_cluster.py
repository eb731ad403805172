"""A pipeline that hands its results to a Dask cluster, and settings that travel to workers."""

import functools
import importlib.util
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

import up42_async as up42
from up42_async.sandbox import Sandbox

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # what is sent to workers is found by name there
    spec.loader.exec_module(module)
    return module


def test_settings_travel_where_clients_do_not(tmp_path: Path) -> None:
    make = functools.partial(up42.Client, cfg_file=tmp_path / "up42.json", limits=up42.Limits().split(4))
    copy = pickle.loads(pickle.dumps(make))  # noqa: S301 - ours
    assert copy.keywords == make.keywords
    assert repr(copy()) == repr(make())
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make())


@pytest.mark.filterwarnings("default")  # of the cluster's machinery, which is not ours
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # Dask's client is asyncio's
async def test_each_result_is_read_once_though_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed; `nox -s cluster` runs this")
    pytest.importorskip("odc.stac", reason="odc-stac is not installed; `nox -s cluster` runs this")
    monkeypatch.syspath_prepend(EXAMPLES)  # workers have the path of this process, and find there what they are sent
    example = loaded("dask_pipeline")
    parts = tmp_path / "table"

    async def kill_one(cluster: Any) -> None:
        """Kill a worker when the first results have been read."""
        with anyio.fail_after(120):
            while not list(parts.glob("*.csv")):  # noqa: ASYNC110 - the workers write them
                await anyio.sleep(0.05)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    with Sandbox(speed=600, failure_rate=0.0) as sandbox:
        sandbox.add_assets(example.IMAGES)
        async with (
            up42.Client(**sandbox.settings),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, asynchronous=True
            ) as local,
            distributed.Client(local, asynchronous=True) as cluster,
            anyio.create_task_group() as group,
        ):
            group.start_soon(kill_one, local)
            table = await example.run(cluster, tmp_path)
            assert cluster.futures == {}  # no result is kept, so that memory stays flat however many come
        jobs = [execution.job_id for execution in sandbox.executions]
        assert len(jobs) == len(set(jobs)) == example.IMAGES
        fetched = sandbox.count("GET", origin="files")
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(example.COLUMNS)
    rows = [tuple(line.split(",")[:3]) for line in lines[1:]]
    assert len(rows) == len(set(rows))
    assert {row[0] for row in rows} == set(jobs)
    files = list((tmp_path / "files").rglob("*.tif"))
    assert len(rows) == len(files)
    assert fetched == len(files)  # none twice


@pytest.mark.filterwarnings("default")  # of the flow's machinery, which is not ours
def test_a_prefect_flow_maps_over_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("prefect", reason="Prefect is not installed; `nox -s cluster` runs this")
    example = loaded("prefect_flow")
    begun = time.monotonic()
    with Sandbox(speed=600, failure_rate=0.0) as sandbox:
        results = example.run(sandbox, tmp_path / "files")
        assert len(sandbox.executions) == len(results) == example.ITEMS
    assert all(Path(file).is_file() for result in results for file in result["files"])
    assert time.monotonic() - begun < 300
