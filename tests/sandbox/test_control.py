"""Controls over HTTP, for a sandbox in another process."""

import base64
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.sandbox.asking import JOBS, REFERENCE, TREES, Clock, executed, signed_url, without_token
from up42_async.sandbox import Sandbox, faults
from up42_async.sandbox._control_app import METHODS
from up42_async.sandbox._control_faults import KINDS, kind_of


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=clock, token_lifetime=1_000_000, control_port=0) as sandbox:
        yield sandbox


class Control:
    """Call the controls over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, name: str) -> Any:
        return (await self._client.get(f"/{name}")).raise_for_status().json()

    async def call(self, name: str, /, **arguments: Any) -> Any:
        return (await self._client.post(f"/{name}", json=arguments)).raise_for_status().json()["result"]

    async def refused(self, name: str, content: str) -> tuple[int, str]:
        answer = await self._client.post(f"/{name}", content=content)
        return answer.status_code, answer.json()["message"]


@pytest.fixture
async def control(sandbox: Sandbox) -> AsyncIterator[Control]:
    assert sandbox.control is not None
    headers = {"authorization": f"Bearer {sandbox.control.secret}"}
    async with httpx.AsyncClient(base_url=sandbox.control.url, headers=headers, trust_env=False) as client:
        yield Control(client)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic x"}])
async def test_only_the_secret_opens_the_controls(sandbox: Sandbox, headers: dict[str, str]) -> None:
    assert sandbox.control is not None
    async with httpx.AsyncClient(base_url=sandbox.control.url, headers=headers, trust_env=False) as client:
        for answer in (await client.get("/"), await client.get("/jobs"), await client.post("/reset")):
            assert (answer.status_code, "Authorization" in answer.json()["message"]) == (401, True)
    assert sandbox.control.url.startswith("http://127.0.0.1:")
    assert sandbox.control.secret not in repr(sandbox.control)


async def test_there_are_none_unless_asked_for() -> None:
    async with Sandbox() as sandbox:
        assert sandbox.control is None


def test_each_sandbox_has_a_secret_of_its_own_and_none_when_it_has_ended() -> None:
    secrets = []
    for _ in range(2):
        with Sandbox(control_port=0) as sandbox:
            assert sandbox.control is not None
            secrets.append(sandbox.control.secret)
        assert sandbox.control is None
    assert secrets[0] != secrets[1]


def test_a_taken_port_of_the_controls_is_named_and_gives_the_others_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, api_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        with pytest.raises(OSError, match=f"cannot use port {port}"):
            Sandbox(port=api_port, control_port=port).start()
        with Sandbox(port=api_port):
            pass


async def test_they_say_what_there_is(sandbox: Sandbox, control: Control) -> None:
    index = await control.get("")
    assert index["GET"][:2] == ["jobs", "executions"]
    assert {"seed_jobs", "reset", "advance", "add_fault", "remove_fault", "clear_faults"} <= index["POST"].keys()
    assert "number: int" in index["POST"]["seed_jobs"]
    assert index["POST"]["reset"].endswith("for tests that share one sandbox.")
    assert all(callable(getattr(sandbox, name)) for name in METHODS)


async def test_jobs_are_seeded_changed_and_looked_at(sandbox: Sandbox, control: Control) -> None:
    ids = await control.call("seed_jobs", number=2, process_id=TREES, timeline=[[0, "created"], [5, "running"]])
    assert ids == list(sandbox.jobs)
    await control.call("advance", seconds=5)
    await control.call("set_status", job_id=ids[0], status="captured")
    jobs = await control.get("jobs")
    assert [(job["id"], job["status"]) for job in jobs] == [(ids[0], "captured"), (ids[1], "running")]
    assert (await control.call("job", job_id=ids[1]))["timeline"] == [[0, "created"], [5, "running"]]
    results = await control.call("results_of", job_id=ids[0])
    assert {"id", "name", "size"} <= results[0].keys()
    assert "content" not in results[0]
    await control.call("forget", job_id=ids[0])
    assert [job["id"] for job in await control.get("jobs")] == ids[1:]


async def test_the_clock_is_moved_for_everybody(sandbox: Sandbox, control: Control, client: httpx.AsyncClient) -> None:
    before = await control.get("time")
    (job_id,) = await control.call("seed_jobs", number=1)
    await control.call("advance", seconds=3600)
    after = await control.get("time")
    assert datetime.fromisoformat(after["now"]) - datetime.fromisoformat(before["now"]) == timedelta(hours=1)
    assert (after["speed"], sandbox.now) == (1.0, datetime.fromisoformat(after["now"]))
    assert (await client.get(f"{JOBS}/{job_id}")).json()["status"] in {"captured", "released"}


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_the_clock_is_never_moved_back(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"a finite number of seconds from 0, not by {seconds}"):
        Sandbox().advance(seconds)


async def test_what_was_asked_is_told_and_the_controls_do_not_count(
    sandbox: Sandbox, control: Control, client: httpx.AsyncClient
) -> None:
    await client.get(JOBS)
    await executed(client)
    requests = await control.get("requests")
    assert [(record["method"], record["path"], record["status"]) for record in requests] == [
        ("GET", JOBS, 200), ("POST", f"/v2/processing/processes/{TREES}/execution", 201)
    ]  # fmt: skip
    counts = await control.get("counts")
    assert (counts["requests"], counts["executions"], counts["connections"]["open"]) == (2, 1, 1)
    assert (await control.get("executions"))[0]["job_id"] == sandbox.executions[0].job_id
    assert await control.call("count", method="GET") == 1
    await control.call("reset_counts")
    assert await control.get("requests") == []


async def test_faults_are_switched_on_and_off(sandbox: Sandbox, control: Control, client: httpx.AsyncClient) -> None:
    page = {"kind": "GatewayPage", "arguments": {"status": 503}}
    first = await control.call("add_fault", kind=page, path=JOBS, times=1)
    second = await control.call("add_fault", kind="UnknownStatus", method="GET")
    assert [(await client.get(JOBS)).status_code for _ in range(2)] == [503, 200]
    shown = await control.get("faults")
    assert [(one["fault"], one["hits"], one["is_on"]) for one in shown] == [(first, 1, True), (second, 1, True)]
    assert shown[0]["kind"] == "GatewayPage(status=503, body='html', retry_after=None, acts=False)"
    await control.call("remove_fault", fault=first)
    assert [one["is_on"] for one in await control.get("faults")] == [False, True]
    sandbox.faults.add(faults.Status(500))
    await control.call("clear_faults")
    assert (await client.get(JOBS)).status_code == 200
    assert await control.refused("remove_fault", '{"fault": 7}') == (
        404, "There is no fault 7; `GET /faults` lists those that were added."
    )  # fmt: skip
    assert (await control.refused("remove_fault", '{"fault": "x"}'))[0] == 404


async def test_storage_is_filled_with_bytes(sandbox: Sandbox, control: Control, client: httpx.AsyncClient) -> None:
    encoded = {"base64": base64.b64encode(b"\0\xff").decode()}
    text_id = await control.call("add_asset", content="text", name="a.txt")
    bytes_id = await control.call("add_asset", content=encoded)
    archive_id = await control.call("add_archive", name="x.zip", members={"a": "text", "b": encoded})
    assert set(await control.get("assets")) == {REFERENCE, text_id, bytes_id, archive_id}
    async with without_token() as other:
        contents = [(await other.get(await signed_url(client, one))).content for one in (text_id, bytes_id)]
    assert contents == [b"text", b"\0\xff"]
    assert (await control.call("stored_file", asset_id=archive_id))["name"] == "x.zip"
    assert len(await control.call("add_assets", number=2, size=10)) == 2
    assert await control.call("items_of", asset_id=text_id) == sandbox.items_of(text_id)
    assert await control.refused("add_asset", '{"content": {"base64": "?"}}') == (
        400, "base64 must be a string in base64, not '?'."
    )  # fmt: skip
    assert (await control.refused("add_asset", '{"content": {"base64": 5}}'))[0] == 400
    assert await control.refused("add_archive", '{"members": 5}') == (
        400, "members must be an object of bytes by path, not 5."
    )  # fmt: skip
    assert await control.refused("add_asset", '{"content": 5}') == (
        400, 'Bytes are a string or {"base64": "..."}, not 5.'
    )  # fmt: skip


async def test_the_account_is_changed_and_everything_reset(sandbox: Sandbox, control: Control) -> None:
    budget_id = await control.call("add_budget", name="mine", spend_limit=5)
    await control.call("deposit", amount=7)
    assert (await control.get("balance"))["available"] == 1_000_007
    assert (await control.get("budgets"))[-1] == {
        "id": budget_id, "name": "mine", "status": "ACTIVE", "spend_limit": 5, "consumed": 0
    }  # fmt: skip
    await control.call("reset")
    assert (await control.get("balance"))["available"] == 1_000_000
    assert len(sandbox.budgets) == 2


async def test_the_settings_are_those_of_a_client(sandbox: Sandbox, control: Control) -> None:
    settings = await control.get("settings")
    assert settings["endpoints"] == {"api": sandbox.endpoints.api, "auth": sandbox.endpoints.auth}
    assert settings["polling"]["retries"] == 4320
    assert settings["password"] == sandbox.credentials["password"]


async def test_they_go_on_while_the_sandbox_does_not_listen(
    sandbox: Sandbox, control: Control, client: httpx.AsyncClient
) -> None:
    await control.call("stop_listening")
    with pytest.raises(httpx.ConnectError):
        await client.get(JOBS)
    await control.call("start_listening")
    assert (await client.get(JOBS)).status_code == 200
    await control.call("drop_connections", reset=True)
    await control.call("reset_next_connections", number=0)
    assert (await client.get(JOBS)).status_code == 200


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("nothing", "{}", 404, "There is no 'nothing' to call; there are add_archive, "),
        ("job", '{"job_id": "x"}', 404, "The sandbox has no job 'x'"),
        ("seed_jobs", "[]", 400, "The arguments of seed_jobs must be a JSON object, not []."),
        ("seed_jobs", "{", 400, "Expecting property name"),
        ("seed_jobs", '{"count": 1}', 400, "Controls.seed_jobs() got an unexpected keyword argument 'count'"),
        ("seed_jobs", '{"number": 1, "timeline": []}', 400, "A timeline needs at least one"),
        ("add_fault", '{"kind": "Teapot"}', 400, "There is no fault 'Teapot'; there are AddEntries, "),
        ("add_fault", '{"kind": {"name": "Hang"}}', 400, 'A fault is {"kind": name, "arguments": {...}}, not '),
        ("add_fault", '{"kind": {"kind": "Hang", "arguments": 5}}', 400, "The arguments of Hang must be an object or"),
        ("add_fault", '{"kind": {"kind": "Status", "arguments": {"status": 5}}}', 400, "Status: status must be"),
        ("add_fault", '{"kind": "Hang", "times": 0}', 400, "Rule: times must be a whole number from 1, not 0."),
    ],
)
async def test_a_call_that_cannot_be_says_why(
    control: Control, name: str, content: str, status: int, message: str
) -> None:
    refused = await control.refused(name, content)
    assert (refused[0], refused[1][: len(message)]) == (status, message)


async def test_what_cannot_be_looked_at_says_what_can(control: Control) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404") as caught:
        await control.get("nothing")
    message = caught.value.response.json()["message"]
    assert message.startswith("There is no 'nothing' to get; there are jobs, executions, ")


async def test_a_sandbox_that_stops_meanwhile_is_a_conflict() -> None:
    sandbox = Sandbox(control_port=0)
    transport = httpx.ASGITransport(sandbox._control_app)
    headers = {"authorization": f"Bearer {sandbox._secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://control", headers=headers) as client:
        answer = await client.post("/stop_listening")
        assert (answer.status_code, "does not serve" in answer.json()["message"]) == (409, True)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("Hang", faults.Hang()),
        ({"kind": "Hang", "arguments": {"acts": False}}, faults.Hang(acts=False)),
        ({"kind": "Status", "arguments": [503, "html"]}, faults.Status(503, "html")),
        ({"kind": "RawAnswer", "arguments": {"data": "HTTP"}}, faults.RawAnswer(b"HTTP")),
        ({"kind": "Endless", "arguments": {"piece": {"base64": "AA=="}}}, faults.Endless(b"\0")),
        (
            {"kind": "LaterPages", "arguments": {"kind": {"kind": "Delay", "arguments": {"seconds": 1}}}},
            faults.LaterPages(faults.Delay(1)),
        ),
        (
            {"kind": "ChangeJobs", "arguments": {"changes": {"status": "odd"}, "only_first": True}},
            faults.ChangeJobs({"status": "odd"}, only_first=True),
        ),
    ],
)
def test_a_fault_can_be_written_as_json(spec: Any, kind: faults.Kind) -> None:
    assert kind_of(spec) == kind


async def test_faults_that_take_several_values_take_them_as_a_list(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(kind_of({"kind": "OmitKeys", "arguments": ["links"]}))
    sandbox.faults.add(kind_of({"kind": "AddEntries", "arguments": [7]}))
    assert (await client.get(JOBS)).json() == {"jobs": [7]}


def test_every_kind_but_the_one_that_takes_a_function_can_be_written_as_json() -> None:
    kinds = {name for name, member in vars(faults).items() if isinstance(member, type) and hasattr(member, "apply")}
    assert kinds - KINDS.keys() == {"Kind", "Rewrite"}
